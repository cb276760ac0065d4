//! [`Producer`]: the writing end.

use core::fmt;
use core::marker::PhantomData;

use super::record::{self, Header, WORD};
use super::{PushError, Reservation, words};
use crate::ring::indexed::end::{End, Held, Writes};
use crate::ring::pollable::line::{Line, Watch};
use crate::ring::pollable::{ArmError, Armed, Arms};
use crate::ring::{Peer, RoleError, Trust, Trusted, Untrusted};

/// The writing end of a [`Ring`](super::Ring).
///
/// Dropping it closes the end: the consumer is told once it has popped what is in the ring, and another producer may
/// attach. If this process dies, the same happens as soon as somebody asks the kernel.
///
/// `M` says whether it trusts the other side: see [`Ring::untrusted_producer`](super::Ring::untrusted_producer).
pub struct Producer<'r, M: Trust = Trusted> {
    pub(super) end: End<'r, Writes, u64>,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Producer<'static>: Send, Sync);
static_assertions::assert_impl_all!(Producer<'static, Untrusted>: Send, Sync);

impl<'r, M: Trust> Producer<'r, M> {
    pub(super) fn claim(ring: Held<'r, u64>, line: Option<Line>) -> Result<Self, RoleError> {
        Ok(Self { end: End::claim(ring, line)?, mode: PhantomData })
    }

    /// Copies `bytes` into the ring, as one record. Never waits.
    ///
    /// # Errors
    ///
    /// [`PushError`], and nothing was pushed. Whether the consumer is gone is only looked at when there is no room, and
    /// whether it is *dead* only when there has been none for a thousand tries: see [`peer`](Self::peer) for a
    /// caller that sleeps between its tries.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::bytes::{PushError, Ring};
    ///
    /// let ring = Ring::create(64)?;
    /// let mut producer = ring.producer()?;
    /// producer.push(1, b"forty bytes, and a header of eight more.")?;
    /// assert_eq!(producer.push(2, b"one"), Ok(()));
    /// assert_eq!(producer.push(3, b""), Err(PushError::Full));
    /// assert_eq!(producer.push(4, &[0; 60]), Err(PushError::TooLong { len: 60, max: 56 }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, tag: u32, bytes: &[u8]) -> Result<(), PushError> {
        self.make_room(bytes.len())?;
        words::put::<M>(&mut self.end, 0, bytes);
        self.publish(Header { tag, len: bytes.len() });
        Ok(())
    }

    /// Copies all of `parts` into the ring, one behind the other, as one record. Never waits.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::bytes::Ring;
    ///
    /// let ring = Ring::create(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push_vectored(1, &[b"name: ", b"ring"])?;
    /// assert_eq!(consumer.pop_vec()?, (1, b"name: ring".to_vec()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn push_vectored(&mut self, tag: u32, parts: &[&[u8]]) -> Result<(), PushError> {
        let len = parts.iter().fold(0, |len: usize, part| len.saturating_add(part.len()));
        self.make_room(len)?;
        let mut at = 0;
        for part in parts {
            words::put::<M>(&mut self.end, at, part);
            at += part.len();
        }
        self.publish(Header { tag, len });
        Ok(())
    }

    /// How things stand with the consumer. Asks the kernel, about 5 µs.
    ///
    /// It may change at any moment, except that what is dead stays dead until another process attaches.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.end.peer()
    }

    /// How many bytes the ring has for records and their headers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.end.capacity() * WORD
    }

    /// How many bytes a record can have.
    #[must_use]
    pub fn max_record(&self) -> usize {
        record::max_len(self.end.capacity())
    }

    /// Whether every reservation is one slice: see [the module](super).
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.end.is_in_a_row()
    }

    /// How many words a record of `len` bytes takes, if it may be so long.
    #[inline]
    pub(in crate::ring) fn words(&self, len: usize) -> Result<u64, PushError> {
        let max = self.max_record();
        if len > max {
            return Err(PushError::TooLong { len, max });
        }
        Ok(record::words(len) as u64)
    }

    /// Room for a record of `len` bytes.
    #[inline]
    fn make_room(&mut self, len: usize) -> Result<(), PushError> {
        let words = self.words(len)?;
        // The header of an earlier one may be there already: then there is room for it, and not for all.
        self.end.ready(words, words).map_err(|refused| refused.push(()))?;
        Ok(())
    }

    /// The bytes are there.
    #[inline]
    fn publish(&mut self, header: Header) {
        words::put_header::<M>(&mut self.end, header.to_word());
        self.end.advance(header.words() as u64);
    }
}

impl<'r> Producer<'r> {
    /// Room for a record of up to `max_len` bytes, to be written where it lies. Never waits.
    ///
    /// There is no such call for a producer that does not trust: what it writes could be read, and changed, before it
    /// is complete.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Examples
    ///
    /// ```
    /// use core::fmt::Write as _;
    /// use ipc_shm::ring::bytes::Ring;
    ///
    /// let ring = Ring::create(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// let mut room = producer.reserve(40)?;
    /// write!(room, "{} of {}", 3, 10)?;
    /// room.commit(7);
    /// assert_eq!(consumer.pop_vec()?, (7, b"3 of 10".to_vec()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn reserve(&mut self, max_len: usize) -> Result<Reservation<'_, 'r>, PushError> {
        self.make_room(max_len)?;
        Ok(Reservation::new(&mut self.end, max_len))
    }
}

impl<M: Trust> Arms for Producer<'_, M> {
    fn line(&self) -> Option<&Line> {
        self.end.line()
    }

    fn arm(&mut self, least: u64, watch: &mut Watch) -> Result<Armed, ArmError> {
        self.end.arm(least, watch)
    }
}

impl<M: Trust> fmt::Debug for Producer<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
