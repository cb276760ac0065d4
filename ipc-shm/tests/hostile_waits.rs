//! Untrusting ends that wait, while another process writes to the very words that they wait on, all the time.
//!
//! What may be written between two instructions is tried one by one in `tests/hostile`; here it happens at full speed, on
//! another processor, while calls sleep and are woken. Beside the ring are pages that nobody may access. Whatever is
//! written, each call ends by its deadline, without a signal and without a panic; and one that waits in vain is never told that
//! there was something. Each case runs in a process of its own; the numbers are those of the catalogue in `docs/FAULTS.md`.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::futex::{self, Word};
use ipc_core::process::{Child, fork_fn};
use ipc_shm::ring::{PopWaitError, PushWaitError, RoleError, bytes, indexed, mpmc, spsc};
use ipc_testkit::cases::{self, doing};
use ipc_testkit::stepmutate::{Arena, make_room};
use rustix::fd::BorrowedFd;

fn main() -> ExitCode {
    cases::run(&[
        ("h11_stamped_ring_under_a_hammer", stamped),
        ("h11_indexed_ring_under_a_hammer", indexed),
        ("h11_ring_of_bytes_under_a_hammer", bytes),
        ("h11_ring_of_many_under_a_hammer", many),
    ])
}

/// Where the roles begin in the file of a ring, and what comes behind them.
const ROLES: usize = 4096;
const RING: usize = ROLES + 128;

/// Words of a ring that are hammered on.
#[derive(Clone, Copy)]
struct Words {
    /// What sleeps are announced in.
    counts: [usize; 2],
    /// Those that name the first producer and the first consumer, and the domain with the word beside it.
    roles: [usize; 3],
    /// A word of the ring, by a number below 50.
    any: fn(usize) -> usize,
}

const OF_TWO: Words = Words {
    counts: [ROLES + 24, ROLES + 32],
    roles: [ROLES, ROLES + 8, ROLES + 16],
    any: |number| ROLES + number * 8,
};

/// Of the ring of many: what its ends have in common, two positions, and two records of each kind.
const OF_MANY: Words = Words {
    counts: [ROLES + 8, ROLES + 16],
    roles: [PRODUCERS, CONSUMERS, ROLES],
    any: |number| match number {
        0..3 => ROLES + number * 8,
        3..5 => ROLES + (number - 2) * 128,
        5..9 => PRODUCERS + (number - 5) * 8,
        9..13 => CONSUMERS + (number - 9) * 8,
        13..15 => TRAILS + (number - 13) * 128,
        _ => SLOTS + number % 4 * 8,
    },
};
const PRODUCERS: usize = ROLES + 384;
const CONSUMERS: usize = PRODUCERS + 128 * 16;
const TRAILS: usize = CONSUMERS + 128 * 16;
const SLOTS: usize = TRAILS + 128 * 128;

/// What the other process does, as fast as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hammer {
    /// Wakes whoever sleeps at the ring, for nothing.
    Wakes,
    /// Changes the words at which sleeps are announced.
    Counts,
    /// Shows a message, or room, and takes it back.
    Shows,
    /// Is dead, closed, of another domain, nobody.
    Roles,
    /// Anything.
    Everything,
}

const HAMMERS: [Hammer; 5] =
    [Hammer::Wakes, Hammer::Counts, Hammer::Shows, Hammer::Roles, Hammer::Everything];

/// How long each attack takes, and how late a call may be on a machine that is busy.
const SPAN: Duration = Duration::from_millis(250);
const LATE: Duration = Duration::from_secs(2);
/// More than any attack takes.
const LONG: Duration = Duration::from_secs(10);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Had,
    TimedOut,
    Gone,
    Corrupt,
}

/// An end that waits until a deadline.
type End<'r> = Box<dyn FnMut(Deadline) -> Ended + 'r>;

/// A ring of which nobody has an end.
struct Subject<'r> {
    claim: Box<dyn Fn() -> Result<End<'r>, RoleError> + 'r>,
    /// A word of the ring, and what it says while there is nothing to do, and when there is something.
    shown: (usize, [u64; 2]),
}

macro_rules! ends_of_slots {
    ($ring:expr, $consumer:ident, $producer:ident, $shown:expr) => {{
        let ring = &$ring;
        let shown: [(usize, [u64; 2]); 2] = $shown;
        [
            Subject {
                claim: Box::new(move || {
                    let mut end = ring.$consumer()?;
                    Ok(Box::new(move |deadline| match end.pop_deadline(deadline) {
                        Ok(_) => Ended::Had,
                        Err(PopWaitError::TimedOut) => Ended::TimedOut,
                        Err(PopWaitError::Disconnected) => Ended::Gone,
                        Err(PopWaitError::Corrupt) => Ended::Corrupt,
                        Err(error) => panic!("{error}"),
                    }))
                }),
                shown: shown[0],
            },
            Subject {
                claim: Box::new(move || {
                    let mut end = ring.$producer()?;
                    Ok(Box::new(move |deadline| match end.push_deadline(7, deadline) {
                        Ok(()) => Ended::Had,
                        Err(PushWaitError::TimedOut(_)) => Ended::TimedOut,
                        Err(PushWaitError::Disconnected(_)) => Ended::Gone,
                        Err(PushWaitError::Corrupt(_)) => Ended::Corrupt,
                        Err(error) => panic!("{error}"),
                    }))
                }),
                shown: shown[1],
            },
        ]
    }};
}

