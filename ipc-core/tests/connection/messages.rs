//! Peers that live and behave.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc_core::clock::Deadline;
use ipc_core::connection::{
    Connection, Message, RecvError, SendError, Sender, pair, simplex, wait_any,
};
use ipc_core::fdpass::{MAX_FDS, send_with_fds};
use ipc_testkit::cases::signals::{interrupt_every, on_signal};
use ipc_testkit::cases::{doing, open_fds, shared};
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::io::ioctl_fionbio;
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::hostile::{enlarge, packets};
use crate::tools::{child_without, expect_ok, kill, pattern};

/// The lengths at which another packet begins.
pub(crate) const EDGES: [usize; 4] = [4096, 4096 + 65536, 4096 + 2 * 65536, 4096 + 10 * 65536];

/// Sends back what it gets, until the other end is closed.
fn echo(mut theirs: Connection) {
    loop {
        match theirs.recv() {
            Ok(message) => theirs.send(&message).expect("send"),
            Err(RecvError::Closed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn every_length() {
    let (mut ours, theirs) = pair().expect("pair");
    let child = child_without(&ours.as_fd(), || echo(theirs));
    let lengths = (0..300).chain(EDGES.iter().flat_map(|edge| edge - 3..edge + 4));
    for len in lengths {
        doing("sending a message there and back");
        let message = pattern(len, len);
        ours.send(&message).expect("send");
        assert!(ours.recv().expect("recv") == message, "a message of {len} bytes changed");
    }
    drop(ours);
    expect_ok(child);
}

pub(crate) fn a_hundred_mib() {
    let (mut ours, theirs) = pair().expect("pair");
    let child = child_without(&ours, || echo(theirs));
    let message = pattern(1, 100 << 20);
    // The echo begins when it has all of it.
    ours.send(&message).expect("send");
    assert!(ours.recv().expect("recv") == message);
    drop(ours);
    expect_ok(child);
}

pub(crate) fn descriptors() {
    let (mut receiver, mut sender) = simplex().expect("simplex");
    let files: Vec<OwnedFd> =
        (0..=MAX_FDS).map(|_| memfd_create(c"sent", MemfdFlags::CLOEXEC).expect("memfd")).collect();
    let inode = |fd: BorrowedFd<'_>| fstat(fd).expect("fstat").st_ino;
    for count in 0..=MAX_FDS {
        for len in [0, 1, 4096, 100_000] {
            let fds: Vec<_> = files[..count].iter().map(AsFd::as_fd).collect();
            sender.send_deadline(&pattern(count, len), &fds, Deadline::FAR).expect("send");
            let message = receiver.recv_message(Deadline::FAR).expect("recv");
            assert!(message.bytes == pattern(count, len));
            let came: Vec<_> = message.fds.map(|fd| inode(fd.as_fd())).collect();
            assert_eq!(came, fds.iter().map(|fd| inode(*fd)).collect::<Vec<_>>());
        }
    }
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    assert_eq!(sender.send_deadline(b"", &fds, Deadline::FAR), Err(SendError::TooManyFds));
    // Whoever asks for bytes alone leaves nothing open.
    let before = open_fds();
    sender.send_deadline(b"more", &fds[..3], Deadline::FAR).expect("send");
    assert_eq!(receiver.recv().as_deref(), Ok(&b"more"[..]));
    assert_eq!(open_fds(), before);
}

pub(crate) fn memory_is_used_again() {
    let (mut receiver, mut sender) = simplex().expect("simplex");
    let mut message = Message { bytes: Vec::with_capacity(4096), ..Message::default() };
    let place = message.bytes.as_ptr();
    for len in [4096, 0, 17, 4096] {
        sender.send(&pattern(len, len)).expect("send");
        receiver.recv_into(&mut message, Deadline::FAR).expect("recv");
        assert_eq!(message.bytes, pattern(len, len));
        assert_eq!((message.bytes.as_ptr(), message.bytes.capacity()), (place, 4096));
    }
    let late = receiver.recv_into(&mut message, Deadline::now());
    assert_eq!((late, message.bytes), (Err(RecvError::TimedOut), pattern(4096, 4096)));
}

pub(crate) fn time_out_keeps_what_has_come() {
    let (mut receiver, sender) = simplex().expect("simplex");
    enlarge(&sender);
    let long = pattern(7, 300_000);
    let packets = packets(&long);
    for packet in &packets[..packets.len() - 1] {
        send_with_fds(&sender, packet, &[]).expect("send");
        assert!(receiver.recv_timeout(Duration::ZERO) == Err(RecvError::TimedOut));
    }
    send_with_fds(&sender, &packets[packets.len() - 1], &[]).expect("send");
    assert!(receiver.recv().expect("recv") == long);
}

pub(crate) fn time_out_of_a_sender() {
    let (mut receiver, mut sender) = simplex().expect("simplex");
    let soon = Duration::from_millis(2);
    let mut sent = 0;
    while sender.send_timeout(&pattern(sent, 1000), soon).is_ok() {
        sent += 1;
    }
    assert_eq!(sender.send_timeout(b"x", Duration::ZERO), Err(SendError::TimedOut));
    for number in 0..sent {
        assert!(receiver.recv().expect("recv") == pattern(number, 1000));
    }
    // In the middle of a long one.
    assert_eq!(sender.send_timeout(&pattern(1, 10 << 20), soon), Err(SendError::Torn));
    assert_eq!(receiver.recv_timeout(soon), Err(RecvError::TimedOut));
    sender.send(b"after it").expect("send");
    assert_eq!(receiver.recv(), Err(RecvError::Torn));
    assert_eq!(receiver.recv().as_deref(), Ok(&b"after it"[..]));
    // And again, with a long one after it.
    assert_eq!(sender.send_timeout(&pattern(1, 10 << 20), soon), Err(SendError::Torn));
    assert_eq!(receiver.recv_timeout(soon), Err(RecvError::TimedOut));
    let child = child_without(&receiver, || sender.send(&pattern(2, 1 << 20)).expect("send"));
    assert_eq!(receiver.recv(), Err(RecvError::Torn));
    assert!(receiver.recv().expect("recv") == pattern(2, 1 << 20));
    expect_ok(child);
}

pub(crate) fn small_buffers() {
    let (mut ours, theirs) = pair().expect("pair");
    for end in [&ours, &theirs] {
        set_socket_send_buffer_size(end, 1).expect("setsockopt");
    }
    let child = child_without(&ours, || echo(theirs));
    for len in [0, 100, 1000, 4096] {
        match ours.send(&pattern(len, len)) {
            Ok(()) => assert!(ours.recv().expect("recv") == pattern(len, len)),
            // The kernel's smallest buffer is about this long.
            Err(error) => assert!(len == 4096 && error == SendError::Os(ipc_core::Errno::MSGSIZE)),
        }
    }
    drop(ours);
    expect_ok(child);

    let (mut ours, theirs) = pair().expect("pair");
    for end in [&ours, &theirs] {
        // The kernel doubles it.
        set_socket_send_buffer_size(end, 10_000).expect("setsockopt");
    }
    let child = child_without(&ours, || echo(theirs));
    for len in EDGES {
        ours.send(&pattern(len, len)).expect("send");
        assert!(ours.recv().expect("recv") == pattern(len, len));
    }
    drop(ours);
    expect_ok(child);
}

pub(crate) fn non_blocking_ends() {
    let (mut ours, theirs) = pair().expect("pair");
    for end in [&ours, &theirs] {
        // The flag is the socket's, so anybody who has a copy can set it.
        ioctl_fionbio(end, true).expect("ioctl");
    }
    let child = child_without(&ours, || echo(theirs));
    for len in [10, 1 << 20] {
        ours.send(&pattern(len, len)).expect("send");
        assert!(ours.recv().expect("recv") == pattern(len, len));
    }
    drop(ours);
    expect_ok(child);
}

pub(crate) fn s01_signals() {
    extern "C" fn count(_: i32) {
        shared().words[0].fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }
    let (mut ours, theirs) = pair().expect("pair");
    let handler = count as extern "C" fn(i32) as usize;
    on_signal(rustix::process::Signal::ALARM.as_raw(), handler, 0);
    let child = child_without(&ours, || {
        interrupt_every(50);
        echo(theirs);
    });
    interrupt_every(50);
    for round in 0..200 {
        doing("sending under signals");
        let len = [0, 64, 5000, 1 << 20][round % 4];
        ours.send(&pattern(round, len)).expect("send");
        assert!(ours.recv().expect("recv") == pattern(round, len));
    }
    let began = std::time::Instant::now();
    let wait = Duration::from_millis(30);
    assert_eq!(ours.recv_timeout(wait), Err(RecvError::TimedOut));
    assert!(began.elapsed() >= wait);
    assert_eq!(wait_any(&[&ours], Deadline::after(wait)), Ok(Vec::new()));
    interrupt_every(0);
    let signals = shared().words[0].load(core::sync::atomic::Ordering::Relaxed);
    println!("{signals} signals");
    assert!(signals > 500, "only {signals} signals");
    drop(ours);
    expect_ok(child);
}

/// A receiver that does not wait looks while the sender says its last word and goes.
///
/// The kernel, which looks for packets first and for the end second, told of the end before the last message in
/// one of some thousand such races.
pub(crate) fn last_message_before_the_end() {
    const ROUNDS: usize = 20_000;
    let (give, take) = std::sync::mpsc::sync_channel::<Sender>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok(mut sender) = take.recv() {
                sender.send(b"last").expect("send");
            }
        });
        for round in 0..ROUNDS {
            let (mut receiver, sender) = simplex().expect("simplex");
            give.send(sender).expect("the thread lives");
            let came = loop {
                match receiver.recv_timeout(Duration::ZERO) {
                    Err(RecvError::TimedOut) => {}
                    came => break came,
                }
            };
            assert_eq!(came.as_deref(), Ok(&b"last"[..]), "round {round}");
            assert_eq!(receiver.recv(), Err(RecvError::Closed));
        }
        drop(give);
    });
}

