//! H14: a valid ring, some flipped bits, and 200 random operations, beside a model.

use alloc::collections::VecDeque;
use core::ops::Range;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

use ipc_shm::bytemuck::{self, Zeroable as _};
use ipc_shm::ring::{PopError, PushError, Untrusted, bytes, indexed, spsc};
use ipc_testkit::stepmutate::Suite;

use super::{PAYLOAD, Random};

/// A message, all words of which are its number.
type Message = [u64; 3];
const SIZE: usize = size_of::<Message>();
/// A message with its sequence, or as a record with its header.
const SLOT: usize = SIZE + 8;
/// Where the roles end, and where the two positions of an indexed ring and of a ring of bytes end.
const ROLES: usize = PAYLOAD + 128;
const POSITIONS: usize = ROLES + 256;

/// A ring, both ends of which trust nobody.
struct Ends {
    capacity: usize,
    memory: File,
    push: Box<dyn FnMut(Message) -> Result<(), PushError<()>>>,
    pop: Box<dyn FnMut() -> Result<Message, PopError>>,
    /// Where messages lie, and nothing else.
    payloads: Vec<Range<usize>>,
    /// The words that say where the ring stands.
    words: Vec<usize>,
    /// Where the ring ends.
    end: usize,
}

fn stamped(random: &mut Random) -> Ends {
    let capacity = 1 + random.below(5);
    let ring = spsc::Ring::<Message>::create(capacity).expect("a ring");
    let mut producer = ring.untrusted_producer().expect("an end");
    let mut consumer = ring.untrusted_consumer().expect("an end");
    let slots = (0..capacity).map(|i| ROLES + i * SLOT);
    Ends {
        capacity,
        memory: memory(ring.as_fd()),
        push: Box::new(move |message| producer.push(message).map_err(without_message)),
        pop: Box::new(move || consumer.pop()),
        payloads: slots.clone().map(|slot| slot..slot + SIZE).collect(),
        words: slots.map(|slot| slot + SIZE).collect(),
        end: ROLES + capacity * SLOT,
    }
}

fn indexed(random: &mut Random) -> Ends {
    let capacity = 1 << random.below(3);
    let ring = indexed::Ring::<Message>::create(capacity).expect("a ring");
    let mut producer = ring.untrusted_producer().expect("an end");
    let mut consumer = ring.untrusted_consumer().expect("an end");
    let slots = (0..capacity).map(|i| POSITIONS + i * SIZE);
    Ends {
        capacity,
        memory: memory(ring.as_fd()),
        push: Box::new(move |message| producer.push(message).map_err(without_message)),
        pop: Box::new(move || consumer.pop()),
        payloads: slots.map(|slot| slot..slot + SIZE).collect(),
        words: vec![ROLES, ROLES + 128],
        end: POSITIONS + capacity * SIZE,
    }
}

/// The ring of bytes, with a record for each message: so headers are always at the same places.
fn records(random: &mut Random) -> Ends {
    let capacity = 1 << random.below(3);
    let ring = bytes::Ring::create(capacity * SLOT).expect("a ring");
    let mut producer: bytes::Producer<'static, Untrusted> =
        ring.untrusted_producer().expect("an end");
    let mut consumer = ring.untrusted_consumer().expect("an end");
    let slots = (0..capacity).map(|i| POSITIONS + i * SLOT);
    Ends {
        capacity,
        memory: memory(ring.as_fd()),
        push: Box::new(move |message| match producer.push(7, bytemuck::bytes_of(&message)) {
            Ok(()) => Ok(()),
            Err(bytes::PushError::Full) => Err(PushError::Full(())),
            Err(bytes::PushError::Disconnected) => Err(PushError::Disconnected(())),
            Err(bytes::PushError::Corrupt) => Err(PushError::Corrupt(())),
            Err(error) => panic!("{error}"),
        }),
        pop: Box::new(move || {
            // As long as the ring, for a size may be any.
            let (mut record, mut message) = ([0; 4 * SLOT], Message::zeroed());
            match consumer.pop(&mut record) {
                Ok((_, len)) => {
                    let to = bytemuck::bytes_of_mut(&mut message);
                    to.iter_mut().zip(&record[..len]).for_each(|(to, from)| *to = *from);
                    Ok(message)
                }
                Err(bytes::PopError::Empty) => Err(PopError::Empty),
                Err(bytes::PopError::Disconnected) => Err(PopError::Disconnected),
                Err(bytes::PopError::Corrupt) => Err(PopError::Corrupt),
                Err(error) => panic!("{error}"),
            }
        }),
        payloads: slots.map(|slot| slot + 8..slot + SLOT).collect(),
        words: vec![ROLES, ROLES + 128],
        end: POSITIONS + capacity * SLOT,
    }
}

fn memory(fd: Option<BorrowedFd<'_>>) -> File {
    File::from(fd.expect("its own").try_clone_to_owned().expect("a descriptor"))
}

fn without_message(error: PushError<Message>) -> PushError<()> {
    match error {
        PushError::Full(_) => PushError::Full(()),
        PushError::Disconnected(_) => PushError::Disconnected(()),
        PushError::Corrupt(_) => PushError::Corrupt(()),
    }
}

