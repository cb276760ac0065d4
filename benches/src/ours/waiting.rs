//! The calls of the rings that wait, between two processes.

use std::sync::Arc;

use ipc_shm::ring::{bytes, indexed, mpmc, spsc};

use crate::payload::Message;
use crate::queue::{Idle, Queue, there_and_back};
use crate::subject::{Sides, Subject};
use crate::targets;
use crate::turns::Handover;

/// The rings of slots have the same names.
macro_rules! slot_ring {
    ($type:ident, $module:ident, $name:expr) => {
        #[doc = concat!("The ring of `", stringify!($module), "`, one message at a time.")]
        #[derive(Debug)]
        pub struct $type<const N: usize>($module::Ring<'static, Message<N>>);

        impl<const N: usize> Queue<N> for $type<N> {
            const NAME: &'static str = $name;
            const SIDES: Sides = Sides::Processes;
            type Pusher = $module::Producer<'static, Message<N>>;
            type Popper = $module::Consumer<'static, Message<N>>;

            fn of(capacity: usize) -> Self {
                Self($module::Ring::create(capacity).expect("a ring"))
            }

            fn pusher(queue: &Arc<Self>) -> Self::Pusher {
                queue.0.producer().expect("an end")
            }

            fn popper(queue: &Arc<Self>) -> Self::Popper {
                queue.0.consumer().expect("an end")
            }

            #[inline]
            fn push(end: &mut Self::Pusher, message: Message<N>, _: Idle) {
                end.push_wait(message).expect("a consumer lives");
            }

            #[inline]
            fn pop(end: &mut Self::Popper, _: Idle) -> Message<N> {
                end.pop_wait().expect("a producer lives")
            }
        }
    };
}

slot_ring!(Stamped, spsc, targets::RING_WAITS);
slot_ring!(Indexed, indexed, targets::INDEXED_WAITS);
slot_ring!(Many, mpmc, targets::MPMC_WAITS);

/// The ring of bytes, one record at a time, copied.
#[derive(Debug)]
pub struct Bytes(bytes::Ring<'static>);

impl<const N: usize> Queue<N> for Bytes {
    const NAME: &'static str = targets::BYTES_WAITS;
    const SIDES: Sides = Sides::Processes;
    type Pusher = bytes::Producer<'static>;
    type Popper = bytes::Consumer<'static>;

    fn of(capacity: usize) -> Self {
        Self(bytes::Ring::create(capacity * size_of::<Message<N>>()).expect("a ring"))
    }

    fn pusher(queue: &Arc<Self>) -> Self::Pusher {
        queue.0.producer().expect("an end")
    }

    fn popper(queue: &Arc<Self>) -> Self::Popper {
        queue.0.consumer().expect("an end")
    }

    #[inline]
    fn push(end: &mut Self::Pusher, message: Message<N>, _: Idle) {
        end.push_wait(0, bytemuck::bytes_of(&message)).expect("a consumer lives");
    }

    #[inline]
    fn pop(end: &mut Self::Popper, _: Idle) -> Message<N> {
        let mut message = [0; N];
        let (_, len) =
            end.pop_wait(bytemuck::bytes_of_mut(&mut message)).expect("a producer lives");
        assert_eq!(len, size_of::<Message<N>>());
        message
    }
}

/// There and back, by each of the three for one producer and one consumer.
#[must_use]
pub fn round_trips<const N: usize>(handover: Handover) -> Vec<Subject> {
    vec![
        there_and_back::<N, Stamped<N>>(handover),
        there_and_back::<N, Indexed<N>>(handover),
        there_and_back::<N, Bytes>(handover),
    ]
}
