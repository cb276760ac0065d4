//! [`Once`]: something that is done once for all processes.
//!
//! ```text
//! +--------------------------------+----------+
//! | mutex, 16 bytes                | done     |
//! +--------------------------------+----------+
//!   who is doing it                  an event
//! ```
//!
//! Nothing here is a protocol of its own: a [mutex](crate::raw::mutex) around the function, and an
//! [`Event`] that says that it is done, set by the one who holds the mutex, before the release. Whoever gets the mutex
//! looks at the event before doing anything.
//!
//! | done | mutex | who | may |
//! |---|---|---|---|
//! | no | free | anybody | claim it, told whether its last owner died or panicked |
//! | no | held | its owner | do it, and set the event; or release the mutex, as it was found |
//! | no | held | others | wait; take it over from the dead, as the mutex says |
//! | yes | any | anybody | return. Who holds or gets the mutex releases it |
//!
//! The event is one word, and is set in one step with the wake-up of all who [`wait`](Once::wait) for it; these sleep on
//! that word and not on the gate, so none of them takes a wake-up that was meant for one who could do it.
//!
//! # What a death leaves behind
//!
//! | killed | leaves | then |
//! |---|---|---|
//! | before the claim | nothing | – |
//! | after the claim, before the function, in it, or after it | the mutex held by the dead, not done | a caller takes it over, is told, and does it, for the second time perhaps |
//! | after the event is set, before the release | done; the mutex held by the dead | callers that come return at once; one that sleeps takes it over, sees that it is done, and releases |
//! | after the release, before the wake | done, callers asleep | one is woken by the baton or by its slice, and wakes the next by its own release |
//! | asleep, or woken | nothing | its wake-up goes on to the next, as with the mutex and the event |
//!
//! A state "done" of the owner word would make it 8 bytes smaller, but those who wait for that without being able to do it
//! would then sleep on the gate, where a wake of one is for one that can.
//!
//! # Safety
//!
//! The one unsafe act here is the promise that the words may be shared.
#![expect(unsafe_code, reason = "an unsafe marker trait, and unsafe constructors")]

mod error;
mod lock;

use core::convert::Infallible;
use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::{identity, killed, panicking};

use crate::raw::mutex::{Found, RawMutex};
use crate::raw::until::Until;
use crate::{Event, WaitError};

pub use error::{OnceError, SetError};
pub use lock::OnceLock;

/// Something that is to be done once, by whichever process comes first.
///
/// It lies in memory that the processes map, or in a `static` between threads. It takes 24 bytes; zeroed memory is one
/// that is not done. When it is done, [`call_once`](Self::call_once) is one load.
///
/// # When a process dies
///
/// Killed while it was doing it, it leaves that to the next caller, who is told by [`OnceState::previous_died`]. Those
/// who are in [`call_once`](Self::call_once) go on at most 200 ms after the kernel reports the death, mostly within
/// 5 ms (with [`in_region`](Self::in_region)). Those who only [`wait`](Self::wait) cannot do it, and wait for somebody
/// who does.
///
/// Never do two processes do it at the same time, and never is it done again when it is done. But between the end of the
/// function and the note that it is done a process may be killed as well, and then it is done a second time: *at least
/// once*, and exactly once if nobody dies. A function that may not be repeated looks, if it is told of a death, how far
/// the dead one came.
///
/// Processes in different pid namespaces cannot judge each other's life: see [`Mutex`](crate::Mutex).
///
/// # What it does not do
///
/// A function that calls [`call_once`](Self::call_once) on the same `Once` gets [`OnceError::Deadlock`] if it is
/// [in a region](Self::in_region), and otherwise waits for ever.
///
/// # Examples
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::Shared;
/// use ipc_sync::{Once, Semaphore};
///
/// let (once, times) = (Shared::<Once>::in_region(())?, Shared::new(Semaphore::new(0))?);
/// let prepare = || {
///     let prepared = once.call_once(|state| {
///         assert!(!state.previous_died());
///         times.release().expect("once");
///     });
///     prepared.map_or(1, |()| 0)
/// };
/// let mut children = [fork_fn(prepare)?, fork_fn(prepare)?];
/// prepare();
/// assert_eq!(times.available(), 1);
/// for child in &mut children {
///     assert!(child.wait()?.success());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(C)]
pub struct Once {
    raw: RawMutex,
    done: Event,
    /// What would be padding.
    unused: u32,
}

