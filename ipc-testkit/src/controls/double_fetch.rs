//! A reader that checks a length in shared memory and then reads it again.
//!
//! Whatever stands there before it begins, it copes with; what a hostile peer writes between the two reads sends it
//! out of bounds.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::stepkill::Scenario;

/// A list of numbers with its length.
#[derive(Debug)]
#[repr(C)]
pub struct DoubleFetch {
    len: AtomicU32,
    items: [AtomicU32; CAPACITY],
}

const CAPACITY: usize = 8;

impl DoubleFetch {
    /// A victim that sums the list up; `once` reads the length once, as it should.
    pub fn scenario(name: &str, once: bool) -> Scenario<Self> {
        Scenario::new(name, Self::of_three)
            .victim(move |list, me| {
                me.operation(|| list.sum(once));
                Ok(())
            })
            .survivors(2, |_, _| Ok(()))
            .surface(|list| list, CAPACITY as u64)
    }

    /// A list of three numbers.
    #[must_use]
    pub fn of_three() -> Self {
        Self { len: AtomicU32::new(3), items: [const { AtomicU32::new(7) }; CAPACITY] }
    }

    /// The sum, if the length is one that a list can have.
    pub fn sum(&self, once: bool) -> Option<u32> {
        let checked = self.len.load(Ordering::Relaxed);
        if checked as usize > CAPACITY {
            return None;
        }
        let len = if once { checked } else { self.len.load(Ordering::Relaxed) };
        let items = self.items[..len as usize].iter();
        Some(items.fold(0, |sum, item| sum.wrapping_add(item.load(Ordering::Relaxed))))
    }
}
