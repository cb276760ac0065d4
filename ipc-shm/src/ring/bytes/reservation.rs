//! [`Reservation`]: a record that is being written where it lies.

use core::fmt;

use super::record::Header;
use super::{TooLong, words};
use crate::ring::Trusted;
use crate::ring::indexed::end::{End, Writes};

/// Room for a record, to be filled where it lies: see [`Producer::reserve`](super::Producer::reserve).
///
/// Fill it by [`write`](Self::write), or by the traits [`core::fmt::Write`] and `std::io::Write`, and publish what was
/// written by [`commit`](Self::commit); or fill [`as_mut_slices`](Self::as_mut_slices), and say by
/// [`advance`](Self::advance) how much of it counts.
///
/// Dropping it, or dying, publishes nothing.
pub struct Reservation<'a, 'r> {
    end: &'a mut End<'r, Writes, u64>,
    /// How many bytes there is room for.
    max: usize,
    written: usize,
}

static_assertions::assert_impl_all!(Reservation<'static, 'static>: Send, Sync);

impl<'a, 'r> Reservation<'a, 'r> {
    pub(super) fn new(end: &'a mut End<'r, Writes, u64>, max: usize) -> Self {
        Self { end, max, written: 0 }
    }

    /// How many bytes the record has so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.written
    }

    /// Whether nothing was written so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// How many more bytes there is room for.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.max - self.written
    }

    /// The room behind what was written, in its order. The second slice is empty if the ring
    /// [is contiguous](super::Ring::is_contiguous), and often if not.
    ///
    /// What it holds is old, but no secret of anybody: bytes of records of this ring.
    #[inline]
    #[cfg(not(loom))]
    pub fn as_mut_slices(&mut self) -> (&mut [u8], &mut [u8]) {
        words::slices_mut(self.end, self.written, self.remaining())
    }

    /// The next `len` bytes are a part of the record as they are.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if there is no room for so many, and nothing has changed.
    #[inline]
    pub fn advance(&mut self, len: usize) -> Result<(), TooLong> {
        if len > self.remaining() {
            return Err(TooLong { len: self.written.saturating_add(len), max: self.max });
        }
        self.written += len;
        Ok(())
    }

    /// Appends all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if there is no room for all, and none was appended.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let at = self.written;
        self.advance(bytes.len())?;
        words::put::<Trusted>(self.end, at, bytes);
        Ok(())
    }

    /// Publishes what was written as a record. What was reserved beyond that is as if it had not been.
    #[inline]
    pub fn commit(self, tag: u32) {
        let header = Header { tag, len: self.written };
        words::put_header::<Trusted>(self.end, header.to_word());
        self.end.advance(header.words() as u64);
    }
}

/// All or nothing: a text that does not fit as a whole is an error.
impl fmt::Write for Reservation<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes()).map_err(|TooLong { .. }| fmt::Error)
    }
}

/// As a slice does it: what fits is written, and when nothing does, that is 0 bytes.
#[cfg(feature = "std")]
impl std::io::Write for Reservation<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let fits = &bytes[..bytes.len().min(self.remaining())];
        match Self::write(self, fits) {
            Ok(()) => Ok(fits.len()),
            Err(TooLong { .. }) => Ok(0),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Reservation<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("len", &self.written)
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
