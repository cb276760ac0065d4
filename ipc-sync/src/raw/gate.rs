//! The gate: the one word on which the waiters of a lock sleep.
//!
//! ```text
//!  31         30 ............................................ 0
//! +----------+-------------------------------------------------+
//! | none     | always 0                                        |
//! +----------+-------------------------------------------------+
//!   0: somebody may be asleep (and so for zeroed memory)   1: surely nobody is
//! ```
//!
//! A flag "there are waiters" in front of a sleep is where robust locks lose wake-ups: whoever
//! clears it may be killed before the wake, or may clear it while a second waiter sleeps. Here
//! one thing holds whoever is killed where: **asleep implies that the gate is 0**. A sleeper sets it to 0 and lets
//! the kernel compare it as it falls asleep. Only one operation sets "none": the kernel's own, which
//! wakes everybody in the same step. A wake of one leaves the gate at 0, so that it costs
//! another look later and never a waiter.
//!
//! The low 30 bits are always 0, so a robust-futex list that points here ("the death baton") makes
//! the kernel wake one sleeper when the thread that points dies, and write nothing.
//!
//! | killed | leaves | seen by |
//! |---|---|---|
//! | before the gate is set to 0 | nothing | – |
//! | after it, before or in the sleep | a gate at 0 and nobody asleep | the next wake: one futile system call |
//! | woken, before it does anything | its wake is spent | the kernel wakes the next by the baton |
//! | a waker, before its wake | sleepers, gate 0 | the baton; without it the sleepers' slices |
//! | a waker, between its two calls | as before the second | the next waker, or the baton |
//!
//! The inverted flag and the atomic "set and wake all" are this project's own; keeping the flag
//! across a wake of one is what Linux 7.2 does for robust futexes in the kernel.

use ipc_core::Result;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::futex::{self, Entry, Wake, Word};
use ipc_core::primitive::{AtomicU32, Ordering, baton, fence_after_rmw};

/// Somebody may be asleep. Also what zeroed memory says.
const MAYBE: u32 = 0;
/// Nobody is asleep.
const NONE: u32 = 1 << 31;

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Gate(AtomicU32);

impl Gate {
    ipc_core::const_unless_loom! {
        /// As zeroed memory: the first wake finds out that nobody sleeps.
        pub(crate) fn new() -> Self {
            Self(AtomicU32::new(MAYBE))
        }
    }

    /// Sleeps while `state` has the value that the caller saw, until woken or `slice` ends.
    ///
    /// `state` must be the word whose change lets the caller proceed, and `watched` the process
    /// whose death does. The caller has armed the gate, and looks again whatever the answer.
    pub(crate) fn park(
        &self,
        state: Entry<'_>,
        watched: Option<ProcessId>,
        slice: Deadline,
        interruptible: bool,
    ) -> Result<Wake> {
        self.announce();
        self.sleep(&[self.entry(), state], watched, slice, interruptible)
    }

    /// Somebody is about to sleep. What he sleeps for he looks at afterwards.
    pub(crate) fn announce(&self) {
        // SYNC: asleep or seen. Either the waker, who has changed the state before it looks at the
        // gate, sees this 0; or the kernel sees the changed state and does not let us sleep.
        self.0.swap(MAYBE, Ordering::SeqCst);
        fence_after_rmw();
    }

    /// Sleeps while each of `entries` has its value, of which the first is [`entry`](Self::entry). That was
    /// [announced](Self::announce); otherwise as [`park`](Self::park).
    #[cold]
    pub(crate) fn sleep(
        &self,
        entries: &[Entry<'_>],
        watched: impl IntoIterator<Item = ProcessId>,
        slice: Deadline,
        interruptible: bool,
    ) -> Result<Wake> {
        futex::sleep(entries, watched, slice, interruptible)
    }

    /// The gate, as one of the words to sleep on.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry::new(&self.0, MAYBE)
    }

    /// Wakes one sleeper, if there may be one. The caller has just changed the state by a
    /// read-modify-write operation.
    #[inline]
    pub(crate) fn wake_one(&self) {
        // SYNC: asleep or seen, see `park`.
        fence_after_rmw();
        if self.0.load(Ordering::Relaxed) != NONE {
            self.wake_one_contended();
        }
    }

    #[cold]
    fn wake_one_contended(&self) {
        if futex::wake(&self.0, 1) == 0 {
            self.wake_all_contended();
        }
    }

    /// Wakes all sleepers, if there may be any. Otherwise as [`wake_one`](Self::wake_one).
    pub(crate) fn wake_all(&self) {
        fence_after_rmw();
        if self.0.load(Ordering::Relaxed) != NONE {
            self.wake_all_contended();
        }
    }

    fn wake_all_contended(&self) {
        if futex::set_top_bit_and_wake_all(&self.0).is_err() {
            // A sandbox without the operation: the gate keeps saying "maybe".
            futex::wake(&self.0, u32::MAX);
        }
    }

    /// How often this thread has armed the gate.
    pub(crate) fn armed_times(&self, me: ProcessId) -> usize {
        baton::armed_times(&self.0, me)
    }
}

impl<'a> From<&'a Gate> for Word<'a> {
    #[inline]
    fn from(gate: &'a Gate) -> Self {
        Word::Whole(&gate.0)
    }
}
