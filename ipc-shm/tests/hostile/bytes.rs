//! The ring of bytes: records, which say themselves how long they are.

use ipc_core::clock::Deadline;
use ipc_shm::ring::Untrusted;
use ipc_shm::ring::bytes::{
    self, PopError, PopWaitError, PushError, PushWaitError, Ring, RingPlace,
};
use ipc_shm::{Plan, Region};
use ipc_testkit::stepmutate::{Answer, Suite};

use super::subject::{CAPACITY, End, FILLS, FULL, Fill, HALF, Head, Standing as _, Subject, word};
use super::{PAYLOAD, guarded};

const TAIL: usize = PAYLOAD + 128;
const HEAD: usize = PAYLOAD + 256;
const WORDS: usize = PAYLOAD + 384;

/// How many bytes a message has: with its header, four words, so that the ring has room for [`CAPACITY`] of them.
const LEN: usize = 21;
const RECORD: usize = 32;
const BYTES: usize = CAPACITY * RECORD;

struct Producer(bytes::Producer<'static, Untrusted>);

impl End for Producer {
    fn call(&mut self) -> Answer {
        match self.0.push(7, &[0x77; LEN]) {
            Ok(()) => Answer::Value,
            Err(PushError::Full | PushError::Disconnected) => Answer::Nothing,
            Err(PushError::Corrupt) => Answer::Corrupt,
            Err(error) => panic!("{error}"),
        }
    }

    fn call_by(&mut self, deadline: Deadline) -> Answer {
        match self.0.push_deadline(7, &[0x77; LEN], deadline) {
            Ok(()) => Answer::Value,
            Err(PushWaitError::TimedOut | PushWaitError::Disconnected) => Answer::Nothing,
            Err(PushWaitError::Corrupt) => Answer::Corrupt,
            Err(error) => panic!("{error}"),
        }
    }

    fn peer(&self) -> Answer {
        self.0.peer().answer()
    }
}

/// Pops into a buffer.
struct Consumer(bytes::Consumer<'static, Untrusted>);

impl End for Consumer {
    fn call(&mut self) -> Answer {
        let mut buffer = [0; LEN + 3];
        match self.0.pop(&mut buffer) {
            Ok((_, len)) => {
                assert!(len <= buffer.len(), "{len} bytes");
                Answer::Value
            }
            Err(PopError::BufferTooSmall { len }) => {
                assert!(len > buffer.len() && len <= BYTES, "{len} bytes");
                Answer::Nothing
            }
            Err(PopError::Empty | PopError::Disconnected) => Answer::Nothing,
            Err(PopError::Corrupt) => Answer::Corrupt,
            Err(error) => panic!("{error}"),
        }
    }

    fn call_by(&mut self, deadline: Deadline) -> Answer {
        let mut buffer = [0; LEN + 3];
        match self.0.pop_deadline(&mut buffer, deadline) {
            Ok((_, len)) => {
                assert!(len <= buffer.len(), "{len} bytes");
                Answer::Value
            }
            Err(PopWaitError::BufferTooSmall { len }) => {
                assert!(len > buffer.len() && len <= BYTES, "{len} bytes");
                Answer::Value
            }
            Err(PopWaitError::TimedOut | PopWaitError::Disconnected) => Answer::Nothing,
            Err(PopWaitError::Corrupt) => Answer::Corrupt,
            Err(error) => panic!("{error}"),
        }
    }

    fn peer(&self) -> Answer {
        self.0.peer().answer()
    }
}

/// Takes all that there is, and releases it together.
struct Batches(bytes::Consumer<'static, Untrusted>);

impl End for Batches {
    fn call(&mut self) -> Answer {
        let mut buffer = [0; BYTES];
        let mut batch = match self.0.batch() {
            Ok(batch) => batch,
            Err(PopError::Corrupt) => return Answer::Corrupt,
            Err(_) => return Answer::Nothing,
        };
        loop {
            match batch.copy_next(&mut buffer) {
                Ok(Some((_, len))) => assert!(len < BYTES, "{len} bytes"),
                Ok(None) => break,
                Err(PopError::Corrupt) => return Answer::Corrupt,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(batch.count() <= BYTES / 8, "{} records", batch.count());
        batch.release();
        Answer::Value
    }

    fn call_by(&mut self, deadline: Deadline) -> Answer {
        match self.0.wait(deadline) {
            Ok(()) => self.call(),
            Err(PopWaitError::TimedOut | PopWaitError::Disconnected) => Answer::Nothing,
            Err(PopWaitError::Corrupt) => Answer::Corrupt,
            Err(error) => panic!("{error}"),
        }
    }

    fn peer(&self) -> Answer {
        self.0.peer().answer()
    }
}

pub(crate) fn run(suite: &mut Suite) {
    for fill in FILLS {
        subject("ring of bytes", fill, 0, Consumer).push_and_pop(suite);
    }
    // A record that goes on at the start of the ring.
    subject("ring of bytes, split record", HALF, 2, Consumer).push_and_pop(suite);
    subject("ring of bytes, split record", FULL, 2, Consumer).push_and_pop(suite);
    subject("ring of bytes, batches", FULL, 1, Batches).push_and_pop(suite);
    subject("ring of bytes", HALF, 0, Consumer).roles(suite);
    subject("ring of bytes", FULL, 0, Consumer).questions(suite);
    subject("ring of bytes", FILLS[0], 2, Consumer).wait(suite);
    if suite.is_deep() {
        subject("ring of bytes", FULL, 2, Consumer).wait(suite);
        subject("ring of bytes, batches", FILLS[0], 1, Batches).wait(suite);
    }
}

/// A ring whose records begin `skew` words behind multiples of their length.
fn subject<C>(
    name: &'static str,
    fill: Fill,
    skew: usize,
    consumer: impl Fn(bytes::Consumer<'static, Untrusted>) -> C + 'static,
) -> Subject<Producer, C> {
    let mut plan = Plan::new();
    let place = RingPlace::plan(&mut plan, BYTES).expect("room");
    let (region, mut arena) = guarded(|| Region::planned(&plan).expect("a region"));
    let ring = move || Ring::in_region(region, place).expect("the ring");
    let Fill { turned, inside } = fill;
    let mut ends = (ring().producer().unwrap(), ring().consumer().unwrap());
    for _ in 0..skew {
        // Of one word each.
        ends.0.push(0, &[]).expect("room");
        ends.1.pop(&mut []).expect("a record");
    }
    for i in 0..turned + inside {
        ends.0.push(7, &[i as u8; LEN]).expect("room");
        assert!(i >= turned || ends.1.pop(&mut [0; LEN]).is_ok(), "number {i}");
    }
    drop(ends);
    arena.save();
    let at = |i: usize| word(WORDS + i % (BYTES / 8) * 8);
    let next = skew + (turned + inside) * (RECORD / 8);
    let record = (0..RECORD / 8).map(|i| at(next + i));
    let first = skew + turned * (RECORD / 8);
    let headers = (0..BYTES / 8).map(|i| WORDS + i * 8);
    Subject {
        name,
        fill,
        arena,
        head: Head::of_two(),
        producer: Box::new(move || ring().untrusted_producer().map(Producer)),
        consumer: Box::new(move || ring().untrusted_consumer().map(&consumer)),
        decisive: headers.chain([TAIL, HEAD]).collect(),
        hidden: [
            Some((HEAD, (next as u64).wrapping_sub(BYTES as u64 / 8))),
            Some((TAIL, first as u64)),
        ],
        ring: TAIL..WORDS + BYTES,
        // Also if there is no room: the attacked word may say that there is.
        pushed: record.chain([word(TAIL)]).collect(),
        popped: vec![word(HEAD)],
    }
}
