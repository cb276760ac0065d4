//! shmem-ipc: a ring between processes that do not trust each other, with eventfds for waiting.
//!
//! # Safety
//! The crate hands out raw room for some messages, or some messages, which are nobody else's until its
//! closure returns: nobody else has an end of the ring.
#![expect(
    unsafe_code,
    reason = "the crate gives pointers, because its peers may write at any time"
)]

use std::fs::File;
use std::slice;

use ipc_benches::payload::{Message, Reader, Writer};
use ipc_benches::streams::{CHUNK, slots, stream};
use ipc_benches::subject::Subject;
use shmem_ipc::sharedring::{Receiver, Sender};

/// One message per call.
pub(crate) fn one<const N: usize>() -> Subject {
    subject::<N>("shmem-ipc", 1)
}

/// Up to 64 messages per call.
pub(crate) fn batches<const N: usize>() -> Subject {
    subject::<N>("shmem-ipc, batches of 64", CHUNK)
}

fn subject<const N: usize>(name: &'static str, batch: usize) -> Subject {
    Subject::processes(name, move || {
        let capacity = slots::<N>();
        let mut sender = Sender::<Message<N>>::new(capacity).expect("a ring");
        let copy = |file: &File| file.try_clone().expect("a descriptor");
        let memory = copy(sender.memfd().as_file());
        let (empty, full) = (copy(sender.empty_signal()), copy(sender.full_signal()));
        let mut receiver =
            Receiver::<Message<N>>::open(capacity, memory, empty, full).expect("the ring");
        stream(
            move || {
                move |count, writer: &mut Writer| {
                    let mut rest = count as usize;
                    while rest > 0 {
                        sender.block_until_writable().expect("room");
                        let room = |at: *mut Message<N>, room: usize| {
                            let taken = room.min(rest).min(batch);
                            // SAFETY: the room is ours until the closure returns.
                            let room = unsafe { slice::from_raw_parts_mut(at, taken) };
                            room.iter_mut().for_each(|place| writer.write(place));
                            rest -= taken;
                            taken
                        };
                        sender.send_raw(room).expect("a ring in order");
                    }
                }
            },
            move || {
                move |count, reader: &mut Reader| {
                    let mut rest = count as usize;
                    while rest > 0 {
                        receiver.block_until_readable().expect("messages");
                        let there = |at: *const Message<N>, there: usize| {
                            let taken = there.min(rest).min(batch);
                            // SAFETY: the messages are ours until the closure returns.
                            let messages = unsafe { slice::from_raw_parts(at, taken) };
                            messages.iter().for_each(|message| reader.read(message));
                            rest -= taken;
                            taken
                        };
                        receiver.receive_raw(there).expect("a ring in order");
                    }
                }
            },
        )
    })
}
