//! Scenarios for permits that have owners, of which there are two: what those of a lock, which is one permit, do not show.
//!
//! [`locks`](super::locks) are for one permit.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::ensure;
use crate::stepkill::{Actor, Scenario, Suite, Verdict};

/// Two permits that live in shared memory.
pub trait Slots: Sync {
    /// Gives it back when it is dropped.
    type Permit<'a>
    where
        Self: 'a;

    /// How many there are.
    const COUNT: usize = 2;

    /// Two free permits, to be moved into shared memory before they are used.
    fn new() -> Self;

    /// Waits for a permit; a dead process's is as good as any.
    fn acquire(&self) -> Self::Permit<'_>;

    /// Takes a permit if there is one, without waiting.
    fn try_acquire(&self) -> Option<Self::Permit<'_>>;

    /// Sends the permit to the process that [`introduced`](Self::introduce) itself last.
    fn send(&self, permit: Self::Permit<'_>);

    /// Says that this process is the one to send to.
    fn introduce(&self);

    /// A permit that was sent to this process.
    fn adopt(&self) -> Option<Self::Permit<'_>>;
}

/// What the scenarios share.
#[derive(Debug)]
#[repr(C)]
pub struct Counted<S> {
    slots: S,
    /// How many are inside, of those who live to say so.
    inside: AtomicU32,
}

const SURVIVORS: usize = 2;
const TURNS: usize = 8;

/// One instruction with the same shared bytes is killed so often: waits spin.
const REPEATS: usize = 4;

/// Plays all scenarios for `S`.
pub fn run<S: Slots + 'static>(suite: &mut Suite, name: &str) {
    suite.everywhere(&acquire::<S>(name));
    suite.everywhere(&try_acquire::<S>(name));
    for waiters in [0, 1, 3] {
        suite.everywhere(&acquire_last::<S>(name, waiters));
        suite.everywhere(&release::<S>(name, waiters));
        suite.everywhere(&send::<S>(name, waiters));
    }
    suite.everywhere(&adopt::<S>(name));
    suite.pairs(&acquire::<S>(name));
    suite.pairs(&release::<S>(name, 0));
    suite.woken(&wakeup_of_the_dead::<S>(name, 1));
    suite.woken(&wakeup_of_the_dead::<S>(name, 3));
}

/// Killed in `acquire`, with both permits free.
pub fn acquire<S: Slots + 'static>(name: &str) -> Scenario<Counted<S>> {
    base::<S>(format!("{name}: acquire")).victim(|world, me| {
        world.warm_up();
        let permit = me.operation(|| world.slots.acquire());
        world.leave(permit)
    })
}

/// Killed in `try_acquire`, with both permits free.
pub fn try_acquire<S: Slots + 'static>(name: &str) -> Scenario<Counted<S>> {
    base::<S>(format!("{name}: try_acquire")).victim(|world, me| {
        world.warm_up();
        match me.operation(|| world.slots.try_acquire()) {
            Some(permit) => world.leave(permit),
            None => Ok(()),
        }
    })
}

/// Killed in `acquire` with both permits held by one who gives them back later, with `waiters` asleep before; also inside
/// its sleep.
pub fn acquire_last<S: Slots + 'static>(name: &str, waiters: usize) -> Scenario<Counted<S>> {
    base::<S>(format!("{name}: acquire, all held, {waiters} waiters"))
        .victim(|world, me| {
            world.warm_up();
            let permit = me.operation(|| world.slots.acquire());
            world.leave(permit)
        })
        .holder(|world, me| {
            let both = (world.slots.acquire(), world.slots.acquire());
            me.hold();
            drop(both);
            Ok(())
        })
        .waiters(waiters, |world, me| world.visit(me))
        .one_processor()
}

/// As [`acquire_last`], for [`Suite::woken`], which kills the victim at every instruction from its wake-up on.
pub fn wakeup_of_the_dead<S: Slots + 'static>(name: &str, waiters: usize) -> Scenario<Counted<S>> {
    acquire_last::<S>(name, waiters)
        .rename(format!("{name}: wake-up of the dead, {waiters} waiters"))
}

/// Killed as it gives back the first of two permits, with `waiters` asleep for them.
pub fn release<S: Slots + 'static>(name: &str, waiters: usize) -> Scenario<Counted<S>> {
    base::<S>(format!("{name}: release, {waiters} waiters"))
        .victim(|world, me| {
            let (first, second) = (world.slots.acquire(), world.slots.acquire());
            me.operation(|| drop(first));
            drop(second);
            Ok(())
        })
        .waiters(waiters, |world, me| world.visit(me))
}

/// Killed as it sends one of two permits to itself and adopts it, with `waiters` asleep for them.
pub fn send<S: Slots + 'static>(name: &str, waiters: usize) -> Scenario<Counted<S>> {
    base::<S>(format!("{name}: send and adopt, {waiters} waiters"))
        .victim(|world, me| {
            let (first, second) = (world.slots.acquire(), world.slots.acquire());
            world.slots.introduce();
            me.operation(|| {
                world.slots.send(first);
                drop(world.slots.adopt());
            });
            drop(second);
            Ok(())
        })
        .waiters(waiters, |world, me| world.visit(me))
}

/// Killed as it adopts what another one has sent.
pub fn adopt<S: Slots + 'static>(name: &str) -> Scenario<Counted<S>> {
    base::<S>(format!("{name}: adopt")).victim(|world, me| {
        world.slots.introduce();
        let permit = world.slots.acquire();
        world.slots.send(permit);
        match me.operation(|| world.slots.adopt()) {
            Some(permit) => world.leave(permit),
            None => Err(crate::flaw!("what was sent is not there")),
        }
    })
}

fn base<S: Slots + 'static>(name: String) -> Scenario<Counted<S>> {
    Scenario::new(name, || Counted { slots: S::new(), inside: AtomicU32::new(0) })
        .prune_loops(REPEATS)
        .survivors(SURVIVORS, |world, me| {
            world.visit(me)?;
            me.succeeded();
            (1..TURNS).try_for_each(|_| world.visit(me))
        })
        .audit(|world, _| {
            let inside = world.inside.load(Ordering::Relaxed);
            ensure!(inside == 0, "{inside} are inside");
            let all: Vec<_> = (0..S::COUNT).map_while(|_| world.slots.try_acquire()).collect();
            ensure!(all.len() == S::COUNT, "of the permits {} are left", all.len());
            ensure!(world.slots.try_acquire().is_none(), "there is one more than there were");
            Ok(())
        })
}

impl<S: Slots> Counted<S> {
    /// Lets this process find out who it is, and whatever else it does once.
    fn warm_up(&self) {
        drop(self.slots.try_acquire());
    }

    /// Takes a permit and gives it back.
    fn visit(&self, _: &Actor<'_>) -> Verdict {
        self.leave(self.slots.acquire())
    }

    fn leave(&self, permit: S::Permit<'_>) -> Verdict {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        ensure!(inside as usize <= S::COUNT, "{inside} are inside");
        self.inside.fetch_sub(1, Ordering::Relaxed);
        drop(permit);
        Ok(())
    }
}
