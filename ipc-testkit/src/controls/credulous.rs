//! Readers of a queue that believe what stands in shared memory, each in one way.
//!
//! # Safety
//!
//! None, on purpose: these are the mistakes that attacks must find. They are made in memory between guard pages, in
//! processes that end by them.
#![expect(unsafe_code, reason = "mistakes, made on purpose")]

use core::sync::atomic::{AtomicU64, Ordering};

/// A queue of numbers with the positions of both sides.
#[derive(Debug)]
#[repr(C)]
pub struct Credulous {
    head: AtomicU64,
    tail: AtomicU64,
    items: [AtomicU64; CAPACITY],
}

const CAPACITY: usize = 8;

impl Credulous {
    /// Three numbers.
    #[must_use]
    pub fn of_three() -> Self {
        let items = [const { AtomicU64::new(7) }; CAPACITY];
        Self { head: AtomicU64::new(0), tail: AtomicU64::new(3), items }
    }

    /// Takes the last number, wherever the position says that it is.
    pub fn last_unchecked(&self) -> u64 {
        let tail = self.tail.load(Ordering::Relaxed);
        // SAFETY: none. An honest peer's position is in bounds.
        unsafe { self.items.get_unchecked(tail.wrapping_sub(1) as usize) }.load(Ordering::Relaxed)
    }

    /// Goes from one position to the other, however far that is.
    pub fn sum_of_all(&self) -> u64 {
        let (mut at, mut sum) = (self.head.load(Ordering::Relaxed), 0_u64);
        while at != self.tail.load(Ordering::Relaxed) {
            let item = &self.items[at as usize % CAPACITY];
            sum = sum.wrapping_add(item.load(Ordering::Relaxed));
            at = at.wrapping_add(1);
        }
        sum
    }

    /// Takes the next position, as soon as nobody else writes there.
    pub fn take_stubbornly(&self) -> u64 {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let (next, order) = (head.wrapping_add(1), Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, next, order, order) {
                Ok(_) => return head,
                Err(found) => head = found,
            }
        }
    }

    /// Checks the numbers where they lie, and uses them there: each is below 8, and counted in a table of 8.
    pub fn count_in_place(&self) -> [u8; 8] {
        let tail = (self.tail.load(Ordering::Relaxed) as usize).min(CAPACITY);
        let items = &self.items[..tail];
        let mut counts = [0; 8];
        if items.iter().all(|item| item.load(Ordering::Relaxed) < 8) {
            for item in items {
                counts[item.load(Ordering::Relaxed) as usize] += 1;
            }
        }
        counts
    }

    /// As [`count_in_place`](Self::count_in_place), of a copy.
    pub fn count_in_a_copy(&self) -> [u8; 8] {
        let tail = (self.tail.load(Ordering::Relaxed) as usize).min(CAPACITY);
        let mut copy = [0; CAPACITY];
        for (to, from) in copy.iter_mut().zip(&self.items[..tail]) {
            *to = from.load(Ordering::Relaxed);
        }
        let mut counts = [0; 8];
        if copy[..tail].iter().all(|item| *item < 8) {
            for item in &copy[..tail] {
                counts[*item as usize] += 1;
            }
        }
        counts
    }

    /// Writes a number where it has no business to.
    pub fn push_beside(&self) {
        self.items[5].store(9, Ordering::Relaxed);
    }

    /// Once damage has been seen, `true`; and forgets it.
    pub fn is_damaged(&self) -> bool {
        let (head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
        tail.wrapping_sub(head) > CAPACITY as u64
    }
}
