//! [`Semaphore`]: permits that belong to nobody.
//!
//! # What a death leaves behind
//!
//! The word, and each of its steps, is in `raw/gated.rs`.
//!
//! | killed | permits | then |
//! |---|---|---|
//! | in `acquire`, before the permit is taken | as before | its wake-up, if it had one, goes on to the next sleeper |
//! | in `acquire`, after that | one less, for ever | nobody knows: a permit has no owner |
//! | in `release`, before the step | as before | – |
//! | in `release`, after it | one more | whoever waited for it is awake |
//! | in `release_many` of more than 2,047, between two steps | some more | as many are awake |
//!
//! # Safety
//!
//! The one unsafe act is the promise that the word may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

mod binary;
mod counting;

use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::primitive::Ordering;

use crate::WaitError;
use crate::raw::gated::Gated;
use crate::raw::until::Until;

pub use binary::BinarySemaphore;
pub use counting::CountingSemaphore;

/// A number of permits that several processes share: [`acquire`](Self::acquire) takes one and waits while there is
/// none, [`release`](Self::release) gives one, and need not be called by who took it.
///
/// It takes 8 bytes, lies in memory that the processes map, and works in a `static` between threads. Zeroed
/// memory is a semaphore without permits. Without contention both calls are one compare-exchange and no system call.
///
/// # When a process dies
///
/// Nobody who waits is stranded, wherever it was killed, and no permit that was given is lost. A permit that a dead
/// process had *taken* is gone: permits have no names, and so nobody can tell. That is right for "so many items are
/// there", and wrong for "so many may work at once": for the latter with one permit there is
/// [`Mutex`](crate::Mutex), which tells the next owner.
///
/// # Memory
///
/// Who has a permit does not know that whoever gave it has returned from [`release`](Self::release). Use the bytes for
/// something else only when nobody can be in a call any more.
///
/// # Signals
///
/// [`release`](Self::release) and [`try_acquire`](Self::try_acquire) may be called by a signal handler, as
/// `sem_post` may.
///
/// # Examples
///
/// One process makes items, another takes them. For the memory see
/// [the front page](crate#a-lock-between-processes).
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::Semaphore;
///
/// let mut plan = Plan::new();
/// let made = plan.one::<Semaphore>()?;
/// let region = Region::planned(&plan)?;
/// let made = region.get(made)?;
///
/// let mut child = fork_fn(|| {
///     for _ in 0..3 {
///         made.release().expect("fewer than 2,147,483,647");
///     }
///     0
/// })?;
/// for _ in 0..3 {
///     made.acquire()?;
/// }
/// assert!(!made.try_acquire());
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct Semaphore(Gated);

// SAFETY: one atomic word, of which every pattern is a state. Zeroed memory has no permits.
unsafe impl Shareable for Semaphore {}

static_assertions::assert_impl_all!(Semaphore: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Semaphore>() == 8);

impl Semaphore {
    /// The most permits that there can be: 2,147,483,647. It is exact as long as nobody gives any while others fill it:
    /// each that is in the middle of a [`release`](Self::release) then may come on top.
    pub const MAX: u32 = Gated::MAX;

    ipc_core::const_unless_loom! {
        /// A semaphore with `permits`.
        ///
        /// # Panics
        ///
        /// If `permits` is more than [`MAX`](Self::MAX).
        ///
        /// # Examples
        ///
        /// ```
        /// static TOKENS: ipc_sync::Semaphore = ipc_sync::Semaphore::new(2);
        /// assert_eq!(TOKENS.available(), 2);
        /// ```
        #[must_use]
        pub fn new(permits: u32) -> Self {
            assert!(permits <= Self::MAX, "more permits than a semaphore can have");
            Self(Gated::new(permits))
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
    /// static TOKENS: ipc_sync::Semaphore = ipc_sync::Semaphore::new(1);
    /// TOKENS.acquire()?;
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
    /// let tokens = ipc_sync::Semaphore::new(1);
    /// assert!(tokens.try_acquire());
    /// assert!(!tokens.try_acquire());
    /// ```
    #[inline]
    #[must_use = "whether there is a permit now"]
    pub fn try_acquire(&self) -> bool {
        self.0.update(take_one).is_ok()
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
    /// use ipc_sync::{WaitError, Semaphore};
    ///
    /// let none = Semaphore::new(0);
    /// assert_eq!(none.acquire_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
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
    /// use ipc_sync::{Deadline, Semaphore};
    ///
    /// // One deadline for both.
    /// let tokens = Semaphore::new(2);
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// tokens.acquire_deadline(deadline)?;
    /// tokens.acquire_deadline(deadline)?;
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
    /// use ipc_sync::{Deadline, Semaphore};
    ///
    /// Semaphore::new(1).acquire_interruptible(Deadline::FAR)?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.acquire_until(Until::Interruptible(deadline))
    }

    /// Gives a permit, and wakes one who waits for it.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`]; then nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::Semaphore;
    ///
    /// let tokens = Semaphore::new(Semaphore::MAX - 1);
    /// tokens.release()?;
    /// assert!(tokens.release().is_err());
    /// # Ok::<(), ipc_sync::TooManyPermits>(())
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), TooManyPermits> {
        self.0.add(1).map_err(|_| TooManyPermits)
    }

    /// Gives `permits`, and wakes as many.
    ///
    /// Up to 2,047 are given in one step, so that a process killed meanwhile has given all or none; more in several.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`]; then nothing has changed, unless others give permits at the same time.
    ///
    /// # Examples
    ///
    /// ```
    /// let tokens = ipc_sync::Semaphore::new(0);
    /// tokens.release_many(5_000)?;
    /// assert_eq!(tokens.available(), 5_000);
    /// # Ok::<(), ipc_sync::TooManyPermits>(())
    /// ```
    pub fn release_many(&self, permits: u32) -> Result<(), TooManyPermits> {
        let fits = self.available().checked_add(permits).is_some_and(|sum| sum <= Self::MAX);
        if !fits {
            return Err(TooManyPermits);
        }
        let mut left = permits;
        while left > 0 {
            let step =
                u16::try_from(left).map_or(Gated::MAX_STEP, |left| left.min(Gated::MAX_STEP));
            self.0.add(step).map_err(|_| TooManyPermits)?;
            left -= u32::from(step);
        }
        Ok(())
    }

    /// How many permits there are at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::Semaphore::new(3).available(), 3);
    /// ```
    #[doc(alias = "sem_getvalue")]
    #[must_use]
    pub fn available(&self) -> u32 {
        self.0.number(Ordering::Relaxed)
    }

    /// For models: as [`available`](Self::available), and never out of date.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn available_now(&self) -> u32 {
        self.0.number_now()
    }

    #[inline]
    fn acquire_until(&self, until: Until) -> Result<(), WaitError> {
        self.0.wait_to_update(until, take_one)
    }
}

/// What is left when one permit is taken.
#[inline]
fn take_one(permits: u32) -> Option<u32> {
    permits.checked_sub(1)
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}

/// A semaphore would have had more permits than it may: more than [`Semaphore::MAX`], than
/// [`CountingSemaphore::bound`], or than the one of a
/// [`BinarySemaphore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPermits;

static_assertions::assert_impl_all!(TooManyPermits: Send, Sync);

impl fmt::Display for TooManyPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more permits than the semaphore may have")
    }
}

impl core::error::Error for TooManyPermits {}
