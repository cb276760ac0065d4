//! Physical floors: the least that caches and the kernel allow, written by hand.
//!
//! They recover nothing, block nobody and serve one purpose: to say how far a subject with all its
//! promises is from what the machine can do.
//!
//! # Safety
//! The slots of [`SlotRing`] are plain memory under a flag. The flag is zero while the producer may
//! write the slot and non-zero while the consumer may read it; each side changes it only in its own
//! state, with Release, after it has finished with the slot, and reads it with Acquire. There is
//! one producer and one consumer, by the two `&mut` ends that [`SlotRing::ends`] gives out.
#![expect(unsafe_code, reason = "the payload of a slot is plain memory owned by protocol")]

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};

use bytemuck::Zeroable;
use ipc_core::os::asymmetric;

use crate::payload::{Message, Received, Sent};
use crate::streams::round_trip;
use crate::subject::{Done, Ends, Slice, Subject, Wrong};
use crate::sys::{self, place, place_zeroed};
use crate::turns::{Handover, Turns};

/// Slots in a ring, as in every other ring here.
pub const SLOTS: usize = 1024;

/// FastForward (Giacomoni, Moseley, Vachharajani, 2008): a ring without shared indices, whose slots
/// say themselves whether they are full.
#[derive(Debug)]
#[repr(align(128))]
pub struct SlotRing<const N: usize> {
    slots: [Slot<N>; SLOTS],
}

/// With 56 bytes of payload a slot is one cache line.
#[derive(Debug)]
struct Slot<const N: usize> {
    /// 0 = empty, 1 = full.
    flag: AtomicU64,
    body: UnsafeCell<Message<N>>,
}

// SAFETY: the flag decides which side may touch the body, see the module's documentation.
unsafe impl<const N: usize> Sync for SlotRing<N> {}
// SAFETY: words, of which zeros are values: empty slots.
unsafe impl<const N: usize> Zeroable for SlotRing<N> {}

/// The writing end of a [`SlotRing`].
#[derive(Debug)]
pub struct SlotProducer<const N: usize> {
    ring: &'static SlotRing<N>,
    tail: usize,
}

/// The reading end of a [`SlotRing`].
#[derive(Debug)]
pub struct SlotConsumer<const N: usize> {
    ring: &'static SlotRing<N>,
    head: usize,
}

impl<const N: usize> SlotRing<N> {
    /// A ring in shared memory, as its two ends.
    #[must_use]
    pub fn ends() -> (SlotProducer<N>, SlotConsumer<N>) {
        let ring = &place_zeroed::<Self>(1)[0];
        (SlotProducer { ring, tail: 0 }, SlotConsumer { ring, head: 0 })
    }
}

impl<const N: usize> SlotProducer<N> {
    /// Waits for an empty slot and fills it.
    #[inline]
    pub fn push(&mut self, message: Message<N>) {
        let slot = &self.ring.slots[self.tail % SLOTS];
        self.tail = self.tail.wrapping_add(1);
        // SYNC: slot emptied (Acquire here, Release in SlotConsumer::pop).
        while slot.flag.load(Acquire) != 0 {
            spin_loop();
        }
        // SAFETY: the flag is zero, so this only producer owns the body.
        unsafe { *slot.body.get() = message };
        // SYNC: slot filled (Release here, Acquire in SlotConsumer::pop).
        slot.flag.store(1, Release);
    }
}

impl<const N: usize> SlotConsumer<N> {
    /// Waits for a full slot and empties it.
    #[inline]
    pub fn pop(&mut self) -> Message<N> {
        let slot = &self.ring.slots[self.head % SLOTS];
        self.head = self.head.wrapping_add(1);
        // SYNC: slot filled (Acquire here, Release in SlotProducer::push).
        while slot.flag.load(Acquire) == 0 {
            spin_loop();
        }
        // SAFETY: the flag is set, so this only consumer owns the body.
        let message = unsafe { *slot.body.get() };
        // SYNC: slot emptied (Release here, Acquire in SlotProducer::push).
        slot.flag.store(0, Release);
        message
    }
}

/// The slot-flag ring as a stream of messages.
#[must_use]
pub fn slot_flag_ring<const N: usize>() -> Subject {
    Subject::processes("slot-flag ring (by hand)", || {
        let (mut producer, mut consumer) = SlotRing::<N>::ends();
        let (mut sent, mut received) = (Sent::new(), Received::new());
        Ends::agreeing(
            move |slice| Ok(sent.each(slice.count, |message| producer.push(message))),
            move |slice| received.each(slice.count, || consumer.pop()),
        )
    })
}

