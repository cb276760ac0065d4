//! Scenarios for bounded queues.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::oracle::{Ledger, Message};
use crate::stepkill::{Actor, Role, Scenario, Suite, Verdict};
use crate::{ensure, flaw};

/// A bounded queue of messages that lives in shared memory.
pub trait Ring: Sync {
    /// Who may push and pop.
    const SHAPE: Shape;

    /// How many messages it holds; at most an eighth of [`Ledger::SEQUENCES`].
    const CAPACITY: usize;

    /// An empty ring, to be moved into shared memory before it is used.
    fn new() -> Self;

    /// `false` if it is full. Must not wait.
    fn push(&self, message: &Message) -> bool;

    /// `None` if it is empty. Must not wait.
    fn pop(&self) -> Option<Message>;

    /// Whether a message that a dead consumer had claimed comes to another one, later than those behind it. So does what a consumer
    /// leaves behind in [`pop_batch`](Self::pop_batch).
    const REDELIVERS: bool = false;

    /// As [`pop`](Self::pop), by the last one alive, who asks as long as it takes to know that nothing is left.
    fn drain(&self) -> Option<Message> {
        self.pop()
    }

    /// The ways in which it moves several messages at once.
    const BATCHES: &'static [Batch] = &[];

    /// The ways in which it takes messages otherwise than one by one.
    const POPS: &'static [Batch] = Self::BATCHES;

    /// Pushes as many as there is room for, from the first on, by one of [`BATCHES`](Self::BATCHES); says how many.
    fn push_batch(&self, _how: Batch, _messages: &[Message]) -> usize {
        0
    }

    /// Pops as many as there are and fit, by one of [`POPS`](Self::POPS); says how many.
    fn pop_batch(&self, _how: Batch, _messages: &mut [Message]) -> usize {
        0
    }
}

/// A way to move several messages at once, and what a death in the middle leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// As it stands in the names of scenarios.
    pub name: &'static str,
    /// Either all of a batch are pushed, or none; else a prefix may be.
    pub whole: bool,
}

/// Who may use a ring at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One producer and one consumer; a survivor takes the place of a dead one.
    OneToOne,
    /// Everybody may do both.
    ManyToMany,
}

/// What the scenarios share: the ring, and its books.
#[derive(Debug)]
#[repr(C)]
pub struct Booked<R> {
    pub(super) ring: R,
    pub(super) ledger: Ledger,
    /// How many messages a victim offers at once, and that is what a death may cost.
    batch: usize,
    /// How many of a batch there was room for when it was offered, until its push has returned.
    offered: AtomicUsize,
}

/// How many messages are in a batch.
const BATCH: usize = 3;

/// The producer and consumer number of the setup; processes have numbers from 1.
const SETUP: usize = 0;

/// How many messages are in the ring when the victim comes, and how often it went round before.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Messages that went through before.
    pub turned: usize,
    /// Messages that are in it.
    pub inside: usize,
}

/// Plays all scenarios for `R`: push and pop killed at every instruction with the ring empty, half full, full and at
/// its wrap; and pairs of victims.
pub fn run<R: Ring + 'static>(suite: &mut Suite, name: &str) {
    let capacity = R::CAPACITY;
    for (turned, inside) in
        [(0, 0), (0, capacity / 2), (0, capacity), (capacity - 1, 1), (capacity - 1, capacity - 1)]
    {
        let fill = Fill { turned, inside };
        suite.everywhere(&push::<R>(name, fill));
        suite.everywhere(&pop::<R>(name, fill));
        for &how in R::BATCHES {
            suite.everywhere_if_deep(&push_batch::<R>(name, fill, how));
        }
        for &how in R::POPS {
            suite.everywhere_if_deep(&pop_batch::<R>(name, fill, how));
        }
    }
    let fill = Fill { turned: 0, inside: capacity / 2 };
    suite.pairs(&push::<R>(name, fill));
    suite.pairs(&pop::<R>(name, fill));
    if R::SHAPE == Shape::ManyToMany {
        suite.everywhere(&pop_beside_another::<R>(name));
        suite.pairs(
            &push::<R>(name, fill).rename(format!("{name}: push, then pop")).second(pop_once),
        );
        suite.pairs(
            &pop::<R>(name, fill).rename(format!("{name}: pop, then push")).second(push_once),
        );
    }
}

