//! Dmitry Vyukov's bounded queue for many producers and consumers, as published.
//!
//! A process claims a position by a compare-exchange on the shared index, and nothing says who claimed it: one that dies
//! before it stores the slot's sequence stops everybody at that slot, for ever.
//!
//! Source: <https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue>

use core::sync::atomic::{AtomicU64, Ordering};

use crate::battery::rings::{Ring, Shape};
use crate::oracle::Message;

/// The queue, with 16 slots. Words instead of bytes, so that slots can be read and written as atomics.
#[derive(Debug)]
#[repr(C)]
pub struct Vyukov {
    enqueue: Index,
    dequeue: Index,
    slots: [Slot; CAPACITY],
}

const CAPACITY: usize = 16;

#[derive(Debug)]
#[repr(C, align(128))]
struct Index(AtomicU64);

#[derive(Debug)]
#[repr(C)]
struct Slot {
    /// `position`: free for the push of that turn; `position + 1`: filled by it.
    sequence: AtomicU64,
    words: [AtomicU64; 8],
}

impl Ring for Vyukov {
    const SHAPE: Shape = Shape::ManyToMany;
    const CAPACITY: usize = CAPACITY;

    fn new() -> Self {
        Self {
            enqueue: Index(AtomicU64::new(0)),
            dequeue: Index(AtomicU64::new(0)),
            slots: core::array::from_fn(|i| Slot {
                sequence: AtomicU64::new(i as u64),
                words: [const { AtomicU64::new(0) }; 8],
            }),
        }
    }

    fn push(&self, message: &Message) -> bool {
        let Some((slot, position)) = self.claim(&self.enqueue, 0) else { return false };
        for (to, from) in slot.words.iter().zip(message.to_words()) {
            to.store(from, Ordering::Relaxed);
        }
        // SYNC: slot filled (Release here, Acquire in `claim`).
        slot.sequence.store(position + 1, Ordering::Release);
        true
    }

    fn pop(&self) -> Option<Message> {
        let (slot, position) = self.claim(&self.dequeue, 1)?;
        let words = core::array::from_fn(|i| slot.words[i].load(Ordering::Relaxed));
        // SYNC: slot emptied (Release here, Acquire in `claim`).
        slot.sequence.store(position + CAPACITY as u64, Ordering::Release);
        Some(Message::from_words(words))
    }
}

impl Vyukov {
    /// Moves `index` on if the slot there has the sequence `position + ahead`.
    fn claim(&self, index: &Index, ahead: u64) -> Option<(&Slot, u64)> {
        let mut position = index.0.load(Ordering::Relaxed);
        loop {
            let slot = &self.slots[position as usize % CAPACITY];
            let sequence = slot.sequence.load(Ordering::Acquire);
            let distance = sequence.wrapping_sub(position + ahead) as i64;
            if distance < 0 {
                return None;
            }
            if distance > 0 {
                position = index.0.load(Ordering::Relaxed);
                continue;
            }
            match index.0.compare_exchange_weak(
                position,
                position + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some((slot, position)),
                Err(now) => position = now,
            }
        }
    }
}
