//! `Mutex` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no data race on the value and no deadlock:
//! a live process always gets the lock, a death in the critical section is reported to somebody,
//! and no death is reported twice.
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
        .case("two_processes", 3, &[0, 1], two_processes)
        .reveals(&[Fault::GateOnlySleep])
        .case("three_processes", 2, &[0, 1, 2], three_processes)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[
            Fault::NoBaton,
            Fault::BatonDroppedAfterAcquire,
            Fault::GateOnlySleep,
            Fault::FlagClearedOnWake,
            Fault::NoFence,
            Fault::ClearWithoutWakeAll,
        ])
        .case("two_rounds", 2, &[0], two_rounds)
        .case("lock_and_try_lock", 3, &[0, 1], lock_and_try_lock)
        .case("lock_and_timed_lock", 2, &[0, 1, 2], lock_and_timed_lock)
        .case("wake_in_the_last_moment", 2, &[0, 1, 2], wake_in_the_last_moment)
        .reveals(&[Fault::WakeNotPassedOn])
        .case("repair_is_killed", 2, &[1, 2], repair_is_killed)
        .case("poison_reaches_all", 2, &[1], poison_reaches_all)
        .case("threads_of_one_process", 2, &[], threads_of_one_process)
        .reveals(&[Fault::FlagClearedOnWake])
        .case("guard_copied_by_fork", 2, &[2], guard_copied_by_fork)
        .reveals(&[Fault::ReleaseBySwap])
        .case("two_domains_never_steal", 3, &[0], two_domains_never_steal)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicUsize, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{LockError, Mutex, MutexGuard};

    /// A lock, and what the processes have seen of it. The counts are not part of the model.
    pub(crate) struct Shared {
        mutex: Mutex<u32>,
        told: AtomicUsize,
        inside: AtomicUsize,
        died_inside: AtomicUsize,
    }

    /// A lock at which this namespace has been before: `two_processes` and
    /// `two_domains_never_steal` explore who comes first.
    fn shared() -> Arc<Shared> {
        let shared = fresh();
        sim::process(END, || shared.mutex.admit());
        shared
    }

    fn fresh() -> Arc<Shared> {
        // SAFETY: see the head of this file.
        let mutex = unsafe { Mutex::in_region(0) };
        let zero = || AtomicUsize::new(0);
        Arc::new(Shared { mutex, told: zero(), inside: zero(), died_inside: zero() })
    }

    impl Shared {
        /// The guard, whoever it comes from; the value put right if need be.
        fn accept<'a>(
            &self,
            result: Result<MutexGuard<'a, u32>, LockError<'a, u32>>,
        ) -> Option<MutexGuard<'a, u32>> {
            match result {
                Ok(guard) => Some(guard),
                Err(LockError::Recovered(recovered)) => {
                    let guard = recovered.mark_consistent();
                    // Only now: whoever dies before it has said so will be told of again.
                    self.told.fetch_add(1, Ordering::Relaxed);
                    Some(guard)
                }
                Err(LockError::WouldBlock | LockError::TimedOut) => None,
                Err(error) => panic!("{error}"),
            }
        }

        fn hold(&self, guard: Option<MutexGuard<'_, u32>>) {
            let Some(mut guard) = guard else { return };
            sim::acquired();
            let others = self.inside.fetch_add(1, Ordering::Relaxed);
            assert_eq!(others, self.died_inside.load(Ordering::Relaxed), "two inside");
            *guard += 1;
            sim::acquired();
            self.inside.fetch_sub(1, Ordering::Relaxed);
            drop(guard);
        }

        fn lock(&self) {
            self.hold(self.accept(self.mutex.lock()));
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
                // The kernel has not yet let anybody know of the death.
                let inside = shared.inside.load(Ordering::Relaxed);
                shared.died_inside.store(inside, Ordering::Relaxed);
            },
        )
    }

    /// Runs process 0 here and the others beside it; then the lock must be free, and a death inside told of once.
    fn together(first: fn(&Shared), others: &[fn(&Shared)]) {
        play(&shared(), first, others);
    }

    fn play(shared: &Arc<Shared>, first: fn(&Shared), others: &[fn(&Shared)]) {
        let others: Vec<_> =
            others.iter().enumerate().map(|(i, f)| start(i + 1, shared, *f)).collect();
        run(0, shared, first);
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
        play(&fresh(), Shared::lock, &[Shared::lock]);
    }

    pub(crate) fn three_processes() {
        together(Shared::lock, &[Shared::lock, Shared::lock]);
    }

    pub(crate) fn two_rounds() {
        fn twice(shared: &Shared) {
            shared.lock();
            shared.lock();
        }
        together(Shared::lock, &[twice, Shared::lock]);
    }

    pub(crate) fn lock_and_try_lock() {
        together(Shared::lock, &[|shared| shared.hold(shared.accept(shared.mutex.try_lock()))]);
    }

    pub(crate) fn lock_and_timed_lock() {
        fn late(shared: &Shared) {
            let past = Deadline::now();
            shared.hold(shared.accept(shared.mutex.lock_deadline(past)));
        }
        together(Shared::lock, &[Shared::lock, late]);
    }

    /// One waiter's time is over at the moment at which it is woken; the other waits on.
    pub(crate) fn wake_in_the_last_moment() {
        fn expiring(shared: &Shared) {
            sim::expire_when_woken();
            shared.hold(shared.accept(shared.mutex.lock_deadline(Deadline::FAR)));
        }
        together(Shared::lock, &[expiring, Shared::lock]);
    }

    /// Process 0 always dies inside; whoever is told may be killed as well, and others still are told.
    pub(crate) fn repair_is_killed() {
        let shared = shared();
        sim::process(0, || {
            let guard = shared.mutex.lock().ok();
            sim::die(guard);
        });
        let peers = [1, 2].map(|index| {
            sim::spawn(index, &shared, |shared: &Shared| match shared.mutex.lock() {
                Err(LockError::Recovered(mut value)) => {
                    sim::acquired();
                    *value = 7;
                    drop(value.mark_consistent());
                }
                Ok(value) => assert_eq!(*value, 7, "nobody has repaired it"),
                Err(error) => panic!("{error}"),
            })
        });
        for peer in peers {
            peer.join().unwrap();
        }
        sim::process(END, || {
            let value = match shared.mutex.lock() {
                Ok(value) => *value,
                Err(LockError::Recovered(_)) => 7,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(value, 7);
        });
    }

    pub(crate) fn poison_reaches_all() {
        let shared = shared();
        sim::process(0, || {
            let guard = shared.mutex.lock().ok();
            sim::die(guard);
        });
        let peers = [1, 2, 3].map(|index| {
            sim::spawn(index, &shared, |shared: &Shared| match shared.mutex.lock() {
                Err(LockError::Recovered(value)) => value.poison(),
                Err(LockError::Unrecoverable) => {}
                other => panic!("{:?}", other.map(|guard| *guard)),
            })
        });
        for peer in peers {
            peer.join().unwrap();
        }
    }

    pub(crate) fn threads_of_one_process() {
        let shared = shared();
        let threads = [1, 2].map(|index| {
            let shared = shared.clone();
            sim::spawn_thread(move || sim::thread_of(0, index, || shared.lock()))
        });
        sim::thread_of(0, 0, || shared.lock());
        for thread in threads {
            thread.join().unwrap();
        }
        sim::process(END, || assert_eq!(*shared.mutex.lock().unwrap(), 3));
    }

    pub(crate) fn guard_copied_by_fork() {
        let shared = shared();
        sim::process(0, || {
            let guard = shared.mutex.lock().unwrap();
            // SAFETY: the copy is dropped by another process, where that does nothing.
            let copy = unsafe { core::ptr::read(&guard) };
            let peer = start(2, &shared, Shared::lock);
            sim::as_forked_child(1, || drop(copy));
            shared.hold(Some(guard));
            peer
        })
        .unwrap()
        .join()
        .unwrap();
    }

    pub(crate) fn two_domains_never_steal() {
        let shared = fresh();
        let foreigner = sim::spawn_thread({
            let shared = shared.clone();
            move || {
                sim::foreign_process(1, || match shared.mutex.try_lock() {
                    Err(LockError::Recovered(_)) => panic!("stolen across pid namespaces"),
                    Ok(guard) => shared.hold(Some(guard)),
                    Err(_) => {}
                })
            }
        });
        run(0, &shared, Shared::lock);
        foreigner.join().unwrap();
        // Both were here, or the foreigner came too late to meet a claim at all.
        sim::process(END, || match shared.mutex.try_lock() {
            Err(LockError::Recovered(_)) => panic!("stolen although two namespaces have met"),
            Ok(_) | Err(LockError::WouldBlock) => {}
            Err(error) => panic!("{error}"),
        });
    }
}
