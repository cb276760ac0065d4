//! Rings of other crates for one producer and one consumer, between two threads: they cannot cross
//! a process boundary.

use disruptor::{BusySpinWithSpinLoopHint, Producer as _};
use ringbuf::HeapRb;
use ringbuf::traits::{Consumer as _, Producer as _, Split as _};
use rtrb::RingBuffer;

use crate::payload::{Message, Reader, Writer};
use crate::streams::{CHUNK, round_trip, singles, slices, slots, spin_until, stream};
use crate::subject::Subject;
use crate::turns::Handover;

/// rtrb, one message at a time.
#[must_use]
pub fn rtrb_push_pop<const N: usize>() -> Subject {
    Subject::threads("rtrb push/pop", || {
        let (mut producer, mut consumer) = RingBuffer::<Message<N>>::new(slots::<N>());
        singles(
            || move |message| spin_until(|| producer.push(message).ok()),
            || move || spin_until(|| consumer.pop().ok()),
        )
    })
}

/// rtrb, 64 messages at a time, in place.
#[must_use]
pub fn rtrb_chunks<const N: usize>() -> Subject {
    Subject::threads("rtrb chunks of 64", || {
        let (mut producer, mut consumer) = RingBuffer::<Message<N>>::new(slots::<N>());
        stream(
            || {
                move |count, writer: &mut Writer| {
                    for _ in 0..count / CHUNK as u64 {
                        // Asked twice when there is room, because a chunk cannot leave the loop;
                        // the second question is answered from the producer's private cache.
                        spin_until(|| producer.write_chunk_uninit(CHUNK).is_ok().then_some(()));
                        let chunk = producer.write_chunk_uninit(CHUNK).expect("room was there");
                        chunk.fill_from_iter((0..CHUNK).map(|_| writer.message()));
                    }
                }
            },
            || {
                move |count, reader: &mut Reader| {
                    for _ in 0..count / CHUNK as u64 {
                        spin_until(|| consumer.read_chunk(CHUNK).is_ok().then_some(()));
                        let chunk = consumer.read_chunk(CHUNK).expect("a chunk was there");
                        let (first, second) = chunk.as_slices();
                        first.iter().chain(second).for_each(|message| reader.read(message));
                        chunk.commit_all();
                    }
                }
            },
        )
    })
}

/// ringbuf, one message at a time.
#[must_use]
pub fn ringbuf_push_pop<const N: usize>() -> Subject {
    Subject::threads("ringbuf push/pop", || {
        let (mut producer, mut consumer) = HeapRb::<Message<N>>::new(slots::<N>()).split();
        singles(
            || move |message| spin_until(|| producer.try_push(message).ok()),
            || move || spin_until(|| consumer.try_pop()),
        )
    })
}

/// ringbuf, up to 64 messages at a time.
#[must_use]
pub fn ringbuf_slices<const N: usize>() -> Subject {
    Subject::threads("ringbuf slices of 64", || {
        let (mut producer, mut consumer) = HeapRb::<Message<N>>::new(slots::<N>()).split();
        slices::<N, _, _>(
            || move |messages: &[_]| producer.push_slice(messages),
            || move |messages: &mut [_]| consumer.pop_slice(messages),
        )
    })
}

/// The disruptor crate: events are published one at a time and taken as they come, in place.
#[must_use]
pub fn disruptor_publish<const N: usize>() -> Subject {
    disruptor::<N>("disruptor publish", 1)
}

/// The disruptor crate, 64 events at a time, in place.
#[must_use]
pub fn disruptor_batches<const N: usize>() -> Subject {
    disruptor::<N>("disruptor batches of 64", CHUNK)
}

fn disruptor<const N: usize>(name: &'static str, batch: usize) -> Subject {
    Subject::threads(name, move || {
        let empty = || [0; N];
        let builder =
            disruptor::build_single_producer(slots::<N>(), empty, BusySpinWithSpinLoopHint);
        let (mut poller, builder) = builder.new_event_poller();
        let mut producer = builder.build();
        stream(
            move || {
                move |count, writer: &mut Writer| {
                    if batch == 1 {
                        for _ in 0..count {
                            producer.publish(|event| writer.write(event));
                        }
                        return;
                    }
                    for _ in 0..count / batch as u64 {
                        producer.batch_publish(batch, |events| {
                            events.for_each(|event| writer.write(event));
                        });
                    }
                }
            },
            || {
                move |count, reader: &mut Reader| {
                    let mut rest = count;
                    while rest > 0 {
                        rest -= spin_until(|| {
                            let mut events = poller.take(rest.min(CHUNK as u64)).ok()?;
                            let unread = &mut events;
                            let taken = unread.len() as u64;
                            unread.for_each(|event| reader.read(event));
                            Some(taken)
                        });
                    }
                }
            },
        )
    })
}

/// rtrb there and back.
#[must_use]
pub fn rtrb_round_trip<const N: usize>() -> Subject {
    Subject::threads("rtrb push/pop", || {
        let (mut ask, mut requests) = RingBuffer::<Message<N>>::new(slots::<N>());
        let (mut reply, mut answers) = RingBuffer::<Message<N>>::new(slots::<N>());
        round_trip(
            Handover::AtOnce,
            move |message| ask.push(message).expect("one message is under way"),
            move || spin_until(|| answers.pop().ok()),
            move || spin_until(|| requests.pop().ok()),
            move |message| reply.push(message).expect("one message is under way"),
        )
    })
}

/// ringbuf there and back.
#[must_use]
pub fn ringbuf_round_trip<const N: usize>() -> Subject {
    Subject::threads("ringbuf push/pop", || {
        let (mut ask, mut requests) = HeapRb::<Message<N>>::new(slots::<N>()).split();
        let (mut reply, mut answers) = HeapRb::<Message<N>>::new(slots::<N>()).split();
        round_trip(
            Handover::AtOnce,
            move |message| ask.try_push(message).expect("one message is under way"),
            move || spin_until(|| answers.try_pop()),
            move || spin_until(|| requests.try_pop()),
            move |message| reply.try_push(message).expect("one message is under way"),
        )
    })
}
