//! [`CountingSemaphore`]: permits that belong to nobody, and never more than so many.
//!
//! # What a death leaves behind
//!
//! The word, and each of its steps, is in `raw/gated.rs`. The bound never changes.
//!
//! | killed | permits | then |
//! |---|---|---|
//! | in `acquire`, before the permit is taken | as before | its wake-up, if it had one, goes on to the next sleeper |
//! | in `acquire`, after that | one less, until somebody gives another | nobody knows: a permit has no owner |
//! | in `release` or `release_many`, before the step | as before | – |
//! | in `release` or `release_many`, after it | all of them | whoever waited for them is awake |
//!
//! # Safety
//!
//! The one unsafe act is the promise that the words may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

use core::fmt;
// The bound is written before anybody else comes, so that it is no part of the model.
use core::sync::atomic::AtomicU32;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::primitive::Ordering;

use super::take_one;
use crate::raw::gated::Gated;
use crate::raw::until::Until;
use crate::{TooManyPermits, WaitError};

/// A [`Semaphore`](crate::Semaphore) with an exact bound: there are never more permits than that, and each
/// [`release`](Self::release) that would make one more is refused, also when many release at the same time. Python's
/// `BoundedSemaphore`.
///
/// It takes 16 bytes, lies in memory that the processes map, and works in a `static` between threads. Zeroed memory
/// has no permits, and [`MAX`](Self::MAX) as its bound. Without contention both calls are one compare-exchange and no
/// system call.
///
/// # When a process dies
///
/// As with a [`Semaphore`](crate::Semaphore#when-a-process-dies): nobody who waits is stranded, and a permit that a dead
/// process had taken is gone. Where permits are lent and must come back, take a
/// [`BoundedSemaphore`](crate::BoundedSemaphore): it knows who has them.
///
/// # Memory
///
/// Who has a permit does not know that whoever gave it has returned from [`release`](Self::release). Use the bytes for
/// something else only when nobody can be in a call any more.
///
/// # Signals
///
/// [`release`](Self::release), [`release_many`](Self::release_many) and [`try_acquire`](Self::try_acquire) may be called by a
/// signal handler.
///
/// # Examples
///
/// Room for three items between two processes. For the memory see [the front page](crate#a-lock-between-processes).
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::CountingSemaphore;
///
/// let mut plan = Plan::new();
/// let room = plan.one::<CountingSemaphore>()?;
/// let region = Region::planned_with(&plan, |fill| fill.values(room, |_| CountingSemaphore::new(3, 3)))?;
/// let room = region.get(room)?;
///
/// (0..3).try_for_each(|_| room.acquire())?;
/// let mut child = fork_fn(|| room.release().map_or(1, |()| 0))?;
/// room.acquire()?;
/// assert!(child.wait()?.success());
/// room.release_many(3)?;
/// assert!(room.release().is_err(), "more than were taken");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "BoundedSemaphore")]
#[repr(C)]
pub struct CountingSemaphore {
    permits: Gated,
    /// By how much the bound is less than [`MAX`](Self::MAX).
    below_max: AtomicU32,
    unused: AtomicU32,
}

// SAFETY: three atomic words, of which every pattern is a state, without padding.
unsafe impl Shareable for CountingSemaphore {}

static_assertions::assert_impl_all!(CountingSemaphore: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<CountingSemaphore>() == 16);

impl CountingSemaphore {
    /// The greatest bound: 2,147,483,647.
    pub const MAX: u32 = Gated::MAX;

    ipc_core::const_unless_loom! {
        /// A semaphore with `permits`, of which there are never more than `bound`.
        ///
        /// # Panics
        ///
        /// If `permits` is more than `bound`, or `bound` more than [`MAX`](Self::MAX).
        ///
        /// # Examples
        ///
        /// ```
        /// static ROOM: ipc_sync::CountingSemaphore = ipc_sync::CountingSemaphore::new(2, 3);
        /// assert_eq!((ROOM.available(), ROOM.bound()), (2, 3));
        /// ```
        #[must_use]
        pub fn new(permits: u32, bound: u32) -> Self {
            assert!(bound <= Self::MAX, "more permits than a semaphore can have");
            assert!(permits <= bound, "more permits than the bound");
            Self {
                permits: Gated::new(permits),
                below_max: AtomicU32::new(Self::MAX - bound),
                unused: AtomicU32::new(0),
            }
        }
    }

