//! Channels of other crates, which any number of threads may use; none leaves its process.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::payload::Message;
use crate::streams::{round_trip, singles, slots, spin_until};
use crate::subject::Subject;
use crate::turns::Handover;

/// crossbeam's bounded MPMC queue, which spins when it is full or empty.
#[must_use]
pub fn array_queue<const N: usize>() -> Subject {
    Subject::threads("crossbeam ArrayQueue", || {
        let queue = Arc::new(ArrayQueue::<Message<N>>::new(slots::<N>()));
        let other = Arc::clone(&queue);
        singles(
            || move |message| spin_until(|| queue.push(message).ok()),
            || move || spin_until(|| other.pop()),
        )
    })
}

/// crossbeam's bounded channel, which blocks.
#[must_use]
pub fn crossbeam_channel<const N: usize>() -> Subject {
    Subject::threads("crossbeam channel", || {
        let (sender, receiver) = crossbeam_channel::bounded::<Message<N>>(slots::<N>());
        singles(
            || move |message| sender.send(message).expect("the receiver lives"),
            || move || receiver.recv().expect("the sender lives"),
        )
    })
}

/// kanal's bounded channel, which blocks.
#[must_use]
pub fn kanal<const N: usize>() -> Subject {
    Subject::threads("kanal", || {
        let (sender, receiver) = kanal::bounded::<Message<N>>(slots::<N>());
        singles(
            || move |message| sender.send(message).expect("the receiver lives"),
            || move || receiver.recv().expect("the sender lives"),
        )
    })
}

/// ArrayQueue there and back.
#[must_use]
pub fn array_queue_round_trip<const N: usize>() -> Subject {
    Subject::threads("crossbeam ArrayQueue", || {
        let there = Arc::new(ArrayQueue::<Message<N>>::new(slots::<N>()));
        let back = Arc::new(ArrayQueue::<Message<N>>::new(slots::<N>()));
        let (requests, answers) = (Arc::clone(&there), Arc::clone(&back));
        round_trip(
            Handover::AtOnce,
            move |message| there.push(message).expect("one message is under way"),
            move || spin_until(|| answers.pop()),
            move || spin_until(|| requests.pop()),
            move |message| back.push(message).expect("one message is under way"),
        )
    })
}

/// crossbeam's channel there and back.
#[must_use]
pub fn crossbeam_channel_round_trip<const N: usize>() -> Subject {
    Subject::threads("crossbeam channel", || {
        let (ask, requests) = crossbeam_channel::bounded::<Message<N>>(slots::<N>());
        let (reply, answers) = crossbeam_channel::bounded::<Message<N>>(slots::<N>());
        round_trip(
            Handover::AtOnce,
            move |message| ask.send(message).expect("the other side lives"),
            move || answers.recv().expect("the other side lives"),
            move || requests.recv().expect("the other side lives"),
            move |message| reply.send(message).expect("the other side lives"),
        )
    })
}

/// kanal there and back.
#[must_use]
pub fn kanal_round_trip<const N: usize>() -> Subject {
    Subject::threads("kanal", || {
        let (ask, requests) = kanal::bounded::<Message<N>>(slots::<N>());
        let (reply, answers) = kanal::bounded::<Message<N>>(slots::<N>());
        round_trip(
            Handover::AtOnce,
            move |message| ask.send(message).expect("the other side lives"),
            move || answers.recv().expect("the other side lives"),
            move || requests.recv().expect("the other side lives"),
            move |message| reply.send(message).expect("the other side lives"),
        )
    })
}
