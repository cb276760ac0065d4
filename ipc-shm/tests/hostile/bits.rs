//! H14: a valid ring, some flipped bits, and 200 random operations, beside a model.

use alloc::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use ipc_shm::ring::spsc::Ring;
use ipc_shm::ring::{PopError, PushError};
use ipc_testkit::stepmutate::Suite;

use super::{PAYLOAD, Random};

const SLOTS: usize = PAYLOAD + 128;
/// The size of a slot with its message.
const SLOT: usize = 32;

/// Which bits are flipped, and what that may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// None: everything is as in the model.
    Nowhere,
    /// Payloads: the same, but for what messages contain.
    Payload,
    /// Bits of sequences that lead to none that a ring is at soon: as in the model, or corrupt.
    FarSequence,
    /// Anywhere in the ring: whatever the peer could have done, or corrupt.
    Anywhere,
}

pub(crate) fn run(suite: &mut Suite) {
    let rounds = if suite.is_deep() { 20_000 } else { 400 };
    for (number, what) in [Where::Nowhere, Where::Payload, Where::FarSequence, Where::Anywhere]
        .into_iter()
        .enumerate()
    {
        suite.check(&format!("stamped: bits flipped, {what:?}"), || {
            let mut random = Random(0x9e37_79b9_7f4a_7c15 + number as u64);
            let (mut corrupt, mut messages) = (0, 0);
            for round in 0..rounds {
                let (popped, damaged) =
                    play(what, &mut random).map_err(|flaw| format!("round {round}: {flaw}"))?;
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

/// How many messages came out, and whether an end said that the ring is corrupt.
fn play(what: Where, random: &mut Random) -> Result<(usize, bool), String> {
    let capacity = 1 + random.below(5);
    let ring = Ring::<[u64; 3]>::create(capacity).map_err(|e| e.to_string())?;
    let mut producer = ring.untrusted_producer().map_err(|e| e.to_string())?;
    let mut consumer = ring.untrusted_consumer().map_err(|e| e.to_string())?;
    let mut model = VecDeque::new();
    let mut next = 1;
    let mut messages = 0;
    let (mut bad_producer, mut bad_consumer) = (false, false);
    // A history, then the flips, then the operations that count.
    let (before, after) = (random.below(40), 200);
    for step in 0..before + after {
        if step == before && what != Where::Nowhere {
            let file = ring.as_fd().expect("its own").try_clone_to_owned().expect("a descriptor");
            for _ in 0..1 + random.below(4) {
                flip(&File::from(file.try_clone().expect("a descriptor")), what, capacity, random);
            }
        }
        if random.below(2) == 0 {
            let room = model.len() < capacity;
            match producer.push([next, next, next]) {
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
            match (consumer.pop(), model.front().copied()) {
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

fn flip(file: &File, what: Where, capacity: usize, random: &mut Random) {
    let slot = SLOTS + random.below(capacity) * SLOT;
    let bit = match what {
        Where::Nowhere => return,
        Where::Payload => slot * 8 + 64 + random.below(24 * 8),
        // Two hundred operations are fewer than 2^8 laps.
        Where::FarSequence => slot * 8 + 10 + random.below(54),
        Where::Anywhere => PAYLOAD * 8 + random.below((128 + capacity * SLOT) * 8),
    };
    let (at, mut byte) = ((bit / 8) as u64, [0]);
    file.read_exact_at(&mut byte, at).expect("a byte of the ring");
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, at).expect("a byte of the ring");
}
