//! The tests that every ring passes.

use core::time::Duration;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::thread;

use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_shm::AttachError;
use ipc_shm::ring::{Peer, PopError, PopWaitError, PushError, PushWaitError, RingError, RoleError};

use crate::model;
use crate::rings::{self, How, Message, TestRing, message};

/// Makes a module of tests for each kind of ring.
macro_rules! all_rings {
    ($($module:ident: $ring:ty),* $(,)?) => {$(
        mod $module {
            use super::list;

            $crate::list::all_rings!(@ $ring; capacities impossible_capacities slots_of_every_size
                starts wraps_around room_is_seen_at_once drops nobody_has_come_yet one_of_each
                goes_on_where_the_last_one_stopped slices_are_prefixes empty_slices
                slices_across_the_wrap in_place threads waits another_type_is_refused hostile_words
                hostile_roles model_with_fixed_seeds model_with_the_corpus planted_bugs_are_found);
        }
    )*};
    (@ $ring:ty; $($test:ident)*) => {$(
        #[test]
        fn $test() {
            ipc_testkit::watchdog::watch();
            crate::rings::at_every_age(list::$test::<$ring>);
        }
    )*};
}
pub(crate) use all_rings;

/// The same for rings that several have an end of; what their words may be is another subject.
macro_rules! all_but_ends {
    ($($module:ident: $ring:ty),* $(,)?) => {$(
        mod $module {
            use super::list;

            $crate::list::all_rings!(@ $ring; capacities impossible_capacities slots_of_every_size
                starts wraps_around room_is_seen_at_once drops nobody_has_come_yet
                goes_on_where_the_last_one_stopped slices_are_prefixes empty_slices
                slices_across_the_wrap in_place threads waits another_type_is_refused
                model_with_fixed_seeds model_with_the_corpus planted_bugs_are_found);
        }
    )*};
}
pub(crate) use all_but_ends;

/// The same for rings whose memory does not say what the messages are, so that none is of another type; and in which
/// a changed position may lead into the middle of a record, for which they have tests of their own.
macro_rules! all_but_types {
    ($($module:ident: $ring:ty),* $(,)?) => {$(
        mod $module {
            use super::list;

            $crate::list::all_rings!(@ $ring; capacities impossible_capacities slots_of_every_size
                starts wraps_around room_is_seen_at_once drops nobody_has_come_yet one_of_each
                goes_on_where_the_last_one_stopped slices_are_prefixes empty_slices
                slices_across_the_wrap threads waits hostile_roles model_with_fixed_seeds
                model_with_the_corpus planted_bugs_are_found);
        }
    )*};
}
pub(crate) use all_but_types;

/// A small number of rounds under Miri, and where it is the first laps that matter.
fn rounds(usual: u64) -> u64 {
    match (cfg!(miri), rings::is_old()) {
        (true, _) => usual.min(50),
        (_, true) => usual / 10,
        _ => usual,
    }
}

/// The capacities that this ring allows, of the usual ones.
fn allowed<R: TestRing>() -> impl Iterator<Item = usize> {
    [1, 2, 3, 4, 7, 64].into_iter().filter(|&capacity| R::refusal(capacity).is_none())
}

/// An allowed capacity near to `capacity`.
fn near<R: TestRing>(capacity: usize) -> usize {
    if R::refusal(capacity).is_none() { capacity } else { capacity.next_power_of_two() }
}

fn ends<R: TestRing, T: Message>(capacity: usize) -> (R::Producer<T>, R::Consumer<T>) {
    let ring = R::create(capacity).unwrap();
    (R::producer(&ring).unwrap(), R::consumer(&ring).unwrap())
}

fn push<R: TestRing, T: Message>(producer: &mut R::Producer<T>, number: u64) {
    assert_eq!(R::push(producer, message::<T>(number)), Ok(()), "{number}");
}

