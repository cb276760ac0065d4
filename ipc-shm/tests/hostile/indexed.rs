//! The indexed ring: one message at a time, and batches.

use ipc_core::clock::Deadline;
use ipc_shm::bytemuck::Pod;
use ipc_shm::ring::indexed::{self, Ring, RingPlace};
use ipc_shm::ring::{PopError, PopWaitError, PushError, PushWaitError, Untrusted};
use ipc_shm::{Plan, Region};
use ipc_testkit::stepmutate::{Answer, Suite};

use super::subject::{
    CAPACITY, End, FILLS, FULL, Fill, HALF, Head, Standing, Subject, ends, message, word,
};
use super::{PAYLOAD, guarded};

const TAIL: usize = PAYLOAD + 128;
const HEAD: usize = PAYLOAD + 256;
const SLOTS: usize = PAYLOAD + 384;

/// How many messages a batch has: from the third of four slots on it wraps.
const BATCH: usize = 3;

ends!(indexed);

/// An end that is used for batches.
struct Batches<E>(E);

impl<T: Pod + Send> End for Batches<indexed::Producer<'_, T, Untrusted>> {
    fn call(&mut self) -> Answer {
        match self.0.push_slice(&[message(); BATCH]) {
            Ok(count) => {
                assert!((1..=BATCH).contains(&count), "{count} messages");
                Answer::Value
            }
            Err(PushError::Full(()) | PushError::Disconnected(())) => Answer::Nothing,
            Err(PushError::Corrupt(())) => Answer::Corrupt,
        }
    }

    fn call_by(&mut self, deadline: Deadline) -> Answer {
        match self.0.wait(deadline) {
            Ok(()) => self.call(),
            Err(PushWaitError::TimedOut(()) | PushWaitError::Disconnected(())) => Answer::Nothing,
            Err(PushWaitError::Corrupt(())) => Answer::Corrupt,
            Err(error) => panic!("{error}"),
        }
    }

    fn peer(&self) -> Answer {
        End::peer(&self.0)
    }
}

impl<T: Pod + Send> End for Batches<indexed::Consumer<'_, T, Untrusted>> {
    fn call(&mut self) -> Answer {
        match self.0.pop_slice(&mut [T::zeroed(); BATCH]) {
            Ok(count) => {
                assert!((1..=BATCH).contains(&count), "{count} messages");
                Answer::Value
            }
            Err(PopError::Empty | PopError::Disconnected) => Answer::Nothing,
            Err(PopError::Corrupt) => Answer::Corrupt,
        }
    }

    fn call_by(&mut self, deadline: Deadline) -> Answer {
        match self.0.wait(deadline) {
            Ok(()) => self.call(),
            Err(PopWaitError::TimedOut | PopWaitError::Disconnected) => Answer::Nothing,
            Err(PopWaitError::Corrupt) => Answer::Corrupt,
            Err(error) => panic!("{error}"),
        }
    }

    fn peer(&self) -> Answer {
        End::peer(&self.0)
    }
}

pub(crate) fn run(suite: &mut Suite) {
    for fill in FILLS {
        one_by_one::<[u64; 3]>("indexed ring of 24 B", fill).push_and_pop(suite);
        batches::<[u64; 3]>("indexed ring, batches of 24 B", fill).push_and_pop(suite);
    }
    one_by_one::<[u64; 8]>("indexed ring of 64 B", HALF).push_and_pop(suite);
    // Two pieces of bytes that no word boundary divides.
    let wrap = Fill { turned: 3, inside: 1 };
    batches::<[u8; 5]>("indexed ring, batches of 5 B", wrap).push_and_pop(suite);
    one_by_one::<u64>("indexed ring", HALF).roles(suite);
    one_by_one::<u64>("indexed ring", FULL).questions(suite);
    one_by_one::<u64>("indexed ring", FULL).wait(suite);
    if suite.is_deep() {
        one_by_one::<u64>("indexed ring", FILLS[0]).wait(suite);
        batches::<u64>("indexed ring, batches", FULL).wait(suite);
        batches::<u64>("indexed ring, batches", FILLS[0]).wait(suite);
    }
}

type Producer<T> = indexed::Producer<'static, T, Untrusted>;
type Consumer<T> = indexed::Consumer<'static, T, Untrusted>;

fn one_by_one<T: Pod + Send>(name: &'static str, fill: Fill) -> Subject<Producer<T>, Consumer<T>> {
    subject(name, fill, 1, |producer| producer, |consumer| consumer)
}

fn batches<T: Pod + Send>(
    name: &'static str,
    fill: Fill,
) -> Subject<Batches<Producer<T>>, Batches<Consumer<T>>> {
    subject(name, fill, BATCH, Batches, Batches)
}

fn subject<T: Pod + Send, P, C>(
    name: &'static str,
    fill: Fill,
    count: usize,
    producer: impl Fn(Producer<T>) -> P + 'static,
    consumer: impl Fn(Consumer<T>) -> C + 'static,
) -> Subject<P, C> {
    let mut plan = Plan::new();
    let place = RingPlace::<T>::plan(&mut plan, CAPACITY).expect("room");
    let (region, mut arena) = guarded(|| Region::planned(&plan).expect("a region"));
    let ring = move || Ring::in_region(region, place).expect("the ring");
    let Fill { turned, inside } = fill;
    let mut ends = (ring().producer().unwrap(), ring().consumer().unwrap());
    for i in 0..turned + inside {
        assert!(ends.0.push(T::zeroed()).is_ok(), "room for number {i}");
        assert!(i >= turned || ends.1.pop().is_ok(), "number {i}");
    }
    drop(ends);
    arena.save();
    let size = size_of::<T>();
    // Whole words, as the attacks are, so a neighbour's bytes may be among them.
    let slot = |i: usize| {
        let start = SLOTS + i % CAPACITY * size;
        start / 8 * 8..(start + size).next_multiple_of(8)
    };
    // Also if there is no room: the attacked word may say that there is.
    let pushed = (0..count).map(|i| slot(turned + inside + i)).chain([word(TAIL)]);
    Subject {
        name,
        fill,
        arena,
        head: Head::of_two(),
        producer: Box::new(move || ring().untrusted_producer().map(&producer)),
        consumer: Box::new(move || ring().untrusted_consumer().map(&consumer)),
        decisive: vec![TAIL, HEAD],
        hidden: [
            Some((HEAD, ((turned + inside) as u64).wrapping_sub(CAPACITY as u64))),
            Some((TAIL, turned as u64)),
        ],
        ring: TAIL..SLOTS + (CAPACITY * size).next_multiple_of(8),
        pushed: pushed.collect(),
        popped: vec![word(HEAD)],
    }
}
