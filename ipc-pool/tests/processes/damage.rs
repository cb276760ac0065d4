//! Shared memory that something else has written to.

use core::time::Duration;
use std::fs::File;
use std::os::unix::fs::FileExt;

use ipc_core::process::ExitStatus;
use ipc_pool::{Pool, TaskError};
use ipc_testkit::cases::doing;
use rustix::process::Signal;

use crate::deaths::{pids, signal};

/// The pool's region: the one memfd of this process.
fn region() -> File {
    let fds = std::fs::read_dir("/proc/self/fd").expect("/proc");
    let paths = fds.map(|entry| entry.expect("an entry").path());
    let is_memfd = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:"))
    };
    let path = paths.into_iter().find(is_memfd).expect("a memfd");
    File::options().read(true).write(true).open(path).expect("the region")
}

/// A call says that it is longer than it is: its worker asks for a part that there is not, and ends.
pub(crate) fn longer_than_it_is() {
    const TEXT: &str = "a text that stands nowhere else in the memory of the pool";
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.call(|x: u64| x, 1).unwrap(), 1);
    let pid = pids(&pool)[0];
    signal(pid, Signal::STOP);
    let mut ticket = pool.submit(|text: String| text.len(), TEXT.to_owned()).unwrap();
    {
        let region = region();
        let mut bytes = vec![0; region.metadata().unwrap().len() as usize];
        region.read_exact_at(&mut bytes, 0).unwrap();
        let text = bytes.windows(TEXT.len()).position(|window| window == TEXT.as_bytes()).unwrap();
        // Before it in the area: the length of the whole call, the two names, the length of the text.
        let names = 2 * ipc_core::function::FunctionRef::LEN;
        let (at, length) = (text - 1 - names - 8, (names + 1 + TEXT.len()) as u64);
        assert_eq!(bytes[at..at + 8], length.to_ne_bytes());
        region.write_all_at(&(1_u64 << 40).to_ne_bytes(), at as u64).unwrap();
    }
    signal(pid, Signal::CONT);
    doing("waiting for the worker to end itself");
    let outcome = ticket.wait_timeout(Duration::from_secs(20));
    let expected = TaskError::WorkerDied { pid, cause: ExitStatus::Exited(1), attempt: 1 };
    assert_eq!(outcome, Err(expected));
    assert_eq!(pool.call(|x: u64| x, 2).unwrap(), 2);
}
