//! Scenarios for what processes wait at for items that others put somewhere: condition variables and event counts.
//!
//! The items are part of the structure under test. Where a victim is killed before it has put them there, the harness
//! does so after the death, and tells everybody; if they are there it does nothing, for then it is the
//! structure that must bring them to those who wait.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::ensure;
use crate::stepkill::{Actor, Scenario, Suite, Verdict};

/// Items in shared memory, and those who wait for them.
pub trait Items: Sync {
    /// No items, and nobody who waits; to be moved into shared memory before it is used.
    fn new() -> Self;

    /// Waits for an item and takes it; adds 1 to `taken` before the item is gone.
    fn take(&self, taken: &AtomicU32);

    /// Takes an item if there is one; as [`take`](Self::take).
    fn try_take(&self, taken: &AtomicU32) -> bool;

    /// Puts items there, without telling anybody. `more` is asked, in the midst of it and of nothing else, how many.
    fn put(&self, more: impl FnOnce(u32) -> u32);

    /// Wakes up to `count` who wait.
    fn notify(&self, count: u32);

    /// Wakes everybody who waits.
    fn notify_all(&self);
}

/// What the scenarios share.
#[derive(Debug)]
#[repr(C)]
pub struct World<I> {
    items: I,
    /// Items that were taken, and not given back.
    taken: AtomicU32,
    /// Those that the victim took.
    lost: AtomicU32,
    /// Items that there must be, or have been.
    needed: AtomicU32,
}

const SURVIVORS: usize = 2;
const TURNS: usize = 4;

/// One instruction with the same shared bytes is killed so often: waits spin.
const REPEATS: usize = 4;

/// Plays all scenarios for `I`, but for [`wakeup_of_the_dead`] with three waiters. Pairs of victims are not for these: what
/// the first has put there is what the waiters, who come after it, would sleep for.
pub fn run<I: Items + 'static>(suite: &mut Suite, name: &str) {
    for waiters in [0, 1, 3] {
        suite.everywhere_if_deep(&take::<I>(name, waiters));
        suite.everywhere_if_deep(&notify::<I>(name, waiters));
        suite.everywhere_if_deep(&notify_all::<I>(name, waiters));
    }
    suite.woken(&lost_wakeup::<I>(name, 3));
    if suite.is_deep() {
        suite.woken(&lost_wakeup::<I>(name, 1));
        suite.woken(&wakeup_of_the_dead::<I>(name, 1));
    }
}

/// Killed waiting for an item, with `waiters` asleep before; also inside its sleep.
pub fn take<I: Items + 'static>(name: &str, waiters: usize) -> Scenario<World<I>> {
    base::<I>(format!("{name}: take, {waiters} waiters"), waiters + 1)
        .victim(|world, me| {
            me.operation(|| world.items.take(&world.lost));
            Ok(())
        })
        .waiters(waiters, World::take)
        .one_processor()
}

/// Killed putting an item for each of the `waiters` who are asleep, and waking as many.
pub fn notify<I: Items + 'static>(name: &str, waiters: usize) -> Scenario<World<I>> {
    base::<I>(format!("{name}: notify, {waiters} waiters"), waiters)
        .victim(move |world, me| {
            me.operation(|| {
                world.items.put(|_| waiters as u32);
                world.items.notify(waiters as u32);
            });
            Ok(())
        })
        .waiters(waiters, World::take)
}

/// As [`notify`], and wakes everybody.
pub fn notify_all<I: Items + 'static>(name: &str, waiters: usize) -> Scenario<World<I>> {
    base::<I>(format!("{name}: notify_all, {waiters} waiters"), waiters)
        .victim(move |world, me| {
            me.operation(|| {
                world.items.put(|_| waiters as u32);
                world.items.notify_all();
            });
            Ok(())
        })
        .waiters(waiters, World::take)
}

/// An item is put there and the victim woken for it; a newcomer takes it first; the victim is killed; the newcomer puts it
/// back. `waiters` sleep behind the victim and must all get it.
///
/// For [`Suite::woken`], which kills the victim at every instruction from its wake-up on.
pub fn lost_wakeup<I: Items + 'static>(name: &str, waiters: usize) -> Scenario<World<I>> {
    woken::<I>(name, waiters).rename(format!("{name}: lost wake-up, {waiters} waiters")).newcomer(
        |world, me| {
            let took = world.items.try_take(&world.taken);
            me.hold();
            if took {
                world.give_back(&world.taken);
            }
            world.replace(1);
            Ok(())
        },
    )
}

/// As [`lost_wakeup`], and the item stays where it is.
pub fn wakeup_of_the_dead<I: Items + 'static>(name: &str, waiters: usize) -> Scenario<World<I>> {
    woken::<I>(name, waiters)
        .rename(format!("{name}: wake-up of the dead, {waiters} waiters"))
        .newcomer(|world, me| {
            me.hold();
            world.replace(1);
            Ok(())
        })
}

fn woken<I: Items + 'static>(name: &str, waiters: usize) -> Scenario<World<I>> {
    base::<I>(name.into(), 1)
        .victim(|world, me| {
            me.operation(|| world.items.take(&world.lost));
            world.give_back(&world.lost);
            Ok(())
        })
        .waiters(waiters, |world, me| {
            world.take(me)?;
            world.give_back(&world.taken);
            Ok(())
        })
        .unblock(|world| {
            world.items.put(|_| 1);
            world.items.notify(1);
        })
        .one_processor()
}

fn base<I: Items + 'static>(name: String, needed: usize) -> Scenario<World<I>> {
    let make = move || World {
        items: I::new(),
        taken: AtomicU32::new(0),
        lost: AtomicU32::new(0),
        needed: AtomicU32::new(needed as u32),
    };
    Scenario::new(name, make)
        .prune_loops(REPEATS)
        .unblock(World::supply)
        .survivors(SURVIVORS, |world, me| {
            for _ in 0..TURNS {
                world.items.put(|_| 1);
                world.items.notify(1);
                world.take(me)?;
                me.succeeded();
            }
            Ok(())
        })
        .audit(|world, _| {
            // And nobody is left who would keep it from working.
            world.items.put(|_| 1);
            ensure!(world.items.try_take(&world.taken), "an item was put there, and none is there");
            Ok(())
        })
}

impl<I: Items> World<I> {
    fn take(&self, _: &Actor<'_>) -> Verdict {
        self.items.take(&self.taken);
        Ok(())
    }

    fn give_back(&self, taken: &AtomicU32) {
        self.items.put(|_| {
            taken.fetch_sub(1, Ordering::Relaxed);
            1
        });
        self.items.notify(1);
    }

    /// Puts there what is missing, and tells everybody; nobody, if nothing is.
    fn supply(&self) {
        let lost = self.lost.load(Ordering::Relaxed);
        self.replace(self.needed.load(Ordering::Relaxed).saturating_sub(lost));
    }

    /// Sees to it that `needed` items are there or were taken by those who live.
    fn replace(&self, needed: u32) {
        let mut missing = 0;
        self.items.put(|there| {
            missing = needed.saturating_sub(there + self.taken.load(Ordering::Relaxed));
            missing
        });
        if missing > 0 {
            self.items.notify_all();
        }
    }
}
