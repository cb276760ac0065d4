//! [`Atomic`]: the atomics of `core` as shareable types.
//!
//! # Safety
//!
//! The wrapped types are atomic integers of a fixed size: any bytes are a value, and a shared
//! reference allows atomic writes only.
#![expect(unsafe_code, reason = "statements about atomics")]

use core::ops::Deref;
use core::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
};

use ipc_core::Shareable;

/// An atomic integer in shared memory.
///
/// It is the atomic of `core`, to which it dereferences. The wrapper exists because
/// [`Shareable`] covers all plain data, and Rust then lets no crate say it of the atomics
/// themselves.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use ipc_shm::Atomic;
///
/// let word = Atomic::new(AtomicU32::new(1));
/// assert_eq!(word.fetch_add(1, Ordering::Relaxed), 1);
/// ```
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Atomic<A: AtomicInteger>(A);

impl<A: AtomicInteger> Atomic<A> {
    /// Wraps an atomic.
    pub const fn new(atomic: A) -> Self {
        Self(atomic)
    }
}

impl<A: AtomicInteger> Deref for Atomic<A> {
    type Target = A;

    #[inline(always)]
    fn deref(&self) -> &A {
        &self.0
    }
}

/// The atomic integers of a fixed size.
pub trait AtomicInteger: sealed::Sealed + Sync + 'static {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! atomic_integers {
    ($($atomic:ident)*) => {$(
        impl sealed::Sealed for $atomic {}
        impl AtomicInteger for $atomic {}
        // SAFETY: an atomic integer of a fixed size, see the head of this file.
        unsafe impl Shareable for Atomic<$atomic> {}
        static_assertions::assert_impl_all!(Atomic<$atomic>: Send, Sync, Shareable);
    )*};
}

atomic_integers! { AtomicU8 AtomicU16 AtomicU32 AtomicU64 AtomicI8 AtomicI16 AtomicI32 AtomicI64 }
