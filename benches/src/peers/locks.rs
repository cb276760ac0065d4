//! What is done with locks, for any lock: pairs alone, contention, and handing over.
//!
//! A lock joins by implementing [`Lock`]; its subjects then follow from the functions below.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use core::hint::spin_loop;
use core::ops::DerefMut;
use core::sync::atomic::{AtomicU64, Ordering::*};

use crate::subject::{Done, Ends, Sides, Slice, Subject, Wrong};
use crate::sys::{self, place};
use crate::turns::{Handover, Turns};

/// A mutex over a counter, free when made, that needs nothing but its own memory.
pub trait Lock: Sync + Sized + 'static {
    /// The name in the report.
    const NAME: &'static str;
    /// Whether it works between processes.
    const SIDES: Sides;
    /// Holds the lock; dropped to release it.
    type Guard<'a>: DerefMut<Target = u64>;

    /// A free lock at its final place in shared memory, with the counter at zero.
    fn placed() -> &'static Self;

    /// Waits for the lock.
    fn lock(&'static self) -> Self::Guard<'static>;
}

impl Lock for Mutex<u64> {
    const NAME: &'static str = "std Mutex";
    const SIDES: Sides = Sides::Threads;
    type Guard<'a> = MutexGuard<'a, u64>;

    fn placed() -> &'static Self {
        place(Self::new(0))
    }

    #[inline]
    fn lock(&'static self) -> MutexGuard<'static, u64> {
        Self::lock(self).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lock for parking_lot::Mutex<u64> {
    const NAME: &'static str = "parking_lot Mutex";
    const SIDES: Sides = Sides::Threads;
    type Guard<'a> = parking_lot::MutexGuard<'a, u64>;

    fn placed() -> &'static Self {
        place(Self::new(0))
    }

    #[inline]
    fn lock(&'static self) -> parking_lot::MutexGuard<'static, u64> {
        Self::lock(self)
    }
}

fn subject<L: Lock>(make: impl Fn() -> Ends + 'static) -> Subject {
    Subject { name: L::NAME, sides: L::SIDES, make: Box::new(make) }
}

/// Lock, count, unlock, with nobody else near.
#[must_use]
pub fn alone<L: Lock>() -> Subject {
    subject::<L>(|| {
        let lock = L::placed();
        let mut total = 0;
        Ends::alone(
            move |slice| {
                for _ in 0..slice.count {
                    *lock.lock() += 1;
                }
                Ok(Done { operations: slice.count, ..Done::default() })
            },
            move |left, _| {
                total += left.operations;
                counted(*lock.lock(), total)
            },
        )
    })
}

/// The time that a contender spends inside and outside of the lock.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Nanoseconds with the lock held.
    pub inside: u64,
    /// Nanoseconds between release and the next attempt.
    pub outside: u64,
}

/// Both sides lock, count and unlock until the deadline.
#[must_use]
pub fn contended<L: Lock>(section: Section) -> Subject {
    subject::<L>(move || {
        let lock = L::placed();
        let (inside, outside) = (pauses(section.inside), pauses(section.outside));
        let side = move |slice: Slice| -> Result<Done, Wrong> {
            let mut operations = 0;
            while sys::now() < slice.deadline {
                // The clock costs as much as a few pairs, so it is read once for several.
                for _ in 0..32 {
                    let mut guard = lock.lock();
                    *guard += 1;
                    pause(inside);
                    drop(guard);
                    pause(outside);
                }
                operations += 32;
            }
            Ok(Done { operations, ..Done::default() })
        };
        let mut total = 0;
        Ends {
            left: Box::new(side),
            right: Box::new(side),
            audit: Box::new(move |left, right| {
                total += left.operations + right.operations;
                counted(*lock.lock(), total)
            }),
        }
    })
}

fn counted(counter: u64, total: u64) -> Result<(), Wrong> {
    if counter == total {
        Ok(())
    } else {
        Err(Wrong(format!("{total} sections were entered, the counter says {counter}")))
    }
}

/// Two sides that chase each other through three locks, hand over hand, so that each release lets
/// the other side go on: a round trip is two hand-overs.
///
/// A side holds one lock, waits for the next one, and only then lets go of the first. A shared
/// counter must be seen to go up by exactly one from turn to turn.
#[must_use]
pub fn handed_over<L: Lock>(handover: Handover) -> Subject {
    struct Track<L: 'static> {
        locks: [&'static L; 3],
        /// Sides that hold their first lock, over all slices.
        started: AtomicU64,
        sections: AtomicU64,
        /// Trips in this slice, once the left side has seen that it takes too long.
        last: AtomicU64,
    }
    subject::<L>(move || {
        let track: &'static Track<L> = place(Track {
            locks: [L::placed(), L::placed(), L::placed()],
            started: AtomicU64::new(0),
            sections: AtomicU64::new(0),
            last: AtomicU64::new(u64::MAX),
        });
        let [left, right] = Turns::both(handover);
        let side = move |first: u64, mut turns: Turns| {
            let mut slices = 0;
            move |slice: Slice| -> Result<Done, Wrong> {
                let Track { locks, started, sections, last } = track;
                let leads = first == 0;
                if leads {
                    last.store(u64::MAX, Relaxed);
                }
                turns.begin(slice.count);
                let mut at = first as usize;
                let mut held = locks[at].lock();
                let before = sections.load(Relaxed);
                slices += 1;
                // SYNC: the first locks are held on both sides (AcqRel both).
                started.fetch_add(1, AcqRel);
                while started.load(Acquire) < 2 * slices {
                    // On one processor the other side can only come here if we let it.
                    thread::yield_now();
                }
                let mut trip = 0;
                while trip < slice.count.min(last.load(Relaxed)) {
                    at = (at + 1) % 3;
                    let next = locks[at].lock();
                    turns.taken();
                    // The right side takes the even turns, the left side the odd ones.
                    let turn = sections.load(Relaxed);
                    let expected = before + 2 * trip + u64::from(leads);
                    if turn != expected {
                        return Err(Wrong(format!("turn {turn} where {expected} was due")));
                    }
                    sections.store(turn + 1, Relaxed);
                    trip += 1;
                    // A lock that falls asleep takes hundreds of times longer than one that spins,
                    // so a count learnt awake may be far too large. The right side reads the new
                    // end in its next turn, which begins after this one.
                    if leads && trip % 64 == 0 && sys::now() > slice.deadline {
                        last.store(trip + 1, Relaxed);
                    }
                    turns.give();
                    held = next;
                }
                drop(held);
                Ok(turns.done(trip, 0))
            }
        };
        Ends::agreeing(side(0, left), side(1, right))
    })
}

/// How many spin hints fill so many nanoseconds, measured once, before the fork.
fn pauses(nanoseconds: u64) -> u64 {
    static NANOSECONDS_PER_THOUSAND: LazyLock<u64> = LazyLock::new(|| {
        let trials = (0..9).map(|_| {
            let start = sys::now();
            pause(1000);
            sys::now() - start
        });
        trials.min().unwrap_or(1).max(1)
    });
    (nanoseconds * 1000 + *NANOSECONDS_PER_THOUSAND / 2) / *NANOSECONDS_PER_THOUSAND
}

#[inline]
fn pause(count: u64) {
    for _ in 0..count {
        spin_loop();
    }
}
