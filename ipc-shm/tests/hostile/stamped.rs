//! The stamped ring.

use std::os::fd::AsFd as _;

use ipc_core::clock::Deadline;
use ipc_shm::bytemuck::Pod;
use ipc_shm::ring::spsc::{self, Ring, RingPlace};
use ipc_shm::ring::{PopError, PopWaitError, PushError, PushWaitError, Untrusted};
use ipc_shm::{AttachError, Plan, Region};
use ipc_testkit::stepmutate::{Answer, Scenario, Suite};

use super::subject::{
    CAPACITY, End, FILLS, FULL, Fill, HALF, Head, Standing, Subject, ends, judge_claim, message,
    word,
};
use super::{PAYLOAD, guarded};

const SLOTS: usize = PAYLOAD + 128;

ends!(spsc);

pub(crate) fn run(suite: &mut Suite) {
    for fill in FILLS {
        subject::<[u64; 3]>("stamped ring of 24 B", fill).push_and_pop(suite);
    }
    // Copied by blocks, and by parts of a word.
    subject::<[u64; 8]>("stamped ring of 64 B", HALF).push_and_pop(suite);
    subject::<[u8; 5]>("stamped ring of 5 B", HALF).push_and_pop(suite);
    subject::<u64>("stamped ring", HALF).roles(suite);
    subject::<u64>("stamped ring", FULL).questions(suite);
    subject::<u64>("stamped ring", FILLS[0]).wait(suite);
    if suite.is_deep() {
        subject::<u64>("stamped ring", FULL).wait(suite);
    }
    attach(suite);
}

type Ends<T> =
    Subject<spsc::Producer<'static, T, Untrusted>, spsc::Consumer<'static, T, Untrusted>>;

fn subject<T: Pod + Send>(name: &'static str, fill: Fill) -> Ends<T> {
    let mut plan = Plan::new();
    let place = RingPlace::<T>::plan(&mut plan, CAPACITY).expect("room");
    let (region, mut arena) = guarded(|| Region::planned(&plan).expect("a region"));
    let ring = move || Ring::in_region(region, place).expect("the ring");
    let Fill { turned, inside } = fill;
    let (mut producer, mut consumer) = (ring().producer().unwrap(), ring().consumer().unwrap());
    for i in 0..turned + inside {
        assert!(producer.push(T::zeroed()).is_ok(), "room for number {i}");
        assert!(i >= turned || consumer.pop().is_ok(), "number {i}");
    }
    drop((producer, consumer));
    arena.save();
    let size = 8 + size_of::<T>().next_multiple_of(8);
    let start = |i: usize| SLOTS + i % CAPACITY * size;
    let slot = |i| start(i)..start(i) + size;
    let sequence = |i| start(i) + size - 8;
    Subject {
        name,
        fill,
        arena,
        head: Head::of_two(),
        producer: Box::new(move || ring().untrusted_producer()),
        consumer: Box::new(move || ring().untrusted_consumer()),
        decisive: (0..CAPACITY).map(sequence).collect(),
        hidden: [None, None],
        ring: SLOTS..SLOTS + CAPACITY * size,
        pushed: vec![slot(turned + inside)],
        // The sequence only: nobody writes to a message that was read.
        popped: vec![word(sequence(turned))],
    }
}

/// From a descriptor to an end: the header and the directory may change at any time.
fn attach(suite: &mut Suite) {
    let ring = Ring::<[u64; 3]>::create(CAPACITY).expect("a ring");
    let fd = ring.as_fd().expect("its own").try_clone_to_owned().expect("a descriptor");
    let (region, arena) =
        guarded(|| Region::from_fd(fd.try_clone().expect("a descriptor")).expect("its region"));
    let attach = Scenario::new(
        "stamped ring, from_fd",
        &arena,
        || Some(region.as_fd().try_clone_to_owned().expect("a descriptor")),
        |fd| fd.take().map(Ring::<[u64; 3]>::from_fd).expect("a descriptor"),
        |_, ring, _| match ring {
            Ok(ring) if ring.capacity() > CAPACITY => {
                Err(format!("a capacity of {}", ring.capacity()))
            }
            Ok(ring) => match ring.untrusted_producer() {
                Ok(mut producer) => {
                    let last = (0..2 * CAPACITY).map(|_| producer.call()).last();
                    Ok(last.unwrap_or(Answer::Value))
                }
                Err(error) => judge_claim(&error),
            },
            Err(AttachError::Os(error)) => Err(format!("the system says {error}")),
            Err(_) => Ok(Answer::Corrupt),
        },
    );
    // The header and the two entries of the directory. The first reads of them are system calls.
    let attach = attach.read_only_words(0..80).read_only_words(1024..1088);
    suite.attack(&attach.capacity(CAPACITY).within(60_000).at_least(9, 2000));
}
