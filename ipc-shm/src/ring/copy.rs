//! Copies between private memory and memory that somebody else may write at this moment.
//!
//! A plain copy of such bytes is a data race, and the compiler may make two reads of one: then the bytes that were
//! checked are not the bytes that are used (Xen's XSA-155, and many like it). So each byte of the shared side is
//! accessed here once: by a relaxed atomic of up to eight bytes, or, 64 bytes and more, by vector instructions
//! that the compiler cannot look into. What such a copy yields while the other side writes is any mixture of old and
//! new bytes; it is private from then on, and does not change any more.
//!
//! By vector registers a copy takes as long as `memcpy`'s. By words it takes three to five times as long, because no
//! compiler joins atomics, and `rep movsb` is slower below 1 KiB and no faster above.
//!
//! # Safety
//!
//! Every access is inside of the `length` bytes that the caller vouches for, and each atomic is aligned: [`parts`] is
//! the only place that computes addresses.
#![expect(unsafe_code, reason = "copies of memory that may change meanwhile")]

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Copies `count` values from shared memory to private memory.
///
/// # Safety
///
/// - `from` is aligned, and valid for reads of `count` values; any bytes are a `T`.
/// - `to` is valid for writes of `count` values, and nobody else uses them.
#[inline(always)]
pub(super) unsafe fn out<T>(from: *const T, to: *mut T, count: usize) {
    let (length, align) = (size_of::<T>() * count, align_of::<T>());
    // SAFETY: the caller vouches for both.
    unsafe { parts::<Out>(from.cast_mut().cast(), to.cast(), length, align) };
}

/// Copies `count` values from private memory to shared memory.
///
/// # Safety
///
/// - `from` is valid for reads of `count` values, which have no padding; nobody writes to them meanwhile.
/// - `to` is aligned, and valid for writes of `count` values.
#[inline(always)]
pub(super) unsafe fn into<T>(from: *const T, to: *mut T, count: usize) {
    let (length, align) = (size_of::<T>() * count, align_of::<T>());
    // SAFETY: the caller vouches for both.
    unsafe { parts::<Into>(to.cast(), from.cast_mut().cast(), length, align) };
}

/// The bytes up to a multiple of 8, blocks, words, and the bytes behind them.
///
/// # Safety
///
/// - `shared` is a multiple of `align`, and valid for `length` bytes of what `D` does to it.
/// - So is `private`, which nobody else uses, but it may have any alignment.
#[inline(always)]
unsafe fn parts<D: Direction>(shared: *mut u8, private: *mut u8, length: usize, align: usize) {
    let mut done = 0;
    macro_rules! copy {
        ($word:ty) => {{
            // SAFETY: there are as many bytes left: each caller below has looked.
            let shared = unsafe { shared.add(done) };
            // SAFETY: as above.
            let private = unsafe { private.add(done) };
            // SAFETY: inside of both, and aligned: each caller below has gone up to such a multiple, or has seen that
            // what is left ends before it.
            unsafe { <$word>::copy::<D>(shared, private) };
        }};
    }
    // Known when this is compiled, for most types.
    let ahead = if align >= 8 { 0 } else { shared.addr().wrapping_neg() % 8 };
    if ahead & 1 != 0 && length - done >= 1 {
        copy!(AtomicU8);
        done += 1;
    }
    if ahead & 2 != 0 && length - done >= 2 {
        copy!(AtomicU16);
        done += 2;
    }
    if ahead & 4 != 0 && length - done >= 4 {
        copy!(AtomicU32);
        done += 4;
    }
    let count = (length - done) / blocks::SIZE;
    if count > 0 {
        // SAFETY: `done` is at most `length`.
        let shared = unsafe { shared.add(done) };
        // SAFETY: as above.
        let private = unsafe { private.add(done) };
        // SAFETY: so many blocks are left.
        unsafe { D::blocks(shared, private, count) };
        done += count * blocks::SIZE;
    }
    while length - done >= 8 {
        copy!(AtomicU64);
        done += 8;
    }
    if length - done >= 4 {
        copy!(AtomicU32);
        done += 4;
    }
    if length - done >= 2 {
        copy!(AtomicU16);
        done += 2;
    }
    if length - done >= 1 {
        copy!(AtomicU8);
    }
}

/// Which way a copy goes.
trait Direction {
    /// Whether shared memory is read, and not written.
    const OUT: bool;

    /// Copies `count` blocks, at least one.
    ///
    /// # Safety
    ///
    /// - `shared` is valid for so many blocks of what this direction does to it, and `private`, which nobody else uses.
    #[inline(always)]
    unsafe fn blocks(shared: *mut u8, private: *mut u8, count: usize) {
        let (from, to) = if Self::OUT { (shared, private) } else { (private, shared) };
        // SAFETY: the caller vouches for both.
        unsafe { blocks::copy(from, to, count) };
    }
}

