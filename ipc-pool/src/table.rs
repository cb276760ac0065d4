//! Everything that the application and its workers share, in one region.
//!
//! | place | elements | written by |
//! |---|---|---|
//! | `slots` | a word for each task slot: see [`crate::slot`] | whoever the word says |
//! | `slot_bells` | one for each slot: its ticket sleeps there | ticket, worker, supervisor |
//! | `worker_bells` | two for each seat, on a line of its own: no task, and no window | its worker; who has work, supervisor |
//! | `pool` | `STOP`, and the bell of those who wait for a free slot | application; anybody |
//! | `counters` | a line for each seat: see [`Counter`] | its worker |
//! | `arguments`, `results` | an [`Area`] for each slot | whoever the slot's word says |
//! | `windows` | an [`Area`] for each seat, for values that are larger than those | the same |
//!
//! All zeros are a table without tasks whose workers all begin.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ipc_shm::{Atomic, Place, Plan, RawValue, Region};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::bell::Bell;
use crate::error::{PoolError, WorkerError};
use crate::slot::{Seen, Slot};

/// The numbers that the layout depends on; both sides have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) workers: u32,
    pub(crate) slots: u32,
    /// Words of an argument or result area, its header included.
    pub(crate) payload: u32,
    /// Words of a window, its header included.
    pub(crate) window: u32,
}

impl Shape {
    pub(crate) fn to_words(self) -> [u32; 4] {
        [self.workers, self.slots, self.payload, self.window]
    }

    pub(crate) fn from_words([workers, slots, payload, window]: [u32; 4]) -> Self {
        Self { workers, slots, payload, window }
    }
}

/// The words of one seat's line of counters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    /// Tasks taken.
    Claims = 0,
    /// Tasks finished.
    Tasks = 1,
    /// Nanoseconds spent in them.
    Busy = 2,
}

/// Elements of a line of 128 bytes.
const U64_LINE: usize = 16;
const U32_LINE: usize = 32;

const IDLE_BELL: usize = 0;
const WINDOW_BELL: usize = 1;

const POOL_BELL: usize = 0;
const STOP: usize = U32_LINE;

#[derive(Clone, Copy, Debug)]
struct Places {
    slots: Place<Atomic<AtomicU64>>,
    slot_bells: Place<Atomic<AtomicU32>>,
    worker_bells: Place<Atomic<AtomicU32>>,
    pool: Place<Atomic<AtomicU32>>,
    counters: Place<Atomic<AtomicU64>>,
    arguments: Place<RawValue<u64>>,
    results: Place<RawValue<u64>>,
    windows: Place<RawValue<u64>>,
}

/// The mapped region.
#[derive(Debug)]
pub(crate) struct Table {
    region: Region,
    places: Places,
    shape: Shape,
}

impl Table {
    pub(crate) fn create(shape: Shape) -> Result<Self, PoolError> {
        let (plan, places) = plan(shape)?;
        Ok(Self { region: Region::planned(&plan)?, places, shape })
    }

    pub(crate) fn attach(fd: OwnedFd, shape: Shape) -> Result<Self, WorkerError> {
        let (plan, places) = plan(shape).map_err(WorkerError::Layout)?;
        let region = Region::from_fd_for(fd, &plan).map_err(WorkerError::Attach)?;
        Ok(Self { region, places, shape })
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn slots(&self) -> usize {
        self.shape.slots as usize
    }

    pub(crate) fn workers(&self) -> usize {
        self.shape.workers as usize
    }

    pub(crate) fn slot(&self, index: usize) -> Slot<'_> {
        Slot::new(&self.all(self.places.slots)[index])
    }

    pub(crate) fn slot_bell(&self, index: usize) -> Bell<'_> {
        Bell::new(&self.all(self.places.slot_bells)[index])
    }

    /// Where a worker sleeps that has no task.
    pub(crate) fn idle_bell(&self, seat: usize) -> Bell<'_> {
        Bell::new(&self.all(self.places.worker_bells)[seat * U32_LINE + IDLE_BELL])
    }

    /// Where a worker sleeps that waits for its window. Another one than the first: a ring for whoever is
    /// idle must not be lost on a worker that has a task.
    pub(crate) fn window_bell(&self, seat: usize) -> Bell<'_> {
        Bell::new(&self.all(self.places.worker_bells)[seat * U32_LINE + WINDOW_BELL])
    }

    /// Where those sleep who wait for any task to end.
    pub(crate) fn pool_bell(&self) -> Bell<'_> {
        Bell::new(&self.all(self.places.pool)[POOL_BELL])
    }

    pub(crate) fn counter(&self, seat: usize, counter: Counter) -> &AtomicU64 {
        &self.all(self.places.counters)[seat * U64_LINE + counter as usize]
    }

    pub(crate) fn argument(&self, slot: usize) -> Area<'_> {
        self.area(self.places.arguments, slot, self.shape.payload)
    }

    pub(crate) fn result(&self, slot: usize) -> Area<'_> {
        self.area(self.places.results, slot, self.shape.payload)
    }

    pub(crate) fn window(&self, seat: usize) -> Area<'_> {
        self.area(self.places.windows, seat, self.shape.window)
    }

    /// Whether the worker that the word names is one of this pool. A word that names none names seat 0.
    pub(crate) fn knows_owner(&self, seen: Seen) -> bool {
        seen.owner().seat() < self.workers()
    }

    /// Whether a task waits for a worker.
    pub(crate) fn has_queued(&self) -> bool {
        let queued = crate::slot::State::Queued;
        (0..self.slots()).any(|index| self.slot(index).load().state() == queued)
    }

    /// Wakes one worker that sleeps, if any.
    pub(crate) fn rouse_one(&self) {
        (0..self.workers()).any(|seat| self.idle_bell(seat).ring_after_store());
    }

    pub(crate) fn rouse_all(&self) {
        for seat in 0..self.workers() {
            self.idle_bell(seat).ring_after_store();
        }
    }

    /// Tells the workers to end when no task is queued.
    pub(crate) fn stop(&self) {
        self.all(self.places.pool)[STOP].store(1, Ordering::Release);
        self.rouse_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.all(self.places.pool)[STOP].load(Ordering::Acquire) != 0
    }

    fn area(&self, place: Place<RawValue<u64>>, index: usize, words: u32) -> Area<'_> {
        let words = words as usize;
        Area(&self.all(place)[index * words..(index + 1) * words])
    }

    fn all<T: ipc_shm::Shareable>(&self, place: Place<T>) -> &[T] {
        // Both constructors made the region, or checked it, against the plan that these places are of.
        self.region.slice(place).expect("a place of the region's own plan")
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.as_fd()
    }
}

