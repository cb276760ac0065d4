//! A record as words: its header, and how many words it takes.

/// How many bytes a word has.
pub(super) const WORD: usize = size_of::<u64>();

/// The first word of a record.
///
/// ```text
/// offset  size  field   meaning
///      0     4  size    bytes of the record: this header's 8, and those of the message
///      4     4  tag     the user's
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: u32,
    /// Bytes of the message.
    pub(super) len: usize,
}

impl Header {
    /// `len` is at most [`max_len`] of some capacity.
    #[inline]
    pub(super) fn to_word(self) -> u64 {
        debug_assert!(self.len <= u32::MAX as usize - WORD, "a record fits into its header");
        bytemuck::cast([(self.len + WORD) as u32, self.tag])
    }

    /// The header that `word` is, where `words` words from it on have been published; `None` if no producer writes
    /// such a one.
    #[inline]
    pub(super) fn from_word(word: u64, words: usize) -> Option<Self> {
        let [size, tag]: [u32; 2] = bytemuck::cast(word);
        let header = Self { tag, len: (size as usize).checked_sub(WORD)? };
        (header.words() <= words).then_some(header)
    }

    /// How many words the record takes.
    #[inline]
    pub(super) fn words(self) -> usize {
        words(self.len)
    }
}

/// How many words a record of `len` bytes takes.
#[inline]
pub(super) fn words(len: usize) -> usize {
    1 + len.div_ceil(WORD)
}

/// How many bytes a record may have in a ring of `capacity` words, of which there is at least one.
#[inline]
pub(super) fn max_len(capacity: usize) -> usize {
    (capacity.saturating_sub(1)).saturating_mul(WORD).min(u32::MAX as usize - WORD)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_was_put_into_it() {
        for (tag, len) in [(0, 0), (7, 1), (u32::MAX, 8), (1, 9), (2, max_len(usize::MAX))] {
            let header = Header { tag, len };
            assert_eq!(Header::from_word(header.to_word(), header.words()), Some(header));
            assert_eq!(Header::from_word(header.to_word(), header.words() - 1), None, "{len}");
            assert_ne!(header.to_word(), 0);
        }
    }

    #[test]
    fn h06_a_size_that_no_producer_writes() {
        let word = |size: u32| bytemuck::cast([size, 7_u32]);
        for size in 0..8 {
            assert_eq!(Header::from_word(word(size), usize::MAX), None, "{size}");
        }
        assert_eq!(Header::from_word(word(8), 1), Some(Header { tag: 7, len: 0 }));
        assert_eq!(Header::from_word(word(16), 2), Some(Header { tag: 7, len: 8 }));
        for size in [17, 24, 1 << 16, u32::MAX - 7, u32::MAX] {
            assert_eq!(Header::from_word(word(size), 2), None, "{size}");
        }
    }

    #[test]
    fn the_longest_record_fills_the_ring() {
        for (capacity, longest) in
            [(1, 0), (2, 8), (512, 511 * 8), (1 << 40, u32::MAX as usize - 8)]
        {
            assert_eq!(max_len(capacity), longest);
            assert!(words(longest) <= capacity);
        }
    }
}