// SAFETY: words of which every pattern is a state; zeroed memory is one that is not done.
unsafe impl Shareable for Once {}

static_assertions::assert_impl_all!(Once: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Once>() == 24);

/// What is known to the one who does it.
///
/// # Examples
///
/// See [`previous_died`](Self::previous_died).
#[derive(Debug)]
pub struct OnceState {
    found: Found,
}

static_assertions::assert_impl_all!(OnceState: Send, Sync);

impl OnceState {
    /// Whether one who began to do it was killed or panicked, or an operator [broke](Once::break_lock) the lock.
    ///
    /// How far the dead one had come nobody knows: it may not have begun, and it may have been at the end.
    ///
    /// # Examples
    ///
    /// ```
    /// static ONCE: ipc_sync::Once = ipc_sync::Once::new();
    /// std::thread::spawn(|| ONCE.call_once(|_| panic!("in the middle"))).join().unwrap_err();
    /// ONCE.call_once(|state| assert!(state.previous_died()))?;
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[must_use]
    pub fn previous_died(&self) -> bool {
        self.found == Found::Inconsistent
    }
}

impl Once {
    ipc_core::const_unless_loom! {
        /// One that is not done.
        ///
        /// A caller notices the death of the one who was doing it at the end of a slice, at most 64 ms later.
        /// [`in_region`](Self::in_region) makes one whose callers notice it at once.
        ///
        /// # Examples
        ///
        /// ```
        /// static ONCE: ipc_sync::Once = ipc_sync::Once::new();
        /// assert!(!ONCE.is_completed());
        /// ```
        #[must_use]
        pub fn new() -> Self {
            Self { raw: RawMutex::new(false), done: Event::new(), unused: 0 }
        }
    }

    ipc_core::const_unless_loom! {
        /// One that is not done, for memory that stays mapped: the kernel is told its address while somebody is doing
        /// it, and wakes a caller when he dies. It is as with [`Mutex::in_region`](crate::Mutex::in_region).
        ///
        /// # Safety
        ///
        /// Wherever it is placed: as long as any thread is in one of its calls, its memory is not used for anything
        /// else. (A borrow sees to that, unless the thread is ended by something else than its return.)
        ///
        /// # Examples
        ///
        /// ```
        /// use ipc_sync::{Once, OnceError};
        ///
        /// // SAFETY: a static is there for ever.
        /// static ONCE: Once = unsafe { Once::in_region() };
        /// ONCE.call_once(|_| assert_eq!(ONCE.call_once(|_| {}), Err(OnceError::Deadlock)))?;
        /// # Ok::<(), OnceError>(())
        /// ```
        #[must_use]
        pub unsafe fn in_region() -> Self {
            Self { raw: RawMutex::new(true), done: Event::new(), unused: 0 }
        }
    }

