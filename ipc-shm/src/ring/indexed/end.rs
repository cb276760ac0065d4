//! [`End`]: what both ends of an indexed ring do, whatever the slots hold.
//!
//! Each end has a range of slots that are its own: from its position, which only it moves, to a limit, which only
//! its peer moves. For the consumer the limit is the producer's position; for the producer it is the consumer's
//! position and the capacity. Seen so, both do the same:
//!
//! 1. [`ready`](End::ready): are there enough slots before the limit that was seen last? If not, look at the
//!    peer's position. (Acquire: what the peer did to the slots came before.)
//! 2. Write the slots, or read them.
//! 3. [`advance`](End::advance): move the position past them. (Release: they are the peer's now.)
//!
//! The limit only moves on, and is never further away than the capacity; anything else is damage. That is checked at
//! each look, and the look is the only access to a word that the peer may change, so nothing that it writes there
//! takes an end out of the ring, or holds it up. Our own position is in the handle; the shared copy is for the peer,
//! and for whoever comes after us.
//!
//! # Safety
//!
//! The slots between position and limit belong to this end alone: the peer has given them up by its Release store,
//! there is one process with this end (the role word names it), and the handle is borrowed alone. The slots live as
//! long as the handle.
#![expect(unsafe_code, reason = "slots by number, which the positions make ours")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::Pod;
use ipc_core::identity::ProcessId;
use ipc_core::os::Until;
use ipc_core::primitive::{AtomicU64, Ordering, killed};

use crate::layout::{Commons, Indexes, Payload, Roles};
use crate::ring::error::Refused;
use crate::ring::pollable::line::{Line, Watch};
use crate::ring::pollable::{self, ArmError, Armed};
use crate::ring::role::{Misses, Party, Role};
use crate::ring::waiting::{Bell, Paired, Waits, settle, wait};
use crate::ring::{Peer, PopWaitError, RoleError, home};

pub(in crate::ring) type Held<'r, T> = home::Held<'r, Indexes, Payload<T>>;

/// One end of an indexed ring of slots that hold a `T` each.
pub(in crate::ring) struct End<'r, S: Side, T: Pod + Send> {
    /// The number of the next slot, counted from the beginning of the ring's life.
    position: u64,
    /// The number of the first slot that is not known to be ours.
    limit: u64,
    /// The capacity, less one.
    mask: u64,
    ring: Held<'r, T>,
    misses: Misses,
    bell: Bell,
    /// The process that claimed the role.
    claimant: ProcessId,
    /// The ring was found damaged; no slot is ours any more.
    corrupt: bool,
    side: PhantomData<S>,
}

/// Which end.
pub(in crate::ring) trait Side {
    /// The position that this end moves.
    fn ours(indexes: &Indexes) -> &AtomicU64;
    /// The position that the peer moves.
    fn theirs(indexes: &Indexes) -> &AtomicU64;
    /// How far beyond the peer's position this end may go.
    fn reach(capacity: u64) -> u64;
    /// Which it is.
    const ME: Party;
}

/// The producer's end.
#[derive(Debug)]
pub(in crate::ring) enum Writes {}

/// The consumer's end.
#[derive(Debug)]
pub(in crate::ring) enum Reads {}

impl Side for Writes {
    const ME: Party = Party::Producer;

    #[inline(always)]
    fn ours(indexes: &Indexes) -> &AtomicU64 {
        &indexes.tail
    }

    #[inline(always)]
    fn theirs(indexes: &Indexes) -> &AtomicU64 {
        &indexes.head
    }

    #[inline(always)]
    fn reach(capacity: u64) -> u64 {
        capacity
    }
}

impl Side for Reads {
    const ME: Party = Party::Consumer;

    #[inline(always)]
    fn ours(indexes: &Indexes) -> &AtomicU64 {
        &indexes.head
    }

    #[inline(always)]
    fn theirs(indexes: &Indexes) -> &AtomicU64 {
        &indexes.tail
    }

    #[inline(always)]
    fn reach(_: u64) -> u64 {
        0
    }
}

