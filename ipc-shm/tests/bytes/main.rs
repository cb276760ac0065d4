//! The ring of bytes in one process.

extern crate alloc;

mod damage;
#[allow(unreachable_pub, reason = "shared with the fuzz target")]
mod model;

use ipc_core::identity::ProcessId;
use ipc_shm::ring::bytes::{
    Batch, Consumer, PopError, Producer, PushError, Ring, RingPlace, TooLong,
};
use ipc_shm::ring::{Peer, RingError, RoleError};
use ipc_shm::{Plan, Region};

/// A page is where contiguous rings begin.
fn page() -> usize {
    rustix::param::page_size()
}

/// Rings of `bytes` of both kinds: one whose records are contiguous, if it is large enough, and one that splits them.
fn both(bytes: usize) -> [Ring<'static>; 2] {
    [Ring::create(bytes).unwrap(), Ring::boxed(bytes).unwrap()]
}

fn ends(ring: &Ring<'static>) -> (Producer<'static>, Consumer<'static>) {
    (ring.producer().unwrap(), ring.consumer().unwrap())
}

/// `len` bytes that follow from the number.
fn bytes(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (number.wrapping_mul(31) + i * 7) as u8).collect()
}

#[test]
fn capacity() {
    for (bytes, max) in
        [(8, 0), (16, 8), (64, 56), (1 << 12, (1 << 12) - 8), (1 << 16, (1 << 16) - 8)]
    {
        for ring in both(bytes) {
            let (producer, consumer) = ends(&ring);
            assert_eq!(
                (ring.capacity(), producer.capacity(), consumer.capacity()),
                (bytes, bytes, bytes)
            );
            assert_eq!(
                (ring.max_record(), producer.max_record(), consumer.max_record()),
                (max, max, max)
            );
        }
    }
}

#[test]
fn capacities_that_cannot_be() {
    for (bytes, expected) in [
        (0, RingError::ZeroCapacity),
        (1, RingError::NotAPowerOfTwo { capacity: 1 }),
        (4, RingError::NotAPowerOfTwo { capacity: 4 }),
        (12, RingError::NotAPowerOfTwo { capacity: 12 }),
        (24, RingError::NotAPowerOfTwo { capacity: 24 }),
        (4097, RingError::NotAPowerOfTwo { capacity: 4097 }),
    ] {
        assert_eq!(Ring::create(bytes).unwrap_err(), expected);
        assert_eq!(Ring::boxed(bytes).unwrap_err(), expected);
        assert_eq!(RingPlace::plan(&mut Plan::new(), bytes).unwrap_err(), expected);
    }
    let error = Ring::create(1 << 62).unwrap_err();
    assert!(matches!(error, RingError::Plan(_) | RingError::Region(_)), "{error}");
    assert_eq!(Ring::boxed(1 << 62).unwrap_err(), RingError::OutOfMemory);
}

/// Every length at every place of the ring, so that each record wraps in every way.
#[test]
fn every_length_at_every_place() {
    for ring in both(128).into_iter().chain([Ring::create(page()).unwrap()]) {
        let (mut producer, mut consumer) = ends(&ring);
        let lengths = if cfg!(miri) { 0..20 } else { 0..ring.max_record().min(200) + 1 };
        for (number, len) in lengths.flat_map(|len| (0..17).map(move |turn| (turn, len))) {
            producer.push(number as u32, &bytes(number, len)).unwrap();
            let mut buffer = vec![0; len];
            assert_eq!(consumer.pop(&mut buffer), Ok((number as u32, len)));
            assert_eq!(buffer, bytes(number, len));
            if len % 3 == 0 {
                // Else the ring would always be empty at multiples of the length.
                producer.push(0, &[]).unwrap();
                assert_eq!(consumer.pop(&mut []), Ok((0, 0)));
            }
        }
    }
}

