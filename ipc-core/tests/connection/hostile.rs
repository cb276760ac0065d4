//! Peers that say what no connection says.

use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::connection::{Connection, Receiver, RecvError, Sender, pair, simplex};
use ipc_core::fdpass::{recv_with_fds, send_with_fds};
use ipc_testkit::cases::open_fds;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, socketpair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::tools::pattern;

/// The packets of one message as a connection sends them. They must fit into a socket's buffer.
pub(crate) fn packets(message: &[u8]) -> Vec<Vec<u8>> {
    let (theirs, mut sender) = raw_and_sender();
    enlarge(&sender);
    sender.send_timeout(message, Duration::from_secs(5)).expect("room for all");
    drop(sender);
    let mut buf = vec![0; 1 << 20];
    let mut packets = Vec::new();
    while let Ok(received) = recv_with_fds(&theirs, &mut buf) {
        packets.push(buf[..received.len].to_vec());
    }
    packets
}

/// Makes room for some hundred KiB.
pub(crate) fn enlarge(sender: impl AsFd) {
    set_socket_send_buffer_size(sender, 1 << 20).expect("setsockopt");
}

fn raw_pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("socketpair")
}

fn raw_and_sender() -> (OwnedFd, Sender) {
    let (a, b) = raw_pair();
    (a, Sender::from_fd(b).expect("an end"))
}

fn raw_and_receiver() -> (OwnedFd, Receiver) {
    let (a, b) = raw_pair();
    (a, Receiver::from_fd(b).expect("an end"))
}

fn say(raw: &OwnedFd, packet: &[u8]) {
    if packet.is_empty() {
        // The safe function refuses it.
        rustix::net::send(raw, packet, rustix::net::SendFlags::NOSIGNAL).expect("send");
    } else {
        send_with_fds(raw, packet, &[]).expect("send");
    }
}

/// After this nothing is taken any more, and the peer hears it.
fn expect_broken(raw: &OwnedFd, receiver: &mut Receiver) {
    assert_eq!(receiver.recv(), Err(RecvError::Malformed));
    assert_eq!(rustix::net::send(raw, b"x", rustix::net::SendFlags::NOSIGNAL), Err(Errno::PIPE));
}

pub(crate) fn cut_at_every_byte() {
    let whole = packets(&pattern(1, 100));
    assert_eq!(whole.len(), 1);
    for len in 0..whole[0].len() {
        let (raw, mut receiver) = raw_and_receiver();
        say(&raw, &whole[0][..len]);
        assert_eq!(receiver.recv(), Err(RecvError::Malformed), "{len} bytes");
        expect_broken(&raw, &mut receiver);
    }
    let long = packets(&pattern(1, 4096 + 70_000));
    assert_eq!(long.len(), 3);
    for (which, packet) in long.iter().enumerate() {
        for len in (0..60).chain(packet.len() - 30..packet.len()) {
            let (raw, mut receiver) = raw_and_receiver();
            long[..which].iter().for_each(|packet| say(&raw, packet));
            say(&raw, &packet[..len]);
            let expected = match which {
                // An empty packet before the end reads as the end.
                0 if len == 0 => RecvError::Closed,
                // The next one is not where it should be, or never comes.
                1.. if len > 24 || len == 0 => RecvError::Torn,
                _ => RecvError::Malformed,
            };
            // What follows in the message, if anything.
            let _ = long[which + 1..]
                .iter()
                .try_for_each(|packet| send_with_fds(&raw, packet, &[]).map(drop));
            rustix::net::shutdown(&raw, rustix::net::Shutdown::Write).expect("shutdown");
            assert_eq!(receiver.recv(), Err(expected), "packet {which}, {len} bytes");
        }
    }
    // In one byte too many.
    for which in 0..3 {
        let (raw, mut receiver) = raw_and_receiver();
        long[..which].iter().for_each(|packet| say(&raw, packet));
        say(&raw, &[&long[which][..], b"x"].concat());
        assert_eq!(receiver.recv(), Err(RecvError::Malformed), "packet {which}");
    }
}

