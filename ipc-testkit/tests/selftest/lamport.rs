//! Lamport's queue of one producer and one consumer: each side publishes with one store, and that is all it takes.

use core::sync::atomic::{AtomicU64, Ordering};

use ipc_testkit::battery::rings::{Ring, Shape};
use ipc_testkit::oracle::Message;

/// A queue of eight messages.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Lamport {
    /// Next position to read; the consumer's.
    head: AtomicU64,
    /// Next position to write; the producer's.
    tail: AtomicU64,
    slots: [[AtomicU64; 8]; CAPACITY],
}

const CAPACITY: usize = 8;

impl Ring for Lamport {
    const SHAPE: Shape = Shape::OneToOne;
    const CAPACITY: usize = CAPACITY;

    fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            slots: [const { [const { AtomicU64::new(0) }; 8] }; CAPACITY],
        }
    }

    fn push(&self, message: &Message) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        // SYNC: slot emptied (Acquire here, Release in `pop`).
        if tail - self.head.load(Ordering::Acquire) == CAPACITY as u64 {
            return false;
        }
        for (to, from) in self.slots[tail as usize % CAPACITY].iter().zip(message.to_words()) {
            to.store(from, Ordering::Relaxed);
        }
        // SYNC: slot filled (Release here, Acquire in `pop`).
        self.tail.store(tail + 1, Ordering::Release);
        true
    }

    fn pop(&self) -> Option<Message> {
        let head = self.head.load(Ordering::Relaxed);
        // SYNC: slot filled (Acquire here, Release in `push`).
        if head == self.tail.load(Ordering::Acquire) {
            return None;
        }
        let slot = &self.slots[head as usize % CAPACITY];
        let words = core::array::from_fn(|i| slot[i].load(Ordering::Relaxed));
        // SYNC: slot emptied (Release here, Acquire in `push`).
        self.head.store(head + 1, Ordering::Release);
        Some(Message::from_words(words))
    }
}
