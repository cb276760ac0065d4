//! [`Member`]: what a producer and a consumer have in common.
//!
//! # Safety
//!
//! `ring` keeps its slots alive; an index is a position modulo their number.
#![expect(unsafe_code, reason = "refers to slots by pointer")]

use core::fmt;
use core::ptr::NonNull;

use ipc_core::primitive::{Ordering, identity, killed};

use super::ring::Held;
use super::table::{Joined, Table};
use super::word::{Laps, Owner, State, Word};
use crate::layout::{Crowd, Slot};
use crate::ring::RoleError;
use crate::ring::error::Refused;
use crate::ring::role::{Misses, Party};
use crate::ring::waiting::Bell;

/// How much a look may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Who polls: now and then as much as [`Ask`](Self::Ask), else as little as possible.
    Poll,
    /// Whatever memory tells.
    Look,
    /// And what the kernel tells.
    Ask,
}

/// A slot that can be claimed, as it was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) position: u64,
    pub(super) seen: Word,
}

pub(super) struct Member<'r, T> {
    ring: Held<'r, T>,
    laps: Laps,
    /// All positions before it have been claimed.
    pub(super) position: u64,
    me: Joined,
    party: Party,
    /// The next call begins with [`attend`](Self::attend), whoever makes it.
    pub(super) is_away: bool,
    corrupt: bool,
    pub(super) misses: Misses,
    pub(super) bell: Bell,
}

// SAFETY: a member is a position and a record; the slots are `Sync`, and what it keeps is `Send` and `Sync`.
unsafe impl<T: bytemuck::Pod + Send> Send for Member<'_, T> {}
// SAFETY: as for Send; a shared member gives out no slot.
unsafe impl<T: bytemuck::Pod + Send> Sync for Member<'_, T> {}

impl<'r, T> Member<'r, T> {
    pub(super) fn join(ring: Held<'r, T>, party: Party) -> Result<Self, RoleError> {
        let me = table(ring.head(), party).join()?;
        let bell = Bell::new(&ring.head().commons, party, None);
        let laps = Laps::new(ring.slots().len());
        let position = hint(ring.head(), party).load(Ordering::Acquire);
        let (is_away, corrupt, misses) = (party == Party::Consumer, false, Misses::default());
        bell.tell_all();
        Ok(Self { ring, laps, position, me, party, is_away, corrupt, misses, bell })
    }

    /// Whether the handle is as the last call has left it, in the process that made that call.
    #[inline(always)]
    pub(super) fn is_here(&self) -> bool {
        self.is_owner() && !self.is_away
    }

    /// Whether this is the process that has the record, and no forked copy.
    #[inline(always)]
    pub(super) fn is_owner(&self) -> bool {
        identity::known_as(self.me.process).is_some()
    }

    /// The handle is no such: whether it may be used now, and whether its record is another one.
    pub(super) fn attend(&mut self) -> Result<bool, Refused> {
        if self.corrupt {
            return Err(Refused::Corrupt);
        }
        if self.is_owner() {
            return Ok(false);
        }
        // A forked copy: what the record says is the parent's. While there is none to be had, there is nothing to be done.
        self.me = table(self.ring.head(), self.party).join().map_err(|_| Refused::NotYet)?;
        self.bell = Bell::new(&self.ring.head().commons, self.party, None);
        Ok(true)
    }

    #[inline(always)]
    pub(super) fn crowd(&self) -> &Crowd {
        self.ring.head()
    }

    #[inline(always)]
    pub(super) const fn laps(&self) -> Laps {
        self.laps
    }

    #[inline(always)]
    pub(super) const fn owner(&self) -> Owner {
        self.me.owner
    }

