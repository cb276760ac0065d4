//! What can be done to a mapping behind the back of who has it.
//!
//! # Safety
//!
//! The call reads and writes no memory.
#![expect(unsafe_code, reason = "a system call without a wrapper")]

use rustix::io::Errno;

/// `mseal(2)`: from now on the kernel neither unmaps these pages nor maps others there.
///
/// # Errors
///
/// `ENOSYS` before Linux 6.10, `EPERM` on 32-bit kernels.
pub fn seal(start: usize, length: usize) -> Result<(), Errno> {
    const MSEAL: i64 = 462;
    // SAFETY: takes rights away only.
    let sealed = unsafe { libc::syscall(MSEAL, start, length, 0) };
    if sealed == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}
