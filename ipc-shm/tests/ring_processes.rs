//! Rings between processes, some of which are killed.
//!
//! What the roles do is the same in every ring, and is shown with the stamped one. Each case runs in a process of its own (see `ipc_testkit::cases`) and forks from there. The
//! kills at every single instruction are in `stepkill.rs`.
//!
//! # Safety
//!
//! One case makes a pid namespace for its children.
#![expect(unsafe_code, reason = "a pid namespace for children")]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::process::ExitCode;
use std::thread::yield_now;

use ipc_core::Errno;
use ipc_core::identity::ProcessId;
use ipc_core::process::{Child, fork_fn};
use ipc_shm::ring::{Peer, PopError, PushError, RoleError};
use ipc_shm::{Atomic, Plan, Region};
use ipc_testkit::cases::{self, doing, open_fds};
use rings::{Indexed, Stamped, TestRing};
use rustix::process::Signal;

#[allow(unreachable_pub, reason = "shared with the fuzz targets")]
mod rings;

fn main() -> ExitCode {
    cases::run(&[
        ("a_million_messages_in_order", a_million_messages_in_order::<Stamped>),
        ("indexed_a_million_messages_in_order", a_million_messages_in_order::<Indexed>),
        ("attached_by_descriptor", attached_by_descriptor::<Stamped>),
        ("indexed_attached_by_descriptor", attached_by_descriptor::<Indexed>),
        ("k01_producer_is_killed_and_replaced", producer_is_killed_and_replaced::<Stamped>),
        ("k01_indexed_producer_is_killed_and_replaced", producer_is_killed_and_replaced::<Indexed>),
        ("k02_consumer_is_killed_and_replaced", consumer_is_killed_and_replaced::<Stamped>),
        ("k02_indexed_consumer_is_killed_and_replaced", consumer_is_killed_and_replaced::<Indexed>),
        ("k08_slices_are_killed_all_the_time", slices_are_killed_all_the_time::<Stamped>),
        ("k08_indexed_slices_are_killed_all_the_time", slices_are_killed_all_the_time::<Indexed>),
        ("k25_both_are_killed_all_the_time", both_are_killed_all_the_time::<Stamped>),
        ("k25_indexed_both_are_killed_all_the_time", both_are_killed_all_the_time::<Indexed>),
        ("two_producers_are_refused", two_producers_are_refused),
        ("k24_stopped_producer_is_alive", stopped_producer_is_alive),
        ("k21_zombie_producer_is_dead", zombie_producer_is_dead),
        ("k16_exec_keeps_the_end", exec_keeps_the_end),
        ("k23_stranger_refused_changes_nothing", stranger_refused_changes_nothing),
        ("f06_forked_copy_closes_nothing", forked_copy_closes_nothing),
        ("f06_forked_copy_leaves_the_childs_own_end", forked_copy_leaves_the_childs_own_end),
        ("l01_ten_thousand_cycles", ten_thousand_cycles),
    ])
}

type Message = [u64; 7];

/// Every word follows from the number, so a torn message shows.
fn message(number: u64) -> Message {
    core::array::from_fn(|i| number.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i as u64)))
}

fn push<R: TestRing>(producer: &mut R::Producer<Message>, number: u64) {
    while let Err(error) = R::push(producer, message(number)) {
        assert!(matches!(error, PushError::Full(_)), "{error}");
        yield_now();
    }
}

/// The next message, or that there will be none.
fn pop<R: TestRing>(consumer: &mut R::Consumer<Message>) -> Option<u64> {
    loop {
        match R::pop(consumer) {
            Ok(found) => {
                assert_eq!(found, message(found[0]), "torn");
                return Some(found[0]);
            }
            Err(PopError::Empty) => yield_now(),
            Err(PopError::Disconnected) => return None,
            Err(PopError::Corrupt) => panic!("corrupt"),
        }
    }
}

fn end(child: &mut Child) {
    assert!(child.wait().expect("a child").success());
}

fn kill(child: &mut Child) {
    child.kill().expect("a child");
    assert!(!child.wait().expect("a child").success());
}

