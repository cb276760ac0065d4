//! POSIX's unnamed semaphore, and its lock for readers and writers, shared between processes.
//!
//! # Safety
//! Each is initialised once, at its final place in shared memory, and never moved or destroyed. The counter is
//! touched under its lock only.
#![expect(unsafe_code, reason = "a C interface")]

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::fmt;
use core::mem::MaybeUninit;

use crate::peers::permits::Permits;
use crate::peers::readers::Readers;
use crate::subject::Sides;
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

/// `pthread_rwlock_t`, shared between processes.
pub struct PosixRwLock {
    lock: UnsafeCell<libc::pthread_rwlock_t>,
    counter: UnsafeCell<u64>,
}

// SAFETY: it is made for sharing, and the counter is touched under it only.
unsafe impl Sync for PosixRwLock {}

impl fmt::Debug for PosixRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PosixRwLock").finish_non_exhaustive()
    }
}

impl PosixRwLock {
    #[inline]
    fn unlock(&self) {
        // SAFETY: this thread holds it: the callers lock it first.
        done(unsafe { libc::pthread_rwlock_unlock(self.lock.get()) });
    }
}

impl Readers for PosixRwLock {
    const NAME: &'static str = "pthread_rwlock";
    const SIDES: Sides = Sides::Processes;

    fn placed() -> &'static Self {
        let placed = place(Self {
            lock: UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER),
            counter: UnsafeCell::new(0),
        });
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are ours to initialise.
        done(unsafe { libc::pthread_rwlockattr_init(attributes) });
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: the attributes are initialised.
        done(unsafe { libc::pthread_rwlockattr_setpshared(attributes, shared) });
        // SAFETY: the lock is at its final place and nobody else knows it yet.
        done(unsafe { libc::pthread_rwlock_init(placed.lock.get(), attributes) });
        // SAFETY: the attributes are initialised and not used again.
        done(unsafe { libc::pthread_rwlockattr_destroy(attributes) });
        placed
    }

    #[inline]
    fn read(&self) -> u64 {
        // SAFETY: it was initialised by `placed`.
        done(unsafe { libc::pthread_rwlock_rdlock(self.lock.get()) });
        // SAFETY: under the lock nobody writes.
        let value = unsafe { *self.counter.get() };
        self.unlock();
        value
    }

    #[inline]
    fn add(&self) {
        // SAFETY: it was initialised by `placed`.
        done(unsafe { libc::pthread_rwlock_wrlock(self.lock.get()) });
        // SAFETY: under the lock nobody else reads or writes.
        unsafe { *self.counter.get() += 1 };
        self.unlock();
    }
}

/// No error is expected: no signal comes, and there are few permits.
#[inline]
fn done(code: c_int) {
    assert!(code == 0, "{code}: {}", std::io::Error::last_os_error());
}