#[track_caller]
fn pop<R: TestRing, T: Message>(consumer: &mut R::Consumer<T>, number: u64) {
    assert_eq!(R::pop(consumer), Ok(message::<T>(number)), "{number}");
}

/// Fills a ring to the brim and drains it, three times; a large one once.
fn fill_and_drain<R: TestRing, T: Message>(ring: &R::Ring<T>) {
    let (mut producer, mut consumer) = (R::producer(ring).unwrap(), R::consumer(ring).unwrap());
    let capacity = R::capacity(ring) as u64;
    for lap in 0..if capacity > 1000 { 1 } else { 3 } {
        let numbers = lap * capacity..(lap + 1) * capacity;
        numbers.clone().for_each(|number| push::<R, T>(&mut producer, number));
        let more = message::<T>(u64::MAX);
        assert_eq!(R::push(&mut producer, more), Err(PushError::Full(more)));
        numbers.for_each(|number| pop::<R, T>(&mut consumer, number));
        assert_eq!(R::pop(&mut consumer), Err(PopError::Empty));
    }
}

pub(crate) fn capacities<R: TestRing>() {
    let (mut filled, mut refused) = (Vec::new(), Vec::new());
    for capacity in [0, 1, 2, 3, 4, 7, 64, 1 << 20] {
        if cfg!(miri) && capacity > 64 {
            continue;
        }
        match (R::refusal(capacity), R::create::<u64>(capacity)) {
            (None, Ok(ring)) => {
                assert_eq!(R::capacity(&ring), capacity);
                fill_and_drain::<R, u64>(&ring);
                filled.push(capacity);
            }
            (Some(expected), Err(found)) => {
                assert_eq!(found, expected);
                assert_eq!(R::boxed_at::<u64>(capacity, 0).err(), Some(expected));
                refused.push(capacity);
            }
            (expected, found) => panic!("{capacity}: {:?}, expected {expected:?}", found.err()),
        }
    }
    println!("{}: filled {filled:?}, refused {refused:?}", R::NAME);
    let all = if cfg!(miri) { &[1, 2][..] } else { &[1, 2, 1 << 20] };
    assert!(all.iter().all(|capacity| filled.contains(capacity)), "{filled:?}");
    assert!(filled.contains(&3) || refused.contains(&3) && refused.contains(&0), "{refused:?}");
    assert!(allowed::<R>().count() >= 4);
}

pub(crate) fn impossible_capacities<R: TestRing>() {
    for capacity in [1 << 63, 1 << 59, 1 << 48] {
        let error = R::create::<u64>(capacity).err().expect("there is not so much memory");
        assert!(matches!(error, RingError::Plan(_) | RingError::Region(_)), "{error}");
        assert_eq!(R::boxed_at::<u64>(capacity, 0).err(), Some(RingError::OutOfMemory));
    }
}

pub(crate) fn slots_of_every_size<R: TestRing>() {
    fn carries<R: TestRing, T: Message>() -> usize {
        fill_and_drain::<R, T>(&R::create(2).unwrap());
        size_of::<T>()
    }
    let sizes = [
        carries::<R, u8>(),
        carries::<R, u16>(),
        carries::<R, [u8; 3]>(),
        carries::<R, f32>(),
        carries::<R, [u8; 7]>(),
        carries::<R, u128>(),
        carries::<R, [u64; 7]>(),
        carries::<R, [u64; 8]>(),
        carries::<R, [u64; 512]>(),
        carries::<R, [[u64; 16]; 512]>(),
    ];
    println!("{}: slots of {sizes:?} bytes", R::NAME);
    assert_eq!((sizes[0], sizes[sizes.len() - 1]), (1, 1 << 16));
}

/// The numbers of the ring wrap around: 32 bits, 63 bits, 64 bits.
pub(crate) fn starts<R: TestRing>() {
    for capacity in allowed::<R>() {
        for start in rings::starts(capacity) {
            let ring = R::boxed_at::<u64>(capacity, start).unwrap();
            for _ in 0..3 {
                // Both ends attach anew each time.
                fill_and_drain::<R, u64>(&ring);
            }
        }
    }
    println!("{}: starts at {:x?} with capacity 4", R::NAME, rings::starts(4));
}

