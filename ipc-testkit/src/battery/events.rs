//! Scenarios for events that stay set.
//!
//! Where a victim is killed before it has set the event, the harness does so just before the death, as somebody else
//! would after it; never if the event is set, for then whoever waits must have been woken.

use crate::ensure;
use crate::stepkill::{Actor, Scenario, Suite, Verdict};

/// An event that lives in shared memory.
pub trait Signal: Sync {
    /// An event that is not set, to be moved into shared memory before it is used.
    fn new() -> Self;

    /// Sets it and wakes all who wait.
    fn set(&self);

    /// Makes it an event that is not set.
    fn clear(&self);

    /// Whether it is set. Must not wait.
    fn is_set(&self) -> bool;

    /// Waits until it is set.
    fn wait(&self);
}

const SURVIVORS: usize = 2;

/// One instruction with the same shared bytes is killed so often: a wait spins.
const REPEATS: usize = 4;

/// Plays all scenarios for `S`.
pub fn run<S: Signal + 'static>(suite: &mut Suite, name: &str) {
    for waiters in [0, 1, 3] {
        suite.everywhere(&set::<S>(name, waiters));
        suite.everywhere(&wait::<S>(name, waiters));
    }
    suite.everywhere(&clear::<S>(name));
    suite.pairs(&set::<S>(name, 0));
    suite.pairs(&clear::<S>(name));
}

/// Killed in `set`, with `waiters` asleep.
pub fn set<S: Signal + 'static>(name: &str, waiters: usize) -> Scenario<S> {
    base::<S>(format!("{name}: set, {waiters} waiters"))
        .victim(|event, me| {
            me.operation(|| event.set());
            Ok(())
        })
        .witness(|event, _| {
            if !event.is_set() {
                event.set();
            }
            0
        })
        .waiters(waiters, come_through)
}

/// Killed in `wait`, with `waiters` asleep before; also inside its sleep.
pub fn wait<S: Signal + 'static>(name: &str, waiters: usize) -> Scenario<S> {
    base::<S>(format!("{name}: wait, {waiters} waiters"))
        .victim(|event, me| {
            me.operation(|| event.wait());
            Ok(())
        })
        .waiters(waiters, come_through)
        .unblock(S::set)
        .one_processor()
}

/// Killed in `clear` of an event that is set.
pub fn clear<S: Signal + 'static>(name: &str) -> Scenario<S> {
    base::<S>(format!("{name}: clear")).setup(S::set).victim(|event, me| {
        me.operation(|| event.clear());
        Ok(())
    })
}

fn come_through<S: Signal>(event: &S, _: &Actor<'_>) -> Verdict {
    event.wait();
    ensure!(event.is_set(), "came through, and it is not set");
    Ok(())
}

fn base<S: Signal + 'static>(name: String) -> Scenario<S> {
    Scenario::new(name, S::new)
        .prune_loops(REPEATS)
        .survivors(SURVIVORS, |event, me| {
            event.set();
            come_through(event, me)?;
            me.succeeded();
            Ok(())
        })
        .audit(|event, _| {
            event.clear();
            ensure!(!event.is_set(), "it is set after it was cleared");
            event.set();
            ensure!(event.is_set(), "it is not set after it was set");
            Ok(())
        })
}
