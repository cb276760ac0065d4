//! `ReentrantMutex` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! Where processes do the same, one of them is the victim for all.
//!
//! What each scenario asserts, besides that loom finds no data race on the value and no deadlock: one thread at a time is
//! inside, at whatever depth; a death inside is reported to somebody, once; and who takes over holds the lock once.
//! The first threads of all processes have the same number here, as they have in the real world.
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
        .case("two_processes", 3, &[1], two_processes)
        .reveals(&[Fault::GateOnlySleep, Fault::NoOrder])
        .case("three_processes", 2, &[1], three_processes)
        .reveals(&[Fault::NoBaton, Fault::BatonDroppedAfterAcquire])
        .case("two_rounds", 2, &[0], two_rounds)
        .case("lock_and_try_lock", 3, &[0, 1], lock_and_try_lock)
        .case("lock_and_timed_lock", 2, &[0, 1], lock_and_timed_lock)
        .case("threads_of_one_process", 3, &[], threads_of_one_process)
        .case("threads_of_two_processes", 2, &[], threads_of_two_processes)
        .case("poison_reaches_all", 2, &[1], poison_reaches_all)
        .case("guards_copied_by_fork", 2, &[2], guards_copied_by_fork)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{ReentrantLockError, ReentrantMutex, ReentrantMutexGuard};

    /// A lock, and what the processes have seen of it. The counts are not part of the model.
    pub(crate) struct Shared {
        mutex: ReentrantMutex<u32>,
        told: AtomicUsize,
        inside: AtomicUsize,
        died_inside: AtomicUsize,
    }

    type Locked<'a> = Result<ReentrantMutexGuard<'a, u32>, ReentrantLockError<'a, u32>>;

    fn shared() -> Arc<Shared> {
        // SAFETY: see the head of this file.
        let mutex = unsafe { ReentrantMutex::in_region(0) };
        let zero = || AtomicUsize::new(0);
        let shared = Shared { mutex, told: zero(), inside: zero(), died_inside: zero() };
        sim::process(END, || shared.mutex.admit());
        Arc::new(shared)
    }

    impl Shared {
        /// The guard, whoever it comes from; the value put right if need be.
        fn accept<'a>(&self, result: Locked<'a>) -> Option<ReentrantMutexGuard<'a, u32>> {
            match result {
                Ok(guard) => Some(guard),
                Err(ReentrantLockError::Recovered(mut recovered)) => {
                    assert!(recovered.exclusive().is_some(), "a depth of more than 1");
                    let guard = recovered.mark_consistent();
                    // Only now: whoever dies before it has said so will be told of again.
                    self.told.fetch_add(1, Ordering::Relaxed);
                    Some(guard)
                }
                Err(ReentrantLockError::WouldBlock | ReentrantLockError::TimedOut) => None,
                Err(error) => panic!("{error}"),
            }
        }

        /// Counts, and locks again, and drops the first guard first.
        fn hold(&self, guard: Option<ReentrantMutexGuard<'_, u32>>) {
            let Some(mut guard) = guard else { return };
            sim::acquired();
            let others = self.inside.fetch_add(1, Ordering::Relaxed);
            assert_eq!(others, self.died_inside.load(Ordering::Relaxed), "two inside");
            *guard.exclusive().expect("the only guard") += 1;
            let mut again = self.mutex.lock().expect("it is ours");
            assert!(again.exclusive().is_none(), "there are two guards");
            drop(guard);
            *again.exclusive().expect("the only guard") += 1;
            sim::acquired();
            self.inside.fetch_sub(1, Ordering::Relaxed);
            drop(again);
        }

        fn lock(&self) {
            self.hold(self.accept(self.mutex.lock()));
        }

        /// Locks once, in a fraction of the steps.
        fn visit(&self) {
            self.look_in(self.accept(self.mutex.lock()));
        }

        fn try_to_visit(&self) {
            self.look_in(self.accept(self.mutex.try_lock()));
        }

        fn look_in(&self, guard: Option<ReentrantMutexGuard<'_, u32>>) {
            let Some(guard) = guard else { return };
            sim::acquired();
            let others = self.inside.fetch_add(1, Ordering::Relaxed);
            assert_eq!(others, self.died_inside.load(Ordering::Relaxed), "two inside");
            // A step, before which another may come in.
            assert!(self.mutex.owner().is_some());
            assert!(*guard < 100, "torn");
            self.inside.fetch_sub(1, Ordering::Relaxed);
            drop(guard);
        }
    }

    /// Starts `f` as process `index`, and notes whether it died inside.
    fn start(index: usize, shared: &Arc<Shared>, f: fn(&Shared)) -> sim::JoinHandle<Option<()>> {
        let shared = shared.clone();
        sim::spawn_thread(move || run(index, &shared, f))
    }

    fn run(index: usize, shared: &Shared, f: fn(&Shared)) -> Option<()> {
        sim::process_then(
            index,
            || f(shared),
            || {
                // The kernel has not yet let anybody know of the death. This thread sees what its own process has done.
                let owner = sim::process(END, || shared.mutex.owner()).flatten();
                if owner.is_some_and(|id| id.pid().as_raw_nonzero().get() as usize == index + 1) {
                    let inside = shared.inside.load(Ordering::Relaxed);
                    shared.died_inside.store(inside, Ordering::Relaxed);
                }
            },
        )
    }

    /// Runs process 0 here and the others beside it; then the lock must be free, and a death inside told of once.
    fn together(first: fn(&Shared), others: &[fn(&Shared)]) {
        let shared = shared();
        let others: Vec<_> =
            others.iter().enumerate().map(|(i, f)| start(i + 1, &shared, *f)).collect();
        run(0, &shared, first);
        for other in others {
            other.join().unwrap();
        }
        sim::process(END, || shared.lock());
        let told = shared.told.load(Ordering::Relaxed);
        assert!(told <= 1, "one death, told of {told} times");
        assert!(told >= shared.died_inside.load(Ordering::Relaxed), "a death nobody was told of");
    }

    /// The process that comes before and after the others; nobody's victim.
    const END: usize = 4;

    pub(crate) fn two_processes() {
        together(Shared::lock, &[Shared::lock]);
    }

    pub(crate) fn three_processes() {
        together(Shared::visit, &[Shared::visit, Shared::visit]);
    }

    pub(crate) fn two_rounds() {
        fn twice(shared: &Shared) {
            shared.lock();
            shared.lock();
        }
        together(Shared::lock, &[twice]);
    }

    pub(crate) fn lock_and_try_lock() {
        together(Shared::lock, &[|shared| shared.hold(shared.accept(shared.mutex.try_lock()))]);
    }

    pub(crate) fn lock_and_timed_lock() {
        fn late(shared: &Shared) {
            let past = Deadline::now();
            shared.hold(shared.accept(shared.mutex.lock_deadline(past)));
        }
        together(Shared::lock, &[late]);
    }

    /// A thread that has had the lock meets others of its own process in the middle of taking it.
    pub(crate) fn threads_of_one_process() {
        let shared = shared();
        let sibling = {
            let shared = shared.clone();
            sim::spawn_thread(move || sim::thread_of(0, 1, || shared.visit()))
        };
        sim::thread_of(0, 0, || {
            shared.visit();
            shared.visit();
        });
        sibling.join().unwrap();
    }

    /// Two that have one owner word, and two that have one thread number; one of these keeps the lock.
    pub(crate) fn threads_of_two_processes() {
        let shared = shared();
        let sibling = {
            let shared = shared.clone();
            sim::spawn_thread(move || sim::thread_of(0, 0, || shared.try_to_visit()))
        };
        let keeper = start(2, &shared, |shared| {
            let Some(guard) = shared.accept(shared.mutex.try_lock()) else { return };
            assert_eq!(shared.inside.fetch_add(1, Ordering::Relaxed), 0, "two inside");
            core::mem::forget(guard);
        });
        sim::thread_of(0, 1, || shared.try_to_visit());
        sibling.join().unwrap();
        keeper.join().unwrap();
    }

    pub(crate) fn poison_reaches_all() {
        let shared = shared();
        sim::process(0, || {
            let guards = (shared.mutex.lock().ok(), shared.mutex.lock().ok());
            sim::die(guards);
        });
        let peers = [1, 2].map(|index| {
            sim::spawn(index, &shared, |shared: &Shared| match shared.mutex.lock() {
                Err(ReentrantLockError::Recovered(value)) => {
                    value.poison().expect("the only guard");
                }
                Err(ReentrantLockError::Unrecoverable) => {}
                other => panic!("{:?}", other.map(|guard| *guard)),
            })
        });
        for peer in peers {
            peer.join().unwrap();
        }
    }

    pub(crate) fn guards_copied_by_fork() {
        let shared = shared();
        sim::process(0, || {
            let mut guard = shared.mutex.lock().unwrap();
            // SAFETY: the copy is dropped by another process, where that does nothing.
            let mut copy = unsafe { core::ptr::read(&guard) };
            let peer = start(2, &shared, Shared::visit);
            sim::as_forked_child(1, || {
                assert!(copy.exclusive().is_none(), "it is the parent's");
                assert!(shared.mutex.try_lock().is_err(), "the child owns nothing");
                drop(copy);
            });
            assert!(guard.exclusive().is_some(), "the child has changed the depth");
            shared.hold(Some(guard));
            peer
        })
        .unwrap()
        .join()
        .unwrap();
    }
}
