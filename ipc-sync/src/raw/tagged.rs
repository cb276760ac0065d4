//! [`Tagged`]: a reference and two flags in one word.
//!
//! # Safety
//!
//! The address of what is referred to is a multiple of 4, so its two low bits are the flags'; without them the pointer
//! is the reference that it was made of.
#![expect(unsafe_code, reason = "a reference is made of a pointer again")]

use core::marker::PhantomData;
use core::ptr::NonNull;

/// A reference, with a tag of two bits in its low ones.
#[derive(Debug)]
pub(crate) struct Tagged<'a, T> {
    pointer: NonNull<T>,
    reference: PhantomData<&'a T>,
}

impl<'a, T> Tagged<'a, T> {
    const MASK: usize = {
        assert!(align_of::<T>() >= 4);
        3
    };

    #[inline]
    pub(crate) fn new(reference: &'a T, tag: usize) -> Self {
        let mut tagged = Self { pointer: reference.into(), reference: PhantomData };
        tagged.set_tag(tag);
        tagged
    }

    #[inline]
    pub(crate) fn get(&self) -> &'a T {
        let pointer = self.pointer.as_ptr().map_addr(|address| address & !Self::MASK);
        // SAFETY: the reference that `new` was given, which lives for 'a.
        unsafe { &*pointer }
    }

    #[inline]
    pub(crate) fn tag(&self) -> usize {
        self.pointer.addr().get() & Self::MASK
    }

    #[inline]
    pub(crate) fn set_tag(&mut self, tag: usize) {
        debug_assert!(tag <= Self::MASK);
        self.pointer = NonNull::from(self.get()).map_addr(|address| address | tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_and_the_reference_keep_apart() {
        let value = 7_u32;
        let mut tagged = Tagged::new(&value, 2);
        for tag in [0, 1, 3, 2] {
            tagged.set_tag(tag);
            assert_eq!((tagged.tag(), tagged.get()), (tag, &7));
        }
    }
}
