//! Batches: [`Reservation`] and [`Chunk`], which give out the slots themselves, and the copies of slices.
//!
//! # Safety
//!
//! A batch borrows its end alone, and its slots stay this end's until it is given away: see
//! [`end`](super::end). Plain data may have any bytes.
#![expect(unsafe_code, reason = "references to slots, and copies of them")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use bytemuck::Pod;

use super::end::{End, Reads, Writes};
use crate::layout::Payload;
use crate::ring::Trust;

/// Free slots of a ring, to be filled where they lie: see [`Producer::reserve`](super::Producer::reserve).
///
/// Dropping it, or dying, publishes nothing.
pub struct Reservation<'a, 'r, T: Pod + Send> {
    end: &'a mut End<'r, Writes, T>,
    count: usize,
}

static_assertions::assert_impl_all!(Reservation<'static, 'static, u64>: Send, Sync);

impl<'a, 'r, T: Pod + Send> Reservation<'a, 'r, T> {
    pub(super) fn new(end: &'a mut End<'r, Writes, T>, count: usize) -> Self {
        Self { end, count }
    }

    /// How many slots; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The slots in their order: up to the last one of the ring, and on from the first.
    ///
    /// The second slice is often empty. What the slots hold is old, but no secret of anybody: messages of this ring.
    #[cfg(not(loom))]
    pub fn as_mut_slices(&mut self) -> (&mut [T], &mut [T]) {
        let [first, second] = self.end.spans(0, self.count).map(messages);
        // SAFETY: the slots are ours, and we are borrowed alone.
        let first = unsafe { &mut *first.as_ptr() };
        // SAFETY: as above, and no slot is in both.
        let second = unsafe { &mut *second.as_ptr() };
        (first, second)
    }

    /// Puts `message` into slot `index`.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub fn set(&mut self, index: usize, message: T) {
        assert!(index < self.count, "slot {index} of {}", self.count);
        // SAFETY: the end's slots live as long as it does.
        let slot = unsafe { self.end.slot(index as u64).as_ref() };
        // SAFETY: it is one of the slots that are ours.
        slot.0.with_mut(|payload| unsafe { payload.write(message) });
    }

    /// Publishes the first `count` slots, all at once. The others are as if they had not been reserved.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[inline]
    pub fn commit(self, count: usize) {
        assert!(count <= self.count, "commit of {count} of {} slots", self.count);
        self.end.advance(count as u64);
    }
}

impl<T: Pod + Send> fmt::Debug for Reservation<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("len", &self.count).finish_non_exhaustive()
    }
}

/// Messages of a ring, to be read where they lie: see [`Consumer::peek`](super::Consumer::peek).
///
/// Dropping it, or dying, releases nothing: the next look gives the same messages again.
pub struct Chunk<'a, 'r, T: Pod + Send> {
    end: &'a mut End<'r, Reads, T>,
    count: usize,
    /// It lends messages, which not every type allows to several threads.
    lends: PhantomData<&'a T>,
}

static_assertions::assert_impl_all!(Chunk<'static, 'static, u64>: Send, Sync);

impl<'a, 'r, T: Pod + Send> Chunk<'a, 'r, T> {
    pub(super) fn new(end: &'a mut End<'r, Reads, T>, count: usize) -> Self {
        Self { end, count, lends: PhantomData }
    }

    /// How many messages; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The messages in their order: up to the last slot of the ring, and on from the first.
    ///
    /// The second slice is often empty.
    #[cfg(not(loom))]
    #[must_use]
    pub fn as_slices(&self) -> (&[T], &[T]) {
        let [first, second] = self.end.spans(0, self.count).map(messages);
        // SAFETY: the slots are ours, and nobody writes to them until they are released.
        let first = unsafe { &*first.as_ptr() };
        // SAFETY: as above.
        let second = unsafe { &*second.as_ptr() };
        (first, second)
    }

    /// A copy of message `index`, if there are so many.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        if index >= self.count {
            return None;
        }
        // SAFETY: the end's slots live as long as it does.
        let slot = unsafe { self.end.slot(index as u64).as_ref() };
        // SAFETY: it is one of the slots that are ours; any bytes are a `T`.
        Some(slot.0.with(|payload| unsafe { payload.read() }))
    }

    /// Gives the first `count` slots back to the producer, all at once. The other messages stay in the ring.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    #[inline]
    pub fn release(self, count: usize) {
        assert!(count <= self.count, "release of {count} of {} messages", self.count);
        self.end.advance(count as u64);
    }
}

impl<T: Pod + Send> fmt::Debug for Chunk<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.count).finish_non_exhaustive()
    }
}

/// Copies `messages` into the next slots of `end`, of which at least so many are its own.
#[inline]
pub(super) fn write<T: Pod + Send, M: Trust>(end: &End<'_, Writes, T>, messages: &[T]) {
    let [first, second] = end.spans(0, messages.len());
    // The spans are as long as the messages, so this split is in bounds.
    let (before, after) = messages.split_at(first.len());
    copy_in::<T, M>(before, first);
    if !after.is_empty() {
        copy_in::<T, M>(after, second);
    }
}

/// Copies the next slots of `end`, of which at least so many are its own, into `messages`.
#[inline]
pub(super) fn read<T: Pod + Send, M: Trust>(end: &End<'_, Reads, T>, messages: &mut [T]) {
    let [first, second] = end.spans(0, messages.len());
    let (before, after) = messages.split_at_mut(first.len());
    copy_out::<T, M>(first, before);
    if !after.is_empty() {
        copy_out::<T, M>(second, after);
    }
}

#[cfg(not(loom))]
fn messages<T>(slots: NonNull<[Payload<T>]>) -> NonNull<[T]> {
    // `Payload` is a transparent cell.
    NonNull::slice_from_raw_parts(slots.cast(), slots.len())
}

#[cfg(not(loom))]
#[inline]
fn copy_in<T: Pod, M: Trust>(from: &[T], to: NonNull<[Payload<T>]>) {
    // SAFETY: the callers' slots are theirs alone, and as many; nobody has references to them.
    unsafe { M::copy_in(from.as_ptr(), to.cast().as_ptr(), from.len()) };
}

#[cfg(not(loom))]
#[inline]
fn copy_out<T: Pod, M: Trust>(from: NonNull<[Payload<T>]>, to: &mut [T]) {
    // SAFETY: the callers' slots are theirs, and as many; any bytes are a `T`.
    unsafe { M::copy_out(from.cast().as_ptr(), to.as_mut_ptr(), to.len()) };
}

/// The model watches each slot by itself.
#[cfg(loom)]
fn copy_in<T: Pod, M: Trust>(from: &[T], to: NonNull<[Payload<T>]>) {
    // SAFETY: the slots live as long as their end.
    let slots = unsafe { to.as_ref() };
    for (slot, &message) in slots.iter().zip(from) {
        // SAFETY: the callers' slots are theirs alone.
        slot.0.with_mut(|payload| unsafe { M::write(payload, message) });
    }
}

#[cfg(loom)]
fn copy_out<T: Pod, M: Trust>(from: NonNull<[Payload<T>]>, to: &mut [T]) {
    // SAFETY: the slots live as long as their end.
    let slots = unsafe { from.as_ref() };
    for (slot, message) in slots.iter().zip(to) {
        // SAFETY: the callers' slots are theirs; any bytes are a `T`.
        *message = slot.0.with(|payload| unsafe { M::read(payload) });
    }
}