fn a_million_messages_in_order<R: TestRing>() {
    let count = 1_000_000;
    let ring = R::create::<Message>(64).unwrap();
    let mut child = fork_fn(|| {
        let mut producer = R::producer(&ring).unwrap();
        (0..count).for_each(|number| push::<R>(&mut producer, number));
        0
    })
    .unwrap();
    doing("receiving");
    let mut consumer = R::consumer(&ring).unwrap();
    for number in 0..count {
        assert_eq!(pop::<R>(&mut consumer), Some(number));
    }
    assert_eq!(pop::<R>(&mut consumer), None);
    end(&mut child);
}

fn attached_by_descriptor<R: TestRing>() {
    let ring = R::create::<Message>(4).unwrap();
    let fd = R::fd(&ring);
    let mut producer = R::producer(&ring).unwrap();
    drop(ring);
    let mut child = fork_fn(|| {
        let mut consumer = R::consumer(&R::from_fd(fd).unwrap()).unwrap();
        (0..1000).for_each(|number| assert_eq!(pop::<R>(&mut consumer), Some(number)));
        0
    })
    .unwrap();
    doing("sending");
    (0..1000).for_each(|number| push::<R>(&mut producer, number));
    end(&mut child);
}

/// A ring, to which every process attaches anew, and how far its users have come.
struct World<R: TestRing> {
    ring: R::Ring<Message>,
    region: Region,
    counts: ipc_shm::Place<Atomic<AtomicU64>>,
}

impl<R: TestRing> World<R> {
    fn new(capacity: usize) -> Self {
        let mut plan = Plan::new();
        let counts = plan.array(4).unwrap();
        let region = Region::planned(&plan).unwrap();
        Self { ring: R::create(capacity).unwrap(), region, counts }
    }

    fn producer(&self) -> Result<R::Producer<Message>, RoleError> {
        R::producer(&R::from_fd(R::fd(&self.ring)).unwrap())
    }

    fn consumer(&self) -> Result<R::Consumer<Message>, RoleError> {
        R::consumer(&R::from_fd(R::fd(&self.ring)).unwrap())
    }

    fn count(&self, index: usize) -> &AtomicU64 {
        &self.region.slice(self.counts).unwrap()[index]
    }

    fn await_count(&self, index: usize, at_least: u64) {
        while self.count(index).load(SeqCst) < at_least {
            yield_now();
        }
    }
}

fn producer_is_killed_and_replaced<R: TestRing>() {
    let world = World::<R>::new(16);
    let mut consumer = world.consumer().unwrap();
    let mut expected = 0;
    for round in 1..=20 {
        doing("starting a producer");
        let mut child = fork_fn(|| {
            let mut producer = world.producer().unwrap();
            world.count(3).store(round, SeqCst);
            loop {
                // Ours is the only count of the messages; whoever dies between the two lines
                // repeats one.
                let number = world.count(0).load(SeqCst);
                push::<R>(&mut producer, number);
                world.count(0).store(number + 1, SeqCst);
            }
        })
        .unwrap();
        world.await_count(3, round);
        doing("receiving from a producer that lives");
        while expected < round * 1000 {
            let found = pop::<R>(&mut consumer).expect("it lives");
            assert!(found == expected || found + 1 == expected, "{found} after {expected}");
            expected = found + 1;
        }
        kill(&mut child);
        doing("receiving from a dead producer");
        assert!(matches!(R::peer_of_consumer(&consumer), Peer::Dead(_)));
        while let Some(found) = pop::<R>(&mut consumer) {
            assert!(found == expected || found + 1 == expected, "{found} after {expected}");
            expected = found + 1;
        }
        let pushed = world.count(0).load(SeqCst);
        assert!(expected == pushed || expected == pushed + 1, "{expected} of {pushed}");
    }
}