fn stamped() {
    let (ring, mut arena) =
        guarded(|| spsc::Ring::<u64>::create(2).expect("a ring"), |ring| ring.as_fd());
    let full = || {
        let mut producer = ring.producer().expect("nobody has it");
        (0..2).for_each(|_| producer.push(1).expect("room"));
    };
    // The stamp of the first slot: free and full on the first lap; full there, and free on the second.
    let stamp = RING + size_of::<u64>();
    let shown = [(stamp, [0, 1]), (stamp, [1, 2])];
    let [consumer, producer] = ends_of_slots!(ring, untrusted_consumer, untrusted_producer, shown);
    attack("stamped ring, pop", &arena, OF_TWO, &consumer);
    fill(&mut arena, full);
    attack("stamped ring, push", &arena, OF_TWO, &producer);
}

fn many() {
    let (ring, mut arena) =
        guarded(|| mpmc::Ring::<u64>::create(2).expect("a ring"), |ring| ring.as_fd());
    let full = || {
        let mut producer = ring.producer().expect("a place");
        assert_eq!(producer.push_slice(&[1, 1]), Ok(2));
    };
    // The word of the first slot: free and ready on the first lap; ready there, and free on the second.
    let word = SLOTS + size_of::<u64>();
    let shown = [(word, [0, 2]), (word, [2, 1 << 20])];
    let [consumer, producer] = ends_of_slots!(ring, untrusted_consumer, untrusted_producer, shown);
    attack("ring of many, pop", &arena, OF_MANY, &consumer);
    fill(&mut arena, full);
    attack("ring of many, push", &arena, OF_MANY, &producer);
}

fn indexed() {
    let (ring, mut arena) =
        guarded(|| indexed::Ring::<u64>::create(2).expect("a ring"), |ring| ring.as_fd());
    let full = || {
        let mut producer = ring.producer().expect("nobody has it");
        assert_eq!(producer.push_slice(&[1, 1]), Ok(2));
    };
    let (tail, head) = (RING, RING + 128);
    let shown = [(tail, [0, 1]), (head, [0, 1])];
    let [consumer, producer] = ends_of_slots!(ring, untrusted_consumer, untrusted_producer, shown);
    attack("indexed ring, pop", &arena, OF_TWO, &consumer);
    fill(&mut arena, full);
    attack("indexed ring, push", &arena, OF_TWO, &producer);
}

fn bytes() {
    let (ring, mut arena) =
        guarded(|| bytes::Ring::create(64).expect("a ring"), |ring| ring.as_fd());
    let full = || {
        let mut producer = ring.producer().expect("nobody has it");
        producer.push(1, &[1; 56]).expect("room");
    };
    let (tail, head) = (RING, RING + 128);
    let consumer = Subject {
        claim: Box::new(|| {
            let mut end = ring.untrusted_consumer()?;
            Ok(Box::new(move |deadline| match end.pop_deadline(&mut [0; 56], deadline) {
                Ok(_) => Ended::Had,
                Err(bytes::PopWaitError::TimedOut) => Ended::TimedOut,
                Err(bytes::PopWaitError::Disconnected) => Ended::Gone,
                Err(bytes::PopWaitError::Corrupt) => Ended::Corrupt,
                Err(error) => panic!("{error}"),
            }))
        }),
        shown: (tail, [0, 1]),
    };
    let producer = Subject {
        claim: Box::new(|| {
            let mut end = ring.untrusted_producer()?;
            Ok(Box::new(move |deadline| match end.push_deadline(7, &[7; 50], deadline) {
                Ok(()) => Ended::Had,
                Err(bytes::PushWaitError::TimedOut) => Ended::TimedOut,
                Err(bytes::PushWaitError::Disconnected) => Ended::Gone,
                Err(bytes::PushWaitError::Corrupt) => Ended::Corrupt,
                Err(error) => panic!("{error}"),
            }))
        }),
        shown: (head, [0, 8]),
    };
    attack("ring of bytes, pop", &arena, OF_TWO, &consumer);
    fill(&mut arena, full);
    attack("ring of bytes, push", &arena, OF_TWO, &producer);
}

