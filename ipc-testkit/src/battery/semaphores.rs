//! Scenarios for counting semaphores.
//!
//! A permit has no owner, so one that a dead process took is gone. Where that would leave the others nothing to
//! go on with, the harness gives another one just before the death, as an operator would after it. It never does
//! so while there is a permit: then it is the semaphore that must bring it to somebody.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::ensure;
use crate::stepkill::{Actor, Scenario, Suite, Verdict};

/// A semaphore that lives in shared memory.
pub trait Permits: Sync {
    /// How many permits there are where there are some; at most four.
    const PLENTY: u32 = 4;

    /// A semaphore to be moved into shared memory before it is used.
    fn new(permits: u32) -> Self;

    /// Waits for a permit and takes it.
    fn acquire(&self);

    /// Takes a permit if there is one, without waiting.
    fn try_acquire(&self) -> bool;

    /// Gives a permit; `false` if one that knows a bound refuses it.
    fn release(&self) -> bool;

    /// How many permits there are. Must not wait.
    fn available(&self) -> u32;
}

/// What the scenarios share.
#[derive(Debug)]
#[repr(C)]
pub struct Lent<P> {
    permits: P,
    /// Permits that there were in the beginning and that were given since, but for those of a victim's operation.
    given: AtomicU32,
    /// Permits that others than victims have at this moment. One may be missing for an instant, and none is too many.
    held: AtomicU32,
}

/// What a victim may have done to the sum of the permits: how many it may have taken along, or given uncounted.
#[derive(Clone, Copy)]
struct Slack {
    taken: u32,
    given: u32,
}

/// The operation of each victim is one of these; there are at most two victims.
const TAKES: Slack = Slack { taken: 2, given: 0 };
const GIVES: Slack = Slack { taken: 0, given: 2 };

const SURVIVORS: usize = 2;
const TURNS: usize = 8;

/// One instruction with the same shared bytes is killed so often: semaphores spin.
const REPEATS: usize = 4;

/// Plays all scenarios for `P`.
pub fn run<P: Permits + 'static>(suite: &mut Suite, name: &str) {
    suite.everywhere(&acquire_free::<P>(name));
    suite.everywhere(&try_acquire::<P>(name));
    for waiters in [0, 1, 3] {
        suite.everywhere(&acquire::<P>(name, waiters));
        suite.everywhere(&release::<P>(name, waiters));
    }
    suite.pairs(&acquire_free::<P>(name));
    suite.pairs(&release::<P>(name, 0));
    for waiters in [1, 3] {
        suite.woken(&lost_wakeup::<P>(name, waiters));
        suite.woken(&wakeup_of_the_dead::<P>(name, waiters));
    }
}

/// Killed in `acquire` while there are permits.
pub fn acquire_free<P: Permits + 'static>(name: &str) -> Scenario<Lent<P>> {
    base::<P>(format!("{name}: acquire"), P::PLENTY, TAKES).victim(|world, me| {
        me.operation(|| world.permits.acquire());
        world.permits.release();
        Ok(())
    })
}

/// Killed in `try_acquire` while there are permits.
pub fn try_acquire<P: Permits + 'static>(name: &str) -> Scenario<Lent<P>> {
    base::<P>(format!("{name}: try_acquire"), P::PLENTY, TAKES).victim(|world, me| {
        if me.operation(|| world.permits.try_acquire()) {
            world.give_back_uncounted();
        }
        Ok(())
    })
}

/// Killed in `acquire` while there is no permit, with `waiters` asleep before; also inside its sleep.
pub fn acquire<P: Permits + 'static>(name: &str, waiters: usize) -> Scenario<Lent<P>> {
    base::<P>(format!("{name}: acquire, none there, {waiters} waiters"), 0, TAKES)
        .victim(|world, me| {
            me.operation(|| world.permits.acquire());
            world.give_back_uncounted();
            Ok(())
        })
        .waiters(waiters, |world, me| world.visit(me))
        .unblock(Lent::give)
        .one_processor()
}

