//! [`InRegion`]: locks that are told that they lie in a region.
//!
//! # Safety
//!
//! The trait hands the promise of the constructors on.
#![expect(unsafe_code, reason = "the promise that a lock's memory stays")]

use ipc_core::Shareable;

use crate::{Mutex, Once, OnceLock, ReentrantMutex, RwLock};

/// A lock that has more to offer in memory that stays mapped: the kernel is told its address while somebody holds it,
/// and wakes a waiter when the holder dies.
///
/// This is what lets `ipc-shm` place any of them. A structure of several locks may implement it as well, by the
/// constructors of its parts.
///
/// # Examples
///
/// ```
/// use ipc_sync::{InRegion, Mutex};
///
/// fn in_static<L: InRegion>(value: L::Value) -> &'static L {
///     // SAFETY: leaked memory is never used for anything else.
///     Box::leak(Box::new(unsafe { L::in_region(value) }))
/// }
/// assert_eq!(*in_static::<Mutex<u32>>(7).lock().unwrap(), 7);
/// ```
pub trait InRegion: Shareable + Sized {
    /// What a new one starts with: what a mutex guards, for example.
    type Value;

    /// A new one, for memory that stays mapped.
    ///
    /// # Safety
    ///
    /// Wherever it is placed: for as long as any thread has locked it and not unlocked it, forgotten guards included,
    /// its memory is not used for anything else.
    unsafe fn in_region(value: Self::Value) -> Self;
}

impl<T: Shareable + Send> InRegion for Mutex<T> {
    type Value = T;

    unsafe fn in_region(value: T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::in_region(value) }
    }
}

impl<T: Shareable + Send> InRegion for ReentrantMutex<T> {
    type Value = T;

    unsafe fn in_region(value: T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::in_region(value) }
    }
}

impl<T: Shareable + Send, const READERS: usize> InRegion for RwLock<T, READERS> {
    type Value = T;

    unsafe fn in_region(value: T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::in_region(value) }
    }
}

impl InRegion for Once {
    type Value = ();

    unsafe fn in_region((): ()) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::in_region() }
    }
}

impl<T: Shareable + Send> InRegion for OnceLock<T> {
    type Value = ();

    unsafe fn in_region((): ()) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::in_region() }
    }
}
