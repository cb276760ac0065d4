//! Forking leaves nothing behind, whether it succeeds or fails.
#![expect(unsafe_code, reason = "fork, where fork_fn would refuse or look at /proc first")]

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use ipc_core::process::{Child, ExitStatus, Fork, ForkFnError, Signal, fork, fork_fn};
use ipc_core::{Errno, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use crate::status::wait_for_end;
use crate::tools::{duplicate, duplicate_onto, exit_now, kill_and_reap, raw_waitpid};
use ipc_testkit::cases::pids::{Sleeper, sleeper_with_pid};
use ipc_testkit::cases::{doing, no_children, open_fds, shared, skip};

/// A child that is gone, and the process that has its pid; `None` if another took it.
fn reaped_and_recycled() -> Option<(Child, Pid)> {
    let mut child = fork_fn(|| 0).expect("fork");
    wait_for_end(&child);
    assert_eq!(child.signal(Signal::TERM), Ok(()), "a zombie takes any signal");
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(0)));
    assert_eq!(child.kill(), Err(Errno::SRCH));
    match sleeper_with_pid(child.id()) {
        Sleeper::Sleeps(stranger) => Some((child, stranger)),
        Sleeper::NotPermitted => skip("clone3(set_tid) needs CAP_SYS_ADMIN"),
        Sleeper::Taken => None,
    }
}

/// K20: after the reap the handle reaches nobody, even if its number lives again.
pub(crate) fn k20_recycled_pid_is_not_signalled() {
    let (mut child, stranger) = (0..10).find_map(|_| reaped_and_recycled()).expect("a free pid");
    assert_eq!(child.kill(), Err(Errno::SRCH));
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(0)));
    let (ended, _) = raw_waitpid(stranger.as_raw_nonzero().get(), libc::WNOHANG);
    assert_eq!(ended, 0, "the stranger lives");
    drop(child);
    let (ended, _) = raw_waitpid(stranger.as_raw_nonzero().get(), libc::WNOHANG);
    assert_eq!(ended, 0, "the stranger lives");
    kill_and_reap(stranger);
}

pub(crate) fn drop_reaps_the_dead() {
    let child = fork_fn(|| 0).expect("fork");
    wait_for_end(&child);
    assert!(!no_children(), "a zombie, as long as the handle lives");
    drop(child);
    assert!(no_children(), "no zombie after it");

    let child = fork_fn(|| 0).expect("fork");
    wait_for_end(&child);
    child.detach();
    assert!(no_children(), "no zombie after it");
}

pub(crate) fn drop_leaves_the_living() {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let child = fork_fn(|| {
        rustix::io::read(&reader, &mut [0]).expect("read");
        6
    })
    .expect("fork");
    let pid = child.id().as_raw_nonzero().get();
    doing("dropping the handle of a living child");
    drop(child);
    assert_eq!(raw_waitpid(pid, libc::WNOHANG).0, 0, "it lives");
    rustix::io::write(&writer, &[0]).expect("write");
    let (_, status) = raw_waitpid(pid, 0);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 6);
}

/// F15: a child belongs to the process, not to the thread that forked it.
pub(crate) fn f15_forking_thread_ends() {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let forking = std::thread::spawn(move || {
        let in_child = || if rustix::io::read(&reader, &mut [0]) == Ok(1) { 8 } else { 1 };
        plain_fork(in_child).expect("fork")
    });
    let mut child = forking.join().expect("the forking thread");
    assert_eq!(child.wait_timeout(Duration::from_millis(50)), Ok(None), "it lives on");
    rustix::io::write(&writer, &[0]).expect("write");
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(8)));
}

/// Four descriptors are needed, three at a time.
pub(crate) fn no_descriptors() {
    let before = open_fds();
    let limit = getrlimit(Resource::Nofile);
    // The lowest free number; above it there are as many free ones as the limit leaves.
    let lowest_free = duplicate(0).as_raw_fd() as u64;
    for free in 0..6 {
        let lowered = Rlimit { current: Some(lowest_free + free), ..limit };
        setrlimit(Resource::Nofile, lowered).expect("setrlimit");
        // `fork_fn` reads /proc, which takes a descriptor itself.
        let forked = plain_fork(|| 7);
        setrlimit(Resource::Nofile, limit).expect("setrlimit");
        match forked {
            Ok(mut child) => {
                assert!(free >= 3, "{free} free descriptors sufficed");
                assert_eq!(child.wait(), Ok(ExitStatus::Exited(7)));
            }
            Err(errno) => {
                assert!(free < 3, "{free} free descriptors did not suffice");
                assert_eq!(errno, Errno::MFILE);
            }
        }
        assert!(no_children(), "with {free} free descriptors");
        assert_eq!(open_fds(), before, "with {free} free descriptors");
    }
}

