//! The calls of the rings that wait, between two processes.

use std::sync::Arc;

use ipc_shm::ring::{bytes, indexed, spsc};

use crate::payload::Message;
use crate::streams::{round_trip, singles, slots};
use crate::subject::{Ends, Subject};
use crate::targets;
use crate::turns::Handover;

/// A ring whose calls wait, as far as subjects use it.
trait Waits<const N: usize>: Send + Sync + 'static {
    type Producer: Send + 'static;
    type Consumer: Send + 'static;

    fn create() -> Self;
    fn producer(&self) -> Self::Producer;
    fn consumer(&self) -> Self::Consumer;
    fn push(end: &mut Self::Producer, message: Message<N>);
    fn pop(end: &mut Self::Consumer) -> Message<N>;
}

/// The stamped ring and the indexed one have the same names.
macro_rules! slot_ring {
    ($module:ident) => {
        impl<const N: usize> Waits<N> for $module::Ring<'static, Message<N>> {
            type Producer = $module::Producer<'static, Message<N>>;
            type Consumer = $module::Consumer<'static, Message<N>>;

            fn create() -> Self {
                Self::create(slots::<N>()).expect("a ring")
            }

            fn producer(&self) -> Self::Producer {
                self.producer().expect("an end")
            }

            fn consumer(&self) -> Self::Consumer {
                self.consumer().expect("an end")
            }

            #[inline]
            fn push(end: &mut Self::Producer, message: Message<N>) {
                end.push_wait(message).expect("the consumer lives");
            }

            #[inline]
            fn pop(end: &mut Self::Consumer) -> Message<N> {
                end.pop_wait().expect("the producer lives")
            }
        }
    };
}

slot_ring!(spsc);
slot_ring!(indexed);

impl<const N: usize> Waits<N> for bytes::Ring<'static> {
    type Producer = bytes::Producer<'static>;
    type Consumer = bytes::Consumer<'static>;

    fn create() -> Self {
        Self::create(slots::<N>() * size_of::<Message<N>>()).expect("a ring")
    }

    fn producer(&self) -> Self::Producer {
        self.producer().expect("an end")
    }

    fn consumer(&self) -> Self::Consumer {
        self.consumer().expect("an end")
    }

    #[inline]
    fn push(end: &mut Self::Producer, message: Message<N>) {
        end.push_wait(0, bytemuck::bytes_of(&message)).expect("the consumer lives");
    }

    #[inline]
    fn pop(end: &mut Self::Consumer) -> Message<N> {
        let mut message = [0; N];
        let (_, len) =
            end.pop_wait(bytemuck::bytes_of_mut(&mut message)).expect("the producer lives");
        assert_eq!(len, size_of::<Message<N>>());
        message
    }
}

type Stamped<const N: usize> = spsc::Ring<'static, Message<N>>;
type Indexed<const N: usize> = indexed::Ring<'static, Message<N>>;
type Bytes = bytes::Ring<'static>;

/// The stamped ring, one message at a time.
#[must_use]
pub fn stamped<const N: usize>() -> Subject {
    Subject::processes(targets::RING_WAITS, one_way::<N, Stamped<N>>)
}

/// The indexed ring, one message at a time.
#[must_use]
pub fn indexed<const N: usize>() -> Subject {
    Subject::processes(targets::INDEXED_WAITS, one_way::<N, Indexed<N>>)
}

/// The ring of bytes, one record at a time, copied.
#[must_use]
pub fn bytes<const N: usize>() -> Subject {
    Subject::processes(targets::BYTES_WAITS, one_way::<N, Bytes>)
}

/// There and back, by each of the three.
#[must_use]
pub fn there_and_back<const N: usize>(handover: Handover) -> [Subject; 3] {
    [
        Subject::processes(targets::RING_WAITS, move || both_ways::<N, Stamped<N>>(handover)),
        Subject::processes(targets::INDEXED_WAITS, move || both_ways::<N, Indexed<N>>(handover)),
        Subject::processes(targets::BYTES_WAITS, move || both_ways::<N, Bytes>(handover)),
    ]
}

/// There and back by the stamped ring.
#[must_use]
pub fn stamped_there_and_back<const N: usize>(handover: Handover) -> Subject {
    let [stamped, ..] = there_and_back::<N>(handover);
    stamped
}

fn one_way<const N: usize, R: Waits<N>>() -> Ends {
    let ring = Arc::new(R::create());
    let other = Arc::clone(&ring);
    // An end belongs to the process that claims it.
    singles(
        move || {
            let mut end = ring.producer();
            move |message| R::push(&mut end, message)
        },
        move || {
            let mut end = other.consumer();
            move || R::pop(&mut end)
        },
    )
}

fn both_ways<const N: usize, R: Waits<N>>(handover: Handover) -> Ends {
    let pusher = |ring: &Arc<R>| {
        let (ring, mut end) = (Arc::clone(ring), None);
        move |message| R::push(end.get_or_insert_with(|| ring.producer()), message)
    };
    let popper = |ring: &Arc<R>| {
        let (ring, mut end) = (Arc::clone(ring), None);
        move || R::pop(end.get_or_insert_with(|| ring.consumer()))
    };
    let (there, back) = (Arc::new(R::create()), Arc::new(R::create()));
    round_trip(handover, pusher(&there), popper(&back), popper(&there), pusher(&back))
}
