//! [`Word`] and [`Entry`]: what a thread can sleep on.
//!
//! # Safety
//!
//! The one unsafe act makes a reference to half of a 64-bit atomic. The kernel gets its address, and this
//! program never reads or writes through it: its own accesses to those bytes are all of 64 bits.
#![expect(unsafe_code, reason = "the kernel's words have 32 bits, and some of ours 64")]

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// 32 bits at which the kernel can look: a whole word, or half of a longer one.
///
/// The halves are by significance, not by address.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use ipc_core::futex::{self, Word};
///
/// let word = AtomicU64::new(0);
/// assert_eq!(futex::wake(Word::High(&word), 1), 0);
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Word<'a> {
    /// All of a 32-bit word.
    Whole(&'a AtomicU32),
    /// The low 32 bits of a 64-bit word.
    Low(&'a AtomicU64),
    /// The high 32 bits of a 64-bit word.
    High(&'a AtomicU64),
}

static_assertions::assert_impl_all!(Word<'static>: Send, Sync);

impl<'a> From<&'a AtomicU32> for Word<'a> {
    #[inline]
    fn from(word: &'a AtomicU32) -> Self {
        Self::Whole(word)
    }
}

impl<'a> Word<'a> {
    /// What the kernel is given. The program itself must not read or write through it.
    #[inline]
    pub(super) fn for_kernel(self) -> &'a AtomicU32 {
        // SAFETY: the half of a live, aligned word is live and aligned; see the head of this file.
        let half = |word: &'a AtomicU64, at| unsafe {
            AtomicU32::from_ptr(word.as_ptr().cast::<u32>().wrapping_add(at))
        };
        let (low, high) = if cfg!(target_endian = "little") { (0, 1) } else { (1, 0) };
        match self {
            Self::Whole(word) => word,
            Self::Low(word) => half(word, low),
            Self::High(word) => half(word, high),
        }
    }

    /// Where the word is.
    #[inline]
    #[must_use]
    pub fn address(self) -> *const AtomicU32 {
        self.for_kernel()
    }

    fn load(self) -> u32 {
        match self {
            Self::Whole(word) => word.load(Ordering::SeqCst),
            // Truncation keeps the half that is meant.
            Self::Low(word) => word.load(Ordering::SeqCst) as u32,
            Self::High(word) => (word.load(Ordering::SeqCst) >> 32) as u32,
        }
    }
}

/// A word to sleep on, and the value that it must still have for the sleep to begin.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub(super) word: Word<'a>,
    pub(super) expected: u32,
}

static_assertions::assert_impl_all!(Entry<'static>: Send, Sync);

impl<'a> Entry<'a> {
    /// Sleep only while `word` is `expected`.
    ///
    /// Of a half the kernel compares just that half: a change of the other is not seen.
    #[must_use]
    pub fn new(word: impl Into<Word<'a>>, expected: u32) -> Self {
        Self { word: word.into(), expected }
    }

    /// What `futex_waitv` wants.
    pub(super) fn address(&self) -> *mut c_void {
        self.word.address().cast_mut().cast()
    }

    pub(super) fn has_changed(&self) -> bool {
        self.word.load() != self.expected
    }
}
