//! The ring of many: slots that say whose they are, and the records of all who take part.

use core::ops::Range;
use core::sync::atomic::Ordering;

use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_shm::bytemuck::Pod;
use ipc_shm::ring::mpmc::{self, Ring, RingPlace};
use ipc_shm::ring::{PopError, PopWaitError, PushError, PushWaitError, Untrusted};
use ipc_shm::{Plan, Region};
use ipc_testkit::stepmutate::{Answer, Arena, Suite};

use super::subject::{
    CAPACITY, End, FILLS, FULL, Fill, HALF, Head, Standing, Subject, ends, me, message, word,
};
use super::{PAYLOAD, guarded};

const TAIL: usize = PAYLOAD + 128;
const HEAD: usize = PAYLOAD + 256;
const PRODUCERS: usize = PAYLOAD + 384;
const CONSUMERS: usize = PRODUCERS + PARTICIPANTS * 16;
const TRAILS: usize = CONSUMERS + PARTICIPANTS * 16;
const SLOTS: usize = TRAILS + PARTICIPANTS * 128;

/// How many producers a ring can have, and how many consumers.
const PARTICIPANTS: usize = 128;

/// No message takes more instructions, though each of the 64 attempts to claim a slot comes too late.
const STEPS: usize = 20_000;
/// The same, where the kernel is asked who lives.
const STEPS_WITH_QUESTIONS: usize = 30_000;
/// The same, where there are as many participants as there can be.
const STEPS_IN_A_CROWD: [usize; 2] = [60_000, 300_000];

ends!(mpmc, consumers, producers);

/// How many messages a slice has: from the third of four slots on it wraps.
const SLICE: usize = 3;

/// An end that is used for slices.
struct Slices<E>(E);

impl<T: Pod + Send> End for Slices<mpmc::Producer<'_, T, Untrusted>> {
    fn call(&mut self) -> Answer {
        match self.0.push_slice(&[message(); SLICE]) {
            Ok(count) => {
                assert!((1..=SLICE).contains(&count), "{count} messages");
                Answer::Value
            }
            Err(PushError::Full(()) | PushError::Disconnected(())) => Answer::Nothing,
            Err(PushError::Corrupt(())) => Answer::Corrupt,
        }
    }

    fn call_by(&mut self, deadline: Deadline) -> Answer {
        self.0.call_by(deadline)
    }

    fn peer(&self) -> Answer {
        End::peer(&self.0)
    }
}

impl<T: Pod + Send> End for Slices<mpmc::Consumer<'_, T, Untrusted>> {
    fn call(&mut self) -> Answer {
        match self.0.pop_slice(&mut [T::zeroed(); SLICE]) {
            Ok(count) => {
                assert!((1..=SLICE).contains(&count), "{count} messages");
                Answer::Value
            }
            Err(PopError::Empty | PopError::Disconnected) => Answer::Nothing,
            Err(PopError::Corrupt) => Answer::Corrupt,
        }
    }

    fn call_by(&mut self, deadline: Deadline) -> Answer {
        self.0.call_by(deadline)
    }

    fn peer(&self) -> Answer {
        End::peer(&self.0)
    }
}

/// Who else takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    /// Nobody.
    Nobody,
    /// Nobody, and the consumer has had its first message: it goes on from what it knows itself.
    NobodyAnyMore,
    /// A consumer has closed its end with the first message, and a producer has died as it wrote the one after the last.
    Fallen,
    /// As many as there can be.
    Crowd,
}