fn plain_fork(in_child: impl FnOnce() -> i32) -> Result<Child> {
    // SAFETY: the closures given here make a system call at most.
    match unsafe { fork() }? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => exit_now(in_child()),
    }
}

/// Neither side keeps anything of the barrier, but for the handle in the parent.
pub(crate) fn child_has_its_parents_descriptors() {
    let before = open_fds();
    let mut child = fork_fn(|| i32::from(open_fds() != before)).expect("fork");
    assert_eq!(open_fds(), before + 1);
    assert_eq!(fcntl_getfd(&child), Ok(FdFlags::CLOEXEC));
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(0)));
}

pub(crate) fn ten_thousand() {
    let maps = || std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count();
    let cycle = |code: i32| {
        let mut child = fork_fn(|| code).expect("fork");
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(code)));
    };
    (0..10).for_each(cycle);
    let before = (open_fds(), maps());
    let began = std::time::Instant::now();
    doing("ten thousand times fork and wait");
    (0..10_000).for_each(|round| cycle(round % 256));
    println!("{:?} for a fork and its wait", began.elapsed() / 10_000);
    assert_eq!((open_fds(), maps()), before);
    assert!(no_children());
}

/// Refused beside a thread that runs; never refused because of one that was joined.
pub(crate) fn fork_fn_needs_one_thread() {
    let parked = std::thread::spawn(std::thread::park);
    assert_eq!(fork_fn(|| 0).map(drop), Err(ForkFnError::ManyThreads));
    assert!(no_children());
    parked.thread().unpark();
    parked.join().expect("the parked thread");
    for _ in 0..300 {
        std::thread::spawn(|| ()).join().expect("a short thread");
        let mut child = fork_fn(|| 0).expect("a joined thread does not count");
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(0)));
    }
}

pub(crate) fn fork_fn_without_proc() {
    let empty = std::env::temp_dir().join(format!("ipc-core-empty-{}", std::process::id()));
    std::fs::create_dir(&empty).expect("an empty directory");
    let inside = fork_fn(|| {
        if rustix::process::chroot(&empty).is_err() {
            return 77;
        }
        let refused = fork_fn(|| 0).map(drop);
        i32::from(refused != Err(ForkFnError::ThreadsUnknown(Errno::NOENT)))
    });
    let status = inside.expect("fork").wait();
    std::fs::remove_dir(&empty).expect("remove it");
    match status {
        Ok(ExitStatus::Exited(77)) => skip("chroot is not permitted"),
        status => assert_eq!(status, Ok(ExitStatus::Exited(0))),
    }
}

pub(crate) fn fork_fn_contains_a_panic() {
    struct Frame;
    impl Drop for Frame {
        fn drop(&mut self) {
            shared().words[0].fetch_add(1, SeqCst);
        }
    }
    let stderr = redirect(2);
    {
        let _frame = Frame;
        let mut child = fork_fn(|| panic!("the closure fell over")).expect("fork");
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(101)));
        assert_eq!(shared().words[0].load(SeqCst), 0, "the child unwound the parent's frame");
    }
    assert_eq!(shared().words[0].load(SeqCst), 1);
    let message = stderr.restore();
    assert!(message.contains("the closure fell over"), "{message:?}");
}

pub(crate) fn fork_fn_prints_once() {
    let stdout = redirect(1);
    print!("parent ");
    let mut child = fork_fn(|| {
        print!("child ");
        0
    })
    .expect("fork");
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(0)));
    println!("again");
    std::io::stdout().flush().expect("flush");
    assert_eq!(stdout.restore(), "parent child again\n");
}

/// A standard stream sent into a file in memory.
struct Redirected {
    number: i32,
    original: OwnedFd,
    file: File,
}

fn redirect(number: i32) -> Redirected {
    std::io::stdout().flush().expect("flush");
    let file = File::from(memfd_create(c"output", MemfdFlags::CLOEXEC).expect("memfd"));
    let original = duplicate(number);
    duplicate_onto(&file, number);
    Redirected { number, original, file }
}

impl Redirected {
    /// Puts the stream back and returns what went through it.
    fn restore(mut self) -> String {
        duplicate_onto(&self.original, self.number);
        let mut text = String::new();
        self.file.rewind().expect("rewind");
        self.file.read_to_string(&mut text).expect("utf-8");
        text
    }
}
