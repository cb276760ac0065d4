//! [`RawValue`]: plain data in shared memory, without a lock.
//!
//! # Safety
//!
//! The bytes are only ever accessed as atomic words, whose size is the alignment of the type, at
//! most 8 bytes: no race is undefined behaviour. Any bytes are a valid value of plain data.
#![expect(unsafe_code, reason = "accesses plain data as atomic words")]

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use bytemuck::Pod;
use ipc_core::Shareable;

/// Plain data that any process may read and write at any time.
///
/// Copies go word by word, a word being as large as the alignment of `T`, at most 8 bytes. So a
/// value of one word is never torn; a larger one may be, when one process reads while another
/// writes. Who needs more takes turns: by a [`Mutex`](ipc_sync::Mutex) around plain data, or by an
/// [`Atomic`](crate::Atomic) that says whose turn it is, changed with Release and read with
/// Acquire.
///
/// # Examples
///
/// ```
/// use ipc_shm::RawValue;
///
/// let point = RawValue::new([1.5_f64, 2.5]);
/// point.set([3.5, 4.5]);
/// assert_eq!(point.get(), [3.5, 4.5]);
/// ```
#[repr(transparent)]
pub struct RawValue<T: Pod>(UnsafeCell<T>);

// SAFETY: all access is atomic.
unsafe impl<T: Pod + Send> Sync for RawValue<T> {}
// SAFETY: plain data, and all access is atomic.
unsafe impl<T: Pod + Send> Shareable for RawValue<T> {}

static_assertions::assert_impl_all!(RawValue<u64>: Send, Sync, Shareable);

/// Calls `$each` with the type of atomic that fits the alignment of `$T`.
macro_rules! by_alignment {
    ($T:ty, $each:ident) => {
        match align_of::<$T>() {
            1 => $each!(AtomicU8),
            2 => $each!(AtomicU16),
            4 => $each!(AtomicU32),
            _ => $each!(AtomicU64),
        }
    };
}

impl<T: Pod> RawValue<T> {
    /// Wraps `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// A copy of the value.
    #[must_use]
    #[inline]
    pub fn get(&self) -> T {
        let mut copy = MaybeUninit::<T>::uninit();
        macro_rules! words {
            ($atomic:ty) => {
                for index in 0..size_of::<T>() / size_of::<$atomic>() {
                    // SAFETY: inside the value, whose size is a multiple of its alignment.
                    let from = unsafe { self.0.get().cast::<$atomic>().add(index) };
                    // SAFETY: aligned, alive, and accessed by atomics only.
                    let word = unsafe { &*from }.load(Ordering::Relaxed);
                    // SAFETY: as `from`, in the copy.
                    let to = unsafe { copy.as_mut_ptr().cast::<$atomic>().add(index) };
                    // SAFETY: inside the copy, which is ours.
                    unsafe { to.write(<$atomic>::new(word)) };
                }
            };
        }
        by_alignment!(T, words);
        // SAFETY: every word was written, and any bytes are plain data.
        unsafe { copy.assume_init() }
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: T) {
        macro_rules! words {
            ($atomic:ty) => {
                for index in 0..size_of::<T>() / size_of::<$atomic>() {
                    // SAFETY: inside the value, whose size is a multiple of its alignment.
                    let from = unsafe { (&raw const value).cast::<$atomic>().add(index) };
                    // SAFETY: plain data has no uninitialised byte, and an atomic is an integer.
                    let word = unsafe { from.read() }.into_inner();
                    // SAFETY: as `from`, in shared memory.
                    let to = unsafe { self.0.get().cast::<$atomic>().add(index) };
                    // SAFETY: aligned, alive, and accessed by atomics only.
                    unsafe { &*to }.store(word, Ordering::Relaxed);
                }
            };
        }
        by_alignment!(T, words);
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for RawValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawValue").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alignment() {
        let bytes = RawValue::new([1_u8, 2, 3]);
        bytes.set([4, 5, 6]);
        let (halves, words, doubles) =
            (RawValue::new([0x1234_u16; 3]), RawValue::new([7_u32; 5]), RawValue::new(u128::MAX));
        doubles.set(u128::MAX - 5);
        assert_eq!(bytes.get(), [4, 5, 6]);
        assert_eq!((halves.get(), words.get()), ([0x1234; 3], [7; 5]));
        assert_eq!(doubles.get(), u128::MAX - 5);
    }
}
