//! [`FixedRing`]: a ring by value.
//!
//! # Safety
//!
//! The positions and the slots are atomics and payload cells that are reached through a [`Ring`] only.
#![expect(unsafe_code, reason = "zeroed plain data, and a statement about shared types")]

use core::fmt;

use bytemuck::Pod;
use ipc_core::Shareable;
use ipc_core::primitive::{AtomicU64, UnsafeCell};

use super::Ring;
use crate::layout::{Crowd, Slot};

/// A ring of fixed capacity as a value, for a `static`, for an array of rings in a region, or inside a structure of
/// your own.
///
/// It is the very layout of every other ring of many: a head of 20 KiB, for all who may take part, then `N` slots. Zeroed memory is
/// an empty one. A capacity that is not a power of two does not compile.
///
/// # Examples
///
/// ```
/// use ipc_shm::ring::mpmc::FixedRing;
///
/// static RING: FixedRing<u32, 8> = FixedRing::new();
/// RING.ring().producer().unwrap().push_slice(&[5, 6]).unwrap();
/// assert_eq!(RING.ring().consumer().unwrap().pop(), Ok(5));
/// ```
#[repr(C)]
pub struct FixedRing<T, const N: usize> {
    crowd: Crowd,
    slots: [Slot<T>; N],
}

// SAFETY: head and slots are shareable; between them lies padding at most, which nobody reads.
unsafe impl<T: Pod + Send, const N: usize> Shareable for FixedRing<T, N> {}

static_assertions::assert_impl_all!(FixedRing<u64, 4>: Send, Sync, Shareable);
static_assertions::const_assert_eq!(size_of::<FixedRing<[u64; 7], 4>>(), 384 + 160 * 128 + 4 * 64);

impl<T: Pod + Send, const N: usize> FixedRing<T, N> {
    /// An empty ring.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N.is_power_of_two(), "a capacity is a power of two") };
        Self { crowd: Crowd::new(), slots: [const { Self::empty() }; N] }
    }

    /// The ring, to claim its ends.
    #[must_use]
    pub fn ring(&self) -> Ring<'_, T> {
        const { assert!(N.is_power_of_two(), "a capacity is a power of two") };
        Ring::of(&self.crowd, &self.slots)
    }

    const fn empty() -> Slot<T> {
        // SAFETY: plain data may have any bytes.
        let payload = UnsafeCell::new(unsafe { core::mem::zeroed() });
        Slot { sequence: AtomicU64::new(0), payload }
    }
}

impl<T: Pod + Send, const N: usize> Default for FixedRing<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Pod + Send, const N: usize> fmt::Debug for FixedRing<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring().fmt(f)
    }
}
