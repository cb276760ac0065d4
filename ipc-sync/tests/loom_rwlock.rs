//! `RwLock` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no data race on the value and no deadlock:
//! nobody reads while somebody writes, a live process always gets the lock, a death while the value may be half changed is
//! told to somebody, no death is told twice or without need, and in the end nobody has a place.
//!
//! # Safety
//!
//! The locks live in an `Arc` until the last process of the scenario has ended, as a region would keep them.
#![cfg_attr(loom, expect(unsafe_code, reason = "locks that may be armed, and copies of guards"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("reader_and_writer", 2, &[0, 1], reader_and_writer)
        .reveals(&[Fault::NoFence, Fault::NoOrder])
        .case("two_writers", 2, &[0, 1], two_writers)
        .case("two_readers_and_a_writer", 2, &[0, 1], two_readers_and_a_writer)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::NoBaton, Fault::GateOnlySleep, Fault::FlagClearedOnWake, Fault::NoFence])
        .case("a_reader_and_two_writers", 2, &[0, 1], a_reader_and_two_writers)
        .reveals(&[Fault::NoBaton, Fault::BatonDroppedAfterAcquire, Fault::ClearWithoutWakeAll])
        .case("one_place", 2, &[0, 1], one_place)
        .case("a_writer_and_one_who_tries", 2, &[0, 1], a_writer_and_one_who_tries)
        .case("a_reader_and_one_who_tries", 2, &[0, 1], a_reader_and_one_who_tries)
        .case("a_writer_gives_up", 2, &[1], a_writer_gives_up)
        .case("read_in_the_last_moment", 2, &[1], read_in_the_last_moment)
        .reveals(&[Fault::WakeNotPassedOn])
        .case("write_in_the_last_moment", 2, &[0, 1], write_in_the_last_moment)
        .case("repair_is_killed", 2, &[1, 2], repair_is_killed)
        .case("poison_reaches_all", 2, &[1], poison_reaches_all)
        .case("guards_copied_by_fork", 2, &[], guards_copied_by_fork)
        .reveals(&[Fault::ReleaseBySwap])
        .case("two_domains_never_forget_a_reader", 3, &[0], two_domains)
        .run();
}

#[cfg(loom)]
mod model {
    use core::cell::Cell;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::identity;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{RwLock, RwLockError, RwLockReadGuard, RwLockWriteGuard};

    type Reading<'a> = Result<RwLockReadGuard<'a, u32, 2>, RwLockError<'a, u32, 2>>;
    type Writing<'a> = Result<RwLockWriteGuard<'a, u32, 2>, RwLockError<'a, u32, 2>>;

    /// A lock, and what the processes have seen of it. The counts are not part of the model.
    pub(crate) struct Shared {
        lock: RwLock<u32, 2>,
        told: AtomicUsize,
        writing: AtomicUsize,
        reading: AtomicUsize,
        died_writing: AtomicUsize,
    }

    fn fresh() -> Arc<Shared> {
        // SAFETY: see the head of this file.
        let lock = unsafe { RwLock::in_region(0) };
        let zero = || AtomicUsize::new(0);
        Arc::new(Shared {
            lock,
            told: zero(),
            writing: zero(),
            reading: zero(),
            died_writing: zero(),
        })
    }

    /// A lock at which this namespace has been before.
    fn shared() -> Arc<Shared> {
        let shared = fresh();
        sim::process(END, || shared.lock.admit());
        shared
    }

    impl Shared {
        fn hold_read(&self, reading: Reading<'_>) {
            match reading {
                Ok(guard) => {
                    sim::acquired();
                    self.reading.fetch_add(1, Relaxed);
                    let dead = self.died_writing.load(Relaxed);
                    assert_eq!(self.writing.load(Relaxed), dead, "reads beside a writer");
                    assert!(dead <= self.told.load(Relaxed), "reads what a dead writer left");
                    let seen = *guard;
                    sim::acquired();
                    assert_eq!(*guard, seen);
                    self.reading.fetch_sub(1, Relaxed);
                }
                Err(error) => self.hold_write(Err(error)),
            }
        }

        fn hold_write(&self, writing: Writing<'_>) {
            let mut guard = match writing {
                Ok(guard) => guard,
                Err(RwLockError::Recovered(recovered)) => {
                    self.told.fetch_add(1, Relaxed);
                    recovered.mark_consistent()
                }
                Err(RwLockError::WouldBlock | RwLockError::TimedOut) => return,
                Err(error) => panic!("{error}"),
            };
            // No step lies between these and the guard: who dies from here on is told of.
            let others = self.writing.fetch_add(1, Relaxed);
            assert_eq!(others, self.died_writing.load(Relaxed), "two writers");
            sim::acquired();
            let reading = self.reading.load(Relaxed);
            assert!(reading <= usize::from(DEAD_READER.get()), "writes beside a reader");
            *guard += 1;
            sim::acquired();
            // From here on a death may be told of, and need not be: the release is one step.
            self.writing.fetch_sub(1, Relaxed);
            RELEASING.set(RELEASING.get() | me());
            drop(guard);
            RELEASING.set(RELEASING.get() & !me());
        }

