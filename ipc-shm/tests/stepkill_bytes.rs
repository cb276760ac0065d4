//! The ring of bytes with its producer or consumer killed at every machine instruction of the release build (K09).
//!
//! A record of 64 bytes takes 9 of the ring's 32 words, so that every third or fourth one begins near the end and
//! goes on at the start, each time at another place. Records are copied, written and read where they lie, and read in
//! batches. Every operation claims its end of the ring, and closes it afterwards. With `IPC_STEPKILL=deep` the ring also
//! goes through all the scenarios that every ring goes through.

use core::cell::Cell;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::process::ExitCode;
use std::thread;

use ipc_shm::ring::RoleError;
use ipc_shm::ring::bytes::{Consumer, FixedRing, PopError, Producer, PushError};
use ipc_testkit::battery::rings::{self, Fill, Shape};
use ipc_testkit::ensure;
use ipc_testkit::oracle::{Ledger, Message};
use ipc_testkit::stepkill::{self, Actor, Role, Scenario, Verdict};

/// The words of the ring, and how many records of 64 bytes that is.
const WORDS: usize = 32;
const RECORDS: usize = WORDS / 9;

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

/// How records are written and read.
trait Way: Sync + 'static {
    fn push(producer: &mut Producer<'_>, bytes: &[u8]) -> Result<(), PushError>;
    fn pop(consumer: &mut Consumer<'_>, bytes: &mut [u8]) -> Result<usize, PopError>;
}

struct Copied;

impl Way for Copied {
    fn push(producer: &mut Producer<'_>, bytes: &[u8]) -> Result<(), PushError> {
        producer.push(TAG, bytes)
    }

    fn pop(consumer: &mut Consumer<'_>, bytes: &mut [u8]) -> Result<usize, PopError> {
        let (tag, len) = consumer.pop(bytes)?;
        assert_eq!(tag, TAG);
        Ok(len)
    }
}

struct InPlace;

impl Way for InPlace {
    fn push(producer: &mut Producer<'_>, bytes: &[u8]) -> Result<(), PushError> {
        // More than is needed in the end; there is room for it.
        let mut room = producer.reserve(bytes.len() + 4)?;
        let (first, second) = bytes.split_at(5);
        room.write(first).expect("reserved");
        room.write(second).expect("reserved");
        room.commit(TAG);
        Ok(())
    }

    fn pop(consumer: &mut Consumer<'_>, bytes: &mut [u8]) -> Result<usize, PopError> {
        let peek = consumer.peek()?;
        let record = peek.record();
        let (first, second) = record.as_slices();
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..record.len()].copy_from_slice(second);
        let len = record.len();
        assert_eq!(record.tag(), TAG);
        peek.release();
        Ok(len)
    }
}

const TAG: u32 = 0xfeed_beef;

/// A ring in the harness's memory.
struct Records<W> {
    ring: FixedRing<WORDS>,
    way: core::marker::PhantomData<W>,
}

impl<W: Way> Records<W> {
    fn producer(&self) -> Option<Producer<'_>> {
        end(self.ring.ring().producer())
    }

    fn consumer(&self) -> Option<Consumer<'_>> {
        end(self.ring.ring().consumer())
    }
}

fn end<E>(claimed: Result<E, RoleError>) -> Option<E> {
    match claimed {
        Ok(end) => Some(end),
        Err(RoleError::Taken { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

impl<W: Way> rings::Ring for Records<W> {
    const SHAPE: Shape = Shape::OneToOne;
    const CAPACITY: usize = RECORDS;

    fn new() -> Self {
        Self { ring: FixedRing::new(), way: core::marker::PhantomData }
    }

    fn push(&self, message: &Message) -> bool {
        let Some(mut producer) = self.producer() else { return false };
        match W::push(&mut producer, ipc_shm::bytemuck::bytes_of(&message.to_words())) {
            Ok(()) => true,
            Err(PushError::Full | PushError::Disconnected) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn pop(&self) -> Option<Message> {
        let mut consumer = self.consumer()?;
        let mut words = [0_u64; 8];
        match W::pop(&mut consumer, ipc_shm::bytemuck::bytes_of_mut(&mut words)) {
            Ok(64) => Some(Message::from_words(words)),
            Ok(len) => panic!("a record of {len} bytes"),
            Err(PopError::Empty | PopError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
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
