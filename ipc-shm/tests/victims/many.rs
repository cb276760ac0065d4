//! The ring of many producers and many consumers.
//!
//! # Safety
//!
//! What a process keeps of a ring in the harness's memory is used only as long as that very ring is there, which its number
//! says.
#![expect(unsafe_code, reason = "ends that are kept of a ring in the harness's memory")]

use core::cell::RefCell;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ipc_shm::ring::mpmc::{Consumer, FixedRing, Producer};
use ipc_testkit::battery::rings::{self, Batch, Shape};
use ipc_testkit::oracle::Message;

use super::claimed;
use super::slots::{popped, pushed, unpack, words};

type Words = [u64; 8];

/// A ring in the harness's memory, and its number: a round has a new one.
pub struct Numbered {
    pub ring: FixedRing<Words, 4>,
    number: u64,
}

/// Each process keeps its ends, as one does that lives long. A forked one has copies of the harness's first, and takes
/// ends of its own as it uses them. `REDELIVERS`, unless somebody says so to see that it does.
pub struct Kept<const REDELIVERS: bool = true>(Numbered);

/// Each operation joins, and leaves.
pub struct Joined(pub Numbered);

/// What a process keeps: the number of the ring, and its ends there.
struct Ends {
    number: u64,
    producer: Option<Producer<'static, Words>>,
    consumer: Option<Consumer<'static, Words>>,
}

thread_local! {
    /// Never dropped: the ring may be gone before the process.
    static ENDS: RefCell<ManuallyDrop<Ends>> =
        const { RefCell::new(ManuallyDrop::new(Ends { number: 0, producer: None, consumer: None })) };
}

impl Numbered {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self { ring: FixedRing::new(), number: NUMBER.fetch_add(1, Relaxed) + 1 }
    }

    /// With what this process has kept of this ring.
    fn with<R>(&self, work: impl FnOnce(&'static FixedRing<Words, 4>, &mut Ends) -> R) -> R {
        // SAFETY: what is kept of it is not used for another one, below.
        let ring: &'static FixedRing<Words, 4> = unsafe { &*core::ptr::from_ref(&self.ring) };
        ENDS.with_borrow_mut(|ends| {
            if ends.number != self.number {
                // Those of an earlier round: their ring is gone, and must not be told.
                core::mem::forget((ends.producer.take(), ends.consumer.take()));
                ends.number = self.number;
            }
            work(ring, ends)
        })
    }

    fn kept_push(&self, message: &Message) -> bool {
        self.with(|ring, ends| {
            if ends.producer.is_none() {
                ends.producer = claimed(ring.ring().producer());
            }
            let Some(producer) = &mut ends.producer else { return false };
            pushed(producer.push(message.to_words())).is_some()
        })
    }

    fn with_consumer<R>(
        &self,
        work: impl FnOnce(&mut Consumer<'static, Words>) -> Option<R>,
    ) -> Option<R> {
        self.with(|ring, ends| {
            if ends.consumer.is_none() {
                ends.consumer = claimed(ring.ring().consumer());
            }
            work(ends.consumer.as_mut()?)
        })
    }

    fn kept_pop(&self) -> Option<Message> {
        self.with_consumer(|consumer| popped(consumer.pop()).map(Message::from_words))
    }

    /// More often than it takes until the dead are asked after.
    fn drain(&self) -> Option<Message> {
        (0..1100).find_map(|_| self.kept_pop())
    }
}

/// A message is copied out of its place, and then released.
const LEASE: Batch = Batch { name: "lease", whole: false };

/// A message is looked at, and left behind.
const DROPPED: Batch = Batch { name: "lease, dropped", whole: false };

const SLICE: Batch = Batch { name: "slice", whole: false };

fn push_slice(producer: &mut Producer<'_, Words>, messages: &[Message]) -> usize {
    let (words, count) = words(messages);
    pushed(producer.push_slice(&words[..count])).unwrap_or(0)
}

fn pop_batch(consumer: &mut Consumer<'_, Words>, how: Batch, messages: &mut [Message]) -> usize {
    if how == SLICE {
        let (mut words, count) = words(messages);
        let count = popped(consumer.pop_slice(&mut words[..count])).unwrap_or(0);
        unpack(&words[..count], messages);
        return count;
    }
    let Some(lease) = popped(consumer.lease()) else { return 0 };
    if how == DROPPED {
        return 0;
    }
    messages[0] = Message::from_words(*lease);
    lease.release();
    1
}

impl<const REDELIVERS: bool> rings::Ring for Kept<REDELIVERS> {
    const SHAPE: Shape = Shape::ManyToMany;
    const CAPACITY: usize = 4;
    const REDELIVERS: bool = REDELIVERS;
    const BATCHES: &'static [Batch] = &[SLICE];
    const POPS: &'static [Batch] = &[SLICE, LEASE, DROPPED];

    fn new() -> Self {
        Self(Numbered::new())
    }

    fn push(&self, message: &Message) -> bool {
        self.0.kept_push(message)
    }

    fn pop(&self) -> Option<Message> {
        self.0.kept_pop()
    }

    fn drain(&self) -> Option<Message> {
        self.0.drain()
    }

    fn push_batch(&self, _: Batch, messages: &[Message]) -> usize {
        self.0.with(|ring, ends| {
            if ends.producer.is_none() {
                ends.producer = claimed(ring.ring().producer());
            }
            ends.producer.as_mut().map_or(0, |producer| push_slice(producer, messages))
        })
    }

    fn pop_batch(&self, how: Batch, messages: &mut [Message]) -> usize {
        let popped = self.0.with_consumer(|consumer| Some(pop_batch(consumer, how, messages)));
        popped.unwrap_or(0)
    }
}

impl rings::Ring for Joined {
    const SHAPE: Shape = Shape::ManyToMany;
    const CAPACITY: usize = 4;
    const REDELIVERS: bool = true;
    const BATCHES: &'static [Batch] = &[SLICE];
    const POPS: &'static [Batch] = &[SLICE, LEASE, DROPPED];

    fn new() -> Self {
        Self(Numbered::new())
    }

    fn push(&self, message: &Message) -> bool {
        let Some(mut producer) = claimed(self.0.ring.ring().producer()) else { return false };
        pushed(producer.push(message.to_words())).is_some()
    }

    /// Who comes for one message and goes again never finds the ring empty often enough to ask. Somebody else does.
    fn pop(&self) -> Option<Message> {
        let mut consumer = claimed(self.0.ring.ring().consumer())?;
        let message = popped(consumer.pop()).map(Message::from_words);
        message.or_else(|| self.0.kept_pop())
    }

    fn drain(&self) -> Option<Message> {
        self.0.drain()
    }

    fn push_batch(&self, _: Batch, messages: &[Message]) -> usize {
        let producer = claimed(self.0.ring.ring().producer());
        producer.map_or(0, |mut producer| push_slice(&mut producer, messages))
    }

    fn pop_batch(&self, how: Batch, messages: &mut [Message]) -> usize {
        let consumer = claimed(self.0.ring.ring().consumer());
        consumer.map_or(0, |mut consumer| pop_batch(&mut consumer, how, messages))
    }
}
