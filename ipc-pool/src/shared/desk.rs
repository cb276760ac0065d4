//! The application's own book: which task is in which slot, and what has come out.

use alloc::collections::VecDeque;
use std::collections::HashMap;

use crate::backend::{Outcome, TaskId};
use crate::call;
use crate::error::TaskError;
use crate::slot::{Owner, Seen, State};
use crate::table::Table;

/// See the module. All access is under one lock of the application.
#[derive(Debug)]
pub(crate) struct Desk {
    tasks: HashMap<TaskId, Entry>,
    /// The task in each slot.
    slots: Box<[Option<TaskId>]>,
    /// Neither a task's nor promised to one that comes.
    free: VecDeque<usize>,
    next: u64,
    /// The workers are gone for good, and a task that comes now gets this at once.
    over: Option<TaskError>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Where the task is while it has no outcome.
    slot: usize,
    outcome: Option<Outcome>,
    /// A call that is larger than its area: kept, because a second worker may need it again.
    call: Vec<u8>,
    /// How much of it the present worker has.
    sent: usize,
    /// The parts of a result that is larger than its area.
    received: Vec<u8>,
    /// How often workers have died with it.
    deaths: u32,
    /// Nobody wants the outcome.
    abandoned: bool,
}

/// What [`Desk::take`] found.
pub(crate) enum Taken {
    Outcome(Outcome),
    /// Nothing yet: the slot, and its word.
    Waiting(usize, Seen),
}

/// What [`Desk::bury`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Burial {
    /// The dead had no task.
    Idle,
    /// Its task was queued again, or given up.
    Interrupted,
}

