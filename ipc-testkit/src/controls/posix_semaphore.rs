//! The C library's process-shared semaphore.
//!
//! A post wakes one waiter. If that one is killed before it takes the token, the token is there and the others
//! sleep on.
//!
//! # Safety
//!
//! A `sem_t` is only used through its functions, by shared reference, from its one address; glibc's `sem_init` stores no
//! address in it, so that it may be moved before its first use.

#![expect(unsafe_code, reason = "sem_t")]

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::fmt;
use core::mem::MaybeUninit;
use std::io;

use crate::battery::semaphores::Permits;

/// A process-shared `sem_t`.
#[repr(transparent)]
pub struct PosixSemaphore(UnsafeCell<libc::sem_t>);

// SAFETY: a process-shared semaphore is made to be used by many at once; all access is through its functions.
unsafe impl Sync for PosixSemaphore {}

impl Permits for PosixSemaphore {
    fn new(permits: u32) -> Self {
        let mut semaphore = MaybeUninit::uninit();
        // SAFETY: `semaphore` is writable.
        expect_ok(unsafe { libc::sem_init(semaphore.as_mut_ptr(), 1, permits) });
        // SAFETY: `sem_init` succeeded.
        Self(UnsafeCell::new(unsafe { semaphore.assume_init() }))
    }

    fn acquire(&self) {
        // SAFETY: the semaphore was initialised in `new`.
        while unsafe { libc::sem_wait(self.0.get()) } != 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "sem_wait: {error}");
        }
    }

    fn try_acquire(&self) -> bool {
        // SAFETY: the semaphore was initialised in `new`.
        unsafe { libc::sem_trywait(self.0.get()) == 0 }
    }

    fn release(&self) -> bool {
        // SAFETY: the semaphore was initialised in `new`.
        expect_ok(unsafe { libc::sem_post(self.0.get()) });
        true
    }

    fn available(&self) -> u32 {
        let mut value = 0;
        // SAFETY: the semaphore was initialised in `new`, and `value` is writable.
        expect_ok(unsafe { libc::sem_getvalue(self.0.get(), &raw mut value) });
        value.unsigned_abs()
    }
}

fn expect_ok(result: c_int) {
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

impl fmt::Debug for PosixSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PosixSemaphore").finish_non_exhaustive()
    }
}
