//! Scenarios for latches, which open when they were counted down.
//!
//! Where a victim is killed before it has counted, the harness counts just before the death, as whoever learns of
//! it would; never if the latch is open, for then whoever waits must have been woken.

use crate::ensure;
use crate::stepkill::{Actor, Scenario, Suite, Verdict};

/// A latch that lives in shared memory.
pub trait Counted: Sync {
    /// A latch that is to be counted down so often, to be moved into shared memory before it is used.
    fn new(count: u32) -> Self;

    /// Counts one; whether it was missing.
    fn count_down(&self) -> bool;

    /// How many are missing. Must not wait.
    fn remaining(&self) -> u32;

    /// Waits until it is open.
    fn wait(&self);
}

const SURVIVORS: usize = 2;

/// One instruction with the same shared bytes is killed so often: a wait spins.
const REPEATS: usize = 4;

/// Plays all scenarios for `L`.
pub fn run<L: Counted + 'static>(suite: &mut Suite, name: &str) {
    for waiters in [0, 1, 3] {
        suite.everywhere(&count_down::<L>(name, 1, waiters));
        suite.everywhere_if_deep(&wait::<L>(name, waiters));
    }
    suite.everywhere(&count_down::<L>(name, 2, 3));
    suite.pairs(&count_down::<L>(name, 2, 0));
}

/// Killed in `count_down` of a latch that is at `count`, with `waiters` asleep.
pub fn count_down<L: Counted + 'static>(name: &str, count: u32, waiters: usize) -> Scenario<L> {
    base::<L>(format!("{name}: count_down of {count}, {waiters} waiters"), count)
        .victim(|latch, me| {
            me.operation(|| latch.count_down());
            Ok(())
        })
        .witness(|latch, _| {
            while latch.count_down() {}
            0
        })
        .waiters(waiters, come_through)
}

/// Killed in `wait`, with `waiters` asleep before; also inside its sleep.
pub fn wait<L: Counted + 'static>(name: &str, waiters: usize) -> Scenario<L> {
    base::<L>(format!("{name}: wait, {waiters} waiters"), 1)
        .victim(|latch, me| {
            me.operation(|| latch.wait());
            Ok(())
        })
        .waiters(waiters, come_through)
        .unblock(|latch| _ = latch.count_down())
        .one_processor()
}

fn come_through<L: Counted>(latch: &L, _: &Actor<'_>) -> Verdict {
    latch.wait();
    ensure!(latch.remaining() == 0, "came through, and {} are missing", latch.remaining());
    Ok(())
}

fn base<L: Counted + 'static>(name: String, count: u32) -> Scenario<L> {
    Scenario::new(name, move || L::new(count))
        .prune_loops(REPEATS)
        .survivors(SURVIVORS, |latch, me| {
            come_through(latch, me)?;
            me.succeeded();
            Ok(())
        })
        .audit(|latch, _| {
            ensure!(!latch.count_down(), "it is open, and yet it was counted down");
            Ok(())
        })
}