pub(crate) fn wraps_around<R: TestRing>() {
    let (mut producer, mut consumer) = ends::<R, u32>(near::<R>(5));
    for i in 0..rounds(50_000) {
        push::<R, u32>(&mut producer, 2 * i);
        push::<R, u32>(&mut producer, 2 * i + 1);
        pop::<R, u32>(&mut consumer, 2 * i);
        pop::<R, u32>(&mut consumer, 2 * i + 1);
    }
}

pub(crate) fn room_is_seen_at_once<R: TestRing>() {
    let (mut producer, mut consumer) = ends::<R, u64>(4);
    (0..4).for_each(|i| push::<R, u64>(&mut producer, i));
    for i in 4..20 {
        assert!(R::push(&mut producer, message::<u64>(i)).is_err());
        pop::<R, u64>(&mut consumer, i - 4);
        push::<R, u64>(&mut producer, i);
    }
}

pub(crate) fn drops<R: TestRing>() {
    let ring = R::create::<u64>(2).unwrap();
    let (producer, mut consumer) = (R::producer(&ring).unwrap(), R::consumer(&ring).unwrap());
    drop(producer);
    assert_eq!(R::pop(&mut consumer), Err(PopError::Disconnected));
    assert_eq!(R::pop_slice(&mut consumer, &mut [0; 2]), Err(PopError::Disconnected));
    // A new producer connects it again.
    let mut producer = R::producer(&ring).unwrap();
    assert_eq!(R::pop(&mut consumer), Err(PopError::Empty));
    push::<R, u64>(&mut producer, 1);
    drop(ring);
    drop(consumer);
    push::<R, u64>(&mut producer, 2);
    assert_eq!(R::push(&mut producer, 3), Err(PushError::Disconnected(3)));
    assert_eq!(R::push_slice(&mut producer, &[3]), Err(PushError::Disconnected(())));
    assert_eq!(R::peer_of_producer(&producer), Peer::Closed);
}

pub(crate) fn nobody_has_come_yet<R: TestRing>() {
    let ring = R::boxed_at::<u64>(1, 0).unwrap();
    let mut producer = R::producer(&ring).unwrap();
    push::<R, u64>(&mut producer, 1);
    for _ in 0..3000 {
        assert_eq!(R::push(&mut producer, 2), Err(PushError::Full(2)));
    }
    assert_eq!(R::peer_of_producer(&producer), Peer::Absent);
}

pub(crate) fn one_of_each<R: TestRing>() {
    let ring = R::create::<u64>(2).unwrap();
    let owner = ProcessId::current().unwrap();
    let producer = R::producer(&ring).unwrap();
    assert_eq!(R::producer(&ring).err(), Some(RoleError::Taken { owner }));
    let consumer = R::consumer(&ring).unwrap();
    assert_eq!(R::consumer(&ring).err(), Some(RoleError::Taken { owner }));
    assert_eq!(R::peer_of_consumer(&consumer), Peer::Alive(owner));
    drop(producer);
    drop(R::producer(&ring).unwrap());
    drop(consumer);
    drop(R::consumer(&ring).unwrap());
}

/// Each end is another handle, of another mapping, for each message.
pub(crate) fn goes_on_where_the_last_one_stopped<R: TestRing>() {
    let ring = R::create::<u64>(near::<R>(3)).unwrap();
    for i in 0..30 {
        let again = R::from_fd(R::fd(&ring)).unwrap();
        let mut producer = R::producer(&again).unwrap();
        push::<R, u64>(&mut producer, 2 * i);
        push::<R, u64>(&mut producer, 2 * i + 1);
        drop(producer);
        pop::<R, u64>(&mut R::consumer(&again).unwrap(), 2 * i);
        pop::<R, u64>(&mut R::consumer(&ring).unwrap(), 2 * i + 1);
    }
}

