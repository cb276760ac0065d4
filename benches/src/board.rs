//! The memory between the sides: orders, the line of the probe, samples, and the reason of a failure.
//!
//! Everything here is an atomic: a side may be killed at any moment, and the supervisor reads what
//! is left. Only orders and results need ordering, and the rendezvous gives it to them.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::*};

use crate::stats::Sample;
use crate::subject::{Done, Slice};
use crate::sys;

/// One per row, shared by the supervisor and both sides.
#[derive(Debug)]
pub(crate) struct Board {
    /// The right process's desk, then the right thread's.
    pub(crate) desks: [Desk; 2],
    /// The line that the probe bounces between the two processors.
    pub(crate) line: Line,
    /// What runs at the moment, for the watchdog.
    pub(crate) progress: Progress,
    samples: Samples,
    failure: Failure,
}

impl Board {
    /// Room for this many pairs.
    pub(crate) const CAPACITY: usize = 1024;

    pub(crate) fn new() -> Self {
        Self {
            desks: [Desk::new(), Desk::new()],
            line: Line(AtomicU64::new(0)),
            progress: Progress { subject: AtomicU32::new(0), since: AtomicU64::new(0) },
            samples: Samples {
                len: AtomicU32::new(0),
                items: [const { [const { AtomicU64::new(0) }; Sample::WORDS] }; Self::CAPACITY],
            },
            failure: Failure {
                state: AtomicU32::new(Failure::NONE),
                len: AtomicU32::new(0),
                text: [const { AtomicU8::new(0) }; Failure::ROOM],
            },
        }
    }

    /// Keeps a sample; `false` when there is room for no more.
    pub(crate) fn keep(&self, sample: &Sample) -> bool {
        let at = self.samples.len.load(Relaxed);
        let Some(item) = self.samples.items.get(at as usize) else {
            return false;
        };
        for (word, value) in item.iter().zip(sample.to_words()) {
            word.store(value, Relaxed);
        }
        // SYNC: samples written (Release here, Acquire in Board::samples).
        self.samples.len.store(at + 1, Release);
        true
    }

    /// All samples kept so far.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        // SYNC: samples written (Acquire here, Release in Board::keep).
        let len = self.samples.len.load(Acquire) as usize;
        self.samples.items[..len]
            .iter()
            .map(|item| Sample::from_words(core::array::from_fn(|i| item[i].load(Relaxed))))
            .collect()
    }

    /// Leaves the reason where the supervisor finds it, and ends the calling process.
    pub(crate) fn fail(&self, reason: &str) -> ! {
        let first =
            self.failure.state.compare_exchange(Failure::NONE, Failure::WRITING, Relaxed, Relaxed);
        if first.is_ok() {
            let len = reason.len().min(Failure::ROOM);
            for (byte, &value) in self.failure.text.iter().zip(reason.as_bytes()) {
                byte.store(value, Relaxed);
            }
            self.failure.len.store(len as u32, Relaxed);
            // SYNC: reason written (Release here, Acquire in Board::failure).
            self.failure.state.store(Failure::WRITTEN, Release);
        }
        sys::exit_now(1)
    }

    /// Why a side ended the run.
    pub(crate) fn failure(&self) -> Option<String> {
        // SYNC: reason written (Acquire here, Release in Board::fail).
        (self.failure.state.load(Acquire) == Failure::WRITTEN).then(|| {
            let len = self.failure.len.load(Relaxed) as usize;
            let bytes: Vec<u8> =
                self.failure.text[..len].iter().map(|byte| byte.load(Relaxed)).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
}

/// A cache line of its own, and the neighbour that the prefetcher takes along.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Line(pub(crate) AtomicU64);

/// What runs, and since when.
#[derive(Debug)]
pub(crate) struct Progress {
    subject: AtomicU32,
    since: AtomicU64,
}

impl Progress {
    /// Called before a slice of the lead (0) or the peer (1).
    pub(crate) fn start(&self, subject: usize) {
        self.subject.store(subject as u32, Relaxed);
        // SYNC: slice begun (Release here, Acquire in Progress::current).
        self.since.store(sys::now(), Release);
    }

    /// The subject of the current slice, and when that began, if any has.
    pub(crate) fn current(&self) -> Option<(usize, u64)> {
        // SYNC: slice begun (Acquire here, Release in Progress::start).
        let since = self.since.load(Acquire);
        (since != 0).then(|| (self.subject.load(Relaxed) as usize, since))
    }
}

/// What the left side asks of a right side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Answer a ping-pong of so many rounds on the line.
    Probe(u64),
    /// Do the right side of this subject.
    Slice(usize, Slice),
}

/// What a right side answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) done: Done,
    /// When the right side was done.
    pub(crate) ended: u64,
    /// The share of the slice in which something else had its processor, in millionths.
    pub(crate) delayed: u64,
}

/// Orders for one right side, and its answers. Both sides take turns by meeting, so each word has
/// one writer at a time.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Desk {
    /// Counts the orders; the right side sleeps on it between slices.
    ticket: AtomicU32,
    /// How many of the two have come to the current meeting.
    arrived: AtomicU32,
    /// Counts the meetings; the first to come waits for it.
    meetings: AtomicU32,
    /// 0 = probe, else 1 + subject.
    kind: AtomicU32,
    count: AtomicU64,
    deadline: AtomicU64,
    operations: AtomicU64,
    checksum: AtomicU64,
    /// 0 = the whole slice counts, else 1 + nanoseconds.
    nanoseconds: AtomicU64,
    ended: AtomicU64,
    delayed: AtomicU64,
}