#[test]
fn order_is_kept_and_full_is_exact() {
    for ring in both(256) {
        let (mut producer, mut consumer) = ends(&ring);
        for turn in 0..50 {
            let mut pushed = Vec::new();
            let mut free = 256;
            loop {
                let len = (turn * 13 + pushed.len() * 5) % 40;
                let needed = 8 + len.next_multiple_of(8);
                let record = bytes(turn + pushed.len(), len);
                if needed > free {
                    assert_eq!(producer.push(1, &record), Err(PushError::Full));
                    break;
                }
                producer.push(pushed.len() as u32, &record).unwrap();
                free -= needed;
                pushed.push(record);
            }
            for (number, record) in pushed.into_iter().enumerate() {
                assert_eq!(consumer.pop_vec(), Ok((number as u32, record)));
            }
            assert_eq!(consumer.pop_vec(), Err(PopError::Empty));
        }
    }
}

#[test]
fn the_longest_record_fills_an_empty_ring() {
    for bytes_ in [8, 16, 64, page(), 16 * page()] {
        for ring in both(bytes_) {
            let (mut producer, mut consumer) = ends(&ring);
            let max = ring.max_record();
            for turn in 0..5 {
                producer.push(turn, &bytes(7, max)).unwrap();
                assert_eq!(producer.push(9, &[]), Err(PushError::Full));
                assert_eq!(consumer.pop_vec(), Ok((turn, bytes(7, max))));
                // One word on, so that the next one wraps.
                producer.push(turn, &[]).unwrap();
                assert_eq!(consumer.pop(&mut []), Ok((turn, 0)));
            }
            let too_long = PushError::TooLong { len: max + 1, max };
            assert_eq!(producer.push(0, &bytes(0, max + 1)), Err(too_long));
            assert_eq!(producer.push_vectored(0, &[&bytes(0, max), &[1]]), Err(too_long));
            assert_eq!(producer.reserve(max + 1).map(drop), Err(too_long));
            let huge = PushError::TooLong { len: usize::MAX, max };
            assert_eq!(producer.reserve(usize::MAX).map(drop), Err(huge));
            assert_eq!(consumer.pop_vec(), Err(PopError::Empty));
        }
    }
}