pub(crate) fn several_of_both() {
    const EACH: usize = 5_000;
    let (mut receiver, mut sender) = simplex().expect("simplex");
    let words = &shared().words;
    let senders: Vec<_> = (0..3)
        .map(|who| {
            child_without(&receiver, || {
                for number in 0..EACH {
                    let mut message = pattern(who, number % 4088);
                    message.splice(..0, (who * EACH + number).to_le_bytes());
                    sender.send(&message).expect("send");
                }
            })
        })
        .collect();
    let sender_fd = sender.as_fd();
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            child_without(&sender_fd, || {
                loop {
                    let message = match receiver.recv() {
                        Ok(message) => message,
                        Err(RecvError::Closed) => return,
                        Err(error) => panic!("{error}"),
                    };
                    let (id, rest) = message.split_first_chunk().expect("a number");
                    let id = usize::from_le_bytes(*id);
                    assert!(rest == pattern(id / EACH, id % EACH % 4088), "message {id} changed");
                    // A sum that says that each came once.
                    words[0].fetch_add(1, core::sync::atomic::Ordering::Relaxed);
                    words[1].fetch_add(id as i32, core::sync::atomic::Ordering::Relaxed);
                }
            })
        })
        .collect();
    senders.into_iter().for_each(expect_ok);
    drop(sender);
    receivers.into_iter().for_each(expect_ok);
    let all = 3 * EACH as i32;
    assert_eq!(words[0].load(core::sync::atomic::Ordering::Relaxed), all);
    assert_eq!(words[1].load(core::sync::atomic::Ordering::Relaxed), all * (all - 1) / 2);
}

