//! Does the kernel keep the exit status of a process that has been reaped?
//!
//! Asked by reaping one: a version number says nothing of what was patched in, and nothing of a filter
//! that refuses the question. The process shares this one's memory, so that making it costs the same
//! however large the application is.
//!
//! # Safety
//!
//! `CLONE_VM` and `CLONE_VFORK` together: this thread, the only one, sleeps until the process has
//! ended. That has a stack of its own, takes no signal, since all are blocked here, and returns a
//! number, which libc's `clone` hands to the kernel.
#![expect(unsafe_code, reason = "clone has no safe wrapper")]

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::process::{ExitStatus, pidfd_info};

/// How the process ends. Not zero, which is also what nothing looks like.
const CODE: c_int = 77;

/// `false` also if nobody can tell: the zygote itself then sees to the statuses.
pub(super) fn kernel_keeps_status() -> bool {
    let Some(pidfd) = reaped_process() else { return false };
    pidfd_info::exit_status(pidfd.as_fd()) == Ok(Some(ExitStatus::Exited(CODE)))
}

/// A process that has ended and been reaped.
fn reaped_process() -> Option<OwnedFd> {
    extern "C" fn end(_: *mut c_void) -> c_int {
        CODE
    }

    // Aligned as a stack must be. It is used for the return address.
    let mut stack = [const { MaybeUninit::<u128>::uninit() }; 256];
    let top = stack.as_mut_ptr_range().end.cast();
    let mut pidfd: c_int = -1;
    // It sends no signal when it ends, and is not reaped by the kernel where SIGCHLD is ignored.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    // SAFETY: see the head of this file. Stack and number live until the call returns.
    let pid = unsafe { libc::clone(end, top, flags, ptr::null_mut(), &raw mut pidfd) };
    if pid < 0 || pidfd < 0 {
        return None;
    }
    // SAFETY: the kernel made it for this call.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // Without a signal at its end it is not waited for unless that is asked for.
    let options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(libc::__WALL as u32);
    retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), options)).ok()?;
    Some(pidfd)
}
