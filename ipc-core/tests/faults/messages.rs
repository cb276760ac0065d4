//! Descriptors and messages over sockets.

use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ipc_core::clock::Deadline;
use ipc_core::connection::{self, Message, Receiver, Sender, wait_any, wait_any_interruptible};
use ipc_core::fdpass::{Link, RecvError, recv_with_fds, send_with_fds};
use ipc_core::parcel::{Handle, Parcel};
use ipc_core::process::{Child, ExitStatus, fork_fn};
use ipc_testkit::faults::{Case, Suite, Trouble, check};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};

use crate::processes::expect;

/// More than the buffer of a socket holds.
const LARGE: usize = 1 << 20;

pub(crate) fn all(suite: &mut Suite) {
    descriptors(suite);
    connections(suite);
    values(suite);
}

fn descriptors(suite: &mut Suite) {
    suite.everywhere(&Case::new("send_with_fds", |me| {
        let (a, b) = sockets(SocketType::SEQPACKET)?;
        me.operation(|| send_with_fds(&a, b"two", &[a.as_fd(), b.as_fd()]))?;
        let received = recv_with_fds(&b, &mut [0; 8])?;
        check((received.len, received.fds.len()) == (3, 2), "another message")
    }));
    suite.everywhere(&Case::new("recv_with_fds", |me| {
        let (a, b) = sockets(SocketType::SEQPACKET)?;
        send_with_fds(&a, b"two", &[a.as_fd(), b.as_fd()])?;
        let received = me.operation(|| recv_with_fds(&b, &mut [0; 8]))?;
        check((received.len, received.fds.len()) == (3, 2), "another message")
    }));
    suite.everywhere(&Case::new("recv_with_fds, closed", |me| {
        let (a, b) = sockets(SocketType::SEQPACKET)?;
        drop(a);
        let end = me.operation(|| match recv_with_fds(&b, &mut [0; 8]) {
            Err(RecvError::Closed) => Ok(true),
            Err(error) => Err(error),
            Ok(_) => Ok(false),
        })?;
        check(end, "a message from nobody")
    }));
    suite.everywhere(&Case::new("Link, receiving", |me| {
        let (a, b) = sockets(SocketType::SEQPACKET)?;
        send_with_fds(&a, b"two", &[a.as_fd(), b.as_fd()])?;
        let mut link = Link::new(b);
        let received = me.operation(|| link.recv_with_fds(&mut [0; 8]))?;
        check((received.len, received.fds.len()) == (3, 2), "another message")
    }));
    suite.everywhere(&Case::new("Link, long message", |me| {
        let (a, b) = sockets(SocketType::STREAM)?;
        let reader = reader_of(b)?;
        let mut link = Link::new(a);
        let file = std::fs::File::open("/dev/null")?;
        let sent = me.operation(|| link.send_with_fds(&vec![1; LARGE], &[file.as_fd()]));
        // The reader has a copy, which a fork made.
        shutdown(link.as_fd(), Shutdown::Write)?;
        let whole = if sent.is_ok() { ExitStatus::Exited(0) } else { ExitStatus::Exited(1) };
        let found = expect(reader, whole);
        sent.and(found)
    }));
}

/// A child that reads to the end, and ends with 0 if as much came as should.
fn reader_of(end: OwnedFd) -> Result<Child, Trouble> {
    Ok(fork_fn(move || {
        let mut total = 0;
        let mut buffer = vec![0; 1 << 16];
        while let Ok(received) = recv_with_fds(&end, &mut buffer) {
            total += received.len;
        }
        i32::from(total != LARGE)
    })?)
}

