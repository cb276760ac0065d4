//! The stamped ring in one process.

extern crate alloc;

#[allow(unreachable_pub, reason = "shared with the fuzz target")]
mod model;

use core::time::Duration;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use bytemuck::Pod;
use ipc_core::identity::ProcessId;
use ipc_shm::ring::spsc::{Consumer, FixedRing, Producer, Ring};
use ipc_shm::ring::{Peer, PopError, PushError, RingError, RoleError};

/// Runs what might wait for ever; a minute is for ever here.
fn watched<R>(what: &'static str, f: impl FnOnce() -> R) -> R {
    let (ended, watch) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if watch.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("FAILED: hung in {what}");
            std::process::abort();
        }
    });
    let result = f();
    drop(ended);
    watchdog.join().unwrap();
    result
}

fn ends<T: Pod + Send>(capacity: usize) -> (Producer<'static, T>, Consumer<'static, T>) {
    let ring = Ring::create(capacity).unwrap();
    (ring.producer().unwrap(), ring.consumer().unwrap())
}

/// The two kinds of ends are of one ring, whoever takes which.
#[test]
fn ends_of_either_trust() {
    fn there_and_back<const N: usize>(message: [u8; N])
    where
        [u8; N]: Pod,
    {
        let ring = Ring::<[u8; N]>::create(3).unwrap();
        for _ in 0..4 {
            let mut consumer = ring.untrusted_consumer().unwrap();
            ring.producer().unwrap().push(message).unwrap();
            ring.untrusted_producer().unwrap().push(message).unwrap();
            assert_eq!(consumer.pop().unwrap(), message);
            drop(consumer);
            assert_eq!(ring.consumer().unwrap().pop().unwrap(), message);
        }
    }
    there_and_back([1]);
    there_and_back([1, 2, 3]);
    there_and_back([9; 31]);
    there_and_back(core::array::from_fn::<u8, 256, _>(|i| i as u8));
    there_and_back([7; 1024]);

    static FIXED: FixedRing<u64, 2> = FixedRing::new();
    assert_eq!(FIXED.ring().untrusted_producer().unwrap_err(), RoleError::NotSealed);
    assert_eq!(FIXED.ring().untrusted_consumer().unwrap_err(), RoleError::NotSealed);
}

#[test]
fn capacity() {
    for capacity in [1, 2, 3, 7, 64, 1000] {
        let (mut producer, mut consumer) = ends::<u64>(capacity);
        assert_eq!((producer.capacity(), consumer.capacity()), (capacity, capacity));
        for lap in 0..3 {
            for i in 0..capacity as u64 {
                producer.push(lap * 10_000 + i).unwrap();
            }
            assert_eq!(producer.push(u64::MAX), Err(PushError::Full(u64::MAX)));
            for i in 0..capacity as u64 {
                assert_eq!(consumer.pop(), Ok(lap * 10_000 + i));
            }
            assert_eq!(consumer.pop(), Err(PopError::Empty));
        }
    }
}

#[test]
fn zero_capacity() {
    assert_eq!(Ring::<u64>::create(0).unwrap_err(), RingError::ZeroCapacity);
    assert_eq!(Ring::<u64>::boxed(0).unwrap_err(), RingError::ZeroCapacity);
}

#[test]
fn impossible_capacity() {
    for capacity in [usize::MAX, usize::MAX / 16, 1 << 48] {
        let error = Ring::<u64>::create(capacity).unwrap_err();
        assert!(matches!(error, RingError::Plan(_) | RingError::Region(_)), "{error}");
        assert_eq!(Ring::<u64>::boxed(capacity).unwrap_err(), RingError::OutOfMemory);
    }
}

#[test]
fn wraps_around() {
    let (mut producer, mut consumer) = ends::<u32>(5);
    for i in 0..if cfg!(miri) { 50 } else { 100_000 } {
        producer.push(2 * i).unwrap();
        producer.push(2 * i + 1).unwrap();
        assert_eq!((consumer.pop(), consumer.pop()), (Ok(2 * i), Ok(2 * i + 1)));
    }
}

#[test]
fn room_is_seen_at_once() {
    let (mut producer, mut consumer) = ends::<u64>(4);
    (0..4).for_each(|i| producer.push(i).unwrap());
    for i in 4..20 {
        assert!(producer.push(i).is_err());
        assert_eq!(consumer.pop(), Ok(i - 4));
        producer.push(i).unwrap();
    }
}

fn carries<T: Pod + Send + PartialEq + core::fmt::Debug>(values: [T; 3]) {
    let (mut producer, mut consumer) = ends::<T>(2);
    for value in values.into_iter().cycle().take(30) {
        producer.push(value).unwrap();
        assert_eq!(consumer.pop(), Ok(value));
    }
}

