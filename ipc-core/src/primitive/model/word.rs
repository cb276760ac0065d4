//! The words on which the model's threads sleep, and the kernel's own accesses to them, which are steps of no
//! process.

use core::sync::atomic::Ordering;

use super::{AtomicU32, AtomicU64};

/// As [`crate::futex::Word`].
#[derive(Clone, Copy, Debug)]
pub enum Word<'a> {
    Whole(&'a AtomicU32),
    Low(&'a AtomicU64),
    High(&'a AtomicU64),
}

impl<'a> From<&'a AtomicU32> for Word<'a> {
    fn from(word: &'a AtomicU32) -> Self {
        Self::Whole(word)
    }
}

impl Word<'_> {
    pub(super) fn address(self) -> usize {
        match self {
            Self::Whole(word) => core::ptr::from_ref(word).addr(),
            Self::Low(word) => core::ptr::from_ref(word).addr(),
            Self::High(word) => core::ptr::from_ref(word).addr() + 4,
        }
    }

    /// The kernel's look at the word, which may be out of date: its own lock orders it with
    /// other calls into the kernel and with nothing else.
    pub(super) fn load(self) -> u32 {
        match self {
            Self::Whole(word) => word.kernel().load(Ordering::Relaxed),
            Self::Low(word) => word.kernel().load(Ordering::Relaxed) as u32,
            Self::High(word) => (word.kernel().load(Ordering::Relaxed) >> 32) as u32,
        }
    }

    /// The kernel's own read-modify-write operations.
    pub(super) fn fetch_or(self, bits: u32) {
        match self {
            Self::Whole(word) => _ = word.kernel().fetch_or(bits, Ordering::AcqRel),
            Self::Low(word) => _ = word.kernel().fetch_or(bits.into(), Ordering::AcqRel),
            Self::High(word) => _ = word.kernel().fetch_or(u64::from(bits) << 32, Ordering::AcqRel),
        }
    }

    pub(super) fn fetch_add(self, term: u32) {
        match self {
            Self::Whole(word) => _ = word.kernel().fetch_add(term, Ordering::AcqRel),
            Self::Low(_) => panic!("a sum in the low half would carry into the high one"),
            Self::High(word) => {
                _ = word.kernel().fetch_add(u64::from(term) << 32, Ordering::AcqRel)
            }
        }
    }
}

/// As [`crate::futex::Entry`].
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a>(Word<'a>, u32);

impl<'a> Entry<'a> {
    pub fn new(word: impl Into<Word<'a>>, expected: u32) -> Self {
        Self(word.into(), expected)
    }

    pub(super) fn address(&self) -> usize {
        self.0.address()
    }

    pub(super) fn matches(&self) -> bool {
        self.0.load() == self.1
    }
}
