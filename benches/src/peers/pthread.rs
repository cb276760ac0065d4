//! The C library's process-shared mutexes: normal, robust, with priority inheritance.
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

/// The plain mutex.
pub const NORMAL: u8 = 0;
/// `PTHREAD_MUTEX_ROBUST`: its owner's death is told.
pub const ROBUST: u8 = 1;
/// `PTHREAD_PRIO_INHERIT`: its owner runs at the priority of who waits.
pub const INHERIT: u8 = 2;

/// `PTHREAD_PROCESS_SHARED`; `KIND` is [`NORMAL`], [`ROBUST`] or [`INHERIT`].
pub struct PthreadMutex<const KIND: u8> {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    counter: UnsafeCell<u64>,
}

// SAFETY: the mutex is made for sharing, and the counter is touched under it only.
unsafe impl<const KIND: u8> Sync for PthreadMutex<KIND> {}

impl<const KIND: u8> core::fmt::Debug for PthreadMutex<KIND> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PthreadMutex").field("kind", &KIND).finish_non_exhaustive()
    }
}

/// Holds a [`PthreadMutex`].
#[derive(Debug)]
pub struct PthreadGuard<'a, const KIND: u8> {
    lock: &'a PthreadMutex<KIND>,
    not_send: PhantomData<*const ()>,
}

impl<const KIND: u8> Lock for PthreadMutex<KIND> {
    const NAME: &'static str = match KIND {
        NORMAL => "pthread normal",
        ROBUST => "pthread robust",
        INHERIT => "pthread PI",
        _ => panic!("there is no such kind"),
    };
    const SIDES: Sides = Sides::Processes;
    type Guard<'a> = PthreadGuard<'a, KIND>;

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
        if KIND == ROBUST {
            // SAFETY: the attributes are initialised.
            done(unsafe {
                libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST)
            });
        }
        if KIND == INHERIT {
            // SAFETY: the attributes are initialised.
            done(unsafe {
                libc::pthread_mutexattr_setprotocol(attributes, libc::PTHREAD_PRIO_INHERIT)
            });
        }
        // SAFETY: the mutex is at its final place and nobody else knows it yet.
        done(unsafe { libc::pthread_mutex_init(placed.mutex.get(), attributes) });
        // SAFETY: the attributes are initialised and not used again.
        done(unsafe { libc::pthread_mutexattr_destroy(attributes) });
        placed
    }

    #[inline]
    fn lock(&'static self) -> PthreadGuard<'static, KIND> {
        // SAFETY: the mutex was initialised by `placed`.
        done(unsafe { libc::pthread_mutex_lock(self.mutex.get()) });
        PthreadGuard { lock: self, not_send: PhantomData }
    }
}

impl<const KIND: u8> Deref for PthreadGuard<'_, KIND> {
    type Target = u64;

    #[inline]
    fn deref(&self) -> &u64 {
        // SAFETY: the lock is held by this thread as long as the guard lives.
        unsafe { &*self.lock.counter.get() }
    }
}

impl<const KIND: u8> DerefMut for PthreadGuard<'_, KIND> {
    #[inline]
    fn deref_mut(&mut self) -> &mut u64 {
        // SAFETY: the lock is held by this thread, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.counter.get() }
    }
}

impl<const KIND: u8> Drop for PthreadGuard<'_, KIND> {
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
