//! Ours, as subjects.
//!
//! # Safety
//! A lock that tells the kernel its address must lie in memory that is used for nothing else while
//! a thread holds it. [`place`] never gives memory back.
#![expect(unsafe_code, reason = "the promise that a lock's memory stays")]

use ipc_sync::{Mutex, MutexGuard};

use crate::peers::locks::Lock;
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