#[test]
fn vectored() {
    for ring in both(128) {
        let (mut producer, mut consumer) = ends(&ring);
        for turn in 0..40 {
            let parts: [&[u8]; 4] = [b"one", b"", b" and two, which is longer,", b" and three"];
            producer.push_vectored(turn, &parts).unwrap();
            assert_eq!(consumer.pop_vec(), Ok((turn, parts.concat())));
            producer.push_vectored(turn, &[]).unwrap();
            assert_eq!(consumer.pop_vec(), Ok((turn, vec![])));
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_leaves_the_record() {
    for ring in both(64) {
        let (mut producer, mut consumer) = ends(&ring);
        for turn in 0..20 {
            producer.push(turn, b"twelve bytes").unwrap();
            let mut small = [7; 11];
            for _ in 0..3 {
                assert_eq!(consumer.pop(&mut small), Err(PopError::BufferTooSmall { len: 12 }));
            }
            assert_eq!(small, [7; 11], "nothing was written");
            let mut large = [7; 14];
            assert_eq!(consumer.pop(&mut large), Ok((turn, 12)));
            assert_eq!(&large, b"twelve bytes\x07\x07");
        }
    }
}

#[test]
fn reserved_and_written_in_place() {
    for ring in both(64).into_iter().chain([Ring::create(page()).unwrap()]) {
        let (mut producer, mut consumer) = ends(&ring);
        for turn in 0..600_u32 {
            let mut room = producer.reserve(20).unwrap();
            let (first, second) = room.as_mut_slices();
            assert_eq!(first.len() + second.len(), 20);
            assert!(!ring.is_contiguous() || second.is_empty());
            let len = turn as usize % 21;
            let record = bytes(turn as usize, 20);
            let (a, b) = record.split_at(first.len());
            first.copy_from_slice(a);
            second.copy_from_slice(b);
            room.advance(len).unwrap();
            room.commit(turn);
            assert_eq!(consumer.pop_vec(), Ok((turn, record[..len].to_vec())));
        }
    }
}

#[test]
fn written_piece_by_piece() {
    for ring in both(64) {
        let (mut producer, mut consumer) = ends(&ring);
        for turn in 0..40 {
            let mut room = producer.reserve(12).unwrap();
            room.write(b"turn ").unwrap();
            core::fmt::Write::write_fmt(&mut room, format_args!("{turn}!")).unwrap();
            let text = format!("turn {turn}!");
            assert_eq!((room.len(), room.remaining()), (text.len(), 12 - text.len()));
            let (len, too_much) = (room.remaining() + 1, TooLong { len: 13, max: 12 });
            assert_eq!(room.write(&[0; 12][..len]), Err(too_much));
            assert_eq!(room.advance(len), Err(too_much));
            assert_eq!(room.advance(usize::MAX), Err(TooLong { len: usize::MAX, max: 12 }));
            assert!(core::fmt::Write::write_str(&mut room, "a longer text").is_err());
            assert_eq!(room.len(), text.len(), "nothing of what was too long");
            room.commit(turn);
            assert_eq!(consumer.pop_vec(), Ok((turn, text.into_bytes())));
        }
    }
}

#[test]
fn a_reservation_is_a_writer_of_std() {
    let (mut producer, mut consumer) = ends(&Ring::boxed(64).unwrap());
    let mut room = producer.reserve(8).unwrap();
    std::io::Write::write_all(&mut room, b"five ").unwrap();
    let error = std::io::Write::write_all(&mut room, b"and more").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    room.commit(1);
    assert_eq!(consumer.pop_vec(), Ok((1, b"five and".to_vec())), "what fits, as a slice takes it");
}

#[test]
fn a_reservation_that_is_dropped_never_was() {
    for ring in both(64) {
        let (mut producer, mut consumer) = ends(&ring);
        let mut room = producer.reserve(50).unwrap();
        room.write(&[1; 50]).unwrap();
        assert_eq!(consumer.pop_vec(), Err(PopError::Empty));
        producer.push(2, b"next").unwrap();
        assert_eq!(consumer.pop_vec(), Ok((2, b"next".to_vec())));
    }
}

#[test]
fn peeked_until_released() {
    for ring in both(64).into_iter().chain([Ring::create(page()).unwrap()]) {
        let (mut producer, mut consumer) = ends(&ring);
        for turn in 0..600_usize {
            producer.push(turn as u32, &bytes(turn, 19)).unwrap();
            for _ in 0..2 {
                let peek = consumer.peek().unwrap();
                let record = peek.record();
                assert_eq!(
                    (record.tag(), record.len(), record.is_empty()),
                    (turn as u32, 19, false)
                );
                let (first, second) = record.as_slices();
                assert!(!ring.is_contiguous() || second.is_empty());
                assert_eq!([first, second].concat(), bytes(turn, 19));
                assert_eq!(record.as_slice().is_some(), second.is_empty());
            }
            consumer.peek().unwrap().release();
            assert_eq!(consumer.peek().map(drop), Err(PopError::Empty));
        }
    }
}

/// The records of a batch, and how many the producer can push before and after its release.
#[test]
fn a_batch_is_released_by_one_store() {
    for ring in both(128) {
        let (mut producer, mut consumer) = ends(&ring);
        for turn in 0..30 {
            for number in 0..8 {
                producer.push(number, &bytes(turn, 8)).unwrap();
            }
            let mut batch = consumer.batch().unwrap();
            for number in 0..5 {
                let record = batch.next_record().unwrap().unwrap();
                assert_eq!(record.tag(), number);
                assert_eq!(record.to_vec(), bytes(turn, 8));
                assert_eq!(producer.push(9, &[]), Err(PushError::Full), "nothing is released yet");
            }
            assert_eq!(batch.count(), 5);
            batch.release();
            // What was not read of it comes again.
            let mut batch = consumer.batch().unwrap();
            assert_eq!(batch.next_record().unwrap().unwrap().tag(), 5);
            for number in 5..8 {
                assert_eq!(consumer.pop_vec(), Ok((number, bytes(turn, 8))));
            }
            assert_eq!(consumer.batch().map(drop), Err(PopError::Empty));
        }
    }
}

#[test]
fn a_batch_ends_with_what_was_there_when_it_began() {
    let ring = Ring::create(128).unwrap();
    let (mut producer, mut consumer) = ends(&ring);
    producer.push(1, &[]).unwrap();
    let mut batch = consumer.batch().unwrap();
    producer.push(2, &[]).unwrap();
    let tags = |batch: &mut Batch<'_, '_>| {
        core::iter::from_fn(|| batch.next_record().unwrap().map(|record| record.tag()))
            .collect::<Vec<_>>()
    };
    assert_eq!(tags(&mut batch), [1]);
    batch.release();
    assert_eq!(tags(&mut consumer.batch().unwrap()), [2]);
}

#[test]
fn contiguous_where_pages_allow_it() {
    let page = page();
    for (bytes, expected) in [(64, false), (page / 2, false), (page, true), (4 * page, true)] {
        let ring = Ring::create(bytes).unwrap();
        let fd = ring.as_fd().unwrap().try_clone_to_owned().unwrap();
        let again = Ring::from_fd(fd).unwrap();
        assert_eq!((ring.is_contiguous(), again.is_contiguous()), (expected, expected), "{bytes}");
        assert_eq!(ring.producer().unwrap().is_contiguous(), expected);
        assert_eq!(ring.consumer().unwrap().is_contiguous(), expected);
        assert!(!Ring::boxed(bytes).unwrap().is_contiguous());
    }
    let mut plan = Plan::new();
    let place = RingPlace::plan(&mut plan, page).unwrap();
    let region = Region::planned(&plan).unwrap();
    let ring = Ring::in_region(&region, place).unwrap();
    assert!(!ring.is_contiguous());
    ring.producer().unwrap().push(1, b"there").unwrap();
    assert_eq!(ring.consumer().unwrap().pop_vec(), Ok((1, b"there".to_vec())));
}

#[test]
fn drops() {
    for ring in both(16) {
        let (producer, mut consumer) = ends(&ring);
        drop(producer);
        assert_eq!(consumer.pop(&mut []), Err(PopError::Disconnected));
        let mut producer = ring.producer().unwrap();
        assert_eq!(consumer.pop(&mut []), Err(PopError::Empty));
        producer.push(1, &[]).unwrap();
        producer.push(2, &[]).unwrap();
        assert_eq!(producer.push(3, &[]), Err(PushError::Full));
        drop(ring);
        drop(consumer);
        assert_eq!(producer.push(3, &[]), Err(PushError::Disconnected));
        assert_eq!(producer.peer(), Peer::Closed);
    }
}

#[test]
fn one_of_each() {
    let ring = Ring::create(64).unwrap();
    let owner = ProcessId::current().unwrap();
    let ends = ends(&ring);
    assert_eq!(ring.producer().unwrap_err(), RoleError::Taken { owner });
    assert_eq!(ring.consumer().unwrap_err(), RoleError::Taken { owner });
    drop(ends);
    assert!(ring.producer().is_ok() && ring.consumer().is_ok());
}

#[test]
fn goes_on_where_the_last_one_stopped() {
    for ring in both(64) {
        for turn in 0..30 {
            let mut producer = ring.producer().unwrap();
            producer.push(turn, &bytes(1, 13)).unwrap();
            producer.push(turn + 1, &bytes(2, 3)).unwrap();
            drop(producer);
            assert_eq!(ring.consumer().unwrap().pop_vec(), Ok((turn, bytes(1, 13))));
            assert_eq!(ring.consumer().unwrap().pop_vec(), Ok((turn + 1, bytes(2, 3))));
        }
    }
}

/// Positions from which they wrap around while the test runs, and others that are far.
#[test]
fn very_old_rings() {
    for capacity in [8, 16, 32, 256] {
        let words = capacity as u64 / 8;
        for start in [(1 << 32) - 2, (1 << 63) - 2, u64::MAX - words, u64::MAX] {
            let ring = Ring::boxed_at(capacity, start).unwrap();
            let mut consumer = ring.consumer().unwrap();
            for turn in 0..40 {
                let mut producer = ring.producer().unwrap();
                let len = turn % (ring.max_record() + 1);
                producer.push(turn as u32, &bytes(turn, len)).unwrap();
                drop(consumer);
                consumer = ring.consumer().unwrap();
                assert_eq!(consumer.pop_vec(), Ok((turn as u32, bytes(turn, len))));
                assert_eq!(consumer.pop_vec(), Err(PopError::Empty));
            }
        }
    }
}

/// Two threads, with records of every length; each word of a record follows from its tag.
#[test]
fn threads() {
    ipc_testkit::watchdog::watch();
    for (ring, count) in
        both(64).map(|ring| (ring, 300)).into_iter().chain(both(page()).map(|ring| (ring, 3_000)))
    {
        let count = if cfg!(miri) { 50 } else { count };
        let (mut producer, mut consumer) = ends(&ring);
        let length = move |number: usize, max: usize| number * 37 % (max + 1);
        let receiver = std::thread::spawn(move || {
            let max = consumer.max_record();
            let mut expected = 0;
            loop {
                // By pops and by batches.
                let result = if expected % 3 == 0 {
                    consumer.pop_vec().map(|record| {
                        assert_eq!(
                            record,
                            (expected as u32, bytes(expected, length(expected, max)))
                        );
                        expected += 1;
                    })
                } else {
                    consumer.batch().map(|mut batch| {
                        while let Some(record) = batch.next_record().unwrap() {
                            assert_eq!(record.tag() as usize, expected);
                            assert_eq!(record.to_vec(), bytes(expected, length(expected, max)));
                            expected += 1;
                        }
                        batch.release();
                    })
                };
                match result {
                    Ok(()) => {}
                    Err(PopError::Empty) => std::thread::yield_now(),
                    Err(PopError::Disconnected) => return expected,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        for number in 0..count {
            let record = bytes(number, length(number, producer.max_record()));
            let middle = record.len() / 3;
            while let Err(error) =
                producer.push_vectored(number as u32, &[&record[..middle], &record[middle..]])
            {
                assert_eq!(error, PushError::Full);
                std::thread::yield_now();
            }
        }
        drop(producer);
        assert_eq!(receiver.join().unwrap(), count);
    }
}

/// Random operations, compared with a queue that cannot fail.
mod against_a_model {
    use super::model::{self, Bug, Covered};

    /// 1500 bytes of random operations.
    fn operations(seed: u64) -> Vec<u8> {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed);
        let mut byte = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 32) as u8
        };
        (0..1500).map(|_| byte()).collect()
    }

    #[test]
    fn fixed_seeds() {
        ipc_testkit::watchdog::watch();
        let mut covered = Covered::default();
        for seed in 1..=if cfg!(miri) { 2 } else { 300 } {
            let run = model::run(&operations(seed), Bug::Nothing);
            covered.add(run.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
        }
        println!("{covered:?}");
        covered.assert_enough(&[]);
    }

    #[test]
    fn corpus() {
        ipc_testkit::watchdog::watch();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/ring_bytes");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let run = model::run(&std::fs::read(&path).unwrap(), Bug::Nothing);
            run.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            files += 1;
        }
        assert!(files >= 5, "the corpus is committed");
    }

    #[test]
    fn planted_bugs_are_found() {
        ipc_testkit::watchdog::watch();
        for bug in [Bug::CopiesWordsOnly, Bug::ReleasesOneOfThree] {
            let found =
                (1..=300).filter(|&seed| model::run(&operations(seed), bug).is_err()).count();
            println!("{bug:?}: found by {found} of 300 seeds");
            assert!(found > 0, "{bug:?}");
        }
    }
}