/// Killed in `release`, with `waiters` asleep.
pub fn release<P: Permits + 'static>(name: &str, waiters: usize) -> Scenario<Lent<P>> {
    base::<P>(format!("{name}: release, {waiters} waiters"), 0, GIVES)
        .victim(|world, me| {
            let given = me.operation(|| world.permits.release());
            world.given.fetch_add(u32::from(given), Ordering::Relaxed);
            Ok(())
        })
        .waiters(waiters, |world, me| world.visit(me))
}

/// A permit is given and the victim woken for it; a newcomer takes it first; the victim is killed; the newcomer gives
/// it back. `waiters` sleep behind the victim and must all get it.
///
/// For [`Suite::woken`], which kills the victim at every instruction from its wake-up on.
pub fn lost_wakeup<P: Permits + 'static>(name: &str, waiters: usize) -> Scenario<Lent<P>> {
    wakeup_of_the_dead::<P>(name, waiters)
        .rename(format!("{name}: lost wake-up, {waiters} waiters"))
        .newcomer(|world, me| {
            if world.permits.try_acquire() {
                world.held.fetch_add(1, Ordering::Relaxed);
                me.hold();
                world.give_back();
            }
            // Otherwise it went to somebody else, and this attempt does not count.
            Ok(())
        })
}

/// As [`lost_wakeup`], without a newcomer: the woken one is killed, and the permit is there.
pub fn wakeup_of_the_dead<P: Permits + 'static>(name: &str, waiters: usize) -> Scenario<Lent<P>> {
    acquire::<P>(name, waiters).rename(format!("{name}: wake-up of the dead, {waiters} waiters"))
}

fn base<P: Permits + 'static>(name: String, permits: u32, slack: Slack) -> Scenario<Lent<P>> {
    let make = move || Lent {
        permits: P::new(permits),
        given: AtomicU32::new(permits),
        held: AtomicU32::new(0),
    };
    Scenario::new(name, make)
        .prune_loops(REPEATS)
        .witness(|world, _| {
            world.repair();
            0
        })
        .survivors(SURVIVORS, |world, me| {
            world.visit(me)?;
            me.succeeded();
            (1..TURNS).try_for_each(|_| world.visit(me))
        })
        .audit(move |world, _| {
            let (left, given) = (world.permits.available(), world.given.load(Ordering::Relaxed));
            let held = world.held.load(Ordering::Relaxed);
            ensure!(held == 0, "{held} permits are held by nobody");
            let (least, most) = (given.saturating_sub(slack.taken), given + slack.given);
            ensure!(
                (least..=most).contains(&left),
                "{left} permits are left, {least} to {most} must be"
            );
            Ok(())
        })
}

impl<P: Permits> Lent<P> {
    /// Takes a permit and gives it back.
    fn visit(&self, _: &Actor<'_>) -> Verdict {
        self.permits.acquire();
        self.held.fetch_add(1, Ordering::Relaxed);
        self.give_back();
        Ok(())
    }

    fn give_back(&self) {
        // First the count: see `held`. So the harness may have given one too many, and this one is refused.
        self.held.fetch_sub(1, Ordering::Relaxed);
        let refused = !self.permits.release();
        self.given.fetch_sub(u32::from(refused), Ordering::Relaxed);
    }

    /// As [`give_back`](Self::give_back), by a victim, whose permits are not counted.
    fn give_back_uncounted(&self) {
        let refused = !self.permits.release();
        self.given.fetch_sub(u32::from(refused), Ordering::Relaxed);
    }

    fn give(&self) {
        let given = self.permits.release();
        self.given.fetch_add(u32::from(given), Ordering::Relaxed);
    }

    /// Gives a permit if those who live have none and can get none.
    fn repair(&self) {
        if self.permits.available() + self.held.load(Ordering::Relaxed) == 0 {
            self.give();
        }
    }
}
