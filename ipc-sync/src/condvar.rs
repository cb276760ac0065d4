//! [`Condvar`]: wait for what others change under a [`Mutex`](crate::Mutex).
//!
//! # The steps
//!
//! A waiter announces its sleep *while it holds the mutex*, releases it, sleeps, and takes it again. So whoever changes what it
//! looked at, and takes the mutex for that, finds the announcement: a notification needs no lock, waits for
//! nobody, and is one load while nobody waits. The word and its steps are in `raw/announced.rs`; there is nothing else, and
//! so nothing to repair.
//!
//! # What a death leaves behind
//!
//! | killed | leaves | then |
//! |---|---|---|
//! | in `wait`, before the mutex is released | the mutex held by the dead, a gate at 0 | the next owner is told; a futile system call |
//! | in `wait`, asleep or about to | a gate at 0 | the next notification: a futile system call |
//! | in `wait`, woken | its wake-up is spent | the kernel wakes the next by the baton, which is given back only when the mutex is held again |
//! | in `wait`, woken, and taking a mutex that has a baton of its own | its wake-up is spent, and the kernel knows the mutex's gate | a sleeper sees at the end of a slice that the number has moved, and returns |
//! | in `wait`, holding the mutex again | the mutex held by the dead | the next owner is told |
//! | in a notification, before its step | nothing: nobody was notified | – |
//! | in a notification, after it | as many awake | them |
//! | holding the mutex, with all others asleep here | the mutex held by the dead, and nobody who wants it | sleepers look at the mutex at the end of each slice: they return and are told |
//! | between its change and the notification | a change that nobody was told of | `wait_while` and its kin look at the end of each slice |
//!
//! # Safety
//!
//! The one unsafe act is the promise that the word may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;

use crate::raw::announced::{Announced, Ended, Waiting};
use crate::raw::patience::Looks;
use crate::raw::until::Until;
use crate::{LockError, MutexGuard, WaitError};

/// Waits, without holding a [`Mutex`](crate::Mutex), for a change of what it guards.
///
/// It takes 8 bytes, lies in memory that the processes map, and works in a `static` between threads. Zeroed memory is a
/// condition variable at which nobody waits. The methods are those of [`std::sync::Condvar`]; Python's
/// `Condition.wait_for` is [`wait_while`](Self::wait_while) with the condition turned round.
///
/// A notification never waits for anybody and needs no lock. While nobody waits it is one load. To be seen, what it tells
/// of must have been changed under the mutex; it may come before the mutex is released or after.
///
/// Other than std's this one may be used with any number of mutexes at once: it does not know them. A
/// notification of one may then reach a waiter of another, so it is [`notify_all`](Self::notify_all) that is wanted.
///
/// # Spurious returns
///
/// A wait may return although nobody has notified it. Here that happens seldom: a waiter that slept through a notification of
/// somebody else returns within 64 ms, for that one may have been killed. Look at the condition again, or let
/// [`wait_while`](Self::wait_while) do so.
///
/// # When a process dies
///
/// | killed | the others |
/// |---|---|
/// | waiting, asleep or just woken | miss nothing: its wake-up goes on to another waiter |
/// | notifying | see all of it, or nothing |
/// | holding the mutex | are told: waiters return from their sleep with [`LockError::Recovered`], one after the other until somebody has repaired the value |
/// | after a change, before it has notified | find out by themselves within 64 ms, if they are in [`wait_while`](Self::wait_while) or one of its timed forms |
///
/// Every wait takes the mutex again before it returns, also if its time is over, a signal has come, or the kernel
/// refused to let it sleep. Whatever it says, it is [`LockError::Recovered`] that comes first.
///
/// # A value that is not in order
///
/// [`Recovered`](crate::Recovered) cannot wait: repair the value first, and
/// [say so](crate::Recovered::mark_consistent). If it could, the next one who took the mutex would find the same
/// disorder, and nobody who may go on to repair it.
///
/// ```compile_fail
/// use ipc_sync::{Condvar, LockError, Mutex};
///
/// let (mutex, changed) = (Mutex::new(0_u32), Condvar::new());
/// if let Err(LockError::Recovered(value)) = mutex.lock() {
///     let _ = changed.wait(value); // expected `MutexGuard`, found `Recovered`
/// }
/// ```
///
/// A wait that outlives deaths is a loop, then, because after the repair the condition is open once more:
///
/// ```
/// use ipc_sync::{Condvar, LockError, Mutex, MutexGuard};
///
/// /// The lock, held over a value that is in order.
/// fn repaired<'a>(locked: Result<MutexGuard<'a, u32>, LockError<'a, u32>>) -> MutexGuard<'a, u32> {
///     match locked {
///         Ok(items) => items,
///         Err(LockError::Recovered(mut items)) => {
///             *items = 0;
///             items.mark_consistent()
///         }
///         Err(error) => panic!("{error}"),
///     }
/// }
///
/// fn take(items: &Mutex<u32>, more: &Condvar) {
///     let mut items = repaired(items.lock());
///     while *items == 0 {
///         items = repaired(more.wait_while(items, |items| *items == 0));
///     }
///     *items -= 1;
/// }
///
/// let (items, more) = (Mutex::new(7), Condvar::new());
/// take(&items, &more);
/// assert_eq!(items.into_inner(), 6);
/// ```
///
/// # Signals
///
/// A signal handler may notify, but it may not lock the mutex to change anything before: [`Event`](crate::Event) and
/// [`Semaphore`](crate::Semaphore) are for that.
///
/// # Examples
///
/// The example of std's, between processes:
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::{Condvar, Mutex};
///
/// let mut plan = Plan::new();
/// let started = plan.one::<Mutex<u32>>()?;
/// let changed = plan.one::<Condvar>()?;
/// let region = Region::planned_with(&plan, |fill| fill.locks(started, |_| 0))?;
/// let (started, changed) = (region.get(started)?, region.get(changed)?);
///
/// let mut child = fork_fn(|| {
///     *started.lock().expect("nobody has died") = 1;
///     changed.notify_one();
///     0
/// })?;
/// let guard = started.lock().expect("nobody has died");
/// let guard = changed.wait_while(guard, |started| *started == 0).expect("nobody has died");
/// assert_eq!(*guard, 1);
/// drop(guard);
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(transparent)]
pub struct Condvar(Announced);

