//! [`Producer`]: a writing end.
//!
//! # Safety
//!
//! A payload is written only while the word of its slot names this handle as the one who writes, which nobody else's
//! compare-exchange could have made of it, and which nobody takes back while the process lives. An untrusted peer may keep to
//! nothing of this: a payload is then copied by accesses that may race, and everything else that is used is this handle's own.
#![expect(unsafe_code, reason = "writes payloads that the slot's word makes ours")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::Pod;

use super::member::{Effort, Found, Member, Seen};
use super::ring::Held;
use super::table::Peers;
use super::word::State;
use crate::layout::Commons;
use crate::ring::error::Refused;
use crate::ring::role::Party;
use crate::ring::waiting::Waits;
use crate::ring::{PushError, RoleError, Trust, Trusted, Untrusted};

/// A writing end of a [`Ring`](super::Ring), one of many.
///
/// Dropping it closes the end. If this process dies, the same happens as soon as somebody asks the kernel.
///
/// In a forked child the copy of a handle is an end of its own: it takes a place at the ring when it is used first, and
/// while there is none, the ring is full.
///
/// `M` says whether it trusts the others: see [`Ring::untrusted_producer`](super::Ring::untrusted_producer).
pub struct Producer<'r, T: Pod + Send, M: Trust = Trusted> {
    member: Member<'r, T>,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Producer<'static, u64>: Send, Sync);
static_assertions::assert_impl_all!(Producer<'static, u64, Untrusted>: Send, Sync);

impl<'r, T: Pod + Send, M: Trust> Producer<'r, T, M> {
    pub(super) fn join(ring: Held<'r, T>) -> Result<Self, RoleError> {
        Ok(Self { member: Member::join(ring, Party::Producer)?, mode: PhantomData })
    }

    /// Copies `message` into the next slot, if that is free. Never waits.
    ///
    /// # Errors
    ///
    /// The message comes back in a [`PushError`]: `Full` also while a message of a lap ago is still being read, though there be
    /// room behind it; `Disconnected` if the ring is full and all consumers are closed or dead. Whether they are dead is only
    /// asked when the ring has been full for a thousand tries.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PushError, mpmc::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let (mut one, mut other) = (ring.producer()?, ring.producer()?);
    /// one.push(1)?;
    /// assert_eq!(other.push(2), Err(PushError::Full(2)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, message: T) -> Result<(), PushError<T>> {
        let position = match self.claim() {
            Ok(position) => position,
            Err(refused) => return Err(refused.push(message)),
        };
        let member = &mut self.member;
        // SAFETY: the member keeps its slots alive.
        let slot = unsafe { member.slot(position).as_ref() };
        // SAFETY: we have claimed the slot, so its payload is ours.
        slot.payload.with_mut(|payload| unsafe { M::write(payload, message) });
        let laps = member.laps();
        member.hand_on(position, laps.ready(position));
        member.passed(position);
        member.bell.ring();
        let next = position.wrapping_add(1);
        member.pass_on(|| member.word(next) == laps.free(next));
        Ok(())
    }

    /// How things stand with the consumers. Asks the kernel, about 5 µs for each that is dead, until one lives.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::mpmc::{Peers, Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let producer = ring.producer()?;
    /// assert_eq!(producer.consumers(), Peers::Absent);
    /// let (one, other) = (ring.consumer()?, ring.consumer()?);
    /// drop(one);
    /// assert_eq!(producer.consumers(), Peers::Present);
    /// drop(other);
    /// assert_eq!(producer.consumers(), Peers::Gone);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn consumers(&self) -> Peers {
        self.member.table(Party::Consumer).peers(true)
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.member.capacity()
    }

    /// Makes the next free slot ours.
    #[inline(always)]
    fn claim(&mut self) -> Result<u64, Refused> {
        for _ in 0..most_attempts::<M>() {
            let found = self.find(Effort::Poll)?;
            let member = &self.member;
            let claimed = member.laps().writing(found.position, member.owner());
            if member.claim(found, claimed) {
                return Ok(found.position);
            }
        }
        Err(Refused::NotYet)
    }

    /// The next free slot.
    #[inline(always)]
    fn find(&mut self, effort: Effort) -> Result<Found, Refused> {
        let member = &self.member;
        if member.is_here() {
            let (position, seen) = (member.position, member.word(member.position));
            if seen == member.laps().free(position) {
                return Ok(Found { position, seen });
            }
        }
        self.search(effort)
    }

    /// It is not where it was expected.
    #[cold]
    fn search(&mut self, effort: Effort) -> Result<Found, Refused> {
        if !self.member.is_here() {
            self.member.attend()?;
        }
        let laps = self.member.laps();
        let mut position = self.member.start();
        for _ in 0..most_steps::<M>(laps.capacity()) {
            let seen = self.member.word(position);
            position = match Seen::of(laps, seen, position) {
                Seen::Now(State::Free) => {
                    self.member.position = position;
                    return Ok(Found { position, seen });
                }
                Seen::Now(_) => position.wrapping_add(1),
                // Claimed this time around, or, if it is free, the last time.
                Seen::Ahead(ahead, State::Free) => laps.later(position, ahead - 1).wrapping_add(1),
                Seen::Ahead(ahead, _) => laps.later(position, ahead).wrapping_add(1),
                Seen::Behind => {
                    self.member.position = position;
                    return Err(self.full(effort));
                }
                Seen::Never => return Err(self.member.damaged()),
            };
        }
        Err(Refused::NotYet)
    }

    /// There is no free slot: what to say.
    fn full(&mut self, effort: Effort) -> Refused {
        let is_due = self.member.misses.is_due((0, self.member.position));
        let asks = effort == Effort::Ask || effort == Effort::Poll && is_due;
        match self.member.table(Party::Consumer).peers(asks) {
            Peers::Gone if self.is_full() => Refused::Disconnected,
            _ => Refused::NotYet,
        }
    }

    /// Somebody may have made room between our look and his end.
    fn is_full(&self) -> bool {
        let member = &self.member;
        Seen::of(member.laps(), member.word(member.position), member.position) == Seen::Behind
    }
}

/// How often what was found may be somebody else's a moment later. Each time somebody else has come further, unless he writes
/// there for its own sake.
pub(super) const fn most_attempts<M: Trust>() -> u64 {
    if M::HOSTILE { 64 } else { u64::MAX }
}

/// How many slots a search may look at, in a ring of so many. Among peers who keep to the protocol it always ends.
pub(super) const fn most_steps<M: Trust>(capacity: u64) -> u64 {
    if M::HOSTILE { 2 * capacity + 64 } else { u64::MAX }
}

impl<T: Pod + Send, M: Trust> Waits for Producer<'_, T, M> {
    const ME: Party = Party::Producer;

    fn commons(&self) -> NonNull<Commons> {
        (&*self.member.crowd().commons).into()
    }

    fn glance(&self) -> bool {
        let position = self.member.start();
        self.member.word(position) == self.member.laps().free(position)
    }

    fn look(&mut self, asks: bool) -> Result<(), Refused> {
        self.find(if asks { Effort::Ask } else { Effort::Look }).map(drop)
    }
}

impl<T: Pod + Send, M: Trust> Drop for Producer<'_, T, M> {
    fn drop(&mut self) {
        self.member.leave(false);
    }
}

impl<T: Pod + Send, M: Trust> fmt::Debug for Producer<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
