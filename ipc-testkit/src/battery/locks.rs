//! Scenarios for mutual-exclusion locks.
//!
//! [`run`] plays them all; [`lock`], [`try_lock`], [`unlock`], [`section`] and [`lost_wakeup`] are the single ones.

use std::path::Path;

use crate::ensure;
use crate::oracle::Canary;
use crate::stepkill::{Actor, Flaw, Scenario, Suite, Verdict};

/// A lock that lives in shared memory.
pub trait Lock: Sync {
    /// Unlocks when it is dropped.
    type Guard<'a>
    where
        Self: 'a;

    /// A free lock, to be moved into shared memory before it is used.
    fn new() -> Self;

    /// Waits for the lock.
    fn lock(&self) -> Held<Self::Guard<'_>>;

    /// Takes the lock if it is free, without waiting.
    fn try_lock(&self) -> Option<Held<Self::Guard<'_>>>;

    /// The process that owns the lock, 0 if there is none. Must not wait.
    ///
    /// A lock that knows already that its owner has died and not who that was, says [`DEAD_OWNER`].
    fn owner(&self) -> u32;
}

/// An owner that is no process any more.
pub const DEAD_OWNER: u32 = u32::MAX;

/// A lock that was taken.
#[derive(Debug)]
pub struct Held<G> {
    /// Unlocks when it is dropped. A lock that marks its data inconsistent has been told that they are good again.
    pub guard: G,
    /// The lock said that its last owner had died.
    pub recovered: bool,
}

/// What the scenarios share: the lock, and what it protects.
#[derive(Debug)]
#[repr(C)]
pub struct Guarded<L> {
    lock: L,
    canary: Canary,
}

/// How many processes use the lock after the death, and how often.
const SURVIVORS: usize = 2;
const TURNS: usize = 8;

/// One instruction with the same shared bytes is killed so often: locks spin.
const REPEATS: usize = 4;

/// Plays all scenarios for `L`: every instruction of lock, try_lock and unlock without and with waiters, pairs of
/// victims, one frozen alive beside one killed, and waiters killed between wake-up and acquisition.
pub fn run<L: Lock + 'static>(suite: &mut Suite, name: &str) {
    suite.everywhere(&first_lock::<L>(name));
    suite.everywhere(&lock_free::<L>(name));
    suite.everywhere(&try_lock::<L>(name));
    for waiters in [0, 1, 3] {
        suite.everywhere(&lock::<L>(name, waiters));
        suite.everywhere(&unlock::<L>(name, waiters));
    }
    suite.everywhere(&section::<L>(name));
    suite.everywhere(
        &lock_free::<L>(name).leave_zombie().rename(format!("{name}: lock, dead unreaped")),
    );
    suite.pairs(&lock_free::<L>(name));
    suite.pairs(&unlock::<L>(name, 0));
    suite.beside_frozen(&try_lock::<L>(name));
    for waiters in [1, 3] {
        suite.woken(&lost_wakeup::<L>(name, waiters));
        suite.woken(&wakeup_of_the_dead::<L>(name, waiters));
    }
}

/// K13: killed in the first `lock` of its life, in which it may have to find out who it is.
pub fn first_lock<L: Lock + 'static>(name: &str) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: first lock")).victim(|world, me| {
        let held = me.operation(|| world.lock.lock());
        world.leave(me, held)
    })
}

/// K13: killed in `lock` of a free lock.
pub fn lock_free<L: Lock + 'static>(name: &str) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: lock")).victim(|world, me| {
        world.warm_up(me)?;
        let held = me.operation(|| world.lock.lock());
        world.leave(me, held)
    })
}

/// K13: killed in `lock` of a lock that is held, with `waiters` asleep before; also inside its sleep.
pub fn lock<L: Lock + 'static>(name: &str, waiters: usize) -> Scenario<Guarded<L>> {
    contended(lock_free::<L>(name).rename(format!("{name}: lock held, {waiters} waiters")), waiters)
}

/// K13: killed in `try_lock` of a free lock.
pub fn try_lock<L: Lock + 'static>(name: &str) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: try_lock")).victim(|world, me| {
        world.warm_up(me)?;
        match me.operation(|| world.lock.try_lock()) {
            Some(held) => world.leave(me, held),
            None => Ok(()),
        }
    })
}

/// K13: killed in unlock, with `waiters` asleep.
pub fn unlock<L: Lock + 'static>(name: &str, waiters: usize) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: unlock, {waiters} waiters"))
        .victim(|world, me| {
            let held = world.lock.lock();
            me.operation(|| drop(held.guard));
            Ok(())
        })
        .waiters(waiters, |world, me| world.visit(me))
}

