//! [`Event`]: something has happened, or not yet.
//!
//! # The word
//!
//! ```text
//!  31     30 ................................. 1     0
//! +-----+--------------------------------------+---------+
//! | set | how often it was cleared             | waited  |
//! +-----+--------------------------------------+---------+
//! ```
//!
//! Zeroed memory is an event that is not set, and for which nobody waits.
//!
//! | from | who | to | how |
//! |---|---|---|---|
//! | not set, not waited | who sets | set | compare-exchange |
//! | not set, waited | who sets | set, and everybody awake | one operation of the kernel, on this very word |
//! | not set, not waited | who waits | waited, and asleep only while it is exactly this | compare-exchange |
//! | set | who clears | not set, not waited, once more cleared | compare-exchange |
//!
//! So nobody sleeps unless the word says "waited", and every way out of that wakes all who do.
//!
//! # What a death leaves behind
//!
//! | killed | leaves | seen by |
//! |---|---|---|
//! | in `set`, before its step | nothing | – |
//! | in `set`, after it | an event that is set, and its waiters awake | them |
//! | in `wait`, after it has said "waited" | that | the next `set`: one futile system call |
//! | in `clear` | it is cleared, or not | – |
//!
//! Nobody's wake-up is meant for one alone, so none can be lost with him.
//!
//! Where a sandbox refuses the kernel's operation, whoever sets it does so in two steps, and may be killed between
//! them. For that case alone a sleeper looks at the word once a second.
//!
//! # Safety
//!
//! The one unsafe act is the promise that the word may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

use core::fmt;
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::primitive::futex::{self, Entry, Wake};
use ipc_core::primitive::{AtomicU32, Ordering};
use ipc_core::{Errno, Shareable};

use crate::WaitError;
use crate::raw::patience::spin_until;
use crate::raw::until::Until;

const SET: u32 = 1 << 31;
const WAITED: u32 = 1;
const CLEARED_ONCE: u32 = 2;

/// How long a sleeper whom nobody wakes sleeps at a time.
const SLICE: Duration = Duration::from_secs(1);

/// Something that has happened, or has not yet: one process [`set`](Self::set)s it, any number
/// [`wait`](Self::wait) for it, and it stays set until somebody [`clear`](Self::clear)s it.
///
/// It takes 4 bytes, lies in memory that the processes map, and works in a `static` between threads. Zeroed memory is
/// an event that is not set. To look is one load, to set it while nobody waits one compare-exchange, and to set it
/// otherwise one system call. Who waits sleeps until the event is set, and looks up once a second at most.
///
/// Who began to wait before it was set comes through, even if it was cleared again at once; unless that happens
/// 2^30 times before it looks again.
///
/// # When a process dies
///
/// Killed in [`set`](Self::set), it has set the event and woken everybody, or has done nothing; only if a sandbox
/// refuses `FUTEX_WAKE_OP` may it have set it and woken nobody, who then find out within a second. Whoever waits for
/// an event that only a dead process would have set waits for ever: wait with a time-out, or for that process's end
/// as well.
///
/// # Signals
///
/// [`set`](Self::set), [`clear`](Self::clear) and [`is_set`](Self::is_set) may be called by a signal handler.
///
/// # Examples
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::Event;
///
/// let mut plan = Plan::new();
/// let ready = plan.one::<Event>()?;
/// let region = Region::planned(&plan)?;
/// let ready = region.get(ready)?;
///
/// let mut child = fork_fn(|| ready.wait().map_or(1, |()| 0))?;
/// ready.set();
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct Event(AtomicU32);

// SAFETY: one atomic word, of which every pattern is a state.
unsafe impl Shareable for Event {}

static_assertions::assert_impl_all!(Event: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Event>() == 4);

impl Event {
    ipc_core::const_unless_loom! {
        /// An event that is not set.
        ///
        /// # Examples
        ///
        /// ```
        /// static READY: ipc_sync::Event = ipc_sync::Event::new();
        /// assert!(!READY.is_set());
        /// ```
        #[must_use]
        pub fn new() -> Self {
            Self(AtomicU32::new(0))
        }
    }