impl Desk {
    fn new() -> Self {
        Self {
            ticket: AtomicU32::new(0),
            arrived: AtomicU32::new(0),
            meetings: AtomicU32::new(0),
            kind: AtomicU32::new(0),
            count: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            checksum: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        }
    }

    /// Left: writes the order and wakes the right side.
    pub(crate) fn order(&self, order: Order) {
        let (kind, slice) = match order {
            Order::Probe(rounds) => (0, Slice { count: rounds, deadline: 0 }),
            Order::Slice(subject, slice) => (1 + subject as u32, slice),
        };
        self.kind.store(kind, Relaxed);
        self.count.store(slice.count, Relaxed);
        self.deadline.store(slice.deadline, Relaxed);
        // SYNC: order written (Release here, Acquire in Desk::next_order).
        self.ticket.fetch_add(1, Release);
        sys::futex_wake(&self.ticket);
    }

    /// Right: sleeps until there is an order after `seen`.
    pub(crate) fn next_order(&self, seen: &mut u32) -> Order {
        loop {
            // SYNC: order written (Acquire here, Release in Desk::order).
            let ticket = self.ticket.load(Acquire);
            if ticket != *seen {
                *seen = ticket;
                break;
            }
            sys::futex_wait(&self.ticket, ticket);
        }
        let count = self.count.load(Relaxed);
        match self.kind.load(Relaxed) {
            0 => Order::Probe(count),
            kind => {
                let slice = Slice { count, deadline: self.deadline.load(Relaxed) };
                Order::Slice(kind as usize - 1, slice)
            }
        }
    }

    /// Both: returns when the other has come too. The first spins `patience` times, then sleeps.
    pub(crate) fn meet(&self, patience: u32) {
        let meeting = self.meetings.load(Relaxed);
        // SYNC: all before the meeting (AcqRel here and in the other's call).
        if self.arrived.fetch_add(1, AcqRel) == 1 {
            self.arrived.store(0, Relaxed);
            // SYNC: all before the meeting (Release here, Acquire below).
            self.meetings.store(meeting.wrapping_add(1), Release);
            sys::futex_wake(&self.meetings);
            return;
        }
        for _ in 0..patience {
            if self.meetings.load(Acquire) != meeting {
                return;
            }
            spin_loop();
        }
        while self.meetings.load(Acquire) == meeting {
            sys::futex_wait(&self.meetings, meeting);
        }
    }

    /// Right: leaves the answer, before the meeting that ends the slice.
    pub(crate) fn answer(&self, answer: Answer) {
        self.operations.store(answer.done.operations, Relaxed);
        self.checksum.store(answer.done.checksum, Relaxed);
        self.nanoseconds.store(answer.done.nanoseconds.map_or(0, |ns| ns + 1), Relaxed);
        self.ended.store(answer.ended, Relaxed);
        self.delayed.store(answer.delayed, Relaxed);
    }

    /// Left: the answer, after that meeting.
    pub(crate) fn answered(&self) -> Answer {
        Answer {
            done: Done {
                operations: self.operations.load(Relaxed),
                checksum: self.checksum.load(Relaxed),
                nanoseconds: self.nanoseconds.load(Relaxed).checked_sub(1),
                // Of the left side only.
                latency: None,
            },
            ended: self.ended.load(Relaxed),
            delayed: self.delayed.load(Relaxed),
        }
    }
}

#[derive(Debug)]
struct Samples {
    len: AtomicU32,
    items: [[AtomicU64; Sample::WORDS]; Board::CAPACITY],
}

#[derive(Debug)]
struct Failure {
    state: AtomicU32,
    len: AtomicU32,
    text: [AtomicU8; Self::ROOM],
}

impl Failure {
    /// Nobody failed.
    const NONE: u32 = 0;
    /// The first to fail is writing its reason.
    const WRITING: u32 = 1;
    /// The reason is complete.
    const WRITTEN: u32 = 2;
    const ROOM: usize = 480;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Latency;

    #[test]
    fn samples_survive_the_board() {
        let board = Board::new();
        let latencies = [Latency { p50: 60, p99: 90 }, Latency::default()];
        let (probes, delayed) = ([53.0, 54.0, 55.5], 0.125);
        let sample = Sample { probes, lead: 1.5, peer: 3.25, delayed, latencies };
        assert!(board.keep(&sample));
        assert_eq!(board.samples(), [sample]);
    }

    #[test]
    fn orders_and_answers_cross_the_desk() {
        let desk = Desk::new();
        let slice = Slice { count: 640, deadline: 9 };
        let answer = Answer {
            done: Done { operations: 640, checksum: 5, nanoseconds: Some(0), latency: None },
            ended: 11,
            delayed: 12,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut seen = 0;
                assert_eq!(desk.next_order(&mut seen), Order::Slice(1, slice));
                desk.meet(10);
                desk.answer(answer);
                desk.meet(0);
                assert_eq!(desk.next_order(&mut seen), Order::Probe(7));
            });
            desk.order(Order::Slice(1, slice));
            desk.meet(0);
            desk.meet(10);
            let answered = desk.answered();
            assert_eq!((answered.done, answered.ended, answered.delayed), (answer.done, 11, 12));
            desk.order(Order::Probe(7));
        });
    }
}
