//! The textbook's ring by hand: two shared positions, each beside a private copy of the other's.
//!
//! It is the floor of every ring with contiguous slots: payloads in place, no check of anything, and no
//! way to go on after a death.
//!
//! # Safety
//! The slots from `head` up to `tail` belong to the consumer, all others to the producer. Each side
//! moves its own position only, with Release, after it has finished with the slots, and reads the
//! other's with Acquire. There is one producer and one consumer, by the two `&mut` ends that
//! [`IndexRing::ends`] gives out.
#![expect(unsafe_code, reason = "the payload of a slot is plain memory owned by protocol")]

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering::*};

use bytemuck::Zeroable;

use crate::payload::{Message, Reader, Writer};
use crate::streams::{CHUNK, stream};
use crate::subject::Subject;
use crate::sys::{place, place_zeroed};

/// The shared part: a power of two of slots, and a line for each position.
#[derive(Clone, Copy, Debug)]
pub struct IndexRing<const N: usize> {
    positions: &'static Positions,
    slots: &'static [Slot<N>],
}

#[derive(Debug)]
struct Positions {
    /// The next to be read.
    head: Line,
    /// The next to be written.
    tail: Line,
}

#[derive(Debug)]
#[repr(align(128))]
struct Line(AtomicU64);

#[derive(Debug)]
#[repr(transparent)]
struct Slot<const N: usize>(UnsafeCell<Message<N>>);

// SAFETY: the positions decide which side may touch a slot, see the module's documentation.
unsafe impl<const N: usize> Sync for Slot<N> {}
// SAFETY: words, of which zeros are values.
unsafe impl<const N: usize> Zeroable for Slot<N> {}

/// The writing end of an [`IndexRing`].
#[derive(Debug)]
pub struct IndexProducer<const N: usize> {
    ring: IndexRing<N>,
    tail: u64,
    /// Where the consumer was when we last looked.
    head: u64,
}

/// The reading end of an [`IndexRing`].
#[derive(Debug)]
pub struct IndexConsumer<const N: usize> {
    ring: IndexRing<N>,
    head: u64,
    /// Where the producer was when we last looked.
    tail: u64,
}

impl<const N: usize> IndexRing<N> {
    /// A ring of `slots` messages in shared memory, as its two ends.
    #[must_use]
    pub fn ends(slots: usize) -> (IndexProducer<N>, IndexConsumer<N>) {
        assert!(slots.is_power_of_two(), "positions wrap anywhere");
        let line = || Line(AtomicU64::new(0));
        let positions = place(Positions { head: line(), tail: line() });
        let ring = Self { positions, slots: place_zeroed(slots) };
        (IndexProducer { ring, tail: 0, head: 0 }, IndexConsumer { ring, head: 0, tail: 0 })
    }

    /// How many slots there are from `position` up to the last one.
    #[inline]
    fn left_from(&self, position: u64) -> usize {
        self.slots.len() - (position as usize & (self.slots.len() - 1))
    }

    /// The next `count` slots from `position` on.
    #[inline]
    fn slots_from(&self, position: u64, count: usize) -> *mut [Message<N>] {
        let first = self.slots.len() - self.left_from(position);
        let slots = &self.slots[first..first + count];
        // Each is a cell, in which the message is all there is.
        ptr::slice_from_raw_parts_mut(slots.as_ptr().cast_mut().cast(), count)
    }
}

impl<const N: usize> IndexProducer<N> {
    /// Waits for room, fills `batch` slots in place, and publishes them at once. It is always the same number, and a
    /// power of two.
    #[inline]
    pub fn fill(&mut self, batch: usize, mut write: impl FnMut(&mut Message<N>)) {
        let room = self.ring.slots.len() as u64 - batch as u64;
        while self.tail - self.head > room {
            // SYNC: slots emptied (Acquire here, Release in IndexConsumer::drain).
            self.head = self.ring.positions.head.0.load(Acquire);
            spin_loop();
        }
        // SAFETY: the consumer is past these slots, so this only producer owns them.
        let slots = unsafe { &mut *self.ring.slots_from(self.tail, batch) };
        slots.iter_mut().for_each(&mut write);
        self.tail += batch as u64;
        // SYNC: slots filled (Release here, Acquire in IndexConsumer::drain).
        self.ring.positions.tail.0.store(self.tail, Release);
    }
}

impl<const N: usize> IndexConsumer<N> {
    /// Waits for a message, reads up to `most` in place, and gives them back at once; how many.
    #[inline]
    pub fn drain(&mut self, most: usize, mut read: impl FnMut(&Message<N>)) -> usize {
        while self.tail == self.head {
            // SYNC: slots filled (Acquire here, Release in IndexProducer::fill).
            self.tail = self.ring.positions.tail.0.load(Acquire);
            spin_loop();
        }
        let there = (self.tail - self.head) as usize;
        let taken = there.min(most).min(self.ring.left_from(self.head));
        // SAFETY: the producer is past these slots, so this only consumer owns them.
        let slots = unsafe { &*self.ring.slots_from(self.head, taken) };
        slots.iter().for_each(&mut read);
        self.head += taken as u64;
        // SYNC: slots emptied (Release here, Acquire in IndexProducer::fill).
        self.ring.positions.head.0.store(self.head, Release);
        taken
    }
}

/// One message at a time.
#[must_use]
pub fn one<const N: usize>(slots: usize) -> Subject {
    subject::<N, 1>("index ring (by hand)", slots)
}

/// 64 messages at a time.
#[must_use]
pub fn batches<const N: usize>(slots: usize) -> Subject {
    subject::<N, CHUNK>("index ring, batches of 64 (by hand)", slots)
}

fn subject<const N: usize, const BATCH: usize>(name: &'static str, slots: usize) -> Subject {
    Subject::processes(name, move || {
        let (mut producer, mut consumer) = IndexRing::<N>::ends(slots);
        stream(
            move || {
                move |count, writer: &mut Writer| {
                    for _ in 0..count / BATCH as u64 {
                        producer.fill(BATCH, |message| writer.write(message));
                    }
                }
            },
            move || {
                move |count, reader: &mut Reader| {
                    let mut rest = count as usize;
                    while rest > 0 {
                        rest -= consumer.drain(rest.min(BATCH), |message| reader.read(message));
                    }
                }
            },
        )
    })
}