pub(crate) fn two_long_senders() {
    const EACH: usize = 200;
    let (mut receiver, mut sender) = simplex().expect("simplex");
    let senders: Vec<_> = (0..2_usize)
        .map(|who| {
            child_without(&receiver, || {
                for _ in 0..EACH {
                    sender.send(&pattern(who, 300_000)).expect("send");
                }
            })
        })
        .collect();
    drop(sender);
    let (mut whole, mut torn) = (0, 0);
    loop {
        match receiver.recv() {
            Ok(message) => {
                assert!(message == pattern(0, 300_000) || message == pattern(1, 300_000), "mixed");
                whole += 1;
            }
            Err(RecvError::Torn) => torn += 1,
            Err(RecvError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    senders.into_iter().for_each(expect_ok);
    println!("{whole} whole, {torn} torn");
    assert_eq!(whole + torn, 2 * EACH, "each message is received or said to be torn");
}

pub(crate) fn wait_any_finds_each() {
    let mut ends: Vec<_> = (0..100).map(|_| pair().expect("pair")).collect();
    let child = child_without(&ends[0].0, || {
        loop {
            std::thread::park();
        }
    });
    {
        let mut items: Vec<&dyn AsFd> = ends.iter().map(|(ours, _)| ours as &dyn AsFd).collect();
        items.push(&child);
        assert_eq!(wait_any(&items, Deadline::after(Duration::from_millis(3))), Ok(Vec::new()));
        child.kill().expect("kill");
        assert_eq!(wait_any(&items, Deadline::FAR), Ok(vec![100]));
    }
    kill(child);
    ends[3].1.send(b"x").expect("send");
    // The end is something to say, too.
    let (ours, theirs) = ends.swap_remove(70);
    drop(theirs);
    ends.push((ours, pair().expect("pair").0));
    let last = ends.len() - 1;
    let items: Vec<_> = ends.iter().map(|(ours, _)| ours).collect();
    assert_eq!(wait_any(&items, Deadline::FAR), Ok(vec![3, last]));
    assert_eq!(wait_any::<Connection>(&[], Deadline::now()), Ok(Vec::new()));
}

pub(crate) fn ten_thousand() {
    let before = (open_fds(), maps());
    for round in 0..10_000 {
        let (mut ours, mut theirs) = pair().expect("pair");
        let file = ours.as_fd();
        theirs.sender().send_deadline(&pattern(round, 100), &[file], Deadline::FAR).expect("send");
        if round % 2 == 0 {
            assert!(ours.receiver().recv_message(Deadline::FAR).expect("recv").fds.len() == 1);
        }
        if round % 3 == 0 {
            let (receiver, sender) = ours.split();
            drop(sender);
            drop(receiver);
        }
    }
    assert_eq!((open_fds(), maps()), before);
}

fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count()
}
