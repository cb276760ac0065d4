//! The C library's process-shared mutexes.
//!
//! # Safety
//! A `pthread_mutex_t` is initialised once, at its final place in shared memory, and never moved or
//! destroyed. The guard is made by the thread that holds the lock and cannot leave it (`*const`
//! makes it `!Send`), so the unlock is the owner's and the counter is touched under the lock only.
#![expect(unsafe_code, reason = "a C interface")]

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};

use crate::peers::locks::Lock;
use crate::subject::Sides;
use crate::sys::place;

/// `PTHREAD_PROCESS_SHARED`, normal or robust.
pub struct PthreadMutex<const ROBUST: bool> {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    counter: UnsafeCell<u64>,
}

// SAFETY: the mutex is made for sharing, and the counter is touched under it only.
unsafe impl<const ROBUST: bool> Sync for PthreadMutex<ROBUST> {}

impl<const ROBUST: bool> core::fmt::Debug for PthreadMutex<ROBUST> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PthreadMutex").field("robust", &ROBUST).finish_non_exhaustive()
    }
}

/// Holds a [`PthreadMutex`].
#[derive(Debug)]
pub struct PthreadGuard<'a, const ROBUST: bool> {
    lock: &'a PthreadMutex<ROBUST>,
    not_send: PhantomData<*const ()>,
}

impl<const ROBUST: bool> Lock for PthreadMutex<ROBUST> {
    const NAME: &'static str = if ROBUST { "pthread robust" } else { "pthread normal" };
    const SIDES: Sides = Sides::Processes;
    type Guard<'a> = PthreadGuard<'a, ROBUST>;

    fn placed() -> &'static Self {
        let placed = place(Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            counter: UnsafeCell::new(0),
        });
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are ours to initialise.
        done(unsafe { libc::pthread_mutexattr_init(attributes) });
        // SAFETY: the attributes are initialised.
        done(unsafe {
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED)
        });
        if ROBUST {
            // SAFETY: the attributes are initialised.
            done(unsafe {
                libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST)
            });
        }
        // SAFETY: the mutex is at its final place and nobody else knows it yet.
        done(unsafe { libc::pthread_mutex_init(placed.mutex.get(), attributes) });
        // SAFETY: the attributes are initialised and not used again.
        done(unsafe { libc::pthread_mutexattr_destroy(attributes) });
        placed
    }

    #[inline]
    fn lock(&'static self) -> PthreadGuard<'static, ROBUST> {
        // SAFETY: the mutex was initialised by `placed`.
        done(unsafe { libc::pthread_mutex_lock(self.mutex.get()) });
        PthreadGuard { lock: self, not_send: PhantomData }
    }
}

impl<const ROBUST: bool> Deref for PthreadGuard<'_, ROBUST> {
    type Target = u64;

    #[inline]
    fn deref(&self) -> &u64 {
        // SAFETY: the lock is held by this thread as long as the guard lives.
        unsafe { &*self.lock.counter.get() }
    }
}

impl<const ROBUST: bool> DerefMut for PthreadGuard<'_, ROBUST> {
    #[inline]
    fn deref_mut(&mut self) -> &mut u64 {
        // SAFETY: the lock is held by this thread, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.counter.get() }
    }
}

impl<const ROBUST: bool> Drop for PthreadGuard<'_, ROBUST> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this thread holds the lock: the guard says so.
        done(unsafe { libc::pthread_mutex_unlock(self.lock.mutex.get()) });
    }
}

/// No error is expected: nobody dies here, and the arguments are right.
#[inline]
fn done(code: c_int) {
    assert!(code == 0, "pthread error {code}");
}