fn plan(shape: Shape) -> Result<(Plan, Places), PoolError> {
    let Shape { workers, slots, payload, window } = shape;
    let product = |a: u32, b: u32| (a as usize).saturating_mul(b as usize);
    let mut plan = Plan::new();
    let places = Places {
        slots: plan.array(slots as usize)?,
        slot_bells: plan.array(slots as usize)?,
        worker_bells: plan.array(product(workers, U32_LINE as u32))?,
        pool: plan.array(2 * U32_LINE)?,
        counters: plan.array(product(workers, U64_LINE as u32))?,
        arguments: plan.array(product(slots, payload))?,
        results: plan.array(product(slots, payload))?,
        windows: plan.array(product(workers, window))?,
    };
    Ok((plan, places))
}

/// Bytes in shared memory: a word with the length of the whole value, then as much of it as fits.
///
/// The bytes are copied, word by word, and never borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area<'a>(&'a [RawValue<u64>]);

/// Words of the header of an area.
pub(crate) const AREA_HEADER: usize = 1;

impl Area<'_> {
    /// How many bytes fit.
    pub(crate) fn capacity(self) -> usize {
        (self.0.len() - AREA_HEADER) * 8
    }

    /// Stores the length of `bytes` and as many of them as fit; how many did.
    pub(crate) fn put(self, bytes: &[u8]) -> usize {
        self.0[0].set(bytes.len() as u64);
        let fitting = &bytes[..bytes.len().min(self.capacity())];
        for (word, bytes) in self.0[AREA_HEADER..].iter().zip(fitting.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.set(u64::from_ne_bytes(whole));
        }
        fitting.len()
    }

    /// The length of the whole value.
    pub(crate) fn total(self) -> usize {
        usize::try_from(self.0[0].get()).unwrap_or(usize::MAX)
    }

    /// Appends what is here of the value.
    pub(crate) fn take(self, into: &mut Vec<u8>) {
        let length = self.total().min(self.capacity());
        let end = into.len() + length;
        into.reserve(length.next_multiple_of(8));
        for word in &self.0[AREA_HEADER..AREA_HEADER + length.div_ceil(8)] {
            into.extend_from_slice(&word.get().to_ne_bytes());
        }
        into.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use ipc_core::clock::Deadline;

    use super::*;

    #[test]
    fn a_ring_for_the_idle_passes_a_worker_that_waits_for_its_window() {
        let table = Table::create(Shape { workers: 2, slots: 1, payload: 4, window: 4 }).unwrap();
        let sleep = |bell: Bell<'_>| bell.wait(Deadline::now(), || false).unwrap();
        // As at its start: it was never idle.
        table.idle_bell(0).leave();
        sleep(table.window_bell(0));
        sleep(table.idle_bell(1));
        table.rouse_one();
        assert!(!table.idle_bell(1).ring(), "nobody has rung here");
        assert!(table.window_bell(0).ring(), "somebody has rung here");
    }

    #[test]
    fn bytes_of_every_length_come_back() {
        let words: Vec<RawValue<u64>> = (0..5).map(|_| RawValue::new(u64::MAX)).collect();
        let area = Area(&words);
        assert_eq!(area.capacity(), 32);
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).collect();
            let fitted = area.put(&bytes);
            let mut back = vec![9];
            area.take(&mut back);
            assert_eq!((area.total(), fitted), (length.into(), usize::from(length).min(32)));
            assert_eq!(back[1..], bytes[..fitted]);
        }
    }

    #[test]
    fn a_wrong_length_reads_nothing_outside() {
        let words: Vec<RawValue<u64>> = (0..3).map(|_| RawValue::new(u64::MAX)).collect();
        let mut back = Vec::new();
        Area(&words).take(&mut back);
        assert_eq!(back.len(), 16);
    }
}
