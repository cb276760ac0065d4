//! [`Producer`]: the writing end.
//!
//! # Safety
//!
//! A slot is written only while it is the producer's: see [`end`](super::end). An untrusted
//! consumer may keep to nothing of this: payloads are then copied by accesses that may race, and all else is the handle's own.
#![expect(unsafe_code, reason = "writes slots that the positions make ours")]

use core::fmt;
use core::marker::PhantomData;

use bytemuck::Pod;

use super::batch::{self, Reservation};
use super::end::{End, Held, Writes};
use crate::ring::pollable::line::{Line, Watch};
use crate::ring::pollable::{ArmError, Armed, Arms};
use crate::ring::{Peer, PushError, RoleError, Trust, Trusted, Untrusted};

/// The writing end of a [`Ring`](super::Ring).
///
/// Dropping it closes the end: the consumer is told once it has popped what is in the ring, and another producer may
/// attach. If this process dies, the same happens as soon as somebody asks the kernel.
///
/// `M` says whether it trusts the other side: see [`Ring::untrusted_producer`](super::Ring::untrusted_producer).
pub struct Producer<'r, T: Pod + Send, M: Trust = Trusted> {
    pub(super) end: End<'r, Writes, T>,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Producer<'static, u64>: Send, Sync);
static_assertions::assert_impl_all!(Producer<'static, u64, Untrusted>: Send, Sync);

impl<'r, T: Pod + Send, M: Trust> Producer<'r, T, M> {
    pub(super) fn claim(ring: Held<'r, T>, line: Option<Line>) -> Result<Self, RoleError> {
        Ok(Self { end: End::claim(ring, line)?, mode: PhantomData })
    }

    /// Copies `message` into the next slot, if that is free. Never waits.
    ///
    /// # Errors
    ///
    /// The message comes back in a [`PushError`]. Whether the consumer is gone is only looked at when the ring is
    /// full, and whether it is *dead* only when the ring has been full for a thousand tries: see
    /// [`peer`](Self::peer) for a caller that sleeps between its tries.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PushError, indexed::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let mut producer = ring.producer()?;
    /// producer.push(1)?;
    /// assert_eq!(producer.push(2), Err(PushError::Full(2)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, message: T) -> Result<(), PushError<T>> {
        if let Err(refused) = self.end.ready(1, 1) {
            return Err(refused.push(message));
        }
        // SAFETY: the end keeps its slots alive.
        let slot = unsafe { self.end.slot(0).as_ref() };
        // SAFETY: the next slot is ours.
        slot.0.with_mut(|payload| unsafe { M::write(payload, message) });
        self.end.advance(1);
        Ok(())
    }

    /// Copies as many of `messages` as there is room for, from the first on, and says how many. Never waits.
    ///
    /// They are published all at once: if this process is killed meanwhile, the consumer gets all of them
    /// or none. (The [stamped](crate::ring::spsc) ring publishes them one by one.)
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), if there is no room at all. No messages are always pushed.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PushError, indexed::Ring};
    ///
    /// let ring = Ring::<u64>::create(4)?;
    /// let mut producer = ring.producer()?;
    /// assert_eq!(producer.push_slice(&[1, 2, 3])?, 3);
    /// assert_eq!(producer.push_slice(&[4, 5, 6])?, 1);
    /// assert_eq!(producer.push_slice(&[5, 6]), Err(PushError::Full(())));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_slice(&mut self, messages: &[T]) -> Result<usize, PushError<()>> {
        let Some(count) = self.room(messages.len())? else { return Ok(0) };
        // There are at least so many.
        let messages = messages.get(..count).unwrap_or_default();
        batch::write::<T, M>(&self.end, messages);
        self.end.advance(messages.len() as u64);
        Ok(messages.len())
    }

    /// How things stand with the consumer. Asks the kernel, about 5 µs.
    ///
    /// It may change at any moment, except that what is dead stays dead until another process attaches.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.end.peer()
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.end.capacity()
    }

    /// How many of `count` slots there are; `None` if none are asked for.
    #[inline(always)]
    fn room(&mut self, count: usize) -> Result<Option<usize>, PushError<()>> {
        match self.end.up_to(count) {
            Ok(found) => Ok(found),
            Err(refused) => Err(refused.push(())),
        }
    }
}

/// What lends slots out: only where the other side is trusted with them.
impl<'r, T: Pod + Send> Producer<'r, T> {
    /// Up to `count` free slots, at least one, to be filled where they lie. Never waits.
    ///
    /// Nothing is published before [`commit`](Reservation::commit), and then all at once.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), if there is no room at all.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::indexed::Ring;
    ///
    /// let ring = Ring::<u64>::create(4)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// let mut slots = producer.reserve(3)?;
    /// let (first, second) = slots.as_mut_slices();
    /// for (slot, number) in first.iter_mut().chain(second).zip(7..) {
    ///     *slot = number;
    /// }
    /// slots.commit(2); // We had messages for two of them.
    /// assert_eq!((consumer.pop()?, consumer.pop()?), (7, 8));
    /// assert!(consumer.pop().is_err());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn reserve(&mut self, count: usize) -> Result<Reservation<'_, 'r, T>, PushError<()>> {
        let Some(count) = self.room(count)? else { panic!("a reservation of no slots") };
        Ok(Reservation::new(&mut self.end, count))
    }
}

impl<T: Pod + Send, M: Trust> Arms for Producer<'_, T, M> {
    fn line(&self) -> Option<&Line> {
        self.end.line()
    }

    fn arm(&mut self, least: u64, watch: &mut Watch) -> Result<Armed, ArmError> {
        self.end.arm(least, watch)
    }
}

impl<T: Pod + Send, M: Trust> fmt::Debug for Producer<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