/// A ring in memory between pages that nobody may access, and the attacker's view of it.
fn guarded<R>(create: impl Fn() -> R, fd: fn(&R) -> Option<BorrowedFd<'_>>) -> (R, Arena) {
    // Kept until there is one that fits, so that the next one gets other addresses.
    let mut unfit = Vec::new();
    for _ in 0..16 {
        make_room().expect("addresses");
        let ring = create();
        if let Ok(arena) = Arena::of(fd(&ring).expect("a region of its own")) {
            return (ring, arena);
        }
        unfit.push(ring);
    }
    panic!("no ring between guard pages");
}

/// Restores the ring, and fills it: so it is at the beginning of each attack from now on.
fn fill(arena: &mut Arena, fill: impl Fn()) {
    arena.restore();
    fill();
    arena.save();
}

fn attack(name: &str, arena: &Arena, words: Words, subject: &Subject<'_>) {
    for hammer in HAMMERS {
        doing(&format!("{name}, {hammer:?}"));
        let me = ProcessId::current().expect("an identity").to_bits();
        let mut attacker =
            fork_fn(|| -> i32 { hammer_for_ever(arena, words, hammer, subject.shown, me) })
                .expect("fork");
        let (mut ended, mut worst, mut refused) = ([0_usize; 4], Duration::ZERO, 0_usize);
        let (began, mut micros) = (Instant::now(), 0);
        // However busy the machine is.
        let is_enough = |ended: &[usize; 4], refused: usize| {
            let is_met = hammer != Hammer::Shows || was_shown(ended);
            let elapsed = began.elapsed();
            elapsed > SPAN && ended.iter().sum::<usize>() + refused > 20 && is_met || elapsed > LONG
        };
        while !is_enough(&ended, refused) {
            // As it was, and nobody has had an end.
            arena.restore();
            words.roles[..2].iter().for_each(|role| arena.word(*role).store(0, Relaxed));
            let Ok(mut end) = (subject.claim)() else {
                refused += 1;
                continue;
            };
            while !is_enough(&ended, refused) {
                micros = (micros + 337) % 2000;
                let deadline = Deadline::after(Duration::from_micros(micros));
                let how = end(deadline);
                let late = Deadline::now().to_timespec();
                let due = deadline.to_timespec();
                let late = (late.tv_sec - due.tv_sec) * 1_000_000_000 + late.tv_nsec - due.tv_nsec;
                worst = worst.max(Duration::from_nanos(late.max(0).unsigned_abs()));
                ended[how as usize] += 1;
                assert!(how != Ended::TimedOut || late >= 0, "{name}, {hammer:?}: early");
                if matches!(how, Ended::Corrupt | Ended::Had) {
                    break;
                }
            }
        }
        stop(&mut attacker);
        let calls: usize = ended.iter().sum();
        println!(
            "{name}, {hammer:?}: {calls} calls: {} had something, {} timed out, {} found nobody, {} corrupt; \
             {refused} claims refused, {worst:?} late at most",
            ended[0], ended[1], ended[2], ended[3],
        );
        assert!(worst < LATE, "{worst:?} late");
        assert!(calls > 0, "every claim was refused");
        assert!(hammer != Hammer::Shows || was_shown(&ended), "nothing was ever shown");
        if matches!(hammer, Hammer::Wakes | Hammer::Counts) {
            assert_eq!(ended[Ended::TimedOut as usize], calls, "nothing was there: {ended:?}");
        }
    }
    arena.restore();
}

/// Something was taken, or found to be none.
fn was_shown(ended: &[usize; 4]) -> bool {
    ended[Ended::Had as usize] + ended[Ended::Corrupt as usize] > 0
}

fn stop(attacker: &mut Child) {
    attacker.kill().expect("it hammers");
    assert!(!attacker.wait().expect("a child").success(), "it ended by itself");
}

fn hammer_for_ever(
    arena: &Arena,
    words: Words,
    hammer: Hammer,
    shown: (usize, [u64; 2]),
    me: u64,
) -> ! {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let set = |offset: usize, value| arena.word(offset).store(value, Relaxed);
    loop {
        match hammer {
            Hammer::Wakes => words.counts.iter().for_each(|count| wake(arena.word(*count))),
            Hammer::Counts => {
                words.counts.iter().for_each(|count| set(*count, next() & !(1 << 31)))
            }
            Hammer::Shows => (0..2).for_each(|i| set(shown.0, shown.1[i])),
            Hammer::Roles => {
                let values = [0, me, me ^ 1, 1 << 63, u64::MAX, next()];
                let value = values[next() as usize % values.len()];
                set(words.roles[next() as usize % 3], value);
            }
            Hammer::Everything => {
                let values = [0, 1, 2, me, u64::MAX, 1 << 63, next()];
                let value = values[next() as usize % values.len()];
                set((words.any)(next() as usize % 50), value);
            }
        }
    }
}

fn wake(count: &AtomicU64) {
    futex::wake(Word::Low(count), u32::MAX);
    futex::wake(Word::High(count), u32::MAX);
}
