//! [`Consumer`]: the reading end.

use core::fmt;
use core::marker::PhantomData;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::record::{self, Header, WORD};
use super::{Batch, Peek, PopError, words};
use crate::ring::indexed::end::{End, Held, Reads};
use crate::ring::pollable::line::{Line, Watch};
use crate::ring::pollable::{ArmError, Armed, Arms};
use crate::ring::{Peer, RoleError, Trust, Trusted, Untrusted};

/// The reading end of a [`Ring`](super::Ring).
///
/// Dropping it closes the end: the producer is told when there is no room, and another consumer may attach and go on.
/// If this process dies, the same happens as soon as somebody asks the kernel.
///
/// `M` says whether it trusts the other side: see [`Ring::untrusted_consumer`](super::Ring::untrusted_consumer).
pub struct Consumer<'r, M: Trust = Trusted> {
    pub(super) end: End<'r, Reads, u64>,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Consumer<'static>: Send, Sync);
static_assertions::assert_impl_all!(Consumer<'static, Untrusted>: Send, Sync);

impl<'r, M: Trust> Consumer<'r, M> {
    pub(super) fn claim(ring: Held<'r, u64>, line: Option<Line>) -> Result<Self, RoleError> {
        Ok(Self { end: End::claim(ring, line)?, mode: PhantomData })
    }

    /// Copies the next record into the start of `buffer` and releases it. Never waits. Gives its tag and its length.
    ///
    /// # Errors
    ///
    /// [`PopError`]; [`BufferTooSmall`](PopError::BufferTooSmall) says how long the record is, and leaves it. Whether the
    /// producer is gone is only looked at when the ring is empty, and whether it is *dead* only when the ring has been
    /// empty for a thousand tries: see [`peer`](Self::peer) for a caller that sleeps between its tries.
    /// [`Disconnected`](PopError::Disconnected) comes after the last record.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::bytes::{PopError, Ring};
    ///
    /// let ring = Ring::create(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push(7, b"seven")?;
    /// let mut buffer = [0; 64];
    /// assert_eq!(consumer.pop(&mut buffer[..4]), Err(PopError::BufferTooSmall { len: 5 }));
    /// let (tag, len) = consumer.pop(&mut buffer)?;
    /// assert_eq!((tag, &buffer[..len]), (7, &b"seven"[..]));
    /// assert_eq!(consumer.pop(&mut buffer), Err(PopError::Empty));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop(&mut self, buffer: &mut [u8]) -> Result<(u32, usize), PopError> {
        let header = self.next()?;
        let Some(bytes) = buffer.get_mut(..header.len) else {
            return Err(PopError::BufferTooSmall { len: header.len });
        };
        words::get::<M>(&self.end, 0, bytes);
        self.end.advance(header.words() as u64);
        Ok((header.tag, header.len))
    }

    /// Copies the next record into a new `Vec` and releases it. Never waits. Gives its tag and its bytes.
    ///
    /// The allocation is as long as the record, so never longer than the ring, whoever wrote that length.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop), but [`OutOfMemory`](PopError::OutOfMemory) where the allocator has no room.
    #[cfg(feature = "alloc")]
    pub fn pop_vec(&mut self) -> Result<(u32, Vec<u8>), PopError> {
        let header = self.next()?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(header.len)
            .map_err(|_| PopError::OutOfMemory { len: header.len })?;
        bytes.resize(header.len, 0);
        words::get::<M>(&self.end, 0, &mut bytes);
        self.end.advance(header.words() as u64);
        Ok((header.tag, bytes))
    }

    /// How things stand with the producer. Asks the kernel, about 5 µs.
    ///
    /// It may change at any moment, except that what is dead stays dead until another process attaches. Records of a
    /// producer that is closed or dead are still in the ring, and can be popped.
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

    /// Whether every record is one slice: see [the module](super).
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.end.is_in_a_row()
    }

    /// All records that have been published by now, to be read one by one and released together, by one store.
    ///
    /// That is the fastest way through many short records, for it is the positions that travel between the processors.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`], [`Disconnected`](PopError::Disconnected) or [`Corrupt`](PopError::Corrupt), as
    /// [`pop`](Self::pop).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::bytes::Ring;
    ///
    /// let ring = Ring::create(4096)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// for line in ["one", "two", "three"] {
    ///     producer.push(0, line.as_bytes())?;
    /// }
    /// let mut letters = 0;
    /// let mut batch = consumer.batch()?;
    /// while let Some(line) = batch.next_record()? {
    ///     letters += line.len();
    /// }
    /// batch.release();
    /// assert_eq!(letters, 11);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn batch(&mut self) -> Result<Batch<'_, 'r, M>, PopError> {
        let all = self.end.capacity() as u64;
        // The least is one, and more than there can be is wanted: a look at what is there now.
        let words = self.end.ready(1, all).map_err(|refused| refused.pop())?;
        Ok(Batch::new(&mut self.end, words))
    }

    /// The header of the next record, all of which is there.
    #[inline]
    fn next(&mut self) -> Result<Header, PopError> {
        let words = self.end.ready(1, 1).map_err(|refused| refused.pop())?;
        header::<M>(&mut self.end, 0, words)
    }
}

impl<'r> Consumer<'r> {
    /// The next record where it lies, until it is released. Never waits.
    ///
    /// There is no such call for a consumer that does not trust: its peer could change what was read already.
    ///
    /// # Errors
    ///
    /// As [`batch`](Self::batch).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::bytes::Ring;
    ///
    /// let ring = Ring::create(4096)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push(7, b"seven")?;
    /// let peek = consumer.peek()?;
    /// assert_eq!((peek.record().tag(), peek.record().len()), (7, 5));
    /// assert_eq!(peek.record().as_slice(), Some(&b"seven"[..]));
    /// peek.release();
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn peek(&mut self) -> Result<Peek<'_, 'r>, PopError> {
        let header = self.next()?;
        Ok(Peek::new(&mut self.end, header))
    }
}

/// The header of the record at `record`, of which at most `words` words are there.
#[inline]
pub(super) fn header<M: Trust>(
    end: &mut End<'_, Reads, u64>,
    record: u64,
    words: u64,
) -> Result<Header, PopError> {
    match Header::from_word(words::header::<M>(end, record), words as usize) {
        Some(header) => Ok(header),
        None => Err(end.damaged().pop().into()),
    }
}

impl<M: Trust> Arms for Consumer<'_, M> {
    fn line(&self) -> Option<&Line> {
        self.end.line()
    }

    fn arm(&mut self, least: u64, watch: &mut Watch) -> Result<Armed, ArmError> {
        self.end.arm(least, watch)
    }
}

impl<M: Trust> fmt::Debug for Consumer<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
