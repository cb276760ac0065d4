//! The ring of bytes between processes, some of which are killed and replaced by ones that attach by descriptor.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`) and forks from there. The kills at every single
//! instruction are in `stepkill_bytes.rs`.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::process::ExitCode;
use std::thread::yield_now;

use ipc_core::Errno;
use ipc_core::process::{Child, fork_fn};
use ipc_shm::ring::bytes::{Consumer, PopError, Producer, PushError, Ring};
use ipc_shm::ring::{Peer, RoleError};
use ipc_shm::{Atomic, Plan, Region};
use ipc_testkit::cases::{self, doing, open_fds};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    cases::run(&[
        ("contiguous_and_split_peers", contiguous_and_split_peers),
        ("batches_of_a_contiguous_and_a_split_peer", batches_of_a_contiguous_and_a_split_peer),
        ("k09_producer_is_killed_and_replaced", producer_is_killed_and_replaced),
        ("k09_consumer_is_killed_and_replaced", consumer_is_killed_and_replaced),
        ("k25_both_are_killed_all_the_time", both_are_killed_all_the_time),
        ("k08_killed_in_a_batch_releases_none_of_it", killed_in_a_batch_releases_none_of_it),
        ("t10_ten_thousand_attachments", ten_thousand_attachments),
        ("x03_no_addresses_for_twice_the_ring", no_addresses_for_twice_the_ring),
    ])
}

