//! The task slot: one 64-bit word that says what a task is doing and who does it.
//!
//! ```text
//!  63 ............... 32   31 ......... 16   15 ....... 4   3 ..... 0
//! +---------------------+------------------+--------------+----------+
//! | generation, 32 bits |  incarnation, 16 |  seat, 12    |  state   |
//! +---------------------+------------------+--------------+----------+
//!                         \____ owner: which worker ____/
//! ```
//!
//! A *seat* is the place of a worker in its pool, an *incarnation* counts the processes that have sat
//! there. The *generation* counts how often the slot was queued, so that nothing that is written for
//! one queueing can be taken for another.
//!
//! # States
//!
//! | state | owner | argument area | result area | the owner's window |
//! |---|---|---|---|---|
//! | FREE | - | application | application | |
//! | QUEUED | - | constant | nobody | |
//! | RUNNING | worker | constant | worker | worker |
//! | MORE | worker | constant | worker | application, which puts the next part of the argument there |
//! | PART | worker | constant | worker | application, which takes a part of the result from there |
//! | DONE | worker | application | application | worker |
//! | FAILED | worker | application | application | worker |
//!
//! The application is the one process that made the pool; which of its threads acts is settled by a
//! lock of its own, in private memory. A worker shares a lock with nobody.
//!
//! # Steps, and what a death at each of them leaves
//!
//! | step | who | killed before it | killed after it |
//! |---|---|---|---|
//! | FREE → QUEUED, [`publish`](Slot::publish) | application | all processes of the pool end | the same |
//! | QUEUED → RUNNING(w), [`claim`](Slot::claim) | worker w | the task waits for another worker | buried |
//! | RUNNING(w) → MORE(w) or PART(w), [`turn`](Slot::turn) | worker w | buried | buried |
//! | MORE(w) or PART(w) → RUNNING(w), [`answer`](Slot::answer) | application | all end | the same |
//! | RUNNING(w) → DONE(w) or FAILED(w), [`turn`](Slot::turn) | worker w | buried | the result stands |
//! | DONE or FAILED → FREE, [`release`](Slot::release) | application | all end | the same |
//! | QUEUED → FREE, [`withdraw`](Slot::withdraw) | application | all end | the same |
//!
//! *Buried*: when the kernel has reported the death of w, the supervisor takes every word that names
//! w as RUNNING, MORE or PART and makes it QUEUED, with the next generation, or FREE, when the task
//! is given up and its ticket says so: [`bury`](Slot::bury). Each is one compare-exchange on the word that names
//! the dead, so doing it twice does it once, and the word of a living worker is never touched. The new
//! incarnation starts only after that.
//!
//! A worker that was killed between its last step and the ring of the bells leaves sleepers behind: the
//! supervisor rings the bell of every slot that names the dead, in whatever state.

use ipc_core::primitive::{AtomicU64, Ordering};

/// What a slot is doing: the low four bits of its word. All zeros are a free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No task.
    Free = 0,
    /// A task that any worker may claim.
    Queued = 1,
    /// The owner runs the task.
    Running = 2,
    /// The owner waits for the next part of the argument.
    More = 3,
    /// The owner has put a part of the result into its window and waits until it is taken.
    Part = 4,
    /// The task has returned.
    Done = 5,
    /// The task has failed without the death of its worker.
    Failed = 6,
}

const STATE_BITS: u32 = 4;
const SEAT_BITS: u32 = 12;
const INCARNATION_BITS: u32 = 16;
const OWNER_BITS: u32 = SEAT_BITS + INCARNATION_BITS;
const GENERATION_SHIFT: u32 = STATE_BITS + OWNER_BITS;

/// How many seats a slot's word can name.
pub const MAX_SEATS: usize = 1 << SEAT_BITS;

/// One worker process of the pool: a seat, and which process sits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    /// The process `incarnation` on `seat`, which is below [`MAX_SEATS`].
    #[must_use]
    pub const fn new(seat: usize, incarnation: u16) -> Self {
        debug_assert!(seat < MAX_SEATS);
        Self((seat as u32 & ((1 << SEAT_BITS) - 1)) | (incarnation as u32) << SEAT_BITS)
    }

    /// Its seat.
    #[must_use]
    pub const fn seat(self) -> usize {
        (self.0 & ((1 << SEAT_BITS) - 1)) as usize
    }
}

