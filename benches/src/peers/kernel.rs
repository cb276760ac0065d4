//! What the kernel has: transports that copy, one message per call, blocking; and a lock on a file.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::fs::{self, FlockOperation, MemfdFlags, memfd_create};
use rustix::pipe::pipe;

use crate::payload::{Message, Reader, Writer};
use crate::streams;
use crate::subject::{Done, Ends, Subject};

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
pub fn pipe_round_trip<const N: usize>() -> Subject {
    Subject::processes("pipe", || {
        let (mut requests, mut ask) = both_ends();
        let (mut answers, mut reply) = both_ends();
        streams::round_trip::<N>(
            move |message| write(&mut ask, &message),
            move || read(&mut answers),
            move || read(&mut requests),
            move |message| write(&mut reply, &message),
        )
    })
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