/// K08: what a slice does is what as many single calls do, up to the first that would fail.
pub(crate) fn slices_are_prefixes<R: TestRing>() {
    for capacity in allowed::<R>() {
        for turned in 0..capacity.min(5) as u64 {
            for inside in 0..=capacity.min(9) as u64 {
                for length in [1, 7, capacity.saturating_sub(1).max(1), capacity, capacity + 1] {
                    slice_round::<R>(capacity, turned, inside, length);
                }
            }
        }
    }
}

fn slice_round<R: TestRing>(capacity: usize, turned: u64, inside: u64, length: usize) {
    let ring = R::boxed_at::<u32>(capacity, 0).unwrap();
    let (mut producer, mut consumer) = (R::producer(&ring).unwrap(), R::consumer(&ring).unwrap());
    for number in 0..turned + inside {
        push::<R, u32>(&mut producer, number);
        if number < turned {
            pop::<R, u32>(&mut consumer, number);
        }
    }
    let first = turned + inside;
    let numbers = first..first + length as u64;
    let messages: Vec<u32> = numbers.map(message).collect();
    let room = capacity - inside as usize;
    let expected = if room == 0 { Err(PushError::Full(())) } else { Ok(length.min(room)) };
    assert_eq!(R::push_slice(&mut producer, &messages), expected);
    let last = first + length.min(room) as u64;
    let mut next = turned;
    while next < last {
        let mut out = vec![0; length];
        let found = R::pop_slice(&mut consumer, &mut out).unwrap();
        assert_eq!(found, length.min((last - next) as usize));
        for (i, &one) in out.iter().enumerate() {
            let expected = if i < found { message(next + i as u64) } else { 0 };
            assert_eq!(one, expected, "message {i} of {found}");
        }
        next += found as u64;
    }
    assert_eq!(R::pop_slice(&mut consumer, &mut [0]), Err(PopError::Empty));
}

pub(crate) fn empty_slices<R: TestRing>() {
    let (mut producer, mut consumer) = ends::<R, u64>(1);
    assert_eq!(R::pop_slice(&mut consumer, &mut []), Ok(0));
    push::<R, u64>(&mut producer, 1);
    assert_eq!(R::push_slice(&mut producer, &[]), Ok(0));
    pop::<R, u64>(&mut consumer, 1);
}

pub(crate) fn slices_across_the_wrap<R: TestRing>() {
    for start in rings::starts(8) {
        let ring = R::boxed_at::<[u64; 3]>(8, start).unwrap();
        let (mut producer, mut consumer) =
            (R::producer(&ring).unwrap(), R::consumer(&ring).unwrap());
        let mut next = 0;
        for round in 0..200 {
            let length = 1 + round % 8;
            let messages: Vec<_> = (next..next + length).map(message::<[u64; 3]>).collect();
            assert_eq!(R::push_slice(&mut producer, &messages), Ok(messages.len()));
            let mut out = vec![[0; 3]; messages.len()];
            assert_eq!(R::pop_slice(&mut consumer, &mut out), Ok(messages.len()));
            assert_eq!(out, messages);
            next += length;
        }
    }
}

