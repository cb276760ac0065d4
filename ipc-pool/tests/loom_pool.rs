//! The life of a task in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! The processes: 0 is the application, with a thread that waits for the ticket and, in the main thread, the supervisor;
//! 1 and 2 are workers. What each scenario asserts, besides that loom finds no data race on argument and
//! result and no sleeper that nobody wakes: the ticket resolves exactly once, and with the right result.
//!
//! # Safety
//!
//! The argument and the result are cells that the slot's word hands around, which loom checks.
#![cfg_attr(loom, expect(unsafe_code, reason = "cells that the protocol under test hands around"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("a_killed_worker_task_is_run_again", 2, &[1, 2], run_again)
        .reveals(&[Fault::NoFence])
        .case("a_killed_worker_task_is_given_up", 3, &[1], given_up)
        .case("a_task_wakes_a_worker", 3, &[1, 2], wakes)
        .reveals(&[Fault::NoFence])
        .case("a_large_result_goes_in_parts", 3, &[1], in_parts)
        .case("withdrawn_or_run_but_not_both", 3, &[1], withdrawn)
        .run();
}

#[cfg(loom)]
mod model {
    use core::sync::atomic::{AtomicU64 as Count, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_core::primitive::{AtomicU32, AtomicU64, UnsafeCell};
    use ipc_pool::protocol::{Bell, Owner, Slot, State, claim};

    const RESULT: u64 = 7;

    struct Shared {
        word: AtomicU64,
        result: UnsafeCell<u64>,
        /// The ticket's bell and one for each worker.
        bells: [AtomicU32; 3],
        /// Private to the application: the task was given up.
        lost: AtomicU64,
        /// Not part of the model: how often the function was entered.
        runs: Count,
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            word: AtomicU64::new(0),
            result: UnsafeCell::new(0),
            bells: [(); 3].map(|()| AtomicU32::new(0)),
            lost: AtomicU64::new(0),
            runs: Count::new(0),
        })
    }

    impl Shared {
        fn slot(&self) -> Slot<'_> {
            Slot::new(&self.word)
        }

        fn bell(&self, index: usize) -> Bell<'_> {
            Bell::new(&self.bells[index])
        }

        fn put(&self, value: u64) {
            // SAFETY: loom checks that nobody else uses the cell meanwhile.
            self.result.with_mut(|result| unsafe { *result = value });
        }

        fn take(&self) -> u64 {
            // SAFETY: as in `put`.
            self.result.with(|result| unsafe { *result })
        }

        /// One look at the queue by the worker on `seat`, and one task.
        fn work(&self, seat: usize) {
            let owner = Owner::new(seat, 1);
            let Some((_, mine)) = claim(|_| self.slot(), 1, 0, owner) else { return };
            self.runs.fetch_add(1, Ordering::Relaxed);
            self.put(RESULT);
            self.slot().turn(mine, State::Done).expect("a living worker keeps its task");
            self.bell(0).ring();
        }

        /// The ticket: waits, and takes the result out; `None` if the task was given up.
        fn redeem(&self) -> Option<u64> {
            loop {
                let seen = self.slot().load();
                if seen.is_over() {
                    let result = self.take();
                    assert!(self.slot().release(seen), "resolved twice");
                    return Some(result);
                }
                if seen.state() == State::Free && self.lost.load(Ordering::Acquire) == 1 {
                    return None;
                }
                let until = Deadline::FAR;
                self.bell(0).wait(until, || self.slot().load() != seen).unwrap();
            }
        }

        /// The supervisor, told by the kernel that the worker on `seat` is dead.
        fn bury(&self, seat: usize, again: bool) {
            let (slot, dead) = (self.slot(), Owner::new(seat, 1));
            let seen = slot.load();
            if seen.is_claimed() && seen.owner() == dead && !again {
                self.lost.store(1, Ordering::Release);
            }
            slot.bury(seen, dead, again);
            assert!(!slot.bury(seen, dead, again), "buried twice");
            self.bell(0).ring();
        }
    }

    fn worker(shared: &Arc<Shared>, seat: usize) -> sim::JoinHandle<Option<()>> {
        sim::spawn(seat, shared, move |shared| shared.work(seat))
    }

    /// A thread of the application that holds the ticket.
    fn ticket(shared: &Arc<Shared>) -> sim::JoinHandle<Option<Option<u64>>> {
        let shared = shared.clone();
        sim::spawn_thread(move || sim::thread_of(0, 3, || shared.redeem()))
    }

    /// Two workers without a task fall asleep; the ring is for one of them, who may be killed.
    pub(crate) fn wakes() {
        fn idle(shared: &Shared, seat: usize) {
            // Queued, or in the hands of the other: there is nothing to sleep for.
            let news = || shared.slot().load().state() != State::Free;
            if seat == 1 {
                // At its start: the zeros are not its own sleep.
                shared.bell(seat).leave();
            }
            while !news() {
                shared.bell(seat).wait(Deadline::FAR, news).unwrap();
            }
            shared.work(seat);
        }

        let shared = shared();
        let workers =
            [1, 2].map(|seat| sim::spawn(seat, &shared, move |shared| idle(shared, seat)));
        sim::process(0, || {
            shared.slot().publish();
            let _ = shared.bell(1).ring_after_store() || shared.bell(2).ring_after_store();
        });
        for (seat, worker) in [1, 2].into_iter().zip(workers) {
            let died = worker.join().unwrap().is_none();
            sim::process(0, || {
                if died {
                    shared.bury(seat, true);
                }
                // As the supervisor does after a death; and here, so that the other one ends.
                shared.bell(1).ring_after_store();
                shared.bell(2).ring_after_store();
            });
        }
        sim::process(4, || shared.work(0));
        assert!(sim::process(4, || shared.slot().load().is_over()).unwrap());
    }

    pub(crate) fn run_again() {
        let shared = shared();
        sim::process(0, || shared.slot().publish());
        let ticket = ticket(&shared);
        let workers = [1, 2].map(|seat| worker(&shared, seat));
        for (seat, worker) in [1, 2].into_iter().zip(workers) {
            let died = worker.join().unwrap().is_none();
            if died {
                sim::process(0, || shared.bury(seat, true));
            }
        }
        // The replacement finds what nobody has taken, and nothing else.
        sim::process(4, || shared.work(0));
        assert_eq!(ticket.join().unwrap(), Some(Some(RESULT)));
        let runs = shared.runs.load(Ordering::Relaxed);
        assert!((1..=2).contains(&runs), "one death, {runs} runs");
    }

    pub(crate) fn given_up() {
        let shared = shared();
        sim::process(0, || shared.slot().publish());
        let ticket = ticket(&shared);
        if worker(&shared, 1).join().unwrap().is_none() {
            sim::process(0, || shared.bury(1, false));
        }
        sim::process(4, || shared.work(0));
        let result = ticket.join().unwrap().expect("the application lives");
        let runs = shared.runs.load(Ordering::Relaxed);
        assert!(result.is_none_or(|result| result == RESULT));
        assert!(runs <= 1, "a task that may not be run again, run {runs} times");
    }

    /// Two parts through one window, the supervisor taking each out.
    pub(crate) fn in_parts() {
        fn send(shared: &Shared) {
            let slot = shared.slot();
            let Some(mut mine) = slot.claim(slot.load(), Owner::new(1, 1)) else { return };
            for part in 1..=2 {
                shared.put(part);
                let asked = slot.turn(mine, State::Part).expect("mine");
                shared.bell(0).ring();
                mine = loop {
                    let seen = slot.load();
                    if seen != asked {
                        break seen;
                    }
                    shared.bell(1).wait(Deadline::FAR, || slot.load() != asked).unwrap();
                };
            }
            slot.turn(mine, State::Done).expect("mine");
            shared.bell(0).ring();
        }

        fn receive(shared: &Shared) -> Option<u64> {
            let (slot, mut sum) = (shared.slot(), 0);
            loop {
                let seen = slot.load();
                match seen.state() {
                    State::Part => {
                        sum += shared.take();
                        // The worker may be dead, and the word still says that it waits.
                        if slot.answer(seen).is_some() {
                            shared.bell(1).ring();
                        }
                    }
                    State::Done => return Some(sum),
                    State::Free => return None,
                    _ => shared.bell(0).wait(Deadline::FAR, || slot.load() != seen).unwrap(),
                }
            }
        }

        let shared = shared();
        sim::process(0, || shared.slot().publish());
        let receiver = {
            let shared = shared.clone();
            sim::spawn_thread(move || sim::thread_of(0, 3, || receive(&shared)))
        };
        let died = sim::spawn(1, &shared, send).join().unwrap().is_none();
        if died {
            // The supervisor tries until the word no longer names the dead: the receiver may answer meanwhile.
            sim::process(0, || {
                loop {
                    let seen = shared.slot().load();
                    if seen.state() == State::Queued {
                        assert!(shared.slot().withdraw(seen));
                        break;
                    }
                    if !seen.is_claimed() || shared.slot().bury(seen, Owner::new(1, 1), false) {
                        break;
                    }
                }
                shared.bell(0).ring();
            });
        }
        let sum = receiver.join().unwrap().expect("the application lives");
        assert!(sum == Some(3) || died && sum.is_none(), "{sum:?}");
    }

    pub(crate) fn withdrawn() {
        let shared = shared();
        sim::process(0, || shared.slot().publish());
        let worker = worker(&shared, 1);
        let back = sim::process(0, || shared.slot().withdraw(shared.slot().load()));
        worker.join().unwrap();
        let runs = shared.runs.load(Ordering::Relaxed);
        let over = sim::process(4, || shared.slot().load().is_over()).unwrap();
        assert!(back != Some(true) || runs == 0 && !over, "taken back and run");
    }
}