fn consumer_is_killed_and_replaced<R: TestRing>() {
    let world = World::<R>::new(16);
    let mut producer = world.producer().unwrap();
    let mut next = 0;
    for round in 1..=20 {
        doing("starting a consumer");
        let mut child = fork_fn(|| {
            let mut consumer = world.consumer().unwrap();
            world.count(3).store(round, SeqCst);
            loop {
                let found = pop::<R>(&mut consumer).expect("the producer lives");
                // The last consumer may have died between its pop and its note of it.
                let noted = world.count(0).load(SeqCst);
                assert!(found == noted || found == noted + 1, "{found} after {noted}");
                world.count(0).store(found + 1, SeqCst);
            }
        })
        .unwrap();
        world.await_count(3, round);
        doing("sending to a consumer that lives");
        while next < round * 1000 {
            push::<R>(&mut producer, next);
            next += 1;
        }
        world.await_count(0, next / 2);
        kill(&mut child);
        doing("sending to a dead consumer");
        assert!(matches!(R::peer_of_producer(&producer), Peer::Dead(_)));
        loop {
            match R::push(&mut producer, message(next)) {
                Ok(()) => next += 1,
                Err(PushError::Full(_)) => {}
                Err(PushError::Disconnected(_)) => break,
                Err(PushError::Corrupt(_)) => panic!("corrupt"),
            }
        }
    }
    doing("draining");
    let mut consumer = world.consumer().unwrap();
    drop(producer);
    let (mut last, mut left) = (world.count(0).load(SeqCst), 0);
    while let Some(found) = pop::<R>(&mut consumer) {
        assert!(found == last || found == last + 1, "{found} after {last}");
        last = found + 1;
        left += 1;
    }
    assert_eq!((last, left), (next, 16));
}

/// A ring of both ends that die in turn, many times; nothing is lost but what a dying consumer had
/// released.
fn both_are_killed_all_the_time<R: TestRing>() {
    let world = World::<R>::new(4);
    let produce = || {
        let mut producer = world.producer().unwrap();
        loop {
            let number = world.count(0).load(SeqCst);
            // A dead consumer is replaced soon.
            if R::push(&mut producer, message(number)).is_ok() {
                world.count(0).store(number + 1, SeqCst);
            } else {
                yield_now();
            }
        }
    };
    let consume = || {
        let mut consumer = world.consumer().unwrap();
        loop {
            match R::pop(&mut consumer) {
                Ok(found) => {
                    assert_eq!(found, message(found[0]), "torn");
                    let noted = world.count(1).load(SeqCst);
                    assert!(found[0] + 1 >= noted && found[0] <= noted + 1, "{found:?} {noted}");
                    world.count(1).store(found[0] + 1, SeqCst);
                    world.count(2).fetch_add(1, SeqCst);
                }
                Err(PopError::Corrupt) => panic!("corrupt"),
                Err(PopError::Empty | PopError::Disconnected) => yield_now(),
            }
        }
    };
    let mut producer = fork_fn(produce).unwrap();
    let mut consumer = fork_fn(consume).unwrap();
    for kills in 0..100 {
        doing("waiting for messages to flow again");
        let target = world.count(2).load(SeqCst) + 1 + kills * 7 % 50;
        world.await_count(2, target);
        doing("replacing one side");
        if kills % 2 == 0 {
            kill(&mut producer);
            producer = fork_fn(produce).unwrap();
        } else {
            kill(&mut consumer);
            consumer = fork_fn(consume).unwrap();
        }
    }
    kill(&mut producer);
    kill(&mut consumer);
}

