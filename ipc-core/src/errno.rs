//! The error number of the C library's last call.
//!
//! # Safety
//!
//! libc keeps one number for each thread, valid as long as the thread.
#![expect(unsafe_code, reason = "a pointer into libc's memory")]

use rustix::io::Errno;

/// Why the call of libc failed that this thread has just made.
pub(crate) fn last_errno() -> Errno {
    // SAFETY: the address of this thread's own number.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: it is there and aligned.
    Errno::from_raw_os_error(unsafe { location.read() })
}
