//! Strings for `execve`: program names, arguments, environment.

use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr;

/// Lists of zero-terminated strings, all in one allocation: an executed program finds the caches
/// cold, and each allocation more is felt.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// Where each string begins, and [`END`] behind the last one of each list.
    starts: Vec<usize>,
}

/// The end of a list, in place of a string.
const END: usize = usize::MAX;

/// A string that holds a zero byte would end there.
#[derive(Debug)]
pub(super) struct HoldsZero;

impl Strings {
    /// With room for so many strings and bytes: growing by doubling is what costs most in building
    /// an environment.
    pub(super) fn with_capacity(strings: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), starts: Vec::with_capacity(strings) }
    }

    /// Appends the string made of `parts` to the list. One that is refused spoils the list.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> Result<(), HoldsZero> {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        if self.bytes[start..].contains(&0) {
            return Err(HoldsZero);
        }
        self.bytes.push(0);
        self.starts.push(start);
        Ok(())
    }

    /// Ends the list, and says where the next one will begin among [`pointers`](Self::pointers).
    pub(super) fn end_list(&mut self) -> usize {
        self.starts.push(END);
        self.starts.len()
    }

    /// Pointers to the strings, and a null pointer behind each list. They hold as long as nothing
    /// is pushed.
    pub(super) fn pointers(&self) -> Vec<*const c_char> {
        let pointer = |start: &usize| match *start {
            END => ptr::null(),
            start => self.bytes[start..].as_ptr().cast(),
        };
        self.starts.iter().map(pointer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_with_zero_and_lists_with_null() {
        let mut strings = Strings::default();
        strings.push(&[b"a", b"=", b"bc"]).expect("no zero");
        strings.push(&[]).expect("no zero");
        assert_eq!(strings.end_list(), 3);
        assert_eq!(strings.end_list(), 4);
        strings.push(&[b"d"]).expect("no zero");
        assert_eq!(strings.end_list(), 6);
        assert_eq!(strings.bytes, b"a=bc\0\0d\0");
        let at = |start: usize| strings.bytes[start..].as_ptr().cast();
        let end = ptr::null();
        assert_eq!(strings.pointers(), [at(0), at(5), end, end, at(6), end]);
    }

    #[test]
    fn zero_inside_is_refused() {
        for parts in [&[&b"x"[..], b"y\0"][..], &[b"\0"], &[b"", b"\0z"]] {
            assert!(Strings::default().push(parts).is_err(), "{parts:?}");
        }
    }
}
