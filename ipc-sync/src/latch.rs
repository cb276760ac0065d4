//! [`Latch`]: it opens when so many have counted down.
//!
//! # The word
//!
//! A [number and its gate](crate::raw::gated), where the number is *minus* what remains. So the last one to count
//! down brings it to 0, and zeroed memory is a latch that is open.
//!
//! | number | who | to | how |
//! |---|---|---|---|
//! | −n, n > 1 | who counts down | −n + 1 | compare-exchange: those who sleep sleep on |
//! | −1, surely nobody sleeps | who counts down | 0: open | compare-exchange |
//! | −1, somebody may be asleep | who counts down | 0: open, and everybody awake | one operation of the kernel |
//! | 0 or more | who counts down | – | an error |
//!
//! # What a death leaves behind
//!
//! | killed | leaves | seen by |
//! |---|---|---|
//! | in `count_down`, before its step | a count that never comes | nobody: the latch does not know who was to count |
//! | in `count_down`, after it | it is counted; if it was the last, the latch is open and its waiters are awake | them |
//! | in `count_down` in a sandbox that refuses `FUTEX_WAKE_OP`, after its step | the same, and sleepers | them, at the end of their slices |
//! | in `wait` | a gate at 0 | whoever counts down last: one futile system call |
//!
//! # Safety
//!
//! The one unsafe act is the promise that the word may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::primitive::Ordering;

use crate::WaitError;
use crate::raw::gated::Gated;
use crate::raw::until::Until;

/// Opens once, when it was counted down from a number to 0, and stays open: C++'s `std::latch`, Java's
/// `CountDownLatch`. Any number of processes [`wait`](Self::wait) for that.
///
/// It takes 8 bytes, lies in memory that the processes map, and works in a `static` between threads. Zeroed memory is a
/// latch that is open. To look is one load; to count down is one compare-exchange, and for the last one a system call
/// if anybody waits.
///
/// Whoever comes through sees what everybody did before counting down.
///
/// # When a process dies
///
/// Counting down is one step with the wake-up that it owes: a process killed meanwhile has counted and, if it was the last,
/// woken everybody; or it has not counted. **A process that died before it counted never counts**, and those who wait
/// would wait for ever: counts have no names, so nobody can tell whose is missing. Whoever learns of the death,
/// from the [`Child`](ipc_core::process::Child) for example, may count in its place, if it is known not to have
/// done so. Otherwise wait with a time-out, or use what knows its participants by name.
///
/// # Signals
///
/// [`count_down`](Self::count_down), [`is_open`](Self::is_open) and [`remaining`](Self::remaining) may be called by a
/// signal handler.
///
/// # Examples
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::Latch;
///
/// let mut plan = Plan::new();
/// let prepared = plan.one::<Latch>()?;
/// let region = Region::planned_with(&plan, |fill| fill.values(prepared, |_| Latch::new(2)))?;
/// let prepared = region.get(prepared)?;
///
/// let children = [(), ()].map(|()| {
///     fork_fn(|| {
///         // .. prepares its part, and says so:
///         prepared.count_down().map_or(1, |_| 0)
///     })
/// });
/// prepared.wait()?; // Both are there.
/// for child in children {
///     assert!(child?.wait()?.success());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct Latch(Gated);

// SAFETY: one atomic word, of which every pattern is a state. Zeroed memory is open.
unsafe impl Shareable for Latch {}

static_assertions::assert_impl_all!(Latch: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Latch>() == 8);

/// What remains to be counted, if the latch is not open.
fn remaining(number: u32) -> Option<u32> {
    (number > Latch::MAX).then(|| number.wrapping_neg())
}

impl Latch {
    /// The greatest count: 2,147,483,647.
    pub const MAX: u32 = Gated::MAX;