/// K13: killed anywhere between the beginning of `lock` and the end of unlock, with work on the protected data between.
pub fn section<L: Lock + 'static>(name: &str) -> Scenario<Guarded<L>> {
    base::<L>(format!("{name}: critical section")).victim(|world, me| {
        world.warm_up(me)?;
        me.operation(|| world.visit(me))
    })
}

/// K14: owner A unlocks and wakes B; newcomer D takes the lock before B runs; B is killed; D unlocks. `waiters` sleep
/// behind B and must all get the lock.
///
/// For [`Suite::woken`], which kills B at every instruction from its wake-up on.
pub fn lost_wakeup<L: Lock + 'static>(name: &str, waiters: usize) -> Scenario<Guarded<L>> {
    wakeup_of_the_dead::<L>(name, waiters)
        .rename(format!("{name}: lost wake-up, {waiters} waiters"))
        .newcomer(|world, me| {
            let Some(held) = world.lock.try_lock() else {
                // The lock went to somebody else: this attempt does not count.
                return Ok(());
            };
            me.hold();
            world.leave(me, held)
        })
}

/// K14 without a newcomer: the woken one is killed, and the lock is free.
pub fn wakeup_of_the_dead<L: Lock + 'static>(name: &str, waiters: usize) -> Scenario<Guarded<L>> {
    contended(
        lock_free::<L>(name).rename(format!("{name}: wake-up of the dead, {waiters} waiters")),
        waiters,
    )
}

fn base<L: Lock + 'static>(name: String) -> Scenario<Guarded<L>> {
    Scenario::new(name, || Guarded { lock: L::new(), canary: Canary::new() })
        .prune_loops(REPEATS)
        .witness(|world, victim| u64::from(world.is_owned_by_the_dead(victim)))
        .survivors(SURVIVORS, |world, me| {
            world.visit(me)?;
            me.succeeded();
            (1..TURNS).try_for_each(|_| world.visit(me))
        })
        .while_frozen(|world, me| match world.try_lock(me)? {
            Some(held) => world.leave(me, held),
            None => Ok(()),
        })
        .audit(|world, me| {
            // Exactly one owner hears of the death of an owner. Of two deaths the second victim may have heard the first.
            let (told, owned) = (u64::from(world.canary.recoveries()), me.witnessed());
            let most = owned + me.witnessed_before();
            ensure!(
                (owned..=most).contains(&told),
                "owners died {owned} to {most} times, and that was told {told} times"
            );
            ensure!(world.lock.owner() == 0, "in the end {} owns the lock", world.lock.owner());
            Ok(())
        })
}

fn contended<L: Lock + 'static>(
    scenario: Scenario<Guarded<L>>,
    waiters: usize,
) -> Scenario<Guarded<L>> {
    scenario
        .holder(|world, me| {
            let held = world.lock.lock();
            me.hold();
            world.leave(me, held)
        })
        .waiters(waiters, |world, me| world.visit(me))
        .one_processor()
}

impl<L: Lock> Guarded<L> {
    /// Lets this process find out who it is, and whatever else it does once.
    fn warm_up(&self, me: &Actor<'_>) -> Verdict {
        self.try_lock(me).map(drop)
    }

    /// Takes the lock if that is possible, which it is not while the frozen one owns it.
    fn try_lock(&self, me: &Actor<'_>) -> Result<Option<Held<L::Guard<'_>>>, Flaw> {
        let frozen_owns = me.frozen() == Some(self.lock.owner());
        let held = self.lock.try_lock();
        ensure!(held.is_none() || !frozen_owns, "took the lock of a process that is alive");
        Ok(held)
    }

    /// Takes the lock, works on what it protects, and gives it back.
    fn visit(&self, me: &Actor<'_>) -> Verdict {
        self.leave(me, self.lock.lock())
    }

    /// Works on what the lock protects, and gives it back.
    fn leave(&self, me: &Actor<'_>, held: Held<L::Guard<'_>>) -> Verdict {
        if held.recovered {
            self.canary.repair();
        }
        self.canary.visit(me.number())
    }

    /// Whether the lock is owned by `victim`, who is about to die, or by one who is dead already.
    fn is_owned_by_the_dead(&self, victim: u32) -> bool {
        let owner = self.lock.owner();
        match owner {
            0 => false,
            DEAD_OWNER => true,
            _ => owner == victim || !Path::new("/proc").join(owner.to_string()).exists(),
        }
    }
}
