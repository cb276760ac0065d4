//! [`EventCount`]: sleep for what others change without a lock.
//!
//! The word, each of its steps, and what a death leaves behind at each of them is in `raw/announced.rs`. What it leaves
//! in the structure that the event count belongs to is in the type's documentation.
//!
//! # Safety
//!
//! The one unsafe act is the promise that the word may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::primitive::fence_after_rmw;

use crate::WaitError;
use crate::raw::announced::{Announced, Look, Waiting};
use crate::raw::patience::Looks;
use crate::raw::until::Until;

/// What makes a lock-free structure one that can be waited for: a ring that is full or empty, a list, a flag among
/// others.
///
/// Who waits calls [`wait_for`](Self::wait_for) with what it wants to do, say to take an item; this sleeps
/// until that succeeds. Who has changed something calls [`notify_one`](Self::notify_one) or one of its kin *afterwards*.
/// While nobody waits that is a fence and a load: no read-modify-write operation, and no system call.
///
/// It takes 8 bytes, lies in memory that the processes map, and works in a `static` between threads. Zeroed memory is an
/// event count.
///
/// # When a process dies
///
/// | killed | then |
/// |---|---|
/// | waiting, wherever | nobody misses anything: the wake-up that it had goes on to another, until its attempt has succeeded |
/// | having announced a sleep | the next notification is one or two futile system calls |
/// | in a notification | it was made in full or not at all; only if a sandbox refuses `FUTEX_WAKE_OP` may those whom it was for sleep to the end of a slice |
/// | between a change and its notification | whoever is in [`wait_for`](Self::wait_for) tries again by itself, within 64 ms |
///
/// # Signals
///
/// The notifications may be called by a signal handler.
///
/// # Examples
///
/// A slot for one number, which is there if it is not 0:
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::{Acquire, Relaxed, Release}};
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, RawValue, Region};
/// use ipc_sync::EventCount;
///
/// static SLOT: AtomicU32 = AtomicU32::new(0);
/// static FILLED: EventCount = EventCount::new();
///
/// let taker = std::thread::spawn(|| FILLED.wait_for(|| Some(SLOT.swap(0, Acquire)).filter(|&number| number != 0)));
/// SLOT.store(7, Release);
/// FILLED.notify_one();
/// assert_eq!(taker.join().unwrap()?, 7);
/// # Ok::<(), ipc_sync::WaitError>(())
/// ```
#[repr(transparent)]
pub struct EventCount(Announced);

// SAFETY: one atomic word, of which every pattern is a state.
unsafe impl Shareable for EventCount {}

static_assertions::assert_impl_all!(EventCount: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<EventCount>() == 8);

impl EventCount {
    ipc_core::const_unless_loom! {
        /// An event count that nobody waits at.
        ///
        /// # Examples
        ///
        /// ```
        /// static CHANGED: ipc_sync::EventCount = ipc_sync::EventCount::new();
        /// CHANGED.notify_all();
        /// ```
        #[must_use]
        pub fn new() -> Self {
            Self(Announced::new())
        }
    }

    /// Repeats `attempt` until it gives something, asleep in between.
    ///
    /// It is called before and after each sleep, and a few times more: an attempt that fails must leave everything as it
    /// was. It may panic.
    ///
    /// # Errors
    ///
    /// [`WaitError::Os`], if the kernel refuses to let the thread sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering::Acquire};
    /// use ipc_sync::EventCount;
    ///
    /// static STOPPED: AtomicBool = AtomicBool::new(true);
    /// static CHANGED: EventCount = EventCount::new();
    /// CHANGED.wait_for(|| STOPPED.load(Acquire).then_some(()))?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    #[inline]
    pub fn wait_for<R>(&self, attempt: impl FnMut() -> Option<R>) -> Result<R, WaitError> {
        self.wait_until(Until::Forever, attempt)
    }

    /// As [`wait_for`](Self::wait_for), for at most `timeout`. The last attempt is made when the time is over.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`], else as [`wait_for`](Self::wait_for). Signals neither lengthen nor shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{EventCount, WaitError};
    ///
    /// let changed = EventCount::new();
    /// let never = changed.wait_for_timeout(Duration::from_millis(1), || None::<u32>);
    /// assert_eq!(never, Err(WaitError::TimedOut));
    /// ```
    pub fn wait_for_timeout<R>(
        &self,
        timeout: Duration,
        attempt: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        self.wait_for_deadline(Deadline::after(timeout), attempt)
    }

    /// As [`wait_for_timeout`](Self::wait_for_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait_for_timeout`](Self::wait_for_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, EventCount};
    ///
    /// // What is there is had however late it is.
    /// assert_eq!(EventCount::new().wait_for_deadline(Deadline::now(), || Some(7)), Ok(7));
    /// ```
    #[inline]
    pub fn wait_for_deadline<R>(
        &self,
        deadline: Deadline,
        attempt: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        self.wait_until(Until::Deadline(deadline), attempt)
    }

    /// As [`wait_for_deadline`](Self::wait_for_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`WaitError::Os`] with `EINTR`, after a last attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, EventCount};
    ///
    /// assert_eq!(EventCount::new().wait_for_interruptible(Deadline::FAR, || Some(7)), Ok(7));
    /// ```
    #[inline]
    pub fn wait_for_interruptible<R>(
        &self,
        deadline: Deadline,
        attempt: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        self.wait_until(Until::Interruptible(deadline), attempt)
    }

    #[inline]
    fn wait_until<R>(
        &self,
        until: Until,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        match attempt() {
            Some(result) => Ok(result),
            // SYNC: announced or seen (the fence in `notify_unordered`).
            None => self.0.wait_for(until, fence_after_rmw, |_| attempt()),
        }
    }

