//! `Semaphore` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no deadlock: whoever waits gets a permit as long as
//! there is one, and sees what was done before it was given; in the end there are as many permits as were given
//! and not taken.
//!
//! # Safety
//!
//! What the takers read was written before the first permit was given; loom says so if it was not.
#![cfg_attr(loom, expect(unsafe_code, reason = "a cell that the semaphore hands over"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("lend", 2, &[0, 1], lend)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::NoBaton, Fault::GateOnlySleep, Fault::FlagClearedOnWake])
        .case("give_one_by_one", 2, &[2], give_one_by_one)
        .reveals(&[Fault::WakeApartFromChange, Fault::ClearWithoutWakeAll])
        .case("give_two_at_once", 2, &[0, 2], give_two_at_once)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::WakeApartFromChange, Fault::NoOrder])
        .case("take_and_try", 2, &[0, 1], take_and_try)
        .case("wake_in_the_last_moment", 2, &[1], wake_in_the_last_moment)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::UnsafeCell;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::Semaphore;

    /// A semaphore, and what the processes have had of it. The counts are not part of the model.
    pub(crate) struct Shared {
        permits: Semaphore,
        /// Permits that there must be for all who live to come to their end.
        needed: u32,
        given: AtomicU32,
        /// By process: permits that it took and has not given back.
        held: [AtomicU32; 3],
        deaths: AtomicU32,
        /// Written before the first permit is given, and read with each one, if there is a giver: the last process.
        value: Option<UnsafeCell<u32>>,
        written: AtomicBool,
    }

    // SAFETY: see the head of this file.
    unsafe impl Sync for Shared {}

    fn shared(permits: u32, needed: u32) -> Arc<Shared> {
        let count = AtomicU32::new;
        let held = [0; 3].map(count);
        let (given, permits) = (count(permits), Semaphore::new(permits));
        let written = AtomicBool::new(false);
        let value = None;
        Arc::new(Shared { permits, needed, given, held, deaths: count(0), value, written })
    }

    /// No permits yet; whoever has one later sees what the giver did before.
    fn handing_over(needed: u32) -> Arc<Shared> {
        let mut shared = shared(0, needed);
        let fresh = Arc::get_mut(&mut shared).expect("nobody else has it yet");
        fresh.value = Some(UnsafeCell::new(0));
        shared
    }

    impl Shared {
        fn take(&self, me: usize) {
            self.permits.acquire().unwrap();
            self.taken(me);
        }

        fn taken(&self, me: usize) {
            self.held[me].fetch_add(1, Ordering::Relaxed);
            if let Some(value) = &self.value {
                // SAFETY: the giver wrote it, and gave the permit afterwards.
                assert_eq!(value.with(|value| unsafe { *value }), 7);
            }
        }

        fn give(&self, permits: u32) {
            if let Some(value) = self.value.as_ref().filter(|_| !self.was_written()) {
                // SAFETY: nobody reads it before there is a permit.
                value.with_mut(|value| unsafe { *value = 7 });
            }
            self.permits.release_many(permits).unwrap();
            self.given.fetch_add(permits, Ordering::Relaxed);
        }

        fn give_back(&self, me: usize) {
            // First the count: a repair meanwhile gives one too many rather than one too few.
            self.held[me].fetch_sub(1, Ordering::Relaxed);
            self.permits.release().unwrap();
        }

        fn lend(&self, me: usize) {
            self.take(me);
            self.give_back(me);
        }

        fn was_written(&self) -> bool {
            self.written.swap(true, Ordering::Relaxed)
        }

        fn held(&self) -> u32 {
            self.held.iter().map(|held| held.load(Ordering::Relaxed)).sum()
        }

        /// What an operator does after a death: gives the permits that the dead took along, or had yet to give.
        ///
        /// Where another process is between a step and its count these are too many, and never too few.
        fn repair(&self, dead: usize) {
            self.deaths.fetch_add(1, Ordering::Relaxed);
            self.held[dead].store(0, Ordering::Relaxed);
            // Where there is a giver there are permits for those who die, too.
            if self.value.is_some() && dead != GIVER {
                return;
            }
            sim::process(END, || {
                let there = self.permits.available_now() + self.held();
                (there..self.needed).for_each(|_| self.give(1));
            });
        }
    }

    type Actor = fn(&Shared, usize);

    fn run(index: usize, shared: &Shared, actor: Actor) -> Option<()> {
        sim::process_then(index, || actor(shared, index), || shared.repair(index))
    }

    fn together(shared: &Arc<Shared>, actors: [Actor; 3]) {
        let peers = [1, 2].map(|index| {
            let shared = shared.clone();
            sim::spawn_thread(move || run(index, &shared, actors[index]))
        });
        run(0, shared, actors[0]);
        for peer in peers {
            peer.join().unwrap();
        }
        sim::process(END, || {
            let (left, given) =
                (shared.permits.available_now(), shared.given.load(Ordering::Relaxed));
            if shared.deaths.load(Ordering::Relaxed) == 0 {
                assert_eq!(left + shared.held(), given, "permits were lost or made");
            }
            // And the semaphore still works.
            shared.give(1);
            shared.permits.acquire().unwrap();
        });
    }

    /// The process that repairs, and looks in the end; nobody's victim.
    const END: usize = 4;
    const GIVER: usize = 2;

    fn give_one(shared: &Shared, _: usize) {
        shared.give(1);
    }

    /// One permit for three, each of whom gives it back.
    pub(crate) fn lend() {
        together(&shared(1, 1), [Shared::lend; 3]);
    }

    pub(crate) fn give_one_by_one() {
        fn give_two(shared: &Shared, _: usize) {
            shared.give(1);
            shared.give(1);
        }
        together(&handing_over(2), [Shared::take, Shared::take, give_two]);
    }

    pub(crate) fn give_two_at_once() {
        fn give_two(shared: &Shared, _: usize) {
            shared.give(2);
        }
        together(&handing_over(2), [Shared::take, Shared::take, give_two]);
    }

    pub(crate) fn take_and_try() {
        fn try_to_take(shared: &Shared, me: usize) {
            if shared.permits.try_acquire() {
                shared.taken(me);
                shared.give_back(me);
            }
        }
        together(&shared(0, 1), [Shared::take, try_to_take, give_one]);
    }

    /// One waiter's time is over at the moment at which it is woken; the other waits on.
    pub(crate) fn wake_in_the_last_moment() {
        fn expiring(shared: &Shared, me: usize) {
            sim::expire_when_woken();
            if shared.permits.acquire_deadline(Deadline::FAR).is_ok() {
                shared.taken(me);
                shared.give_back(me);
            }
        }
        together(&shared(0, 1), [Shared::lend, expiring, give_one]);
    }
}