/// From shared to private memory.
struct Out;
/// From private to shared memory.
struct Into;

impl Direction for Out {
    const OUT: bool = true;
}

impl Direction for Into {
    const OUT: bool = false;
}

/// What is copied by one access to shared memory.
trait Word {
    /// Copies one.
    ///
    /// # Safety
    ///
    /// - `shared` is aligned for it and valid for what `D` does to it, and `private`, which nobody else uses, is valid.
    unsafe fn copy<D: Direction>(shared: *mut u8, private: *mut u8);
}

macro_rules! word {
    ($($atomic:ty: $plain:ty),*) => {$(
        impl Word for $atomic {
            #[inline(always)]
            unsafe fn copy<D: Direction>(shared: *mut u8, private: *mut u8) {
                // SAFETY: aligned and valid; accesses that race with it are other processes', or atomic.
                let word = unsafe { <$atomic>::from_ptr(shared.cast()) };
                let private: *mut $plain = private.cast();
                if D::OUT {
                    // SAFETY: valid, and nobody else's.
                    unsafe { private.write_unaligned(word.load(Ordering::Relaxed)) };
                } else {
                    // SAFETY: valid, and nobody else's.
                    word.store(unsafe { private.read_unaligned() }, Ordering::Relaxed);
                }
            }
        }
    )*};
}

word!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

/// Blocks through the vector registers that every x86-64 processor has.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
mod blocks {
    /// Bytes of a block.
    pub(super) const SIZE: usize = 64;

    /// Copies `count` blocks, at least one. Each byte of `from` is read once, and each of `to` written once.
    ///
    /// # Safety
    ///
    /// - `from` is valid for reads of so many blocks, and `to` for writes.
    #[inline(always)]
    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, count: usize) {
        // SAFETY: the turns go over the blocks that the caller vouches for; the operands say what is changed.
        unsafe {
            core::arch::asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "dec {count}",
                "jnz 2b",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                count = inout(reg) count => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
    }
}

/// No blocks: words do it all.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
mod blocks {
    /// No value is as long.
    pub(super) const SIZE: usize = usize::MAX;

    /// Does nothing, and is never called.
    ///
    /// # Safety
    ///
    /// - None.
    pub(super) unsafe fn copy(_from: *const u8, _to: *mut u8, _count: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Every length and alignment, both ways, with the bytes around untouched.
    #[test]
    fn every_length_at_every_alignment() {
        const ROOM: usize = 256;
        let longest = if cfg!(miri) { 20 } else { 200 };
        let numbers: Vec<u8> = (0..ROOM).map(|i| i as u8 ^ 0x5a).collect();
        for (start, length) in (0..16).flat_map(|start| (0..=longest).map(move |l| (start, l))) {
            let mut shared = Aligned([0; ROOM]);
            let from = &numbers[..length];
            // SAFETY: both are valid for so many bytes, and bytes have no alignment.
            unsafe { into(from.as_ptr(), shared.0[start..].as_mut_ptr(), length) };
            assert_eq!(&shared.0[start..start + length], from);
            let around = shared.0[..start].iter().chain(&shared.0[start + length..]);
            assert!(around.into_iter().all(|byte| *byte == 0), "{start} {length}");

            let mut private = [0; ROOM];
            // SAFETY: both are valid for so many bytes, and bytes have no alignment.
            unsafe { out(shared.0[start..].as_ptr(), private[1..].as_mut_ptr(), length) };
            assert_eq!(&private[1..1 + length], from);
            assert!(private[0] == 0 && private[1 + length..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn values_of_every_alignment() {
        fn there_and_back<T: bytemuck::Pod + PartialEq + core::fmt::Debug>(value: T) {
            let mut shared = [T::zeroed(); 3];
            let mut back = T::zeroed();
            // SAFETY: a value of its own type, in an array of it.
            unsafe { into(&raw const value, &raw mut shared[1], 1) };
            // SAFETY: as above.
            unsafe { out(&raw const shared[1], &raw mut back, 1) };
            assert_eq!((back, shared[0], shared[2]), (value, T::zeroed(), T::zeroed()));
        }
        there_and_back(0xab_u8);
        there_and_back([1_u16, 2, 3]);
        there_and_back([1_u32, 2, 3]);
        there_and_back([7_u64; 7]);
        there_and_back([7_u64; 32]);
        there_and_back(1_u128 << 100);
    }

    #[repr(C, align(16))]
    struct Aligned([u8; 256]);
}
