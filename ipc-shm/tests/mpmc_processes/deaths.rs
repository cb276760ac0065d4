//! The dead, the stopped, and those of whom nobody can tell.

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::thread::yield_now;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{Child, fork_fn};
use ipc_shm::ring::mpmc::{Consumer, Peers, Ring};
use ipc_shm::ring::{PopError, PopWaitError, PushError, RoleError};
use ipc_testkit::cases::pids::{Sleeper, sleeper_with_pid};
use ipc_testkit::cases::{self, doing, shared};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};

use super::rings::{Many, TestRing};
use super::{Message, message, number};

/// A process that makes something of the ring, and keeps it.
fn keeper<'r, T>(make: impl FnOnce() -> T + 'r) -> Child {
    let made = &shared().words[0];
    made.store(0, SeqCst);
    let child = fork_fn(|| {
        let _kept = make();
        made.store(1, SeqCst);
        loop {
            yield_now();
        }
    });
    while made.load(SeqCst) == 0 {
        yield_now();
    }
    child.unwrap()
}

/// A process that has leased the next message.
fn holder(ring: &Ring<'_, Message>) -> Child {
    keeper(|| {
        let mut consumer = ring.consumer().unwrap();
        // Not released: it has the message as long as it lives.
        let _lease = consumer.lease().unwrap();
        consumer
    })
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

/// The next message, which may be one that a dead consumer had.
fn next(consumer: &mut Consumer<'_, Message>) -> u64 {
    number(consumer.pop_timeout(Duration::from_secs(10)).unwrap())
}

/// What goes through afterwards goes through as ever, for three laps.
fn flows(ring: &Ring<'_, Message>) {
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for lap in 0..3 {
        let numbers = (0..ring.capacity() as u64).map(|count| lap << 32 | count);
        numbers.clone().for_each(|number| producer.push(message(number)).unwrap());
        assert!(matches!(producer.push(message(0)), Err(PushError::Full(_))));
        numbers.for_each(|expected| assert_eq!(next(&mut consumer), expected));
    }
    assert_eq!(consumer.pop(), Err(PopError::Empty));
}

/// How long a ring may be out of order with 64 dead in it.
const SOON: Duration = Duration::from_millis(50);

/// A loaded machine may delay some of the runs.
fn one_is_soon(mut run: impl FnMut() -> Duration) {
    let times: Vec<Duration> = (0..5).map(|_| run()).collect();
    println!("64 of the dead are cleared away in {times:.1?}");
    assert!(times.iter().any(|&time| time < SOON), "it takes too long");
}

/// Such a process cannot be stopped here in the middle of a push, so the slots say what it would have written.
pub(crate) fn every_slot_is_a_dead_writers() {
    one_is_soon(|| {
        let ring = Ring::<Message>::create(64).unwrap();
        doing("filling the ring with slots of dead writers");
        for number in 0..64_u64 {
            kill(keeper(|| ring.producer().unwrap()));
            // The second one would have taken the record of the first, and called it a later generation.
            let [lap, generation, writing] = [0, number + 1, 1];
            let word: u64 = lap << 20 | generation << 11 | writing;
            let at = Many::words::<Message>(64)[2 + number as usize];
            assert_eq!(rustix::io::pwrite(ring.as_fd().unwrap(), &word.to_ne_bytes(), at), Ok(8));
        }
        let mut producer = ring.producer().unwrap();
        assert!(matches!(producer.push(message(1)), Err(PushError::Full(_))));
        let mut consumer = ring.consumer().unwrap();
        let began = Instant::now();
        let nothing = consumer.pop_timeout(Duration::from_millis(1));
        assert_eq!(nothing, Err(PopWaitError::TimedOut), "nothing was pushed");
        producer.push(message(2)).unwrap();
        assert_eq!(next(&mut consumer), 2);
        let took = began.elapsed();
        drop((producer, consumer));
        flows(&ring);
        took
    });
}

pub(crate) fn every_slot_is_a_dead_readers() {
    one_is_soon(|| {
        let ring = Ring::<Message>::create(64).unwrap();
        let mut producer = ring.producer().unwrap();
        (0..64).for_each(|number| producer.push(message(number)).unwrap());
        doing("filling the ring with slots of dead readers");
        let holders: Vec<Child> = (0..64).map(|_| holder(&ring)).collect();
        holders.into_iter().for_each(kill);
        assert!(matches!(producer.push(message(64)), Err(PushError::Full(_))));
        let mut consumer = ring.consumer().unwrap();
        let began = Instant::now();
        let mut found: Vec<u64> = (0..64).map(|_| next(&mut consumer)).collect();
        let took = began.elapsed();
        found.sort_unstable();
        assert!(found.into_iter().eq(0..64));
        drop((producer, consumer));
        flows(&ring);
        took
    });
}

pub(crate) fn pid_in_use_again() {
    let ring = Ring::<Message>::create(4).unwrap();
    let mut producer = ring.producer().unwrap();
    let mut recycled = 0;
    for round in 0..20 {
        producer.push(message(round)).unwrap();
        let held = holder(&ring);
        let pid = held.id();
        kill(held);
        let stranger = match sleeper_with_pid(pid) {
            Sleeper::Sleeps(stranger) => Some(stranger),
            Sleeper::NotPermitted => cases::skip("clone3(set_tid) needs CAP_SYS_ADMIN"),
            Sleeper::Taken => None,
        };
        recycled += usize::from(stranger.is_some());
        doing("popping what a dead process had whose pid lives");
        assert_eq!(next(&mut ring.consumer().unwrap()), round);
        if let Some(stranger) = stranger {
            kill_process(stranger, Signal::KILL).unwrap();
            assert!(waitpid(Some(stranger), WaitOptions::empty()).is_ok(), "it lived");
        }
    }
    assert!(recycled >= 10, "others took the pid in all but {recycled} rounds");
}

pub(crate) fn zombies_are_dead() {
    let ring = Ring::<Message>::create(4).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.push(message(7)).unwrap();
    let mut held = holder(&ring);
    held.kill().unwrap();
    cases::events::await_exit(&held);
    doing("popping what a zombie has");
    let mut consumer = ring.consumer().unwrap();
    assert_eq!(next(&mut consumer), 7);
    assert!(!held.wait().unwrap().success());
    let mut zombie = keeper(|| ring.producer().unwrap());
    zombie.kill().unwrap();
    cases::events::await_exit(&zombie);
    drop(producer);
    assert_eq!(consumer.producers(), Peers::Gone);
    assert_eq!(consumer.pop_wait(), Err(PopWaitError::Disconnected));
    assert!(!zombie.wait().unwrap().success());
}

pub(crate) fn stopped_holder_keeps_its_message() {
    let ring = Ring::<Message>::create(4).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.push(message(0)).unwrap();
    let held = holder(&ring);
    held.signal(Signal::STOP).unwrap();
    for number in 1..4 {
        producer.push(message(number)).unwrap();
        assert_eq!(next(&mut consumer), number, "all others come");
    }
    assert!(matches!(producer.push(message(4)), Err(PushError::Full(_))), "its slot is next");
    // Longer than a slice, so that it was asked after.
    let nothing = consumer.pop_timeout(Duration::from_millis(150));
    assert_eq!(nothing, Err(PopWaitError::TimedOut));
    assert!((0..10_000).all(|_| consumer.pop() == Err(PopError::Empty)));
    kill(held);
    assert_eq!(next(&mut consumer), 0, "now it comes");
    drop((producer, consumer));
    flows(&ring);
}

/// A process of another pid namespace cannot tell whether the holder of a message is dead.
pub(crate) fn stranger_takes_nothing() {
    let ring = Ring::<Message>::create(4).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.push(message(7)).unwrap();
    let held = holder(&ring);
    let mut outer = fork_fn(|| {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let take = || {
            let Ok(mut consumer) = ring.consumer() else { return 0 };
            i32::from(consumer.pop_timeout(Duration::from_millis(150)).is_ok())
        };
        fork_fn(take).unwrap().wait().unwrap().code().unwrap_or(1)
    })
    .unwrap();
    doing("waiting for the stranger");
    match outer.wait().unwrap().code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0), "the holder lives"),
    }
    kill(held);
}

pub(crate) fn places_of_the_dead_are_taken_again() {
    let ring = Ring::<Message>::create(4).unwrap();
    for _ in 0..2 {
        doing("taking all places");
        let children: Vec<Child> = (0..128)
            .map(|_| keeper(|| (ring.producer().unwrap(), ring.consumer().unwrap())))
            .collect();
        let crowded = RoleError::Crowded { participants: 128 };
        assert_eq!(ring.producer().err(), Some(crowded));
        assert_eq!(ring.consumer().err(), Some(crowded));
        children.into_iter().for_each(kill);
    }
    let all: Vec<_> =
        (0..128).map(|_| (ring.producer().unwrap(), ring.consumer().unwrap())).collect();
    assert!(ring.producer().is_err() && ring.consumer().is_err());
    drop(all);
    flows(&ring);
}