/// K06, for rings where there may be two on a side: killed while another is frozen, alive, in the same operation.
pub fn beside_frozen<R: Ring + 'static>(suite: &mut Suite, name: &str) {
    let fill = Fill { turned: 0, inside: R::CAPACITY / 2 };
    suite.beside_frozen(&push::<R>(name, fill));
    suite.beside_frozen(&pop::<R>(name, fill));
}

/// K01, K03: killed in `push`.
pub fn push<R: Ring + 'static>(name: &str, fill: Fill) -> Scenario<Booked<R>> {
    base::<R>(format!("{name}: push, {} inside after {}", fill.inside, fill.turned), fill)
        .victim(push_once)
}

/// K02, K04: killed in `pop`.
pub fn pop<R: Ring + 'static>(name: &str, fill: Fill) -> Scenario<Booked<R>> {
    base::<R>(format!("{name}: pop, {} inside after {}", fill.inside, fill.turned), fill)
        .victim(pop_once)
}

/// K04: killed in `pop`, and the message comes to a consumer that was there before.
pub fn pop_beside_another<R: Ring + 'static>(name: &str) -> Scenario<Booked<R>> {
    let fill = Fill { turned: 0, inside: R::CAPACITY };
    base::<R>(format!("{name}: pop, beside another consumer"), fill)
        .holder(|world, me| {
            let first = world.ring.pop();
            me.hold();
            let rest = core::iter::from_fn(|| world.ring.drain());
            first.into_iter().chain(rest).try_for_each(|message| world.popped(me, &message))
        })
        .victim(pop_once)
}

/// K08: killed in a push of several.
pub fn push_batch<R: Ring + 'static>(name: &str, fill: Fill, how: Batch) -> Scenario<Booked<R>> {
    let room = R::CAPACITY - fill.inside;
    base_of::<R>(batch_name(name, "push", fill, how), fill, BATCH).victim(move |world, me| {
        let number = me.number() as usize;
        let messages = [(); BATCH].map(|()| world.ledger.next(number));
        if how.whole {
            world.offered.store(BATCH.min(room), Ordering::Relaxed);
        }
        let pushed = me.operation(|| world.ring.push_batch(how, &messages));
        messages[..pushed].iter().for_each(|message| world.ledger.pushed(message));
        world.offered.store(0, Ordering::Relaxed);
        Ok(())
    })
}

/// K08: killed in a pop of several.
pub fn pop_batch<R: Ring + 'static>(name: &str, fill: Fill, how: Batch) -> Scenario<Booked<R>> {
    base_of::<R>(batch_name(name, "pop", fill, how), fill, BATCH).victim(move |world, me| {
        let mut messages = [Message::blank(); BATCH];
        let popped = me.operation(|| world.ring.pop_batch(how, &mut messages));
        messages[..popped].iter().try_for_each(|message| world.popped(me, message))
    })
}

fn batch_name(name: &str, what: &str, fill: Fill, how: Batch) -> String {
    format!("{name}: {what} by {}, {} inside after {}", how.name, fill.inside, fill.turned)
}

/// H: `pop` of a ring whose bytes a hostile peer changes meanwhile: what comes out may be anything.
pub fn pop_anything<R: Ring + 'static>(name: &str, fill: Fill) -> Scenario<Booked<R>> {
    pop::<R>(name, fill).victim(|world, me| {
        if let Some(message) = me.operation(|| world.ring.pop()) {
            // Nothing is wrong with a wrong message here; a right one goes into the books.
            let _ = world.popped(me, &message);
        }
        Ok(())
    })
}

/// Pushes one message; for a victim.
fn push_once<R: Ring>(world: &Booked<R>, me: &Actor<'_>) -> Verdict {
    let message = world.ledger.next(me.number() as usize);
    if me.operation(|| world.ring.push(&message)) {
        world.ledger.pushed(&message);
    }
    Ok(())
}

/// Pops one message; for a victim.
fn pop_once<R: Ring>(world: &Booked<R>, me: &Actor<'_>) -> Verdict {
    match me.operation(|| world.ring.pop()) {
        Some(message) => world.popped(me, &message),
        None => Ok(()),
    }
}

pub(super) fn base<R: Ring + 'static>(name: String, fill: Fill) -> Scenario<Booked<R>> {
    base_of(name, fill, 1)
}

