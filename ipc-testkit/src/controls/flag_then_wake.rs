//! The usual event: a flag, and a wake of all who sleep on it.
//!
//! If the process that sets it is killed between the two, the flag is up and everybody sleeps on: whoever sets it
//! again finds it set and has nothing to do.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use crate::battery::events::Signal;
use crate::sys;

/// A sleep that does not end by itself in any test.
const LONG: Duration = Duration::from_secs(3600);

/// An event that is set in one step, and whose waiters are woken in the next.
#[derive(Debug)]
#[repr(transparent)]
pub struct FlagThenWake(AtomicU32);

impl Signal for FlagThenWake {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn set(&self) {
        if self.0.swap(1, Ordering::AcqRel) == 0 {
            sys::futex_wake(&self.0, i32::MAX);
        }
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    fn wait(&self) {
        while !self.is_set() {
            sys::futex_wait(&self.0, 0, LONG);
        }
    }
}
