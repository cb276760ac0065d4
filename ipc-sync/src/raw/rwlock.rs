//! The words of a lock for many readers or one writer, and the protocol on them.
//!
//! The writer is a [mutex](super::mutex). A reader claims one of the *slots* with an [owner word](super::owner) and then
//! looks at the writer's word; a writer claims its word and then looks at the slots, and waits until each is free.
//! Whichever comes first, one of the two sees the other.
//!
//! # Who may do what
//!
//! | writer's word | who | may |
//! |---|---|---|
//! | free | a reader with a slot | read |
//! | free | anybody | claim it, D kept |
//! | held | its owner | set D when no slot is taken; and only then write |
//! | held, D | its owner | write; release it, with D or without |
//! | held | others of its domain, once the owner is dead | claim it, D kept; without D, free it |
//! | free, D | whoever comes, to read or to write | claim it: that is who is told |
//!
//! So here D on a held word says "the value may be half changed, should its owner die now", and a writer that dies while
//! it waits for readers leaves the value as it was. A slot is free, or held by a reader; a dead reader's is free for any
//! reader, and a writer frees it.
//!
//! # Who sleeps where
//!
//! Everybody who wants the writer's word, or only that it be free, sleeps on the writer's gate. The one who has it and waits
//! for readers sleeps on the gate `drain`. Whoever releases the word wakes *one*, and a reader who was woken and finds the word
//! free wakes the next *before* it takes a slot: a wake-up is either in the hands of a thread that has the writer's gate
//! armed, or is passed on.
//!
//! # What a death leaves behind
//!
//! A reader has `drain` armed from before it claims a slot until it has woken whoever waits for that. A writer, and a
//! reader that waits for one, has the writer's gate armed. So at every row the kernel wakes one sleeper; where
//! there is no baton the sleepers' slices end within 64 ms.
//!
//! | killed | leaves | then |
//! |---|---|---|
//! | reading: before the slot is claimed | nothing | – |
//! | with the slot, until its release | a slot held by the dead | the writer that waits, or the reader that finds no other, looks and frees it |
//! | after that, before the wake | a writer asleep | the kernel wakes it |
//! | asleep | nothing | – |
//! | woken, before it has woken the next | its wake-up is spent | the kernel wakes the next |
//! | woken, after that | nothing | – |
//! | writing: before the claim | as a mutex | |
//! | with the word, without D | a word held by the dead, value in order | the next writer has it without being told; the next reader frees it |
//! | with D, until the release | the same with D | whoever looks first claims it, waits for readers and is told |
//! | after the release, before the wake | the word free | one sleeper is woken by the kernel |
//! | after a take-over, before the repair | held by the dead, D | the next is told again |
//!
//! Readers never wait for readers, and give way to a writer as soon as it has the word: a reader that reads already and
//! locks again may wait for a writer that waits for it.
//!
//! Slots instead of a count of readers are an old idea (big-reader locks); that they name their owners, and so survive
//! them, is how LMDB does it.

use ipc_core::identity::{Identity, ProcessId};
use ipc_core::primitive::{AtomicU64, Ordering, fence_after_rmw, identity};

use super::gate::Gate;
use super::holder::Holder;
use super::mutex::{Found, Missed, RawMutex, Refused};
use super::owner::{FREE, INCONSISTENT, State, state};
use super::until::Until;
use super::wait::Wait;

/// 24 bytes and 8 for each slot; every pattern of them is some state.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawRwLock<const READERS: usize> {
    writer: RawMutex,
    drain: Gate,
    /// So that there is no padding.
    unused: u32,
    slots: [Slot; READERS],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RawRwLock<3>>() == 24 + 3 * 8);

/// The place of one reader: an owner word without D.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Slot(AtomicU64);

/// How a call to read ended.
#[derive(Debug)]
pub(crate) enum Entered<'a> {
    /// With a slot.
    Reading(&'a Slot),
    /// With the lock held for *writing*: the value is inconsistent.
    Recovering,
    /// Not at all: there is no writer, but no slot either.
    Full,
}

/// Why reading did not begin at the first try.
#[derive(Debug)]
pub(crate) enum MissedRead<'a> {
    /// This process has never asked who it is, or has never been at this lock.
    Untried,
    /// Somebody has the slot. `drain` was armed.
    Taken,
    /// Somebody has the writer's word. This slot was claimed.
    Writer(&'a Slot),
}

