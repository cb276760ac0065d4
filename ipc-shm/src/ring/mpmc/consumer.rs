//! [`Consumer`]: a reading end.
//!
//! # Safety
//!
//! A payload is read only while the word of its slot names this handle as the one who reads: see [`producer`](super::producer).
#![expect(unsafe_code, reason = "reads payloads that the slot's word makes ours")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::Pod;
use ipc_core::primitive::Ordering;

use super::lease::Lease;
use super::member::{Effort, Found, Member, Seen};
use super::producer::{most_attempts, most_steps};
use super::ring::Held;
use super::table::Peers;
use super::word::State;
use crate::layout::{Commons, Slot};
use crate::ring::error::Refused;
use crate::ring::role::Party;
use crate::ring::waiting::Waits;
use crate::ring::{PopError, RoleError, Trust, Trusted, Untrusted};

/// A reading end of a [`Ring`](super::Ring), one of many. Each message is had by one of them.
///
/// Dropping it closes the end; a message that it has [leased](Self::lease) and not released goes to another one. If this
/// process dies, the same happens as soon as somebody asks the kernel.
///
/// In a forked child the copy of a handle is an end of its own: it takes a place at the ring when it is used first, and
/// while there is none, the ring is empty.
///
/// `M` says whether it trusts the others: see [`Ring::untrusted_consumer`](super::Ring::untrusted_consumer).
pub struct Consumer<'r, T: Pod + Send, M: Trust = Trusted> {
    member: Member<'r, T>,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Consumer<'static, u64>: Send, Sync);
