//! One process per case.
//!
//! A case that forks, ignores SIGCHLD or lowers a limit must not touch its neighbours, so each runs
//! in a forked process of its own, single-threaded at its start. When it returns, it must have left
//! nothing behind: no open descriptor, no child, and, since each such process adopts the orphans of
//! its descendants, no grandchild. The runner waits for it with a time limit, and says what the case
//! was doing when that was reached.
//!
//! # Safety
//!
//! The runner has one thread and forks through libc directly: it must not lean on what it tests.
#![expect(unsafe_code, reason = "fork, and a page that outlives the processes that share it")]

pub mod events;
pub mod library;
pub mod mappings;
pub mod pids;
pub mod seccomp;
pub mod signals;
pub mod storm;

use core::panic::AssertUnwindSafe;
use core::ptr;
use core::sync::atomic::{AtomicI32, AtomicU8, Ordering::SeqCst};
use core::time::Duration;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, pidfd_open,
    waitid, waitpid,
};

/// How long one case may take; a second is usual, the rest is for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// [`LIMIT`], or as many seconds as the environment says by `IPC_CASE_SECONDS`, for longer proofs.
fn limit() -> Duration {
    let asked = std::env::var("IPC_CASE_SECONDS").ok();
    asked.map_or(LIMIT, |asked| Duration::from_secs(asked.parse().expect("a number of seconds")))
}

/// The exit code of a case that could not run here.
const SKIPPED: i32 = 77;

/// Memory that a case shares with the processes it forks, and with the runner.
#[derive(Debug)]
pub struct Shared {
    /// For the case to use; zero at first.
    pub words: [AtomicI32; 16],
    doing: [AtomicU8; 120],
}

/// The shared memory of this case.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<usize> = OnceLock::new();
    let address = *SHARED.get_or_init(|| {
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses the place of a new mapping.
        let page = unsafe { mmap_anonymous(ptr::null_mut(), size_of::<Shared>(), prot, flags) };
        page.expect("a page of shared memory").expose_provenance()
    });
    // SAFETY: the mapping is never undone, and zero bytes are a `Shared`.
    unsafe { &*ptr::with_exposed_provenance::<Shared>(address) }
}

/// Notes what the case does next, for the message when it hangs.
pub fn doing(what: &str) {
    let bytes = what.bytes().chain(core::iter::repeat(0));
    shared().doing.iter().zip(bytes).for_each(|(slot, byte)| slot.store(byte, SeqCst));
}

/// Ends a case that this machine cannot run.
pub fn skip(reason: &str) -> ! {
    println!("SKIPPED: {reason}");
    std::process::exit(SKIPPED)
}

/// The number of open descriptors of this process.
pub fn open_fds() -> usize {
    // The one that reads the directory is in the list.
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 1
}

/// Whether this process has no child, dead or alive.
pub fn no_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

/// Runs the cases whose names contain the first argument, and prints what libtest would print.
pub fn run(cases: &[(&str, fn())]) -> ExitCode {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let started = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, case) in cases {
        if filter.as_ref().is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        println!("test {name} ...");
        let began = Instant::now();
        let outcome = run_one(*case);
        match &outcome {
            Ok(Some(0)) => passed += 1,
            Ok(Some(SKIPPED)) => skipped += 1,
            _ => failed += 1,
        }
        let word = match outcome {
            Ok(Some(0)) => "ok".to_owned(),
            Ok(Some(SKIPPED)) => "skipped".to_owned(),
            Ok(Some(code)) => format!("FAILED with code {code}"),
            Ok(None) => "FAILED by a signal".to_owned(),
            Err(doing) => format!("FAILED: hung for {:?} in: {doing}", limit()),
        };
        println!("test {name} ... {word} ({:.2} s)", began.elapsed().as_secs_f32());
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; \
         0 filtered out; finished in {:.2} s",
        started.elapsed().as_secs_f32()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The exit code of the case, `None` if a signal ended it, or what it did when its time was up.
fn run_one(case: fn()) -> Result<Option<i32>, String> {
    shared().words.iter().for_each(|word| word.store(0, SeqCst));
    doing("start");
    // SAFETY: this process has one thread.
    let raw = unsafe { libc::fork() };
    assert!(raw >= 0, "fork: {}", std::io::Error::last_os_error());
    let Some(pid) = Pid::from_raw(raw) else { inside(case) };
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("an unreaped child has a pidfd");
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    let limit = limit().try_into().expect("a small span");
    let in_time = poll(&mut fds, Some(&limit)).expect("poll") > 0;
    // Whatever the case left behind is in its group. It may be empty.
    let _ = kill_process_group(pid, Signal::KILL);
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).expect("waitpid").expect("ended");
    if in_time {
        return Ok(status.exit_status());
    }
    let doing = shared().doing.iter().map(|byte| byte.load(SeqCst)).take_while(|byte| *byte != 0);
    Err(String::from_utf8_lossy(&doing.collect::<Vec<_>>()).into_owned())
}

fn inside(case: fn()) -> ! {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        rustix::process::setpgid(None, None).expect("setpgid");
        rustix::process::set_child_subreaper(Some(Pid::INIT)).expect("prctl");
        let fds = open_fds();
        case();
        doing("looking for what the case left behind");
        assert!(no_children(), "a child is left");
        assert_eq!(open_fds(), fds, "descriptors are left");
    }));
    std::process::exit(if outcome.is_ok() { 0 } else { 101 })
}
