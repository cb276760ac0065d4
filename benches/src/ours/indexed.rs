//! The ring with contiguous slots, between two processes.

use std::sync::Arc;

use ipc_shm::ring::indexed::{Consumer, Producer, Ring};
use ipc_shm::ring::{PopError, PushError, RoleError, Trust};

use super::until;
use crate::payload::{Message, Reader, Writer};
use crate::streams::{batch, singles, slices, stream};
use crate::subject::{Ends, Subject};
use crate::targets;

/// One message at a time, by value.
#[must_use]
pub fn push_pop<const N: usize>(slots: usize) -> Subject {
    one_by_one::<N, _, _>(targets::INDEXED, slots, Ring::producer, Ring::consumer)
}

/// One message at a time, between two that do not trust each other.
#[must_use]
pub fn untrusted<const N: usize>(slots: usize) -> Subject {
    let name = targets::INDEXED_UNTRUSTED;
    one_by_one::<N, _, _>(name, slots, Ring::untrusted_producer, Ring::untrusted_consumer)
}

/// How an end of a ring is taken.
type Claim<const N: usize, E> = fn(&Ring<'static, Message<N>>) -> Result<E, RoleError>;

fn one_by_one<const N: usize, W: Trust + Send + 'static, R: Trust + Send + 'static>(
    name: &'static str,
    slots: usize,
    producer: Claim<N, Producer<'static, Message<N>, W>>,
    consumer: Claim<N, Consumer<'static, Message<N>, R>>,
) -> Subject {
    Subject::processes(name, move || {
        let ring = Arc::new(Ring::create(slots).expect("a ring"));
        let other = Arc::clone(&ring);
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

/// 64 messages at a time, copied; or one, if they are large.
#[must_use]
pub fn copied<const N: usize>(slots: usize) -> Subject {
    let name = if batch::<N>() == 1 { targets::INDEXED_SLICE } else { targets::INDEXED_SLICES };
    Subject::processes(name, move || {
        with_ends(slots, |left, right| {
            slices::<N, _, _>(
                move || {
                    let mut end = left();
                    move |messages: &[Message<N>]| until(|| end.push_slice(messages))
                },
                move || {
                    let mut end = right();
                    move |messages: &mut [Message<N>]| until(|| end.pop_slice(messages))
                },
            )
        })
    })
}

/// Up to 64 messages at a time, written and read where they lie.
#[must_use]
pub fn in_place<const N: usize>(slots: usize) -> Subject {
    Subject::processes(targets::INDEXED_LOAN, move || {
        with_ends(slots, |left, right| {
            stream(
                move || {
                    let mut end: Producer<'_, Message<N>> = left();
                    move |count, writer: &mut Writer| {
                        let mut rest = count as usize;
                        while rest > 0 {
                            rest -= until(|| {
                                let mut room = end.reserve(rest.min(batch::<N>()))?;
                                let taken = room.len();
                                let (first, second) = room.as_mut_slices();
                                for place in first.iter_mut().chain(second) {
                                    writer.write(place);
                                }
                                room.commit(taken);
                                Ok::<_, PushError<()>>(taken)
                            });
                        }
                    }
                },
                move || {
                    let mut end: Consumer<'_, Message<N>> = right();
                    move |count, reader: &mut Reader| {
                        let mut rest = count as usize;
                        while rest > 0 {
                            rest -= until(|| {
                                let messages = end.peek(rest.min(batch::<N>()))?;
                                let taken = messages.len();
                                let (first, second) = messages.as_slices();
                                first.iter().chain(second).for_each(|message| reader.read(message));
                                messages.release(taken);
                                Ok::<_, PopError>(taken)
                            });
                        }
                    }
                },
            )
        })
    })
}

/// A ring, and what claims its ends: an end belongs to the process that claims it.
fn with_ends<const N: usize>(
    slots: usize,
    ends: impl FnOnce(
        Box<dyn FnOnce() -> Producer<'static, Message<N>> + Send>,
        Box<dyn FnOnce() -> Consumer<'static, Message<N>> + Send>,
    ) -> Ends,
) -> Ends {
    let ring = Arc::new(Ring::create(slots).expect("a ring"));
    let other = Arc::clone(&ring);
    ends(
        Box::new(move || ring.producer().expect("an end")),
        Box::new(move || other.consumer().expect("an end")),
    )
}