/// What is not committed is nothing, and what is not released comes again.
pub(crate) fn in_place<R: TestRing>() {
    let (mut producer, mut consumer) = ends::<R, u16>(8);
    let messages = |first: u64| (first..first + 5).map(message::<u16>).collect::<Vec<_>>();
    if R::write_in_place(&mut producer, &messages(0), 0).is_none() {
        assert!(R::read_in_place(&mut consumer, 1, 0).is_none(), "both or neither");
        return;
    }
    assert_eq!(R::read_in_place(&mut consumer, 8, 8), Some(Err(PopError::Empty)));
    for first in (0..400).step_by(5) {
        assert_eq!(R::write_in_place(&mut producer, &messages(first), 3), Some(Ok(5)));
        assert_eq!(R::write_in_place(&mut producer, &messages(first + 3)[..2], 2), Some(Ok(2)));
        let all = messages(first);
        assert_eq!(R::read_in_place(&mut consumer, 8, 0), Some(Ok(all.clone())));
        assert_eq!(R::read_in_place(&mut consumer, 2, 1), Some(Ok(all[..2].to_vec())));
        assert_eq!(R::read_in_place(&mut consumer, 100, 4), Some(Ok(all[1..].to_vec())));
    }
    assert_eq!(R::write_in_place(&mut producer, &[7; 20], 20), Some(Ok(8)));
    assert_eq!(R::write_in_place(&mut producer, &[7], 1), Some(Err(PushError::Full(()))));
}

pub(crate) fn threads<R: TestRing>() {
    for capacity in [1, 2, 64] {
        stream::<R>(capacity, rounds(10_000));
    }
}

/// One thread sends to another, and both wait in every way there is; then each is told that the other is gone.
pub(crate) fn waits<R: TestRing>() {
    let ways = [
        How::Wait,
        How::Timeout(Duration::MAX),
        How::Deadline(Deadline::FAR),
        How::Interruptible(Deadline::FAR),
        How::Before(Deadline::FAR),
    ];
    let ring = R::create::<[u64; 7]>(near::<R>(3)).unwrap();
    let (mut producer, mut consumer) = (R::producer(&ring).unwrap(), R::consumer(&ring).unwrap());
    let count = rounds(5_000);
    let receiver = thread::spawn(move || {
        for (number, how) in (0..count).zip(ways.iter().cycle()) {
            assert_eq!(R::pop_by(&mut consumer, *how), Ok(message(number)), "{number}, {how:?}");
        }
        for how in ways {
            let gone = R::pop_by(&mut consumer, how);
            assert_eq!(gone, Err(PopWaitError::Disconnected), "{how:?}");
        }
    });
    for (number, how) in (0..count).zip(ways.iter().rev().cycle()) {
        assert_eq!(R::push_by(&mut producer, message(number), *how), Ok(()), "{number}, {how:?}");
    }
    drop(producer);
    receiver.join().unwrap();
    let mut producer = R::producer(&ring).unwrap();
    while R::push(&mut producer, message(0)).is_ok() {}
    for how in ways {
        let gone = R::push_by(&mut producer, message(1), how);
        assert_eq!(gone, Err(PushWaitError::Disconnected(message(1))), "{how:?}");
    }
}

/// One thread sends `count` messages to another: one by one, by slices, and in place.
fn stream<R: TestRing>(capacity: usize, count: u64) {
    let ring = R::create::<[u64; 7]>(capacity).unwrap();
    let (mut producer, mut consumer) = (R::producer(&ring).unwrap(), R::consumer(&ring).unwrap());
    let receiver = thread::spawn(move || {
        let (mut expected, mut turn) = (0, 0);
        let mut out = [[0; 7]; 9];
        loop {
            turn += 1;
            let mut in_place = None;
            let found = match turn % 3 {
                0 => R::pop(&mut consumer).map(|one| {
                    out[0] = one;
                    1
                }),
                1 => R::pop_slice(&mut consumer, &mut out),
                _ => {
                    in_place = R::read_in_place(&mut consumer, 5, 5);
                    match &in_place {
                        Some(seen) => seen.as_ref().map(Vec::len).map_err(|error| *error),
                        None => Err(PopError::Empty),
                    }
                }
            };
            match found {
                Ok(found) => {
                    let seen = in_place.and_then(Result::ok);
                    for one in &seen.as_deref().unwrap_or(&out)[..found] {
                        assert_eq!(*one, message::<[u64; 7]>(expected), "torn, lost or old");
                        expected += 1;
                    }
                }
                Err(PopError::Empty) => thread::yield_now(),
                Err(PopError::Disconnected) => return expected,
                Err(PopError::Corrupt) => panic!("corrupt"),
            }
        }
    });
    let (mut next, mut turn) = (0, 0);
    while next < count {
        turn += 1;
        let length = (count - next).min(1 + turn % 7);
        let messages: Vec<_> = (next..next + length).map(message::<[u64; 7]>).collect();
        let pushed = match turn % 3 {
            0 => R::push(&mut producer, messages[0]).map(|()| 1).map_err(|_| ()),
            1 => R::push_slice(&mut producer, &messages).map_err(drop),
            _ => match R::write_in_place(&mut producer, &messages, usize::MAX) {
                Some(pushed) => pushed.map_err(drop),
                None => Err(()),
            },
        };
        match pushed {
            Ok(pushed) => next += pushed as u64,
            Err(()) => thread::yield_now(),
        }
    }
    drop(producer);
    assert_eq!(receiver.join().unwrap(), count);
}