// SAFETY: one atomic word, of which every pattern is a state.
unsafe impl Shareable for Condvar {}

static_assertions::assert_impl_all!(Condvar: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Condvar>() == 8);

/// What the timed waits of a [`Condvar`] give: the mutex, held again, and how the wait ended; or why it is not simply held.
pub type Waited<'a, T> = Result<(MutexGuard<'a, T>, Result<(), WaitError>), LockError<'a, T>>;

/// Whether a wait returns at the end of a slice in which nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtSlices {
    Return,
    SleepOn,
}

impl Condvar {
    ipc_core::const_unless_loom! {
        /// A condition variable at which nobody waits.
        ///
        /// # Examples
        ///
        /// ```
        /// static CHANGED: ipc_sync::Condvar = ipc_sync::Condvar::new();
        /// CHANGED.notify_all();
        /// ```
        #[must_use]
        pub fn new() -> Self {
            Self(Announced::new())
        }
    }

    /// Releases the mutex, waits for a notification, and takes the mutex again.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`](crate::Mutex::lock): [`LockError::Recovered`] *has* the lock. With
    /// [`LockError::Os`], which says that the kernel refuses to let the thread sleep, the mutex is released.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Condvar, Mutex};
    ///
    /// static READY: Mutex<u32> = Mutex::new(0);
    /// static CHANGED: Condvar = Condvar::new();
    ///
    /// let peer = std::thread::spawn(|| {
    ///     *READY.lock().unwrap() = 1;
    ///     CHANGED.notify_one();
    /// });
    /// let mut ready = READY.lock()?;
    /// while *ready == 0 {
    ///     ready = CHANGED.wait(ready)?;
    /// }
    /// # drop(ready);
    /// # peer.join().unwrap();
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn wait<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> Result<MutexGuard<'a, T>, LockError<'a, T>> {
        held(self.wait_once(guard, Until::Forever, AtSlices::SleepOn))
    }

