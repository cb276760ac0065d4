//! Where one side stands in the ring: private to its handle.
//!
//! # Safety
//!
//! `next` points to a slot of the ring; the slots live as long as `ring`.
#![expect(unsafe_code, reason = "walks over the slots by pointer")]

use core::ptr::NonNull;

use bytemuck::Pod;

use super::slots::{Held, Position};
use crate::layout::{LAP, Roles, Slot};

#[derive(Debug)]
pub(super) struct Cursor<'r, T> {
    /// The slot of the next message.
    next: NonNull<Slot<T>>,
    /// Behind the last slot.
    end: NonNull<Slot<T>>,
    /// The sequence of a slot that is free on this lap.
    free: u64,
    ring: Held<'r, T>,
}

// SAFETY: a cursor is a position; the slots are `Sync`, and what it keeps is `Send` and `Sync`.
unsafe impl<T: Pod + Send> Send for Cursor<'_, T> {}
// SAFETY: as for Send; a shared cursor gives out no slot.
unsafe impl<T: Pod + Send> Sync for Cursor<'_, T> {}

impl<'r, T> Cursor<'r, T> {
    pub(super) fn new(ring: Held<'r, T>, position: Position) -> Self {
        let first = ring.slots().cast::<Slot<T>>();
        // SAFETY: a position has the index of a slot.
        let next = unsafe { first.add(position.index) };
        // SAFETY: the address behind the last slot is still one of the ring's.
        let end = unsafe { first.add(ring.slots().len()) };
        Self { next, end, free: position.lap.wrapping_mul(LAP), ring }
    }

    /// The slot of the next message, and its sequence while it is free.
    #[inline(always)]
    pub(super) fn next(&self) -> (NonNull<Slot<T>>, u64) {
        (self.next, self.free)
    }

    /// The message is done.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        // SAFETY: `next` is a slot, so its successor is a slot or the end.
        self.next = unsafe { self.next.add(1) };
        if self.next == self.end {
            self.next = self.ring.slots().cast();
            self.free = self.free.wrapping_add(LAP);
        }
    }

    /// From now on the next slot has a sequence that no ring comes to.
    pub(super) fn poison(&mut self) {
        self.free ^= 1 << 63;
    }

    /// Something that no two messages have in common.
    pub(super) fn position(&self) -> (usize, u64) {
        (self.next.as_ptr().addr(), self.free)
    }

    #[inline(always)]
    pub(super) fn roles(&self) -> &Roles {
        self.ring.head()
    }

    pub(super) fn capacity(&self) -> usize {
        self.ring.slots().len()
    }
}