impl<'r, S: Side, T: Pod + Send> End<'r, S, T> {
    /// Becomes this end of the ring, where the last one stopped. The number of slots is a power of two.
    pub(in crate::ring) fn claim(ring: Held<'r, T>, line: Option<Line>) -> Result<Self, RoleError> {
        debug_assert!(ring.slots().len().is_power_of_two(), "checked where the ring is made");
        settle(&ring.head().roles.commons, line.as_ref())?;
        let claimant = S::ME.role(&ring.head().roles).claim()?.id;
        // What the last owner did to the slots is seen through its end; this orders the rest.
        let position = S::ours(ring.head()).load(Ordering::Acquire);
        let mut end = Self {
            position,
            limit: position,
            mask: ring.slots().len() as u64 - 1,
            bell: Bell::new(&ring.head().roles.commons, S::ME, line),
            ring,
            misses: Misses::default(),
            claimant,
            corrupt: false,
            side: PhantomData,
        };
        // None are known to be ours, so this is the first look. The drop of `end` closes the role again.
        end.look().map_err(|_| RoleError::Corrupt)?;
        end.bell.tell_all();
        Ok(end)
    }

    /// How many slots are ours, `least` or more; the peer's position is looked at only if they are known to be
    /// fewer than `wanted`.
    ///
    /// `least` is not more than `wanted`, and neither is 0 or more than the capacity.
    #[inline]
    pub(in crate::ring) fn ready(&mut self, least: u64, wanted: u64) -> Result<u64, Refused> {
        let known = self.limit.wrapping_sub(self.position);
        if known >= wanted {
            return Ok(known);
        }
        let known = self.look()?;
        if known >= least { Ok(known) } else { self.refused(least, false) }
    }

    /// As [`ready`](Self::ready), and sleeps until so many slots are.
    pub(in crate::ring) fn ready_by(
        &mut self,
        least: u64,
        until: Until,
    ) -> Result<(), PopWaitError> {
        match self.ready(least, least) {
            Err(Refused::NotYet) => self.wait(least, until),
            ready => ready.map(drop).map_err(|refused| refused.pop().into()),
        }
    }

    /// Sleeps until `least` slots are ours, not more than the capacity.
    pub(in crate::ring) fn wait(&mut self, least: u64, until: Until) -> Result<(), PopWaitError> {
        wait(&mut Wanted { end: self, least }, until)
    }

    /// See [`pollable::arm`], for `least` slots.
    pub(in crate::ring) fn arm(
        &mut self,
        least: u64,
        watch: &mut Watch,
    ) -> Result<Armed, ArmError> {
        pollable::arm(&mut Wanted { end: self, least }, watch)
    }

    /// Its line, if the ring has any.
    pub(in crate::ring) fn line(&self) -> Option<&Line> {
        self.bell.line()
    }

    /// How many of `count` slots are ours, at least one; `None` if none are asked for.
    #[inline]
    pub(in crate::ring) fn up_to(&mut self, count: usize) -> Result<Option<usize>, Refused> {
        if count == 0 {
            return Ok(None);
        }
        // As many as the ring has are all that there can ever be.
        let wanted = (count as u64).min(self.mask + 1);
        self.ready(1, wanted).map(|found| Some(found.min(wanted) as usize))
    }

    /// The slot `offset` after the next one, which is ours.
    #[inline(always)]
    pub(in crate::ring) fn slot(&self, offset: u64) -> NonNull<Payload<T>> {
        let index = self.position.wrapping_add(offset) & self.mask;
        // SAFETY: the mask is the number of slots less one, so this is the index of one.
        unsafe { self.ring.slots().cast::<Payload<T>>().add(index as usize) }
    }

    /// The `count` slots from `offset` after the next one on, which are ours: up to the last slot of the ring, and
    /// on from the first. If the slots are there twice in a row, the second part is empty.
    #[inline]
    pub(in crate::ring) fn spans(&self, offset: u64, count: usize) -> [NonNull<[Payload<T>]>; 2] {
        debug_assert!(offset + count as u64 <= self.limit.wrapping_sub(self.position), "ours");
        let index = self.position.wrapping_add(offset) & self.mask;
        let first = count.min(self.ring.row() - index as usize);
        [
            NonNull::slice_from_raw_parts(self.slot(offset), first),
            NonNull::slice_from_raw_parts(self.ring.slots().cast(), count - first),
        ]
    }

