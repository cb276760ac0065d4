//! POSIX's unnamed semaphore.
//!
//! # Safety
//! A `sem_t` is initialised once, at its final place in shared memory, and never moved or destroyed.
#![expect(unsafe_code, reason = "a C interface")]

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::fmt;
use core::mem::MaybeUninit;

use crate::peers::permits::Permits;
use crate::sys::place;

/// `sem_t`, shared between processes.
pub struct PosixSemaphore(UnsafeCell<MaybeUninit<libc::sem_t>>);

// SAFETY: it is made for sharing.
unsafe impl Sync for PosixSemaphore {}

impl fmt::Debug for PosixSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PosixSemaphore").finish_non_exhaustive()
    }
}

impl PosixSemaphore {
    fn raw(&self) -> *mut libc::sem_t {
        self.0.get().cast()
    }
}

impl Permits for PosixSemaphore {
    const NAME: &'static str = "sem_t";

    fn placed(permits: u32) -> &'static Self {
        let placed = place(Self(UnsafeCell::new(MaybeUninit::uninit())));
        // SAFETY: it is at its final place, and nobody else knows it yet.
        done(unsafe { libc::sem_init(placed.raw(), 1, permits) });
        placed
    }

    #[inline]
    fn acquire(&self) {
        // SAFETY: it was initialised by `placed`.
        done(unsafe { libc::sem_wait(self.raw()) });
    }

    #[inline]
    fn release(&self) {
        // SAFETY: it was initialised by `placed`.
        done(unsafe { libc::sem_post(self.raw()) });
    }

    fn available(&self) -> u32 {
        let mut permits = 0;
        // SAFETY: it was initialised by `placed`, and the number is ours.
        done(unsafe { libc::sem_getvalue(self.raw(), &raw mut permits) });
        u32::try_from(permits).unwrap_or(0)
    }
}

/// No error is expected: no signal comes, and there are few permits.
#[inline]
fn done(code: c_int) {
    assert!(code == 0, "sem_t: {}", std::io::Error::last_os_error());
}
