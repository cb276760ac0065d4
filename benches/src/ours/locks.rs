//! Our locks, as subjects.
//!
//! # Safety
//! A lock that tells the kernel its address must lie in memory that is used for nothing else while
//! a thread holds it. [`place`] never gives memory back.
#![expect(unsafe_code, reason = "the promise that a lock's memory stays")]

use ipc_sync::{Mutex, MutexGuard, RwLock, Semaphore};

use crate::peers::locks::Lock;
use crate::peers::permits::Permits;
use crate::peers::readers::Readers;
use crate::subject::Sides;
use crate::sys::place;
use crate::targets;

/// With everything it promises: its waiters notice a holder's death at once.
impl Lock for Mutex<u64> {
    const NAME: &'static str = targets::MUTEX;
    const SIDES: Sides = Sides::Processes;
    type Guard<'a> = MutexGuard<'a, u64>;

    fn placed() -> &'static Self {
        // SAFETY: the memory of `place` is never given back.
        place(unsafe { Self::in_region(0) })
    }

    #[inline]
    fn lock(&'static self) -> MutexGuard<'static, u64> {
        match Self::lock(self) {
            Ok(guard) => guard,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Permits for Semaphore {
    const NAME: &'static str = targets::SEMAPHORE;

    fn placed(permits: u32) -> &'static Self {
        place(Self::new(permits))
    }

    #[inline]
    fn acquire(&self) {
        Self::acquire(self).expect("a wait without a time-out");
    }

    #[inline]
    fn release(&self) {
        Self::release(self).expect("a few permits");
    }

    fn available(&self) -> u32 {
        Self::available(self)
    }
}

/// Likewise.
impl Readers for RwLock<u64, 16> {
    const NAME: &'static str = targets::RWLOCK;
    const SIDES: Sides = Sides::Processes;

    fn placed() -> &'static Self {
        // SAFETY: the memory of `place` is never given back.
        place(unsafe { Self::in_region(0) })
    }

    #[inline]
    fn read(&self) -> u64 {
        *Self::read(self).expect("nobody dies")
    }

    #[inline]
    fn add(&self) {
        *self.write().expect("nobody dies") += 1;
    }
}
