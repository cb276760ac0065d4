//! What the cells need that works whatever is missing.
//!
//! # Safety
//!
//! Thin calls of libc, with arguments that live as long as the call.
#![expect(unsafe_code, reason = "fork, signals and waits without pidfds")]

use core::fmt::Display;
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::time::Instant;

use ipc_core::process::{Child, ExitStatus};
use rustix::event::{PollFd, PollFlags, poll};

/// More than any step takes.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// How soon the orphans of a daemon's parent, or of a zygote, must be gone.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// `Ok` if it works; else the words by which it is refused.
pub(crate) type Outcome = Result<(), String>;

pub(crate) fn said(error: impl Display) -> String {
    error.to_string()
}

/// A plain fork, whose child ends with the code of `f`.
pub(crate) fn raw_fork(f: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the cells have one thread when they call this.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        // A panic must not run on in the frames of the cell.
        let code = std::panic::catch_unwind(core::panic::AssertUnwindSafe(f)).unwrap_or(101);
        // SAFETY: ends the process.
        unsafe { libc::_exit(code) }
    }
    pid
}

pub(crate) fn raw_kill(pid: i32, signal: i32) {
    // SAFETY: a child of this process that nobody has reaped.
    unsafe { libc::kill(pid, signal) };
}

/// Waits for the end of a child: its wait status, unless somebody else has taken it.
pub(crate) fn raw_wait(pid: i32) -> Option<i32> {
    let mut status = 0;
    // SAFETY: writes the status.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    (waited == pid).then_some(status)
}

/// Reaps whoever is left; `false` if somebody still lives when the time is up.
pub(crate) fn all_gone_within(limit: Duration) -> bool {
    let began = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: writes the status.
        match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
            -1 => return true,
            0 if began.elapsed() > limit => return false,
            0 => std::thread::sleep(Duration::from_millis(1)),
            _ => {}
        }
    }
}

/// How many descriptors this process has, without `/proc`.
pub(crate) fn open_fds() -> usize {
    // SAFETY: reads a flag, of whatever is open.
    (0..1024).filter(|number| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0).count()
}

/// Waits until something can be read, or the end has come.
pub(crate) fn readable(fd: &OwnedFd, limit: Duration) -> bool {
    let limit = limit.try_into().expect("a small span");
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)).expect("poll") > 0
}

/// All that comes until the end.
pub(crate) fn read_all(fd: &OwnedFd) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 500]);
    loop {
        match rustix::io::read(fd, &mut buffer).expect("read") {
            0 => return String::from_utf8(text).expect("text"),
            len => text.extend_from_slice(&buffer[..len]),
        }
    }
}

/// A child that is gone at the end of the scope, also where it cannot be signalled or waited for.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = self.0.id().as_raw_nonzero().get();
        // One that was reaped has no number any more, and no other process can have it so soon.
        if raw_kill_lives(pid) {
            raw_wait(pid);
        }
    }
}

/// Kills, and says whether there was somebody.
fn raw_kill_lives(pid: i32) -> bool {
    // SAFETY: as in `raw_kill`.
    unsafe { libc::kill(pid, libc::SIGKILL) == 0 }
}

pub(crate) fn stop(child: &Child) {
    let pid = child.id().as_raw_nonzero().get();
    raw_kill(pid, libc::SIGSTOP);
    let mut status = 0;
    // SAFETY: writes the status.
    let waited = unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) };
    assert!(waited == pid && libc::WIFSTOPPED(status));
}

/// The status of a child whose exit code is 7, which may be unknown and never another.
pub(crate) fn is_seven(status: Option<ExitStatus>) -> Outcome {
    match status.expect("it ends") {
        ExitStatus::Exited(7) => Ok(()),
        ExitStatus::Unknown => Err("status unknown".into()),
        other => panic!("a wrong status: {other}"),
    }
}

pub(crate) fn pause_for_ever() -> ! {
    loop {
        // SAFETY: sleeps until a signal.
        unsafe { libc::pause() };
    }
}
