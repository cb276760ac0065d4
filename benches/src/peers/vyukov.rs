//! Dmitry Vyukov's bounded queue, by hand, in memory that processes share: what a ring of many costs that promises nothing.
//!
//! A process that is killed between its claim of a position and its store to the slot stops all others for ever.
//!
//! # Safety
//! A slot belongs to whoever has claimed the position for which its sequence number says that it is free, or full.
#![expect(unsafe_code, reason = "payloads that belong to whoever has claimed their position")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::Arc;

use bytemuck::Zeroable;

use crate::board::Line;
use crate::payload::Message;
use crate::queue::{Idle, Queue};
use crate::subject::Sides;
use crate::sys::{place, place_zeroed};

/// The queue; with `LOGGED`, each claim is announced on the claimer's own line before, as the ring would have to that finds
/// the claims of the dead in a log of intents. Nobody reads them here: it is the least that this shape costs.
#[derive(Debug)]
pub struct Vyukov<const N: usize, const LOGGED: bool> {
    shared: &'static Shared,
    slots: &'static [Slot<N>],
}

#[derive(Debug)]
struct Shared {
    tail: Line,
    head: Line,
    intents: [Line; Self::MOST],
    ends: AtomicUsize,
}

impl Shared {
    /// Of all ends.
    const MOST: usize = 16;
}

#[derive(Debug)]
struct Slot<const N: usize> {
    sequence: AtomicU64,
    payload: UnsafeCell<Message<N>>,
}

// SAFETY: zeros are values of both fields.
unsafe impl<const N: usize> Zeroable for Slot<N> {}

// SAFETY: a payload is touched by whoever has claimed its position.
unsafe impl<const N: usize> Sync for Slot<N> {}

/// Somebody who uses the queue.
#[derive(Debug)]
pub struct End<const N: usize> {
    shared: &'static Shared,
    slots: &'static [Slot<N>],
    intent: &'static AtomicU64,
}

impl<const N: usize> End<N> {
    /// The next position whose slot has the sequence number `ahead` of it.
    #[inline]
    fn claim<const LOGGED: bool>(&self, next: &AtomicU64, ahead: u64) -> Option<(u64, &Slot<N>)> {
        let mut position = next.load(Relaxed);
        loop {
            let slot = &self.slots[position as usize & (self.slots.len() - 1)];
            // SYNC: slot handed on (Release in `hand_on`).
            let sequence = slot.sequence.load(Acquire);
            match sequence.wrapping_sub(position.wrapping_add(ahead)) as i64 {
                0 => {
                    if LOGGED {
                        self.intent.store(position << 1 | ahead, Release);
                    }
                    let after = position.wrapping_add(1);
                    match next.compare_exchange_weak(position, after, Relaxed, Relaxed) {
                        Ok(_) => return Some((position, slot)),
                        Err(now) => position = now,
                    }
                }
                ..0 => return None,
                1.. => position = next.load(Relaxed),
            }
        }
    }

    #[inline]
    fn hand_on(slot: &Slot<N>, sequence: u64) {
        // SYNC: slot handed on (Acquire in `claim`).
        slot.sequence.store(sequence, Release);
    }
}

impl<const N: usize, const LOGGED: bool> Queue<N> for Vyukov<N, LOGGED> {
    const NAME: &'static str =
        if LOGGED { "Vyukov ring, intents noted (by hand)" } else { "Vyukov ring (by hand)" };
    const SIDES: Sides = Sides::Processes;
    type Pusher = End<N>;
    type Popper = End<N>;

    fn of(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two(), "positions are masked");
        let line = || Line(AtomicU64::new(0));
        let intents = core::array::from_fn(|_| line());
        let shared = Shared { tail: line(), head: line(), intents, ends: AtomicUsize::new(0) };
        let slots = place_zeroed::<Slot<N>>(capacity);
        for (index, slot) in slots.iter().enumerate() {
            slot.sequence.store(index as u64, Relaxed);
        }
        Self { shared: place(shared), slots }
    }

    fn pusher(queue: &Arc<Self>) -> End<N> {
        let Self { shared, slots } = **queue;
        let intent = &shared.intents[shared.ends.fetch_add(1, Relaxed)].0;
        End { shared, slots, intent }
    }

    fn popper(queue: &Arc<Self>) -> End<N> {
        Self::pusher(queue)
    }

    #[inline]
    fn push(end: &mut End<N>, message: Message<N>, idle: Idle) {
        let (position, slot) = idle.until(|| end.claim::<LOGGED>(&end.shared.tail.0, 0));
        // SAFETY: we have claimed the slot, which was free.
        unsafe { slot.payload.get().write(message) };
        End::hand_on(slot, position.wrapping_add(1));
    }

    #[inline]
    fn pop(end: &mut End<N>, idle: Idle) -> Message<N> {
        let (position, slot) = idle.until(|| end.claim::<LOGGED>(&end.shared.head.0, 1));
        // SAFETY: we have claimed the slot, which was full.
        let message = unsafe { slot.payload.get().read() };
        End::hand_on(slot, position.wrapping_add(end.slots.len() as u64));
        message
    }
}