pub(crate) fn run(suite: &mut Suite) {
    for fill in FILLS {
        one_by_one::<[u64; 3]>("ring of many of 24 B", fill, Others::Nobody).push_and_pop(suite);
    }
    for fill in [HALF, FILLS[4]] {
        slices::<[u64; 3]>("ring of many, slices of 24 B", fill, Others::Nobody)
            .push_and_pop(suite);
    }
    one_by_one::<u64>("ring of many, again", HALF, Others::NobodyAnyMore).push_and_pop(suite);
    one_by_one::<[u64; 8]>("ring of many of 64 B", HALF, Others::Nobody).push_and_pop(suite);
    one_by_one::<[u8; 5]>("ring of many of 5 B", HALF, Others::Nobody).push_and_pop(suite);
    one_by_one::<u64>("ring of many, the fallen", HALF, Others::Fallen).push_and_pop(suite);
    let alone = Fill { turned: 3, inside: 1 };
    one_by_one::<u64>("ring of many, the fallen", alone, Others::Fallen).push_and_pop(suite);
    one_by_one::<u64>("ring of many", HALF, Others::Nobody).roles(suite);
    one_by_one::<u64>("ring of many", FULL, Others::Nobody).questions(suite);
    one_by_one::<u64>("ring of many", FULL, Others::Nobody).wait(suite);
    one_by_one::<u64>("ring of many, crowded", FILLS[0], Others::Crowd).push_and_pop(suite);
    if suite.is_deep() {
        one_by_one::<u64>("ring of many", FILLS[0], Others::Nobody).wait(suite);
        one_by_one::<u64>("ring of many, the fallen", HALF, Others::Fallen).roles(suite);
        one_by_one::<u64>("ring of many, crowded", FULL, Others::Crowd).push_and_pop(suite);
        one_by_one::<u64>("ring of many, crowded", FULL, Others::Crowd).roles(suite);
        one_by_one::<u64>("ring of many, crowded", FULL, Others::Crowd).questions(suite);
    }
}

type Producer<T> = mpmc::Producer<'static, T, Untrusted>;
type Consumer<T> = mpmc::Consumer<'static, T, Untrusted>;

fn one_by_one<T: Pod + Send>(
    name: &'static str,
    fill: Fill,
    others: Others,
) -> Subject<Producer<T>, Consumer<T>> {
    subject(name, fill, others, |producer| producer, |consumer| consumer)
}

fn slices<T: Pod + Send>(
    name: &'static str,
    fill: Fill,
    others: Others,
) -> Subject<Slices<Producer<T>>, Slices<Consumer<T>>> {
    subject(name, fill, others, Slices, Slices)
}

