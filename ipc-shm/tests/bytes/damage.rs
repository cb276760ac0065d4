//! What somebody else may have written into a ring of bytes, before or meanwhile, and what a hole in its file leaves.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::thread;

use ipc_shm::ring::bytes::{Consumer, FixedRing, PopError, PushError, Ring};
use ipc_shm::ring::{RoleError, Trust, Trusted, Untrusted};

use crate::{bytes, page};

const TAIL: u64 = 4096 + 128;
const HEAD: u64 = 4096 + 256;

fn file(ring: &Ring<'_>) -> File {
    File::from(ring.as_fd().unwrap().try_clone_to_owned().unwrap())
}

fn write(ring: &Ring<'_>, offset: u64, word: u64) {
    file(ring).write_all_at(&word.to_ne_bytes(), offset).unwrap();
}

/// Where the words begin: at a multiple of their bytes, behind the head.
fn words(ring: &Ring<'_>) -> u64 {
    let align = (ring.capacity() as u64).clamp(128, 4096);
    4096 + 384_u64.next_multiple_of(align)
}

/// How a consumer comes that trusts, or does not.
type Claim<M> = fn(&Ring<'static>) -> Result<Consumer<'static, M>, RoleError>;

/// A split ring and a contiguous one, in each of which a record of 20 bytes is ready, the third, at word 2; and where
/// its header is.
fn rings<M: Trust>(claim: Claim<M>) -> [(Ring<'static>, Consumer<'static, M>, u64); 2] {
    [64, page()].map(|capacity| {
        let ring = Ring::create(capacity).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), claim(&ring).unwrap());
        for _ in 0..2 {
            producer.push(0, &[]).unwrap();
            consumer.pop(&mut []).unwrap();
        }
        producer.push(7, &bytes(7, 20)).unwrap();
        let header = words(&ring) + 16;
        (ring, consumer, header)
    })
}

