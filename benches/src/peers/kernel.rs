//! What the kernel has: transports that copy, one message per call, blocking; and a lock on a file.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use core::sync::atomic::{AtomicU64, Ordering::*};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::fs::{self, FlockOperation, MemfdFlags, memfd_create};
use rustix::pipe::pipe;

use crate::payload::{Message, Reader, Writer};
use crate::streams;
use crate::subject::{Done, Ends, Subject};
use crate::sys::place;
use crate::turns::Handover;

/// A pair on `flock`, which the kernel releases when its holder dies, without a word.
#[must_use]
pub fn flock() -> Subject {
    Subject::processes("flock", || {
        let file = memfd_create("flock", MemfdFlags::CLOEXEC).expect("a file");
        Ends::alone(
            move |slice| {
                for _ in 0..slice.count {
                    fs::flock(&file, FlockOperation::LockExclusive).expect("the lock");
                    fs::flock(&file, FlockOperation::Unlock).expect("the end of it");
                }
                Ok(Done { operations: slice.count, ..Done::default() })
            },
            |_, _| Ok(()),
        )
    })
}

/// A pipe with its usual 64 KiB.
#[must_use]
pub fn pipe_stream<const N: usize>() -> Subject {
    Subject::processes("pipe", || {
        let (read, write) = pipe().expect("a pipe");
        stream::<N>(std::fs::File::from(write), std::fs::File::from(read))
    })
}

/// A stream socket pair.
#[must_use]
pub fn unix_stream<const N: usize>() -> Subject {
    Subject::processes("Unix socket", || {
        let (near, far) = UnixStream::pair().expect("a socket pair");
        stream::<N>(near, far)
    })
}

/// A request through one pipe and its answer through another.
#[must_use]
pub fn pipe_round_trip<const N: usize>(handover: Handover) -> Subject {
    Subject::processes("pipe", move || {
        let (mut requests, mut ask) = both_ends();
        let (mut answers, mut reply) = both_ends();
        streams::round_trip::<N>(
            handover,
            move |message| write(&mut ask, &message),
            move || read(&mut answers),
            move || read(&mut requests),
            move |message| write(&mut reply, &message),
        )
    })
}

/// A request in one place and its answer in another, each announced by an eventfd.
#[must_use]
pub fn eventfd_round_trip<const N: usize>(handover: Handover) -> Subject {
    Subject::processes("eventfd", move || {
        let (there, back) = (Announced::<N>::new(), Announced::<N>::new());
        let (requests, replies) = (there.clone(), back.clone());
        streams::round_trip::<N>(
            handover,
            move |message| there.write(&message),
            move || back.read(),
            move || requests.read(),
            move |message| replies.write(&message),
        )
    })
}

/// Room for one message, and what tells that it is there.
#[derive(Clone)]
struct Announced<const N: usize> {
    words: &'static [AtomicU64; N],
    event: Arc<OwnedFd>,
}

impl<const N: usize> Announced<N> {
    fn new() -> Self {
        let event = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        Self { words: place([const { AtomicU64::new(0) }; N]), event: Arc::new(event) }
    }

    fn write(&self, message: &Message<N>) {
        for (place, &word) in self.words.iter().zip(message) {
            // SYNC: message written (Release here, Acquire in `read`).
            place.store(word, Release);
        }
        let written = rustix::io::write(&*self.event, &1_u64.to_ne_bytes());
        assert_eq!(written, Ok(8), "the counter takes it");
    }

    fn read(&self) -> Message<N> {
        let read = rustix::io::read(&*self.event, &mut [0; 8]);
        assert_eq!(read, Ok(8), "the counter gives it");
        // SYNC: message written (Acquire here, Release in `write`).
        core::array::from_fn(|i| self.words[i].load(Acquire))
    }
}

fn both_ends() -> (std::fs::File, std::fs::File) {
    let (read, write) = pipe().expect("a pipe");
    (read.into(), write.into())
}

fn stream<const N: usize>(
    mut to: impl Write + Send + 'static,
    mut from: impl Read + Send + 'static,
) -> Ends {
    streams::stream(
        || {
            let mut message = vec![0; N];
            move |count, writer: &mut Writer| {
                for _ in 0..count {
                    writer.write(&mut message);
                    to.write_all(bytemuck::cast_slice(&message)).expect("a message written");
                }
            }
        },
        || {
            let mut message = vec![0_u64; N];
            move |count, reader: &mut Reader| {
                for _ in 0..count {
                    from.read_exact(bytemuck::cast_slice_mut(&mut message))
                        .expect("a message read");
                    reader.read(&message);
                }
            }
        },
    )
}

fn write<const N: usize>(to: &mut impl Write, message: &Message<N>) {
    to.write_all(bytemuck::bytes_of(message)).expect("a message written");
}

fn read<const N: usize>(from: &mut impl Read) -> Message<N> {
    let mut message = [0; N];
    from.read_exact(bytemuck::bytes_of_mut(&mut message)).expect("a message read");
    message
}