pub(crate) fn another_type_is_refused<R: TestRing>() {
    let ring = R::create::<u64>(4).unwrap();
    let error = R::from_fd::<[u64; 2]>(R::fd(&ring)).err();
    assert!(matches!(error, Some(AttachError::Layout { .. })), "{error:?}");
    let error = R::from_fd::<i64>(R::fd(&ring)).err();
    assert!(matches!(error, Some(AttachError::Layout { .. })), "{error:?}");
    assert!(R::from_fd::<u64>(R::fd(&ring)).is_ok());
}

struct Words(File);

impl Words {
    fn of<R: TestRing>(ring: &R::Ring<u64>) -> Self {
        Self(File::from(R::fd(ring)))
    }

    fn read(&self, offset: u64) -> u64 {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, offset).unwrap();
        u64::from_ne_bytes(word)
    }

    fn write(&self, offset: u64, word: u64) {
        self.0.write_all_at(&word.to_ne_bytes(), offset).unwrap();
    }
}

/// H04, H05, H07, H09: a word that steers the ring becomes anything, while ends are attached and before. Nothing
/// panics or hangs, no more comes out than the ring holds, what is far from right is told, and what was told once is
/// told for ever.
pub(crate) fn hostile_words<R: TestRing>() {
    let (mut tried, mut told) = (0, 0);
    for offset in R::words::<u64>(HOSTILE) {
        for inside in 0..=HOSTILE as u64 {
            for change in 0..14 {
                // An end that moves its own word puts it right before the other looks.
                let (first, near) = hostile_word::<R>(offset, inside, change, true);
                let (second, _) = hostile_word::<R>(offset, inside, change, false);
                tried += 1;
                told += u32::from(first || second);
                let far = !near && change != ZERO;
                assert!(first || second || !far, "{offset}, {inside} inside, {change}: not told");
            }
        }
    }
    println!("{}: {tried} changes of words, {told} told", R::NAME);
    assert!(tried >= 14 * 5 * 2 && told >= tried / 14 * 5 && told < tried, "{told} of {tried}");
}

const HOSTILE: usize = 4;

/// The change that makes the word 0, as a hole in the file does.
const ZERO: u64 = 10;

