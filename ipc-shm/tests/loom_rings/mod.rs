//! What the models of all rings have in common: two sides, whatever calls they use, and the books.
//!
//! What is asserted, besides that loom finds no data race on a payload: each producer's messages come out in order,
//! each once, and all of them before its successor's; nothing comes out that nobody pushed; nothing is lost but what
//! a killed consumer had taken; a killed producer's last call comes whole, or not at all, or (a slice of the stamped
//! ring) as a prefix; and whatever the dead leave, a new process attaches and the ring works for a whole lap.

use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Mutex;

use ipc_core::primitive::sim::{self, Arc};
use ipc_shm::ring::{PopError, PushError, RingError, RoleError};

/// A ring as the model uses it.
pub(crate) trait ModelRing: Sized + Send + Sync + 'static {
    type Producer;
    type Consumer;

    /// A death in the middle of a slice leaves all of it or nothing.
    const WHOLE: bool;

    fn boxed_at(capacity: usize, start: u64) -> Result<Self, RingError>;
    fn producer(&self) -> Result<Self::Producer, RoleError>;
    fn consumer(&self) -> Result<Self::Consumer, RoleError>;
    fn push_slice(producer: &mut Self::Producer, messages: &[u64]) -> Result<usize, PushError<()>>;
    fn pop_slice(consumer: &mut Self::Consumer, most: usize) -> Result<Vec<u64>, PopError>;
}

/// The parts of [`ModelRing`] that have the same names everywhere.
macro_rules! model_ring {
    ($module:ident, whole: $whole:literal) => {
        impl ModelRing for ipc_shm::ring::$module::Ring<'static, u64> {
            type Producer = ipc_shm::ring::$module::Producer<'static, u64>;
            type Consumer = ipc_shm::ring::$module::Consumer<'static, u64>;

            const WHOLE: bool = $whole;

            fn boxed_at(capacity: usize, start: u64) -> Result<Self, RingError> {
                Self::boxed_at(capacity, start)
            }

            fn producer(&self) -> Result<Self::Producer, RoleError> {
                self.producer()
            }

            fn consumer(&self) -> Result<Self::Consumer, RoleError> {
                self.consumer()
            }

            fn push_slice(
                producer: &mut Self::Producer,
                messages: &[u64],
            ) -> Result<usize, PushError<()>> {
                producer.push_slice(messages)
            }

            fn pop_slice(consumer: &mut Self::Consumer, most: usize) -> Result<Vec<u64>, PopError> {
                let mut messages = vec![0; most];
                let found = consumer.pop_slice(&mut messages)?;
                messages.truncate(found);
                Ok(messages)
            }
        }
    };
}

model_ring!(spsc, whole: false);
model_ring!(indexed, whole: true);

/// Pushes a prefix of the messages somehow.
pub(crate) type Push<R> =
    fn(&mut <R as ModelRing>::Producer, &[u64]) -> Result<usize, PushError<()>>;
/// Pops up to so many messages somehow.
pub(crate) type Pop<R> = fn(&mut <R as ModelRing>::Consumer, usize) -> Result<Vec<u64>, PopError>;

/// A ring, and what the processes know of it. The books are not part of the model.
struct World<R> {
    ring: R,
    capacity: usize,
    /// How many messages a call pushes at once, if there is room, and how many it pops.
    batch: [usize; 2],
    /// How many messages of each producer the calls that returned have pushed.
    pushed: [AtomicUsize; 5],
    /// What the calls that returned have popped, in their order.
    popped: Mutex<Vec<u64>>,
    consumers_killed: AtomicUsize,
    killed: [AtomicUsize; 5],
}

/// The process that looks at what is left; nobody's victim.
const END: usize = 4;

/// Message `number` of producer `process`.
fn message(process: usize, number: usize) -> u64 {
    (process * 100 + number) as u64
}

impl<R: ModelRing> World<R> {
    fn new(capacity: usize, start: u64, batch: [usize; 2]) -> Arc<Self> {
        Arc::new(Self {
            ring: R::boxed_at(capacity, start).unwrap(),
            capacity,
            batch,
            pushed: Default::default(),
            popped: Mutex::default(),
            consumers_killed: AtomicUsize::new(0),
            killed: Default::default(),
        })
    }