    /// Waits until `condition` is false: looks at once, after each notification, and now and then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// See [`Condvar`].
    pub fn wait_while<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, LockError<'a, T>> {
        held(self.wait_until_while(guard, Until::Forever, condition))
    }

    /// As [`wait`](Self::wait), for at most `timeout`; the mutex, and [`WaitError::TimedOut`] if nobody has notified.
    ///
    /// The mutex is waited for however long that takes.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`](crate::Mutex::lock). What the kernel refuses is said beside the mutex.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Condvar, Mutex, WaitError};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(0);
    /// static NEVER: Condvar = Condvar::new();
    /// let (guard, waited) = NEVER.wait_timeout(LOCK.lock()?, Duration::from_millis(1))?;
    /// assert_eq!(waited, Err(WaitError::TimedOut));
    /// # drop(guard);
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn wait_timeout<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Waited<'a, T> {
        self.wait_deadline(guard, Deadline::after(timeout))
    }

    /// As [`wait_while`](Self::wait_while), for at most `timeout`; the mutex, and [`WaitError::TimedOut`] if the condition
    /// still holds.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Condvar, Mutex, WaitError};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(0);
    /// static CHANGED: Condvar = Condvar::new();
    /// let soon = Duration::from_millis(1);
    /// let (guard, waited) = CHANGED.wait_timeout_while(LOCK.lock()?, soon, |value| *value == 0)?;
    /// assert_eq!(waited, Err(WaitError::TimedOut));
    /// # drop(guard);
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn wait_timeout_while<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        self.wait_deadline_while(guard, Deadline::after(timeout), condition)
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
    /// use ipc_sync::{Condvar, Deadline, Mutex, WaitError};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(0);
    /// static NEVER: Condvar = Condvar::new();
    /// let (guard, waited) = NEVER.wait_deadline(LOCK.lock()?, Deadline::now())?;
    /// assert_eq!(waited, Err(WaitError::TimedOut));
    /// # drop(guard);
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn wait_deadline<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
    ) -> Waited<'a, T> {
        self.wait_once(guard, Until::Deadline(deadline), AtSlices::SleepOn)
    }

    /// As [`wait_timeout_while`](Self::wait_timeout_while), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Condvar, Deadline, Mutex};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(7);
    /// static CHANGED: Condvar = Condvar::new();
    /// let soon = Deadline::now();
    /// let (guard, waited) = CHANGED.wait_deadline_while(LOCK.lock()?, soon, |value| *value == 0)?;
    /// assert_eq!((*guard, waited), (7, Ok(())));
    /// # drop(guard);
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn wait_deadline_while<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        self.wait_until_while(guard, Until::Deadline(deadline), condition)
    }

    /// As [`wait_deadline`](Self::wait_deadline), and [a signal](crate#signals) ends it, too: then the mutex, and
    /// [`WaitError::Os`] with `EINTR`.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Condvar, Deadline, Errno, Mutex, WaitError};
    ///
    /// # fn asked_to_stop() -> bool { false }
    /// # static LOCK: Mutex<u32> = Mutex::new(7);
    /// # static CHANGED: Condvar = Condvar::new();
    /// let mut guard = LOCK.lock()?;
    /// while *guard == 0 {
    ///     let waited;
    ///     (guard, waited) = CHANGED.wait_interruptible(guard, Deadline::FAR)?;
    ///     if waited == Err(WaitError::Os(Errno::INTR)) && asked_to_stop() {
    ///         break;
    ///     }
    /// }
    /// # drop(guard);
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn wait_interruptible<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
    ) -> Waited<'a, T> {
        self.wait_once(guard, Until::Interruptible(deadline), AtSlices::SleepOn)
    }

    /// As [`wait_deadline_while`](Self::wait_deadline_while), and [a signal](crate#signals) ends it, too, if the condition
    /// still holds.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Condvar, Deadline, Mutex};
    ///
    /// # static LOCK: Mutex<u32> = Mutex::new(7);
    /// # static CHANGED: Condvar = Condvar::new();
    /// let guard = LOCK.lock()?;
    /// let (guard, waited) =
    ///     CHANGED.wait_interruptible_while(guard, Deadline::FAR, |value| *value == 0)?;
    /// assert_eq!(waited, Ok(()));
    /// # drop(guard);
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn wait_interruptible_while<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        self.wait_until_while(guard, Until::Interruptible(deadline), condition)
    }

    /// Wakes one who waits, if anybody does.
    ///
    /// # Examples
    ///
    /// See [`wait`](Self::wait).
    #[inline]
    pub fn notify_one(&self) {
        self.0.notify_ordered(1);
    }

    /// Wakes up to `count` of those who wait, as one step: Python's `Condition.notify(n)`.
    ///
    /// If as many wait, as many are woken. Others may return as well: see [above](Self#spurious-returns).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Condvar, Mutex};
    ///
    /// static ITEMS: Mutex<u32> = Mutex::new(0);
    /// static MORE: Condvar = Condvar::new();
    /// *ITEMS.lock()? += 3;
    /// MORE.notify(3);
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    #[inline]
    pub fn notify(&self, count: u32) {
        self.0.notify_ordered(count);
    }

    /// Wakes everybody who waits.
    ///
    /// # Examples
    ///
    /// ```
    /// ipc_sync::Condvar::new().notify_all();
    /// ```
    #[inline]
    pub fn notify_all(&self) {
        self.0.notify_ordered(u32::MAX);
    }

    fn wait_until_while<'a, T: Shareable>(
        &self,
        mut guard: MutexGuard<'a, T>,
        until: Until,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        let mut waited = Ok(());
        while condition(&mut guard) {
            if waited.is_err() {
                return Ok((guard, waited));
            }
            // A notification may have died with whoever owed it: look at each slice's end.
            (guard, waited) = self.wait_once(guard, until, AtSlices::Return)?;
        }
        Ok((guard, Ok(())))
    }

    fn wait_once<'a, T: Shareable>(
        &self,
        guard: MutexGuard<'a, T>,
        until: Until,
        at_slices: AtSlices,
    ) -> Waited<'a, T> {
        let mutex = MutexGuard::mutex(&guard);
        // Before the mutex is released: see the head of this file.
        let key = self.0.announce();
        drop(guard);
        let mut waiting = Waiting::new(&self.0, until, Looks::seldom());
        let waited = loop {
            match waiting.wait(key) {
                // Whoever died with the mutex cannot notify any more.
                Ok(Ended::Slice) if at_slices == AtSlices::SleepOn && !mutex.is_abandoned() => {}
                ended => break ended.map(drop),
            }
        };
        let guard = mutex.lock();
        // Only now is the wake-up ours.
        drop(waiting);
        Ok((guard?, waited))
    }
}

/// The mutex alone, where the wait can only have ended well, or by the kernel's refusal.
fn held<T: Shareable>(waited: Waited<'_, T>) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
    match waited? {
        (guard, Ok(())) => Ok(guard),
        (_, Err(WaitError::Os(errno))) => Err(LockError::Os(errno)),
        (_, Err(WaitError::TimedOut)) => Err(LockError::TimedOut),
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