    /// Whether it is done: one load. What was done is seen afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// let once = ipc_sync::Once::new();
    /// once.call_once(|_| {})?;
    /// assert!(once.is_completed());
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.done.is_set()
    }

    /// Does it by calling `f`, if it is not done; waits if somebody else is doing it. It is done when this returns `Ok`.
    ///
    /// If `f` panics it is not done, and the next caller is told as if this one had died.
    ///
    /// # Errors
    ///
    /// [`Deadlock`](OnceError::Deadlock), [`NotRunner`](OnceError::NotRunner), [`Corrupt`](OnceError::Corrupt),
    /// [`NoIdentity`](OnceError::NoIdentity) or [`Os`](OnceError::Os).
    ///
    /// # Examples
    ///
    /// ```
    /// static ONCE: ipc_sync::Once = ipc_sync::Once::new();
    /// let mut times = 0;
    /// for _ in 0..3 {
    ///     ONCE.call_once(|_| times += 1)?;
    /// }
    /// assert_eq!(times, 1);
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[inline]
    pub fn call_once(&self, f: impl FnOnce(&OnceState)) -> Result<(), OnceError> {
        self.call_until(Until::Forever, f)
    }

    /// As [`call_once`](Self::call_once), without waiting.
    ///
    /// # Errors
    ///
    /// [`OnceError::WouldBlock`] if somebody else is doing it who is not known to be dead, else as
    /// [`call_once`](Self::call_once).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Once, OnceError};
    ///
    /// let once = Once::new();
    /// once.call_once(|_| assert_eq!(once.try_call_once(|_| {}), Err(OnceError::WouldBlock)))?;
    /// assert_eq!(once.try_call_once(|_| unreachable!()), Ok(()));
    /// # Ok::<(), OnceError>(())
    /// ```
    #[inline]
    pub fn try_call_once(&self, f: impl FnOnce(&OnceState)) -> Result<(), OnceError> {
        self.call_until(Until::Now, f)
    }

    /// As [`call_once`](Self::call_once); waits for at most `timeout`. The time that `f` takes does not count.
    ///
    /// # Errors
    ///
    /// [`OnceError::TimedOut`] when the time is over, else as [`call_once`](Self::call_once). Signals do not lengthen
    /// or shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Once, OnceError};
    ///
    /// let once = Once::new();
    /// let inner = || once.call_once_timeout(Duration::from_millis(1), |_| {});
    /// once.call_once(|_| assert_eq!(inner(), Err(OnceError::TimedOut)))?;
    /// # Ok::<(), OnceError>(())
    /// ```
    #[inline]
    pub fn call_once_timeout(
        &self,
        timeout: Duration,
        f: impl FnOnce(&OnceState),
    ) -> Result<(), OnceError> {
        self.call_once_deadline(Deadline::after(timeout), f)
    }

    /// As [`call_once`](Self::call_once); waits until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`call_once_timeout`](Self::call_once_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, Once};
    ///
    /// // Nobody is doing it: there is nothing to wait for.
    /// Once::new().call_once_deadline(Deadline::now(), |_| {})?;
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[inline]
    pub fn call_once_deadline(
        &self,
        deadline: Deadline,
        f: impl FnOnce(&OnceState),
    ) -> Result<(), OnceError> {
        self.call_until(Until::Deadline(deadline), f)
    }

    /// As [`call_once_deadline`](Self::call_once_deadline), and [a signal](crate#signals) ends the wait, too.
    ///
    /// # Errors
    ///
    /// Also [`OnceError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, Once};
    ///
    /// Once::new().call_once_interruptible(Deadline::FAR, |_| {})?;
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[inline]
    pub fn call_once_interruptible(
        &self,
        deadline: Deadline,
        f: impl FnOnce(&OnceState),
    ) -> Result<(), OnceError> {
        self.call_until(Until::Interruptible(deadline), f)
    }

    /// Waits until somebody has done it, whoever and whenever that may be: if the one who is doing it dies and nobody
    /// else calls, that is for ever.
    ///
    /// # Errors
    ///
    /// [`WaitError::Os`], if the kernel refuses to let the thread sleep.
    ///
    /// # Examples
    ///
    /// ```
    /// static ONCE: ipc_sync::Once = ipc_sync::Once::new();
    /// let waiter = std::thread::spawn(|| ONCE.wait());
    /// ONCE.call_once(|_| {}).unwrap();
    /// waiter.join().unwrap()?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_until(Until::Forever)
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] when the time is over and it is not done, else as [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Once, WaitError};
    ///
    /// assert_eq!(Once::new().wait_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
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
    /// use ipc_sync::{Deadline, Once, WaitError};
    ///
    /// assert_eq!(Once::new().wait_deadline(Deadline::now()), Err(WaitError::TimedOut));
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
    /// use ipc_sync::{Deadline, Once};
    ///
    /// let once = Once::new();
    /// once.call_once(|_| {}).unwrap();
    /// once.wait_interruptible(Deadline::FAR)?;
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<(), WaitError> {
        self.wait_until(Until::Interruptible(deadline))
    }

    /// The process that is doing it at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Once, ProcessId};
    ///
    /// let once = Once::new();
    /// once.call_once(|_| assert_eq!(once.runner(), ProcessId::current().ok()))?;
    /// assert_eq!(once.runner(), None);
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[must_use]
    pub fn runner(&self) -> Option<ProcessId> {
        // One who was killed when it was done has left the mutex to nobody, and nobody needs it any more.
        if self.is_completed() { None } else { self.raw.owner() }
    }

    /// Lets the next caller do it, who is told that the one before died. For operators, where he has died in
    /// another pid namespace. If it is done it stays so.
    ///
    /// # Safety
    ///
    /// The one who is doing it is dead.
    ///
    /// # Examples
    ///
    /// ```
    /// let once = ipc_sync::Once::new();
    /// // SAFETY: nobody is doing it.
    /// unsafe { once.break_lock() };
    /// once.call_once(|state| assert!(state.previous_died()))?;
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    pub unsafe fn break_lock(&self) {
        self.raw.break_lock();
    }

    /// For models: the calling process has been here before.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn admit(&self) {
        self.raw.admit();
    }

    #[inline]
    fn call_until(&self, until: Until, f: impl FnOnce(&OnceState)) -> Result<(), OnceError> {
        let f = |state: &OnceState| {
            f(state);
            Ok::<(), Infallible>(())
        };
        self.run(until, f, |()| {}).map_err(|Failed::Once(error)| error)
    }

    /// As [`call_once`](Self::call_once), for an `f` that may fail: then it is not done, and what the next caller is told
    /// is what this one was. What `f` made is handed to `keep`, in the process that is doing it and no other.
    #[inline]
    fn run<R, E>(
        &self,
        until: Until,
        f: impl FnOnce(&OnceState) -> Result<R, E>,
        keep: impl FnOnce(R),
    ) -> Result<(), Failed<E>> {
        if self.is_completed() { Ok(()) } else { self.run_contended(until, f, keep) }
    }

    #[cold]
    fn run_contended<R, E>(
        &self,
        until: Until,
        f: impl FnOnce(&OnceState) -> Result<R, E>,
        keep: impl FnOnce(R),
    ) -> Result<(), Failed<E>> {
        let found = match self.raw.lock(until) {
            Ok(found) => found,
            // What came in time counts: the mutex is held for an instant even then.
            Err(_) if self.is_completed() => return Ok(()),
            Err(refused) => return Err(Failed::Once(refused.into())),
        };
        let running = Running { once: self, found, panicking: panicking() };
        if !self.is_completed() {
            let made = f(&OnceState { found }).map_err(Failed::Run)?;
            running.complete(|| keep(made)).map_err(Failed::Once)?;
        }
        Ok(())
    }

    fn wait_until(&self, until: Until) -> Result<(), WaitError> {
        while !self.is_completed() {
            // Comes back with nothing only if something else has written to the word.
            self.done.wait_until(until)?;
        }
        Ok(())
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("completed", &self.is_completed())
            .field("runner", &self.runner())
            .finish_non_exhaustive()
    }
}

