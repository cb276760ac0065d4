//! `Latch` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no deadlock: whoever waits comes through once everybody has
//! counted, and sees what each of them did before; what is counted too often is told.
//!
//! # Safety
//!
//! Each value is written before its writer counts, and read by those who have come through; loom says so if it was not.
#![cfg_attr(loom, expect(unsafe_code, reason = "cells that the latch hands over"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("one_counts_for_two", 2, &[0, 2], one_counts_for_two)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::WakeApartFromChange, Fault::GateOnlySleep])
        .case("two_count_for_one", 2, &[1], two_count_for_one)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::NoOrder])
        .case("one_too_many", 2, &[0], one_too_many)
        .case("counted_in_the_last_moment", 2, &[1, 2], counted_in_the_last_moment)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicU32, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::UnsafeCell;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_sync::{BelowZero, Latch, WaitError};

    pub(crate) struct Shared {
        latch: Latch,
        /// By process: what it has done before it counted.
        values: [UnsafeCell<u32>; 3],
        /// Who writes. Not part of the model.
        counters: &'static [usize],
        refused: AtomicU32,
    }

    // SAFETY: see the head of this file.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn wait(&self, _: usize) {
            self.latch.wait().unwrap();
            self.look();
        }

        fn look(&self) {
            for &counter in self.counters {
                // SAFETY: its writer has counted since.
                assert_eq!(self.values[counter].with(|value| unsafe { *value }), 7);
            }
        }

        fn count(&self, me: usize) {
            // SAFETY: nobody looks before this has counted.
            self.values[me].with_mut(|value| unsafe { *value = 7 });
            self.latch.count_down().unwrap();
        }
    }

    type Actor = fn(&Shared, usize);

    fn together(count: u32, counters: &'static [usize], actors: [Actor; 3]) -> Arc<Shared> {
        let values = [0; 3].map(UnsafeCell::new);
        let (latch, refused) = (Latch::new(count), AtomicU32::new(0));
        let shared = Arc::new(Shared { latch, values, counters, refused });
        let peers = [1, 2].map(|index| {
            let shared = shared.clone();
            sim::spawn_thread(move || run(index, &shared, actors[index]))
        });
        run(0, &shared, actors[0]);
        for peer in peers {
            peer.join().unwrap();
        }
        sim::process(END, || {
            shared.wait(END);
            assert_eq!((shared.latch.remaining(), shared.latch.count_down()), (0, Err(BelowZero)));
        });
        shared
    }

    /// Whoever is killed before he has counted has a successor: one who has a sum to compare with.
    fn run(index: usize, shared: &Shared, actor: Actor) {
        let uncounted = || {
            let remaining = || sim::process(END, || shared.latch.remaining_now()).unwrap();
            shared.counters.contains(&index) && remaining() > 0
        };
        let repair = || {
            // Others may have yet to count: this one only if the last count is missing in the end.
            if shared.counters == [index] && uncounted() {
                sim::process(END, || shared.count(index));
            }
        };
        sim::process_then(index, || actor(shared, index), repair);
    }

    /// The process that repairs, and looks in the end; nobody's victim.
    const END: usize = 4;

    pub(crate) fn one_counts_for_two() {
        together(1, &[2], [Shared::wait, Shared::wait, Shared::count]);
    }

    /// Of those who count one may die, before or after it has counted: a fourth process makes up for it.
    pub(crate) fn two_count_for_one() {
        let shared = Arc::new(Shared {
            latch: Latch::new(2),
            values: [0; 3].map(UnsafeCell::new),
            counters: &[1, 2],
            refused: AtomicU32::new(0),
        });
        let peers = [1, 2].map(|index| {
            let shared = shared.clone();
            sim::spawn_thread(move || {
                sim::process_then(
                    index,
                    || shared.count(index),
                    || {
                        shared.refused.fetch_add(1, Ordering::Relaxed);
                    },
                );
            })
        });
        let waiter = sim::spawn(0, &shared, |shared: &Shared| match shared.latch.wait() {
            Ok(()) if shared.refused.load(Ordering::Relaxed) == 0 => shared.look(),
            waited => waited.unwrap(),
        });
        for peer in peers {
            peer.join().unwrap();
        }
        sim::process(END, || {
            let missing = shared.latch.remaining_now();
            assert!(missing <= shared.refused.load(Ordering::Relaxed), "a count is lost");
            (0..missing).for_each(|_| assert!(shared.latch.count_down().is_ok()));
        });
        waiter.join().unwrap();
    }

    /// Two count, and one was wanted: it is open, and at least one is told.
    pub(crate) fn one_too_many() {
        fn count(shared: &Shared, _: usize) {
            if shared.latch.count_down() == Err(BelowZero) {
                shared.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
        fn wait(shared: &Shared, _: usize) {
            shared.latch.wait().unwrap();
        }
        let shared = together(1, &[], [wait, count, count]);
        assert!((1..=2).contains(&shared.refused.load(Ordering::Relaxed)));
    }

    /// One waiter's time is over at the moment at which it is woken.
    pub(crate) fn counted_in_the_last_moment() {
        fn expiring(shared: &Shared, _: usize) {
            sim::expire_when_woken();
            match shared.latch.wait_deadline(Deadline::FAR) {
                Ok(()) => shared.look(),
                Err(error) => assert_eq!(error, WaitError::TimedOut),
            }
        }
        together(1, &[2], [Shared::wait, expiring, Shared::count]);
    }
}
