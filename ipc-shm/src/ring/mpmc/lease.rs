//! [`Lease`]: a message that stays in the ring until it is done.
//!
//! # Safety
//!
//! The consumer is borrowed alone, and has claimed the slot, which it keeps alive: nobody writes there until it is released.
#![expect(unsafe_code, reason = "a reference to the payload of a slot that is ours")]

use core::fmt;
use core::marker::PhantomData;
#[cfg(not(loom))]
use core::ops::Deref;

use bytemuck::Pod;

use super::Consumer;

/// A message of a ring, to be read where it lies: see [`Consumer::lease`].
///
/// Dropping it, or dying, releases nothing.
#[must_use = "a lease that is dropped gives the same message again"]
pub struct Lease<'a, 'r, T: Pod + Send> {
    consumer: &'a mut Consumer<'r, T>,
    position: u64,
    /// It lends a message, which not every type allows to several threads.
    lends: PhantomData<&'a T>,
}

static_assertions::assert_impl_all!(Lease<'static, 'static, u64>: Send, Sync);

impl<'a, 'r, T: Pod + Send> Lease<'a, 'r, T> {
    pub(super) fn new(consumer: &'a mut Consumer<'r, T>, position: u64) -> Self {
        Self { consumer, position, lends: PhantomData }
    }

    /// The message is done, and its slot free.
    ///
    /// # Examples
    ///
    /// See [`Consumer::lease`].
    #[inline]
    pub fn release(self) {
        self.consumer.release_leased(self.position);
    }

    /// A copy of the message.
    #[must_use]
    pub fn get(&self) -> T {
        // SAFETY: the consumer keeps its slots alive.
        let slot = unsafe { self.consumer.leased(self.position).as_ref() };
        // SAFETY: its payload is ours.
        slot.payload.with(|payload| unsafe { payload.read() })
    }
}

#[cfg(not(loom))]
impl<T: Pod + Send> Deref for Lease<'_, '_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the consumer keeps its slots alive.
        let slot = unsafe { self.consumer.leased(self.position).as_ref() };
        // SAFETY: its payload is ours, and nobody writes to it while this is borrowed.
        slot.payload.with(|payload| unsafe { &*payload })
    }
}

impl<T: Pod + Send> fmt::Debug for Lease<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}