    /// The next `count` slots, which were ours, are the peer's now.
    #[inline(always)]
    pub(in crate::ring) fn advance(&mut self, count: u64) {
        debug_assert!(count <= self.limit.wrapping_sub(self.position), "ours");
        self.position = self.position.wrapping_add(count);
        // SYNC: slots handed over (Acquire in `look`).
        S::ours(self.ring.head()).store(self.position, Ordering::Release);
        self.bell.ring();
    }

    /// From now on everything is refused.
    #[cold]
    pub(in crate::ring) fn damaged(&mut self) -> Refused {
        self.corrupt = true;
        self.limit = self.position;
        Refused::Corrupt
    }

    pub(in crate::ring) fn peer(&self) -> Peer {
        self.roles()[1].peer()
    }

    pub(in crate::ring) fn capacity(&self) -> usize {
        self.ring.slots().len()
    }

    /// Whether [`spans`](Self::spans) are always one.
    pub(in crate::ring) fn is_in_a_row(&self) -> bool {
        self.ring.row() > self.capacity()
    }

    /// Looks how far the peer has come. Gives the number of slots that are ours.
    #[inline]
    fn look(&mut self) -> Result<u64, Refused> {
        let known = self.limit.wrapping_sub(self.position);
        // SYNC: slots handed over (Release in `advance`).
        let theirs = S::theirs(self.ring.head()).load(Ordering::Acquire);
        let limit = theirs.wrapping_add(S::reach(self.mask + 1));
        let ours = limit.wrapping_sub(self.position);
        if self.corrupt || ours < known || ours > self.mask + 1 {
            return Err(self.damaged());
        }
        self.limit = limit;
        Ok(ours)
    }

    /// The peer has not handed over enough.
    #[cold]
    fn refused(&mut self, least: u64, asks: bool) -> Result<u64, Refused> {
        let (at, role) = ((0, self.limit), S::ME.other().role(&self.ring.head().roles));
        if !self.misses.peer_is_gone(at, role, asks) {
            return Err(Refused::NotYet);
        }
        // It may have moved on between our look and its end; after its end it does so no more.
        let known = self.look()?;
        if known >= least { Ok(known) } else { Err(Refused::Disconnected) }
    }

    /// Its own role, and the peer's.
    fn roles(&self) -> [Role<'_>; 2] {
        [S::ME, S::ME.other()].map(|party| party.role(&self.ring.head().roles))
    }
}

impl<S: Side, T: Pod + Send> Drop for End<'_, S, T> {
    fn drop(&mut self) {
        if !killed() && self.roles()[0].close(self.claimant) {
            self.bell.tell_all();
        }
    }
}

/// An end that waits for slots.
struct Wanted<'a, 'r, S: Side, T: Pod + Send> {
    end: &'a mut End<'r, S, T>,
    /// How many it must have.
    least: u64,
}

impl<S: Side, T: Pod + Send> Waits for Wanted<'_, '_, S, T> {
    const ME: Party = S::ME;

    fn commons(&self) -> NonNull<Commons> {
        (&self.end.ring.head().roles.commons).into()
    }

    fn glance(&self) -> bool {
        let theirs = S::theirs(self.end.ring.head()).load(Ordering::Relaxed);
        let limit = theirs.wrapping_add(S::reach(self.end.mask + 1));
        limit.wrapping_sub(self.end.position) >= self.least
    }

    fn look(&mut self, asks: bool) -> Result<(), Refused> {
        if self.end.look()? < self.least {
            self.end.refused(self.least, asks)?;
        }
        Ok(())
    }
}

impl<S: Side, T: Pod + Send> Paired for Wanted<'_, '_, S, T> {
    fn roles(&self) -> NonNull<Roles> {
        (&self.end.ring.head().roles).into()
    }

    fn line(&self) -> Option<&Line> {
        self.end.bell.line()
    }
}

