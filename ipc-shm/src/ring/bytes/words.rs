//! The words of an end as bytes: copies into and out of a record, and references to it.
//!
//! A record is known by the offset of its header from the end's position, in words; its bytes begin behind it.
//!
//! # Safety
//!
//! Everything here is inside of words that [`End::ready`] has given to the end: whoever calls has asked for them, or
//! has found in them the record that it names, and `spans` looks in debug builds. Any bytes are plain data. An end that is
//! not trusting gets copies only.
#![expect(unsafe_code, reason = "copies to and from words that the positions make ours")]

#[cfg(not(loom))]
use core::ptr::NonNull;

use super::record::WORD;
use crate::ring::Trust;
#[cfg(not(loom))]
use crate::ring::indexed::end::Side;
use crate::ring::indexed::end::{End, Reads, Writes};

/// The first word of the record at `record`. It is read once.
#[inline]
pub(super) fn header<M: Trust>(end: &End<'_, Reads, u64>, record: u64) -> u64 {
    // SAFETY: the end's slots live as long as it does.
    let slot = unsafe { end.slot(record).as_ref() };
    // SAFETY: the word is ours; any bytes are a number.
    slot.0.with(|word| unsafe { M::read(word) })
}

/// Writes the first word of the record that comes next.
#[inline]
pub(super) fn put_header<M: Trust>(end: &mut End<'_, Writes, u64>, header: u64) {
    // SAFETY: the end's slots live as long as it does.
    let slot = unsafe { end.slot(0).as_ref() };
    // SAFETY: the word is ours.
    slot.0.with_mut(|word| unsafe { M::write(word, header) });
}

/// Copies `bytes` to byte `at` of the record that comes next.
#[cfg(not(loom))]
#[inline]
pub(super) fn put<M: Trust>(end: &mut End<'_, Writes, u64>, at: usize, bytes: &[u8]) {
    let [first, second] = pieces(end, 0, at, bytes.len());
    // The pieces are as long as the bytes, so this split is in bounds.
    let (before, after) = bytes.split_at(first.len());
    // SAFETY: as many bytes, and ours.
    unsafe { M::copy_in(before.as_ptr(), first.cast().as_ptr(), before.len()) };
    if !after.is_empty() {
        // SAFETY: as above.
        unsafe { M::copy_in(after.as_ptr(), second.cast().as_ptr(), after.len()) };
    }
}

/// Copies the first bytes of the record at `record` into `bytes`.
#[cfg(not(loom))]
#[inline]
pub(super) fn get<M: Trust>(end: &End<'_, Reads, u64>, record: u64, bytes: &mut [u8]) {
    let [first, second] = pieces(end, record, 0, bytes.len());
    let (before, after) = bytes.split_at_mut(first.len());
    // SAFETY: as many bytes, and ours.
    unsafe { M::copy_out(first.cast().as_ptr(), before.as_mut_ptr(), before.len()) };
    if !after.is_empty() {
        // SAFETY: as above.
        unsafe { M::copy_out(second.cast().as_ptr(), after.as_mut_ptr(), after.len()) };
    }
}

/// The first `len` bytes of the record at `record`.
#[cfg(not(loom))]
#[inline]
pub(super) fn slices<'a>(
    end: &'a End<'_, Reads, u64>,
    record: u64,
    len: usize,
) -> (&'a [u8], &'a [u8]) {
    let [first, second] = pieces(end, record, 0, len);
    // SAFETY: the words are ours, and a trusted producer does not write to them until they are released, for which
    // `end` must be borrowed again.
    let first = unsafe { first.as_ref() };
    // SAFETY: as above.
    let second = unsafe { second.as_ref() };
    (first, second)
}

/// The `len` bytes from byte `at` of the record that comes next.
#[cfg(not(loom))]
#[inline]
pub(super) fn slices_mut<'a>(
    end: &'a mut End<'_, Writes, u64>,
    at: usize,
    len: usize,
) -> (&'a mut [u8], &'a mut [u8]) {
    let [mut first, mut second] = pieces(end, 0, at, len);
    // SAFETY: the words are ours, and `end` is borrowed alone.
    let first = unsafe { first.as_mut() };
    // SAFETY: as above, and no byte is in both.
    let second = unsafe { second.as_mut() };
    (first, second)
}

/// Where the `len` bytes from byte `at` of the record at `record` lie: up to the end of the ring, and on from its start.
#[cfg(not(loom))]
#[inline]
fn pieces<S: Side>(
    end: &End<'_, S, u64>,
    record: u64,
    at: usize,
    len: usize,
) -> [NonNull<[u8]>; 2] {
    let (word, skip) = (1 + at / WORD, at % WORD);
    let [first, second] = end.spans(record + word as u64, (skip + len).div_ceil(WORD));
    let in_first = (first.len() * WORD).saturating_sub(skip).min(len);
    // SAFETY: there is a first word if there is something to skip, and it is longer than that.
    let start = unsafe { first.cast::<u8>().add(skip) };
    [
        NonNull::slice_from_raw_parts(start, in_first),
        NonNull::slice_from_raw_parts(second.cast(), len - in_first),
    ]
}

/// The model watches each word by itself.
#[cfg(loom)]
pub(super) fn put<M: Trust>(end: &mut End<'_, Writes, u64>, at: usize, bytes: &[u8]) {
    for (byte, at) in bytes.iter().zip(at..) {
        // SAFETY: the end's slots live as long as it does.
        let slot = unsafe { end.slot(1 + (at / WORD) as u64).as_ref() };
        // SAFETY: the word is ours.
        slot.0
            .with_mut(|word| unsafe { M::write(word.cast::<u8>().wrapping_add(at % WORD), *byte) });
    }
}

#[cfg(loom)]
pub(super) fn get<M: Trust>(end: &End<'_, Reads, u64>, record: u64, bytes: &mut [u8]) {
    for (byte, at) in bytes.iter_mut().zip(0..) {
        // SAFETY: the end's slots live as long as it does.
        let slot = unsafe { end.slot(record + 1 + (at / WORD) as u64).as_ref() };
        // SAFETY: the word is ours; any bytes are a number.
        *byte = slot.0.with(|word| unsafe { M::read(word.cast::<u8>().wrapping_add(at % WORD)) });
    }
}
