//! Processes with a pid of the case's choice.
//!
//! # Safety
//!
//! A fork of a process with one thread, whose child makes system calls and nothing else.
#![expect(unsafe_code, reason = "clone3 has no safe wrapper")]

use core::mem;
use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::io;
use std::thread;
use std::time::Instant;

use rustix::process::Pid;

use super::shared;

/// What came of the wish for a process with a certain pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sleeper {
    /// It has closed all descriptors and sleeps.
    Sleeps(Pid),
    /// The privilege is missing.
    NotPermitted,
    /// Another process of this machine has the pid, and kept it for a second.
    Taken,
}

/// A process with exactly this pid, made by `clone3(set_tid)`.
///
/// A pid that is in use is tried again for a second: the kernel frees that of a child of one who
/// ignores SIGCHLD a little after the parent's wait has ended.
#[must_use]
pub fn sleeper_with_pid(pid: Pid) -> Sleeper {
    let until = Instant::now() + Duration::from_secs(1);
    loop {
        match clone_with_pid(pid) {
            Sleeper::Taken if Instant::now() < until => thread::yield_now(),
            done => return done,
        }
    }
}

fn clone_with_pid(pid: Pid) -> Sleeper {
    let wanted = [pid.as_raw_nonzero().get()];
    let ready = &shared().words[15];
    ready.store(0, SeqCst);
    // SAFETY: all-zero is a valid clone_args.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    args.set_tid = wanted.as_ptr().expose_provenance() as u64;
    args.set_tid_size = 1;
    // SAFETY: without CLONE_VM this is a fork; the child makes system calls and nothing else.
    let raw = unsafe { libc::syscall(libc::SYS_clone3, &args, size_of_val(&args)) };
    match raw {
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EPERM) => Sleeper::NotPermitted,
            error if error.raw_os_error() == Some(libc::EEXIST) => Sleeper::Taken,
            error => panic!("clone3: {error}"),
        },
        0 => {
            // SAFETY: closes what this process will not use.
            unsafe { libc::close_range(0, u32::MAX, 0) };
            ready.store(1, SeqCst);
            loop {
                // SAFETY: sleeps until a signal.
                unsafe { libc::pause() };
            }
        }
        _ => {
            while ready.load(SeqCst) == 0 {
                core::hint::spin_loop();
            }
            Sleeper::Sleeps(pid)
        }
    }
}