    /// Process `index` becomes the producer, if it may, and calls `push` so often.
    fn produce(&self, index: usize, calls: usize, push: Push<R>) {
        let work = || {
            let mut producer = match self.ring.producer() {
                Ok(producer) => producer,
                Err(RoleError::Taken { .. }) => return,
                Err(error) => panic!("{error}"),
            };
            for _ in 0..calls {
                let next = self.pushed[index].load(SeqCst);
                let messages: Vec<_> =
                    (next..next + self.batch[0]).map(|number| message(index, number)).collect();
                match push(&mut producer, &messages) {
                    Ok(count) => self.pushed[index].store(next + count, SeqCst),
                    Err(PushError::Full(()) | PushError::Disconnected(())) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        sim::process_then(index, work, || {
            self.killed[index].fetch_add(1, SeqCst);
        });
    }

    fn consume(&self, index: usize, calls: usize, pop: Pop<R>) {
        let work = || {
            let mut consumer = match self.ring.consumer() {
                Ok(consumer) => consumer,
                Err(RoleError::Taken { .. }) => return,
                Err(error) => panic!("{error}"),
            };
            for _ in 0..calls {
                match pop(&mut consumer, self.batch[1]) {
                    Ok(messages) => self.popped.lock().unwrap().extend(messages),
                    Err(PopError::Empty | PopError::Disconnected) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        sim::process_then(index, work, || {
            self.consumers_killed.fetch_add(1, SeqCst);
        });
    }

    /// All others have ended: takes both ends, goes a lap around, and looks through the books.
    fn settle(&self) {
        let mut consumer = self.ring.consumer().expect("nobody alive has it");
        while let Ok(messages) = R::pop_slice(&mut consumer, 1) {
            self.popped.lock().unwrap().extend(messages);
        }
        let mut producer = self.ring.producer().expect("nobody alive has it");
        let lap: Vec<_> = (0..self.capacity as u64).map(|number| 1000 + number).collect();
        assert_eq!(R::push_slice(&mut producer, &lap), Ok(lap.len()), "an empty ring takes a lap");
        assert_eq!(R::push_slice(&mut producer, &[0]), Err(PushError::Full(())));
        assert_eq!(R::pop_slice(&mut consumer, lap.len()), Ok(lap));
        self.audit();
    }

    fn audit(&self) {
        let popped = self.popped.lock().unwrap();
        let by = |process| popped.iter().filter(move |&&one| one / 100 == process as u64);
        let mut lost = 0;
        for process in 0..END {
            let pushed = self.pushed[process].load(SeqCst);
            let last = by(process).next_back().map_or(0, |&last| last as usize % 100 + 1);
            assert!(by(process).is_sorted_by(|a, b| a < b), "{popped:?}");
            lost += pushed.max(last) - by(process).count();
            // What a call has done that never returned.
            let more = last.saturating_sub(pushed);
            let killed = self.killed[process].load(SeqCst) > 0;
            assert!(more == 0 || killed && more <= self.batch[0], "{popped:?} of {pushed}");
            if R::WHOLE && self.batch[0] <= self.capacity {
                let room = self.capacity - self.capacity.min(pushed);
                assert!(
                    more == 0 || more >= self.batch[0].min(room).max(1),
                    "half a batch: {popped:?}"
                );
            }
        }
        assert!(popped.chunk_by(|a, b| a / 100 == b / 100).count() <= 2, "mixed: {popped:?}");
        let killed = self.consumers_killed.load(SeqCst);
        assert!(
            lost <= killed * self.batch[1],
            "{lost} lost, {killed} consumers killed: {popped:?}"
        );
    }
}

/// A producer and a consumer, with so many calls each, of so many messages.
pub(crate) fn pair<R: ModelRing>(
    (capacity, start): (usize, u64),
    batch: [usize; 2],
    (pushes, push): (usize, Push<R>),
    (pops, pop): (usize, Pop<R>),
) {
    let world = World::<R>::new(capacity, start, batch);
    let consumer = {
        let world = world.clone();
        sim::spawn_thread(move || world.consume(1, pops, pop))
    };
    world.produce(0, pushes, push);
    consumer.join().unwrap();
    sim::process(END, || world.settle()).expect("nobody kills it");
}

/// Two producers, the second of which comes when the first has gone, and a consumer that is at work all the time.
pub(crate) fn producers_in_turn<R: ModelRing>(batch: [usize; 2], push: Push<R>, pop: Pop<R>) {
    let world = World::<R>::new(2, u64::MAX - 1, batch);
    let consumer = {
        let world = world.clone();
        sim::spawn_thread(move || world.consume(1, 2, pop))
    };
    world.produce(0, 1, push);
    world.produce(2, 2, push);
    consumer.join().unwrap();
    sim::process(END, || world.settle()).expect("nobody kills it");
}

/// The same with the consumers.
pub(crate) fn consumers_in_turn<R: ModelRing>(batch: [usize; 2], push: Push<R>, pop: Pop<R>) {
    let world = World::<R>::new(2, u64::MAX - 1, batch);
    let producer = {
        let world = world.clone();
        sim::spawn_thread(move || world.produce(1, 2, push))
    };
    world.consume(0, 1, pop);
    world.consume(2, 2, pop);
    producer.join().unwrap();
    sim::process(END, || world.settle()).expect("nobody kills it");
}

/// `Disconnected` never comes before the last message of a producer that closed or died.
pub(crate) fn last_message_before_disconnected<R: ModelRing>() {
    let world = World::<R>::new(2, 0, [1, 1]);
    let producer = {
        let world = world.clone();
        sim::spawn_thread(move || world.produce(0, 2, R::push_slice))
    };
    sim::process(1, || {
        let mut consumer = world.ring.consumer().unwrap();
        for _ in 0..4 {
            match R::pop_slice(&mut consumer, 1) {
                Ok(messages) => world.popped.lock().unwrap().extend(messages),
                Err(PopError::Empty) => {}
                Err(PopError::Disconnected) => {
                    // Final: the producer is gone, and nobody else attaches here.
                    assert_eq!(R::pop_slice(&mut consumer, 1), Err(PopError::Disconnected));
                    let popped = world.popped.lock().unwrap().len();
                    assert!(popped >= world.pushed[0].load(SeqCst), "a message came too late");
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    producer.join().unwrap();
    sim::process(END, || world.settle()).expect("nobody kills it");
}