pub(crate) fn two_gib() {
    let mut first = packets(&pattern(1, 100_000)).swap_remove(0);
    for (total, limit) in [(2_u64 << 30, None), (u64::MAX, None), (u64::MAX, Some(usize::MAX))] {
        let (raw, mut receiver) = raw_and_receiver();
        if let Some(limit) = limit {
            receiver.set_limit(limit);
        }
        first[16..24].copy_from_slice(&total.to_le_bytes());
        let before = resident();
        say(&raw, &first);
        match limit {
            None => {
                let limit = 1 << 30;
                assert_eq!(receiver.recv(), Err(RecvError::TooLarge { len: total, limit }));
                // The connection goes on.
                let mut sender = Sender::from_fd(raw).expect("an end");
                sender.send(b"short").expect("send");
                assert_eq!(receiver.recv().as_deref(), Ok(&b"short"[..]));
            }
            Some(_) => {
                assert_eq!(
                    receiver.recv_timeout(Duration::from_millis(1)),
                    Err(RecvError::TimedOut)
                );
                drop(raw);
                assert_eq!(receiver.recv(), Err(RecvError::Torn));
            }
        }
        assert!(resident() < before + (4 << 20), "memory was taken on a peer's word");
    }
    // A message that is too large is dropped with all of its packets.
    let (mut receiver, mut sender) = simplex().expect("simplex");
    receiver.set_limit(100_000 - 1);
    for _ in 0..3 {
        sender.send(&pattern(1, 100_000)).expect("send");
        sender.send(b"after it").expect("send");
        let error = RecvError::TooLarge { len: 100_000, limit: 99_999 };
        assert_eq!(receiver.recv(), Err(error));
        assert_eq!(receiver.recv().as_deref(), Ok(&b"after it"[..]));
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc");
    statm.split(' ').nth(1).expect("a field").parse::<usize>().expect("a number") << 12
}

/// No change of a header makes anything but an error or a message of the same bytes.
pub(crate) fn header_bits() {
    let message = pattern(1, 4096 + 70_000);
    let right = packets(&message);
    let (mut errors, mut same) = (0, 0);
    for which in 0..right.len() {
        for bit in 0..24 * 8 {
            let mut packet = right[which].clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            let (raw, mut receiver) = raw_and_receiver();
            for (at, unchanged) in right.iter().enumerate() {
                let sent = send_with_fds(&raw, if at == which { &packet } else { unchanged }, &[]);
                sent.expect("room for all");
            }
            drop(raw);
            match receiver.recv() {
                Ok(came) => {
                    assert!(came == message);
                    same += 1;
                }
                Err(RecvError::TimedOut | RecvError::Os(_)) => panic!("bit {bit}"),
                Err(_) => errors += 1,
            }
        }
    }
    println!("{errors} errors, {same} taken as they were");
    assert_eq!((errors, same), (3 * 24 * 8, 0));
}

pub(crate) fn f11_short_of_descriptors() {
    let (mut receiver, mut sender) = simplex().expect("simplex");
    let limit = getrlimit(Resource::Nofile);
    let (before, stdin) = (open_fds(), std::io::stdin());
    let fds = [stdin.as_fd(); 5];
    sender.send_deadline(b"five", &fds, Deadline::FAR).expect("send");
    sender.send_deadline(b"none", &[], Deadline::FAR).expect("send");
    let few = Rlimit { current: Some(before as u64 + 2), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).expect("setrlimit");
    assert_eq!(receiver.recv(), Err(RecvError::DescriptorsLost));
    setrlimit(Resource::Nofile, limit).expect("setrlimit");
    assert_eq!(open_fds(), before, "descriptors are left");
    // What comes next may speak of what was lost.
    assert_eq!(receiver.recv(), Err(RecvError::Malformed));
    assert_eq!(sender.send(b"x"), Err(ipc_core::connection::SendError::Closed));
}

pub(crate) fn f10_misplaced_descriptors() {
    let right = packets(&pattern(1, 4096 + 70_000));
    let (before, stdin) = (open_fds(), std::io::stdin());
    for which in 0..right.len() {
        let (raw, mut receiver) = raw_and_receiver();
        for (at, packet) in right.iter().enumerate() {
            let fds: &[_] = if at == which { &[stdin.as_fd()] } else { &[] };
            send_with_fds(&raw, packet, fds).expect("send");
        }
        assert_eq!(receiver.recv(), Err(RecvError::Malformed));
    }
    assert_eq!(open_fds(), before);
}

pub(crate) fn no_end() {
    let kinds = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    let refused = |fd: OwnedFd, errno: Errno| {
        for found in [
            Connection::from_fd(fd.try_clone().expect("dup")).map(drop),
            Receiver::from_fd(fd.try_clone().expect("dup")).map(drop),
            Sender::from_fd(fd.try_clone().expect("dup")).map(drop),
        ] {
            assert_eq!(found, Err(errno));
        }
    };
    refused(kinds(SocketType::STREAM).expect("pair").0, Errno::INVAL);
    refused(kinds(SocketType::DGRAM).expect("pair").0, Errno::INVAL);
    let lonely =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    refused(lonely.expect("socket"), Errno::INVAL);
    refused(std::fs::File::open("/dev/null").expect("open").into(), Errno::NOTSOCK);
    let inet = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    refused(inet.expect("socket"), Errno::INVAL);
    drop(pair().expect("pair"));
}

/// Packets of no message do not keep a receiver beyond its deadline, and what is behind them comes.
pub(crate) fn endless_strays() {
    for begun in [false, true] {
        let (raw, mut receiver) = raw_and_receiver();
        enlarge(&raw);
        let [first, mut stray] = <[_; 2]>::try_from(packets(&pattern(1, 5000))).expect("two");
        if begun {
            say(&raw, &first);
        }
        // Another sender's.
        stray[8] ^= 1;
        (0..100).for_each(|_| say(&raw, &stray));
        let mut sender = Sender::from_fd(raw).expect("an end");
        sender.send(b"behind them").expect("send");
        let mut calls = 0;
        let last = loop {
            match receiver.recv_timeout(Duration::ZERO) {
                Err(RecvError::TimedOut) => calls += 1,
                other => break other,
            }
        };
        if begun {
            assert_eq!(last, Err(RecvError::Torn));
            assert_eq!(receiver.recv().as_deref(), Ok(&b"behind them"[..]));
        } else {
            assert_eq!(last.as_deref(), Ok(&b"behind them"[..]));
        }
        assert!((3..=10).contains(&calls), "{calls} calls");
    }
}

/// Descriptors of a message that began before the nonsense are closed with the connection.
pub(crate) fn nonsense_behind_descriptors() {
    let stdin = std::io::stdin();
    let mut first = packets(&pattern(1, 5000)).swap_remove(0);
    first[1] = 3;
    let (raw, mut receiver) = raw_and_receiver();
    let before = open_fds();
    send_with_fds(&raw, &first, &[stdin.as_fd(); 3]).expect("send");
    say(&raw, b"nonsense");
    assert_eq!(receiver.recv(), Err(RecvError::Malformed));
    assert_eq!(open_fds(), before);
}
