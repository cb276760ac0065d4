//! Messages between processes, of which a part is there when the storm begins, or nothing.

use core::time::Duration;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::connection::{
    Message, Receiver, RecvError, SendError, Sender, simplex, wait_any, wait_any_interruptible,
};
use ipc_core::parcel::Parcel;
use ipc_core::process::fork_fn;
use ipc_testkit::cases::storm::{HANDLERS, LONG, in_vain, until_done, with_peer};

use crate::succeeds;

/// Far more than a socket's buffer takes.
const LENGTH: usize = 2 << 20;

/// A value whose bytes show where they belong.
fn value(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn parcel(value: &Vec<u8>) -> Vec<u8> {
    Parcel::pack(value).expect("bytes can be packed").bytes
}

type Receive = fn(&mut Receiver) -> Result<Vec<u8>, RecvError>;

/// Every way to receive a value that comes in the end.
const RECEIVE: [(&str, Receive); 6] = [
    ("Receiver::recv_value", |receiver| receiver.recv_value()),
    ("Receiver::recv", |receiver| Ok(unpack(receiver.recv()?))),
    ("Receiver::recv_timeout", |receiver| Ok(unpack(receiver.recv_timeout(LONG)?))),
    ("Receiver::recv_message", |receiver| Ok(receiver.recv_message(Deadline::FAR)?.unpack()?)),
    ("Receiver::recv_into", |receiver| {
        let mut message = Message::default();
        receiver.recv_into(&mut message, Deadline::after(LONG))?;
        Ok(message.unpack()?)
    }),
    ("Receiver::wait", |receiver| {
        assert_eq!(receiver.wait(Deadline::FAR), Ok(true));
        receiver.recv_value()
    }),
];

fn unpack(bytes: Vec<u8>) -> Vec<u8> {
    Parcel { bytes, fds: Vec::new() }.unpack().expect("a value")
}

pub(crate) fn received() {
    for flags in HANDLERS {
        for (what, receive) in RECEIVE {
            let (mut receiver, mut sender) = simplex().expect("simplex");
            let expected = value(LENGTH);
            let send = || sender.send_value(&expected).expect("send");
            let got = with_peer(what, flags, send, || receive(&mut receiver));
            assert!(got.expect(what) == expected);
        }
        let (receiver, mut sender) = simplex().expect("simplex");
        let send = || sender.send(b"word").expect("send");
        let ready = with_peer("wait_any", flags, send, || wait_any(&[&receiver], Deadline::FAR));
        assert_eq!(ready, Ok(vec![0]));
    }
}

type Transmit = fn(&mut Sender, &Vec<u8>) -> Result<(), SendError>;

/// Every way to send a value that is received in the end.
const SEND: [(&str, Transmit); 5] = [
    ("Sender::send_value", |sender, value| sender.send_value(value)),
    ("Sender::send", |sender, value| sender.send(&parcel(value))),
    ("Sender::send_timeout", |sender, value| sender.send_timeout(&parcel(value), LONG)),
    ("Sender::send_deadline", |sender, value| {
        sender.send_deadline(&parcel(value), &[], Deadline::after(LONG))
    }),
    ("Sending::wait_until", |sender, value| {
        sender.begin_send(&parcel(value), &[])?.wait_until(Deadline::FAR)
    }),
];

pub(crate) fn sent() {
    for flags in HANDLERS {
        for (what, send) in SEND {
            let (mut receiver, mut sender) = simplex().expect("simplex");
            let expected = value(LENGTH);
            let receive = || assert!(receiver.recv_value::<Vec<u8>>().expect("recv") == expected);
            assert_eq!(with_peer(what, flags, receive, || send(&mut sender, &expected)), Ok(()));
        }
    }
}

pub(crate) fn in_time() {
    for flags in HANDLERS {
        let (mut receiver, mut sender) = simplex().expect("simplex");
        in_vain("Receiver::recv_timeout in vain", flags, |span| {
            assert_eq!(receiver.recv_timeout(span), Err(RecvError::TimedOut));
        });
        in_vain("Receiver::recv_message in vain", flags, |span| {
            let received = receiver.recv_message(Deadline::after(span));
            assert_eq!(received.map(drop), Err(RecvError::TimedOut));
        });
        in_vain("Receiver::wait in vain", flags, |span| {
            assert_eq!(receiver.wait(Deadline::after(span)), Ok(false));
        });
        in_vain("wait_any in vain", flags, |span| {
            assert_eq!(wait_any(&[&receiver], Deadline::after(span)), Ok(vec![]));
        });
        in_vain("interruptible calls in vain", flags, |span| {
            let (deadline, mut message) = (Deadline::after(span), Message::default());
            while receiver.recv_interruptible(&mut message, deadline)
                == Err(RecvError::Os(Errno::INTR))
                || wait_any_interruptible(&[&receiver], deadline) == Err(Errno::INTR)
            {}
        });
        fill(&mut sender);
        in_vain("Sender::send_timeout in vain", flags, |span| {
            assert_eq!(sender.send_timeout(b"x", span), Err(SendError::TimedOut));
        });
        in_vain("Sending::wait_until in vain", flags, |span| {
            let mut sending = sender.begin_send(b"x", &[]).expect("no descriptors");
            assert_eq!(sending.wait_until(Deadline::after(span)), Err(SendError::TimedOut));
        });
    }
}

/// Sends until nothing more can be sent.
fn fill(sender: &mut Sender) {
    while sender.send_timeout(b"x", Duration::ZERO).is_ok() {}
}

/// Receives a message as an interruptible call does it.
fn recv(receiver: &mut Receiver, message: &mut Message) -> Option<Result<(), RecvError>> {
    match receiver.recv_interruptible(message, Deadline::FAR) {
        Err(RecvError::Os(Errno::INTR)) => None,
        other => Some(other),
    }
}

/// The interruptions come before the first word.
pub(crate) fn interruptible() {
    for flags in HANDLERS {
        let (mut receiver, mut sender) = simplex().expect("simplex");
        let send = || sender.send(b"word").expect("send");
        let mut message = Message { bytes: b"as it was".into(), ..Message::default() };
        let received = until_done("Receiver::recv_interruptible", flags, send, || {
            assert_eq!(message.bytes, b"as it was");
            recv(&mut receiver, &mut message)
        });
        assert_eq!((received, &message.bytes[..]), (Ok(()), &b"word"[..]));

        fill(&mut sender);
        let (mut sending, receive) = (sender.begin_send(b"last", &[]).expect("begin"), || {
            while receiver.recv().expect("recv") != b"last" {}
        });
        let sent = until_done("Sending::wait_interruptible", flags, receive, || {
            match sending.wait_interruptible(Deadline::FAR) {
                Err(SendError::Os(Errno::INTR)) => None,
                other => Some(other),
            }
        });
        assert_eq!(sent, Ok(()));
    }
}

/// The interruptions come when a part of the message has gone, and the socket is empty, or full.
pub(crate) fn in_the_middle() {
    let expected = value(LENGTH);
    for flags in HANDLERS {
        let (mut receiver, mut sender) = simplex().expect("simplex");
        let (mut ready, mut begun) = simplex().expect("simplex");
        let (going, mut go) = simplex().expect("simplex");
        let child = fork_fn(|| {
            let mut sending = sender.begin_send(&expected, &[]).expect("begin");
            assert_eq!(sending.wait_until(Deadline::now()), Err(SendError::TimedOut));
            begun.send(b"").expect("send");
            assert_eq!(going.wait(Deadline::FAR), Ok(true));
            assert_eq!(sending.wait_until(Deadline::FAR), Ok(()));
            0
        });
        ready.recv().expect("recv");
        let (mut message, what) =
            (Message::default(), "Receiver::recv_interruptible in the middle");
        let received = until_done(
            what,
            flags,
            || go.send(b"").expect("send"),
            || recv(&mut receiver, &mut message),
        );
        assert_eq!(received, Ok(()));
        assert!(message.bytes == expected);
        succeeds(child.expect("fork"));

        let receive = || assert!(receiver.recv().expect("recv") == expected);
        let mut sending = sender.begin_send(&expected, &[]).expect("begin");
        assert_eq!(sending.wait_until(Deadline::now()), Err(SendError::TimedOut));
        let what = "Sending::wait_interruptible in the middle";
        let sent =
            until_done(what, flags, receive, || match sending.wait_interruptible(Deadline::FAR) {
                Err(SendError::Os(Errno::INTR)) => None,
                other => Some(other),
            });
        assert_eq!(sent, Ok(()));
    }
}

pub(crate) fn several() {
    for flags in HANDLERS {
        let (silent, _sender) = simplex().expect("simplex");
        let (receiver, mut sender) = simplex().expect("simplex");
        let send = || sender.send(b"word").expect("send");
        let ready = until_done("wait_any_interruptible", flags, send, || {
            match wait_any_interruptible(&[&silent, &receiver], Deadline::FAR) {
                Err(Errno::INTR) => None,
                other => Some(other),
            }
        });
        assert_eq!(ready, Ok(vec![1]));
    }
}
