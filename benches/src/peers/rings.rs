//! Queues of other crates, between two threads: they cannot cross a process boundary.

use core::hint::spin_loop;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use rtrb::RingBuffer;

use crate::payload::{self, Message, Received, Sent};
use crate::peers::floor::SLOTS;
use crate::subject::{Done, Ends, Slice, Subject, Wrong};

/// Messages per chunk in chunked interfaces.
const CHUNK: usize = Slice::GRAIN as usize;

/// rtrb, one message at a time.
#[must_use]
pub fn rtrb_push_pop<const N: usize>() -> Subject {
    Subject::threads("rtrb push/pop", || {
        let (mut producer, mut consumer) = RingBuffer::<Message<N>>::new(SLOTS);
        let (mut sent, mut received) = (Sent::new(), Received::new());
        Ends::agreeing(
            move |slice| {
                Ok(sent.each(slice.count, |message| {
                    while producer.push(message).is_err() {
                        spin_loop();
                    }
                }))
            },
            move |slice| received.each(slice.count, || spin_until(|| consumer.pop().ok())),
        )
    })
}

/// rtrb, 64 messages at a time.
#[must_use]
pub fn rtrb_chunks<const N: usize>() -> Subject {
    Subject::threads("rtrb chunks of 64", || {
        let (mut producer, mut consumer) = RingBuffer::<Message<N>>::new(SLOTS);
        let (mut next_sent, mut next_received) = (1, 1);
        Ends::agreeing(
            move |slice| {
                let mut checksum = 0_u64;
                for _ in 0..slice.count / CHUNK as u64 {
                    // Asked twice when there is room, because a chunk cannot leave the loop; the
                    // second question is answered from the producer's private cache.
                    while producer.write_chunk_uninit(CHUNK).is_err() {
                        spin_loop();
                    }
                    let chunk = producer.write_chunk_uninit(CHUNK).expect("room was there");
                    let mut sequence = next_sent;
                    chunk.fill_from_iter((0..CHUNK).map(|_| {
                        let message = payload::numbered(sequence);
                        checksum = checksum.wrapping_add(payload::sum(&message));
                        sequence += 1;
                        message
                    }));
                    next_sent = sequence;
                }
                Ok(Done { operations: slice.count, checksum, nanoseconds: None })
            },
            move |slice| {
                let mut checksum = 0_u64;
                let mut wrong = 0;
                for _ in 0..slice.count / CHUNK as u64 {
                    while consumer.read_chunk(CHUNK).is_err() {
                        spin_loop();
                    }
                    let chunk = consumer.read_chunk(CHUNK).expect("a chunk was there");
                    let (first, second) = chunk.as_slices();
                    for part in [first, second] {
                        for message in part {
                            wrong |= payload::differs(message, next_received);
                            checksum = checksum.wrapping_add(payload::sum(message));
                            next_received += 1;
                        }
                    }
                    chunk.commit_all();
                }
                if wrong != 0 {
                    let last = next_received - 1;
                    return Err(Wrong(format!(
                        "a message up to number {last} was not the one sent"
                    )));
                }
                Ok(Done { operations: slice.count, checksum, nanoseconds: None })
            },
        )
    })
}

/// crossbeam's bounded MPMC queue, which spins when it is full or empty.
#[must_use]
pub fn array_queue<const N: usize>() -> Subject {
    Subject::threads("crossbeam ArrayQueue", || {
        let queue = Arc::new(ArrayQueue::<Message<N>>::new(SLOTS));
        let other = Arc::clone(&queue);
        let (mut sent, mut received) = (Sent::new(), Received::new());
        Ends::agreeing(
            move |slice| {
                Ok(sent.each(slice.count, |message| {
                    while queue.push(message).is_err() {
                        spin_loop();
                    }
                }))
            },
            move |slice| received.each(slice.count, || spin_until(|| other.pop())),
        )
    })
}

/// crossbeam's bounded channel, which blocks.
#[must_use]
pub fn crossbeam_channel<const N: usize>() -> Subject {
    Subject::threads("crossbeam channel", || {
        let (sender, receiver) = crossbeam_channel::bounded::<Message<N>>(SLOTS);
        let (mut sent, mut received) = (Sent::new(), Received::new());
        Ends::agreeing(
            move |slice| {
                Ok(sent
                    .each(slice.count, |message| sender.send(message).expect("the receiver lives")))
            },
            move |slice| received.each(slice.count, || receiver.recv().expect("the sender lives")),
        )
    })
}

/// rtrb there and back.
#[must_use]
pub fn rtrb_round_trip<const N: usize>() -> Subject {
    Subject::threads("rtrb push/pop", || {
        let (mut ask, mut requests) = RingBuffer::<Message<N>>::new(SLOTS);
        let (mut reply, mut answers) = RingBuffer::<Message<N>>::new(SLOTS);
        round_trip(
            move |message| ask.push(message).expect("one message is under way"),
            move || spin_until(|| answers.pop().ok()),
            move || spin_until(|| requests.pop().ok()),
            move |message| reply.push(message).expect("one message is under way"),
        )
    })
}

/// ArrayQueue there and back.
#[must_use]
pub fn array_queue_round_trip<const N: usize>() -> Subject {
    Subject::threads("crossbeam ArrayQueue", || {
        let there = Arc::new(ArrayQueue::<Message<N>>::new(SLOTS));
        let back = Arc::new(ArrayQueue::<Message<N>>::new(SLOTS));
        let (requests, answers) = (Arc::clone(&there), Arc::clone(&back));
        round_trip(
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
        let (ask, requests) = crossbeam_channel::bounded::<Message<N>>(SLOTS);
        let (reply, answers) = crossbeam_channel::bounded::<Message<N>>(SLOTS);
        round_trip(
            move |message| ask.send(message).expect("the other side lives"),
            move || answers.recv().expect("the other side lives"),
            move || requests.recv().expect("the other side lives"),
            move |message| reply.send(message).expect("the other side lives"),
        )
    })
}

/// The two sides of a round trip over any pair of one-way queues; both check every message.
pub fn round_trip<const N: usize>(
    mut ask: impl FnMut(Message<N>) + Send + 'static,
    mut answer: impl FnMut() -> Message<N> + Send + 'static,
    mut request: impl FnMut() -> Message<N> + Send + 'static,
    mut reply: impl FnMut(Message<N>) + Send + 'static,
) -> Ends {
    let (mut sent, mut answered) = (Sent::new(), Received::new());
    let (mut received, mut replied) = (Received::new(), Sent::new());
    let once = |done: Result<Done, Wrong>, checksum: &mut u64| {
        done.map(|done| *checksum = checksum.wrapping_add(done.checksum))
    };
    Ends::agreeing(
        move |slice| {
            let mut checksum = 0;
            for _ in 0..slice.count {
                sent.each(1, &mut ask);
                once(answered.each(1, &mut answer), &mut checksum)?;
            }
            Ok(Done { operations: slice.count, checksum, nanoseconds: None })
        },
        move |slice| {
            let mut checksum = 0;
            for _ in 0..slice.count {
                once(received.each(1, &mut request), &mut checksum)?;
                replied.each(1, &mut reply);
            }
            Ok(Done { operations: slice.count, checksum, nanoseconds: None })
        },
    )
}

#[inline]
fn spin_until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        spin_loop();
    }
}
