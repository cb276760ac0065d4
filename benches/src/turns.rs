//! Turns that go to and fro between two sides, and how long they take.

use std::sync::LazyLock;

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering::*};

use crate::subject::{Done, Latency};
use crate::sys::{self, place};

/// How a turn passes from one side to the other, and what of it is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// At once; the whole round trip counts.
    AtOnce,
    /// The giver waits until the taker has surely gone to sleep; only the time from giving to
    /// taking counts, in both directions.
    Asleep,
}

impl Handover {
    /// Longer than any reasonable spinning before sleep.
    const UNTIL_ASLEEP: u64 = 80_000;
}

/// One side's turns.
#[derive(Debug)]
pub struct Turns {
    handover: Handover,
    hops: &'static Hops,
    /// The left side, which accounts for round trips.
    leads: bool,
    /// One trip in so many is timed by itself.
    every: u64,
    /// Something is to be done when so many turns have been given; never, if 0.
    countdown: u64,
    /// When the trip that is being timed began, or among sleepers any time; 0 if there is nothing to do when the turn comes.
    began: u64,
    /// The nanoseconds of all hops to this side, in this slice.
    total: u64,
    /// The single trips that were timed in this slice.
    trips: Vec<u64>,
}

/// What the sides of sleepers tell each other.
#[derive(Debug)]
struct Hops {
    /// When the turn was given away; 0 once that is accounted for.
    given: AtomicU64,
    /// What the last hop to the right side took; 0 once that is accounted for.
    right: AtomicU64,
}

impl Turns {
    /// While a trip takes more than about this part of a slice, each one is timed: a reading of the clock is then
    /// no more than 1 % of it.
    const FEW: u64 = 4096;
    /// Else one in so many.
    const EVERY: u64 = 64;

    /// Of the left side, and of the right one.
    #[must_use]
    pub fn both(handover: Handover) -> [Self; 2] {
        LazyLock::force(&READING);
        let hops = place(Hops { given: AtomicU64::new(0), right: AtomicU64::new(0) });
        [true, false].map(|leads| Self {
            handover,
            hops,
            leads,
            every: 1,
            countdown: 0,
            began: 0,
            total: 0,
            trips: Vec::new(),
        })
    }

    /// A slice of about `count` trips begins. The left side comes here before it gives a turn away.
    pub fn begin(&mut self, count: u64) {
        let asleep = self.handover == Handover::Asleep;
        self.every = if count > Self::FEW && !asleep { Self::EVERY } else { 1 };
        self.countdown = u64::from(self.leads || asleep);
        self.began = u64::from(asleep);
        self.total = 0;
        self.trips.clear();
        if self.leads {
            self.hops.given.store(0, Relaxed);
        }
    }

    /// The turn goes to the other side now.
    #[inline(always)]
    pub fn give(&mut self) {
        self.countdown = self.countdown.wrapping_sub(1);
        if self.countdown == 0 {
            self.give_timed();
        }
    }

    #[cold]
    fn give_timed(&mut self) {
        self.countdown = self.every;
        match self.handover {
            Handover::AtOnce => self.began = sys::now(),
            Handover::Asleep => {
                let start = sys::now();
                while sys::now() < start + Handover::UNTIL_ASLEEP {
                    spin_loop();
                }
                self.hops.given.store(sys::now(), Relaxed);
            }
        }
    }

    /// The turn has come from the other side. Nothing is accounted for if nobody gave it.
    #[inline(always)]
    pub fn taken(&mut self) {
        if self.began != 0 {
            self.taken_timed();
        }
    }

    #[cold]
    fn taken_timed(&mut self) {
        match self.handover {
            Handover::AtOnce => {
                self.trips.push((sys::now() - self.began).saturating_sub(*READING));
                self.began = 0;
            }
            Handover::Asleep => {
                let now = sys::now();
                let given = self.hops.given.swap(0, Relaxed);
                if given == 0 {
                    return;
                }
                let hop = now.saturating_sub(given);
                self.total += hop;
                if !self.leads {
                    self.hops.right.store(hop, Relaxed);
                } else if let right @ 1.. = self.hops.right.swap(0, Relaxed) {
                    self.trips.push(right + hop);
                }
            }
        }
    }

    /// The account of the slice.
    pub fn done(&mut self, operations: u64, checksum: u64) -> Done {
        let nanoseconds = (self.handover == Handover::Asleep).then_some(self.total);
        Done { operations, checksum, nanoseconds, latency: Latency::of(&mut self.trips) }
    }
}

/// What a pair of readings of the clock says of nothing in between, in nanoseconds.
static READING: LazyLock<u64> = LazyLock::new(|| {
    let mut pairs: Vec<u64> = (0..1001)
        .map(|_| {
            let start = sys::now();
            sys::now() - start
        })
        .collect();
    *pairs.select_nth_unstable(500).1
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trip_in_many_is_timed_or_each_if_they_are_few() {
        for (count, timed) in [(64 * 1024, 1024), (4096, 4096)] {
            let [mut left, mut right] = Turns::both(Handover::AtOnce);
            left.begin(count);
            right.begin(count);
            for _ in 0..count {
                left.give();
                right.taken();
                right.give();
                left.taken();
            }
            assert_eq!((left.trips.len(), right.trips.len()), (timed, 0));
            let done = left.done(count, 7);
            assert_eq!((done.operations, done.checksum, done.nanoseconds), (count, 7, None));
            let latency = done.latency.expect("some were timed");
            assert!(latency.p50 <= latency.p99);
            assert_eq!(right.done(count, 7).latency, None);
        }
    }

    #[test]
    fn a_trip_of_sleepers_is_its_two_hops() {
        let [mut left, mut right] = Turns::both(Handover::Asleep);
        left.begin(64);
        right.begin(64);
        // Nobody has given these.
        left.taken();
        right.taken();
        assert_eq!((left.total, right.total), (0, 0));
        left.give();
        right.taken();
        right.give();
        left.taken();
        assert!(left.total > 0 && right.total > 0);
        assert_eq!(left.trips, [left.total + right.total]);
        // What was given in the last slice is not taken in this one.
        right.give();
        left.begin(64);
        left.taken();
        assert_eq!(left.done(64, 0).nanoseconds, Some(0));
    }
}
