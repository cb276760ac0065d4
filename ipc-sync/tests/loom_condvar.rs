//! `Condvar` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no deadlock: whoever waits for an item gets one as long as there is
//! one, and holds the mutex then; and a death with the mutex held is told.
//!
//! Where a woken waiter may be killed while it waits for the mutex, the ends of slices are part of the algorithm, and of
//! the model: see `raw/announced.rs`. That the baton does without them elsewhere is shown in `loom_event_count.rs`.
//!
//! # Safety
//!
//! The locks live in an `Arc` until the last process of the scenario has ended, as a region would keep them.
#![cfg_attr(loom, expect(unsafe_code, reason = "locks that may be armed"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("one_for_one", 3, &[0], one_for_one)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::GateOnlySleep])
        .case("notifier_dies", 2, &[1], notifier_dies)
        .case("notified_under_the_mutex", 2, &[0], notified_under_the_mutex)
        .case("two_for_two", 2, &[0], two_for_two)
        .reveals(&[Fault::FlagClearedOnWake])
        .case("all_at_once", 2, &[], all_at_once)
        .reveals(&[Fault::ClearWithoutWakeAll])
        .case("holder_dies", 2, &[], holder_dies)
        .case("notified_in_the_last_moment", 2, &[], notified_in_the_last_moment)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{Condvar, LockError, Mutex, MutexGuard, WaitError};

    pub(crate) struct Shared {
        items: Mutex<u32>,
        more: Condvar,
        /// Whether there ever was an item. Not part of the model.
        made: AtomicBool,
    }

    fn shared() -> Arc<Shared> {
        // SAFETY: see the head of this file.
        let items = unsafe { Mutex::in_region(0) };
        let shared = Shared { items, more: Condvar::new(), made: AtomicBool::new(false) };
        sim::process(END, || shared.items.admit());
        Arc::new(shared)
    }

    /// The guard, whoever it comes from. The items are always in order: nobody is killed while he writes to a cell.
    fn accept<'a>(result: Result<MutexGuard<'a, u32>, LockError<'a, u32>>) -> MutexGuard<'a, u32> {
        match result {
            Ok(guard) => guard,
            Err(LockError::Recovered(recovered)) => recovered.mark_consistent(),
            Err(error) => panic!("{error}"),
        }
    }

    impl Shared {
        /// Waits for an item, which stays in the hands of a killed process only if it has come that far.
        fn take(&self) {
            let mut items = accept(self.items.lock());
            loop {
                match self.more.wait_while(items, |items| *items == 0) {
                    Err(LockError::Recovered(recovered)) => items = recovered.mark_consistent(),
                    taken => break items = taken.unwrap(),
                }
            }
            *items -= 1;
        }

        /// As [`take`](Self::take), by hand.
        fn take_by_hand(&self) {
            let mut items = accept(self.items.lock());
            while *items == 0 {
                items = accept(self.more.wait(items));
            }
            *items -= 1;
        }

        fn make(&self, count: u32) {
            let mut items = accept(self.items.lock());
            *items += count;
            self.made.store(true, Relaxed);
        }

        fn give(&self) {
            self.make(1);
            self.more.notify_one();
        }

        fn give_under_the_mutex(&self) {
            let mut items = accept(self.items.lock());
            *items += 1;
            self.more.notify_one();
        }
    }

    type Actor = fn(&Shared);

    fn together(shared: &Arc<Shared>, actors: &[Actor]) {
        let peers: Vec<_> = (1..actors.len())
            .map(|index| {
                let (shared, actor) = (shared.clone(), actors[index]);
                sim::spawn_thread(move || run(index, &shared, actor))
            })
            .collect();
        run(0, shared, actors[0]);
        for peer in peers {
            peer.join().unwrap();
        }
        // And it still works.
        sim::process(END, || {
            shared.give();
            shared.take();
        });
    }

    /// Whoever is killed before he has made the item that the others wait for has a successor, who does it.
    fn run(index: usize, shared: &Shared, actor: Actor) {
        let killed = sim::process(index, || actor(shared)).is_none();
        if killed && index == MAKER {
            sim::process(END, || {
                let items = accept(shared.items.lock());
                drop(items);
                if !shared.made.load(Relaxed) {
                    shared.give();
                }
            });
        }
    }

    const MAKER: usize = 1;
    /// The process that comes before and after the others; nobody's victim.
    const END: usize = 4;

    pub(crate) fn one_for_one() {
        together(&shared(), &[Shared::take_by_hand, Shared::give]);
    }

    /// Also with the mutex held, and between its change and the notification.
    pub(crate) fn notifier_dies() {
        let shared = shared();
        sim::end_slices_at_deaths();
        together(&shared, &[Shared::take, Shared::give]);
    }

    pub(crate) fn notified_under_the_mutex() {
        together(&shared(), &[Shared::take_by_hand, Shared::give_under_the_mutex]);
    }

    pub(crate) fn two_for_two() {
        fn give_two(shared: &Shared) {
            shared.make(2);
            shared.more.notify_one();
            shared.more.notify_one();
        }
        let shared = shared();
        sim::end_slices_at_deaths();
        together(&shared, &[Shared::take_by_hand, give_two, Shared::take_by_hand]);
    }

    pub(crate) fn all_at_once() {
        fn give_two(shared: &Shared) {
            // Of nothing; what it leaves behind must not hide the other one.
            shared.more.notify_all();
            shared.make(2);
            shared.more.notify_all();
        }
        let shared = shared();
        sim::end_slices_at_deaths();
        together(&shared, &[Shared::take_by_hand, give_two, Shared::take_by_hand]);
    }

    /// One dies with the mutex held: who sleeps, and would be notified by nobody else, comes back and is told.
    pub(crate) fn holder_dies() {
        let shared = shared();
        sim::end_slices_at_deaths();
        let heir = |shared: &Shared| {
            let mut items = match shared.items.lock() {
                Ok(items) => items,
                Err(LockError::Recovered(recovered)) => return repair(shared, recovered),
                Err(error) => panic!("{error}"),
            };
            while *items == 0 {
                match shared.more.wait(items) {
                    Ok(guard) => items = guard,
                    Err(LockError::Recovered(recovered)) => return repair(shared, recovered),
                    Err(error) => panic!("{error}"),
                }
            }
        };
        fn repair(shared: &Shared, mut recovered: ipc_sync::Recovered<'_, u32>) {
            *recovered = 1;
            let repaired = recovered.mark_consistent();
            // Whoever is killed before this leaves the mutex to the next who is told.
            shared.more.notify_all();
            drop(repaired);
        }
        let holder = sim::spawn(2, &shared, |shared: &Shared| {
            let guard = shared.items.lock();
            sim::die(guard);
        });
        let peer = sim::spawn(1, &shared, heir);
        sim::process(0, || heir(&shared));
        holder.join().unwrap();
        peer.join().unwrap();
    }

    /// One waiter's time is over at the moment at which it is woken: it says so or takes the item, and the other waits on.
    pub(crate) fn notified_in_the_last_moment() {
        fn expiring(shared: &Shared) {
            sim::expire_when_woken();
            let items = accept(shared.items.lock());
            let waited = shared.more.wait_deadline_while(items, Deadline::FAR, |items| *items == 0);
            match waited {
                Ok((items, Ok(()))) => assert_eq!(*items, 1),
                Ok((items, Err(error))) => assert_eq!((*items, error), (0, WaitError::TimedOut)),
                Err(error) => drop(accept(Err(error))),
            }
            shared.more.notify_one();
        }
        fn lend(shared: &Shared) {
            shared.take_by_hand();
            shared.give();
        }
        let shared = shared();
        sim::end_slices_at_deaths();
        together(&shared, &[lend, expiring, Shared::give]);
    }
}
