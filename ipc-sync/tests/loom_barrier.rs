//! `Barrier` in every interleaving, with every process killed before each of its steps.
//!
//! Run by `ci/loom.sh`. Without `--cfg loom` there is no model, and this program says so.
//!
//! What each scenario asserts, besides that loom finds no data race and no deadlock: of those who live all get
//! through a turn, or none does; who gets through has an index of his own, and sees what all the others did before they
//! came; and after a reset every place of the dead is free.
//!
//! # Safety
//!
//! A member writes to its own cell before it arrives, and reads the others' after the barrier has opened; loom says so
//! if these are not apart. The copy of a member is dropped by a process that is no member.
#![cfg_attr(loom, expect(unsafe_code, reason = "cells that the barrier hands over, and a copy"))]

#[cfg(not(loom))]
fn main() {
    println!("SKIPPED: built without --cfg loom (see ci/loom.sh)");
}

#[cfg(loom)]
fn main() {
    use ipc_core::primitive::sim::{Fault, Suite};
    use model::*;

    Suite::new()
        .case("three_members", 1, &[0, 1, 2], three_members)
        .case("three_living_members", 2, &[], three_members)
        .bears(&[Fault::WakeOpRefused])
        .reveals(&[
            Fault::GateOnlySleep,
            Fault::NoFence,
            Fault::ClearWithoutWakeAll,
            Fault::NoOrder,
        ])
        .case("two_turns", 2, &[0, 1], two_turns)
        .reveals(&[Fault::NoOrder, Fault::GateOnlySleep])
        .case("the_last_runs_the_action", 2, &[0, 1], the_last_runs_the_action)
        .reveals(&[Fault::NoOrder])
        .case("abort_reaches_all", 1, &[0, 2], abort_reaches_all)
        .reveals(&[Fault::NoBaton, Fault::ClearWithoutWakeAll])
        .case("time_is_over", 1, &[0, 1], time_is_over)
        .case("time_is_over_in_the_last_moment", 1, &[0, 1], time_is_over_in_the_last_moment)
        .case("one_leaves", 2, &[0, 1], one_leaves)
        .case("one_leaves_its_place", 2, &[0, 1], one_leaves_its_place)
        .case("one_joins_late", 1, &[2], one_joins_late)
        .reveals(&[Fault::GateOnlySleep])
        .case("the_next_crew_joins", 1, &[0, 1], the_next_crew_joins)
        .case("reset_under_waiters", 1, &[2], reset_under_waiters)
        .case("one_leaves_under_a_reset", 1, &[0], one_leaves_under_a_reset)
        .case("two_resets", 1, &[1], two_resets)
        .case("two_domains_never_judge", 3, &[], two_domains_never_judge)
        .case("member_copied_by_fork", 3, &[], member_copied_by_fork)
        .run();
}

#[cfg(loom)]
mod model {
    use core::mem::forget;
    use core::sync::atomic::{AtomicU32, Ordering};

    use ipc_core::clock::Deadline;
    use ipc_core::identity::ProcessId;
    use ipc_core::primitive::sim::{self, Arc};
    use ipc_core::primitive::{UnsafeCell, identity};
    use ipc_sync::{Barrier, BarrierError, BarrierMember, BarrierWaitResult, Breach};

    type Outcome = Result<BarrierWaitResult, BarrierError>;

    /// A barrier, and what its members do and say.
    pub(crate) struct Shared {
        barrier: Barrier<3>,
        /// One for each member.
        cells: [UnsafeCell<u32>; 3],
        /// Written by the action.
        sum: UnsafeCell<u32>,
        /// Not part of the model.
        actions: AtomicU32,
        joined: AtomicU32,
    }

    // SAFETY: see the head of this file.
    unsafe impl Sync for Shared {}

    /// A barrier of so many parties, of whom the first `members` have joined: process `i` has place `i`.
    fn shared(parties: u32, members: usize) -> Arc<Shared> {
        let cells = [0; 3].map(UnsafeCell::new);
        let (barrier, sum) = (Barrier::new(parties), UnsafeCell::new(0));
        let (actions, joined) = (AtomicU32::new(0), AtomicU32::new(0));
        let shared = Arc::new(Shared { barrier, cells, sum, actions, joined });
        for process in 0..members {
            sim::thread_of(process, END, || forget(shared.barrier.join().unwrap()));
        }
        // From here on the gate says that nobody sleeps.
        sim::process(END, || shared.barrier.end_slices());
        shared
    }

