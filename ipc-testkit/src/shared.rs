//! Memory that every process forked from this one sees, at the same address.
//!
//! # Safety
//!
//! A [`Shared`] is a `MAP_SHARED` mapping that lives until it is dropped, between two guard pages, holding one valid `T`
//! from construction on. Others read and write it at any moment, so only `T: Sync` is lent out as `&T`, and the raw bytes
//! are only ever touched as atomics.

#![expect(unsafe_code, reason = "mmap, and a typed view of the mapping")]

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;

/// A `T` in shared memory, between two guard pages, mapped before the first fork and never moved.
///
/// The `T` is not dropped: processes that still use it may outlive the one that made it.
pub struct Shared<T> {
    value: NonNull<T>,
    extent: Extent,
    map: NonNull<u8>,
    map_len: usize,
}

/// A range of shared bytes that can be hashed, saved and restored.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    base: NonNull<u64>,
    words: usize,
}

const PAGE: usize = 4096;

impl<T: Sync> Shared<T> {
    /// Maps memory for a `T` and moves `value` there.
    ///
    /// # Errors
    ///
    /// The error of `mmap` or `mprotect`.
    ///
    /// # Panics
    ///
    /// If `T` needs more than page alignment.
    pub fn new(value: T) -> io::Result<Self> {
        assert!(align_of::<T>() <= PAGE, "no type in shared memory is aligned beyond a page");
        let len = size_of::<T>().max(8).next_multiple_of(PAGE);
        let map_len = len + 2 * PAGE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let map =
            unsafe { libc::mmap(core::ptr::null_mut(), map_len, libc::PROT_NONE, flags, -1, 0) };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast::<u8>()).expect("mmap never returns page zero");
        // SAFETY: the mapping is three pages or longer.
        let base = unsafe { map.add(PAGE) };
        // SAFETY: [base, base + len) lies inside the mapping just made.
        if unsafe { libc::mprotect(base.as_ptr().cast(), len, libc::PROT_READ | libc::PROT_WRITE) }
            != 0
        {
            return Err(io::Error::last_os_error());
        }
        let value_at = base.cast::<T>();
        // SAFETY: the page-aligned, writable range is large enough for a `T`, and nobody else knows it yet.
        unsafe { value_at.write(value) };
        let extent = Extent { base: base.cast(), words: size_of::<T>().div_ceil(8) };
        Ok(Self { value: value_at, extent, map, map_len })
    }

    /// Puts `value` in place of the present one, which is not dropped.
    ///
    /// # Safety
    ///
    /// - No process uses the present value meanwhile or keeps a reference into it.
    pub unsafe fn replace(&self, value: T) {
        // SAFETY: the place is valid for writes, and the caller promised that nobody looks.
        unsafe { self.value.write(value) };
    }

    /// The bytes of the value.
    pub fn extent(&self) -> Extent {
        self.extent
    }
}

impl<T: Sync> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping holds a valid `T` until `self` is dropped, and `T: Sync` may be shared.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`; every reference into it borrowed from `self`.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.map_len) };
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("extent", &self.extent).finish_non_exhaustive()
    }
}

impl Extent {
    /// The `len` bytes from `base`.
    ///
    /// # Panics
    ///
    /// If `base` is not aligned to eight bytes, or `len` is not a multiple of eight.
    ///
    /// # Safety
    ///
    /// - The bytes are a readable and writable `MAP_SHARED` mapping for as long as the extent or a copy of it is used.
    /// - All access to them is atomic or happens while the harness does not look (it looks while a victim is stopped).
    pub unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        assert!(base.addr().get() % 8 == 0, "an extent begins at a multiple of eight");
        assert!(len % 8 == 0, "an extent is a whole number of words");
        Self { base: base.cast(), words: len / 8 }
    }

    /// The words that hold `part`, a part of what the extent covers.
    ///
    /// # Panics
    ///
    /// If `part` is not inside the extent.
    pub fn narrow<U>(&self, part: &U) -> Self {
        let offset = core::ptr::from_ref(part).addr().checked_sub(self.base.addr().get());
        let offset = offset.expect("the part is inside the extent");
        let (first, end) = (offset / 8, (offset + size_of::<U>()).div_ceil(8));
        assert!(end <= self.words, "the part is inside the extent");
        // SAFETY: `first` is at most the end of the extent.
        Self { base: unsafe { self.base.add(first) }, words: end - first }
    }

    /// Number of 64-bit words.
    pub fn words(&self) -> usize {
        self.words
    }

    /// The `index`-th word.
    ///
    /// # Panics
    ///
    /// If `index` is out of range.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words);
        // SAFETY: the index was checked, and the extent is mapped (`new`'s contract, or `Shared` rounds up to pages).
        let word = unsafe { self.base.add(index) };
        // SAFETY: aligned, mapped, and used by nobody but as atomics while we look.
        unsafe { AtomicU64::from_ptr(word.as_ptr()) }
    }

    /// The address of the `index`-th word.
    ///
    /// # Panics
    ///
    /// If `index` is out of range.
    pub fn address(&self, index: usize) -> u64 {
        self.word(index).as_ptr().addr() as u64
    }

    /// A hash of the bytes: equal images have equal hashes.
    pub fn hash(&self) -> u64 {
        (0..self.words).fold(0xcbf2_9ce4_8422_2325, |h: u64, i| {
            (h ^ self.word(i).load(Ordering::Relaxed))
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(17)
        })
    }

    /// A copy of the bytes.
    pub fn save(&self) -> Vec<u64> {
        (0..self.words).map(|i| self.word(i).load(Ordering::Relaxed)).collect()
    }

    /// Writes back what [`save`](Self::save) returned.
    pub fn restore(&self, image: &[u64]) {
        for (i, word) in image.iter().enumerate() {
            self.word(i).store(*word, Ordering::Relaxed);
        }
    }
}