static_assertions::assert_impl_all!(Consumer<'static, u64, Untrusted>: Send, Sync);

impl<'r, T: Pod + Send, M: Trust> Consumer<'r, T, M> {
    pub(super) fn join(ring: Held<'r, T>) -> Result<Self, RoleError> {
        Ok(Self { member: Member::join(ring, Party::Consumer)?, mode: PhantomData })
    }

    /// Copies the next message out and releases its slot. Never waits.
    ///
    /// If this process is killed meanwhile, another consumer gets the message, or it is gone with this one.
    ///
    /// # Errors
    ///
    /// [`PopError`]: `Empty` also while a message is being written, though there be others behind it; `Disconnected` if the
    /// ring is empty, all producers are closed or dead, and no other consumer has a message of which it may not be done.
    /// Whether anybody is dead is only asked when the ring has been empty for a thousand tries.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PopError, mpmc::Ring};
    ///
    /// let ring = Ring::<u64>::create(8)?;
    /// let (mut one, mut other) = (ring.consumer()?, ring.consumer()?);
    /// let mut producer = ring.producer()?;
    /// producer.push_slice(&[1, 2])?;
    /// drop(producer);
    /// assert_eq!((one.pop()?, other.pop()?), (1, 2));
    /// assert_eq!(one.pop(), Err(PopError::Disconnected));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        let position = self.claim().map_err(Refused::pop)?;
        // SAFETY: the member keeps its slots alive.
        let slot = unsafe { self.member.slot(position).as_ref() };
        // SAFETY: we have claimed the slot, so its payload is ours; any bytes are a `T`.
        let message = slot.payload.with(|payload| unsafe { M::read(payload) });
        self.release(position);
        Ok(message)
    }

    /// How things stand with the producers. Asks the kernel, about 5 µs for each that is dead, until one lives.
    ///
    /// What they have pushed is in the ring, whatever has become of them.
    ///
    /// # Examples
    ///
    /// See [`Producer::consumers`](super::Producer::consumers).
    #[must_use]
    pub fn producers(&self) -> Peers {
        self.member.table(Party::Producer).peers(true)
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.member.capacity()
    }

    /// Makes the next message ours.
    #[inline(always)]
    pub(super) fn claim(&mut self) -> Result<u64, Refused> {
        for _ in 0..most_attempts::<M>() {
            let found = self.find(Effort::Poll)?;
            if self.take(found) {
                return Ok(found.position);
            }
        }
        Err(Refused::NotYet)
    }

    /// Makes the message that was found ours, if it is still there.
    #[inline(always)]
    fn take(&mut self, found: Found) -> bool {
        let member = &mut self.member;
        // Everybody who takes part has one; and a number that had none would be no reason to panic.
        let Some(trail) = member.crowd().trails.get(member.owner().number()) else { return false };
        // First: should we die with it, this is where it will be looked for.
        trail.store(found.position, Ordering::Relaxed);
        let is_claimed = member.claim(found, member.laps().reading(found.position, member.owner()));
        // Of what was left behind nobody comes to know by a position.
        if is_claimed && found.seen == member.laps().ready(found.position) {
            member.passed(found.position);
        }
        is_claimed
    }

    /// What was ours is free for the next lap.
    #[inline(always)]
    fn release(&mut self, position: u64) {
        let member = &mut self.member;
        member.hand_on(position, member.laps().over(position));
        member.bell.ring();
        let next = member.position;
        member.pass_on(|| member.word(next) == member.laps().ready(next));
    }

    /// The next message.
    #[inline(always)]
    fn find(&mut self, effort: Effort) -> Result<Found, Refused> {
        let member = &self.member;
        if member.is_here() {
            let (position, seen) = (member.position, member.word(member.position));
            if seen == member.laps().ready(position) {
                return Ok(Found { position, seen });
            }
        }
        self.search(effort)
    }

    /// It is not where it was expected.
    #[cold]
    fn search(&mut self, effort: Effort) -> Result<Found, Refused> {
        if !self.member.is_here() {
            let is_heir = self.member.attend()?;
            if is_heir || self.member.is_away {
                // What our own trail leads to is lost as soon as it leads elsewhere.
                if let Some(found) = self.left_by(self.member.owner().number()) {
                    self.member.is_away = true;
                    return Ok(found);
                }
                self.member.is_away = false;
            }
        }
        let laps = self.member.laps();
        let mut position = self.member.start();
        let mut has_missed = false;
        for _ in 0..most_steps::<M>(laps.capacity()) {
            let seen = self.member.word(position);
            position = match Seen::of(laps, seen, position) {
                Seen::Now(State::Ready) => {
                    self.member.position = position;
                    return Ok(Found { position, seen });
                }
                Seen::Now(State::Reading) => position.wrapping_add(1),
                Seen::Now(State::Writing | State::Free) | Seen::Behind => {
                    self.member.position = position;
                    let is_due = effort == Effort::Poll
                        && !core::mem::replace(&mut has_missed, true)
                        && self.member.misses.is_due((0, position));
                    let effort = if is_due { Effort::Ask } else { effort };
                    if self.clears(Found { position, seen }, effort) {
                        continue;
                    }
                    return self.nothing(effort);
                }
                // Claimed by a consumer this time around, or else the last time.
                Seen::Ahead(ahead, State::Reading) => laps.later(position, ahead).wrapping_add(1),
                Seen::Ahead(ahead, _) => laps.later(position, ahead - 1).wrapping_add(1),
                Seen::Never => return Err(self.member.damaged()),
            };
        }
        Err(Refused::NotYet)
    }

    /// Frees a slot that a producer has claimed and not filled, if that one is dead. Whether it is another slot now.
    fn clears(&mut self, found: Found, effort: Effort) -> bool {
        let member = &mut self.member;
        if found.seen.state() != Some(State::Writing)
            || !member.table(Party::Producer).is_dead(found.seen.owner(), effort == Effort::Ask)
        {
            return false;
        }
        // Never for the same position: others may have seen that it was claimed.
        if member.claim(found, member.laps().over(found.position)) {
            member.bell.ring();
        }
        true
    }

    /// There is no message at the position to which we have come.
    fn nothing(&mut self, effort: Effort) -> Result<Found, Refused> {
        let asks = effort == Effort::Ask;
        if let Some(found) = self.orphan(effort == Effort::Poll, asks) {
            return Ok(found);
        }
        if self.member.table(Party::Producer).peers(asks) != Peers::Gone {
            return Err(Refused::NotYet);
        }
        // All are gone. What they have left is there by now, and what other consumers have in hand may come back.
        let (member, laps) = (&self.member, self.member.laps());
        let word = member.word(member.position);
        let is_nothing = match Seen::of(laps, word, member.position) {
            Seen::Now(State::Free) => true,
            Seen::Behind => false,
            _ => return Err(Refused::NotYet),
        };
        if let Some(found) = self.orphan(false, asks) {
            return Ok(found);
        }
        if is_nothing && !self.is_any_in_hand() {
            return Err(Refused::Disconnected);
        }
        Err(Refused::NotYet)
    }

    /// Whether a consumer has a message of which it may not be done.
    fn is_any_in_hand(&self) -> bool {
        let in_hand = |number| self.left_by(number).is_some();
        if self.member.table(Party::Consumer).numbers(false).any(in_hand) {
            return true;
        }
        // One that goes from the dead to an heir may be missed between two trails. But its slot says all the time that it
        // is read; and no other messages come.
        let is_read = |index| self.member.word(index).state() == Some(State::Reading);
        (0..self.member.laps().capacity()).any(is_read)
    }

    /// A message that a dead consumer had claimed: it lies where the trail of that one ends.
    ///
    /// Who asks, asks after all, and says it: the next one is found unasked.
    fn orphan(&self, only_left: bool, asks: bool) -> Option<Found> {
        let consumers = self.member.table(Party::Consumer);
        let mut orphan = None;
        for number in consumers.numbers(only_left) {
            let look = consumers.look_at(number);
            match self.left_by(number) {
                Some(found) if consumers.is_dead(found.seen.owner(), asks) => {
                    orphan = Some(found);
                    if !asks {
                        break;
                    }
                }
                Some(_) => {}
                None => look.found_nothing(),
            }
        }
        orphan
    }

    /// The message that the consumer of this number, now or before, has claimed and not released.
    fn left_by(&self, number: usize) -> Option<Found> {
        let member = &self.member;
        let position = member.crowd().trails.get(number)?.load(Ordering::Relaxed);
        let seen = member.word(position);
        let is_held = Seen::of(member.laps(), seen, position) == Seen::Now(State::Reading)
            && seen.owner().number() == number;
        is_held.then_some(Found { position, seen })
    }

    /// For [`Lease`]: the slot that it has.
    pub(super) fn leased(&self, position: u64) -> NonNull<Slot<T>> {
        self.member.slot(position)
    }

    /// For [`Lease`]: its message is done.
    pub(super) fn release_leased(&mut self, position: u64) {
        // A forked copy of a lease has nothing to release.
        if self.member.is_owner() {
            self.member.is_away = false;
            self.release(position);
        }
    }
}

