//! The ring of records of bytes, between two processes.

use std::sync::Arc;

use ipc_shm::ring::bytes::{Consumer, PopError, Producer, PushError, Ring};
use ipc_shm::ring::{RoleError, Trust};

use super::until;
use crate::payload::{Message, Reader, Writer};
use crate::streams::{slots, stream};
use crate::subject::Subject;
use crate::targets;

/// Of as many bytes as the other rings have slots for.
fn ring<const N: usize>() -> [Arc<Ring<'static>>; 2] {
    let ring = Ring::create(slots::<N>() * size_of::<Message<N>>()).expect("a ring");
    assert!(ring.is_contiguous(), "each record is one slice");
    let ring = Arc::new(ring);
    [Arc::clone(&ring), ring]
}

/// Records that are written and read where they lie.
#[must_use]
pub fn in_place<const N: usize>() -> Subject {
    Subject::processes(targets::BYTES, || {
        let [ring, other] = ring::<N>();
        stream(
            move || {
                let mut end = ring.producer().expect("an end");
                move |count, writer: &mut Writer| {
                    for _ in 0..count {
                        until(|| {
                            let mut room = end.reserve(size_of::<Message<N>>())?;
                            let (place, _) = room.as_mut_slices();
                            writer.write(bytemuck::cast_slice_mut(place));
                            room.advance(size_of::<Message<N>>()).expect("as reserved");
                            room.commit(0);
                            Ok::<_, PushError>(())
                        });
                    }
                }
            },
            move || {
                let mut end = other.consumer().expect("an end");
                move |count, reader: &mut Reader| {
                    for _ in 0..count {
                        until(|| {
                            let record = end.peek()?;
                            let (bytes, _) = record.record().as_slices();
                            assert_eq!(bytes.len(), size_of::<Message<N>>());
                            reader.read(bytemuck::cast_slice(bytes));
                            record.release();
                            Ok::<_, PopError>(())
                        });
                    }
                }
            },
        )
    })
}

/// As [`in_place`], but the consumer takes all records that are there, and gives their room back at once.
#[must_use]
pub fn batches<const N: usize>() -> Subject {
    Subject::processes(targets::BYTES_BATCHES, || {
        let [ring, other] = ring::<N>();
        stream(
            move || {
                let mut end = ring.producer().expect("an end");
                let mut message = vec![0_u64; N];
                move |count, writer: &mut Writer| {
                    for _ in 0..count {
                        writer.write(&mut message);
                        until(|| end.push(0, bytemuck::cast_slice(&message)));
                    }
                }
            },
            move || {
                let mut end = other.consumer().expect("an end");
                move |count, reader: &mut Reader| {
                    let mut rest = count;
                    while rest > 0 {
                        until(|| {
                            let mut batch = end.batch()?;
                            // Those of the next slice, if any, stay.
                            while rest > 0 {
                                let Some(record) = batch.next_record()? else { break };
                                let (bytes, _) = record.as_slices();
                                assert_eq!(bytes.len(), size_of::<Message<N>>());
                                reader.read(bytemuck::cast_slice(bytes));
                                rest -= 1;
                            }
                            batch.release();
                            Ok::<_, PopError>(())
                        });
                    }
                }
            },
        )
    })
}

/// Records that are copied in and out.
#[must_use]
pub fn copied<const N: usize>() -> Subject {
    pushed_and_popped::<N, _, _>(targets::BYTES_COPIED, Ring::producer, Ring::consumer)
}

/// Likewise, between two that do not trust each other.
#[must_use]
pub fn untrusted<const N: usize>() -> Subject {
    let name = targets::BYTES_UNTRUSTED;
    pushed_and_popped::<N, _, _>(name, Ring::untrusted_producer, Ring::untrusted_consumer)
}

/// How an end of a ring is taken.
type Claim<E> = fn(&Ring<'static>) -> Result<E, RoleError>;

fn pushed_and_popped<const N: usize, W: Trust + Send + 'static, R: Trust + Send + 'static>(
    name: &'static str,
    producer: Claim<Producer<'static, W>>,
    consumer: Claim<Consumer<'static, R>>,
) -> Subject {
    Subject::processes(name, move || {
        let [ring, other] = ring::<N>();
        stream(
            move || {
                let mut end = producer(&ring).expect("an end");
                let mut message = vec![0_u64; N];
                move |count, writer: &mut Writer| {
                    for _ in 0..count {
                        writer.write(&mut message);
                        until(|| end.push(0, bytemuck::cast_slice(&message)));
                    }
                }
            },
            move || {
                let mut end = consumer(&other).expect("an end");
                let mut message = vec![0_u64; N];
                move |count, reader: &mut Reader| {
                    for _ in 0..count {
                        let (_, len) = until(|| end.pop(bytemuck::cast_slice_mut(&mut message)));
                        assert_eq!(len, size_of::<Message<N>>());
                        reader.read(&message);
                    }
                }
            },
        )
    })
}