type Reader<M> = fn(&mut Consumer<'_, M>) -> Result<(), PopError>;

/// Each way to copy a record out.
fn copiers<M: Trust>() -> Vec<Reader<M>> {
    vec![
        |consumer| consumer.pop(&mut [0; 64]).map(drop),
        |consumer| consumer.pop(&mut []).map(drop),
        |consumer| consumer.pop_vec().map(drop),
        |consumer| {
            let mut batch = consumer.batch()?;
            let first = batch.copy_next(&mut [0; 64]).map(drop);
            if first.is_err() {
                assert_eq!(batch.copy_next(&mut [0; 64]).map(drop), first, "not its end");
                batch.release();
            }
            first
        },
    ]
}

/// Each way to read one where it lies.
const BORROWERS: [Reader<Trusted>; 2] = [
    |consumer| consumer.peek().map(|peek| assert_eq!(peek.record().len(), 20)),
    |consumer| {
        let mut batch = consumer.batch()?;
        let first = batch.next_record().map(drop);
        if first.is_err() {
            assert_eq!(batch.next_record().map(drop), first, "not its end");
            batch.release();
        }
        first
    },
];

#[test]
fn h06_a_size_that_no_producer_writes() {
    let readers = copiers().into_iter().chain(BORROWERS).collect::<Vec<_>>();
    assert_eq!(sizes_that_no_producer_writes(Ring::consumer, &readers), 13 * 6 * 2);
}

#[test]
fn h06_the_same_to_a_consumer_that_does_not_trust() {
    let tried = sizes_that_no_producer_writes(Ring::untrusted_consumer, &copiers::<Untrusted>());
    assert_eq!(tried, 13 * 4 * 2);
}

fn sizes_that_no_producer_writes<M: Trust>(claim: Claim<M>, readers: &[Reader<M>]) -> usize {
    // Less than a header, more than there is, more than the ring has, and as much as can be said.
    let sizes = [0, 3, 7, 33, 36, 40, 64, 72, 4096, 4104, 1 << 31, u32::MAX - 7, u32::MAX];
    let header_of = |size: u32| u64::from(7_u32) << 32 | u64::from(size);
    let mut tried = 0;
    for (size, read) in sizes.into_iter().flat_map(|size| readers.iter().map(move |r| (size, r))) {
        for (ring, mut consumer, header) in rings(claim) {
            let mut right = [0; 8];
            file(&ring).read_exact_at(&mut right, header).unwrap();
            assert_eq!(u64::from_le_bytes(right), header_of(28), "where the header lies");
            write(&ring, header, header_of(size));
            assert_eq!(read(&mut consumer), Err(PopError::Corrupt), "{size}");
            // For good, even if the size becomes right.
            write(&ring, header, header_of(28));
            assert_eq!(read(&mut consumer), Err(PopError::Corrupt), "{size}");
            // Not for a new consumer: what lies there is a record.
            drop(consumer);
            assert_eq!(ring.consumer().unwrap().pop_vec(), Ok((7, bytes(7, 20))));
            tried += 1;
        }
    }
    tried
}

#[test]
fn h06_a_size_within_what_is_there_is_believed() {
    for (ring, mut consumer, header) in rings(Ring::consumer) {
        for size in 8..=32 {
            write(&ring, header, size);
            let len = size as usize - 8;
            assert_eq!(
                consumer.pop(&mut []).err(),
                (len > 0).then_some(PopError::BufferTooSmall { len })
            );
            if len == 0 {
                // The rest is read as a record then, which it is not.
                assert_eq!(consumer.pop_vec(), Err(PopError::Corrupt));
                drop(consumer);
                write(&ring, HEAD, 2);
                consumer = ring.consumer().unwrap();
            }
        }
    }
}

#[test]
fn h09_a_punched_hole_is_no_record() {
    for (ring, mut consumer, header) in rings(Ring::consumer) {
        write(&ring, header, 0);
        assert_eq!(consumer.pop_vec(), Err(PopError::Corrupt));
    }
}

#[test]
fn h04_h05_positions_that_no_peer_has() {
    let read_all = |consumer: &mut Consumer<'_>| consumer.batch().map(drop);
    for (ring, mut consumer, _) in rings(Ring::consumer) {
        let all = ring.capacity() as u64 / 8;
        // Moved back, or further than the ring is long, or anywhere.
        for tail in [1, 4, 2 + all + 1, 1 << 63, u64::MAX] {
            drop(consumer);
            write(&ring, TAIL, 6);
            consumer = ring.consumer().unwrap();
            assert_eq!(read_all(&mut consumer), Ok(()));
            write(&ring, TAIL, tail);
            assert_eq!(read_all(&mut consumer), Err(PopError::Corrupt), "{tail}");
            write(&ring, TAIL, 6);
            assert_eq!(consumer.pop_vec(), Err(PopError::Corrupt), "sticky");
            write(&ring, TAIL, tail);
            drop(consumer);
            let attached = ring.consumer().map(drop);
            assert!(tail == 4 || attached == Err(RoleError::Corrupt), "{tail}: {attached:?}");
            write(&ring, TAIL, 6);
            consumer = ring.consumer().unwrap();
        }
        drop(consumer);
        write(&ring, TAIL, 6);
        for head in [1, 7 + all, 100 + all, 1 << 63, u64::MAX] {
            write(&ring, HEAD, 2);
            let mut producer = ring.producer().unwrap();
            write(&ring, HEAD, head);
            // Until there is no room that it knows of.
            let mut answers =
                core::iter::repeat_with(|| producer.push(0, &[])).take(1 + all as usize);
            assert!(answers.any(|answer| answer == Err(PushError::Corrupt)), "{head}");
            write(&ring, HEAD, 2);
            assert_eq!(producer.push(0, &[]), Err(PushError::Corrupt), "sticky");
            drop(producer);
            write(&ring, TAIL, 6);
        }
    }
}

/// H06, H03: the header changes all the time, between any two accesses of the consumer's. (The changes between any two
/// instructions are in `stepmutate.rs`.)
#[test]
fn h06_a_size_that_changes_between_read_and_copy() {
    ipc_testkit::watchdog::watch();
    let rounds = if cfg!(miri) { 20 } else { 1_000 };
    let (mut popped, mut told) = (0, 0);
    for (capacity, buffer) in [(64, 20), (page(), 20), (64, 64), (page(), 4096)] {
        let ring = Ring::create(capacity).unwrap();
        // What the peer writes: the sizes of a record of 20 bytes, of shorter ones, and of none.
        let header = words(&ring);
        let (file, stop) = (file(&ring), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let sizes = [28_u64, 8, 0, 28, 3, 20, u64::from(u32::MAX), 28, 29, 4096];
                for size in sizes.into_iter().cycle().take_while(|_| !stop.load(Relaxed)) {
                    file.write_all_at(&size.to_ne_bytes(), header).unwrap();
                }
            });
            for round in 0..rounds {
                write(&ring, HEAD, 0);
                write(&ring, TAIL, 4);
                let mut consumer = ring.untrusted_consumer().unwrap();
                let mut room = [0xaa; 4200];
                match consumer.pop(&mut room[..buffer]) {
                    Ok((_, len)) => {
                        assert!(len <= 24 && room[len..].iter().all(|&byte| byte == 0xaa));
                        popped += 1;
                    }
                    Err(PopError::BufferTooSmall { len }) => assert!(len > buffer && len <= 24),
                    Err(PopError::Corrupt) => {
                        let again = consumer.pop_vec();
                        assert_eq!(again, Err(PopError::Corrupt), "round {round}: forgotten");
                        told += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            stop.store(true, Relaxed);
        });
    }
    println!("{popped} records popped, {told} refused");
    assert!(popped > 0 && told > 0, "{popped} popped, {told} refused");
}

#[test]
fn ends_of_either_trust() {
    for ring in [Ring::create(64).unwrap(), Ring::create(page()).unwrap(), Ring::boxed(64).unwrap()]
    {
        for turn in 0..100 {
            let record = bytes(turn, turn % 25);
            let mut consumer = ring.untrusted_consumer().unwrap();
            ring.producer().unwrap().push(1, &record).unwrap();
            let parts: [&[u8]; 3] = [&record[..record.len() / 2], &[], &record[record.len() / 2..]];
            ring.untrusted_producer().unwrap().push_vectored(2, &parts).unwrap();
            assert_eq!(consumer.pop_vec(), Ok((1, record.clone())));
            drop(consumer);
            let mut consumer = ring.consumer().unwrap();
            assert_eq!(consumer.peek().map(|peek| peek.record().to_vec()), Ok(record));
            consumer.peek().unwrap().release();
        }
    }
}

#[test]
fn memory_that_could_be_taken_away() {
    static FIXED: FixedRing<8> = FixedRing::new();
    assert_eq!(FIXED.ring().untrusted_producer().unwrap_err(), RoleError::NotSealed);
    assert_eq!(FIXED.ring().untrusted_consumer().unwrap_err(), RoleError::NotSealed);
}