    /// Waits until there is a permit, and takes it.
    ///
    /// It is not fair: a running thread may take a permit before one that was woken for it.
    ///
    /// # Errors
    ///
    /// [`WaitError::Os`], if the kernel refuses to let the thread sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// static ROOM: ipc_sync::CountingSemaphore = ipc_sync::CountingSemaphore::new(1, 1);
    /// ROOM.acquire()?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    #[inline]
    pub fn acquire(&self) -> Result<(), WaitError> {
        self.acquire_until(Until::Forever)
    }

    /// Takes a permit if there is one, without waiting; whether it did.
    ///
    /// # Examples
    ///
    /// ```
    /// let room = ipc_sync::CountingSemaphore::new(1, 1);
    /// assert!(room.try_acquire());
    /// assert!(!room.try_acquire());
    /// ```
    #[inline]
    #[must_use = "whether there is a permit now"]
    pub fn try_acquire(&self) -> bool {
        self.permits.update(take_one).is_ok()
    }

    /// As [`acquire`](Self::acquire), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] when the time is over and there is no permit, else as
    /// [`acquire`](Self::acquire). Signals neither lengthen nor shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{CountingSemaphore, WaitError};
    ///
    /// let room = CountingSemaphore::new(1, 1);
    /// room.acquire()?;
    /// assert_eq!(room.acquire_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
    /// # Ok::<(), WaitError>(())
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<(), WaitError> {
        self.acquire_deadline(Deadline::after(timeout))
    }

    /// As [`acquire`](Self::acquire), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{CountingSemaphore, Deadline};
    ///
    /// // One deadline for both.
    /// let (a, b) = (CountingSemaphore::new(1, 1), CountingSemaphore::new(1, 1));
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// a.acquire_deadline(deadline)?;
    /// b.acquire_deadline(deadline)?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn acquire_deadline(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.acquire_until(Until::Deadline(deadline))
    }

    /// As [`acquire_deadline`](Self::acquire_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`WaitError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{CountingSemaphore, Deadline};
    ///
    /// CountingSemaphore::new(1, 1).acquire_interruptible(Deadline::FAR)?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.acquire_until(Until::Interruptible(deadline))
    }

    /// Gives a permit, and wakes one who waits for it.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if there are as many as there may be; then nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{CountingSemaphore, TooManyPermits};
    ///
    /// let room = CountingSemaphore::new(1, 2);
    /// assert_eq!(room.release(), Ok(()));
    /// assert_eq!(room.release(), Err(TooManyPermits));
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), TooManyPermits> {
        self.give(1)
    }

    /// Gives `permits`, all of them or none, and wakes whoever waits.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if there would be more than there may be; then nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// let room = ipc_sync::CountingSemaphore::new(0, 5_000);
    /// room.release_many(4_999)?;
    /// assert!(room.release_many(2).is_err());
    /// assert_eq!(room.available(), 4_999);
    /// # Ok::<(), ipc_sync::TooManyPermits>(())
    /// ```
    pub fn release_many(&self, permits: u32) -> Result<(), TooManyPermits> {
        if permits == 0 { Ok(()) } else { self.give(permits) }
    }

    /// How many permits there are at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::CountingSemaphore::new(3, 3).available(), 3);
    /// ```
    #[must_use]
    pub fn available(&self) -> u32 {
        self.permits.number(Ordering::Relaxed)
    }

    /// How many permits there may be.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::CountingSemaphore::new(2, 3).bound(), 3);
    /// ```
    #[must_use]
    pub fn bound(&self) -> u32 {
        Self::MAX.saturating_sub(self.below_max.load(Ordering::Relaxed))
    }

    /// For models: as [`available`](Self::available), and never out of date.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn available_now(&self) -> u32 {
        self.permits.number_now()
    }

    #[inline]
    fn give(&self, permits: u32) -> Result<(), TooManyPermits> {
        let bound = self.bound();
        let sum = |there: u32| there.checked_add(permits).filter(|&sum| sum <= bound);
        self.permits.change(permits, sum).map_err(|_| TooManyPermits)
    }

    #[inline]
    fn acquire_until(&self, until: Until) -> Result<(), WaitError> {
        self.permits.wait_to_update(until, take_one)
    }
}

impl fmt::Debug for CountingSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountingSemaphore")
            .field("available", &self.available())
            .field("bound", &self.bound())
            .finish_non_exhaustive()
    }
}