/// K08: both sides move slices of five, and die in turn. Each side's own count says where its heir goes on: what the
/// dead one had done but not counted comes twice, or is gone with the consumer, and that is one slice at most.
fn slices_are_killed_all_the_time<R: TestRing>() {
    const LENGTH: u64 = 5;
    let world = World::<R>::new(16);
    let produce = || {
        let mut producer = world.producer().unwrap();
        loop {
            let first = world.count(0).load(SeqCst);
            let messages: Vec<_> = (first..first + LENGTH).map(message).collect();
            match R::push_slice(&mut producer, &messages) {
                Ok(count) => world.count(0).store(first + count as u64, SeqCst),
                Err(PushError::Corrupt(())) => panic!("corrupt"),
                Err(PushError::Full(()) | PushError::Disconnected(())) => yield_now(),
            }
        }
    };
    let consume = || {
        let mut consumer = world.consumer().unwrap();
        let mut messages = [[0; 7]; LENGTH as usize];
        // The number that comes next, unless a producer has died.
        let mut next = None;
        loop {
            match R::pop_slice(&mut consumer, &mut messages) {
                Ok(count) => {
                    for found in &messages[..count] {
                        assert_eq!(*found, message(found[0]), "torn");
                        let found = found[0];
                        let noted = next.unwrap_or_else(|| world.count(1).load(SeqCst));
                        let (least, most) = match next {
                            // An heir of the producer begins again with the last slice at most.
                            Some(next) => (next - LENGTH.min(next), next),
                            // The last consumer may have taken a slice with it.
                            None => (noted - LENGTH.min(noted), noted + LENGTH),
                        };
                        assert!((least..=most).contains(&found), "{found} after {noted}");
                        next = Some(found + 1);
                    }
                    world.count(1).store(next.unwrap_or(0), SeqCst);
                    world.count(2).fetch_add(count as u64, SeqCst);
                }
                Err(PopError::Corrupt) => panic!("corrupt"),
                Err(PopError::Empty | PopError::Disconnected) => yield_now(),
            }
        }
    };
    let mut producer = fork_fn(produce).unwrap();
    let mut consumer = fork_fn(consume).unwrap();
    for kills in 0..60 {
        doing("waiting for slices to flow again");
        let target = world.count(2).load(SeqCst) + 1 + kills * 7 % 50;
        world.await_count(2, target);
        doing("replacing one side");
        if kills % 2 == 0 {
            kill(&mut producer);
            producer = fork_fn(produce).unwrap();
        } else {
            kill(&mut consumer);
            consumer = fork_fn(consume).unwrap();
        }
    }
    kill(&mut producer);
    kill(&mut consumer);
}

fn two_producers_are_refused() {
    let world = World::<Stamped>::new(4);
    let mut child = fork_fn(|| {
        let _producer = world.producer().unwrap();
        world.count(0).store(1, SeqCst);
        world.await_count(1, 1);
        0
    })
    .unwrap();
    world.await_count(0, 1);
    match world.producer() {
        Err(RoleError::Taken { owner }) => {
            assert_eq!(owner.pid(), child.id());
            assert_ne!(owner, ProcessId::current().unwrap());
        }
        other => panic!("{other:?}"),
    }
    world.count(1).store(1, SeqCst);
    end(&mut child);
    drop(world.producer().unwrap());
}

fn stopped_producer_is_alive() {
    let world = World::<Stamped>::new(4);
    let mut child = fork_fn(|| {
        let mut producer = world.producer().unwrap();
        push::<Stamped>(&mut producer, 7);
        loop {
            yield_now();
        }
    })
    .unwrap();
    let mut consumer = world.consumer().unwrap();
    assert_eq!(pop::<Stamped>(&mut consumer), Some(7));
    child.signal(Signal::STOP).unwrap();
    for _ in 0..200_000 {
        assert_eq!(Stamped::pop(&mut consumer), Err(PopError::Empty));
    }
    assert!(matches!(world.producer(), Err(RoleError::Taken { .. })));
    kill(&mut child);
    assert_eq!(pop::<Stamped>(&mut consumer), None);
}

fn zombie_producer_is_dead() {
    let world = World::<Stamped>::new(4);
    let mut child = fork_fn(|| {
        let mut producer = world.producer().unwrap();
        push::<Stamped>(&mut producer, 7);
        core::mem::forget(producer);
        0
    })
    .unwrap();
    let mut consumer = world.consumer().unwrap();
    doing("receiving from a zombie");
    assert_eq!(pop::<Stamped>(&mut consumer), Some(7));
    assert_eq!(pop::<Stamped>(&mut consumer), None);
    drop(world.producer().unwrap());
    end(&mut child);
}