    /// Whether it is set: one load. What the setter did before is seen afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = ipc_sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        // SYNC: what was done before the event was set (Release in `set`).
        self.0.load(Ordering::Acquire) & SET != 0
    }

    /// Sets it and wakes everybody who waits. Setting it again changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// static DONE: ipc_sync::Event = ipc_sync::Event::new();
    /// let waiter = std::thread::spawn(|| DONE.wait());
    /// DONE.set();
    /// waiter.join().unwrap()?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    #[inline]
    pub fn set(&self) {
        let mut word = self.0.load(Ordering::Relaxed);
        // An event that is set is set once more by the compare-exchange: who sees it then sees also what this thread
        // did before.
        while word & WAITED == 0 || word & SET != 0 {
            // SYNC: what was done before the event was set (Acquire in `is_set` and `wait`).
            match self.exchange(word, word | SET, Ordering::Release) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
        // The kernel orders what was done before ahead of this, as it orders everything.
        if futex::set_top_bit_and_wake_all(&self.0).is_err() {
            // A sandbox without the operation. Whoever is killed between these two leaves sleepers, for `SLICE`.
            self.0.fetch_or(SET, Ordering::Release);
            futex::wake(&self.0, u32::MAX);
        }
    }

    /// Makes it an event that is not set. Clearing it again changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = ipc_sync::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    #[inline]
    pub fn clear(&self) {
        let mut word = self.0.load(Ordering::Relaxed);
        while word & SET != 0 {
            let next = (word & !SET & !WAITED).wrapping_add(CLEARED_ONCE) & !SET;
            // SYNC: what was done before the event was set (Release in `set`): it has happened before the next time.
            match self.exchange(word, next, Ordering::AcqRel) {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Waits until it is set.
    ///
    /// # Errors
    ///
    /// [`WaitError::Os`], if the kernel refuses to let the thread sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// let event = ipc_sync::Event::new();
    /// event.set();
    /// event.wait()?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    #[inline]
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_until(Until::Forever)
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] when the time is over and it is not set, else as [`wait`](Self::wait). Signals neither
    /// lengthen nor shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Event, WaitError};
    ///
    /// let never = Event::new();
    /// assert_eq!(never.wait_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), WaitError> {
        self.wait_deadline(Deadline::after(timeout))
    }

    /// As [`wait`](Self::wait), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Deadline, Event};
    ///
    /// let (begun, done) = (Event::new(), Event::new());
    /// begun.set();
    /// done.set();
    /// // One deadline for both.
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// begun.wait_deadline(deadline)?;
    /// done.wait_deadline(deadline)?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn wait_deadline(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.wait_until(Until::Deadline(deadline))
    }

    /// As [`wait_deadline`](Self::wait_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`WaitError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, Errno, Event, WaitError};
    ///
    /// # fn asked_to_stop() -> bool { false }
    /// # let event = Event::new();
    /// # event.set();
    /// loop {
    ///     match event.wait_interruptible(Deadline::FAR) {
    ///         Err(WaitError::Os(Errno::INTR)) if asked_to_stop() => break,
    ///         Err(WaitError::Os(Errno::INTR)) => {}
    ///         waited => break waited?,
    ///     }
    /// }
    /// # Ok::<(), WaitError>(())
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.wait_until(Until::Interruptible(deadline))
    }

    #[inline]
    pub(crate) fn wait_until(&self, until: Until) -> Result<(), WaitError> {
        // SYNC: what was done before the event was set (Release in `set`).
        let word = self.0.load(Ordering::Acquire);
        if word & SET != 0 { Ok(()) } else { self.wait_contended(word, until) }
    }

    /// Goes on where the event was found in the state `word`, not set.
    #[cold]
    fn wait_contended(&self, mut word: u32, until: Until) -> Result<(), WaitError> {
        let asleep = word | WAITED;
        // Any other value says that it was set since.
        let was_set = |word: u32| word | WAITED != asleep;
        let mut interrupted = false;
        while !was_set(word) {
            if until.has_passed() {
                // What came in time counts, however late this thread is.
                let in_time = was_set(self.0.load(Ordering::Acquire));
                return if in_time { Ok(()) } else { Err(WaitError::TimedOut) };
            }
            if !spin_until(|| was_set(self.0.load(Ordering::Relaxed))) {
                if word != asleep {
                    // Where this fails the kernel finds another word too, or "waited" by somebody else.
                    let _ = self.exchange(word, asleep, Ordering::Relaxed);
                }
                let slice = Deadline::after(SLICE);
                let end = until.deadline().map_or(slice, |deadline| deadline.min(slice));
                let entry = [Entry::new(&self.0, asleep)];
                let wake = futex::sleep(&entry, None, end, until.is_interruptible());
                interrupted = wake.map_err(WaitError::Os)? == Wake::Interrupted;
            }
            // SYNC: what was done before the event was set (Release in `set`).
            word = self.0.load(Ordering::Acquire);
            if interrupted && until.is_interruptible() && !was_set(word) {
                return Err(WaitError::Os(Errno::INTR));
            }
        }
        Ok(())
    }

    #[inline]
    fn exchange(&self, from: u32, to: u32, order: Ordering) -> Result<(), u32> {
        self.0.compare_exchange(from, to, order, Ordering::Relaxed).map(drop)
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A thread that was kept from running until its time was over, while the event was set in time.
    #[test]
    fn what_came_in_time_counts_however_late_the_thread_is() {
        let event = Event::new();
        let late = Until::Deadline(Deadline::now());
        assert_eq!(event.wait_contended(0, late), Err(WaitError::TimedOut));
        event.set();
        assert_eq!(event.wait_contended(0, late), Ok(()));
        event.clear();
        assert_eq!(event.wait_contended(0, late), Ok(()), "set and cleared since");
    }
}