/// Which bits are flipped, and what that may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// None: everything is as in the model.
    Nowhere,
    /// Payloads: the same, but for what messages contain.
    Payload,
    /// Bits of sequences or positions that lead to none that a ring is at soon: as in the model, or corrupt.
    FarWord,
    /// Anywhere in the ring: whatever the peer could have done, or corrupt.
    Anywhere,
}

/// A kind of ring, by its name, and how one is made.
type Kind = (&'static str, fn(&mut Random) -> Ends);

const KINDS: [Kind; 3] = [("stamped", stamped), ("indexed", indexed), ("records", records)];

pub(crate) fn run(suite: &mut Suite) {
    let rounds = if suite.is_deep() { 20_000 } else { 300 };
    for (name, make) in KINDS {
        let all = [Where::Nowhere, Where::Payload, Where::FarWord, Where::Anywhere];
        for (number, what) in all.into_iter().enumerate() {
            suite.check(&format!("h14: {name}: bits flipped, {what:?}"), || {
                let mut random = Random(0x9e37_79b9_7f4a_7c15 + number as u64);
                let (mut corrupt, mut messages) = (0, 0);
                for round in 0..rounds {
                    let (popped, damaged) = play(make(&mut random), what, &mut random)
                        .map_err(|flaw| format!("round {round}: {flaw}"))?;
                    messages += popped;
                    corrupt += usize::from(damaged);
                }
                let never = matches!(what, Where::Nowhere | Where::Payload);
                if (corrupt == 0) != never || messages < rounds {
                    return Err(format!("{corrupt} corrupt, {messages} messages: flipped what?"));
                }
                Ok(format!("{rounds} rounds, {messages} messages, {corrupt} found corrupt"))
            });
        }
    }
}

/// How many messages came out, and whether an end said that the ring is corrupt.
fn play(mut ring: Ends, what: Where, random: &mut Random) -> Result<(usize, bool), String> {
    let mut model = VecDeque::new();
    let mut next = 1;
    let mut messages = 0;
    let (mut bad_producer, mut bad_consumer) = (false, false);
    // A history, then the flips, then the operations that count.
    let (before, after) = (random.below(40), 200);
    for step in 0..before + after {
        if step == before {
            for _ in 0..1 + random.below(4) {
                flip(&ring, what, random);
            }
        }
        if random.below(2) == 0 {
            let room = model.len() < ring.capacity;
            match (ring.push)([next; 3]) {
                Err(PushError::Corrupt(_)) => bad_producer = true,
                _ if bad_producer => return Err("the producer was corrupt, and is not".into()),
                Ok(()) if room || what == Where::Anywhere => {
                    model.push_back(next);
                    next += 1;
                }
                Err(PushError::Full(_)) if !room || what == Where::Anywhere => {}
                Err(PushError::Full(_)) if bad_consumer => {}
                Err(PushError::Disconnected(_)) if what == Where::Anywhere => {}
                other => return Err(format!("push: {other:?}, with {} inside", model.len())),
            }
        } else {
            match ((ring.pop)(), model.front().copied()) {
                (Err(PopError::Corrupt), _) => bad_consumer = true,
                _ if bad_consumer => return Err("the consumer was corrupt, and is not".into()),
                (Ok(message), Some(number)) if what != Where::Anywhere => {
                    if message != [number; 3] && what != Where::Payload {
                        return Err(format!("{message:?} popped, expected was {number}"));
                    }
                    model.pop_front();
                    messages += 1;
                }
                (Ok(_), front) if what == Where::Anywhere => {
                    model.pop_front();
                    messages += usize::from(front.is_some());
                }
                (Err(PopError::Empty), None) => {}
                (Err(PopError::Empty | PopError::Disconnected), _) if what == Where::Anywhere => {}
                (other, front) => {
                    return Err(format!("pop: {other:?}, and the model has {front:?}"));
                }
            }
        }
    }
    let damaged = bad_producer || bad_consumer;
    if damaged && matches!(what, Where::Nowhere | Where::Payload) {
        return Err("corrupt, and only payloads had changed".into());
    }
    Ok((messages, damaged))
}

fn flip(ring: &Ends, what: Where, random: &mut Random) {
    let bit = match what {
        Where::Nowhere => return,
        Where::Payload => {
            let range = &ring.payloads[random.below(ring.payloads.len())];
            range.start * 8 + random.below(range.len() * 8)
        }
        // Two hundred operations are fewer than 2^8 laps.
        Where::FarWord => ring.words[random.below(ring.words.len())] * 8 + 10 + random.below(54),
        Where::Anywhere => PAYLOAD * 8 + random.below((ring.end - PAYLOAD) * 8),
    };
    let (at, mut byte) = ((bit / 8) as u64, [0]);
    ring.memory.read_exact_at(&mut byte, at).expect("a byte of the ring");
    byte[0] ^= 1 << (bit % 8);
    ring.memory.write_all_at(&byte, at).expect("a byte of the ring");
}
