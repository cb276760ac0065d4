//! Where one side stands in the ring: private to its handle.
//!
//! # Safety
//!
//! `next` points to a slot of the ring, or to its end when the lap is over; the slots live as long
//! as `keep`.
#![expect(unsafe_code, reason = "walks over the slots by pointer")]

use core::ptr::NonNull;

use bytemuck::Pod;

use super::slots::{Keep, RawRing};
use crate::layout::{RingHeader, Slot};

#[derive(Debug)]
pub(super) struct Cursor<'r, T> {
    /// The slot of the next message.
    next: NonNull<Slot<T>>,
    /// Behind the last slot.
    end: NonNull<Slot<T>>,
    /// How many messages are done.
    position: u64,
    ring: RawRing<T>,
    _keep: Keep<'r, T>,
}

// SAFETY: a cursor is a position; the slots are `Sync`, and what it keeps is `Send` and `Sync`.
unsafe impl<T: Pod + Send> Send for Cursor<'_, T> {}
// SAFETY: as for Send; a shared cursor gives out no slot.
unsafe impl<T: Pod + Send> Sync for Cursor<'_, T> {}

impl<'r, T> Cursor<'r, T> {
    /// Stands behind `position` messages.
    pub(super) fn new(ring: RawRing<T>, keep: Keep<'r, T>, position: u64) -> Self {
        let first = ring.slots().cast::<Slot<T>>();
        let index = (position % ring.capacity()) as usize;
        // SAFETY: the remainder is the index of a slot.
        let next = unsafe { first.add(index) };
        // SAFETY: the address behind the last slot is still one of the ring's.
        let end = unsafe { first.add(ring.slots().len()) };
        Self { next, end, position, ring, _keep: keep }
    }

    /// The slot of the next message, and the message's number.
    #[inline(always)]
    pub(super) fn next(&self) -> (NonNull<Slot<T>>, u64) {
        (self.next, self.position.wrapping_add(1))
    }

    /// The message is done. Returns how many are.
    #[inline(always)]
    pub(super) fn advance(&mut self) -> u64 {
        // SAFETY: `next` is a slot, so its successor is a slot or the end.
        self.next = unsafe { self.next.add(1) };
        if self.next == self.end {
            self.next = self.ring.slots().cast();
        }
        self.position = self.position.wrapping_add(1);
        self.position
    }

    /// From now on the next message has a number that no slot will ever carry.
    pub(super) fn poison(&mut self) {
        self.position ^= 1 << 63;
    }

    #[inline(always)]
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    #[inline(always)]
    pub(super) fn header(&self) -> &RingHeader {
        self.ring.header()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.ring.capacity()
    }
}
