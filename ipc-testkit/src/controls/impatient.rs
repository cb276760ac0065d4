//! A lock that takes an owner for dead after it has waited a while: liveness by time-out.
//!
//! It gets over every death. But it also takes the lock away from an owner that is only slow, and then two are inside.

use core::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::battery::locks::{Held, Lock};
use crate::sys;

/// 0: free; else the owner's pid.
#[derive(Debug)]
#[repr(transparent)]
pub struct Impatient(AtomicU32);

/// How many looks at the same owner it takes to lose patience.
const PATIENCE: u32 = 200;

/// Releases an [`Impatient`] lock when dropped, if it was not taken away.
#[derive(Debug)]
pub struct ImpatientGuard<'a>(&'a Impatient, u32);

impl Lock for Impatient {
    type Guard<'a> = ImpatientGuard<'a>;

    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn lock(&self) -> Held<ImpatientGuard<'_>> {
        loop {
            if let Some(held) = self.try_lock() {
                return held;
            }
        }
    }

    /// Gives even the patience of a `try_lock` to the owner, and then takes the lock.
    fn try_lock(&self) -> Option<Held<ImpatientGuard<'_>>> {
        let me = sys::pid() as u32;
        let owner = self.0.load(Ordering::Relaxed);
        if owner != 0 {
            for _ in 0..PATIENCE {
                thread::yield_now();
                if self.0.load(Ordering::Relaxed) != owner {
                    return None;
                }
            }
        }
        let taken = self.0.compare_exchange(owner, me, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Held { guard: ImpatientGuard(self, me), recovered: owner != 0 })
    }

    fn owner(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for ImpatientGuard<'_> {
    fn drop(&mut self) {
        // Fails if the lock was taken away, and then there is nothing to release.
        let _ = self.0.0.compare_exchange(self.1, 0, Ordering::Release, Ordering::Relaxed);
    }
}