        fn read(&self) {
            self.hold_read(self.lock.read());
        }

        fn write(&self) {
            self.hold_write(self.lock.write());
        }
    }

    // All threads of a model are one thread of the system.
    std::thread_local! {
        /// Somebody died, perhaps while it read.
        static DEAD_READER: Cell<bool> = const { Cell::new(false) };
        /// Who is releasing what it wrote, as bits; and whether somebody has died there.
        static RELEASING: Cell<u32> = const { Cell::new(0) };
        static DIED_RELEASING: Cell<bool> = const { Cell::new(false) };
    }

    /// The running process, as a bit.
    fn me() -> u32 {
        identity::known().map_or(0, |me| 1 << me.id.pid().as_raw_nonzero().get())
    }

    fn start(index: usize, shared: &Arc<Shared>, f: fn(&Shared)) -> sim::JoinHandle<Option<()>> {
        let shared = shared.clone();
        sim::spawn_thread(move || run(index, &shared, f))
    }

    fn run(index: usize, shared: &Shared, f: fn(&Shared)) -> Option<()> {
        sim::process_then(
            index,
            || f(shared),
            || {
                // The kernel has not yet let anybody know of the death.
                shared.died_writing.store(shared.writing.load(Relaxed), Relaxed);
                DEAD_READER.set(true);
                DIED_RELEASING.set(RELEASING.get() & me() != 0);
            },
        )
    }

    fn together(first: fn(&Shared), others: &[fn(&Shared)]) {
        play(&shared(), first, others);
    }

    /// Runs process 0 here and the others beside it; then the lock must be free, a death while writing told of once, and
    /// no place taken.
    fn play(shared: &Arc<Shared>, first: fn(&Shared), others: &[fn(&Shared)]) {
        DEAD_READER.set(false);
        DIED_RELEASING.set(false);
        RELEASING.set(0);
        let others: Vec<_> =
            others.iter().enumerate().map(|(i, f)| start(i + 1, shared, *f)).collect();
        run(0, shared, first);
        for other in others {
            other.join().unwrap();
        }
        sim::process(END, || shared.write());
        let told = shared.told.load(Relaxed);
        let least = shared.died_writing.load(Relaxed);
        let most = least + usize::from(DIED_RELEASING.get());
        assert!((least..=most).contains(&told), "told {told} times, not {least} to {most}");
        sim::process(END, || {
            assert_eq!((shared.lock.owner(), shared.lock.readers().count()), (None, 0));
        });
    }

    /// The process that comes before and after the others; nobody's victim.
    const END: usize = 4;

    pub(crate) fn reader_and_writer() {
        play(&fresh(), Shared::read, &[Shared::write]);
    }

    pub(crate) fn two_writers() {
        together(Shared::write, &[Shared::write]);
    }

    pub(crate) fn two_readers_and_a_writer() {
        together(Shared::read, &[Shared::write, Shared::read]);
    }

    pub(crate) fn a_reader_and_two_writers() {
        together(Shared::write, &[Shared::read, Shared::write]);
    }

    /// Two readers, and a third one's place taken for good: one of them may find none.
    pub(crate) fn one_place() {
        fn read_if_there_is_place(shared: &Shared) {
            match shared.lock.read() {
                Err(RwLockError::TooManyReaders) => {
                    assert!(shared.lock.readers().count() > 0, "there is place");
                }
                reading => shared.hold_read(reading),
            }
        }
        let shared = shared();
        DEAD_READER.set(false);
        let third = sim::process(2, || shared.lock.read().map(core::mem::forget).is_ok());
        assert_eq!(third, Some(true));
        let other = start(1, &shared, read_if_there_is_place);
        run(0, &shared, read_if_there_is_place);
        other.join().unwrap();
        sim::process(END, || {
            let end = shared.lock.read();
            assert!(end.is_ok(), "a place was lost: {end:?}");
        });
    }

    fn try_both(shared: &Shared) {
        shared.hold_read(shared.lock.try_read());
        shared.hold_write(shared.lock.try_write());
    }

    pub(crate) fn a_writer_and_one_who_tries() {
        together(Shared::write, &[try_both]);
    }

    pub(crate) fn a_reader_and_one_who_tries() {
        together(Shared::read, &[try_both]);
    }