    /// As [`wait_for`](Self::wait_for), for a structure whose notifiers look at [`is_awaited`](Self::is_awaited): here
    /// `order` sees to it that the announcement of a sleep comes before the attempt that follows, and each attempt is told what
    /// it is for. The first one is made in any case.
    #[doc(hidden)]
    #[inline]
    pub fn wait_for_by<R>(
        &self,
        until: ipc_core::os::Until,
        order: impl Fn(),
        attempt: impl FnMut(Look) -> Option<R>,
    ) -> Result<R, WaitError> {
        self.0.wait_for(until.into(), order, attempt)
    }

    /// Whether somebody has announced a sleep, as far as this thread has heard: one load, which orders nothing.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.0.is_announced()
    }

    /// As [`prepare`](Self::prepare), ordered as in [`wait_for_by`](Self::wait_for_by). `None` if others changed the word again
    /// and again: only those do so who do not keep to this.
    #[doc(hidden)]
    pub fn try_prepare_by(&self, order: impl FnOnce()) -> Option<Key<'_>> {
        self.0.try_announce_by(order).map(|number| Key { count: self, number })
    }

    /// Announces that the thread may go to sleep. Now look once more whether it has to; then [`Key::wait`], or drop the key.
    ///
    /// For what cannot be said as an attempt for [`wait_for`](Self::wait_for). From the moment at which [`Key::wait`] returns,
    /// the wake-up dies with this process; others then find out within 64 ms.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering::{Acquire, Release}};
    /// use ipc_sync::EventCount;
    ///
    /// static STOPPED: AtomicBool = AtomicBool::new(false);
    /// static CHANGED: EventCount = EventCount::new();
    ///
    /// let waiter = std::thread::spawn(|| {
    ///     while !STOPPED.load(Acquire) {
    ///         let key = CHANGED.prepare();
    ///         if !STOPPED.load(Acquire) {
    ///             key.wait()?;
    ///         }
    ///     }
    ///     Ok(())
    /// });
    /// STOPPED.store(true, Release);
    /// CHANGED.notify_all();
    /// waiter.join().unwrap()?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn prepare(&self) -> Key<'_> {
        Key { count: self, number: self.0.announce() }
    }

    /// Wakes one who waits. Call it *after* the change that it is to see.
    ///
    /// # Examples
    ///
    /// See [`EventCount`].
    #[inline]
    pub fn notify_one(&self) {
        self.0.notify_unordered(1);
    }

    /// Wakes up to `count` of those who wait, as one step.
    ///
    /// # Examples
    ///
    /// ```
    /// let changed = ipc_sync::EventCount::new();
    /// // .. three items at once, and then:
    /// changed.notify(3);
    /// ```
    #[inline]
    pub fn notify(&self, count: u32) {
        self.0.notify_unordered(count);
    }

    /// Wakes everybody who waits.
    ///
    /// # Examples
    ///
    /// See [`prepare`](Self::prepare).
    #[inline]
    pub fn notify_all(&self) {
        self.0.notify_unordered(u32::MAX);
    }

    /// As [`notify_all`](Self::notify_all), but it still counts as [awaited](Self::is_awaited), until the next notification: for
    /// who sleeps elsewhere, and is told by whoever looks at that.
    #[doc(hidden)]
    #[inline]
    pub fn wake_all(&self) {
        self.0.wake_unordered();
    }

    /// For models: moves with each announcement and each notification of somebody.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn number_now(&self) -> u32 {
        self.0.number_now()
    }
}

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventCount").finish_non_exhaustive()
    }
}

/// The announcement of a sleep: see [`EventCount::prepare`]. To drop it costs nothing, and the next notification a system
/// call.
#[must_use = "an announcement without a sleep costs the next notification a system call"]
pub struct Key<'a> {
    count: &'a EventCount,
    number: u32,
}

static_assertions::assert_impl_all!(Key<'static>: Send, Sync);

impl Key<'_> {
    /// Sleeps until somebody notifies, for 64 ms at most: it may return for no reason.
    ///
    /// It returns at once if somebody has notified since the announcement.
    ///
    /// # Errors
    ///
    /// [`WaitError::Os`], if the kernel refuses to let the thread sleep.
    ///
    /// # Examples
    ///
    /// See [`EventCount::prepare`].
    pub fn wait(self) -> Result<(), WaitError> {
        self.wait_until(Until::Forever)
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] if the time is over and nobody has notified, else as [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{EventCount, WaitError};
    ///
    /// let changed = EventCount::new();
    /// assert_eq!(changed.prepare().wait_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<(), WaitError> {
        self.wait_deadline(Deadline::after(timeout))
    }

    /// As [`wait_timeout`](Self::wait_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, EventCount};
    ///
    /// let changed = EventCount::new();
    /// let key = changed.prepare();
    /// changed.notify_one();
    /// assert_eq!(key.wait_deadline(Deadline::FAR), Ok(()));
    /// ```
    pub fn wait_deadline(self, deadline: Deadline) -> Result<(), WaitError> {
        self.wait_until(Until::Deadline(deadline))
    }

    /// As [`wait_deadline`](Self::wait_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`WaitError::Os`] with `EINTR`, if nobody has notified.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, EventCount};
    ///
    /// let changed = EventCount::new();
    /// let key = changed.prepare();
    /// changed.notify_one();
    /// assert_eq!(key.wait_interruptible(Deadline::FAR), Ok(()));
    /// ```
    pub fn wait_interruptible(self, deadline: Deadline) -> Result<(), WaitError> {
        self.wait_until(Until::Interruptible(deadline))
    }

    fn wait_until(self, until: Until) -> Result<(), WaitError> {
        Waiting::new(&self.count.0, until, Looks::seldom()).wait(self.number).map(drop)
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}