/// As [`base`], where a victim may take `batch` messages with it.
fn base_of<R: Ring + 'static>(name: String, fill: Fill, batch: usize) -> Scenario<Booked<R>> {
    let make = move || Booked {
        ring: R::new(),
        ledger: Ledger::new(),
        batch,
        offered: AtomicUsize::new(0),
    };
    Scenario::new(name, make)
        .setup(move |world| world.fill(fill))
        .surface(|world| &world.ring, R::CAPACITY as u64)
        .survivors(2, |world, me| match (R::SHAPE, me.role()) {
            (Shape::ManyToMany, _) => world.work(me, true, true),
            (Shape::OneToOne, Role::Survivor(0)) => world.work(me, true, false),
            (Shape::OneToOne, _) => world.work(me, false, true),
        })
        .while_frozen(|world, me| world.try_beside_frozen(me))
        .audit(|world, me| {
            while let Some(message) = world.ring.drain() {
                world.popped(me, &message)?;
            }
            world.all_or_nothing()?;
            world.ledger.audit(me.deaths() as usize * world.batch)?;
            world.is_whole(me)
        })
}

impl<R: Ring> Booked<R> {
    /// Somebody who may have seen deaths has popped `message`.
    fn popped(&self, me: &Actor<'_>, message: &Message) -> Verdict {
        // A batch may be one that its consumer has left behind, alive.
        let times = me.deaths() as usize + usize::from(self.batch > 1);
        let late = if R::REDELIVERS { times * self.batch } else { 0 };
        self.ledger.popped_with_late(me.number() as usize, message, late)
    }

    /// No slot of the empty ring is kept back: it takes as many messages as ever, and gives them out.
    fn is_whole(&self, me: &Actor<'_>) -> Verdict {
        for inside in 0..R::CAPACITY {
            let message = self.ledger.next(me.number() as usize);
            ensure!(self.ring.push(&message), "an empty ring is full with {inside} messages");
            self.ledger.pushed(&message);
        }
        for popped in 0..R::CAPACITY {
            match self.ring.pop() {
                Some(message) => self.popped(me, &message)?,
                None => return Err(flaw!("a full ring is empty after {popped} messages")),
            }
        }
        Ok(())
    }

    /// Of a batch that is whole by promise, and whose push never returned, all came out or none.
    fn all_or_nothing(&self) -> Verdict {
        let offered = self.offered.load(Ordering::Relaxed);
        let came = self.ledger.unaccepted();
        ensure!(
            offered == 0 || came == 0 || came == offered,
            "{came} of a batch of {offered} came out"
        );
        Ok(())
    }

    fn fill(&self, fill: Fill) {
        for i in 0..fill.turned + fill.inside {
            let message = self.ledger.next(SETUP);
            assert!(self.ring.push(&message), "a new ring takes {i} messages");
            self.ledger.pushed(&message);
            if i < fill.turned {
                let message = self.ring.pop().expect("what was pushed comes out");
                assert!(self.ledger.popped(SETUP, &message).is_ok(), "the first turn is in order");
            }
        }
    }

    /// Two turns of tries. The frozen one may hold up the others, so none needs to succeed; but what does must be right.
    fn try_beside_frozen(&self, me: &Actor<'_>) -> Verdict {
        let number = me.number() as usize;
        for _ in 0..2 * R::CAPACITY {
            let message = self.ledger.next(number);
            if self.ring.push(&message) {
                self.ledger.pushed(&message);
            }
            if let Some(message) = self.ring.pop() {
                self.popped(me, &message)?;
            }
        }
        Ok(())
    }

    /// Three turns of the ring: whatever a victim left, it must be met again, and one turn would not meet it again.
    fn work(&self, me: &Actor<'_>, pushes: bool, pops: bool) -> Verdict {
        let turns = 3 * R::CAPACITY;
        let number = me.number() as usize;
        let (mut to_push, mut to_pop) =
            (if pushes { turns } else { 0 }, if pops { turns } else { 0 });
        let mut offer = None;
        while to_push + to_pop > 0 {
            let mut went_on = false;
            if to_push > 0 {
                let message = *offer.get_or_insert_with(|| self.ledger.next(number));
                if self.ring.push(&message) {
                    self.ledger.pushed(&message);
                    offer = None;
                    to_push -= 1;
                    went_on = true;
                }
            }
            if to_pop > 0 {
                if let Some(message) = self.ring.pop() {
                    self.popped(me, &message)?;
                    to_pop -= 1;
                    went_on = true;
                }
            }
            if went_on {
                me.succeeded();
            } else {
                thread::yield_now();
            }
        }
        Ok(())
    }
}
