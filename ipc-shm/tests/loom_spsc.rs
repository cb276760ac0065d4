//! The stamped ring in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`, and with `IPC_LOOM=deep` by whoever has minutes: that adds the scenarios whose
//! number of interleavings explodes, with one preemption more. Without `--cfg loom` there is no
//! model, and this program says so.
//!
//! A process that only looks at words must be in a thread that starts after the one that changes
//! them: loom 0.7 remembers no more than the last access to a word, so a change that its own
//! thread began by a look (a load, then a compare-exchange) is never tried before what another
//! thread had looked at earlier.
//!
//! What each scenario asserts, besides that loom finds no data race on a payload and no deadlock:
//! messages come out in order, none twice, none lost but the one that a killed consumer had
//! released, and whatever the dead leave, a new process attaches and the ring works for a whole
//! lap.
//!
//! # Safety
//!
//! One scenario copies a handle, as `fork` does; the copy is only dropped, in another process.
#![cfg_attr(loom, expect(unsafe_code, reason = "a copy of a handle"))]

#[cfg(loom)]
mod loom_rings;

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{self, Fault, Suite};
    use model::*;

    let deep = std::env::var_os("IPC_LOOM").is_some_and(|how| how == "deep");
    let suite = Suite::new()
        .case("push_and_pop_capacity_1", 3, &[0, 1], || push_and_pop(1))
        .case("push_and_pop_capacity_2", 2, &[0, 1], || push_and_pop(2))
        .case("push_and_pop_old_ring", 2, &[0, 1], push_and_pop_old_ring)
        .case("slices_capacity_1", 2, &[0, 1], || slices(1))
        .case("slices_capacity_2", 2, &[0, 1], || slices(2))
        .case("payloads_are_handed_over", 2, &[], || slices(4))
        .reveals(&[Fault::StoresOrderNothing])
        .case("producers_in_turn", 2, &[0, 1, 2], producers_in_turn)
        .case("consumers_in_turn", 2, &[0, 1, 2], consumers_in_turn)
        .case("two_producers", 3, &[0, 1], two_producers)
        .case("producer_is_replaced", 1, &[0, 1, 2], producer_is_replaced)
        .case("consumer_is_replaced", 1, &[0, 1, 2], consumer_is_replaced)
        .case("one_heir_of_the_dead", 3, &[1, 2], || one_heir_only(|producer| sim::die(producer)))
        .case("one_heir_of_a_closed_end", 3, &[1, 2], || one_heir_only(drop))
        .case("last_message_before_disconnected", 3, &[0], last_message_before_disconnected)
        .case("disconnected_means_full", 3, &[0], disconnected_means_full)
        .case("death_of_a_successor", 3, &[], death_of_a_successor)
        .case("stranger_wants_a_dead_ones_end", 3, &[1, 2], || stranger(true))
        .case("stranger_wants_a_closed_end", 3, &[1, 2], || stranger(false))
        .case("stranger_is_never_dead", 3, &[2], stranger_is_never_dead)
        .case("handle_copied_by_fork", 3, &[0], handle_copied_by_fork);
    let suite = if deep {
        suite
            .case("deep_push_and_pop_capacity_2", 3, &[0, 1], || push_and_pop(2))
            .case("slicing_producers_in_turn", 1, &[0, 1, 2], slicing_producers_in_turn)
            .case("slicing_consumers_in_turn", 1, &[0, 1, 2], slicing_consumers_in_turn)
            .case("deep_producers_in_turn", 3, &[0, 1, 2], producers_in_turn)
            .case("deep_consumers_in_turn", 3, &[0, 1, 2], consumers_in_turn)
            .case("deep_producer_is_replaced", 2, &[0, 1, 2], deep_producer_is_replaced)
            .case("deep_consumer_is_replaced", 2, &[0, 1, 2], deep_consumer_is_replaced)
    } else {
        suite
    };
    suite.run()
}

