//! `BinarySemaphore` and `CountingSemaphore` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no deadlock: whoever waits gets a permit as long as
//! there is one, and sees what was done before it was given; there are never more permits than the bound; and each
//! release was refused or has given, so that in the end as many are there as were given and not taken.
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
        .case("lend_one", 2, &[1], lend_one)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::NoBaton, Fault::GateOnlySleep])
        .case("lend_one_of_two", 2, &[], lend_one_of_two)
        .case("two_release_what_one_took", 2, &[0], two_release_what_one_took)
        .bears(&[Fault::WakeOpRefused])
        .case("dead_giver_beside_a_live_one", 2, &[1], dead_giver_beside_a_live_one)
        .reveals(&[Fault::WakeApartFromChange])
        .case("give_two_at_once", 2, &[], give_two_at_once)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::ClearWithoutWakeAll, Fault::NoOrder])
        .case("wake_in_the_last_moment", 2, &[], wake_in_the_last_moment)
        .reveals(&[Fault::BitNotCleared])
        .case("lend_a_binary_one", 2, &[], lend_a_binary_one)
        .case("two_release_a_binary_one", 2, &[], two_release_a_binary_one)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::UnsafeCell;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{BinarySemaphore, CountingSemaphore};

    /// The semaphore of a scenario.
    enum Permits {
        Counting(CountingSemaphore),
        Binary(BinarySemaphore),
    }

    impl Permits {
        fn acquire(&self, deadline: Option<Deadline>) -> bool {
            match (self, deadline) {
                (Self::Counting(permits), None) => permits.acquire().is_ok(),
                (Self::Counting(permits), Some(until)) => permits.acquire_deadline(until).is_ok(),
                (Self::Binary(permit), None) => permit.acquire().is_ok(),
                (Self::Binary(permit), Some(until)) => permit.acquire_deadline(until).is_ok(),
            }
        }

        fn release(&self, permits: u32) -> bool {
            match self {
                Self::Counting(all) if permits > 1 => all.release_many(permits).is_ok(),
                Self::Counting(all) => all.release().is_ok(),
                Self::Binary(permit) => permit.release().is_ok(),
            }
        }

        fn available(&self) -> u32 {
            match self {
                Self::Counting(permits) => permits.available_now(),
                Self::Binary(permit) => u32::from(!permit.is_taken_now()),
            }
        }

        fn bound(&self) -> u32 {
            match self {
                Self::Counting(permits) => permits.bound(),
                Self::Binary(_) => 1,
            }
        }
    }

    /// A semaphore, and what the processes have had of it. The counts are not part of the model.
    pub(crate) struct Shared {
        permits: Permits,
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

    fn shared(permits: Permits, needed: u32) -> Arc<Shared> {
        let given = AtomicU32::new(permits.available());
        let held = [0; 3].map(AtomicU32::new);
        let (deaths, written, value) = (AtomicU32::new(0), AtomicBool::new(false), None);
        Arc::new(Shared { permits, needed, given, held, deaths, value, written })
    }

    fn counting(permits: u32, bound: u32, needed: u32) -> Arc<Shared> {
        shared(Permits::Counting(CountingSemaphore::new(permits, bound)), needed)
    }

    fn binary(needed: u32) -> Arc<Shared> {
        shared(Permits::Binary(BinarySemaphore::new()), needed)
    }

    /// One whose permit is taken by nobody who will release it without being told.
    fn taken_binary() -> Arc<Shared> {
        let shared = binary(1);
        sim::process(END, || assert!(shared.permits.acquire(None)));
        shared.given.store(0, Ordering::Relaxed);
        shared
    }

    impl Shared {
        fn take(&self, me: usize) {
            assert!(self.permits.acquire(None));
            self.taken(me);
        }

        fn taken(&self, me: usize) {
            self.held[me].fetch_add(1, Ordering::Relaxed);
            if let Some(value) = &self.value {
                // SAFETY: the giver wrote it, and gave the permit afterwards.
                assert_eq!(value.with(|value| unsafe { *value }), 7);
            }
        }

        /// Whether it was not refused.
        fn give(&self, permits: u32) -> bool {
            if let Some(value) = self.value.as_ref().filter(|_| !self.was_written()) {
                // SAFETY: nobody reads it before there is a permit.
                value.with_mut(|value| unsafe { *value = 7 });
            }
            let given = self.permits.release(permits);
            self.given.fetch_add(if given { permits } else { 0 }, Ordering::Relaxed);
            given
        }

        fn give_back(&self, me: usize) {
            // First the count: a repair meanwhile gives one too many rather than one too few.
            self.held[me].fetch_sub(1, Ordering::Relaxed);
            // Which is why this may be refused then.
            assert!(self.permits.release(1) || self.deaths.load(Ordering::Relaxed) > 0);
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
        fn repair(&self, dead: usize) {
            self.deaths.fetch_add(1, Ordering::Relaxed);
            self.held[dead].store(0, Ordering::Relaxed);
            // Where there is a giver there are permits for those who die, too.
            if self.value.is_some() && dead != GIVER {
                return;
            }
            sim::process(END, || {
                let there = self.permits.available() + self.held();
                (there..self.needed).for_each(|_| _ = self.give(1));
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
            let (left, bound) = (shared.permits.available(), shared.permits.bound());
            assert!(left <= bound, "{left} permits of {bound}");
            if shared.deaths.load(Ordering::Relaxed) == 0 {
                let given = shared.given.load(Ordering::Relaxed);
                assert_eq!(left + shared.held(), given, "permits were lost or made");
            }
            // And the semaphore still works, up to its bound.
            (left..bound).for_each(|_| assert!(shared.permits.release(1)));
            assert!(!shared.permits.release(1), "more than the bound");
            assert!(shared.permits.acquire(None));
        });
    }

    /// The process that repairs, and looks in the end; nobody's victim.
    const END: usize = 4;
    const GIVER: usize = 2;

    fn give_one(shared: &Shared, _: usize) {
        shared.give(1);
    }

    /// One permit for three, each of whom gives it back.
    pub(crate) fn lend_one() {
        together(&counting(1, 1, 1), [Shared::lend; 3]);
    }

    pub(crate) fn lend_one_of_two() {
        together(&counting(1, 2, 1), [Shared::lend; 3]);
    }

    /// Both see that none is there, and that somebody may be asleep; who is killed there, and takes none.
    pub(crate) fn two_release_what_one_took() {
        together(&counting(0, 1, 0), [Shared::take, give_one, give_one]);
    }

    /// What a giver has begun who died is nothing that another one may rely upon.
    pub(crate) fn dead_giver_beside_a_live_one() {
        let shared = counting(0, 2, 0);
        together(&shared, [Shared::take, give_one, give_one]);
    }

    pub(crate) fn give_two_at_once() {
        fn give_two(shared: &Shared, _: usize) {
            assert!(shared.give(2) || shared.deaths.load(Ordering::Relaxed) > 0);
        }
        let mut shared = counting(0, 3, 2);
        let fresh = Arc::get_mut(&mut shared).expect("nobody else has it yet");
        fresh.value = Some(UnsafeCell::new(0));
        together(&shared, [Shared::take, Shared::take, give_two]);
    }

    /// One waiter's time is over at the moment at which it is woken; the other waits on.
    pub(crate) fn wake_in_the_last_moment() {
        fn expiring(shared: &Shared, me: usize) {
            sim::expire_when_woken();
            if shared.permits.acquire(Some(Deadline::FAR)) {
                shared.taken(me);
                shared.give_back(me);
            }
        }
        together(&counting(0, 1, 1), [Shared::lend, expiring, give_one]);
    }

    pub(crate) fn lend_a_binary_one() {
        together(&binary(1), [Shared::lend; 3]);
    }

    pub(crate) fn two_release_a_binary_one() {
        together(&taken_binary(), [Shared::take, give_one, give_one]);
    }
}
