//! [`Trust`]: whether an end of a ring believes the other one.
//!
//! # Safety
//!
//! Copies are made where the caller says that there is room for them.
#![expect(unsafe_code, reason = "copies out of and into shared memory")]

use core::mem::MaybeUninit;

use bytemuck::Pod;

#[cfg(not(loom))]
use super::copy;

/// How far an end of a ring trusts whoever maps the same memory: see [the module](crate::ring#trust).
///
/// A type parameter of the ends, chosen by the side that takes one: [`Trusted`] or [`Untrusted`]. The layout is the
/// same, so the two ends of one ring may differ.
///
/// Nobody else can implement it:
///
/// ```compile_fail,E0277
/// struct Somewhat;
/// impl ipc_shm::ring::Trust for Somewhat {}
/// ```
pub trait Trust: sealed::Trust {}

/// The other side keeps to the protocol while it lives. It may die at any instruction.
///
/// Its payloads are copied as any other value, and where the ring's layout allows it, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Trusted {}

/// The other side may write anything, anywhere in the ring's memory, at any time.
///
/// Payloads are only copied, by accesses that may race, and every byte once; there are no references into the ring, so
/// what borrows from it does not exist for such an end.
#[derive(Clone, Copy, Debug)]
pub enum Untrusted {}

impl Trust for Trusted {}
impl Trust for Untrusted {}

static_assertions::assert_impl_all!(Trusted: Send, Sync);
static_assertions::assert_impl_all!(Untrusted: Send, Sync);

pub(in crate::ring) mod sealed {
    use super::{MaybeUninit, Pod};

    /// What the modes do differently.
    pub trait Trust {
        /// Damage that was found once is not forgotten even if the other side writes what the poisoned end looks for.
        const HOSTILE: bool;

        /// Copies `count` values out of shared memory.
        ///
        /// # Safety
        ///
        /// - `from` is shared memory, valid for reads of `count` values, and `to` private memory, valid for writes of them.
        /// - Unless the mode is hostile, nobody writes to the values at `from` meanwhile.
        unsafe fn copy_out<T: Pod>(from: *const T, to: *mut T, count: usize);

        /// Copies `count` values into shared memory.
        ///
        /// # Safety
        ///
        /// - `from` is private memory, valid for reads of `count` values, and `to` shared memory, valid for writes of them.
        /// - Unless the mode is hostile, nobody uses the values at `to` meanwhile.
        unsafe fn copy_in<T: Pod>(from: *const T, to: *mut T, count: usize);

        /// One value out of shared memory.
        ///
        /// # Safety
        ///
        /// As for [`copy_out`](Self::copy_out) of one value.
        #[inline(always)]
        unsafe fn read<T: Pod>(from: *const T) -> T {
            let mut value = MaybeUninit::uninit();
            // SAFETY: the caller vouches for `from`, and `value` is our own.
            unsafe { Self::copy_out(from, value.as_mut_ptr(), 1) };
            // SAFETY: all its bytes have been copied, and any bytes are a `T`.
            unsafe { value.assume_init() }
        }

        /// One value into shared memory.
        ///
        /// # Safety
        ///
        /// As for [`copy_in`](Self::copy_in) of one value.
        #[inline(always)]
        unsafe fn write<T: Pod>(to: *mut T, value: T) {
            // SAFETY: the caller vouches for `to`, and `value` is our own.
            unsafe { Self::copy_in(&raw const value, to, 1) };
        }
    }
}

impl sealed::Trust for Trusted {
    const HOSTILE: bool = false;

    #[inline(always)]
    unsafe fn copy_out<T: Pod>(from: *const T, to: *mut T, count: usize) {
        // SAFETY: the caller vouches for both; private and shared memory do not overlap.
        unsafe { to.copy_from_nonoverlapping(from, count) };
    }

    #[inline(always)]
    unsafe fn copy_in<T: Pod>(from: *const T, to: *mut T, count: usize) {
        // SAFETY: the caller vouches for both; private and shared memory do not overlap.
        unsafe { to.copy_from_nonoverlapping(from, count) };
    }
}

#[cfg(not(loom))]
impl sealed::Trust for Untrusted {
    const HOSTILE: bool = true;

    #[inline(always)]
    unsafe fn copy_out<T: Pod>(from: *const T, to: *mut T, count: usize) {
        // SAFETY: the caller vouches for both; any bytes are plain data, which has no padding.
        unsafe { copy::out(from, to, count) };
    }

    #[inline(always)]
    unsafe fn copy_in<T: Pod>(from: *const T, to: *mut T, count: usize) {
        // SAFETY: the caller vouches for both; any bytes are plain data, which has no padding.
        unsafe { copy::into(from, to, count) };
    }
}

/// The model's cells see accesses by their own pointers only: what it checks is who may access, not how.
#[cfg(loom)]
impl sealed::Trust for Untrusted {
    const HOSTILE: bool = true;

    unsafe fn copy_out<T: Pod>(from: *const T, to: *mut T, count: usize) {
        // SAFETY: the caller vouches for both.
        unsafe { to.copy_from_nonoverlapping(from, count) };
    }

    unsafe fn copy_in<T: Pod>(from: *const T, to: *mut T, count: usize) {
        // SAFETY: the caller vouches for both.
        unsafe { to.copy_from_nonoverlapping(from, count) };
    }
}