impl Desk {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            tasks: HashMap::new(),
            slots: vec![None; slots].into(),
            free: (0..slots).collect(),
            next: 0,
            over: None,
        }
    }

    /// A free slot; outcomes that nobody has asked for yet are moved out of the way.
    pub(crate) fn room(&mut self, table: &Table) -> Option<usize> {
        if self.free.is_empty() {
            for slot in 0..self.slots.len() {
                self.settle(table, slot);
            }
        }
        self.free.pop_front()
    }

    pub(crate) fn commit(&mut self, table: &Table, slot: usize, call: Vec<u8>) -> TaskId {
        let task = TaskId(self.next);
        self.next += 1;
        let mut entry = Entry { slot, ..Entry::default() };
        if let Some(error) = &self.over {
            entry.outcome = Some(Err(error.clone()));
            self.free.push_back(slot);
        } else {
            entry.sent = table.argument(slot).put(&call);
            if entry.sent < call.len() {
                entry.call = call;
            }
            self.slots[slot] = Some(task);
            table.slot(slot).publish();
        }
        self.tasks.insert(task, entry);
        task
    }

    pub(crate) fn take(&mut self, table: &Table, task: TaskId) -> Taken {
        let Some(slot) = self.tasks.get(&task).map(|entry| entry.slot) else {
            return Taken::Outcome(Err(TaskError::Taken));
        };
        if self.slots[slot] == Some(task) {
            self.settle(table, slot);
        }
        match self.tasks.get_mut(&task).and_then(|entry| entry.outcome.take()) {
            Some(outcome) => {
                self.tasks.remove(&task);
                Taken::Outcome(outcome)
            }
            None => Taken::Waiting(slot, table.slot(slot).load()),
        }
    }

    pub(crate) fn cancel(&mut self, table: &Table, task: TaskId) {
        let Some(entry) = self.tasks.get_mut(&task) else { return };
        entry.abandoned = true;
        let slot = entry.slot;
        if entry.outcome.is_some() {
            self.tasks.remove(&task);
        } else if table.slot(slot).withdraw(table.slot(slot).load()) {
            self.vacate(slot);
            self.tasks.remove(&task);
        } else {
            self.settle(table, slot);
        }
    }

    /// Whether no task is left without an outcome, and no room is left for which one may still come. Outcomes that
    /// nobody has asked for yet are moved out of the slots: a pool ends without its tickets.
    pub(crate) fn is_done(&mut self, table: &Table) -> bool {
        for slot in 0..self.slots.len() {
            self.settle(table, slot);
        }
        self.free.len() == self.slots.len()
    }

    /// Takes the outcome out of a slot whose task is over, or whose word is none of a task.
    fn settle(&mut self, table: &Table, slot: usize) {
        let Some(task) = self.slots[slot] else { return };
        let word = table.slot(slot);
        let seen = word.load();
        let damaged = seen.state() == State::Free || !table.knows_owner(seen);
        if !damaged && !seen.is_over() {
            return;
        }
        if damaged {
            self.resolve(task, Err(TaskError::Damaged));
        } else if let Some(entry) = self.tasks.get_mut(&task).filter(|entry| !entry.abandoned) {
            let area = table.result(slot);
            let mut bytes = core::mem::take(&mut entry.received);
            if area.total() <= area.capacity() {
                bytes.clear();
                area.take(&mut bytes);
            }
            let outcome = match seen.state() {
                State::Done => Ok(bytes),
                _ => Err(call::failure(&bytes)),
            };
            self.resolve(task, outcome);
        } else {
            self.tasks.remove(&task);
        }
        // The application alone moves a slot whose task is over, and holds the desk's lock.
        word.release(seen);
        self.vacate(slot);
        table.slot_bell(slot).ring();
    }

    fn resolve(&mut self, task: TaskId, outcome: Outcome) {
        let Some(entry) = self.tasks.get_mut(&task) else { return };
        if entry.abandoned {
            self.tasks.remove(&task);
            return;
        }
        *entry = Entry { slot: entry.slot, outcome: Some(outcome), ..Entry::default() };
    }

    fn vacate(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push_back(slot);
    }

    /// Serves every worker that waits for its window.
    pub(crate) fn move_parts(&mut self, table: &Table) {
        for slot in 0..self.slots.len() {
            let (word, seen) = (table.slot(slot), table.slot(slot).load());
            let entry = self.slots[slot].and_then(|task| self.tasks.get_mut(&task));
            let Some(entry) = entry.filter(|_| table.knows_owner(seen)) else { continue };
            let window = table.window(seen.owner().seat());
            match seen.state() {
                State::More => {
                    let rest = entry.call.get(entry.sent..).unwrap_or_default();
                    let part = &rest[..rest.len().min(window.capacity())];
                    entry.sent += window.put(part);
                }
                State::Part => window.take(&mut entry.received),
                _ => continue,
            }
            word.answer(seen);
            table.window_bell(seen.owner().seat()).ring();
        }
    }

    /// Resolves or queues again what the worker `dead` had claimed. `error` makes the outcome from the number of
    /// the attempt.
    pub(crate) fn bury(
        &mut self,
        table: &Table,
        dead: Owner,
        retries: u32,
        error: impl Fn(u32) -> TaskError,
    ) -> Burial {
        let mut burial = Burial::Idle;
        for slot in 0..self.slots.len() {
            let (word, seen) = (table.slot(slot), table.slot(slot).load());
            if seen.owner() != dead || !(seen.is_claimed() || seen.is_over()) {
                continue;
            }
            let entry = self.slots[slot].and_then(|task| Some((task, self.tasks.get_mut(&task)?)));
            if let Some((task, entry)) = entry.filter(|_| seen.is_claimed()) {
                burial = Burial::Interrupted;
                entry.deaths += 1;
                entry.sent = table.argument(slot).capacity();
                entry.received.clear();
                let attempt = entry.deaths;
                let again = attempt <= retries && !entry.abandoned;
                word.bury(seen, dead, again);
                if !again {
                    self.resolve(task, Err(error(attempt)));
                    self.vacate(slot);
                }
            }
            // It may have been killed before it rang.
            table.slot_bell(slot).ring();
        }
        table.pool_bell().ring();
        burial
    }

    /// The workers are gone for good: every task that has no outcome gets this one, now and later.
    pub(crate) fn end(&mut self, table: &Table, error: &TaskError) {
        self.over = Some(error.clone());
        for slot in 0..self.slots.len() {
            self.settle(table, slot);
            let Some(task) = self.slots[slot] else { continue };
            table.slot(slot).withdraw(table.slot(slot).load());
            self.resolve(task, Err(error.clone()));
            self.vacate(slot);
            table.slot_bell(slot).ring();
        }
        table.pool_bell().ring_after_store();
    }
}