    /// One that gives up while it waits for readers lets the others go on.
    pub(crate) fn a_writer_gives_up() {
        fn late(shared: &Shared) {
            shared.hold_write(shared.lock.write_deadline(Deadline::now()));
        }
        together(Shared::read, &[late, Shared::read]);
    }

    /// A reader's time is over at the moment at which it is woken; others wait on.
    pub(crate) fn read_in_the_last_moment() {
        fn expiring(shared: &Shared) {
            sim::expire_when_woken();
            shared.hold_read(shared.lock.read_deadline(Deadline::FAR));
        }
        together(Shared::write, &[expiring, Shared::write]);
    }

    pub(crate) fn write_in_the_last_moment() {
        fn expiring(shared: &Shared) {
            sim::expire_when_woken();
            shared.hold_write(shared.lock.write_deadline(Deadline::FAR));
        }
        together(Shared::read, &[expiring, Shared::write]);
    }

    /// Process 0 always dies while it writes; whoever is told may be killed as well, and others still are told, be they
    /// readers or writers.
    pub(crate) fn repair_is_killed() {
        fn repair(result: Result<u32, RwLockError<'_, u32, 2>>) {
            match result {
                Err(RwLockError::Recovered(mut value)) => {
                    sim::acquired();
                    *value = 7;
                    drop(value.mark_consistent());
                }
                Ok(value) => assert_eq!(value, 7, "nobody has repaired it"),
                Err(error) => panic!("{error}"),
            }
        }
        let shared = shared();
        sim::process(0, || {
            let guard = shared.lock.write().ok();
            sim::die(guard);
        });
        let reader = start(1, &shared, |shared| repair(shared.lock.read().map(|value| *value)));
        let writer = start(2, &shared, |shared| repair(shared.lock.write().map(|value| *value)));
        reader.join().unwrap();
        writer.join().unwrap();
        sim::process(END, || match shared.lock.read() {
            Ok(value) => assert_eq!(*value, 7),
            Err(RwLockError::Recovered(_)) => {}
            Err(error) => panic!("{error}"),
        });
    }

    pub(crate) fn poison_reaches_all() {
        fn poison(error: Option<RwLockError<'_, u32, 2>>) {
            match error {
                Some(RwLockError::Recovered(value)) => value.poison(),
                Some(RwLockError::Unrecoverable) => {}
                other => panic!("{other:?}"),
            }
        }
        let shared = shared();
        sim::process(0, || {
            let guard = shared.lock.write().ok();
            sim::die(guard);
        });
        let peers: [fn(&Shared); 2] =
            [|shared| poison(shared.lock.read().err()), |shared| poison(shared.lock.write().err())];
        let peers: Vec<_> = (1..).zip(peers).map(|(index, f)| start(index, &shared, f)).collect();
        for peer in peers {
            peer.join().unwrap();
        }
    }

    pub(crate) fn guards_copied_by_fork() {
        DEAD_READER.set(false);
        let shared = shared();
        let peers = sim::process(0, || {
            let read = shared.lock.read().unwrap();
            // SAFETY: the copy is dropped by another process, where that does nothing.
            let copy = unsafe { core::ptr::read(&read) };
            let writer = start(2, &shared, Shared::write);
            sim::as_forked_child(1, || drop(copy));
            shared.hold_read(Ok(read));
            let write = shared.lock.write().unwrap();
            // SAFETY: as above.
            let copy = unsafe { core::ptr::read(&write) };
            let reader = start(3, &shared, Shared::read);
            sim::as_forked_child(1, || drop(copy));
            shared.hold_write(Ok(write));
            [writer, reader]
        });
        for peer in peers.unwrap() {
            peer.join().unwrap();
        }
    }

    /// A reader of another pid namespace dies; nobody here can know that, or takes its place.
    pub(crate) fn two_domains() {
        let shared = fresh();
        let foreigner = sim::spawn_thread({
            let shared = shared.clone();
            move || {
                sim::foreign_process(1, || {
                    if let Ok(guard) = shared.lock.try_read() {
                        sim::die(guard);
                    }
                })
            }
        });
        DEAD_READER.set(false);
        run(0, &shared, |shared| shared.hold_write(shared.lock.try_write()));
        let died = foreigner.join().unwrap().is_none();
        sim::process(END, || match shared.lock.try_write() {
            Err(RwLockError::WouldBlock) => {}
            Ok(_) => assert!(!died, "a reader of another namespace was taken for dead"),
            Err(RwLockError::Recovered(_)) => {
                panic!("told of a death although two namespaces have met");
            }
            Err(error) => panic!("{error}"),
        });
    }
}