/// Whether one of the ends tells that the word at `offset` is wrong, and whether it is near to what was right.
fn hostile_word<R: TestRing>(
    offset: u64,
    inside: u64,
    change: u64,
    pops_first: bool,
) -> (bool, bool) {
    let ring = R::create::<u64>(HOSTILE).unwrap();
    let (mut producer, mut consumer) = (R::producer(&ring).unwrap(), R::consumer(&ring).unwrap());
    for number in 0..6 {
        push::<R, u64>(&mut producer, number);
        pop::<R, u64>(&mut consumer, number);
    }
    (0..inside).for_each(|number| push::<R, u64>(&mut producer, number));
    let words = Words::of::<R>(&ring);
    let right = words.read(offset);
    let wrong = match change {
        0..=7 => right.wrapping_add(change).wrapping_sub(4),
        8 => right.wrapping_add(1 << 32),
        9 => right ^ (1 << 63),
        ZERO => 0,
        11 => u64::MAX,
        12 => right.wrapping_add(HOSTILE as u64 * 1000),
        _ => right.wrapping_sub(1 << 40),
    };
    words.write(offset, wrong);
    let mut pops = || {
        let error = (0..=2 * HOSTILE).find_map(|_| R::pop(&mut consumer).err());
        error.expect("an endless ring") == PopError::Corrupt
    };
    let mut pushes = || {
        let error = (0..=2 * HOSTILE).find_map(|_| R::push(&mut producer, 7).err());
        error.expect("a bottomless ring") == PushError::Corrupt(7)
    };
    let (consumer_told, producer_told) = if pops_first {
        let told = pops();
        (told, pushes())
    } else {
        let told = pushes();
        (pops(), told)
    };
    words.write(offset, right);
    if consumer_told {
        assert_eq!(R::pop(&mut consumer), Err(PopError::Corrupt), "forgotten");
        assert_eq!(R::pop_slice(&mut consumer, &mut [0; 9]), Err(PopError::Corrupt));
    }
    if producer_told {
        assert_eq!(R::push(&mut producer, 7), Err(PushError::Corrupt(7)), "forgotten");
        assert_eq!(R::push_slice(&mut producer, &[7; 9]), Err(PushError::Corrupt(())));
    }
    drop((producer, consumer));
    // Whoever attaches now is refused, or finds a ring.
    words.write(offset, wrong);
    match (R::producer(&ring), R::consumer(&ring)) {
        (Ok(_), Ok(mut consumer)) => {
            let left = core::iter::from_fn(|| R::pop(&mut consumer).ok()).take(100);
            assert!(left.count() <= HOSTILE, "an endless ring");
        }
        (producer, consumer) => {
            for error in [producer.err(), consumer.err()].into_iter().flatten() {
                assert_eq!(error, RoleError::Corrupt);
            }
        }
    }
    (consumer_told || producer_told, right.wrapping_sub(wrong).wrapping_add(8) <= 16)
}

pub(crate) fn hostile_roles<R: TestRing>() {
    const ROLES: u64 = 4096;
    let ring = R::create::<u64>(2).unwrap();
    Words::of::<R>(&ring).write(ROLES, u64::MAX);
    assert_eq!(R::producer(&ring).err(), Some(RoleError::Corrupt));
    let mut consumer = R::consumer(&ring).unwrap();
    for _ in 0..5000 {
        assert_eq!(R::pop(&mut consumer), Err(PopError::Empty));
    }
}

/// 2000 bytes of random operations.
fn operations(seed: u64) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
    let mut byte = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 32) as u8
    };
    (0..2000).map(|_| byte()).collect()
}

pub(crate) fn model_with_fixed_seeds<R: TestRing>() {
    let mut covered = model::Covered::default();
    for seed in 1..=if cfg!(miri) { 2 } else { 100 } {
        let run = model::run::<R>(&operations(seed));
        covered += run.unwrap_or_else(|error| panic!("{}, seed {seed}: {error}", R::NAME));
    }
    println!("{}: {covered:?}", R::NAME);
    covered.assert_enough();
}

pub(crate) fn model_with_the_corpus<R: TestRing>() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/rings");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let run = model::run::<R>(&std::fs::read(&path).unwrap());
        run.unwrap_or_else(|error| panic!("{}, {}: {error}", R::NAME, path.display()));
        files += 1;
    }
    assert!(files >= 8, "the corpus is committed");
}

pub(crate) fn planted_bugs_are_found<R: TestRing>() {
    for bug in [model::Bug::ForgetsARoundTrip, model::Bug::ForgetsOneOfFive] {
        let found = (1..=100).any(|seed| model::run_with::<R>(&operations(seed), bug).is_err());
        assert!(found, "{}: {bug:?}", R::NAME);
    }
}