fn forked_copy_closes_nothing() {
    let world = World::<Stamped>::new(4);
    let mut producer = Some(world.producer().unwrap());
    // In the child this takes the copy, and drops it.
    let mut child = fork_fn(|| i32::from(producer.take().is_none())).unwrap();
    end(&mut child);
    let mut consumer = world.consumer().unwrap();
    assert_eq!(Stamped::peer_of_consumer(&consumer), Peer::Alive(ProcessId::current().unwrap()));
    push::<Stamped>(producer.as_mut().unwrap(), 1);
    assert_eq!(pop::<Stamped>(&mut consumer), Some(1));
}

fn exec_keeps_the_end() {
    use std::os::unix::process::CommandExt as _;

    let world = World::<Stamped>::new(4);
    let mut child = fork_fn(|| {
        core::mem::forget(world.producer().unwrap());
        let error = std::process::Command::new("/bin/sleep").arg("100").exec();
        panic!("exec: {error}");
    })
    .unwrap();
    cases::events::await_program(child.id(), "sleep");
    let consumer = world.consumer().unwrap();
    assert!(
        matches!(Stamped::peer_of_consumer(&consumer), Peer::Alive(owner) if owner.pid() == child.id())
    );
    assert!(matches!(world.producer(), Err(RoleError::Taken { .. })));
    kill(&mut child);
    drop(world.producer().unwrap());
}

/// A child that has claimed an end itself drops the copy of its parent's handle of that end.
fn forked_copy_leaves_the_childs_own_end() {
    let world = World::<Stamped>::new(4);
    let mut ends = Some((world.producer().unwrap(), world.consumer().unwrap()));
    let mut child = fork_fn(|| {
        world.await_count(0, 1);
        let own = (world.producer().unwrap(), world.consumer().unwrap());
        drop(ends.take());
        world.count(0).store(2, SeqCst);
        world.await_count(0, 3);
        drop(own);
        0
    })
    .unwrap();
    drop(ends.take());
    world.count(0).store(1, SeqCst);
    world.await_count(0, 2);
    assert!(matches!(world.producer(), Err(RoleError::Taken { .. })), "two producers");
    assert!(matches!(world.consumer(), Err(RoleError::Taken { .. })), "two consumers");
    world.count(0).store(3, SeqCst);
    end(&mut child);
    assert!(world.producer().is_ok() && world.consumer().is_ok());
}

/// A process of another pid namespace cannot judge an owner, so it is refused; that must not keep
/// the owner's neighbours from replacing it when it has died.
fn stranger_refused_changes_nothing() {
    let world = World::<Stamped>::new(4);
    let mut owner = fork_fn(|| {
        let _consumer = world.consumer().unwrap();
        world.count(0).store(1, SeqCst);
        loop {
            yield_now();
        }
    })
    .unwrap();
    world.await_count(0, 1);
    let mut outer = fork_fn(|| {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let claim = || i32::from(!matches!(world.consumer(), Err(RoleError::Taken { .. })));
        fork_fn(claim).expect("fork").wait().expect("wait").code().unwrap_or(1)
    })
    .unwrap();
    doing("waiting for the stranger");
    match outer.wait().expect("a child").code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0)),
    }
    assert!(matches!(world.consumer(), Err(RoleError::Taken { .. })), "it lives");
    kill(&mut owner);
    drop(world.consumer().expect("its owner is dead, and of our namespace"));
}

fn ten_thousand_cycles() {
    let fds = open_fds();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let spsc = || Stamped::create::<Message>(3).unwrap();
    drop(spsc());
    let before = maps();
    for number in 0..10_000 {
        let ring = spsc();
        let (mut producer, mut consumer) =
            (Stamped::producer(&ring).unwrap(), Stamped::consumer(&ring).unwrap());
        drop(ring);
        push::<Stamped>(&mut producer, number);
        assert_eq!(pop::<Stamped>(&mut consumer), Some(number));
    }
    // The allocator may have grown by a mapping of its own.
    assert!(open_fds() == fds && maps() <= before + 2, "{before} mappings became {}", maps());
}
