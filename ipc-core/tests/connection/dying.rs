//! Peers that die.

use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::connection::{Receiver, RecvError, SendError, Sender, pair, simplex, wait_any};
use ipc_core::fdpass::send_with_fds;
use ipc_core::process::Child;
use ipc_testkit::cases::doing;
use ipc_testkit::cases::events::await_sleep_in_socket;

use crate::hostile::{enlarge, packets};
use crate::tools::{child_without, expect_ok, kill, pattern};

pub(crate) fn s09_sender_to_nobody() {
    // A SIGPIPE would end this process.
    for len in [0, 10, 1 << 20] {
        let (mut ours, theirs) = pair().expect("pair");
        drop(theirs);
        assert_eq!(ours.send(&pattern(1, len)), Err(SendError::Closed));
        let (receiver, mut sender) = simplex().expect("simplex");
        drop(receiver);
        assert_eq!(sender.send(&pattern(1, len)), Err(SendError::Closed));
    }
    // While the sender waits for room.
    let (receiver, mut sender) = simplex().expect("simplex");
    let child = child_without(&receiver, || {
        assert_eq!(sender.send(&pattern(1, 10 << 20)), Err(SendError::Closed));
    });
    await_sleep_in_socket(child.id());
    drop(receiver);
    expect_ok(child);
    // To say that nothing more will come is right also then.
    let (receiver, sender) = simplex().expect("simplex");
    drop(receiver);
    assert_eq!(sender.close(), Ok(()));
    // One that only receives cannot be sent to, and says nothing itself.
    let (mut receiver, sender) = simplex().expect("simplex");
    sender.close().expect("close");
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
}

/// Also when the dead had not read what it was sent, which the kernel calls a reset.
pub(crate) fn what_the_dead_said() {
    for unread in [false, true] {
        let (mut ours, mut theirs) = pair().expect("pair");
        if unread {
            ours.send(b"never read").expect("send");
        }
        let child = child_without(&ours, || {
            for number in 0..10 {
                theirs.send(&pattern(number, 5 * number)).expect("send");
            }
            theirs.send(b"ready").expect("send");
            loop {
                std::thread::park();
            }
        });
        drop(theirs);
        assert!(ours.receiver().wait(Deadline::FAR).expect("wait"));
        for number in 0..10 {
            if number == 5 {
                doing("waiting for the last word");
            }
            assert_eq!(ours.recv(), Ok(pattern(number, 5 * number)));
        }
        assert_eq!(ours.recv().as_deref(), Ok(&b"ready"[..]));
        kill(child);
        assert_eq!(ours.recv(), Err(RecvError::Closed));
        assert_eq!(ours.send(b"x"), Err(SendError::Closed));
    }
    // Killed before anything was read.
    let (mut ours, mut theirs) = pair().expect("pair");
    ours.send(b"never read").expect("send");
    theirs.send(b"last words").expect("send");
    drop(theirs);
    assert_eq!(ours.recv().as_deref(), Ok(&b"last words"[..]));
    assert_eq!(ours.recv(), Err(RecvError::Closed));
}

/// A child that has said so much of a message, and no more.
fn said(receiver: &Receiver, sender: &Sender, packets: &[Vec<u8>]) -> Child {
    let (mut done, mut tell) = simplex().expect("simplex");
    let child = child_without(receiver, || {
        for packet in packets {
            send_with_fds(sender, packet, &[]).expect("send");
        }
        tell.send(b"said").expect("send");
        loop {
            std::thread::park();
        }
    });
    doing("waiting for a sender in the middle of a message");
    assert_eq!(done.recv().as_deref(), Ok(&b"said"[..]));
    child
}

/// The sender is killed after each packet of a long message.
pub(crate) fn sender_killed() {
    let long = pattern(3, 300_000);
    let packets = packets(&long);
    assert_eq!(packets.len(), 6);
    for sent in 0..=packets.len() {
        for early in [false, true] {
            let (mut receiver, sender) = simplex().expect("simplex");
            enlarge(&sender);
            let child = said(&receiver, &sender, &packets[..sent]);
            drop(sender);
            if early && sent < packets.len() {
                assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut));
            }
            kill(child);
            match sent {
                0 => {}
                6 => assert!(receiver.recv().expect("recv") == long),
                _ => assert!(receiver.recv() == Err(RecvError::Torn)),
            }
            assert!(receiver.recv() == Err(RecvError::Closed));
        }
    }
}

/// Another process has the same end, and goes on.
pub(crate) fn sender_killed_beside_another() {
    let packets = packets(&pattern(3, 300_000));
    let (mut receiver, mut sender) = simplex().expect("simplex");
    enlarge(&sender);
    for len in [0, 20, 4096, 1 << 20] {
        for sent in 1..packets.len() {
            kill(said(&receiver, &sender, &packets[..sent]));
            let other = child_without(&receiver, || sender.send(&pattern(len, len)).expect("send"));
            assert!(receiver.recv() == Err(RecvError::Torn));
            assert!(receiver.recv().expect("recv") == pattern(len, len));
            expect_ok(other);
        }
    }
}

/// The next receiver on that end misses the message, and gets the one after it.
pub(crate) fn receiver_killed() {
    let packets = packets(&pattern(3, 300_000));
    for sent in 1..packets.len() {
        let (mut receiver, mut sender) = simplex().expect("simplex");
        enlarge(&sender);
        packets[..sent].iter().for_each(|packet| {
            send_with_fds(&sender, packet, &[]).expect("send");
        });
        expect_ok(child_without(&sender, || {
            assert!(receiver.recv_timeout(Duration::ZERO) == Err(RecvError::TimedOut));
        }));
        packets[sent..].iter().for_each(|packet| {
            send_with_fds(&sender, packet, &[]).expect("send");
        });
        sender.send(b"the next one").expect("send");
        drop(sender);
        assert!(receiver.recv().as_deref() == Ok(b"the next one"));
        assert!(receiver.recv() == Err(RecvError::Closed));
    }
}

/// What follows a torn message stays in the socket until it is asked for, so that a wait for the
/// descriptor ends.
pub(crate) fn event_loop_behind_a_torn_message() {
    let packets = packets(&pattern(3, 5000));
    for limit in [4096, 1000] {
        let (mut receiver, mut sender) = simplex().expect("simplex");
        send_with_fds(&sender, &packets[0], &[]).expect("send");
        sender.send(&pattern(1, 2000)).expect("send");
        sender.send(b"last").expect("send");
        assert_eq!(wait_any(&[&receiver], Deadline::FAR), Ok(vec![0]));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvError::Torn));
        receiver.set_limit(limit);
        assert_eq!(wait_any(&[&receiver], Deadline::now()), Ok(vec![0]), "nobody would wake");
        let expected = if limit < 2000 {
            Err(RecvError::TooLarge { len: 2000, limit })
        } else {
            Ok(pattern(1, 2000))
        };
        assert_eq!(receiver.recv(), expected);
        assert_eq!(receiver.recv().as_deref(), Ok(&b"last"[..]));
    }
}
