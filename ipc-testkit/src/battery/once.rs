//! Scenarios for something that is to be done once.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::ensure;
use crate::stepkill::{Actor, Scenario, Suite, Verdict};

/// Something that is to be done once, in shared memory.
pub trait OnlyOnce: Sync {
    /// Lets this process find out who it is, and whatever else it does once.
    fn warm_up();

    /// One that is not done, to be moved into shared memory before it is used.
    fn new() -> Self;

    /// Calls `f` if it is not done, and says whether one died before who was doing it. Waits if somebody else is.
    fn call(&self, f: impl FnOnce(bool));

    /// As [`call`](Self::call), without waiting; whether it is done then.
    fn try_call(&self, f: impl FnOnce(bool)) -> bool;

    /// Whether it is done. Must not wait.
    fn is_completed(&self) -> bool;

    /// The process that is doing it, 0 if there is none. Must not wait.
    fn runner(&self) -> u32;
}

/// What the scenarios share.
#[derive(Debug)]
#[repr(C)]
pub struct Task<O> {
    once: O,
    /// Number of the process that is doing it, 0 if there is none.
    inside: AtomicU32,
    /// How often somebody came to the end of it, and was told of a death.
    ended: AtomicU32,
    told: AtomicU32,
    /// What was wrong as it was done.
    wrong: AtomicU32,
}

const SURVIVORS: usize = 2;

/// One instruction with the same shared bytes is killed so often: a wait spins.
const REPEATS: usize = 4;

/// Two did it at the same time.
const TWO_INSIDE: u32 = 1;
/// Somebody did it when it was done.
const DONE_AGAIN: u32 = 2;

/// Plays all scenarios for `O`.
pub fn run<O: OnlyOnce + 'static>(suite: &mut Suite, name: &str) {
    suite.everywhere_if_deep(&first_call::<O>(name));
    suite.everywhere(&call::<O>(name));
    suite.everywhere(&try_call::<O>(name));
    for waiters in [0, 1, 3] {
        suite.everywhere_if_deep(&call_behind::<O>(name, waiters));
        suite.everywhere(&call_ahead::<O>(name, waiters));
    }
    suite.pairs(&call::<O>(name));
    suite.beside_frozen(&try_call::<O>(name));
    for waiters in [1, 3] {
        suite.woken(&wakeup_of_the_dead::<O>(name, waiters));
    }
}

/// Killed in the first call of its life, in which it may have to find out who it is.
pub fn first_call<O: OnlyOnce + 'static>(name: &str) -> Scenario<Task<O>> {
    base::<O>(format!("{name}: first call")).victim(|task, me| {
        me.operation(|| task.call(me));
        task.is_done()
    })
}

/// Killed anywhere in a call that does it, and in what it does.
pub fn call<O: OnlyOnce + 'static>(name: &str) -> Scenario<Task<O>> {
    base::<O>(format!("{name}: call")).victim(|task, me| {
        O::warm_up();
        me.operation(|| task.call(me));
        task.is_done()
    })
}

/// The same without waiting.
pub fn try_call<O: OnlyOnce + 'static>(name: &str) -> Scenario<Task<O>> {
    base::<O>(format!("{name}: try_call"))
        .victim(|task, me| {
            O::warm_up();
            me.operation(|| task.once.try_call(|told| task.perform(me, told)));
            task.check()
        })
        .while_frozen(|task, me| {
            let frozen_does_it = me.frozen() == Some(task.once.runner());
            let done = task.once.try_call(|told| task.perform(me, told));
            ensure!(!(done && frozen_does_it), "done while one who lives was doing it");
            task.check()
        })
}

/// Killed in a call while somebody else is doing it, with `waiters` asleep before; also inside its sleep, and in what it
/// does after that.
pub fn call_behind<O: OnlyOnce + 'static>(name: &str, waiters: usize) -> Scenario<Task<O>> {
    call::<O>(name)
        .rename(format!("{name}: call while it is done, {waiters} waiters"))
        .holder(|task, me| {
            task.once.call(|told| {
                me.hold();
                task.perform(me, told);
            });
            task.is_done()
        })
        .waiters(waiters, come_through)
        .one_processor()
}

