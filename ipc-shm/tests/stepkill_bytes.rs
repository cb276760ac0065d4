//! The ring of bytes with its producer or consumer killed at every machine instruction of the release build (K09).
//!
//! A record of 64 bytes takes 9 of the ring's 32 words, so that every third or fourth one begins near the end and
//! goes on at the start, each time at another place. Records are copied, written and read where they lie, and read in
//! batches. Every operation claims its end of the ring, and closes it afterwards. With `IPC_STEPKILL=deep` the ring also
//! goes through all the scenarios that every ring goes through.

#[allow(unreachable_pub, reason = "shared with the other programs")]
mod victims;

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::process::ExitCode;
use std::thread;

use ipc_shm::ring::bytes::PopError;
use ipc_testkit::battery::rings::{self, Fill};
use ipc_testkit::ensure;
use ipc_testkit::oracle::{Ledger, Message};
use ipc_testkit::stepkill::{self, Actor, Role, Scenario, Verdict};

use victims::records::{Copied, InPlace, RECORDS, Records, TAG};

fn main() -> ExitCode {
    stepkill::main(|suite| {
        // The first record of an empty ring, and one that begins at word 27; the first of a full ring, and the one at
        // word 27.
        let (empty, writes_wrap) = (Fill { turned: 0, inside: 0 }, Fill { turned: 2, inside: 1 });
        let (full, reads_wrap) =
            (Fill { turned: 0, inside: RECORDS }, Fill { turned: 3, inside: 1 });
        for fill in [empty, writes_wrap] {
            suite.everywhere(&rings::push::<Records<Copied>>("ring of bytes", fill));
        }
        for fill in [full, reads_wrap] {
            suite.everywhere(&rings::pop::<Records<Copied>>("ring of bytes", fill));
        }
        suite.everywhere(&rings::push::<Records<InPlace>>("ring of bytes, in place", writes_wrap));
        suite.everywhere(&rings::pop::<Records<InPlace>>("ring of bytes, in place", reads_wrap));
        suite.everywhere(&batch(RECORDS));
        if suite.is_deep() {
            rings::run::<Records<Copied>>(suite, "ring of bytes");
            rings::run::<Records<InPlace>>(suite, "ring of bytes, in place");
            suite.everywhere(&batch(0));
        }
    })
}

/// A ring, its books, and which records of the batch came out.
struct World {
    ring: Records<Copied>,
    ledger: Ledger,
    came: [AtomicU8; RECORDS],
}

/// K08, K09: killed while it reads and releases a batch that fills the ring, after `turned` records: either all of them
/// are gone with it, or its successor gets them all.
fn batch(turned: usize) -> Scenario<World> {
    use rings::Ring as _;

    let make = || World {
        ring: Records::new(),
        ledger: Ledger::new(),
        came: [const { AtomicU8::new(0) }; RECORDS],
    };
    Scenario::new(format!("ring of bytes: a batch of {RECORDS} after {turned}"), make)
        .setup(move |world: &World| {
            for i in 0..turned + RECORDS {
                let message = world.ledger.next(0);
                assert!(world.ring.push(&message), "a new ring takes it");
                world.ledger.pushed(&message);
                if i < turned {
                    assert_eq!(world.ring.pop(), Some(message));
                    world.ledger.popped(0, &message).expect("in order");
                }
            }
        })
        .surface(|world| &world.ring, RECORDS as u64)
        .victim(move |world, me| {
            let messages = Cell::new([Message::blank(); RECORDS]);
            let count = me.operation(|| world.read_batch(&messages));
            for message in &messages.get()[..count] {
                world.popped(turned, me, message)?;
            }
            Ok(())
        })
        .survivors(2, move |world, me| {
            let (mut left, mut offer) = (3 * RECORDS, None);
            while left > 0 {
                let went_on = if me.role() == Role::Survivor(0) {
                    let message =
                        *offer.get_or_insert_with(|| world.ledger.next(me.number() as usize));
                    let pushed = world.ring.push(&message);
                    if pushed {
                        world.ledger.pushed(&message);
                        offer = None;
                    }
                    pushed
                } else if let Some(message) = world.ring.pop() {
                    world.popped(turned, me, &message)?;
                    true
                } else {
                    false
                };
                if went_on {
                    left -= 1;
                    me.succeeded();
                } else {
                    thread::yield_now();
                }
            }
            Ok(())
        })
        .audit(move |world, me| {
            while let Some(message) = world.ring.pop() {
                world.popped(turned, me, &message)?;
            }
            let came: u8 = world.came.iter().map(|came| came.load(Relaxed)).sum();
            ensure!(came == 0 || came as usize == RECORDS, "{came} records of the batch came out");
            world.ledger.audit(me.deaths() as usize * RECORDS)
        })
}

impl World {
    fn read_batch(&self, messages: &Cell<[Message; RECORDS]>) -> usize {
        let Some(mut consumer) = self.ring.consumer() else { return 0 };
        let mut batch = match consumer.batch() {
            Ok(batch) => batch,
            Err(PopError::Empty | PopError::Disconnected) => return 0,
            Err(error) => panic!("{error}"),
        };
        let mut all = [Message::blank(); RECORDS];
        let mut words = [0_u64; 8];
        while let Some((tag, len)) =
            batch.copy_next(ipc_shm::bytemuck::bytes_of_mut(&mut words)).expect("a whole record")
        {
            assert_eq!((tag, len), (TAG, 64));
            all[batch.count() - 1] = Message::from_words(words);
        }
        let count = batch.count();
        messages.set(all);
        batch.release();
        count
    }

    fn popped(&self, turned: usize, me: &Actor<'_>, message: &Message) -> Verdict {
        // The setup's messages behind the first turn are the batch.
        for (came, sequence) in self.came.iter().zip(turned as u64..) {
            if *message == Message::new(0, sequence) {
                came.fetch_add(1, Relaxed);
            }
        }
        self.ledger.popped(me.number() as usize, message)
    }
}
