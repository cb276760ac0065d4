//! The ring with a stamp in every slot, between two processes.

use std::sync::Arc;

use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
use ipc_shm::ring::{RoleError, Trust};

use super::until;
use crate::payload::Message;
use crate::streams::{batch, round_trip, singles, slices, slots};
use crate::subject::Subject;
use crate::targets;
use crate::turns::Handover;

/// One message at a time.
#[must_use]
pub fn push_pop<const N: usize>() -> Subject {
    one_by_one::<N, _, _>(targets::RING, Ring::producer, Ring::consumer)
}

/// One message at a time, between two that do not trust each other.
#[must_use]
pub fn untrusted<const N: usize>() -> Subject {
    let name = targets::RING_UNTRUSTED;
    one_by_one::<N, _, _>(name, Ring::untrusted_producer, Ring::untrusted_consumer)
}

/// 64 messages per call, or one, if they are large; each is still published by itself.
#[must_use]
pub fn copied<const N: usize>() -> Subject {
    let name = if batch::<N>() == 1 { targets::RING_SLICE } else { targets::RING_SLICES };
    Subject::processes(name, || {
        let ring = Arc::new(Ring::<Message<N>>::create(slots::<N>()).expect("a ring"));
        let other = Arc::clone(&ring);
        slices::<N, _, _>(
            move || {
                let mut end = ring.producer().expect("an end");
                move |messages: &[_]| until(|| end.push_slice(messages))
            },
            move || {
                let mut end = other.consumer().expect("an end");
                move |messages: &mut [_]| until(|| end.pop_slice(messages))
            },
        )
    })
}

/// How an end of a ring is taken.
type Claim<const N: usize, E> = fn(&Ring<'static, Message<N>>) -> Result<E, RoleError>;

fn one_by_one<const N: usize, W: Trust + Send + 'static, R: Trust + Send + 'static>(
    name: &'static str,
    producer: Claim<N, Producer<'static, Message<N>, W>>,
    consumer: Claim<N, Consumer<'static, Message<N>, R>>,
) -> Subject {
    Subject::processes(name, move || {
        let ring = Arc::new(Ring::create(slots::<N>()).expect("a ring"));
        let other = Arc::clone(&ring);
        // An end belongs to the process that claims it.
        singles(
            move || {
                let mut end = producer(&ring).expect("an end");
                move |message| until(|| end.push(message))
            },
            move || {
                let mut end = consumer(&other).expect("an end");
                move || until(|| end.pop())
            },
        )
    })
}

/// There through one ring, and back through another.
#[must_use]
pub fn there_and_back<const N: usize>() -> Subject {
    Subject::processes(targets::RING, || {
        let pusher = |ring: &Arc<Ring<'static, Message<N>>>| {
            let (ring, mut end) = (Arc::clone(ring), None);
            move |message| {
                let end = end.get_or_insert_with(|| ring.producer().expect("an end"));
                until(|| end.push(message));
            }
        };
        let popper = |ring: &Arc<Ring<'static, Message<N>>>| {
            let (ring, mut end) = (Arc::clone(ring), None);
            move || {
                let end = end.get_or_insert_with(|| ring.consumer().expect("an end"));
                until(|| end.pop())
            }
        };
        let there = Arc::new(Ring::create(slots::<N>()).expect("a ring"));
        let back = Arc::new(Ring::create(slots::<N>()).expect("a ring"));
        round_trip(Handover::AtOnce, pusher(&there), popper(&back), popper(&there), pusher(&back))
    })
}
