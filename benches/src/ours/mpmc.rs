//! The ring of many producers and many consumers, between processes.

use std::sync::Arc;

use ipc_shm::ring::mpmc::{Consumer, Producer, Ring};

use super::until_idly;
use crate::payload::Message;
use crate::queue::{Idle, Queue};
use crate::subject::Sides;
use crate::targets;

/// Asked again and again; beside `IDLE` other producers and as many consumers, who do nothing.
#[derive(Debug)]
pub struct Polled<const N: usize, const IDLE: usize = 0> {
    ring: Ring<'static, Message<N>>,
    _idle: Vec<(Producer<'static, Message<N>>, Consumer<'static, Message<N>>)>,
}

impl<const N: usize, const IDLE: usize> Queue<N> for Polled<N, IDLE> {
    const NAME: &'static str = match IDLE {
        0 => targets::MPMC,
        _ => targets::MPMC_CROWDED,
    };
    const SIDES: Sides = Sides::Processes;
    type Pusher = Producer<'static, Message<N>>;
    type Popper = Consumer<'static, Message<N>>;

    fn of(capacity: usize) -> Self {
        let ring = Ring::create(capacity).expect("a ring");
        let idle = |_| (ring.producer().expect("an end"), ring.consumer().expect("an end"));
        let _idle = (0..IDLE).map(idle).collect();
        Self { ring, _idle }
    }

    fn pusher(queue: &Arc<Self>) -> Self::Pusher {
        queue.ring.producer().expect("an end")
    }

    fn popper(queue: &Arc<Self>) -> Self::Popper {
        queue.ring.consumer().expect("an end")
    }

    #[inline]
    fn push(end: &mut Self::Pusher, message: Message<N>, idle: Idle) {
        until_idly(idle, || end.push(message));
    }

    #[inline]
    fn pop(end: &mut Self::Popper, idle: Idle) -> Message<N> {
        until_idly(idle, || end.pop())
    }
}