#[test]
fn every_size_and_alignment() {
    carries([1_u8, 2, 255]);
    carries([[1_u8; 3], [2; 3], [3; 3]]);
    carries([1_u16, 2, 3]);
    carries([1.5_f32, -2.5, 0.0]);
    carries([1_u128, u128::MAX, 7]);
    carries([[1_u64; 7], [2; 7], [3; 7]]);
    carries([[1_u64; 512], [2; 512], [3; 512]]);
}

#[test]
fn drops() {
    let ring = Ring::<u64>::create(2).unwrap();
    let (producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    drop(producer);
    assert_eq!(consumer.pop(), Err(PopError::Disconnected));
    // A new producer connects it again.
    let mut producer = ring.producer().unwrap();
    assert_eq!(consumer.pop(), Err(PopError::Empty));
    producer.push(1).unwrap();
    drop(ring);
    drop(consumer);
    producer.push(2).unwrap();
    assert_eq!(producer.push(3), Err(PushError::Disconnected(3)));
}

#[test]
fn nobody_has_come_yet() {
    let ring = Ring::<u64>::boxed(1).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.push(1).unwrap();
    assert_eq!(producer.push(2), Err(PushError::Full(2)));
    assert_eq!(producer.peer(), Peer::Absent);
}

#[test]
fn one_of_each() {
    let ring = Ring::<u64>::create(2).unwrap();
    let owner = ProcessId::current().unwrap();
    let producer = ring.producer().unwrap();
    assert_eq!(ring.producer().unwrap_err(), RoleError::Taken { owner });
    let consumer = ring.consumer().unwrap();
    assert_eq!(ring.consumer().unwrap_err(), RoleError::Taken { owner });
    drop(producer);
    drop(ring.producer().unwrap());
    drop(consumer);
    drop(ring.consumer().unwrap());
}

#[test]
fn goes_on_where_the_last_one_stopped() {
    let ring = Ring::<u64>::create(3).unwrap();
    for i in 0..30 {
        let mut producer = ring.producer().unwrap();
        producer.push(2 * i).unwrap();
        producer.push(2 * i + 1).unwrap();
        drop(producer);
        assert_eq!(ring.consumer().unwrap().pop(), Ok(2 * i));
        assert_eq!(ring.consumer().unwrap().pop(), Ok(2 * i + 1));
    }
}

#[test]
fn very_old_rings() {
    for capacity in [1, 3, 4] {
        // The last two wrap around: the sequence at 2^64, and half of it at 2^32.
        for laps in [1 << 30, (1 << 31) - 1, (1 << 63) - 2] {
            let ring = Ring::<u64>::boxed_at(capacity, laps).unwrap();
            let mut consumer = ring.consumer().unwrap();
            for i in 0..5 {
                let mut producer = ring.producer().unwrap();
                for j in 0..capacity as u64 {
                    producer.push(i * 100 + j).unwrap();
                }
                assert!(producer.push(0).is_err());
                consumer = {
                    drop(consumer);
                    ring.consumer().unwrap()
                };
                for j in 0..capacity as u64 {
                    assert_eq!(consumer.pop(), Ok(i * 100 + j));
                }
                assert_eq!(consumer.pop(), Err(PopError::Empty));
            }
        }
    }
}

#[test]
fn threads() {
    for capacity in [1, 2, 64] {
        watched("threads", || stream(capacity, if cfg!(miri) { 50 } else { 50_000 }));
    }
}

/// One thread sends `count` messages to another.
fn stream(capacity: usize, count: u64) {
    let ring = Ring::<[u64; 7]>::boxed(capacity).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let receiver = thread::spawn(move || {
        let mut expected = 0;
        loop {
            match consumer.pop() {
                Ok(message) => {
                    assert_eq!(message, [expected; 7]);
                    expected += 1;
                }
                Err(PopError::Empty) => thread::yield_now(),
                Err(PopError::Disconnected) => return expected,
                Err(PopError::Corrupt) => panic!("corrupt"),
            }
        }
    });
    for number in 0..count {
        while producer.push([number; 7]).is_err() {
            thread::yield_now();
        }
    }
    drop(producer);
    assert_eq!(receiver.join().unwrap(), count);
}

/// The words of a ring in its region: the roles, and each slot's sequence.
mod damage {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    const ROLES: u64 = 4096;
    const SLOTS: u64 = 4096 + 128;

    fn write<T: Pod + Send>(ring: &Ring<'_, T>, offset: u64, word: u64) {
        let file = File::from(ring.as_fd().unwrap().try_clone_to_owned().unwrap());
        file.write_all_at(&word.to_ne_bytes(), offset).unwrap();
    }

    /// A ring of two slots in which one message has gone through each, and its ends.
    fn ring() -> (Ring<'static, u64>, Producer<'static, u64>, Consumer<'static, u64>) {
        let ring = Ring::create(2).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for i in 0..2 {
            producer.push(i).unwrap();
            consumer.pop().unwrap();
        }
        (ring, producer, consumer)
    }

    /// Moved back or forth by laps, half laps, or to anywhere.
    const WRONG: [u64; 6] = [0, 4, 6, 100, 1 << 63, u64::MAX];

    #[test]
    fn h04_h07_a_sequence_that_nobody_wrote() {
        for word in WRONG.into_iter().chain([1, 5]) {
            let (ring, mut producer, mut consumer) = ring();
            write(&ring, SLOTS, word);
            assert_eq!(consumer.pop(), Err(PopError::Corrupt), "{word}");
            if word != 1 {
                assert_eq!(producer.push(5), Err(PushError::Corrupt(5)), "{word}");
            }
            // Sticky, even if the slot becomes right.
            write(&ring, SLOTS, 3);
            assert_eq!(consumer.pop(), Err(PopError::Corrupt));
            write(&ring, SLOTS, 2);
            if word != 1 {
                assert_eq!(producer.push(5), Err(PushError::Corrupt(5)));
            }
        }
    }

    #[test]
    fn h04_damage_is_not_forgotten_whatever_the_peer_writes_then() {
        let ring = Ring::<u64>::create(2).unwrap();
        let mut producer = ring.untrusted_producer().unwrap();
        let mut consumer = ring.untrusted_consumer().unwrap();
        write(&ring, SLOTS, 77);
        assert_eq!(producer.push(5), Err(PushError::Corrupt(5)));
        assert_eq!(consumer.pop(), Err(PopError::Corrupt));
        // Also what a poisoned end looks for, which the peer knows as well as anybody.
        for word in (0..8).flat_map(|word| [word, word ^ 1 << 63]) {
            write(&ring, SLOTS, word);
            assert_eq!(producer.push(5), Err(PushError::Corrupt(5)), "{word:#x}");
            assert_eq!(consumer.pop(), Err(PopError::Corrupt), "{word:#x}");
        }
    }

    #[test]
    fn h05_an_end_that_attaches_to_impossible_sequences_is_refused() {
        for word in WRONG {
            let (ring, producer, consumer) = ring();
            drop((producer, consumer));
            // Two laps apart, or the first slot behind the second.
            write(&ring, SLOTS, word);
            if word == 4 {
                // A whole lap by this slot alone, and none by the other: it could be.
                assert!(ring.producer().is_ok() && ring.consumer().is_ok());
                continue;
            }
            assert_eq!(ring.producer().unwrap_err(), RoleError::Corrupt, "{word}");
            assert_eq!(ring.consumer().unwrap_err(), RoleError::Corrupt, "{word}");
            write(&ring, SLOTS, 2);
            assert!(ring.producer().is_ok() && ring.consumer().is_ok(), "the roles are free again");
        }
    }

    #[test]
    fn h09_a_punched_hole_is_never_a_message() {
        let (ring, mut producer, mut consumer) = ring();
        producer.push(3).unwrap();
        write(&ring, SLOTS, 0);
        assert_eq!(consumer.pop(), Err(PopError::Corrupt));
        let ring = Ring::<u64>::create(2).unwrap();
        ring.producer().unwrap().push(1).unwrap();
        write(&ring, SLOTS, 0);
        let first_lap = ring.consumer().unwrap().pop();
        assert_eq!(first_lap, Err(PopError::Disconnected), "there it is an empty slot");
    }

    #[test]
    fn a_role_word_that_nobody_has() {
        let ring = Ring::<u64>::create(2).unwrap();
        write(&ring, ROLES, u64::MAX);
        assert_eq!(ring.producer().unwrap_err(), RoleError::Corrupt);
        let mut consumer = ring.consumer().unwrap();
        for _ in 0..5000 {
            assert_eq!(consumer.pop(), Err(PopError::Empty));
        }
    }
}

/// Random operations, compared with a queue that cannot fail: fixed seeds, and what fuzzing has
/// found.
mod against_a_model {
    use super::model;

    #[test]
    fn fixed_seeds() {
        let rounds = if cfg!(miri) { 2 } else { 300 };
        for seed in 1..=rounds {
            let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
            let operations: Vec<u8> = (0..2000)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    (random >> 32) as u8
                })
                .collect();
            super::watched("a model run", || model::run(&operations))
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }

    #[test]
    fn corpus() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/ring_spsc");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let operations = std::fs::read(&path).unwrap();
            super::watched("the corpus", || model::run(&operations))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            files += 1;
        }
        assert!(files >= 5, "the corpus is committed");
    }

    #[test]
    fn a_planted_bug_is_found() {
        let found = (1..=300_u64).any(|seed| {
            let operations: Vec<u8> = (0..2000_u64)
                .map(|i| ((seed + i * i).wrapping_mul(0x9e37_79b9) >> 24) as u8)
                .collect();
            model::run_with(&operations, model::Bug::ForgetsARoundTrip).is_err()
        });
        assert!(found);
    }
}