/// There through one slot-flag ring, and back through another: what the payload adds to the ping-pong.
#[must_use]
pub fn slot_flag_round_trip<const N: usize>() -> Subject {
    Subject::processes("slot-flag ring (by hand)", || {
        let (mut ask, mut requests) = SlotRing::<N>::ends();
        let (mut reply, mut answers) = SlotRing::<N>::ends();
        round_trip(
            Handover::AtOnce,
            move |message| ask.push(message),
            move || answers.pop(),
            move || requests.pop(),
            move |message| reply.push(message),
        )
    })
}

/// The slot-flag ring for one word: a message that is never zero is its own flag.
#[must_use]
pub fn slot_word_ring() -> Subject {
    #[repr(align(128))]
    struct Words([AtomicU64; SLOTS]);
    Subject::processes("slot-flag ring (by hand)", || {
        let words = place(Words([const { AtomicU64::new(0) }; SLOTS]));
        let (mut sent, mut received) = (Sent::new(), Received::new());
        let (mut tail, mut head) = (0_usize, 0_usize);
        Ends::agreeing(
            move |slice| {
                Ok(sent.each(slice.count, |[message]: Message<1>| {
                    let slot = &words.0[tail % SLOTS];
                    tail = tail.wrapping_add(1);
                    while slot.load(Acquire) != 0 {
                        spin_loop();
                    }
                    slot.store(message, Release);
                }))
            },
            move |slice| {
                received.each(slice.count, || {
                    let slot = &words.0[head % SLOTS];
                    head = head.wrapping_add(1);
                    loop {
                        let message = slot.load(Acquire);
                        if message != 0 {
                            slot.store(0, Release);
                            return [message];
                        }
                        spin_loop();
                    }
                })
            },
        )
    })
}

#[repr(align(128))]
struct Line<T>(T);

/// One line there, another line back: the least that a round trip with two one-way queues can cost.
#[must_use]
pub fn two_line_ping_pong() -> Subject {
    Subject::processes("two-line ping-pong (floor)", || {
        let there = &place(Line(AtomicU64::new(0))).0;
        let back = &place(Line(AtomicU64::new(0))).0;
        let await_value = |line: &AtomicU64, value: u64| {
            while line.load(Acquire) != value {
                spin_loop();
            }
        };
        let mut asked = 0;
        let mut answered = 0;
        let [mut turns, _] = Turns::both(Handover::AtOnce);
        Ends::agreeing(
            move |slice| {
                turns.begin(slice.count);
                for _ in 0..slice.count {
                    asked += 1;
                    turns.give();
                    there.store(asked, Release);
                    await_value(back, asked);
                    turns.taken();
                }
                Ok(turns.done(slice.count, asked))
            },
            move |slice| {
                for _ in 0..slice.count {
                    answered += 1;
                    await_value(there, answered);
                    back.store(answered, Release);
                }
                Ok(Done { operations: slice.count, checksum: answered, ..Done::default() })
            },
        )
    })
}

/// Two sides that pass one futex word to and fro and sleep on it at once, without any spinning: two system calls for
/// each hop.
///
/// `handover` says whether the giver waits until the taker is surely asleep, and what is timed.
#[must_use]
pub fn bare_futex(handover: Handover) -> Subject {
    futex("bare futex (floor)", handover, || {})
}

/// As [`bare_futex`], with a barrier on all processors before each sleep: the three system calls of anything that
/// announces its sleeps and spares the other side the fence.
#[must_use]
pub fn bare_futex_and_barrier(handover: Handover) -> Subject {
    futex("bare futex and barrier (floor)", handover, || {
        assert!(asymmetric::heavy(), "a kernel with such a barrier");
    })
}

fn futex(
    name: &'static str,
    handover: Handover,
    before_sleep: impl Fn() + Copy + Send + 'static,
) -> Subject {
    Subject::processes(name, move || {
        // The sides inherit it.
        assert!(asymmetric::register(), "a kernel with a barrier on all processors");
        // Even: the left side's turn; odd: the right side's.
        let turn = &place(Line(AtomicU32::new(0))).0;
        let [left, right] = Turns::both(handover);
        let side = move |parity: u32, mut turns: Turns| {
            move |slice: Slice| -> Result<Done, Wrong> {
                turns.begin(slice.count);
                for _ in 0..slice.count {
                    let mut seen = turn.load(Acquire);
                    while seen % 2 != parity {
                        before_sleep();
                        sys::futex_wait(turn, seen);
                        seen = turn.load(Acquire);
                    }
                    turns.taken();
                    turns.give();
                    turn.store(seen.wrapping_add(1), Release);
                    sys::futex_wake(turn);
                }
                Ok(turns.done(slice.count, 0))
            }
        };
        Ends::agreeing(side(0, left), side(1, right))
    })
}