fn subject<T: Pod + Send, P, C>(
    name: &'static str,
    fill: Fill,
    others: Others,
    producer: impl Fn(Producer<T>) -> P + 'static,
    consumer: impl Fn(Consumer<T>) -> C + 'static,
) -> Subject<P, C> {
    let mut plan = Plan::new();
    let place = RingPlace::<T>::plan(&mut plan, CAPACITY).expect("room");
    let (region, mut arena) = guarded(|| Region::planned(&plan).expect("a region"));
    let ring = move || Ring::in_region(region, place).expect("the ring");
    let is_warm = others == Others::NobodyAnyMore;
    let Fill { turned, inside } = fill;
    let before = turned - usize::from(is_warm);
    let mut ends = (ring().producer().unwrap(), ring().consumer().unwrap());
    for i in 0..turned + inside {
        assert!(ends.0.push(T::zeroed()).is_ok(), "room for number {i}");
        assert!(i >= before || ends.1.pop().is_ok(), "number {i}");
    }
    let size = 8 + size_of::<T>().next_multiple_of(8);
    let sequence = |i: usize| SLOTS + i % CAPACITY * size + size - 8;
    match others {
        Others::Nobody | Others::NobodyAnyMore => {}
        Others::Fallen => {
            let mut another = ring().consumer().expect("a place");
            let _: mpmc::Lease<'_, '_, T> = another.lease().expect("a message");
            drop((ring().producer().expect("a place"), another));
            let place = arena.word(sequence(turned + inside));
            place.store(claimed(turned + inside, 1, 1, WRITING), Ordering::Relaxed);
        }
        Others::Crowd => crowd(&arena),
    }
    drop(ends);
    assert_is_as_expected(&arena, others);
    arena.save();
    let payloads = (0..CAPACITY).map(|i| sequence(i) + 8 - size..sequence(i) + 8);
    let trails = [0, 1, PARTICIPANTS - 1].map(|number| word(TRAILS + number * 128));
    let records = |table: usize| table..table + 2 * 16;
    let steps = [STEPS, STEPS_WITH_QUESTIONS];
    Subject {
        name,
        fill,
        arena,
        head: Head {
            roles: [PAYLOAD..PAYLOAD + 24, records(PRODUCERS), records(CONSUMERS)]
                .into_iter()
                .chain(trails)
                .collect(),
            records: PRODUCERS..TRAILS,
            owners: [PRODUCERS, CONSUMERS],
            positions: vec![TAIL, HEAD],
            values: values(turned, inside),
            steps: if others == Others::Crowd { STEPS_IN_A_CROWD } else { steps },
        },
        producer: Box::new(move || ring().untrusted_producer().map(&producer)),
        consumer: Box::new(move || {
            let mut end = ring().untrusted_consumer()?;
            assert!(!is_warm || end.pop().is_ok(), "a message before");
            Ok(consumer(end))
        }),
        decisive: (0..CAPACITY).map(sequence).chain([TAIL, HEAD]).collect(),
        hidden: [None, None],
        ring: SLOTS..SLOTS + CAPACITY * size,
        // Any slot, for an attacked word may say that it is the next.
        pushed: payloads.chain([word(TAIL)]).collect(),
        // But nobody writes to a message that was read.
        popped: (0..CAPACITY).map(sequence).chain([HEAD]).map(word).collect(),
    }
}

const WRITING: u64 = 1;
const READING: u64 = 3;

/// The word of the slot of a position that somebody has claimed.
fn claimed(position: usize, number: u64, generation: u64, state: u64) -> u64 {
    (position as u64 / CAPACITY as u64) << 20 | generation << 11 | number << 3 | state
}

/// Words around those that the next slots have: of three laps, by owners that there are and that there are not.
fn values(turned: usize, inside: usize) -> Vec<u64> {
    let laps = [turned, turned + inside, turned + CAPACITY];
    let owners = [(0, 1), (1, 1), (0, 2), (200, 511)];
    let of_lap = |position: usize| {
        let by = owners.into_iter().flat_map(move |(number, generation)| {
            [WRITING, READING].map(|state| claimed(position, number, generation, state))
        });
        by.chain([0, 2, 4].map(|state| claimed(position, 0, 0, state)))
    };
    laps.into_iter().flat_map(of_lap).chain([me()]).collect()
}

/// All records but the first of each kind are those of processes that live.
fn crowd(arena: &Arena) {
    for table in [PRODUCERS, CONSUMERS] {
        for record in (table..).step_by(16).take(PARTICIPANTS).skip(1) {
            arena.word(record).store(me(), Ordering::Relaxed);
            arena.word(record + 8).store(1, Ordering::Relaxed);
        }
    }
}

/// What is written here of where everything lies is true.
fn assert_is_as_expected(arena: &Arena, others: Others) {
    let at = |offset: usize| arena.word(offset).load(Ordering::Relaxed);
    let records: [Range<usize>; 2] = [PRODUCERS..CONSUMERS, CONSUMERS..TRAILS];
    let used = records.map(|table| table.step_by(16).filter(|record| at(*record) != 0).count());
    let expected = match others {
        Others::Nobody | Others::NobodyAnyMore => 1,
        Others::Fallen => 2,
        Others::Crowd => PARTICIPANTS,
    };
    assert_eq!(used, [expected; 2], "{others:?}");
    assert_eq!(at(PRODUCERS), ProcessId::FREE_BIT);
    assert_eq!(at(CONSUMERS + 16 + 8) >> 63 != 0, others == Others::Fallen, "a message was left");
}
