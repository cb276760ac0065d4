//! The ring with a stamp in every slot, between two processes.

use std::sync::Arc;

use core::hint::spin_loop;

use bytemuck::Pod;
use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
use ipc_shm::ring::{PopError, PushError};

use crate::payload::Message;
use crate::streams::{round_trip, singles, slots};
use crate::subject::Subject;
use crate::targets;

/// One message at a time.
#[must_use]
pub fn push_pop<const N: usize>() -> Subject {
    Subject::processes(targets::RING, || {
        let ring = Arc::new(Ring::<Message<N>>::create(slots::<N>()).expect("a ring"));
        let other = Arc::clone(&ring);
        // An end belongs to the process that claims it.
        singles(
            move || {
                let mut end = ring.producer().expect("an end");
                move |message| push(&mut end, message)
            },
            move || {
                let mut end = other.consumer().expect("an end");
                move || pop(&mut end)
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
                push(end.get_or_insert_with(|| ring.producer().expect("an end")), message);
            }
        };
        let popper = |ring: &Arc<Ring<'static, Message<N>>>| {
            let (ring, mut end) = (Arc::clone(ring), None);
            move || pop(end.get_or_insert_with(|| ring.consumer().expect("an end")))
        };
        let there = Arc::new(Ring::create(slots::<N>()).expect("a ring"));
        let back = Arc::new(Ring::create(slots::<N>()).expect("a ring"));
        round_trip(pusher(&there), popper(&back), popper(&there), pusher(&back))
    })
}

#[inline]
fn push<T: Pod + Send>(end: &mut Producer<'_, T>, message: T) {
    while let Err(error) = end.push(message) {
        match error {
            PushError::Full(_) => spin_loop(),
            error => panic!("{error}"),
        }
    }
}

#[inline]
fn pop<T: Pod + Send>(end: &mut Consumer<'_, T>) -> T {
    loop {
        match end.pop() {
            Ok(message) => return message,
            Err(PopError::Empty) => spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}