    ipc_core::const_unless_loom! {
        /// A latch that opens when it was counted down `count` times; with 0 it is open.
        ///
        /// # Panics
        ///
        /// If `count` is more than [`MAX`](Self::MAX).
        ///
        /// # Examples
        ///
        /// ```
        /// static READY: ipc_sync::Latch = ipc_sync::Latch::new(3);
        /// assert_eq!(READY.remaining(), 3);
        /// ```
        #[must_use]
        pub fn new(count: u32) -> Self {
            assert!(count <= Self::MAX, "more than a latch can count");
            Self(Gated::new(count.wrapping_neg()))
        }
    }

    /// Counts one; what remains. If that is 0 the latch is open, and everybody who waited is awake.
    ///
    /// # Errors
    ///
    /// [`BelowZero`]: the latch was open already, and nothing has changed. So it is also when two race for the last
    /// count, of whom one is too many: at least one of them is told, and it may be both if somebody waits.
    ///
    /// # Examples
    ///
    /// ```
    /// let latch = ipc_sync::Latch::new(2);
    /// assert_eq!(latch.count_down(), Ok(1));
    /// assert_eq!(latch.count_down(), Ok(0));
    /// assert_eq!(latch.count_down(), Err(ipc_sync::BelowZero));
    /// ```
    #[inline]
    pub fn count_down(&self) -> Result<u32, BelowZero> {
        let owes = |number| Some(if remaining(number)? == 1 { u32::MAX } else { 0 });
        match self.0.bump(owes).ok().and_then(remaining) {
            // The kernel adds whatever is there. Where it added to an open latch, that now is more than 0.
            Some(1) if self.0.number(Ordering::Relaxed) != 0 => Err(BelowZero),
            Some(before) => Ok(before - 1),
            None => Err(BelowZero),
        }
    }

    /// Whether it is open: one load. What was done before counting down is seen afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!ipc_sync::Latch::new(1).is_open());
    /// assert!(ipc_sync::Latch::new(0).is_open());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.pass().is_ok()
    }

    /// How many counts are missing at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::Latch::new(3).remaining(), 3);
    /// ```
    #[must_use]
    pub fn remaining(&self) -> u32 {
        remaining(self.0.number(Ordering::Relaxed)).unwrap_or(0)
    }

    /// For models: as [`remaining`](Self::remaining), and never out of date.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn remaining_now(&self) -> u32 {
        remaining(self.0.number_now()).unwrap_or(0)
    }

    /// Waits until it is open.
    ///
    /// # Errors
    ///
    /// [`WaitError::Os`], if the kernel refuses to let the thread sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// let latch = ipc_sync::Latch::new(1);
    /// latch.count_down().unwrap();
    /// latch.wait()?;
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
    /// [`WaitError::TimedOut`] when the time is over and it is not open, else as [`wait`](Self::wait). Signals neither
    /// lengthen nor shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Latch, WaitError};
    ///
    /// let latch = Latch::new(1);
    /// assert_eq!(latch.wait_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
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
    /// use ipc_sync::{Deadline, Latch};
    ///
    /// // One deadline for both.
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// Latch::new(0).wait_deadline(deadline)?;
    /// Latch::new(0).wait_deadline(deadline)?;
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
    /// use ipc_sync::{Deadline, Latch};
    ///
    /// Latch::new(0).wait_interruptible(Deadline::FAR)?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.wait_until(Until::Interruptible(deadline))
    }

    #[inline]
    fn wait_until(&self, until: Until) -> Result<(), WaitError> {
        match self.pass() {
            Ok(()) => Ok(()),
            Err(number) => self.0.wait_for(until, number, || self.pass()),
        }
    }

    /// The number, if it is not open.
    #[inline]
    fn pass(&self) -> Result<(), u32> {
        // SYNC: what was done before the number was added to (Release in `bump`), by everybody who did.
        let number = self.0.number(Ordering::Acquire);
        remaining(number).map_or(Ok(()), |_| Err(number))
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

/// A [`Latch`] was counted down that was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BelowZero;

static_assertions::assert_impl_all!(BelowZero: Send, Sync);

impl fmt::Display for BelowZero {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counted down a latch that was open")
    }
}

impl core::error::Error for BelowZero {}
