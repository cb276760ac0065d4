//! [`FixedRing`]: a ring by value.
//!
//! # Safety
//!
//! The roles and the slots are atomics and payload cells that are reached through a [`Ring`] only.
#![expect(unsafe_code, reason = "zeroed plain data, and a statement about shared types")]

use core::fmt;

use bytemuck::Pod;
use ipc_core::Shareable;
use ipc_core::primitive::{AtomicU64, UnsafeCell};

use super::Ring;
use crate::layout::{Roles, Slot};

/// A ring of fixed capacity as a value, for a `static`, for an array of rings in a region, or
/// inside a structure of your own.
///
/// It is the very layout of every other ring: a header of 128 bytes, then `N` slots. Zeroed memory
/// is an empty one.
///
/// # Examples
///
/// One ring for each of eight workers, in one place of a region:
///
/// ```
/// use ipc_shm::{Plan, Region, ring::spsc::FixedRing};
///
/// let mut plan = Plan::new();
/// let inboxes = plan.array::<FixedRing<u64, 16>>(8)?;
/// let region = Region::planned(&plan)?;
///
/// let inbox = region.slice(inboxes)?[3].ring();
/// let (mut producer, mut consumer) = (inbox.producer()?, inbox.consumer()?);
/// producer.push(7)?;
/// assert_eq!(consumer.pop()?, 7);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[repr(C)]
pub struct FixedRing<T, const N: usize> {
    roles: Roles,
    slots: [Slot<T>; N],
}

// SAFETY: roles and slots are shareable; between them lies padding at most, which nobody reads.
unsafe impl<T: Pod + Send, const N: usize> Shareable for FixedRing<T, N> {}

static_assertions::assert_impl_all!(FixedRing<u64, 4>: Send, Sync, Shareable);
static_assertions::const_assert_eq!(size_of::<FixedRing<[u64; 7], 4>>(), 128 + 4 * 64);

impl<T: Pod + Send, const N: usize> FixedRing<T, N> {
    /// An empty ring. A capacity of 0 does not compile.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::spsc::FixedRing;
    ///
    /// static RING: FixedRing<u32, 8> = FixedRing::new();
    /// RING.ring().producer().unwrap().push(5).unwrap();
    /// assert_eq!(RING.ring().consumer().unwrap().pop(), Ok(5));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N > 0, "a ring holds at least one message") };
        Self { roles: Roles::new(), slots: [const { Self::empty() }; N] }
    }

    /// The ring, to claim its ends.
    ///
    /// Not by an end that does not trust the other one: where the value lies is not known here, and an untrusted peer
    /// might take the memory away ([`RoleError::NotSealed`](crate::ring::RoleError::NotSealed)). For that there is
    /// [`Ring::in_region`].
    #[must_use]
    pub fn ring(&self) -> Ring<'_, T> {
        const { assert!(N > 0, "a ring holds at least one message") };
        Ring::of(&self.roles, &self.slots)
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