    pub(super) fn table(&self, party: Party) -> Table<'_> {
        table(self.ring.head(), party)
    }

    /// The slot of a position.
    #[inline(always)]
    pub(super) fn slot(&self, position: u64) -> NonNull<Slot<T>> {
        // SAFETY: the index is less than the number of slots.
        unsafe { self.ring.slots().cast::<Slot<T>>().add(self.laps.index(position)) }
    }

    #[inline(always)]
    pub(super) fn word(&self, position: u64) -> Word {
        // SAFETY: the ring is kept alive.
        let slot = unsafe { self.slot(position).as_ref() };
        // SYNC: slot handed on (Release in `hand_on`).
        Word(slot.sequence.load(Ordering::Acquire))
    }

    /// Makes `word` of what was found, if that is still there.
    #[inline(always)]
    pub(super) fn claim(&self, found: Found, word: Word) -> bool {
        // SAFETY: the ring is kept alive.
        let slot = unsafe { self.slot(found.position).as_ref() };
        // SYNC: Release: our trail is noted (`orphan`). Acquire: a dead one's slot is taken over.
        let orders = (Ordering::AcqRel, Ordering::Relaxed);
        slot.sequence.compare_exchange(found.seen.0, word.0, orders.0, orders.1).is_ok()
    }

    /// Gives a slot that is ours away.
    #[inline(always)]
    pub(super) fn hand_on(&self, position: u64, word: Word) {
        // SAFETY: the ring is kept alive.
        let slot = unsafe { self.slot(position).as_ref() };
        // SYNC: slot handed on (Acquire in `word`).
        slot.sequence.store(word.0, Ordering::Release);
    }

    /// We have claimed the slot of `position`; so have others all before it.
    #[inline(always)]
    pub(super) fn passed(&mut self, position: u64) {
        self.position = position.wrapping_add(1);
        // SYNC: passed (Acquire in `start`).
        hint(self.ring.head(), self.party).store(self.position, Ordering::Release);
    }

    /// Where to search from.
    pub(super) fn start(&self) -> u64 {
        // SYNC: passed (Release in `passed`): whoever comes after us sees at least what we have seen of the slots before.
        let hint = hint(self.ring.head(), self.party).load(Ordering::Acquire);
        let is_later = hint.wrapping_sub(self.position) as i64 > 0;
        if is_later { hint } else { self.position }
    }

    /// Who comes next on this side, if anybody sleeps, is woken if there `is` something for it. What it could have been told by
    /// whoever handed that on, it was not: at that time it lay behind something that was not there yet.
    #[inline(always)]
    pub(super) fn pass_on(&self, is: impl FnOnce() -> bool) {
        if self.party.count(&self.ring.head().commons).is_awaited() {
            self.pass_on_contended(is);
        }
    }

    #[cold]
    fn pass_on_contended(&self, is: impl FnOnce() -> bool) {
        if is() {
            self.party.count(&self.ring.head().commons).notify_one();
        }
    }

    /// No ring comes to what was found: this handle is of no use any more.
    #[cold]
    pub(super) fn damaged(&mut self) -> Refused {
        (self.corrupt, self.is_away) = (true, true);
        Refused::Corrupt
    }

    pub(super) fn capacity(&self) -> usize {
        self.ring.slots().len()
    }

    /// Gives up its record, `with` a message that it has claimed.
    pub(super) fn leave(&self, with: bool) {
        if !killed() && self.table(self.party).leave(self.me, with) {
            self.bell.tell_all();
        }
    }
}

fn table(crowd: &Crowd, party: Party) -> Table<'_> {
    let records = match party {
        Party::Producer => &crowd.producers,
        Party::Consumer => &crowd.consumers,
    };
    Table::new(records, &crowd.commons.domain)
}

#[inline(always)]
fn hint(crowd: &Crowd, party: Party) -> &ipc_core::primitive::AtomicU64 {
    match party {
        Party::Producer => &crowd.tail,
        Party::Consumer => &crowd.head,
    }
}

/// What the slot of a position says to somebody who comes for this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// This, of this very lap.
    Now(State),
    /// It is so many laps on, and says this.
    Ahead(i64, State),
    /// The message of the lap before is still there.
    Behind,
    /// What no ring comes to.
    Never,
}

impl Seen {
    pub(super) fn of(laps: Laps, word: Word, position: u64) -> Self {
        match (laps.ahead(word, position), word.state()) {
            (_, None) => Self::Never,
            (0, Some(state)) => Self::Now(state),
            (ahead @ 1.., Some(state)) => Self::Ahead(ahead, state),
            // All positions before ours have been claimed, so that of a lap ago is not free.
            (-1, Some(State::Writing | State::Ready | State::Reading)) => Self::Behind,
            _ => Self::Never,
        }
    }
}

impl<T> fmt::Debug for Member<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