/// A slot's word as somebody has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    const fn new(generation: u32, owner: Owner, state: State) -> Self {
        let low = state as u64 | (owner.0 as u64) << STATE_BITS;
        Self(low | (generation as u64) << GENERATION_SHIFT)
    }

    const fn with(self, owner: Owner, state: State) -> Self {
        Self::new(self.generation(), owner, state)
    }

    const fn next(self, state: State) -> Self {
        Self::new(self.generation().wrapping_add(1), Owner(0), state)
    }

    /// How often the slot had been queued.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    /// The worker that is named, which means something in the states that have an owner.
    #[must_use]
    pub const fn owner(self) -> Owner {
        Owner((self.0 >> STATE_BITS) as u32 & ((1 << OWNER_BITS) - 1))
    }

    /// The state. Bits that no step of this module writes read as [`State::Free`]: nobody acts on them.
    #[must_use]
    pub const fn state(self) -> State {
        match self.0 & ((1 << STATE_BITS) - 1) {
            1 => State::Queued,
            2 => State::Running,
            3 => State::More,
            4 => State::Part,
            5 => State::Done,
            6 => State::Failed,
            _ => State::Free,
        }
    }

    /// Whether the task has its outcome in the slot.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self.state(), State::Done | State::Failed)
    }

    /// Whether a worker is at work on the task, or waits for the application on its behalf.
    #[must_use]
    pub const fn is_claimed(self) -> bool {
        matches!(self.state(), State::Running | State::More | State::Part)
    }
}

/// A slot, by its word.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a>(&'a AtomicU64);

impl<'a> Slot<'a> {
    /// The slot whose word this is.
    #[must_use]
    pub const fn new(word: &'a AtomicU64) -> Self {
        Self(word)
    }

    /// Reads the word; what its last writer wrote to the areas before is visible to the caller.
    #[must_use]
    pub fn load(self) -> Seen {
        // SYNC: slot handed over (Release in `change`).
        Seen(self.0.load(Ordering::Acquire))
    }

    /// Application: queues the task whose argument is in the area of this free slot.
    pub fn publish(self) -> Seen {
        let queued = self.load().next(State::Queued);
        // SYNC: slot handed over (Acquire in `load` and `claim`).
        self.0.store(queued.0, Ordering::Release);
        queued
    }

    /// Worker: takes a queued task. `None` if `seen` is not queued, or somebody else was faster.
    pub fn claim(self, seen: Seen, owner: Owner) -> Option<Seen> {
        if seen.state() != State::Queued {
            return None;
        }
        self.change(seen, seen.with(owner, State::Running))
    }

    /// Worker: hands the slot over. `None` if it is no longer the worker's, who then forgets it.
    pub fn turn(self, mine: Seen, to: State) -> Option<Seen> {
        debug_assert!(mine.state() == State::Running);
        self.change(mine, mine.with(mine.owner(), to))
    }

    /// Application: gives the slot back to the worker, which waits for its window.
    pub fn answer(self, seen: Seen) -> Option<Seen> {
        if !matches!(seen.state(), State::More | State::Part) {
            return None;
        }
        self.change(seen, seen.with(seen.owner(), State::Running))
    }

    /// Application: takes a task back that nobody has claimed.
    pub fn withdraw(self, seen: Seen) -> bool {
        seen.state() == State::Queued
            && self.change(seen, seen.with(Owner(0), State::Free)).is_some()
    }

    /// Application: frees a slot whose outcome it has taken out.
    pub fn release(self, seen: Seen) -> bool {
        seen.is_over() && self.change(seen, seen.with(Owner(0), State::Free)).is_some()
    }

    /// Supervisor: takes a task from the dead worker that `seen` names, to be queued again or given up.
    pub fn bury(self, seen: Seen, dead: Owner, again: bool) -> bool {
        if !seen.is_claimed() || seen.owner() != dead {
            return false;
        }
        let after = if again { seen.next(State::Queued) } else { seen.with(Owner(0), State::Free) };
        self.change(seen, after).is_some()
    }