/// The bytes of record `number`: between none and `max` of them, all of which follow from the number, and the last
/// eight of which are a sum of all others if there is room for a sum.
fn record(number: u64, max: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Short ones, long ones, and now and then the longest.
    let len = match next() % 16 {
        0 => max,
        1..4 => next() as usize % (max + 1),
        _ => next() as usize % (max.min(100) + 1),
    };
    let mut bytes: Vec<u8> = (0..len).map(|_| next() as u8).collect();
    if let Some(split) = len.checked_sub(8) {
        let sum = sum(number, &bytes[..split]);
        bytes[split..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn sum(number: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(number, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Pushes record `number`, by each way to push in turn.
fn push(producer: &mut Producer<'_>, number: u64) {
    let bytes = record(number, producer.max_record());
    let tag = number as u32;
    loop {
        let result = match number % 3 {
            0 => producer.push(tag, &bytes),
            1 => {
                let (a, b) = bytes.split_at(bytes.len() / 3);
                producer.push_vectored(tag, &[a, &[], b])
            }
            _ => producer.reserve(bytes.len()).map(|mut room| {
                let (first, second) = room.as_mut_slices();
                let (a, b) = bytes.split_at(first.len());
                first.copy_from_slice(a);
                second.copy_from_slice(b);
                room.advance(bytes.len()).expect("reserved");
                room.commit(tag);
            }),
        };
        match result {
            Ok(()) => return,
            Err(PushError::Full) => yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The tag of the next record, which is one that was pushed, by each way to pop in turn; `None` if there will be none.
fn pop(consumer: &mut Consumer<'_>, way: u64) -> Option<u64> {
    let max = consumer.max_record();
    loop {
        let result = match way % 3 {
            0 => consumer.pop_vec(),
            1 => {
                let mut buffer = vec![0; max];
                consumer.pop(&mut buffer).map(|(tag, len)| (tag, buffer[..len].to_vec()))
            }
            _ => consumer.peek().map(|peek| {
                let found = (peek.record().tag(), peek.record().to_vec());
                peek.release();
                found
            }),
        };
        match result {
            Ok((tag, bytes)) => {
                let number = u64::from(tag);
                assert_eq!(bytes, record(number, max), "record {number}");
                return Some(number);
            }
            Err(PopError::Empty) => yield_now(),
            Err(PopError::Disconnected) => return None,
            Err(error) => panic!("{error}"),
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

/// The ring behind the descriptor, as a process has it that attaches, with or without the second mapping.
fn attach(fd: &OwnedFd, contiguous: bool) -> Ring<'static> {
    let ring = Ring::from_fd(fd.try_clone().expect("a descriptor")).expect("a ring");
    let ring = if contiguous { ring } else { ring.split() };
    assert_eq!(ring.is_contiguous(), contiguous);
    ring
}

fn new(bytes: usize) -> OwnedFd {
    let ring = Ring::create(bytes).expect("a ring");
    assert!(ring.is_contiguous());
    ring.as_fd().expect("a region of its own").try_clone_to_owned().expect("a descriptor")
}

fn contiguous_and_split_peers() {
    const COUNT: u64 = 1_000;
    for (writes, reads) in [(true, true), (true, false), (false, true), (false, false)] {
        doing(&format!("contiguous: writer {writes}, reader {reads}"));
        let fd = new(1 << 12);
        let mut consumer = attach(&fd, reads).consumer().unwrap();
        let mut child = fork_fn(|| {
            let mut producer = attach(&fd, writes).producer().unwrap();
            (0..COUNT).for_each(|number| push(&mut producer, number));
            0
        })
        .unwrap();
        for number in 0..COUNT {
            assert_eq!(pop(&mut consumer, number), Some(number));
        }
        assert_eq!(pop(&mut consumer, 0), None);
        end(&mut child);
    }
}

fn batches_of_a_contiguous_and_a_split_peer() {
    const COUNT: u64 = 4_000;
    for contiguous in [true, false] {
        doing(&format!("a reader, contiguous: {contiguous}"));
        let fd = new(1 << 12);
        let mut consumer = attach(&fd, contiguous).consumer().unwrap();
        let mut child = fork_fn(|| {
            let mut producer = attach(&fd, !contiguous).producer().unwrap();
            (0..COUNT).for_each(|number| push(&mut producer, number));
            0
        })
        .unwrap();
        let (mut expected, max) = (0, consumer.max_record());
        loop {
            let mut batch = match consumer.batch() {
                Ok(batch) => batch,
                Err(PopError::Empty) => {
                    yield_now();
                    continue;
                }
                Err(PopError::Disconnected) => break,
                Err(error) => panic!("{error}"),
            };
            while let Some(found) = batch.next_record().unwrap() {
                assert_eq!(u64::from(found.tag()), expected);
                assert_eq!(found.to_vec(), record(expected, max));
                assert!(!contiguous || found.as_slice().is_some());
                expected += 1;
            }
            batch.release();
        }
        assert_eq!(expected, COUNT);
        end(&mut child);
    }
}

/// A ring, and how far its users have come, in a region of its own.
struct World {
    fd: OwnedFd,
    counts: Region,
    place: ipc_shm::Place<Atomic<AtomicU64>>,
}

impl World {
    fn new() -> Self {
        let mut plan = Plan::new();
        let place = plan.array(4).unwrap();
        Self { fd: new(1 << 12), counts: Region::planned(&plan).unwrap(), place }
    }

    /// The ring of a new process, contiguous or split in turn.
    fn ring(&self, round: u64) -> Ring<'static> {
        attach(&self.fd, round % 2 == 0)
    }

    fn count(&self, index: usize) -> &AtomicU64 {
        &self.counts.slice(self.place).unwrap()[index]
    }

    fn await_count(&self, index: usize, at_least: u64) {
        while self.count(index).load(SeqCst) < at_least {
            yield_now();
        }
    }
}

fn producer_is_killed_and_replaced() {
    let world = World::new();
    let mut consumer = world.ring(0).consumer().unwrap();
    let mut expected = 0;
    for round in 1..=6 {
        doing("starting a producer");
        let mut child = fork_fn(|| {
            let mut producer = world.ring(round).producer().unwrap();
            world.count(3).store(round, SeqCst);
            loop {
                // Ours is the only count of the records; whoever dies between the two lines repeats one.
                let number = world.count(0).load(SeqCst);
                push(&mut producer, number);
                world.count(0).store(number + 1, SeqCst);
            }
        })
        .unwrap();
        world.await_count(3, round);
        doing("receiving from a producer that lives");
        while expected < round * 500 {
            let found = pop(&mut consumer, round).expect("it lives");
            assert!(found == expected || found + 1 == expected, "{found} after {expected}");
            expected = found + 1;
        }
        kill(&mut child);
        doing("receiving from a dead producer");
        assert!(matches!(consumer.peer(), Peer::Dead(_)));
        while let Some(found) = pop(&mut consumer, round) {
            assert!(found == expected || found + 1 == expected, "{found} after {expected}");
            expected = found + 1;
        }
        let pushed = world.count(0).load(SeqCst);
        assert!(expected == pushed || expected == pushed + 1, "{expected} of {pushed}");
    }
}

fn consumer_is_killed_and_replaced() {
    let world = World::new();
    let mut producer = world.ring(0).producer().unwrap();
    let mut next = 0;
    for round in 1..=6 {
        doing("starting a consumer");
        let mut child = fork_fn(|| {
            let mut consumer = world.ring(round).consumer().unwrap();
            world.count(3).store(round, SeqCst);
            loop {
                let found = pop(&mut consumer, round).expect("the producer lives");
                // The last consumer may have died between its pop and its note of it.
                let noted = world.count(0).load(SeqCst);
                assert!(found == noted || found == noted + 1, "{found} after {noted}");
                world.count(0).store(found + 1, SeqCst);
            }
        })
        .unwrap();
        world.await_count(3, round);
        doing("sending to a consumer that lives");
        while next < round * 500 {
            push(&mut producer, next);
            next += 1;
        }
        world.await_count(0, next / 2);
        kill(&mut child);
        doing("sending to a dead consumer");
        assert!(matches!(producer.peer(), Peer::Dead(_)));
        loop {
            let bytes = record(next, producer.max_record());
            match producer.push(next as u32, &bytes) {
                Ok(()) => next += 1,
                Err(PushError::Full) => {}
                Err(PushError::Disconnected) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    doing("draining");
    let mut consumer = world.ring(0).consumer().unwrap();
    drop(producer);
    let mut last = world.count(0).load(SeqCst);
    while let Some(found) = pop(&mut consumer, last) {
        assert!(found == last || found == last + 1, "{found} after {last}");
        last = found + 1;
    }
    assert_eq!(last, next);
}

/// Both ends die in turn, many times; nothing is lost but what a dying consumer had released.
fn both_are_killed_all_the_time() {
    let world = World::new();
    let produce = || {
        let mut producer = world.ring(world.count(0).load(SeqCst)).producer().unwrap();
        let max = producer.max_record();
        loop {
            let number = world.count(0).load(SeqCst);
            // A dead consumer is replaced soon.
            match producer.push(number as u32, &record(number, max)) {
                Ok(()) => world.count(0).store(number + 1, SeqCst),
                Err(PushError::Full | PushError::Disconnected) => yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let consume = || {
        let mut consumer = world.ring(world.count(1).load(SeqCst)).consumer().unwrap();
        loop {
            // A dead producer is replaced soon.
            let Some(found) = pop(&mut consumer, world.count(1).load(SeqCst)) else { continue };
            let noted = world.count(1).load(SeqCst);
            assert!(found + 1 >= noted && found <= noted + 1, "{found} after {noted}");
            world.count(1).store(found + 1, SeqCst);
            world.count(2).fetch_add(1, SeqCst);
        }
    };
    let mut producer = fork_fn(produce).unwrap();
    let mut consumer = fork_fn(consume).unwrap();
    for kills in 0..40 {
        doing("waiting for records to flow again");
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

fn killed_in_a_batch_releases_none_of_it() {
    let world = World::new();
    let mut producer = world.ring(0).producer().unwrap();
    let count = 10;
    for number in 0..count {
        producer.push(number, &[number as u8; 3]).unwrap();
    }
    for round in 0..3 {
        let mut child = fork_fn(|| {
            let mut consumer = world.ring(round).consumer().unwrap();
            let mut batch = consumer.batch().unwrap();
            for number in 0..count / 2 {
                assert_eq!(batch.next_record().unwrap().map(|record| record.tag()), Some(number));
            }
            world.count(0).store(round + 1, SeqCst);
            loop {
                yield_now();
            }
        })
        .unwrap();
        doing("waiting for a consumer in the middle of its batch");
        world.await_count(0, round + 1);
        kill(&mut child);
    }
    let mut consumer = world.ring(0).consumer().unwrap();
    for number in 0..count {
        assert_eq!(consumer.pop_vec(), Ok((number, vec![number as u8; 3])));
    }
    assert_eq!(consumer.pop_vec(), Err(PopError::Empty));
}

/// The lines of a file of this process, and what it says of the memory that has been mapped.
fn mapped() -> (usize, String) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find(|line| line.starts_with("VmSize")).unwrap();
    (maps.lines().filter(|line| line.contains("memfd:")).count(), size.to_owned())
}

fn ten_thousand_attachments() {
    let fd = new(1 << 16);
    let cycle = |number: u64| {
        let ring = attach(&fd, true);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        drop(ring);
        producer.push(number as u32, b"a record").unwrap();
        assert_eq!(consumer.pop(&mut [0; 8]), Ok((number as u32, 8)));
    };
    cycle(0);
    let before = (open_fds(), mapped());
    (1..=10_000).for_each(cycle);
    assert_eq!((open_fds(), mapped()), before);
}

/// What there is while `f` runs under a limit.
fn limited<R>(resource: Resource, limit: u64, f: impl FnOnce() -> R) -> R {
    let old = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(limit), maximum: old.maximum }).unwrap();
    let result = f();
    setrlimit(resource, old).unwrap();
    result
}

fn no_addresses_for_twice_the_ring() {
    let bytes = 64 << 20;
    let fd = new(bytes);
    let (ring, split) = (attach(&fd, true), attach(&fd, false));
    let before = mapped();
    let size: u64 = before.1.split_whitespace().nth(1).unwrap().parse().unwrap();
    // Enough for the ring once, and not twice.
    let limit = (size << 10) + bytes as u64 * 3 / 2;
    let (ends, split) = limited(Resource::As, limit, || {
        let ends = (ring.producer().map(drop), ring.consumer().map(drop));
        (ends, split.producer().map(drop))
    });
    assert_eq!(ends, (Err(RoleError::Os(Errno::NOMEM)), Err(RoleError::Os(Errno::NOMEM))));
    assert_eq!(split, Ok(()), "there was room for one");
    assert_eq!(mapped(), before, "nothing is left behind");
    assert!(ring.producer().is_ok() && ring.consumer().is_ok(), "the roles are free");
}