fn connections(suite: &mut Suite) {
    suite.everywhere(&Case::new("connection::pair", |me| {
        let (mut ours, mut theirs) = me.operation(connection::pair)?;
        ours.send(b"hello")?;
        check(theirs.recv()? == b"hello", "another message")
    }));
    suite.everywhere(&Case::new("connection::simplex", |me| {
        let (mut receiver, mut sender) = me.operation(connection::simplex)?;
        sender.send(b"hello")?;
        check(receiver.recv()? == b"hello", "another message")
    }));
    suite.everywhere(&Case::new("Connection::from_fd", |me| {
        let (a, _b) = sockets(SocketType::SEQPACKET)?;
        me.operation(|| connection::Connection::from_fd(a)).map(drop)
    }));
    suite.everywhere(&Case::new("send", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        me.operation(|| sender.send(b"hello"))?;
        check(receiver.recv()? == b"hello", "another message")
    }));
    suite.everywhere(&Case::new("send_timeout", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        me.operation(|| sender.send_timeout(b"hello", Duration::from_secs(3600)))?;
        check(receiver.recv()? == b"hello", "another message")
    }));
    suite.everywhere(&Case::new("send_timeout, full", |me| {
        let (_receiver, mut sender) = connection::simplex()?;
        while sender.send_timeout(&[0; 4096], Duration::ZERO).is_ok() {}
        let sent = me.infallible(|| sender.send_timeout(b"hello", Duration::from_millis(1)));
        check(sent.is_err(), "there was no room")
    }));
    suite.everywhere(&Case::new("send, with descriptors", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        let file = std::fs::File::open("/dev/null")?;
        me.operation(|| sender.send_deadline(b"file", &[file.as_fd()], Deadline::FAR))?;
        let message = receiver.recv_message(Deadline::FAR)?;
        check((&*message.bytes, message.fds.len()) == (b"file", 1), "another message")
    }));
    suite.everywhere(&Case::new("recv", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        sender.send(b"hello")?;
        check(me.operation(|| receiver.recv())? == b"hello", "another message")
    }));
    suite.everywhere(&Case::new("recv, after an error too", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        sender.send(b"hello")?;
        match me.operation(|| receiver.recv()) {
            Ok(message) => check(message == b"hello", "another message"),
            // Nothing is lost by an error of the system.
            Err(trouble) => {
                check(receiver.recv()? == b"hello", "the message is lost")?;
                Err(trouble)
            }
        }
    }));
    suite.everywhere(&Case::new("recv, with descriptors", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        let file = std::fs::File::open("/dev/null")?;
        sender.send_deadline(b"file", &[file.as_fd()], Deadline::FAR)?;
        let message = me.operation(|| receiver.recv_message(Deadline::FAR))?;
        check((&*message.bytes, message.fds.len()) == (b"file", 1), "another message")
    }));
    suite.everywhere(&Case::new("recv_timeout, nothing", |me| {
        let (mut receiver, _sender) = connection::simplex()?;
        let received = me.infallible(|| receiver.recv_timeout(Duration::from_millis(1)));
        check(received.is_err(), "a message from nobody")
    }));
    suite.everywhere(&Case::new("send, long", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        let child = fork_fn(move || match receiver.recv() {
            Ok(message) => i32::from(message != [1; LARGE]),
            Err(_) => 2,
        })?;
        let sent = me.operation(|| sender.send(&vec![1; LARGE]));
        // The reader has a copy, which a fork made.
        sender.close()?;
        let whole = if sent.is_ok() { ExitStatus::Exited(0) } else { ExitStatus::Exited(2) };
        expect_end(child, whole, sent)
    }));
    suite.everywhere(&Case::new("recv, long", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        let child = fork_fn(move || i32::from(sender.send(&vec![1; LARGE]).is_err()))?;
        let received = me.operation(|| receiver.recv());
        // The writer has a copy, which a fork made.
        shutdown(&receiver, Shutdown::Both)?;
        match received {
            Ok(message) => {
                expect(child, ExitStatus::Exited(0))?;
                check(message == [1; LARGE], "another message")
            }
            Err(trouble) => {
                let mut child = child;
                child.wait()?;
                Err(trouble)
            }
        }
    }));
    suite.everywhere(&Case::new("Receiver::wait", |me| {
        let (receiver, mut sender) = connection::simplex()?;
        sender.send(b"hello")?;
        check(me.operation(|| receiver.wait(Deadline::FAR))?, "a message is there")
    }));
    suite.everywhere(&Case::new("wait_any", |me| {
        let (receiver, mut sender) = connection::simplex()?;
        let (other, _silent) = connection::simplex()?;
        sender.send(b"hello")?;
        let ready = me.operation(|| wait_any(&[&other, &receiver], Deadline::FAR))?;
        check(ready == [1], "the other is ready")
    }));
    suite.everywhere(&Case::new("wait_any_interruptible", |me| {
        let (receiver, mut sender) = connection::simplex()?;
        sender.send(b"hello")?;
        // What a signal has ended is asked again.
        let wait = || wait_any_interruptible(&[&receiver], Deadline::FAR);
        let ready = me.operation(|| retry_on_intr(wait))?;
        check(ready == [0], "it has something to say")
    }));
    suite.everywhere(&Case::new("recv_interruptible", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        sender.send(b"hello")?;
        let mut message = Message::default();
        let received = me.operation(|| receiver.recv_interruptible(&mut message, Deadline::FAR));
        if received.is_err() {
            // Nothing is lost by an error.
            receiver.recv_interruptible(&mut message, Deadline::FAR)?;
        }
        check(*message.bytes == *b"hello", "another message")?;
        received
    }));
    suite.everywhere(&Case::new("begin_send and Sending::wait_interruptible", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        let sent = me.operation(|| {
            let mut sending = sender.begin_send(b"hello", &[])?;
            sending.wait_interruptible(Deadline::FAR)
        });
        sender.close()?;
        check(receiver.recv().is_ok() == sent.is_ok(), "an error, and a message; or neither")?;
        sent
    }));
    suite.everywhere(&Case::new("wait_any, deadline", |me| {
        let (receiver, _sender) = connection::simplex()?;
        let soon = Deadline::after(Duration::from_millis(1));
        let ready = me.operation(|| wait_any(&[&receiver], soon))?;
        check(ready.is_empty(), "nothing is ready")
    }));
}

