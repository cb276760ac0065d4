//! Where one side stands in the ring: private to its handle.
//!
//! # Safety
//!
//! `next` points to a slot of the ring, or to its end when the lap is over; the slots live as long as `keep`.
#![expect(unsafe_code, reason = "walks over the slots by pointer")]

use core::ptr::NonNull;

use ipc_core::primitive::Ordering;

use super::slots::{Keep, RawRing};
use crate::layout::{LAP, RingHeader, Slot};

#[derive(Debug)]
pub(super) struct Cursor<'r, T> {
    /// The slot for the next message.
    next: NonNull<Slot<T>>,
    /// Behind the last slot.
    end: NonNull<Slot<T>>,
    /// The word of a slot that is free on this lap.
    free: u64,
    /// The ring was found damaged. `next` is `end` from then on, so that this is looked at once a lap only.
    corrupt: bool,
    ring: RawRing<T>,
    _keep: Keep<'r, T>,
}

// SAFETY: a cursor is a position; the slots are `Sync`, and what it keeps is `Send` and `Sync`.
unsafe impl<T: bytemuck::Pod + Send> Send for Cursor<'_, T> {}
// SAFETY: as for Send; a shared cursor gives out no slot.
unsafe impl<T: bytemuck::Pod + Send> Sync for Cursor<'_, T> {}

impl<'r, T> Cursor<'r, T> {
    /// The position of a side whose next lap in a slot is `lap_of(word)`: see the module's head.
    ///
    /// `None` if no history of a ring leads to these words.
    pub(super) fn resume(
        ring: RawRing<T>,
        keep: Keep<'r, T>,
        lap_of: impl Fn(u64) -> u64,
    ) -> Option<Self> {
        let lap_of = |slot: &Slot<T>| lap_of(slot.word.load(Ordering::Acquire));
        let (first, rest) = ring.slots().split_first()?;
        // The slots before the position are one lap ahead. Laps are numbers of 63 bits.
        let ahead = lap_of(first);
        let behind = ahead.wrapping_sub(1) & (u64::MAX >> 1);
        let mut index = 0;
        for (slot, number) in rest.iter().zip(1..) {
            match lap_of(slot) {
                lap if lap == ahead && index == 0 => {}
                lap if lap == behind && index == 0 => index = number,
                lap if lap == behind => {}
                _ => return None,
            }
        }
        let lap = if index == 0 { ahead } else { behind };
        let slots = ring.slots().as_ptr_range();
        let start = NonNull::from(ring.slots()).cast::<Slot<T>>();
        // SAFETY: the index is that of a slot.
        let next = unsafe { start.add(index) };
        let end = NonNull::new(slots.end.cast_mut())?;
        Some(Self { next, end, free: lap.wrapping_mul(LAP), corrupt: false, ring, _keep: keep })
    }

    /// The slot for the next message, and its word while it is free; `None` if the ring is damaged.
    ///
    /// The slot lives as long as the cursor.
    #[inline(always)]
    pub(super) fn slot(&mut self) -> Option<(NonNull<Slot<T>>, u64)> {
        if self.next == self.end {
            if self.corrupt {
                return None;
            }
            self.next = self.ring.first();
            self.free = self.free.wrapping_add(LAP);
        }
        Some((self.next, self.free))
    }

    /// The message is dealt with.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        // SAFETY: `next` is a slot, so its successor is a slot or the end.
        self.next = unsafe { self.next.add(1) };
    }

    /// The ring is damaged, for ever.
    pub(super) fn poison(&mut self) {
        self.next = self.end;
        self.corrupt = true;
    }

    /// The word of a slot that is free on this lap.
    pub(super) fn free(&self) -> u64 {
        self.free
    }

    /// The word of the slot for the next message.
    pub(super) fn word(&self) -> u64 {
        debug_assert!(self.next != self.end, "after `slot`");
        // SAFETY: not the end, so a slot; `_keep` keeps it alive for at least as long as `self`.
        unsafe { self.next.as_ref() }.word.load(Ordering::Acquire)
    }

    /// Something that no two positions have in common.
    pub(super) fn position(&self) -> (usize, u64) {
        (self.next.as_ptr().addr(), self.free)
    }

    pub(super) fn roles(&self) -> &RingHeader {
        self.ring.roles()
    }

    pub(super) fn capacity(&self) -> usize {
        self.ring.slots().len()
    }
}