impl<'r, T: Pod + Send> Consumer<'r, T> {
    /// The next message, where it lies. Never waits.
    ///
    /// It stays in the ring until [`release`](Lease::release): if this process dies before, or drops the handle, another consumer
    /// gets it; if it drops the lease alone, this consumer gets it again, next. So each message is handled at least once,
    /// whoever dies. While it is leased, the ring can go on by less than its capacity.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::mpmc::Ring;
    ///
    /// let ring = Ring::<u64>::create(8)?;
    /// let (mut one, mut other) = (ring.consumer()?, ring.consumer()?);
    /// ring.producer()?.push_slice(&[1, 2])?;
    /// let message = one.lease()?;
    /// assert_eq!(*message, 1);
    /// assert_eq!(other.pop()?, 2);
    /// // It comes to nothing: somebody else has to do it.
    /// drop(one);
    /// let message = other.lease()?;
    /// assert_eq!(*message, 1);
    /// message.release();
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn lease(&mut self) -> Result<Lease<'_, 'r, T>, PopError> {
        let position = self.claim().map_err(Refused::pop)?;
        Ok(self.lend(position))
    }

    /// The message that we have just claimed.
    #[inline]
    pub(super) fn lend(&mut self, position: u64) -> Lease<'_, 'r, T> {
        self.member.is_away = true;
        Lease::new(self, position)
    }
}

impl<T: Pod + Send, M: Trust> Waits for Consumer<'_, T, M> {
    const ME: Party = Party::Consumer;

    fn commons(&self) -> NonNull<Commons> {
        (&*self.member.crowd().commons).into()
    }

    fn glance(&self) -> bool {
        let position = self.member.start();
        self.member.word(position) == self.member.laps().ready(position)
    }

    fn look(&mut self, asks: bool) -> Result<(), Refused> {
        self.find(if asks { Effort::Ask } else { Effort::Look }).map(drop)
    }
}

impl<T: Pod + Send, M: Trust> Drop for Consumer<'_, T, M> {
    fn drop(&mut self) {
        self.member.leave(self.member.is_away);
    }
}

impl<T: Pod + Send, M: Trust> fmt::Debug for Consumer<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
