//! [`Consumer`]: the reading end.
//!
//! # Safety
//!
//! A slot is read only while it is the consumer's: see [`end`](super::end). Plain data may have any
//! bytes. An untrusted producer may keep to nothing of this: payloads are then copied by accesses that may race.
#![expect(unsafe_code, reason = "reads slots that the positions make ours")]

use core::fmt;
use core::marker::PhantomData;

use bytemuck::Pod;

use super::batch::{self, Chunk};
use super::end::{End, Held, Reads};
use crate::ring::pollable::line::{Line, Watch};
use crate::ring::pollable::{ArmError, Armed, Arms};
use crate::ring::{Peer, PopError, RoleError, Trust, Trusted, Untrusted};

/// The reading end of a [`Ring`](super::Ring).
///
/// Dropping it closes the end: the producer is told when the ring is full, and another consumer may attach and go on.
/// If this process dies, the same happens as soon as somebody asks the kernel.
///
/// `M` says whether it trusts the other side: see [`Ring::untrusted_producer`](super::Ring::untrusted_producer).
pub struct Consumer<'r, T: Pod + Send, M: Trust = Trusted> {
    pub(super) end: End<'r, Reads, T>,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Consumer<'static, u64>: Send, Sync);
static_assertions::assert_impl_all!(Consumer<'static, u64, Untrusted>: Send, Sync);

impl<'r, T: Pod + Send, M: Trust> Consumer<'r, T, M> {
    pub(super) fn claim(ring: Held<'r, T>, line: Option<Line>) -> Result<Self, RoleError> {
        Ok(Self { end: End::claim(ring, line)?, mode: PhantomData })
    }

    /// Copies the next message out and releases its slot. Never waits.
    ///
    /// # Errors
    ///
    /// [`PopError`]. Whether the producer is gone is only looked at when the ring is empty, and whether it is *dead*
    /// only when the ring has been empty for a thousand tries: see [`peer`](Self::peer) for a caller that sleeps
    /// between its tries. [`PopError::Disconnected`] comes after the last message.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PopError, indexed::Ring};
    ///
    /// let ring = Ring::<u64>::create(8)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push(1)?;
    /// drop(producer);
    /// assert_eq!(consumer.pop(), Ok(1));
    /// assert_eq!(consumer.pop(), Err(PopError::Disconnected));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        if let Err(refused) = self.end.ready(1, 1) {
            return Err(refused.pop());
        }
        // SAFETY: the end keeps its slots alive.
        let slot = unsafe { self.end.slot(0).as_ref() };
        // SAFETY: the next slot is ours; any bytes are a `T`.
        let message = slot.0.with(|payload| Ok(unsafe { M::read(payload) }));
        self.end.advance(1);
        message
    }

    /// Copies as many messages out as there are and `messages` has room for, and says how many. Never waits.
    ///
    /// Their slots are released all at once: if this process is killed before, the next consumer gets all of them
    /// again. (The [stamped](crate::ring::spsc) ring releases them one by one.)
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop), if there is no message at all. Into no room, none are popped.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PopError, indexed::Ring};
    ///
    /// let ring = Ring::<u64>::create(4)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push_slice(&[1, 2, 3])?;
    /// let mut messages = [0; 2];
    /// assert_eq!((consumer.pop_slice(&mut messages)?, messages), (2, [1, 2]));
    /// assert_eq!((consumer.pop_slice(&mut messages)?, messages[0]), (1, 3));
    /// assert_eq!(consumer.pop_slice(&mut messages), Err(PopError::Empty));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop_slice(&mut self, messages: &mut [T]) -> Result<usize, PopError> {
        let Some(count) = self.filled(messages.len())? else { return Ok(0) };
        // There is room for so many.
        let messages = messages.get_mut(..count).unwrap_or_default();
        batch::read::<T, M>(&self.end, messages);
        self.end.advance(messages.len() as u64);
        Ok(messages.len())
    }

    /// How things stand with the producer. Asks the kernel, about 5 µs.
    ///
    /// It may change at any moment, except that what is dead stays dead until another process attaches. Messages of a
    /// producer that is closed or dead are still in the ring, and can be popped.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.end.peer()
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.end.capacity()
    }

    /// How many of `count` messages there are; `None` if none are asked for.
    #[inline(always)]
    fn filled(&mut self, count: usize) -> Result<Option<usize>, PopError> {
        match self.end.up_to(count) {
            Ok(found) => Ok(found),
            Err(refused) => Err(refused.pop()),
        }
    }
}

/// What lends slots out: only where the other side is trusted with them.
impl<'r, T: Pod + Send> Consumer<'r, T> {
    /// Up to `most` messages, at least one, to be read where they lie. Never waits.
    ///
    /// They stay in the ring until [`release`](Chunk::release): whoever handles them before that, handles each at
    /// least once, whatever dies.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop), if there is no message at all.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::indexed::Ring;
    ///
    /// let ring = Ring::<u64>::create(4)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push_slice(&[1, 2, 3])?;
    /// let messages = consumer.peek(4)?;
    /// assert_eq!(messages.as_slices(), (&[1, 2, 3][..], &[][..]));
    /// messages.release(2);
    /// assert_eq!(consumer.pop()?, 3);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn peek(&mut self, most: usize) -> Result<Chunk<'_, 'r, T>, PopError> {
        let Some(count) = self.filled(most)? else { panic!("a look at no messages") };
        Ok(Chunk::new(&mut self.end, count))
    }
}

impl<T: Pod + Send, M: Trust> Arms for Consumer<'_, T, M> {
    fn line(&self) -> Option<&Line> {
        self.end.line()
    }

    fn arm(&mut self, least: u64, watch: &mut Watch) -> Result<Armed, ArmError> {
        self.end.arm(least, watch)
    }
}

impl<T: Pod + Send, M: Trust> fmt::Debug for Consumer<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