    /// What no step does: for tests of what then happens.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn overwrite(self, bits: u64) {
        self.0.store(bits, Ordering::Release);
    }

    fn change(self, from: Seen, to: Seen) -> Option<Seen> {
        // SYNC: slot handed over, both ways: what was read before is released, what was written before is acquired.
        let result = self.0.compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed);
        result.ok().map(|_| to)
    }
}

/// Worker: the one way to a task. Looks once at every slot from number `first` on, and claims the first that is
/// queued.
///
/// A ring of slot numbers can replace the scan; only this function and [`Slot::publish`] would change.
pub fn claim<'a>(
    slots: impl Fn(usize) -> Slot<'a>,
    count: usize,
    first: usize,
    owner: Owner,
) -> Option<(usize, Seen)> {
    (first..count).chain(0..first.min(count)).find_map(|index| {
        let slot = slots(index);
        slot.claim(slot.load(), owner).map(|mine| (index, mine))
    })
}

static_assertions::assert_impl_all!(Slot<'static>: Send, Sync);
static_assertions::assert_impl_all!(Seen: Send, Sync);
static_assertions::assert_impl_all!(Owner: Send, Sync);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const A: Owner = Owner::new(MAX_SEATS - 1, u16::MAX);
    const B: Owner = Owner::new(3, 7);

    #[test]
    fn fields_do_not_touch() {
        let word = Seen::new(u32::MAX, A, State::Free);
        assert_eq!((word.generation(), word.owner(), word.state()), (u32::MAX, A, State::Free));
        let word = Seen::new(0, B, State::Failed);
        assert_eq!((word.generation(), word.owner(), word.state()), (0, B, State::Failed));
        assert_eq!((A.seat(), B.seat()), (MAX_SEATS - 1, 3));
    }

    #[test]
    fn one_task_from_queue_to_result() {
        let word = AtomicU64::new(0);
        let slot = Slot::new(&word);
        slot.publish();
        let mine = slot.claim(slot.load(), A).unwrap();
        assert!(slot.claim(slot.load(), B).is_none(), "claimed twice");
        let part = slot.turn(mine, State::Part).unwrap();
        let mine = slot.answer(part).unwrap();
        let done = slot.turn(mine, State::Done).unwrap();
        assert!(slot.turn(mine, State::Done).is_none(), "finished twice");
        assert!(slot.release(done) && !slot.release(done));
        assert_eq!(slot.load().state(), State::Free);
    }

    #[test]
    fn only_the_dead_are_buried_and_only_once() {
        let word = AtomicU64::new(0);
        let slot = Slot::new(&word);
        slot.publish();
        let mine = slot.claim(slot.load(), A).unwrap();
        assert!(!slot.bury(slot.load(), B, true), "a living worker's task");
        let seen = slot.load();
        assert!(slot.bury(seen, A, true) && !slot.bury(seen, A, true));
        assert!(slot.turn(mine, State::Done).is_none(), "a result of an older generation");
        assert_eq!(slot.load().state(), State::Queued);
    }

    #[test]
    fn a_result_outlives_its_worker() {
        let word = AtomicU64::new(0);
        let slot = Slot::new(&word);
        slot.publish();
        let mine = slot.claim(slot.load(), A).unwrap();
        slot.turn(mine, State::Done);
        assert!(!slot.bury(slot.load(), A, true));
    }

    #[test]
    fn words_that_nobody_writes_are_no_task() {
        for bits in 7..16 {
            assert_eq!(Seen(bits).state(), State::Free);
        }
    }

    #[test]
    fn the_scan_wraps_around() {
        let words = [(); 4].map(|()| AtomicU64::new(0));
        Slot::new(&words[1]).publish();
        let found = claim(|index| Slot::new(&words[index]), 4, 3, A).unwrap();
        assert_eq!(found.0, 1);
        assert!(claim(|index| Slot::new(&words[index]), 4, 9, A).is_none());
    }
}
