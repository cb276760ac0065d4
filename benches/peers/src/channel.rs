//! ipc-channel, by its interface for bytes, which is its fastest.

use ipc_benches::payload::{Message, Reader, Writer};
use ipc_benches::streams;
use ipc_benches::subject::Subject;
use ipc_benches::turns::Handover;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

const NAME: &str = "ipc-channel";

/// One message at a time.
pub(crate) fn bytes<const N: usize>() -> Subject {
    Subject::processes(NAME, || {
        let (sender, receiver) = bytes_channel().expect("a channel");
        streams::stream(
            || {
                let mut message = vec![0; N];
                move |count, writer: &mut Writer| {
                    for _ in 0..count {
                        writer.write(&mut message);
                        sender.send(bytemuck::cast_slice(&message)).expect("the receiver lives");
                    }
                }
            },
            || {
                let mut message = vec![0_u64; N];
                move |count, reader: &mut Reader| {
                    for _ in 0..count {
                        let bytes = receiver.recv().expect("the sender lives");
                        // Its bytes have no alignment.
                        bytemuck::cast_slice_mut(&mut message).copy_from_slice(&bytes);
                        reader.read(&message);
                    }
                }
            },
        )
    })
}

/// There and back.
pub(crate) fn round_trip<const N: usize>() -> Subject {
    Subject::processes(NAME, || {
        let (ask, requests) = bytes_channel().expect("a channel");
        let (reply, answers) = bytes_channel().expect("a channel");
        streams::round_trip::<N>(
            Handover::AtOnce,
            move |message| send(&ask, message),
            move || receive(&answers),
            move || receive(&requests),
            move |message| send(&reply, message),
        )
    })
}

fn send<const N: usize>(sender: &IpcBytesSender, message: Message<N>) {
    sender.send(bytemuck::bytes_of(&message)).expect("the other side lives");
}

fn receive<const N: usize>(receiver: &IpcBytesReceiver) -> Message<N> {
    let bytes = receiver.recv().expect("the other side lives");
    bytemuck::pod_read_unaligned(&bytes)
}
