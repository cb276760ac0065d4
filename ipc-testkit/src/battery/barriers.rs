//! Scenarios for barriers whose parties are members, of which any may be killed.
//!
//! Whoever waits must come back after the death: through, or told what has happened, and all alike. Where a victim died
//! before it did what the others wait for, and has left nothing by which they could know, the harness aborts the barrier,
//! as an operator would; never if a member is dead, for then it is the barrier that must tell. The survivors reset the
//! barrier, join it and pass it together, so that every place must be free again.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::stepkill::{Actor, Flaw, Scenario, Suite, Verdict};
use crate::{ensure, flaw};

/// A barrier that lives in shared memory.
pub trait Rendezvous: Sync {
    /// One of its parties. Dropping it must not wait.
    type Member<'a>
    where
        Self: 'a;

    /// A barrier for so many, to be moved into shared memory before it is used.
    fn new(parties: usize) -> Self;

    /// Becomes a member.
    fn join(&self) -> Result<Self::Member<'_>, Refusal>;

    /// Waits for the others; the index of this one.
    fn wait(&self, member: &mut Self::Member<'_>) -> Result<u32, Refusal>;

    /// As `wait`, if this one is the last; whether it was. Must not wait.
    fn try_wait(&self, member: &mut Self::Member<'_>) -> bool;

    /// Leaves a place to the next who joins.
    fn leave(&self, member: Self::Member<'_>);

    /// Breaks it. Must not wait.
    fn abort(&self);

    /// Makes it whole, without its dead.
    fn reset(&self);

    /// Whether it is broken. Must not wait.
    fn is_broken(&self) -> bool;

    /// How many places are taken. Must not wait.
    fn members(&self) -> usize;
}

/// Why somebody did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A member is dead: this process.
    Died(u32),
    /// It was reset meanwhile.
    Reset,
    /// Any other reason.
    Other,
}

/// What the scenarios share.
#[derive(Debug)]
#[repr(C)]
pub struct Meeting<B> {
    barrier: B,
    parties: u32,
    /// Waiters that got through, and that were told otherwise.
    through: AtomicU32,
    refused: AtomicU32,
    /// The indices of the survivors, as bits.
    indices: AtomicU32,
    /// The last victim.
    victim: AtomicU32,
}

/// One instruction with the same shared bytes is killed so often.
const REPEATS: usize = 4;
/// A wait that spins has nothing but these.
const REPEATS_OF_SPIN: usize = 2;

/// Plays all scenarios for `B`.
pub fn run<B: Rendezvous + 'static>(suite: &mut Suite, name: &str) {
    suite.everywhere_if_deep(&wait::<B>(name, 0));
    for waiters in [1, 3] {
        suite.everywhere(&wait::<B>(name, waiters));
    }
    for waiters in [0, 1, 3] {
        suite.everywhere(&drop_member::<B>(name, waiters));
        suite.everywhere(&leave::<B>(name, waiters));
        suite.everywhere(&abort::<B>(name, waiters));
        suite.everywhere(&reset::<B>(name, waiters));
        suite.woken(&wait::<B>(name, waiters).rename(format!("{name}: woken, {waiters} waiters")));
    }
    // These are about the last of several.
    for waiters in [1, 3] {
        suite.everywhere(&wait_last::<B>(name, waiters));
        suite.everywhere(&join::<B>(name, waiters));
    }
    suite.pairs(&abort::<B>(name, 0));
    suite.pairs(&reset::<B>(name, 0));
}

/// Killed in the wait that lets `waiters` through.
pub fn wait_last<B: Rendezvous + 'static>(name: &str, waiters: usize) -> Scenario<Meeting<B>> {
    base::<B>(format!("{name}: wait as the last, {waiters} waiters"), waiters, waiters + 1).victim(
        |world, me| {
            let mut member = world.join()?;
            let waited = me.operation(|| world.barrier.wait(&mut member));
            ensure!(waited.is_ok(), "not through: {waited:?}");
            world.barrier.leave(member);
            Ok(())
        },
    )
}

/// Killed in a wait for one who is late, with `waiters` asleep before; also inside its sleep.
pub fn wait<B: Rendezvous + 'static>(name: &str, waiters: usize) -> Scenario<Meeting<B>> {
    base::<B>(format!("{name}: wait, {waiters} waiters"), waiters, waiters + 2)
        .victim(|world, me| {
            let mut member = world.join()?;
            let waited = me.operation(|| world.barrier.wait(&mut member));
            ensure!(waited.is_ok(), "not through: {waited:?}");
            world.barrier.leave(member);
            Ok(())
        })
        .prune_loops(REPEATS_OF_SPIN)
        .unblock(|world| {
            // The late one. It is not the last if the victim died before it came: then that is what the others wait for.
            if let Ok(mut member) = world.barrier.join() {
                world.barrier.try_wait(&mut member);
                // It stays whole: the others may not have looked yet.
                world.barrier.leave(member);
            }
        })
        .one_processor()
}

/// Killed in `join`, with `waiters` asleep that wait for it.
pub fn join<B: Rendezvous + 'static>(name: &str, waiters: usize) -> Scenario<Meeting<B>> {
    base::<B>(format!("{name}: join, {waiters} waiters"), waiters, waiters + 1)
        .victim(|world, me| {
            let joined = me.operation(|| world.barrier.join());
            let mut member = joined.map_err(|refusal| flaw!("not joined: {refusal:?}"))?;
            let waited = world.barrier.wait(&mut member);
            ensure!(waited.is_ok(), "not through: {waited:?}");
            world.barrier.leave(member);
            Ok(())
        })
        .unblock(Meeting::abort_if_short)
}

