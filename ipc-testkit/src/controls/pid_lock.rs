//! A futex lock whose word is the owner's pid, with nobody who looks whether that process is alive.
//!
//! A victim that dies between its compare-exchange and its release leaves the lock taken for ever.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use crate::battery::locks::{Held, Lock};
use crate::sys;

/// 0: free; a pid: taken; with the top bit: taken, and somebody may sleep.
#[derive(Debug)]
#[repr(transparent)]
pub struct PidLock(AtomicU32);

const SLEEPERS: u32 = 1 << 31;
const LONG: Duration = Duration::from_secs(3600);

/// Releases a [`PidLock`] when dropped.
#[derive(Debug)]
pub struct PidGuard<'a>(&'a PidLock);

impl Lock for PidLock {
    type Guard<'a> = PidGuard<'a>;

    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn lock(&self) -> Held<PidGuard<'_>> {
        let me = sys::pid() as u32;
        let mut mine = me;
        while let Err(word) = self.0.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed)
        {
            // Once asleep, always suspect others: one wake-up takes the mark of all sleepers away.
            mine = me | SLEEPERS;
            let marked = word | SLEEPERS;
            if word == marked
                || self
                    .0
                    .compare_exchange(word, marked, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                sys::futex_wait(&self.0, marked, LONG);
            }
        }
        Held { guard: PidGuard(self), recovered: false }
    }

    fn try_lock(&self) -> Option<Held<PidGuard<'_>>> {
        let taken =
            self.0.compare_exchange(0, sys::pid() as u32, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Held { guard: PidGuard(self), recovered: false })
    }

    fn owner(&self) -> u32 {
        self.0.load(Ordering::Relaxed) & !SLEEPERS
    }
}

impl Drop for PidGuard<'_> {
    fn drop(&mut self) {
        if self.0.0.swap(0, Ordering::Release) & SLEEPERS != 0 {
            sys::futex_wake(&self.0.0, 1);
        }
    }
}
