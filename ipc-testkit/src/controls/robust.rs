//! The C library's robust process-shared mutex.
//!
//! The death of its owner is told well. But a waiter that was woken has taken the mark of all waiters with it: if a
//! newcomer takes the lock before the woken one runs, and the woken one is killed, then the newcomer's unlock sees no
//! mark and wakes nobody. The others sleep for ever on a free lock.
//!
//! # Safety
//!
//! A `pthread_mutex_t` is only used through its functions, by shared reference, from its one address; glibc's
//! `pthread_mutex_init` stores no address in it, so that it may be moved before its first use.

#![expect(unsafe_code, reason = "pthread_mutex_t")]

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::battery::locks::{DEAD_OWNER, Held, Lock};

/// A `pthread_mutex_t` with the attributes robust and process-shared.
#[repr(transparent)]
pub struct RobustMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a process-shared mutex is made to be used by many at once; all access is through its functions.
unsafe impl Sync for RobustMutex {}

/// Unlocks a [`RobustMutex`] when dropped.
#[derive(Debug)]
pub struct RobustGuard<'a>(&'a RobustMutex);

impl Lock for RobustMutex {
    type Guard<'a> = RobustGuard<'a>;

    fn new() -> Self {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: `attributes` is writable.
        expect_ok(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) });
        // SAFETY: the attributes were initialised above.
        expect_ok(unsafe {
            libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            )
        });
        // SAFETY: the attributes were initialised above.
        expect_ok(unsafe {
            libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST)
        });
        let mut mutex = MaybeUninit::uninit();
        // SAFETY: `mutex` is writable, and the attributes were initialised.
        expect_ok(unsafe { libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr()) });
        // SAFETY: `pthread_mutex_init` succeeded.
        Self(UnsafeCell::new(unsafe { mutex.assume_init() }))
    }

    fn lock(&self) -> Held<RobustGuard<'_>> {
        // SAFETY: the mutex was initialised in `new`.
        self.taken(unsafe { libc::pthread_mutex_lock(self.0.get()) })
    }

    fn try_lock(&self) -> Option<Held<RobustGuard<'_>>> {
        // SAFETY: the mutex was initialised in `new`.
        match unsafe { libc::pthread_mutex_trylock(self.0.get()) } {
            libc::EBUSY => None,
            result => Some(self.taken(result)),
        }
    }

    fn owner(&self) -> u32 {
        // SAFETY: the mutex is live and begins with glibc's lock word, which everybody uses as an atomic.
        let word = unsafe { AtomicU32::from_ptr(self.0.get().cast()) };
        match word.load(Ordering::Relaxed) {
            word if word & libc::FUTEX_OWNER_DIED != 0 => DEAD_OWNER,
            word => word & libc::FUTEX_TID_MASK,
        }
    }
}

impl RobustMutex {
    fn taken(&self, result: i32) -> Held<RobustGuard<'_>> {
        let recovered = result == libc::EOWNERDEAD;
        if recovered {
            // SAFETY: the mutex was initialised in `new` and is owned by this thread.
            expect_ok(unsafe { libc::pthread_mutex_consistent(self.0.get()) });
        } else {
            expect_ok(result);
        }
        Held { guard: RobustGuard(self), recovered }
    }
}

impl Drop for RobustGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: a guard exists only while this thread owns the mutex.
        expect_ok(unsafe { libc::pthread_mutex_unlock(self.0.0.get()) });
    }
}

impl fmt::Debug for RobustMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RobustMutex").field("owner", &self.owner()).finish()
    }
}

fn expect_ok(result: i32) {
    assert_eq!(result, 0, "a function of the C library's mutex failed");
}