/// Killed while it drops its member, with `waiters` asleep that wait for it.
pub fn drop_member<B: Rendezvous + 'static>(name: &str, waiters: usize) -> Scenario<Meeting<B>> {
    base::<B>(format!("{name}: drop, {waiters} waiters"), waiters, waiters + 1).victim(
        |world, me| {
            let member = world.join()?;
            me.operation(|| drop(member));
            Ok(())
        },
    )
}

/// Killed while it leaves its place to another, with `waiters` asleep that wait for that one.
pub fn leave<B: Rendezvous + 'static>(name: &str, waiters: usize) -> Scenario<Meeting<B>> {
    base::<B>(format!("{name}: leave, {waiters} waiters"), waiters, waiters + 1)
        .victim(|world, me| {
            let member = world.join()?;
            me.operation(|| world.barrier.leave(member));
            Ok(())
        })
        .unblock(Meeting::abort_if_short)
}

/// Killed in `abort`, with `waiters` asleep.
pub fn abort<B: Rendezvous + 'static>(name: &str, waiters: usize) -> Scenario<Meeting<B>> {
    base::<B>(format!("{name}: abort, {waiters} waiters"), waiters, waiters + 1)
        .victim(|world, me| {
            me.operation(|| world.barrier.abort());
            Ok(())
        })
        .unblock(Meeting::abort_if_whole)
}

/// Killed in `reset`, with `waiters` asleep.
pub fn reset<B: Rendezvous + 'static>(name: &str, waiters: usize) -> Scenario<Meeting<B>> {
    base::<B>(format!("{name}: reset, {waiters} waiters"), waiters, waiters + 1)
        .victim(|world, me| {
            me.operation(|| world.barrier.reset());
            Ok(())
        })
        .unblock(Meeting::abort_if_whole)
}

fn base<B: Rendezvous + 'static>(
    name: String,
    waiters: usize,
    parties: usize,
) -> Scenario<Meeting<B>> {
    // The survivors are two at least.
    let parties = parties.max(2);
    let make = move || Meeting {
        barrier: B::new(parties),
        parties: parties as u32,
        through: AtomicU32::new(0),
        refused: AtomicU32::new(0),
        indices: AtomicU32::new(0),
        victim: AtomicU32::new(0),
    };
    Scenario::new(name, make)
        .prune_loops(REPEATS)
        .witness(|world, victim| {
            world.victim.store(victim, Ordering::Relaxed);
            0
        })
        .waiters(waiters, |world, me| world.come(me))
        .survivors(parties, |world, me| world.meet(me))
        .audit(|world, _| world.audit())
}

impl<B: Rendezvous> Meeting<B> {
    fn join(&self) -> Result<B::Member<'_>, Flaw> {
        self.barrier.join().map_err(|refusal| flaw!("not joined: {refusal:?}"))
    }

    /// Waits once, and leaves.
    fn come(&self, _: &Actor<'_>) -> Verdict {
        let mut member = self.join()?;
        let waited = self.barrier.wait(&mut member);
        let count = if waited.is_ok() { &self.through } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.barrier.leave(member);
        if let Err(Refusal::Died(who)) = waited {
            let victim = self.victim.load(Ordering::Relaxed);
            ensure!(who == victim, "{who} is said to be dead, and {victim} was killed");
        }
        Ok(())
    }

    /// Resets it, and passes it with all the other survivors; who of them resets it last is not known.
    fn meet(&self, me: &Actor<'_>) -> Verdict {
        self.barrier.reset();
        let mut member = loop {
            match self.barrier.join() {
                Ok(member) => break member,
                Err(Refusal::Reset) => std::thread::yield_now(),
                Err(refusal) => return Err(flaw!("after a reset: not joined: {refusal:?}")),
            }
        };
        let index = loop {
            match self.barrier.wait(&mut member) {
                Ok(index) => break index,
                Err(Refusal::Reset) => std::thread::yield_now(),
                Err(refusal) => return Err(flaw!("after a reset: not through: {refusal:?}")),
            }
        };
        me.succeeded();
        let others = self.indices.fetch_or(1 << index, Ordering::Relaxed);
        ensure!(others & 1 << index == 0, "two have the index {index}");
        self.barrier.leave(member);
        Ok(())
    }

    fn audit(&self) -> Verdict {
        let (through, refused) =
            (self.through.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed));
        ensure!(through == 0 || refused == 0, "{through} are through, and {refused} are not");
        let indices = self.indices.load(Ordering::Relaxed);
        ensure!(indices == (1 << self.parties) - 1, "the indices were {indices:#b}");
        ensure!(!self.barrier.is_broken(), "it is broken in the end");
        let members = self.barrier.members();
        ensure!(members == 0, "{members} places are taken by nobody");
        Ok(())
    }

    fn abort_if_short(&self) {
        if self.barrier.members() < self.parties as usize {
            self.barrier.abort();
        }
    }

    fn abort_if_whole(&self) {
        if !self.barrier.is_broken() {
            self.barrier.abort();
        }
    }
}
