//! Scenarios for rings at which processes sleep.
//!
//! The ends of a ring are taken before the operation begins and closed after it, so that a victim that is killed has its
//! end: whoever sleeps at the other one must be brought what the victim has published, or be told of its death, within the
//! time that every waiter has.

use super::rings::{Booked, Fill, Ring, base};
use crate::ensure;
use crate::stepkill::{Actor, Scenario, Suite, Verdict};

/// A [`Ring`] with ends that can be kept, and that wait.
pub trait WaitingRing: Ring {
    /// The writing end. Closed when it is dropped.
    type Producer<'a>
    where
        Self: 'a;

    /// The reading end. Closed when it is dropped.
    type Consumer<'a>
    where
        Self: 'a;

    /// The writing end, which nobody alive has.
    fn producer(&self) -> Self::Producer<'_>;

    /// The reading end, which nobody alive has.
    fn consumer(&self) -> Self::Consumer<'_>;

    /// `false` if it is full; if it waits: if it is full, and the consumer is gone.
    fn push_by(
        producer: &mut Self::Producer<'_>,
        message: &crate::oracle::Message,
        waits: bool,
    ) -> bool;

    /// `None` if it is empty; if it waits: if it is empty, and the producer is gone.
    fn pop_by(consumer: &mut Self::Consumer<'_>, waits: bool) -> Option<crate::oracle::Message>;
}

/// One instruction with the same shared bytes is killed so often: waits spin.
const REPEATS: usize = 4;

/// Plays all scenarios for `R`: killed as it pushes, pops and closes while the other side sleeps, and killed in its own
/// waits, as they begin, at both ends of their system calls, asleep, and after its wake-up.
///
/// The ring has been round once, so that a message at its start follows one at its end; with `IPC_STEPKILL=deep` also if it is
/// new, and if its last place is next.
pub fn run<R: WaitingRing + 'static>(suite: &mut Suite, name: &str) {
    let others = [0, R::CAPACITY - 1];
    let others = if suite.is_deep() { &others[..] } else { &[] };
    for &turned in [R::CAPACITY].iter().chain(others) {
        suite.everywhere(&push::<R>(name, turned).at_least(50));
        suite.everywhere(&pop::<R>(name, turned).at_least(50));
        // Whatever else the ring does: each changes memory, and enters the kernel to wake, or to sleep.
        suite.everywhere_if_deep(&pop_wait::<R>(name, turned).at_least(8));
        suite.everywhere_if_deep(&push_wait::<R>(name, turned).at_least(8));
    }
    suite.everywhere(&close::<R>(name).at_least(50));
}

const fn empty(turned: usize) -> Fill {
    Fill { turned, inside: 0 }
}

const fn full<R: Ring>(turned: usize) -> Fill {
    Fill { turned, inside: R::CAPACITY }
}

/// K11: killed as it pushes, before and after the message is there, while the consumer sleeps. So many messages have gone
/// through before.
pub fn push<R: WaitingRing + 'static>(name: &str, turned: usize) -> Scenario<Booked<R>> {
    base::<R>(format!("{name}: push, the consumer sleeps, after {turned}"), empty(turned))
        .victim(|world, me| {
            let message = world.ledger.next(me.number() as usize);
            let mut producer = world.ring.producer();
            ensure!(me.operation(|| R::push_by(&mut producer, &message, false)), "no room");
            world.ledger.pushed(&message);
            Ok(())
        })
        .waiters(1, pops_until_the_end)
        .prune_loops(REPEATS)
}

/// Killed as it pops, while the producer sleeps.
pub fn pop<R: WaitingRing + 'static>(name: &str, turned: usize) -> Scenario<Booked<R>> {
    base::<R>(format!("{name}: pop, the producer sleeps, after {turned}"), full::<R>(turned))
        .victim(|world, me| {
            let mut consumer = world.ring.consumer();
            match me.operation(|| R::pop_by(&mut consumer, false)) {
                Some(message) => world.ledger.popped(me.number() as usize, &message),
                None => Err(crate::flaw!("no message")),
            }
        })
        .waiters(1, |world, me| {
            let message = world.ledger.next(me.number() as usize);
            if R::push_by(&mut world.ring.producer(), &message, true) {
                world.ledger.pushed(&message);
            }
            Ok(())
        })
        .prune_loops(REPEATS)
}

/// Killed as it closes its end, while the other side sleeps.
pub fn close<R: WaitingRing + 'static>(name: &str) -> Scenario<Booked<R>> {
    base::<R>(format!("{name}: close, the consumer sleeps"), empty(0))
        .victim(|world, me| {
            let producer = world.ring.producer();
            me.operation(|| drop(producer));
            Ok(())
        })
        .waiters(1, pops_until_the_end)
        .prune_loops(REPEATS)
}

/// K10: killed as it waits for a message, also inside the sleep. The message comes when it sleeps, or after its death.
pub fn pop_wait<R: WaitingRing + 'static>(name: &str, turned: usize) -> Scenario<Booked<R>> {
    base::<R>(format!("{name}: pop_wait, after {turned}"), empty(turned))
        .holder(|world, me| {
            let mut producer = world.ring.producer();
            me.hold();
            let message = world.ledger.next(me.number() as usize);
            ensure!(R::push_by(&mut producer, &message, true), "the consumer is not gone for one");
            world.ledger.pushed(&message);
            Ok(())
        })
        .victim(|world, me| {
            let mut consumer = world.ring.consumer();
            match me.operation(|| R::pop_by(&mut consumer, true)) {
                Some(message) => world.ledger.popped(me.number() as usize, &message),
                None => Err(crate::flaw!("the producer is not gone")),
            }
        })
        .prune_loops(REPEATS)
        .one_processor()
}

/// K10: killed as it waits for room, also inside the sleep. Room is made when it sleeps, or after its death.
pub fn push_wait<R: WaitingRing + 'static>(name: &str, turned: usize) -> Scenario<Booked<R>> {
    base::<R>(format!("{name}: push_wait, after {turned}"), full::<R>(turned))
        .holder(|world, me| {
            let mut consumer = world.ring.consumer();
            me.hold();
            match R::pop_by(&mut consumer, true) {
                Some(message) => world.ledger.popped(me.number() as usize, &message),
                None => Err(crate::flaw!("the ring was full")),
            }
        })
        .victim(|world, me| {
            let message = world.ledger.next(me.number() as usize);
            let mut producer = world.ring.producer();
            ensure!(me.operation(|| R::push_by(&mut producer, &message, true)), "nobody is gone");
            world.ledger.pushed(&message);
            Ok(())
        })
        .prune_loops(REPEATS)
        .one_processor()
}

/// Sleeps until there is nothing more to come.
fn pops_until_the_end<R: WaitingRing>(world: &Booked<R>, me: &Actor<'_>) -> Verdict {
    let mut consumer = world.ring.consumer();
    while let Some(message) = R::pop_by(&mut consumer, true) {
        world.ledger.popped(me.number() as usize, &message)?;
    }
    Ok(())
}