    impl Shared {
        fn member(&self, me: usize) -> BarrierMember<'_> {
            self.barrier.member(me as u32)
        }

        fn write(&self, me: usize, value: u32) {
            // SAFETY: between two turns a cell is its member's.
            self.cells[me].with_mut(|cell| unsafe { *cell = value });
        }

        /// What the members have written, of whom each must have got as far as `value`.
        fn read(&self, value: u32) {
            for cell in &self.cells[..self.barrier.parties() as usize] {
                // SAFETY: after an opening nobody writes before the next one.
                assert_eq!(cell.with(|cell| unsafe { *cell }), value);
            }
        }

        /// Waits as a member that stays one.
        fn wait(&self, me: usize) -> Outcome {
            self.wait_by(me, |member| member.wait())
        }

        fn wait_by(&self, me: usize, wait: fn(&mut BarrierMember<'_>) -> Outcome) -> Outcome {
            let mut member = self.member(me);
            self.write(me, 1);
            let outcome = wait(&mut member);
            forget(member);
            if outcome.is_ok() {
                self.read(1);
            }
            outcome
        }

        /// In the end the barrier can be made whole, and whoever is left is counted: nobody's place has leaked.
        fn is_usable_by(&self, newcomers: usize) {
            sim::process(END, || {
                self.barrier.reset();
                assert!(!self.barrier.is_broken());
                let joined: Vec<_> = (0..newcomers).map(|_| self.barrier.join().unwrap()).collect();
                assert_eq!(self.barrier.join().unwrap_err(), BarrierError::Full);
                joined.into_iter().for_each(BarrierMember::leave);
            });
        }
    }

    /// What the three processes came to; `None` for one that was killed.
    type Outcomes = [Option<Outcome>; 3];

    type Actor = fn(&Shared, usize) -> Outcome;

    /// Runs process 0 here and the others beside it.
    fn together<const N: usize>(shared: &Arc<Shared>, actors: [Actor; N]) -> Outcomes {
        let peers: Vec<_> = (1..N)
            .map(|index| {
                let (shared, actor) = (shared.clone(), actors[index]);
                sim::spawn_thread(move || sim::process(index, || actor(&shared, index)))
            })
            .collect();
        let mut outcomes = [None; 3];
        outcomes[0] = sim::process(0, || actors[0](shared, 0));
        for (outcome, peer) in outcomes[1..].iter_mut().zip(peers) {
            *outcome = peer.join().unwrap();
        }
        outcomes
    }

    /// The process that comes before and after the others; nobody's victim.
    const END: usize = 4;

    fn id(index: usize) -> ProcessId {
        sim::thread_of(index, END, || identity::current().unwrap().id).unwrap()
    }

    fn outcomes_of_the_living(outcomes: &Outcomes, parties: usize) -> Vec<Outcome> {
        outcomes[..parties].iter().filter_map(|outcome| *outcome).collect()
    }

    /// All who live got through, each with an index of his own, or all have the one reason. That is a death only
    /// if there was one. Whether they got through.
    fn all_or_none(outcomes: &Outcomes, parties: usize) -> Result<(), BarrierError> {
        let living = outcomes_of_the_living(outcomes, parties);
        let dead: Vec<_> = (0..parties).filter(|&index| outcomes[index].is_none()).collect();
        let mut indices: Vec<_> = living.iter().flatten().map(|result| result.index()).collect();
        let leaders = living.iter().flatten().filter(|result| result.is_leader()).count();
        indices.sort_unstable();
        indices.dedup();
        if indices.is_empty() {
            let reason = living[0].unwrap_err();
            assert!(living.iter().all(|outcome| *outcome == Err(reason)), "{outcomes:?}");
            if let BarrierError::Broken(Breach::Died(who)) = reason {
                assert!(dead.iter().any(|&index| id(index) == who), "{outcomes:?}");
            }
            return Err(reason);
        }
        assert_eq!(indices.len(), living.len(), "{outcomes:?}");
        assert!(indices.iter().all(|&index| (index as usize) < parties), "{outcomes:?}");
        assert!(leaders == 1 || leaders == 0 && !dead.is_empty(), "{outcomes:?}");
        Ok(())
    }