impl<S: Side, T: Pod + Send> fmt::Debug for End<'_, S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "alloc", not(loom)))]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::ring::home::Home;
    use ipc_core::primitive::UnsafeCell;

    type Ends = (End<'static, Writes, u64>, End<'static, Reads, u64>);

    fn ends(capacity: usize, tail: u64, head: u64) -> Result<Ends, RoleError> {
        let indexes = Indexes::at(tail);
        indexes.head.store(head, Ordering::Relaxed);
        let slots: Vec<_> = (0..capacity).map(|_| Payload(UnsafeCell::new(0_u64))).collect();
        let home = Home::boxed(indexes, slots.into_iter()).unwrap();
        let writes = End::claim(home.hold()?, None)?;
        Ok((writes, End::claim(home.hold()?, None)?))
    }

    #[test]
    fn the_ends_share_the_slots_out() {
        for start in [0, (1 << 32) - 2, u64::MAX - 3] {
            let (mut writes, mut reads) = ends(4, start, start).unwrap();
            assert_eq!((writes.ready(1, 4), reads.ready(1, 4)), (Ok(4), Err(Refused::NotYet)));
            writes.advance(3);
            assert_eq!((writes.ready(1, 4), reads.ready(1, 4)), (Ok(1), Ok(3)));
            assert_eq!(
                (writes.ready(2, 2), reads.ready(4, 4)),
                (Err(Refused::NotYet), Err(Refused::NotYet))
            );
            reads.advance(2);
            assert_eq!((writes.ready(2, 2), reads.ready(1, 1)), (Ok(3), Ok(1)));
        }
    }

    #[test]
    fn spans_cover_each_slot_once() {
        for start in [0, 5, u64::MAX - 2] {
            let (mut writes, _reads) = ends(8, start, start).unwrap();
            assert_eq!(writes.ready(8, 8), Ok(8));
            let [first, second] = writes.spans(1, 7);
            assert_eq!(first.len() + second.len(), 7);
            let addresses = |span: NonNull<[Payload<u64>]>| {
                (0..span.len()).map(move |i| span.cast::<u64>().as_ptr().wrapping_add(i))
            };
            let slots = (1..8).map(|i| writes.slot(i).cast::<u64>().as_ptr());
            assert!(slots.eq(addresses(first).chain(addresses(second))), "{start}");
        }
    }

    #[test]
    fn what_is_known_is_not_looked_up() {
        let (mut writes, reads) = ends(4, 0, 0).unwrap();
        // Damage, which only a look would find.
        reads.ring.head().head.store(77, Ordering::Relaxed);
        for left in (1..=4).rev() {
            assert_eq!(writes.ready(1, 1), Ok(left));
            writes.advance(1);
        }
        assert_eq!(writes.ready(1, 1), Err(Refused::Corrupt));
    }

    #[test]
    fn a_position_that_no_peer_has_is_damage_for_ever() {
        // Ours are 2 ahead of the consumer's.
        for head in [1, 5, 9, 1 << 32, 1 << 63, u64::MAX] {
            let (mut writes, mut reads) = ends(4, 2, 2).unwrap();
            assert_eq!(writes.ready(1, 4), Ok(4));
            writes.advance(2);
            let indexes = reads.ring.head();
            indexes.head.store(head, Ordering::Relaxed);
            assert_eq!(writes.ready(1, 4), Err(Refused::Corrupt), "{head}");
            indexes.head.store(2, Ordering::Relaxed);
            assert_eq!(writes.ready(1, 1), Err(Refused::Corrupt), "{head}");
            assert_eq!(reads.ready(1, 2), Ok(2));
            reads.ring.head().tail.store(3, Ordering::Relaxed);
            assert_eq!(reads.ready(1, 4), Err(Refused::Corrupt), "moved back");
        }
    }

    #[test]
    fn impossible_positions_are_no_ring() {
        for (tail, head) in [(5, 0), (0, 1), (0, u64::MAX - 4), (1 << 63, 0)] {
            assert_eq!(ends(4, tail, head).unwrap_err(), RoleError::Corrupt, "{tail} {head}");
        }
        assert!(ends(4, 1, u64::MAX - 2).is_ok(), "full, and wrapped around");
    }
}
