//! What is done with locks for many readers: pairs alone, and both sides reading at once.

use std::sync::{PoisonError, RwLock};

use crate::subject::{Done, Ends, Sides, Slice, Subject, Wrong};
use crate::sys::{self, place};

/// A lock for readers and writers over a counter.
pub trait Readers: Sync + Sized + 'static {
    /// The name in the report.
    const NAME: &'static str;
    /// Whether it works between processes.
    const SIDES: Sides;

    /// A free lock at its final place in shared memory, with the counter at zero.
    fn placed() -> &'static Self;

    /// Reads the counter under the lock.
    fn read(&self) -> u64;

    /// Adds one to the counter under the lock.
    fn add(&self);
}

impl Readers for RwLock<u64> {
    const NAME: &'static str = "std RwLock";
    const SIDES: Sides = Sides::Threads;

    fn placed() -> &'static Self {
        place(Self::new(0))
    }

    #[inline]
    fn read(&self) -> u64 {
        *Self::read(self).unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn add(&self) {
        *self.write().unwrap_or_else(PoisonError::into_inner) += 1;
    }
}

impl Readers for parking_lot::RwLock<u64> {
    const NAME: &'static str = "parking_lot RwLock";
    const SIDES: Sides = Sides::Threads;

    fn placed() -> &'static Self {
        place(Self::new(0))
    }

    #[inline]
    fn read(&self) -> u64 {
        *Self::read(self)
    }

    #[inline]
    fn add(&self) {
        *self.write() += 1;
    }
}

fn subject<R: Readers>(make: impl Fn() -> Ends + 'static) -> Subject {
    Subject { name: R::NAME, sides: R::SIDES, make: Box::new(make) }
}

/// Lock to read, read, unlock, with nobody else near.
#[must_use]
pub fn reading<R: Readers>() -> Subject {
    subject::<R>(|| {
        let lock = R::placed();
        Ends::alone(
            move |slice| {
                let sum = (0..slice.count).map(|_| lock.read()).sum();
                Ok(Done { operations: slice.count, checksum: sum, ..Done::default() })
            },
            |left, _| unchanged(left.checksum),
        )
    })
}

/// Lock to write, count, unlock, with nobody else near.
#[must_use]
pub fn writing<R: Readers>() -> Subject {
    subject::<R>(|| {
        let lock = R::placed();
        let mut total = 0;
        Ends::alone(
            move |slice| {
                (0..slice.count).for_each(|_| lock.add());
                Ok(Done { operations: slice.count, ..Done::default() })
            },
            move |left, _| {
                total += left.operations;
                let counted = lock.read();
                if counted == total { Ok(()) } else { Err(Wrong(format!("{counted} of {total}"))) }
            },
        )
    })
}

/// Both sides read until the deadline, and nobody writes.
#[must_use]
pub fn both_reading<R: Readers>() -> Subject {
    subject::<R>(|| {
        let lock = R::placed();
        let side = move |slice: Slice| -> Result<Done, Wrong> {
            let (mut operations, mut checksum) = (0, 0);
            while sys::now() < slice.deadline {
                // The clock costs as much as a few pairs, so it is read once for several.
                checksum += (0..32).map(|_| lock.read()).sum::<u64>();
                operations += 32;
            }
            Ok(Done { operations, checksum, ..Done::default() })
        };
        Ends {
            left: Box::new(side),
            right: Box::new(side),
            audit: Box::new(|left, right| unchanged(left.checksum + right.checksum)),
        }
    })
}

fn unchanged(sum: u64) -> Result<(), Wrong> {
    if sum == 0 { Ok(()) } else { Err(Wrong(format!("nobody wrote, and {sum} was read"))) }
}