    fn expect_died_at_most(result: Result<(), BarrierError>) {
        match result {
            Ok(()) | Err(BarrierError::Broken(Breach::Died(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn three_members() {
        let shared = shared(3, 3);
        let outcomes = together(&shared, [Shared::wait; 3]);
        expect_died_at_most(all_or_none(&outcomes, 3));
        shared.is_usable_by(outcomes.iter().filter(|outcome| outcome.is_none()).count());
    }

    /// Nobody is a turn ahead: what one writes in the next turn, the others no longer read.
    pub(crate) fn two_turns() {
        fn twice(shared: &Shared, me: usize) -> Outcome {
            shared.wait(me)?;
            let mut member = shared.member(me);
            let outcome = member.wait();
            forget(member);
            if outcome.is_ok() {
                shared.write(me, 2);
            }
            outcome
        }
        let outcomes = together(&shared(2, 2), [twice; 2]);
        // One who was killed in the first turn may have let the other through, who ends in the second.
        expect_died_at_most(all_or_none(&outcomes, 2));
    }

    pub(crate) fn the_last_runs_the_action() {
        fn act(shared: &Shared, me: usize) -> Outcome {
            let mut member = shared.member(me);
            shared.write(me, 1);
            let outcome = member.wait_with(|| {
                sim::acquired();
                assert_eq!(shared.actions.fetch_add(1, Ordering::Relaxed), 0, "a second action");
                // All have come, and nobody is through.
                shared.read(1);
                // SAFETY: see above.
                shared.sum.with_mut(|sum| unsafe { *sum = 3 });
                sim::acquired();
            });
            forget(member);
            if outcome.is_ok() {
                // SAFETY: after the opening nobody writes it any more.
                assert_eq!(shared.sum.with(|sum| unsafe { *sum }), 3);
            }
            outcome
        }
        let shared = shared(2, 2);
        let result = all_or_none(&together(&shared, [act; 2]), 2);
        expect_died_at_most(result);
        let actions = shared.actions.load(Ordering::Relaxed);
        assert!(actions == 1 || result.is_err() && actions == 0, "{actions} actions");
    }

    /// By somebody who is no member, and for whom nobody looks. If it is killed before, somebody else does it.
    pub(crate) fn abort_reaches_all() {
        let shared = shared(3, 2);
        let aborter = shared.clone();
        let aborter = sim::spawn_thread(move || {
            let abort = || aborter.barrier.abort();
            sim::process_then(2, abort, || abort_if(&aborter, |barrier| !barrier.is_broken()))
        });
        let outcomes = together(&shared, [Shared::wait; 2]);
        aborter.join().unwrap();
        match all_or_none(&outcomes, 2) {
            Err(BarrierError::Broken(Breach::Aborted)) => {}
            Err(BarrierError::Broken(Breach::Died(_))) => assert!(outcomes.contains(&None)),
            other => panic!("{other:?}"),
        }
    }

    /// What somebody else does who sees that all would wait for nothing.
    fn abort_if(shared: &Shared, is_due: impl FnOnce(&Barrier<3>) -> bool) {
        sim::process(END, || is_due(&shared.barrier).then(|| shared.barrier.abort()));
    }

    fn expiring(shared: &Shared, me: usize) -> Outcome {
        shared.wait_by(me, |member| member.wait_deadline(Deadline::now()))
    }

    /// Through with all, or the one to whom it happened says so, and the others, too.
    fn through_or_late(outcomes: &mut Outcomes, parties: usize) {
        for outcome in outcomes.iter_mut().flatten() {
            if *outcome == Err(BarrierError::TimedOut) {
                *outcome = Err(BarrierError::Broken(Breach::TimedOut));
            }
        }
        match all_or_none(outcomes, parties) {
            Ok(()) | Err(BarrierError::Broken(Breach::TimedOut | Breach::Died(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn time_is_over() {
        let mut outcomes = together(&shared(3, 3), [Shared::wait, expiring, Shared::wait]);
        through_or_late(&mut outcomes, 3);
    }

    /// Its time is over as it is woken, by whatever.
    pub(crate) fn time_is_over_in_the_last_moment() {
        fn expiring(shared: &Shared, me: usize) -> Outcome {
            sim::expire_when_woken();
            shared.wait_by(me, |member| member.wait_deadline(Deadline::FAR))
        }
        let mut outcomes = together(&shared(3, 3), [Shared::wait, expiring, Shared::wait]);
        through_or_late(&mut outcomes, 3);
    }

    fn drop_member(shared: &Shared, me: usize) -> Outcome {
        drop(shared.member(me));
        Err(BarrierError::Broken(Breach::Left))
    }

    pub(crate) fn one_leaves() {
        let shared = shared(3, 3);
        let mut outcomes = together(&shared, [drop_member, Shared::wait, Shared::wait]);
        let dead = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        let left = outcomes[0].is_some();
        if left {
            // What the others came to is what they say.
            outcomes[0] = outcomes[1].or(outcomes[2]);
        }
        match all_or_none(&outcomes, 3) {
            Err(BarrierError::Broken(Breach::Left)) => {}
            Err(BarrierError::Broken(Breach::Died(_))) => assert!(dead > 0),
            other => panic!("{other:?}"),
        }
        shared.is_usable_by(dead + usize::from(left));
    }

    /// As [`together`], for a joiner that is the last process. If it is killed before it has a place, all the others would
    /// wait for the next to come.
    fn together_with_joiner<const N: usize>(
        shared: &Arc<Shared>,
        actors: [Actor; N],
        join: Actor,
    ) -> Outcomes {
        let index = N;
        let joiner = shared.clone();
        let joiner = sim::spawn_thread(move || {
            let outcome = sim::process_then(
                index,
                || join(&joiner, index),
                || abort_if(&joiner, |barrier| barrier.members() < barrier.parties()),
            );
            if outcome.is_none() {
                // Who saw a free place there as it fell asleep watches nobody, and finds out at the end of its slice.
                sim::process(END, || joiner.barrier.end_slices());
            }
            outcome
        });
        let mut outcomes = together(shared, actors);
        outcomes[index] = joiner.join().unwrap();
        match all_or_none(&outcomes, index + 1) {
            Ok(()) => {}
            Err(BarrierError::Broken(Breach::Died(_) | Breach::Aborted)) => {
                assert!(outcomes.contains(&None));
            }
            Err(error) => panic!("{error}"),
        }
        outcomes
    }

    /// It stays whole, and waits for the one who comes instead.
    pub(crate) fn one_leaves_its_place() {
        fn leave_and_join(shared: &Shared, me: usize) -> Outcome {
            shared.member(me).leave();
            forget(shared.barrier.join()?);
            shared.wait(me)
        }
        together_with_joiner(&shared(2, 2), [Shared::wait], leave_and_join);
    }

    pub(crate) fn one_joins_late() {
        fn join(shared: &Shared, me: usize) -> Outcome {
            forget(shared.barrier.join()?);
            shared.joined.store(1, Ordering::Relaxed);
            shared.wait(me)
        }
        let shared = shared(3, 2);
        let outcomes = together_with_joiner(&shared, [Shared::wait; 2], join);
        let members = outcomes[..2].iter().flatten().count();
        let joined = outcomes[2].map_or(0, |_| shared.joined.load(Ordering::Relaxed));
        shared.is_usable_by(3 - members - joined as usize);
    }

    /// Whoever comes after all have left finds it as new, without a reset.
    pub(crate) fn the_next_crew_joins() {
        fn come_and_go(shared: &Shared, _: usize) -> Outcome {
            drop(shared.barrier.join()?);
            Err(BarrierError::Broken(Breach::Left))
        }
        let shared = shared(2, 2);
        let outcomes = together(&shared, [drop_member, drop_member, come_and_go]);
        match outcomes[2] {
            None | Some(Err(BarrierError::Full | BarrierError::Broken(Breach::Left))) => {}
            Some(Err(BarrierError::Broken(Breach::Died(_)))) => assert!(outcomes.contains(&None)),
            other => panic!("{other:?}"),
        }
        if outcomes.contains(&None) {
            shared.is_usable_by(2);
        } else {
            sim::process(END, || {
                let crew = [(); 2].map(|()| shared.barrier.join().unwrap());
                crew.into_iter().for_each(forget);
            });
        }
    }

    /// Waits, and is a member no longer if that was in vain.
    fn wait_or_go(shared: &Shared, me: usize) -> Outcome {
        let outcome = shared.wait(me);
        if outcome.is_err() {
            drop(shared.member(me));
        }
        outcome
    }

    /// As [`together`], beside an operator who resets it, and aborts it if it is short of a member then: who has left or
    /// died before a reset is not told of any more.
    fn together_with_operator<const N: usize>(
        shared: &Arc<Shared>,
        actors: [Actor; N],
    ) -> Outcomes {
        let operator = shared.clone();
        let is_short = |barrier: &Barrier<3>| barrier.members() < barrier.parties();
        let operator = sim::spawn_thread(move || {
            let reset = || {
                operator.barrier.reset();
                if is_short(&operator.barrier) {
                    operator.barrier.abort();
                }
            };
            sim::process_then(N, reset, || abort_if(&operator, is_short))
        });
        let outcomes = together(shared, actors);
        operator.join().unwrap();
        outcomes
    }

    /// Through, or told of something that has happened.
    fn none_is_alone(outcomes: &Outcomes) {
        let living = outcomes_of_the_living(outcomes, 2);
        assert!(
            living.iter().all(Result::is_ok) || living.iter().all(Result::is_err),
            "{outcomes:?}"
        );
        for outcome in living.iter().filter_map(|outcome| outcome.err()) {
            let known = matches!(
                outcome,
                BarrierError::Broken(
                    Breach::Reset | Breach::Left | Breach::Aborted | Breach::Died(_)
                )
            );
            assert!(known, "{outcomes:?}");
        }
    }

    pub(crate) fn reset_under_waiters() {
        let shared = shared(2, 2);
        let outcomes = together_with_operator(&shared, [wait_or_go; 2]);
        none_is_alone(&outcomes);
        shared.is_usable_by(2 - outcomes.iter().flatten().flatten().count());
    }

    /// A reset that has seen a member on its way out has freed its place, or does not keep it from breaking the barrier.
    pub(crate) fn one_leaves_under_a_reset() {
        let shared = shared(2, 2);
        let outcomes = together_with_operator(&shared, [drop_member, wait_or_go]);
        none_is_alone(&outcomes);
        shared.is_usable_by(2);
    }

    pub(crate) fn two_resets() {
        fn reset_and_go(shared: &Shared, me: usize) -> Outcome {
            shared.barrier.reset();
            drop_member(shared, me)
        }
        let shared = shared(2, 2);
        let outcomes = together_with_operator(&shared, [wait_or_go, reset_and_go]);
        none_is_alone(&outcomes);
        shared.is_usable_by(2);
    }

    pub(crate) fn two_domains_never_judge() {
        fn try_first(shared: &Shared, me: usize) -> Outcome {
            match shared.wait_by(me, |member| member.try_wait()) {
                Err(BarrierError::WouldBlock) => shared.wait(me),
                outcome => outcome,
            }
        }
        let shared = shared(2, 1);
        let foreigner = sim::spawn_thread({
            let shared = shared.clone();
            move || {
                sim::foreign_process(1, || {
                    forget(shared.barrier.join()?);
                    try_first(&shared, 1)
                })
            }
        });
        assert!(sim::process(0, || try_first(&shared, 0)).unwrap().is_ok());
        assert!(foreigner.join().unwrap().unwrap().is_ok());
    }

    pub(crate) fn member_copied_by_fork() {
        fn fork_first(shared: &Shared, me: usize) -> Outcome {
            let member = shared.member(me);
            // SAFETY: the copy is used by another process, where that does nothing.
            let mut copy = unsafe { core::ptr::read(&raw const member) };
            sim::as_forked_child(2, || {
                assert_eq!(copy.wait(), Err(BarrierError::NotAMember));
                drop(copy);
            });
            forget(member);
            shared.wait(me)
        }
        let outcomes = together(&shared(2, 2), [fork_first, Shared::wait]);
        all_or_none(&outcomes, 2).unwrap();
    }
}