/// Killed in what it does and at its end, with `waiters` asleep behind it.
pub fn call_ahead<O: OnlyOnce + 'static>(name: &str, waiters: usize) -> Scenario<Task<O>> {
    base::<O>(format!("{name}: end of the call, {waiters} waiters"))
        .victim(|task, me| {
            task.once.call(|told| {
                me.operation_begins();
                task.perform(me, told);
            });
            me.operation_ends();
            task.is_done()
        })
        .waiters(waiters, come_through)
}

/// One who sleeps behind the runner is woken by its end, or by its death, and is killed. `waiters` sleep behind him.
///
/// For [`Suite::woken`], which kills him at every instruction from his wake-up on.
pub fn wakeup_of_the_dead<O: OnlyOnce + 'static>(name: &str, waiters: usize) -> Scenario<Task<O>> {
    let name = format!("{name}: wake-up of the dead, {waiters} waiters");
    call_behind::<O>(&name, waiters).rename(name)
}

fn come_through<O: OnlyOnce>(task: &Task<O>, me: &Actor<'_>) -> Verdict {
    task.call(me);
    task.is_done()
}

fn base<O: OnlyOnce + 'static>(name: String) -> Scenario<Task<O>> {
    let zero = || AtomicU32::new(0);
    let make =
        move || Task { once: O::new(), inside: zero(), ended: zero(), told: zero(), wrong: zero() };
    Scenario::new(name, make)
        .prune_loops(REPEATS)
        .witness(|task, victim| u64::from(task.once.runner() == victim))
        .survivors(SURVIVORS, |task, me| {
            task.call(me);
            me.succeeded();
            task.is_done()?;
            // Now it is one load.
            task.call(me);
            task.is_done()
        })
        .audit(|task, me| {
            let died = me.witnessed() + me.witnessed_before();
            let (told, ended) = (
                task.told.load(Ordering::Relaxed).into(),
                task.ended.load(Ordering::Relaxed).into(),
            );
            // Of two victims the second may have been told, and have died before it could note that.
            let least = died.min(1);
            ensure!((least..=died).contains(&told), "{died} died doing it, and {told} were told");
            ensure!((1..=1 + died).contains(&ended), "done {ended} times, {died} died doing it");
            ensure!(task.once.runner() == 0, "in the end {} does it", task.once.runner());
            task.is_done()
        })
}

impl<O: OnlyOnce> Task<O> {
    fn call(&self, me: &Actor<'_>) {
        self.once.call(|told| self.perform(me, told));
    }

    /// What is to be done once. All accesses are relaxed: only the lock keeps two apart.
    fn perform(&self, me: &Actor<'_>, told: bool) {
        let inside = self.inside.load(Ordering::Relaxed);
        if inside != 0 && !told {
            self.wrong.fetch_or(TWO_INSIDE, Ordering::Relaxed);
        }
        if self.once.is_completed() {
            self.wrong.fetch_or(DONE_AGAIN, Ordering::Relaxed);
        }
        self.inside.store(me.number(), Ordering::Relaxed);
        if told {
            self.told.store(1 + self.told.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for _ in 0..4 {
            core::hint::spin_loop();
            if self.inside.load(Ordering::Relaxed) != me.number() {
                self.wrong.fetch_or(TWO_INSIDE, Ordering::Relaxed);
            }
        }
        self.ended.store(1 + self.ended.load(Ordering::Relaxed), Ordering::Relaxed);
        self.inside.store(0, Ordering::Relaxed);
    }

    fn check(&self) -> Verdict {
        let wrong = self.wrong.load(Ordering::Relaxed);
        ensure!(wrong & TWO_INSIDE == 0, "two did it at the same time");
        ensure!(wrong & DONE_AGAIN == 0, "it was done again");
        Ok(())
    }

    /// Whoever comes through a call sees it done.
    fn is_done(&self) -> Verdict {
        ensure!(self.once.is_completed(), "came through, and it is not done");
        ensure!(self.ended.load(Ordering::Relaxed) > 0, "it is said to be done, and nobody did it");
        self.check()
    }
}