impl Slot {
    #[inline]
    fn word(&self) -> u64 {
        // SYNC: what was done before a reader left (Release in `replace`); and its admission, which comes with its claim.
        self.0.load(Ordering::Acquire)
    }

    #[inline]
    fn replace(&self, from: u64, to: u64) -> Result<(), u64> {
        // SYNC: what a reader does before it leaves (Acquire in `word`).
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }

    fn reader(&self) -> Option<ProcessId> {
        match state(self.0.load(Ordering::Relaxed)) {
            State::Held(reader) => Some(reader),
            State::Free | State::Unrecoverable | State::Corrupt => None,
        }
    }
}

impl<const READERS: usize> RawRwLock<READERS> {
    /// Zeroed memory of such a size is no lock: the first call that uses it does not compile.
    const HAS_SLOTS: () = assert!(READERS > 0, "a lock without place for a reader");

    ipc_core::const_unless_loom! {
        /// A free lock. `resident`: it lies in a mapping that is not given back while a gate in it is armed.
        pub(crate) fn new(resident: bool) -> Self {
            let () = Self::HAS_SLOTS;
            #[cfg(not(loom))]
            let slots = [const { Slot(AtomicU64::new(FREE)) }; READERS];
            #[cfg(loom)]
            let slots = core::array::from_fn(|_| Slot(AtomicU64::new(FREE)));
            Self { writer: RawMutex::new(resident), drain: Gate::new(), unused: 0, slots }
        }
    }

