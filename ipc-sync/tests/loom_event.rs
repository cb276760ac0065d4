//! `Event` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no deadlock: whoever waited comes through once the event was
//! set, and sees what was done before.
//!
//! # Safety
//!
//! What the waiters read was written before the event was set; loom says so if it was not.
#![cfg_attr(loom, expect(unsafe_code, reason = "a cell that the event hands over"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("one_sets_for_two", 3, &[0, 1, 2], one_sets_for_two)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::ClearWithoutWakeAll, Fault::WakeApartFromChange])
        .case("two_set_for_one", 3, &[0, 1], two_set_for_one)
        .reveals(&[Fault::ClearWithoutWakeAll])
        .case("set_and_cleared_at_once", 2, &[0, 2], set_and_cleared_at_once)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[Fault::ClearWithoutWakeAll])
        .case("who_clears_sees_all_work", 2, &[1], who_clears_sees_all_work)
        .case("set_in_the_last_moment", 2, &[0, 1, 2], set_in_the_last_moment)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicBool, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_core::primitive::{AtomicU32, UnsafeCell};
    use ipc_sync::{Event, WaitError};

    pub(crate) struct Shared {
        event: Event,
        /// Handed over by the first setting of the event.
        value: UnsafeCell<u32>,
        /// Not part of the model.
        written: AtomicBool,
    }

    // SAFETY: see the head of this file.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn wait(&self) {
            self.event.wait().unwrap();
            self.look();
        }

        fn look(&self) {
            // SAFETY: whoever wrote it set the event afterwards.
            assert_eq!(self.value.with(|value| unsafe { *value }), 7);
        }

        fn hand_over(&self) {
            if !self.written.swap(true, Ordering::Relaxed) {
                // SAFETY: nobody looks before the event is set.
                self.value.with_mut(|value| unsafe { *value = 7 });
            }
            self.event.set();
        }
    }

    type Actor = fn(&Shared);

    /// Runs process 0 here and the others beside it. Process 2 sets the event; if it is killed before, another one does.
    fn together(actors: [Actor; 3]) {
        let shared = Arc::new(Shared {
            event: Event::new(),
            value: UnsafeCell::new(0),
            written: AtomicBool::new(false),
        });
        let peers = [1, 2].map(|index| {
            let shared = shared.clone();
            sim::spawn_thread(move || run(index, &shared, actors[index]))
        });
        run(0, &shared, actors[0]);
        for peer in peers {
            peer.join().unwrap();
        }
        sim::process(END, || {
            shared.event.wait().unwrap();
            shared.event.clear();
            assert_eq!(shared.event.wait_deadline(Deadline::now()), Err(WaitError::TimedOut));
        });
    }

    fn run(index: usize, shared: &Shared, actor: Actor) -> Option<()> {
        let repair = || {
            // The thread is the victim's own, and sees what that has done.
            if index == SETTER {
                sim::process(END, || (!shared.event.is_set()).then(|| shared.hand_over()));
            }
        };
        sim::process_then(index, || actor(shared), repair)
    }

    const SETTER: usize = 2;
    /// The process that repairs, and looks in the end; nobody's victim.
    const END: usize = 4;

    pub(crate) fn one_sets_for_two() {
        together([Shared::wait, Shared::wait, Shared::hand_over]);
    }

    pub(crate) fn two_set_for_one() {
        fn wait(shared: &Shared) {
            shared.event.wait().unwrap();
        }
        fn set(shared: &Shared) {
            shared.event.set();
        }
        together([wait, set, set]);
    }

    /// Whoever waited the first time comes through although it is cleared again; whoever comes late has the second.
    pub(crate) fn set_and_cleared_at_once() {
        fn pulse(shared: &Shared) {
            shared.hand_over();
            shared.event.clear();
            shared.event.set();
        }
        together([Shared::wait, Shared::wait, pulse]);
    }

    /// Two put work down and set the event; one clears it and looks for work, of whom it is waited for in vain if it misses
    /// what the second setting of an event that was set already has brought.
    pub(crate) fn who_clears_sees_all_work() {
        struct Work {
            event: Event,
            pieces: [AtomicU32; 2],
        }
        fn put(work: &Work, piece: usize) {
            work.pieces[piece].store(1, Ordering::Relaxed);
            work.event.set();
        }
        let work = Arc::new(Work { event: Event::new(), pieces: [0; 2].map(AtomicU32::new) });
        let putters = [1, 2].map(|index| {
            let work = work.clone();
            sim::spawn_thread(move || {
                if sim::process(index, || put(&work, index - 1)).is_none() {
                    sim::process(END, || put(&work, index - 1));
                }
            })
        });
        sim::process(0, || {
            while work.pieces.iter().any(|piece| piece.load(Ordering::Relaxed) == 0) {
                work.event.wait().unwrap();
                work.event.clear();
            }
        });
        for putter in putters {
            putter.join().unwrap();
        }
    }

    /// One waiter's time is over at the moment at which it is woken.
    pub(crate) fn set_in_the_last_moment() {
        fn expiring(shared: &Shared) {
            sim::expire_when_woken();
            match shared.event.wait_deadline(Deadline::FAR) {
                Ok(()) => shared.look(),
                Err(error) => assert_eq!(error, WaitError::TimedOut),
            }
        }
        together([Shared::wait, expiring, Shared::hand_over]);
    }
}
