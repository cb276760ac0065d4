//! [`FixedRing`]: a ring by value.
//!
//! # Safety
//!
//! It is an indexed ring by value, of which the same is said there.
#![expect(unsafe_code, reason = "a statement about a shared type")]

use core::fmt;

use ipc_core::Shareable;

use super::Ring;
use crate::ring::indexed;

/// A ring of fixed capacity as a value, for a `static`, for an array of rings in a region, or inside a structure of
/// your own.
///
/// It is the very layout of every other ring of bytes: a head of 384 bytes, then `WORDS` times 8 bytes. Zeroed memory
/// is an empty one. A number of words that is not a power of two does not compile.
///
/// # Examples
///
/// ```
/// use ipc_shm::ring::bytes::FixedRing;
///
/// static RING: FixedRing<64> = FixedRing::new();
/// RING.ring().producer().unwrap().push(1, b"hello").unwrap();
/// let mut buffer = [0; 5];
/// assert_eq!(RING.ring().consumer().unwrap().pop(&mut buffer), Ok((1, 5)));
/// assert_eq!((&buffer, RING.ring().capacity()), (b"hello", 512));
/// ```
#[repr(transparent)]
pub struct FixedRing<const WORDS: usize>(indexed::FixedRing<u64, WORDS>);

// SAFETY: a transparent form of what is shareable.
unsafe impl<const WORDS: usize> Shareable for FixedRing<WORDS> {}

static_assertions::assert_impl_all!(FixedRing<4>: Send, Sync, Shareable);

impl<const WORDS: usize> FixedRing<WORDS> {
    /// An empty ring.
    #[must_use]
    pub const fn new() -> Self {
        Self(indexed::FixedRing::new())
    }

    /// The ring, to claim its ends. It is never [contiguous](Ring::is_contiguous).
    #[must_use]
    pub fn ring(&self) -> Ring<'_> {
        let (indexes, words) = self.0.parts();
        Ring::of(indexes, words)
    }
}

impl<const WORDS: usize> Default for FixedRing<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> fmt::Debug for FixedRing<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring().fmt(f)
    }
}