    /// Begins to read if that takes one compare-exchange.
    #[inline]
    pub(crate) fn read_uncontended(&self) -> Result<(&Slot, Holder), MissedRead<'_>> {
        let () = Self::HAS_SLOTS;
        let me = identity::known().ok_or(MissedRead::Untried)?;
        let residence = &self.writer.residence;
        residence.enter_again(&self.drain, me).ok_or(MissedRead::Untried)?;
        let slot = &self.slots[self.start(me)];
        slot.replace(FREE, me.id.to_bits()).map_err(|_| MissedRead::Taken)?;
        if self.is_open_behind_claim() {
            Ok((slot, Holder::of(me)))
        } else {
            Err(MissedRead::Writer(slot))
        }
    }

    /// Goes on where [`read_uncontended`](Self::read_uncontended) `missed`.
    #[cold]
    pub(crate) fn read_contended(
        &self,
        missed: MissedRead<'_>,
        until: Until,
    ) -> Result<Entered<'_>, Refused> {
        let me = identity::current()?;
        match missed {
            MissedRead::Untried => {}
            MissedRead::Taken => self.writer.residence.leave(&self.drain, me),
            MissedRead::Writer(slot) => _ = self.leave(slot, me),
        }
        let mut wait = Wait::new(until);
        loop {
            if self.writer.word() == FREE {
                match self.enter(me) {
                    Ok(slot) => return Ok(Entered::Reading(slot)),
                    Err(None) => return Ok(Entered::Full),
                    Err(Some(slot)) => _ = self.leave(slot, me),
                }
            }
            if self.await_writer(me, &mut wait)? {
                self.await_readers(me, Found::Inconsistent, &mut wait)?;
                return Ok(Entered::Recovering);
            }
        }
    }

    /// Ends reading in `slot`. `false`: the slot was not ours, and nothing was changed.
    #[inline]
    pub(crate) fn unlock_read(&self, slot: &Slot, holder: Holder) -> bool {
        holder.here().is_some_and(|me| self.leave(slot, me))
    }

    /// Claims the lock for writing, or waits for it.
    #[inline]
    pub(crate) fn write(&self, until: Until) -> Result<Found, Refused> {
        let () = Self::HAS_SLOTS;
        // One for both waits: a signal that came in the first ends the second.
        let mut wait = Wait::new(until);
        let found = match self.writer.lock_uncontended() {
            Ok(_) => Found::Consistent,
            Err(missed) => self.lock_contended(missed, &mut wait)?,
        };
        let me = identity::current()?;
        self.await_readers(me, found, &mut wait)?;
        Ok(found)
    }

    /// Releases what `holder` holds for writing. `false`: it was not ours, and nothing was changed.
    #[inline]
    pub(crate) fn unlock(&self, holder: Holder, left: Found) -> bool {
        self.writer.unlock_of(holder, Found::Inconsistent, left)
    }

    /// The owner says that nobody ever can repair what the lock guards. Releases the lock.
    pub(crate) fn poison(&self) -> bool {
        self.writer.poison()
    }

    /// Takes the writer's word away from whoever holds it.
    pub(crate) fn break_lock(&self) {
        self.writer.break_lock();
    }

    /// Frees every slot of `reader`.
    pub(crate) fn break_reads(&self, reader: ProcessId) {
        for slot in &self.slots {
            if slot.replace(reader.to_bits(), FREE).is_ok() {
                self.drain.wake_one();
            }
        }
    }

    /// Who has the writer's word, be it that it waits for readers.
    pub(crate) fn owner(&self) -> Option<ProcessId> {
        self.writer.owner()
    }

    /// Who has a slot.
    pub(crate) fn readers(&self) -> impl Iterator<Item = ProcessId> {
        self.slots.iter().filter_map(Slot::reader)
    }

    /// What the first process to come here does, so that a model of something else need not
    /// explore it again.
    #[cfg(loom)]
    pub(crate) fn admit(&self) {
        self.writer.admit();
    }

    /// Where this thread looks first for a free slot. Those who never meet in one disturb each other less.
    ///
    /// Processes that are started together have pids in a row, and so slots in a row; threads differ in where their
    /// stacks are. No more than two operations lie between the id, which is loaded, and the address of the slot.
    #[inline]
    fn start(&self, me: Identity) -> usize {
        let here = 0_u8;
        let stack = (&raw const here).addr() as u64 >> 16;
        // In the model nothing may differ from one execution to the next.
        let stack = if cfg!(loom) { 0 } else { stack.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 };
        (me.id.to_bits() ^ stack) as usize % READERS
    }

    /// Whether there is no writer, and nothing to repair. Directly behind the claim of a slot.
    #[inline]
    fn is_open_behind_claim(&self) -> bool {
        // SYNC: reader or writer seen. Either the writer, who has claimed its word before it looks at the slots, sees
        // ours (`await_readers`); or we see its claim.
        fence_after_rmw();
        self.writer.word() == FREE
    }

    /// Claims a slot and looks for a writer; if there is one, the slot comes back as an error. `None`: there is no slot.
    fn enter(&self, me: Identity) -> Result<&Slot, Option<&Slot>> {
        self.writer.residence.enter(&self.drain, me);
        let Some(slot) = self.claim_any(me) else {
            self.writer.residence.leave(&self.drain, me);
            return Err(None);
        };
        if self.is_open_behind_claim() { Ok(slot) } else { Err(Some(slot)) }
    }

    /// A slot that is free; if there is none, that of somebody dead.
    fn claim_any(&self, me: Identity) -> Option<&Slot> {
        let (before, from_start) = self.slots.split_at(self.start(me));
        let mut slots = from_start.iter().chain(before);
        let claim = |slot: &Slot, seen| slot.replace(seen, me.id.to_bits()).is_ok();
        slots.clone().find(|slot| slot.word() == FREE && claim(slot, FREE)).or_else(|| {
            // Or one that has become free since.
            slots.find(|slot| {
                let seen = slot.word();
                (seen == FREE || self.is_dead(seen, me)) && claim(slot, seen)
            })
        })
    }

    fn is_dead(&self, word: u64, me: Identity) -> bool {
        matches!(state(word), State::Held(reader) if self.writer.residence.is_dead(reader, me))
    }

    /// Gives `slot` back, and wakes the writer that waits for it.
    #[inline]
    fn leave(&self, slot: &Slot, me: Identity) -> bool {
        let left = slot.replace(me.id.to_bits(), FREE).is_ok();
        if left {
            self.drain.wake_one();
        }
        self.writer.residence.leave(&self.drain, me);
        left
    }

    /// Waits until the writer's word is free. `true`: instead it was claimed, because the value is inconsistent.
    fn await_writer(&self, me: Identity, wait: &mut Wait) -> Result<bool, Refused> {
        let Self { writer: RawMutex { gate, residence, .. }, .. } = self;
        let armed = residence.enter(gate, me);
        // Whether this thread owes the next sleeper a wake-up.
        let mut owes = false;
        let result = self.await_writer_armed(me, armed, wait, &mut owes);
        if result != Ok(true) {
            if owes {
                gate.wake_one();
            }
            residence.leave(gate, me);
        }
        result
    }

    fn await_writer_armed(
        &self,
        me: Identity,
        armed: bool,
        wait: &mut Wait,
        owes: &mut bool,
    ) -> Result<bool, Refused> {
        let writer = &self.writer;
        let mut seen = writer.word();
        loop {
            let owner = match state(seen) {
                State::Free if seen == FREE => return Ok(false),
                State::Free => match writer.claim(seen, me.id.to_bits() | INCONSISTENT) {
                    Ok(()) => return Ok(true),
                    Err(word) => {
                        seen = word;
                        continue;
                    }
                },
                State::Held(owner) => owner,
                State::Unrecoverable => return Err(Refused::Unrecoverable),
                State::Corrupt => return Err(Refused::Corrupt),
            };
            let writes = || owner == me.id && writer.gate.armed_times(me.id) > usize::from(armed);
            // A dead writer waits for nobody.
            let waits_for_us = || self.reads(me) && !writer.residence.is_dead(owner, me);
            if writes() || waits_for_us() {
                return Err(Refused::Deadlock);
            }
            let Some(turn) = wait.turn() else {
                seen = writer.word();
                continue;
            };
            if turn.asks && writer.residence.is_dead(owner, me) {
                let in_order = seen & INCONSISTENT == 0;
                let next = if in_order { FREE } else { me.id.to_bits() | INCONSISTENT };
                match writer.claim(seen, next) {
                    Ok(()) if in_order => {
                        *owes = true;
                        return Ok(false);
                    }
                    Ok(()) => return Ok(true),
                    Err(word) => {
                        seen = word;
                        continue;
                    }
                }
            }
            if turn.ends {
                return Err(wait.refused());
            }
            *owes |= wait.sleep(&writer.gate, &writer.owner, seen, owner)?;
            seen = writer.word();
        }
    }

    #[cold]
    fn lock_contended(&self, missed: Missed, wait: &mut Wait) -> Result<Found, Refused> {
        let me = identity::current()?;
        if self.reads(me) {
            if matches!(missed, Missed::Saw { armed: true, .. }) {
                self.writer.residence.leave(&self.writer.gate, me);
            }
            return Err(Refused::Deadlock);
        }
        self.writer.lock_or_inherit(missed, wait, Found::Consistent)
    }

    /// Waits until nobody reads, with the writer's word, which it releases if that fails. On return the value may be
    /// written.
    #[inline]
    fn await_readers(&self, me: Identity, found: Found, wait: &mut Wait) -> Result<(), Refused> {
        // SYNC: reader or writer seen, see `is_open_behind_claim`.
        fence_after_rmw();
        let mut result = Ok(());
        if self.slots.iter().any(|slot| slot.word() != FREE) {
            result = self.slots.iter().try_for_each(|slot| self.await_reader(slot, me, wait));
        }
        if result.is_ok() && found == Found::Consistent && !self.writer.begin_change(me) {
            result = Err(Refused::Corrupt);
        }
        if result.is_err() {
            self.writer.unlock(found, found);
        }
        result
    }

    #[cold]
    fn await_reader(&self, slot: &Slot, me: Identity, wait: &mut Wait) -> Result<(), Refused> {
        let mut seen = slot.word();
        loop {
            let reader = match state(seen) {
                State::Free if seen == FREE => return Ok(()),
                State::Held(reader) => reader,
                State::Free | State::Unrecoverable | State::Corrupt => {
                    return Err(Refused::Corrupt);
                }
            };
            if self.reads(me) {
                return Err(Refused::Deadlock);
            }
            let Some(turn) = wait.turn() else {
                seen = slot.word();
                continue;
            };
            if turn.asks && self.writer.residence.is_dead(reader, me) {
                match slot.replace(seen, FREE) {
                    Ok(()) => return Ok(()),
                    Err(word) => {
                        seen = word;
                        continue;
                    }
                }
            }
            if turn.ends {
                return Err(wait.refused());
            }
            // Nobody else sleeps on `drain`: a wake-up is for this thread.
            wait.sleep(&self.drain, &slot.0, seen, reader)?;
            seen = slot.word();
        }
    }

    /// Whether this thread is known to read, and not to be about to: to wait for a writer, or for all readers, is then
    /// to wait for itself.
    fn reads(&self, me: Identity) -> bool {
        // The kernel may still know of a guard that was forgotten, and then broken.
        self.drain.armed_times(me.id) > 0 && self.readers().any(|reader| reader == me.id)
    }
}
