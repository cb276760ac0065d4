//! [`BinarySemaphore`]: one permit that belongs to nobody.
//!
//! # What a death leaves behind
//!
//! The word, and each of its steps, is in `raw/gated.rs`. Its number says how often the permit is taken: 0 or 1. So
//! zeroed memory is one that is free.
//!
//! | killed | permit | then |
//! |---|---|---|
//! | in `acquire`, before it is taken | as before | its wake-up, if it had one, goes on to the next sleeper |
//! | in `acquire`, after that | taken, until somebody releases it | nobody knows: a permit has no owner |
//! | in `release`, before the step | as before | – |
//! | in `release`, after it | free | one who waited for it is awake |
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

use crate::raw::gated::Gated;
use crate::raw::until::Until;
use crate::{TooManyPermits, WaitError};

/// One permit that several processes share: [`acquire`](Self::acquire) takes it and waits while it is taken,
/// [`release`](Self::release) gives it back. Python's `Lock`.
///
/// Whoever takes it need not be the one who releases it: another thread, another process or a signal handler may. To
/// release what is free is an error, exactly: of two who release it at the same time one is told.
///
/// It takes 8 bytes, lies in memory that the processes map, and works in a `static` between threads. Zeroed memory is one
/// that is free. Without contention both calls are one compare-exchange and no system call.
///
/// # When a process dies
///
/// Nobody who waits is stranded by the death of another waiter or of one who was releasing it. If a process dies that
/// *took* the permit, it stays taken: since anybody may release it, no death can say that nobody will. Who wants to
/// be told of that, and to go on, takes a [`Mutex`](crate::Mutex).
///
/// # Memory
///
/// Who has the permit does not know that whoever gave it has returned from [`release`](Self::release). Use the bytes for
/// something else only when nobody can be in a call any more.
///
/// # Signals
///
/// [`release`](Self::release) and [`try_acquire`](Self::try_acquire) may be called by a signal handler.
///
/// # Examples
///
/// Taken by one process and released by another. For the memory see [the front page](crate#a-lock-between-processes).
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::BinarySemaphore;
///
/// let mut plan = Plan::new();
/// let busy = plan.one::<BinarySemaphore>()?;
/// let region = Region::planned(&plan)?;
/// let busy = region.get(busy)?;
///
/// busy.acquire()?;
/// let mut child = fork_fn(|| busy.release().map_or(1, |()| 0))?;
/// busy.acquire()?;
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Lock")]
#[repr(transparent)]
pub struct BinarySemaphore(Gated);

// SAFETY: one atomic word, of which every pattern is a state. Zeroed memory is free.
unsafe impl Shareable for BinarySemaphore {}

static_assertions::assert_impl_all!(BinarySemaphore: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<BinarySemaphore>() == 8);

impl BinarySemaphore {
    ipc_core::const_unless_loom! {
        /// One that is free.
        ///
        /// # Examples
        ///
        /// ```
        /// static LOCK: ipc_sync::BinarySemaphore = ipc_sync::BinarySemaphore::new();
        /// assert!(!LOCK.is_taken());
        /// ```
        #[must_use]
        pub fn new() -> Self {
            Self(Gated::new(0))
        }
    }

    /// Waits until it is free, and takes it.
    ///
    /// It is not fair: a running thread may take it before one that was woken for it. It is not recursive either: who
    /// takes it twice waits for whoever releases it.
    ///
    /// # Errors
    ///
    /// [`WaitError::Os`], if the kernel refuses to let the thread sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::BinarySemaphore = ipc_sync::BinarySemaphore::new();
    /// LOCK.acquire()?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    #[inline]
    pub fn acquire(&self) -> Result<(), WaitError> {
        self.acquire_until(Until::Forever)
    }

    /// Takes it if it is free, without waiting; whether it did.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = ipc_sync::BinarySemaphore::new();
    /// assert!(lock.try_acquire());
    /// assert!(!lock.try_acquire());
    /// ```
    #[inline]
    #[must_use = "whether it is taken now"]
    pub fn try_acquire(&self) -> bool {
        self.0.update(taken).is_ok()
    }

    /// As [`acquire`](Self::acquire), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] when the time is over and it is taken, else as
    /// [`acquire`](Self::acquire). Signals neither lengthen nor shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{BinarySemaphore, WaitError};
    ///
    /// let lock = BinarySemaphore::new();
    /// lock.acquire()?;
    /// assert_eq!(lock.acquire_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
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
    /// use ipc_sync::{BinarySemaphore, Deadline};
    ///
    /// // One deadline for both.
    /// let (a, b) = (BinarySemaphore::new(), BinarySemaphore::new());
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
    /// use ipc_sync::{BinarySemaphore, Deadline};
    ///
    /// BinarySemaphore::new().acquire_interruptible(Deadline::FAR)?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn acquire_interruptible(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.acquire_until(Until::Interruptible(deadline))
    }

    /// Gives it back, whoever took it, and wakes one who waits for it.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if it is free; then nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{BinarySemaphore, TooManyPermits};
    ///
    /// let lock = BinarySemaphore::new();
    /// assert!(lock.try_acquire());
    /// assert_eq!(lock.release(), Ok(()));
    /// assert_eq!(lock.release(), Err(TooManyPermits));
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), TooManyPermits> {
        let released = self.0.change(1, |taken| (taken != 0).then_some(0));
        released.map_err(|_| TooManyPermits)
    }

    /// Whether it is taken at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = ipc_sync::BinarySemaphore::new();
    /// assert!(lock.try_acquire() && lock.is_taken());
    /// ```
    #[doc(alias = "locked")]
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.0.number(Ordering::Relaxed) != 0
    }

    /// For models: as [`is_taken`](Self::is_taken), and never out of date.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn is_taken_now(&self) -> bool {
        self.0.number_now() != 0
    }

    #[inline]
    fn acquire_until(&self, until: Until) -> Result<(), WaitError> {
        self.0.wait_to_update(until, taken)
    }
}

/// Once taken, if it is free.
#[inline]
fn taken(times: u32) -> Option<u32> {
    (times == 0).then_some(1)
}

impl Default for BinarySemaphore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BinarySemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BinarySemaphore").field("taken", &self.is_taken()).finish_non_exhaustive()
    }
}
