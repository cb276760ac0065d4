//! The scenarios, for the ring that `kind` is.

use core::mem::forget;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;

use ipc_core::primitive::sim::{self, Arc};
use ipc_shm::ring::pollable::{Armed, Pollable, Sockets};
use ipc_shm::ring::{PopError, PushError};

use super::kind::{Consumer, Producer, Ring};

/// A ring for one message, and what the processes know of it. The books are not part of the model.
pub(crate) struct Shared {
    ring: Ring<'static, u64>,
    /// How many pushes have returned, and which messages pops have returned.
    pushed: AtomicU64,
    popped: Mutex<Vec<u64>>,
    /// By process: it was killed.
    dead: [AtomicBool; 2],
    /// By process: it has its end. Else nobody may have it, and whoever waits for it waits for ever.
    attached: [AtomicBool; 2],
}

const PRODUCER: usize = 0;
const CONSUMER: usize = 1;
const HEIR: usize = 2;
/// Nobody kills it.
const SETUP: usize = 4;

type Actor = fn(&Shared);
type Writer = Producer<'static, u64>;
type Reader = Consumer<'static, u64>;

/// A ring with `inside` messages, 0 or 1.
fn shared(inside: u64) -> Arc<Shared> {
    let shared = Shared {
        ring: Ring::boxed(1).unwrap().with_sockets(Sockets::pair().unwrap()),
        pushed: AtomicU64::new(0),
        popped: Mutex::default(),
        dead: [const { AtomicBool::new(false) }; 2],
        attached: [const { AtomicBool::new(false) }; 2],
    };
    if inside > 0 {
        sim::process(SETUP, || shared.push(&mut shared.ring.producer().unwrap()));
    }
    Arc::new(shared)
}

impl Shared {
    fn writer(&self) -> Writer {
        let writer = self.ring.producer().expect("nobody alive has it");
        self.attached[PRODUCER].store(true, Relaxed);
        writer
    }

    fn reader(&self) -> Reader {
        let reader = self.ring.consumer().expect("nobody alive has it");
        self.attached[CONSUMER].store(true, Relaxed);
        reader
    }

    fn next(&self) -> u64 {
        self.pushed.load(Relaxed)
    }

    fn push(&self, writer: &mut Writer) {
        writer.push(self.next()).expect("there is room");
        self.pushed.fetch_add(1, Relaxed);
    }

