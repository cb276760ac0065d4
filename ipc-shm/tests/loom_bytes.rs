//! The ring of bytes in every interleaving, with either side killed before each of its steps: what its records add to
//! the indexed ring of words, which is in `loom_indexed.rs`.
//!
//! Header and bytes of a record are several words, each of which the model watches by itself; records of one to three
//! words go round in a ring of four, so that they begin everywhere and go on at the start. A record is whole or not
//! there, whoever is killed; a batch is released as a whole or not at all (K08, K09).
//!
//! Run by `ci/loom.sh`; `IPC_LOOM=deep` explores one preemption more.

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    let more = usize::from(std::env::var_os("IPC_LOOM").is_some_and(|how| how == "deep"));
    Suite::new()
        .case("push_and_pop", 2 + more, &[0, 1], || together(0, push, pop))
        .case("push_and_batch", 2 + more, &[0, 1], || together(0, push, batch))
        .case("reserve_and_pop", 1 + more, &[0, 1], || together(0, reserve, pop))
        .case("vectored_and_batch", 1 + more, &[0, 1], || together(0, vectored, batch))
        .case("wary_push_and_pop", 1 + more, &[0, 1], || together(0, wary_push, wary_pop))
        .case("old_ring", 1 + more, &[0, 1], || together(u64::MAX - 1, push, batch))
        .case("record_is_handed_over", 2, &[], || together(0, push, pop))
        .reveals(&[Fault::StoresOrderNothing])
        .case("producers_in_turn", 1 + more, &[0, 1, 2], || in_turn(Writes(push), Reads(pop)))
        .case("consumers_in_turn", 1 + more, &[0, 1, 2], || in_turn(Reads(batch), Writes(push)))
        .run()
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
    use std::sync::Mutex;

    use ipc_core::primitive::sim::{self, Arc};
    use ipc_shm::ring::bytes::{Consumer, PopError, Producer, PushError, Ring};
    use ipc_shm::ring::{RoleError, Trust};

    /// Words of the ring.
    const WORDS: usize = 4;

    /// A ring, and what the processes know of it. The books are not part of the model.
    pub(crate) struct Shared {
        ring: Ring<'static>,
        /// How many pushes have returned; a record has the number of its push as its tag.
        pushed: AtomicU32,
        /// What has come out, in its order.
        popped: Mutex<Vec<u32>>,
        /// How often somebody died who might have been between moving on and saying so, and how many records a
        /// consumer may have taken with it.
        producers_killed: AtomicUsize,
        taken_along: AtomicUsize,
    }

    fn shared(start: u64) -> Arc<Shared> {
        Arc::new(Shared {
            ring: Ring::boxed_at(WORDS * 8, start).unwrap(),
            pushed: AtomicU32::new(0),
            popped: Mutex::default(),
            producers_killed: AtomicUsize::new(0),
            taken_along: AtomicUsize::new(0),
        })
    }

    /// The bytes of record `tag`: of two words, of three, of one, and so on.
    fn record(tag: u32) -> Vec<u8> {
        let len = [5, 10, 0][tag as usize % 3];
        (0..len).map(|i| tag as u8 * 16 + i + 1).collect()
    }

    /// Claims an end, and tries so many times to push or to pop.
    pub(crate) type Tries = fn(&Ring<'static>, usize, &Shared) -> Result<(), RoleError>;

    /// Tries `tries` times to push the next record.
    fn tries(
        tries: usize,
        shared: &Shared,
        mut push: impl FnMut(u32, &[u8]) -> Result<(), PushError>,
    ) {
        for _ in 0..tries {
            let tag = shared.pushed.load(Relaxed);
            match push(tag, &record(tag)) {
                Ok(()) => shared.pushed.store(tag + 1, Relaxed),
                Err(PushError::Full | PushError::Disconnected) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn push_by<M: Trust>(mut producer: Producer<'static, M>, count: usize, shared: &Shared) {
        tries(count, shared, |tag, bytes| producer.push(tag, bytes));
    }

    pub(crate) fn push(
        ring: &Ring<'static>,
        count: usize,
        shared: &Shared,
    ) -> Result<(), RoleError> {
        push_by(ring.producer()?, count, shared);
        Ok(())
    }

    pub(crate) fn wary_push(
        ring: &Ring<'static>,
        count: usize,
        shared: &Shared,
    ) -> Result<(), RoleError> {
        push_by(ring.untrusted_producer()?, count, shared);
        Ok(())
    }

    pub(crate) fn vectored(
        ring: &Ring<'static>,
        count: usize,
        shared: &Shared,
    ) -> Result<(), RoleError> {
        let mut producer = ring.producer()?;
        tries(count, shared, |tag, bytes| {
            let (first, second) = bytes.split_at(bytes.len() / 2);
            producer.push_vectored(tag, &[first, second])
        });
        Ok(())
    }

    /// Reserves what the longest record needs.
    pub(crate) fn reserve(
        ring: &Ring<'static>,
        count: usize,
        shared: &Shared,
    ) -> Result<(), RoleError> {
        let mut producer = ring.producer()?;
        tries(count, shared, |tag, bytes| {
            let mut room = producer.reserve(10)?;
            let (first, second) = bytes.split_at(bytes.len() / 2);
            room.write(first).expect("reserved");
            room.write(second).expect("reserved");
            room.commit(tag);
            Ok(())
        });
        Ok(())
    }

    impl Shared {
        fn note(&self, tag: u32, bytes: &[u8]) {
            assert_eq!(bytes, record(tag), "record {tag}");
            self.popped.lock().unwrap().push(tag);
        }

        fn refused(error: PopError) {
            assert!(matches!(error, PopError::Empty | PopError::Disconnected), "{error}");
        }
    }

    fn pop_by<M: Trust>(mut consumer: Consumer<'static, M>, count: usize, shared: &Shared) {
        let mut buffer = [0; 16];
        for _ in 0..count {
            match consumer.pop(&mut buffer) {
                Ok((tag, len)) => shared.note(tag, &buffer[..len]),
                Err(error) => Shared::refused(error),
            }
        }
    }

    pub(crate) fn pop(
        ring: &Ring<'static>,
        count: usize,
        shared: &Shared,
    ) -> Result<(), RoleError> {
        pop_by(ring.consumer()?, count, shared);
        Ok(())
    }

    pub(crate) fn wary_pop(
        ring: &Ring<'static>,
        count: usize,
        shared: &Shared,
    ) -> Result<(), RoleError> {
        pop_by(ring.untrusted_consumer()?, count, shared);
        Ok(())
    }

    /// Reads all that there is, releases it, and notes it then.
    pub(crate) fn batch(
        ring: &Ring<'static>,
        count: usize,
        shared: &Shared,
    ) -> Result<(), RoleError> {
        let mut consumer = ring.consumer()?;
        let mut buffer = [0; 16];
        for _ in 0..count {
            let mut batch = match consumer.batch() {
                Ok(batch) => batch,
                Err(error) => {
                    Shared::refused(error);
                    continue;
                }
            };
            let mut seen = Vec::new();
            while let Some((tag, len)) = batch.copy_next(&mut buffer).expect("whole records") {
                seen.push((tag, buffer[..len].to_vec()));
            }
            assert!(!seen.is_empty() && seen.len() == batch.count());
            batch.release();
            seen.iter().for_each(|(tag, bytes)| shared.note(*tag, bytes));
        }
        Ok(())
    }

    fn allowed(claimed: Result<(), RoleError>) {
        if let Err(error) = claimed {
            assert!(matches!(error, RoleError::Taken { .. }), "{error}");
        }
    }

    /// A process that pushes, and one that pops.
    pub(crate) trait Side: Copy + Send + 'static {
        fn run(self, index: usize, shared: &Shared, tries: usize);
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Writes(pub(crate) Tries);
    #[derive(Clone, Copy)]
    pub(crate) struct Reads(pub(crate) Tries);

    impl Side for Writes {
        fn run(self, index: usize, shared: &Shared, tries: usize) {
            let at_death = || {
                shared.producers_killed.fetch_add(1, Relaxed);
            };
            sim::process_then(index, || allowed((self.0)(&shared.ring, tries, shared)), at_death);
        }
    }

    impl Side for Reads {
        fn run(self, index: usize, shared: &Shared, tries: usize) {
            let at_death = || {
                // What it may have released last: no batch has more records than the ring has words.
                shared.taken_along.fetch_add(WORDS, Relaxed);
            };
            sim::process_then(index, || allowed((self.0)(&shared.ring, tries, shared)), at_death);
        }
    }

    fn start(
        side: impl Side,
        index: usize,
        shared: &Arc<Shared>,
        tries: usize,
    ) -> sim::JoinHandle<()> {
        let shared = shared.clone();
        sim::spawn_thread(move || side.run(index, &shared, tries))
    }

    /// The process that looks at what is left; nobody's victim.
    const END: usize = 4;

    impl Shared {
        /// All others have ended: takes both ends, looks through the books, and goes round once.
        fn settle(&self) {
            let mut consumer = self.ring.consumer().expect("nobody alive has it");
            let mut buffer = [0; 16];
            while let Ok((tag, len)) = consumer.pop(&mut buffer) {
                self.note(tag, &buffer[..len]);
            }
            let mut producer = self.ring.producer().expect("nobody alive has it");
            for number in 0..WORDS as u32 {
                producer.push(1000 + number, &[]).expect("an empty ring takes its capacity");
            }
            assert_eq!(producer.push(0, &[]), Err(PushError::Full));
            for number in 0..WORDS as u32 {
                assert_eq!(consumer.pop(&mut buffer), Ok((1000 + number, 0)));
            }
            let popped = self.popped.lock().unwrap();
            let (pushed, killed) = (self.pushed.load(Relaxed), self.producers_killed.load(Relaxed));
            assert!(popped.windows(2).all(|pair| pair[0] <= pair[1]), "out of order: {popped:?}");
            // A killed producer may have published without having returned, so its heir may push the same again.
            let twice = popped.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(twice <= killed, "{popped:?} with {killed} killed");
            let last = pushed as usize + killed;
            assert!(popped.iter().all(|&tag| (tag as usize) < last), "{popped:?} of {pushed}");
            let lost = (0..pushed).filter(|tag| !popped.contains(tag)).count();
            let taken = self.taken_along.load(Relaxed);
            assert!(lost <= taken, "{popped:?} of {pushed}, and {taken} may be lost");
        }
    }

    /// A writer of three records, which take two words, three and one, and a reader.
    pub(crate) fn together(start_at: u64, push: Tries, pop: Tries) {
        let shared = shared(start_at);
        let other = start(Reads(pop), 1, &shared, 2);
        Writes(push).run(0, &shared, 3);
        other.join().unwrap();
        sim::process(END, || shared.settle()).expect("nobody kills it");
    }

    /// Two of one side, the second of which comes when the first has gone, beside one of the other.
    pub(crate) fn in_turn(side: impl Side, other: impl Side) {
        let shared = shared(0);
        let other = start(other, 1, &shared, 2);
        side.run(0, &shared, 1);
        side.run(2, &shared, 2);
        other.join().unwrap();
        sim::process(END, || shared.settle()).expect("nobody kills it");
    }
}