/// The child ends as it should; then what came of the operation.
fn expect_end(
    child: Child,
    wanted: ExitStatus,
    result: Result<(), Trouble>,
) -> Result<(), Trouble> {
    expect(child, wanted)?;
    result
}

fn values(suite: &mut Suite) {
    suite.everywhere(&Case::new("send_value", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        let (inner, mut through) = connection::simplex()?;
        me.operation(|| sender.send_value(&("take", &inner)))?;
        drop(inner);
        let (word, mut inner): (String, Receiver) = receiver.recv_value()?;
        through.send(word.as_bytes())?;
        check(inner.recv()? == b"take", "another message")
    }));
    suite.everywhere(&Case::new("recv_value", |me| {
        let (mut receiver, mut sender) = connection::simplex()?;
        let (mut inner, through) = connection::simplex()?;
        sender.send_value(&("take", &through))?;
        drop(through);
        let (word, mut through): (String, Sender) = me.operation(|| receiver.recv_value())?;
        through.send(word.as_bytes())?;
        check(inner.recv()? == b"take", "another message")
    }));
    suite.everywhere(&Case::new("Parcel::pack", |me| {
        let (a, b) = sockets(SocketType::SEQPACKET)?;
        let handles = [Handle::from(a), Handle::from(b)];
        let parcel = me.operation(|| Parcel::pack(&handles))?;
        check(parcel.fds.len() == 2, "not two")
    }));
    suite.everywhere(&Case::new("Parcel::unpack", |me| {
        let (mut receiver, sender) = connection::simplex()?;
        let parcel = Parcel::pack(&(1, &sender))?;
        drop(sender);
        let (one, mut sender): (i32, Sender) = me.operation(|| parcel.unpack())?;
        sender.send(b"hello")?;
        check(one == 1 && receiver.recv()? == b"hello", "another value")
    }));
}

fn sockets(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Trouble> {
    let (a, b) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    check(a.as_raw_fd() != b.as_raw_fd(), "one number")?;
    Ok((a, b))
}
