//! Strings for `execve`: program names, arguments, environment.

use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr;

/// Zero-terminated strings, one behind the other in one allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// A string that holds a zero byte would end there.
#[derive(Debug)]
pub(super) struct HoldsZero;

impl Strings {
    /// With room for so many strings and bytes: growing by doubling is what costs most in building
    /// an environment.
    pub(super) fn with_capacity(strings: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), starts: Vec::with_capacity(strings) }
    }

    /// Appends the string made of `parts`.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> Result<(), HoldsZero> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(HoldsZero);
        }
        self.starts.push(self.bytes.len());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.push(0);
        Ok(())
    }

    /// Pointers to the strings, and a null pointer behind them. They hold as long as nothing is
    /// pushed.
    pub(super) fn pointers(&self) -> Vec<*const c_char> {
        let pointer = |start: &usize| self.bytes[*start..].as_ptr().cast();
        self.starts.iter().map(pointer).chain([ptr::null()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_with_zero_and_refuse_one_inside() {
        let mut strings = Strings::default();
        strings.push(&[b"a", b"=", b"bc"]).expect("no zero");
        strings.push(&[]).expect("no zero");
        assert!(strings.push(&[b"x", b"y\0"]).is_err());
        assert_eq!(strings.bytes, b"a=bc\0\0");
        let pointers = strings.pointers();
        assert_eq!(pointers.len(), 3);
        assert_eq!(pointers[1], strings.bytes[5..].as_ptr().cast());
        assert!(pointers[2].is_null());
    }
}