#[cfg(loom)]
extern crate alloc;

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::Mutex;

    use ipc_core::primitive::identity;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
    use ipc_shm::ring::{Peer, PopError, PushError, RoleError};

    use crate::loom_rings::{self, ModelRing as _, pair};

    /// A ring, and what the processes know of it. The books are not part of the model.
    pub(crate) struct Shared {
        ring: Ring<'static, u64>,
        capacity: usize,
        /// How many pushes have returned.
        pushed: AtomicUsize,
        /// What pops have returned, in their order.
        popped: Mutex<Vec<u64>>,
        /// How often somebody died who might have been between releasing a slot and returning.
        consumers_killed: AtomicUsize,
        producers_killed: AtomicUsize,
    }

    fn shared(capacity: usize, laps: u64) -> Arc<Shared> {
        Arc::new(Shared {
            ring: Ring::boxed_at(capacity, laps).unwrap(),
            capacity,
            pushed: AtomicUsize::new(0),
            popped: Mutex::default(),
            consumers_killed: AtomicUsize::new(0),
            producers_killed: AtomicUsize::new(0),
        })
    }

    impl Shared {
        /// Tries `tries` times to push the next message. A message has the number of its slot,
        /// counted from the start.
        fn push(&self, producer: &mut Producer<'_, u64>, tries: usize) {
            for _ in 0..tries {
                let next = self.pushed.load(Relaxed) as u64;
                match producer.push(next) {
                    Ok(()) => self.pushed.store(next as usize + 1, Relaxed),
                    Err(PushError::Full(message) | PushError::Disconnected(message)) => {
                        assert_eq!(message, next);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }

        fn pop(&self, consumer: &mut Consumer<'_, u64>, tries: usize) {
            for _ in 0..tries {
                match consumer.pop() {
                    Ok(message) => self.popped.lock().unwrap().push(message),
                    Err(PopError::Empty | PopError::Disconnected) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }

        fn produce(&self, tries: usize) {
            match self.ring.producer() {
                Ok(mut producer) => self.push(&mut producer, tries),
                Err(RoleError::Taken { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }

        fn consume(&self, tries: usize) {
            match self.ring.consumer() {
                Ok(mut consumer) => self.pop(&mut consumer, tries),
                Err(RoleError::Taken { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }

        /// All others have ended: takes both ends, looks through the books, and goes a lap around.
        fn settle(&self) {
            let mut consumer = self.ring.consumer().expect("nobody alive has it");
            while let Ok(message) = consumer.pop() {
                self.popped.lock().unwrap().push(message);
            }
            let mut producer = self.ring.producer().expect("nobody alive has it");
            for number in 0..self.capacity as u64 {
                producer.push(1000 + number).expect("an empty ring takes its capacity");
            }
            assert_eq!(producer.push(0), Err(PushError::Full(0)));
            for number in 0..self.capacity as u64 {
                assert_eq!(consumer.pop(), Ok(1000 + number));
            }
            self.audit();
        }

        fn audit(&self) {
            let popped = self.popped.lock().unwrap();
            let pushed = self.pushed.load(Relaxed);
            let producers_killed = self.producers_killed.load(Relaxed);
            assert!(popped.windows(2).all(|pair| pair[0] <= pair[1]), "out of order: {popped:?}");
            // A killed producer may have published without having returned, so its heir may push
            // the same number again.
            let twice = popped.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(twice <= producers_killed, "{popped:?} with {producers_killed} killed");
            let last = pushed + producers_killed;
            assert!(
                popped.iter().all(|&message| (message as usize) < last),
                "{popped:?} of {pushed}"
            );
            // A killed consumer may have released without having returned.
            let lost = (0..pushed as u64).filter(|message| !popped.contains(message)).count();
            let killed = self.consumers_killed.load(Relaxed);
            assert!(lost <= killed, "{popped:?} of {pushed} with {killed} consumers killed");
        }
    }

    fn producer(index: usize, shared: &Shared, tries: usize) {
        let at_death = || {
            shared.producers_killed.fetch_add(1, Relaxed);
        };
        sim::process_then(index, || shared.produce(tries), at_death);
    }

    fn consumer(index: usize, shared: &Shared, tries: usize) {
        let at_death = || {
            shared.consumers_killed.fetch_add(1, Relaxed);
        };
        sim::process_then(index, || shared.consume(tries), at_death);
    }

    type Side = fn(usize, &Shared, usize);

    fn start(side: Side, index: usize, shared: &Arc<Shared>, tries: usize) -> sim::JoinHandle<()> {
        let shared = shared.clone();
        sim::spawn_thread(move || side(index, &shared, tries))
    }

    /// The process that looks at what is left; nobody's victim.
    const END: usize = 4;

    fn together(shared: Arc<Shared>, tries: usize, others: &[(Side, usize)]) {
        let others: Vec<_> = others
            .iter()
            .zip(1..)
            .map(|(&(side, tries), index)| start(side, index, &shared, tries))
            .collect();
        producer(0, &shared, tries);
        for other in others {
            other.join().unwrap();
        }
        sim::process(END, || shared.settle()).expect("nobody kills it");
    }

    pub(crate) fn push_and_pop(capacity: usize) {
        together(shared(capacity, 0), 3, &[(consumer, 3)]);
    }

    type R = Ring<'static, u64>;

    /// K08: slices of two on both sides.
    pub(crate) fn slices(capacity: usize) {
        pair::<R>((capacity, 0), [2, 2], (2, R::push_slice), (2, R::pop_slice));
    }

    pub(crate) fn slicing_producers_in_turn() {
        loom_rings::producers_in_turn::<R>([2, 2], R::push_slice, R::pop_slice);
    }

    pub(crate) fn slicing_consumers_in_turn() {
        loom_rings::consumers_in_turn::<R>([2, 2], R::push_slice, R::pop_slice);
    }

    /// The numbers of the laps wrap around in the middle.
    pub(crate) fn push_and_pop_old_ring() {
        together(shared(2, (1 << 63) - 1), 2, &[(consumer, 2)]);
    }

    /// A producer and its successor, who may come while the first one lives, and a consumer.
    pub(crate) fn producer_is_replaced() {
        together(shared(2, 0), 2, &[(consumer, 1), (producer, 1)]);
    }

    pub(crate) fn consumer_is_replaced() {
        together(shared(1, 0), 2, &[(consumer, 1), (consumer, 1)]);
    }

    /// The same in the smallest ring and with a single try each.
    pub(crate) fn deep_producer_is_replaced() {
        together(shared(1, 0), 1, &[(consumer, 1), (producer, 1)]);
    }

    pub(crate) fn deep_consumer_is_replaced() {
        together(shared(1, 0), 1, &[(consumer, 1), (consumer, 1)]);
    }

    pub(crate) fn two_producers() {
        together(shared(2, 0), 2, &[(producer, 1)]);
    }

    /// Two producers, the second of which comes when the first has gone, and a consumer that is at
    /// work all the time: one thread less than above, and so one preemption more.
    pub(crate) fn producers_in_turn() {
        in_turn(producer, consumer);
    }

    pub(crate) fn consumers_in_turn() {
        in_turn(consumer, producer);
    }

    fn in_turn(side: Side, other: Side) {
        let shared = shared(1, 0);
        let other = start(other, 1, &shared, 2);
        side(0, &shared, 1);
        side(2, &shared, 2);
        other.join().unwrap();
        sim::process(END, || shared.settle()).expect("nobody kills it");
    }

    /// Whoever has an end has it until he closes it. `again` is what he gets who asks for it again.
    fn assert_mine(again: Result<(), RoleError>) {
        let owner = identity::current().expect("in a process").id;
        assert_eq!(again, Err(RoleError::Taken { owner }), "two have the same end");
    }

    /// Two processes want the end of one that has closed or died; they never have it both.
    pub(crate) fn one_heir_only(leave: fn(Producer<'static, u64>)) {
        let shared = shared(3, 0);
        sim::process(0, || {
            let mut producer = shared.ring.producer().unwrap();
            producer.push(0).unwrap();
            leave(producer);
        });
        let heirs = [1, 2].map(|index| {
            let shared = shared.clone();
            let claim = move || {
                let Ok(mut producer) = shared.ring.producer() else { return false };
                // Two of them here at once would be a race on the payload, too.
                producer.push(index as u64).unwrap();
                assert_mine(shared.ring.producer().map(drop));
                true
            };
            sim::spawn_thread(move || sim::process(index, claim))
        });
        let [first, second] = heirs.map(|heir| heir.join().unwrap());
        let had_it = |heir: Option<bool>| usize::from(heir == Some(true));
        assert!(first != Some(false) || second != Some(false), "nobody got it");
        sim::process(END, || {
            let mut consumer = shared.ring.consumer().unwrap();
            assert_eq!(consumer.pop(), Ok(0), "what the first one had pushed");
            let left = core::iter::from_fn(|| consumer.pop().ok()).count();
            assert!(left >= had_it(first) + had_it(second), "{left} left");
            drop(consumer);
            shared.settle();
        });
    }

    pub(crate) fn last_message_before_disconnected() {
        loom_rings::last_message_before_disconnected::<R>();
    }

    /// `Disconnected` never comes to a producer for whose message there is room.
    pub(crate) fn disconnected_means_full() {
        let shared = shared(1, 0);
        let mut producer = sim::process(1, || {
            let mut producer = shared.ring.producer().unwrap();
            shared.push(&mut producer, 1);
            producer
        })
        .expect("nobody kills it");
        let peer = sim::spawn_thread(move || {
            sim::process(1, || (0..3).map(|_| producer.push(1)).find(|result| !is_full(result)))
                .map(|last| (last, producer))
                .expect("nobody kills it")
        });
        consumer(0, &shared, 1);
        let (last, producer) = peer.join().unwrap();
        sim::process(END, || {
            if last == Some(Err(PushError::Disconnected(1))) {
                let mut heir = shared.ring.consumer().expect("the last one is gone");
                assert_eq!(heir.pop(), Ok(0), "there was room");
            }
        });
        sim::process(1, || drop(producer));
    }

    fn is_full<T>(result: &Result<(), PushError<T>>) -> bool {
        matches!(result, Err(PushError::Full(_)))
    }

    /// A consumer closes its end, another takes it and dies; when the first one has the end again,
    /// nobody takes it for dead.
    pub(crate) fn death_of_a_successor() {
        let shared = shared(1, 0);
        let claim = |index: usize| {
            let shared = shared.clone();
            move || sim::process(index, || shared.ring.consumer().ok())
        };
        let mut producer = sim::process(0, || {
            let mut producer = shared.ring.producer().unwrap();
            shared.push(&mut producer, 1);
            producer
        })
        .expect("nobody kills it");
        let first = claim(1)().flatten().expect("vacant");
        let others = {
            let shared = shared.clone();
            sim::spawn_thread(move || {
                sim::process(1, || drop(first));
                sim::process(2, || sim::die(shared.ring.consumer().unwrap()));
            })
        };
        sim::process(0, || assert!(producer.push(1).is_err()));
        others.join().unwrap();
        let first = claim(1)().flatten().expect("its owner is dead");
        sim::process(0, || assert_eq!(producer.push(1), Err(PushError::Full(1)), "it lives"));
        sim::process(1, || drop(first));
        sim::process(0, || drop(producer));
    }

    /// The owner of an end closes it or dies. Its neighbour and a process of another pid namespace
    /// want the end. The stranger keeps it, if it gets it; and if it is refused the end of the dead,
    /// it is in nobody's way. (When it lost a race for a vacant end, it may be.)
    pub(crate) fn stranger(dies: bool) {
        let shared = shared(1, 0);
        let claim = |shared: &Shared| match shared.ring.consumer() {
            Ok(consumer) => Some(consumer),
            Err(RoleError::Taken { .. }) => None,
            Err(error) => panic!("{error}"),
        };
        sim::process(0, || match shared.ring.consumer() {
            Ok(consumer) if dies => sim::die(consumer),
            first => drop(first.unwrap()),
        });
        let heir = {
            let shared = shared.clone();
            sim::spawn_thread(move || sim::process(2, || claim(&shared).is_some()))
        };
        let stranger = sim::foreign_process(1, || claim(&shared));
        let heir = heir.join().unwrap();
        let last = sim::process(END, || shared.ring.consumer().map(drop)).expect("nobody kills it");
        match stranger {
            Some(Some(consumer)) => {
                assert!(matches!(last, Err(RoleError::Taken { .. })), "taken from the living");
                sim::foreign_process(1, || drop(consumer));
            }
            Some(None) => {
                assert_ne!(heir, Some(false), "nobody got it");
                assert!(last.is_ok() || !dies, "{last:?}");
            }
            None => {}
        }
    }

    /// A process of another pid namespace takes an end while its peer looks who has it.
    pub(crate) fn stranger_is_never_dead() {
        let shared = shared(1, 0);
        sim::process(0, || drop(shared.ring.consumer().unwrap()));
        let peer = sim::spawn(2, &shared, |shared| {
            let producer = shared.ring.producer().unwrap();
            assert!(!matches!(producer.peer(), Peer::Dead(_)), "it lives");
        });
        let consumer = sim::foreign_process(1, || shared.ring.consumer().unwrap());
        peer.join().unwrap();
        sim::foreign_process(1, || drop(consumer));
    }

    pub(crate) fn handle_copied_by_fork() {
        let shared = shared(1, 0);
        sim::process(0, || {
            let producer = shared.ring.producer().unwrap();
            // The copy counts as one that keeps the ring in memory, so one other is never dropped.
            sim::process(3, || core::mem::forget(shared.ring.consumer()));
            // SAFETY: the copy is dropped by another process, where that does nothing to the ring.
            let copy = unsafe { core::ptr::read(&producer) };
            sim::as_forked_child(1, || drop(copy));
            let taken = sim::process(2, || shared.ring.producer().map(drop)).unwrap();
            assert!(matches!(taken, Err(RoleError::Taken { .. })), "{taken:?}");
            drop(producer);
        });
        sim::process(END, || drop(shared.ring.producer().expect("closed, or its owner is dead")));
    }
}