    /// `false`: the consumer is gone, and the ring is full.
    fn push_polling(&self, writer: &mut Pollable<Writer>) -> bool {
        loop {
            match writer.push(self.next()) {
                Ok(()) => _ = self.pushed.fetch_add(1, Relaxed),
                Err(PushError::Disconnected(_)) => return false,
                Err(PushError::Full(_)) => {
                    match writer.arm() {
                        Ok(Armed::Ready) => {}
                        Ok(Armed::Sleep) => writer.poll(),
                        other => panic!("{other:?}"),
                    }
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            return true;
        }
    }

    /// `false`: the producer is gone, and the ring is empty.
    fn pop_polling(&self, reader: &mut Pollable<Reader>) -> bool {
        loop {
            match reader.pop() {
                Ok(message) => self.popped.lock().unwrap().push(message),
                Err(PopError::Disconnected) => return false,
                Err(PopError::Empty) => {
                    match reader.arm() {
                        Ok(Armed::Ready) => {}
                        Ok(Armed::Sleep) => reader.poll(),
                        other => panic!("{other:?}"),
                    }
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            return true;
        }
    }

    fn is_dead(&self, who: usize) -> bool {
        self.dead[who].load(Relaxed)
    }

    /// One may still be inside, a killed consumer may have had one, and a killed producer's may be there twice.
    fn audit(&self) {
        let popped = self.popped.lock().unwrap();
        assert!(popped.windows(2).all(|pair| pair[0] <= pair[1]), "out of order: {popped:?}");
        let last = popped.last().map_or(0, |last| last + 1).max(self.next());
        let missing = (0..last).filter(|message| !popped.contains(message)).count();
        assert!(missing <= 1 + usize::from(self.is_dead(CONSUMER)), "{popped:?} of {last}");
        let twice = popped.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(twice <= usize::from(self.is_dead(PRODUCER)), "{popped:?}");
    }
}

fn run(index: usize, shared: &Shared, actor: Actor) -> bool {
    let at_death = || shared.dead[index].store(true, Relaxed);
    sim::process_then(index, || actor(shared), at_death).is_some()
}

/// A producer and a consumer, one of whom may be killed: its death is told to the other one.
pub(crate) fn pair(inside: u64, produce: Actor, consume: Actor) {
    let shared = shared(inside);
    let other = shared.clone();
    let consumer = sim::spawn_thread(move || attend(CONSUMER, &other, consume));
    attend(PRODUCER, &shared, produce);
    consumer.join().unwrap();
    shared.audit();
}

/// Runs, and is seen to have come and gone, even if it was killed on its way: as long as nobody has come, there is nobody
/// whose death could be told.
fn attend(index: usize, shared: &Shared, actor: Actor) {
    if !run(index, shared, actor) && !shared.attached[index].load(Relaxed) {
        sim::process(SETUP, || match index {
            PRODUCER => drop(shared.ring.producer().expect("vacant, or its owner is dead")),
            _ => drop(shared.ring.consumer().expect("vacant, or its owner is dead")),
        });
    }
}

// Whoever closes its end tells the other side, which would make up for what was not told. So ends are forgotten.

pub(crate) fn pushes(shared: &Shared) {
    let mut writer = shared.writer();
    shared.push(&mut writer);
    forget(writer);
}

pub(crate) fn pops(shared: &Shared) {
    let mut reader = shared.reader();
    let message = reader.pop().expect("one is there");
    shared.popped.lock().unwrap().push(message);
    forget(reader);
}

pub(crate) fn pushes_twice(shared: &Shared) {
    let mut writer = Pollable::new(shared.writer()).unwrap();
    let pushed = shared.push_polling(&mut writer) && shared.push_polling(&mut writer);
    assert!(pushed || shared.is_dead(CONSUMER), "the consumer lives");
    forget(writer);
}

/// The second time only if there is room already; else it closes its end.
pub(crate) fn pushes_twice_or_closes(shared: &Shared) {
    let mut writer = shared.writer();
    shared.push(&mut writer);
    if writer.push(shared.next()).is_ok() {
        shared.pushed.fetch_add(1, Relaxed);
        forget(writer);
    }
}

pub(crate) fn closes(shared: &Shared) {
    shared.push(&mut shared.writer());
}

pub(crate) fn polls_for_room(shared: &Shared) {
    let mut writer = Pollable::new(shared.writer()).unwrap();
    let pushed = shared.push_polling(&mut writer);
    assert!(pushed || shared.is_dead(CONSUMER), "the consumer lives");
    forget(writer);
}

pub(crate) fn polls_once(shared: &Shared) {
    let mut reader = Pollable::new(shared.reader()).unwrap();
    let popped = shared.pop_polling(&mut reader);
    assert!(popped || shared.is_dead(PRODUCER), "the producer lives");
    forget(reader);
}

pub(crate) fn polls_twice(shared: &Shared) {
    let mut reader = Pollable::new(shared.reader()).unwrap();
    let popped = shared.pop_polling(&mut reader) && shared.pop_polling(&mut reader);
    assert!(popped || shared.is_dead(PRODUCER), "the producer lives");
    forget(reader);
}

pub(crate) fn polls_twice_if_open(shared: &Shared) {
    let mut reader = Pollable::new(shared.reader()).unwrap();
    let _ = shared.pop_polling(&mut reader) && shared.pop_polling(&mut reader);
    forget(reader);
}

pub(crate) fn polls_until_closed(shared: &Shared) {
    let mut reader = Pollable::new(shared.reader()).unwrap();
    while shared.pop_polling(&mut reader) {}
    let popped = shared.popped.lock().unwrap().len() as u64;
    assert!(popped >= shared.next(), "{popped} of {}", shared.next());
    forget(reader);
}

/// Whoever sleeps as the producer dies is told of that, and looks once more; or of the heir.
pub(crate) fn poll_and_heir() {
    let shared = shared(0);
    let other = shared.clone();
    let survivor = sim::spawn_thread(move || run(CONSUMER, &other, polls_once));
    if !run(PRODUCER, &shared, pushes) {
        sim::process(HEIR, || {
            let mut writer = shared.writer();
            // The dead one may have pushed it.
            if writer.push(shared.next()).is_ok() {
                shared.pushed.fetch_add(1, Relaxed);
            }
            forget(writer);
        });
    }
    survivor.join().unwrap();
    shared.audit();
}
