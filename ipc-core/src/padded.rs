//! Fixed padding for fields that different processors write.

use core::ops::{Deref, DerefMut};

/// A value alone on its own 128 bytes.
///
/// Two fields that different processors write must not share a cache line, and the pair of lines
/// that the hardware prefetches together is 128 bytes long on today's x86-64 and Arm server
/// processors. The size is the same everywhere, because it is part of a layout that programs
/// built for different processors may share; padding that varies would not do.
///
/// # Examples
///
/// ```
/// use ipc_core::Padded;
///
/// let cell = Padded::new(7_u64);
/// assert_eq!((*cell, size_of::<Padded<u64>>()), (7, 128));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C, align(128))]
pub struct Padded<T>(T);

impl<T> Padded<T> {
    /// Puts `value` on lines of its own.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Padded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

static_assertions::assert_impl_all!(Padded<u64>: Send, Sync);
static_assertions::const_assert_eq!(size_of::<Padded<[u8; 129]>>(), 256);
