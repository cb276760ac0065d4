//! [`Batch`], [`Peek`] and [`Record`]: records that are read where they lie.

use core::fmt;
use core::marker::PhantomData;

#[cfg(all(feature = "alloc", not(loom)))]
use alloc::vec::Vec;

use super::consumer::header;
use super::record::Header;
use super::{PopError, words};
use crate::ring::indexed::end::{End, Reads};
use crate::ring::{Trust, Trusted, Untrusted};

/// Records that are released together: see [`Consumer::batch`](super::Consumer::batch).
///
/// Dropping it, or dying, releases nothing: the next look gives the same records again.
pub struct Batch<'a, 'r, M: Trust = Trusted> {
    end: &'a mut End<'r, Reads, u64>,
    /// How many words had been published when it began.
    words: u64,
    /// The words of the records that were read.
    read: u64,
    count: usize,
    mode: PhantomData<M>,
}

static_assertions::assert_impl_all!(Batch<'static, 'static>: Send, Sync);
static_assertions::assert_impl_all!(Batch<'static, 'static, Untrusted>: Send, Sync);

impl<'a, 'r, M: Trust> Batch<'a, 'r, M> {
    pub(super) fn new(end: &'a mut End<'r, Reads, u64>, words: u64) -> Self {
        Self { end, words, read: 0, count: 0, mode: PhantomData }
    }

    /// Copies the next record into the start of `buffer`. Gives its tag and its length, or `None` if all have been
    /// read.
    ///
    /// # Errors
    ///
    /// [`PopError::BufferTooSmall`], and the record is still the next one; or [`PopError::Corrupt`].
    #[inline]
    pub fn copy_next(&mut self, buffer: &mut [u8]) -> Result<Option<(u32, usize)>, PopError> {
        let Some(header) = self.next()? else { return Ok(None) };
        let Some(bytes) = buffer.get_mut(..header.len) else {
            return Err(PopError::BufferTooSmall { len: header.len });
        };
        words::get::<M>(self.end, self.read, bytes);
        self.pass(header);
        Ok(Some((header.tag, header.len)))
    }

    /// How many records were read.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Gives the room of all records that were read back to the producer, by one store. The others stay in the ring.
    #[inline]
    pub fn release(self) {
        if self.read > 0 {
            self.end.advance(self.read);
        }
    }

    /// The header of the next record.
    #[inline]
    fn next(&mut self) -> Result<Option<Header>, PopError> {
        if self.read == self.words {
            // It began with at least one.
            return if self.words > 0 { Ok(None) } else { Err(PopError::Corrupt) };
        }
        let next = header::<M>(self.end, self.read, self.words - self.read);
        if next.is_err() {
            // Nothing is ours any more.
            (self.words, self.read) = (0, 0);
        }
        next.map(Some)
    }

    #[inline]
    fn pass(&mut self, header: Header) {
        self.read += header.words() as u64;
        self.count += 1;
    }
}

impl Batch<'_, '_> {
    /// The next record, or `None` if all have been read.
    ///
    /// # Errors
    ///
    /// [`PopError::Corrupt`].
    #[cfg(not(loom))]
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, PopError> {
        let Some(header) = self.next()? else { return Ok(None) };
        let at = self.read;
        self.pass(header);
        Ok(Some(Record::new(self.end, at, header)))
    }
}

impl<M: Trust> fmt::Debug for Batch<'_, '_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("count", &self.count).finish_non_exhaustive()
    }
}

/// The next record, until it is released: see [`Consumer::peek`](super::Consumer::peek).
///
/// Dropping it, or dying, releases nothing: the next look gives the same record again.
pub struct Peek<'a, 'r> {
    end: &'a mut End<'r, Reads, u64>,
    header: Header,
}

static_assertions::assert_impl_all!(Peek<'static, 'static>: Send, Sync);

impl<'a, 'r> Peek<'a, 'r> {
    pub(super) fn new(end: &'a mut End<'r, Reads, u64>, header: Header) -> Self {
        Self { end, header }
    }

    /// The record.
    #[cfg(not(loom))]
    #[must_use]
    #[inline]
    pub fn record(&self) -> Record<'_> {
        Record::new(self.end, 0, self.header)
    }

    /// Gives the room of the record back to the producer.
    #[inline]
    pub fn release(self) {
        self.end.advance(self.header.words() as u64);
    }
}

impl fmt::Debug for Peek<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tag, len) = (self.header.tag, self.header.len);
        f.debug_struct("Peek").field("tag", &tag).field("len", &len).finish_non_exhaustive()
    }
}

/// A record where it lies.
#[cfg(not(loom))]
#[derive(Clone, Copy)]
pub struct Record<'a> {
    tag: u32,
    slices: (&'a [u8], &'a [u8]),
}

#[cfg(not(loom))]
static_assertions::assert_impl_all!(Record<'static>: Send, Sync, Copy);

#[cfg(not(loom))]
impl<'a> Record<'a> {
    fn new(end: &'a End<'_, Reads, u64>, at: u64, header: Header) -> Self {
        Self { tag: header.tag, slices: words::slices(end, at, header.len) }
    }

    /// The number that it was pushed with.
    #[must_use]
    #[inline]
    pub fn tag(self) -> u32 {
        self.tag
    }

    /// How many bytes it has.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        self.slices.0.len() + self.slices.1.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its bytes in their order. The second slice is empty if the ring [is contiguous](super::Ring::is_contiguous),
    /// and often if not.
    #[must_use]
    #[inline]
    pub fn as_slices(self) -> (&'a [u8], &'a [u8]) {
        self.slices
    }

    /// Its bytes, if they are one slice: always where the ring [is contiguous](super::Ring::is_contiguous).
    #[must_use]
    #[inline]
    pub fn as_slice(self) -> Option<&'a [u8]> {
        match self.slices {
            (all, []) => Some(all),
            _ => None,
        }
    }

    /// A copy of its bytes.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        [self.slices.0, self.slices.1].concat()
    }
}

#[cfg(not(loom))]
impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("tag", &self.tag)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
