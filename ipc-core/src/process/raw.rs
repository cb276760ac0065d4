//! System calls without libc's wrappers, for the places where a wrapper would do too much.
//!
//! `syscall` of libc enters the kernel and sets `errno`, and that is all it does: it takes no lock,
//! it is no point of cancellation, and it knows nothing of signals that libc keeps to itself. So it
//! may be called in a child that shares its parent's memory, whatever is going on in the parent.
//!
//! # Safety
//!
//! [`syscall`] passes its caller's promise on.
#![expect(unsafe_code, reason = "a system call of any number")]

use core::ffi::c_long;

use rustix::fd::{AsRawFd, BorrowedFd};

use crate::Result;
use crate::errno::last_errno;

/// The system call `number`; pointers are given as their exposed addresses.
///
/// # Safety
///
/// As the call itself: memory that it reads and writes must be there.
pub(super) unsafe fn syscall(number: c_long, arguments: [usize; 4]) -> Result<usize> {
    let [a, b, c, d] = arguments;
    // SAFETY: the caller's promise.
    let answer = unsafe { libc::syscall(number, a, b, c, d) };
    usize::try_from(answer).map_err(|_| last_errno())
}

/// `pidfd_send_signal(pidfd, signal, NULL, flags)`, also with signal 0, which is only a question: `ESRCH`
/// says that the process has been reaped.
pub(super) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32, flags: usize) -> Result<()> {
    let arguments = [pidfd.as_raw_fd() as usize, signal as usize, 0, flags];
    // SAFETY: without a `siginfo` the call reads no memory.
    unsafe { syscall(libc::SYS_pidfd_send_signal, arguments) }.map(drop)
}