/// Why it is not done.
enum Failed<E> {
    Once(OnceError),
    Run(E),
}

/// The mutex, held by this thread.
struct Running<'a> {
    once: &'a Once,
    found: Found,
    /// The thread was panicking already: a destructor does it.
    panicking: bool,
}

impl Running<'_> {
    fn complete(&self, keep: impl FnOnce()) -> Result<(), OnceError> {
        // A forked child comes out of the function as well, and must not say that its parent has.
        if identity::known().and_then(|me| self.once.raw.held_by(me.id)).is_none() {
            return Err(OnceError::NotRunner);
        }
        keep();
        self.once.done.set();
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if killed() {
            return;
        }
        let panicked = panicking() && !self.panicking;
        // In a forked child this changes nothing.
        self.once.raw.unlock(self.found, if panicked { Found::Inconsistent } else { self.found });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A thread that saw it undone, and then the mutex of the one who had done it meanwhile.
    #[test]
    fn what_came_in_time_counts_however_late_the_thread_is() {
        let once = Once::new();
        let attempt = |until| once.run_contended(until, |_| Ok::<(), Infallible>(()), |()| {});
        assert_eq!(once.raw.lock(Until::Now), Ok(Found::Consistent));
        let late = Until::Deadline(Deadline::now());
        assert!(matches!(attempt(Until::Now), Err(Failed::Once(OnceError::WouldBlock))));
        assert!(matches!(attempt(late), Err(Failed::Once(OnceError::TimedOut))));
        once.done.set();
        assert!(attempt(Until::Now).is_ok() && attempt(late).is_ok());
    }
}
