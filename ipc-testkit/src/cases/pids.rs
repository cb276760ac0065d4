//! Processes with a pid of the case's choice.
//!
//! # Safety
//!
//! A fork of a process with one thread, whose child makes system calls and nothing else.
#![expect(unsafe_code, reason = "clone3 has no safe wrapper")]

use core::mem;
use core::sync::atomic::Ordering::SeqCst;
use std::io;

use rustix::process::Pid;

use super::shared;

/// A process with exactly this pid, made by `clone3(set_tid)`, which closes all descriptors and
/// sleeps; `None` without the privilege.
#[must_use]
pub fn sleeper_with_pid(pid: Pid) -> Option<Pid> {
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
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) => None,
        -1 => panic!("clone3: {}", io::Error::last_os_error()),
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
            Some(pid)
        }
    }
}
