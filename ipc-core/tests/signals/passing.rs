//! Descriptors over sockets.

use std::os::fd::{AsFd, OwnedFd};

use ipc_core::Errno;
use ipc_core::fdpass::{Link, recv_with_fds, send_with_fds};
use ipc_testkit::cases::storm::{HANDLERS, with_peer};
use rustix::io::{dup, ioctl_fionbio, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

const KINDS: [(&str, SocketType); 2] =
    [("packets", SocketType::SEQPACKET), ("a stream", SocketType::STREAM)];

fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("socketpair")
}

pub(crate) fn both_ways() {
    for flags in HANDLERS {
        for (name, kind) in KINDS {
            let (ours, theirs) = pair(kind);
            let send = || assert_eq!(send_with_fds(&theirs, b"one", &[theirs.as_fd()]), Ok(3));
            let received = with_peer(&format!("recv_with_fds, {name}"), flags, send, || {
                recv_with_fds(&ours, &mut [0; 8])
            });
            let received = received.expect("recv");
            assert_eq!((received.len, received.fds.len()), (3, 1));

            let mut link = Link::new(dup(&ours).expect("dup"));
            let send = || assert_eq!(send_with_fds(&theirs, b"two", &[theirs.as_fd()]), Ok(3));
            let received = with_peer(&format!("Link::recv_with_fds, {name}"), flags, send, || {
                link.recv_with_fds(&mut [0; 8])
            });
            let received = received.expect("recv");
            assert_eq!((received.len, received.fds.len()), (3, 1));

            let before = fill(&ours);
            let drain = || drain(&theirs, before + 5);
            let sent = with_peer(&format!("send_with_fds, {name}"), flags, drain, || {
                send_with_fds(&ours, b"three", &[ours.as_fd()])
            });
            assert_eq!(sent, Ok(5));
        }
        for non_blocking in [false, true] {
            let (ours, theirs) = pair(SocketType::STREAM);
            let message = vec![7; 2 << 20];
            ioctl_fionbio(&ours, non_blocking).expect("ioctl");
            let mut link = Link::new(ours);
            let what = if non_blocking { ", not blocking" } else { "" };
            let what = format!("Link::send_with_fds{what}");
            let drain = || drain(&theirs, message.len());
            let sent = with_peer(&what, flags, drain, || link.send_with_fds(&message, &[]));
            assert_eq!(sent, Ok(()));
        }
    }
}

/// How many bytes it takes until the socket takes no more.
fn fill(socket: &OwnedFd) -> usize {
    ioctl_fionbio(socket, true).expect("ioctl");
    let mut sent = 0;
    // Small ones at last, so that there is no room for one byte more.
    for length in [4096, 1] {
        loop {
            match write(socket, &[7; 4096][..length]) {
                Ok(more) => sent += more,
                Err(Errno::AGAIN) => break,
                Err(errno) => panic!("{errno}"),
            }
        }
    }
    ioctl_fionbio(socket, false).expect("ioctl");
    sent
}

fn drain(socket: &OwnedFd, length: usize) {
    let (mut received, mut buffer) = (0, [0; 8192]);
    while received < length {
        let more = read(socket, &mut buffer).expect("read");
        assert_ne!(more, 0, "{received} of {length}");
        received += more;
    }
    assert_eq!(received, length);
}
