//! Ours, as subjects.
//!
//! # Safety
//! A lock that tells the kernel its address must lie in memory that is used for nothing else while
//! a thread holds it. [`place`] never gives memory back.
#![expect(unsafe_code, reason = "the promise that a lock's memory stays")]

use std::sync::Arc;

use core::hint::spin_loop;

use bytemuck::Pod;
use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
use ipc_shm::ring::{PopError, PushError};
use ipc_sync::{Mutex, MutexGuard, RwLock, Semaphore};

use crate::payload::{Message, Received, Sent};
use crate::peers::floor::SLOTS;
use crate::peers::locks::Lock;
use crate::peers::permits::Permits;
use crate::peers::readers::Readers;
use crate::peers::rings;
use crate::subject::{Ends, Sides, Subject};
use crate::sys::place;
use crate::targets;

/// With everything it promises: its waiters notice a holder's death at once.
impl Lock for Mutex<u64> {
    const NAME: &'static str = targets::MUTEX;
    const SIDES: Sides = Sides::Processes;
    type Guard<'a> = MutexGuard<'a, u64>;

    fn placed() -> &'static Self {
        // SAFETY: the memory of `place` is never given back.
        place(unsafe { Self::in_region(0) })
    }

    #[inline]
    fn lock(&'static self) -> MutexGuard<'static, u64> {
        match Self::lock(self) {
            Ok(guard) => guard,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Permits for Semaphore {
    const NAME: &'static str = targets::SEMAPHORE;

    fn placed(permits: u32) -> &'static Self {
        place(Self::new(permits))
    }

    #[inline]
    fn acquire(&self) {
        Self::acquire(self).expect("a wait without a time-out");
    }

    #[inline]
    fn release(&self) {
        Self::release(self).expect("a few permits");
    }

    fn available(&self) -> u32 {
        Self::available(self)
    }
}

/// Likewise.
impl Readers for RwLock<u64, 16> {
    const NAME: &'static str = targets::RWLOCK;
    const SIDES: Sides = Sides::Processes;

    fn placed() -> &'static Self {
        // SAFETY: the memory of `place` is never given back.
        place(unsafe { Self::in_region(0) })
    }

    #[inline]
    fn read(&self) -> u64 {
        *Self::read(self).expect("nobody dies")
    }

    #[inline]
    fn add(&self) {
        *self.write().expect("nobody dies") += 1;
    }
}

/// The ring of single messages, between two processes.
#[must_use]
pub fn ring<const N: usize>() -> Subject
where
    Message<N>: Pod,
{
    Subject::processes(targets::RING, || {
        let ring = Arc::new(Ring::<Message<N>>::create(SLOTS).expect("a ring"));
        let other = Arc::clone(&ring);
        let (mut producer, mut consumer) = (None, None);
        let (mut sent, mut received) = (Sent::new(), Received::new());
        // An end belongs to the process that claims it, so each side does that in its first slice.
        Ends::agreeing(
            move |slice| {
                let end = producer.get_or_insert_with(|| ring.producer().expect("an end"));
                Ok(sent.each(slice.count, |message| push(end, message)))
            },
            move |slice| {
                let end = consumer.get_or_insert_with(|| other.consumer().expect("an end"));
                received.each(slice.count, || pop(end))
            },
        )
    })
}

/// There through one ring, and back through another.
#[must_use]
pub fn ring_round_trip<const N: usize>() -> Subject
where
    Message<N>: Pod,
{
    Subject::processes(targets::RING, || {
        let pusher = |ring: &Arc<Ring<'static, Message<N>>>| {
            let (ring, mut end) = (Arc::clone(ring), None);
            move |message| {
                push(end.get_or_insert_with(|| ring.producer().expect("an end")), message);
            }
        };
        let popper = |ring: &Arc<Ring<'static, Message<N>>>| {
            let (ring, mut end) = (Arc::clone(ring), None);
            move || pop(end.get_or_insert_with(|| ring.consumer().expect("an end")))
        };
        let there = Arc::new(Ring::create(SLOTS).expect("a ring"));
        let back = Arc::new(Ring::create(SLOTS).expect("a ring"));
        rings::round_trip(pusher(&there), popper(&back), popper(&there), pusher(&back))
    })
}

#[inline]
fn push<T: Pod + Send>(end: &mut Producer<'_, T>, message: T) {
    while let Err(error) = end.push(message) {
        match error {
            PushError::Full(_) => spin_loop(),
            error => panic!("{error}"),
        }
    }
}

#[inline]
fn pop<T: Pod + Send>(end: &mut Consumer<'_, T>) -> T {
    loop {
        match end.pop() {
            Ok(message) => return message,
            Err(PopError::Empty) => spin_loop(),
            Err(error) => panic!("{error}"),
        }
    }
}
