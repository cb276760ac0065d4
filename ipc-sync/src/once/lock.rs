//! [`OnceLock`]: a value that is written once.
//!
//! # Safety
//!
//! The value is written by whoever does what the [`Once`] is for, so by one thread at a time and never after it is done;
//! and it is read only when it is done. It is [`Shareable`]: there is nothing to drop.
#![expect(unsafe_code, reason = "a value is shared between threads and processes")]

use core::convert::Infallible;
use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::UnsafeCell;

use super::{Failed, Once, OnceError, SetError};
use crate::WaitError;
use crate::raw::until::Until;

/// A value that is written once, by whichever process comes first, and then only read.
///
/// It takes 24 bytes, and the value, which is plain data: see [`Shareable`]. Zeroed memory is one without a value. For
/// the rest it is a [`Once`]. A reader's cost is one load.
///
/// # When a process dies
///
/// Whoever is killed in the function that makes the value, or while the value is written, leaves none; the next caller
/// makes it. There is nothing of the dead one's to be seen, so nobody is told. A function that has effects besides its
/// value may have had them: there [`Once`] is the choice, which tells.
///
/// # Examples
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::Shared;
/// use ipc_sync::OnceLock;
///
/// let seed = Shared::<OnceLock<u64>>::in_region(())?;
/// let mut child = fork_fn(|| {
///     let seed = seed.get_or_init(|| u64::from(std::process::id()));
///     seed.map_or(1, |_| 0)
/// })?;
/// let mine = *seed.get_or_init(|| u64::from(std::process::id()))?;
/// assert!(child.wait()?.success());
/// assert_eq!(seed.get(), Some(&mine));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(C)]
pub struct OnceLock<T: Shareable> {
    once: Once,
    value: UnsafeCell<T>,
}

// SAFETY: one thread writes the value before anybody reads it, perhaps for another to have; then it is only read.
unsafe impl<T: Shareable + Send> Sync for OnceLock<T> {}
// SAFETY: words of which every pattern is a state, then a shareable value; zeroed memory has none.
unsafe impl<T: Shareable + Send> Shareable for OnceLock<T> {}

static_assertions::assert_impl_all!(OnceLock<u64>: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<OnceLock<()>>() == 24 && size_of::<OnceLock<u64>>() == 32);

impl<T: Shareable> OnceLock<T> {
    ipc_core::const_unless_loom! {
        /// One without a value.
        ///
        /// A caller notices the death of the one who was making the value at the end of a slice, at most 64 ms later.
        /// [`in_region`](Self::in_region) makes one whose callers notice it at once.
        ///
        /// # Examples
        ///
        /// ```
        /// static SEED: ipc_sync::OnceLock<u64> = ipc_sync::OnceLock::new();
        /// assert_eq!(SEED.get(), None);
        /// ```
        #[must_use]
        pub fn new() -> Self {
            // SAFETY: every pattern of bits is a value of a shareable type.
            Self { once: Once::new(), value: UnsafeCell::new(unsafe { core::mem::zeroed() }) }
        }
    }

    ipc_core::const_unless_loom! {
        /// One without a value, for memory that stays mapped: see [`Once::in_region`].
        ///
        /// # Safety
        ///
        /// As there.
        ///
        /// # Examples
        ///
        /// ```
        /// // SAFETY: a static is there for ever.
        /// static SEED: ipc_sync::OnceLock<u64> = unsafe { ipc_sync::OnceLock::in_region() };
        /// assert_eq!(SEED.get_or_init(|| 7), Ok(&7));
        /// ```
        #[must_use]
        pub unsafe fn in_region() -> Self {
            // SAFETY: the caller's promise is the same.
            let once = unsafe { Once::in_region() };
            // SAFETY: every pattern of bits is a value of a shareable type.
            Self { once, value: UnsafeCell::new(unsafe { core::mem::zeroed() }) }
        }
    }

    /// The value, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let seed = ipc_sync::OnceLock::new();
    /// assert_eq!(seed.get(), None);
    /// seed.set(7).unwrap();
    /// assert_eq!(seed.get(), Some(&7));
    /// ```
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: it is done, so the value was written before and is not written any more.
        self.once.is_completed().then(|| self.value.with(|value| unsafe { &*value }))
    }

    /// The value, to be changed: nobody else has the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut seed = ipc_sync::OnceLock::new();
    /// seed.set(7).unwrap();
    /// *seed.get_mut().unwrap() += 1;
    /// assert_eq!(seed.into_inner(), Some(8));
    /// ```
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: borrowed alone.
        self.once.is_completed().then(|| self.value.with_mut(|value| unsafe { &mut *value }))
    }

    /// The value, if there is one, without the lock.
    ///
    /// # Examples
    ///
    /// See [`get_mut`](Self::get_mut).
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.once.is_completed().then(|| self.value.into_inner())
    }

    /// Sets the value, if there is none; waits if somebody else is about to.
    ///
    /// # Errors
    ///
    /// [`SetError::AlreadySet`] gives the value back; otherwise [`SetError::Failed`], for the reasons of
    /// [`Once::call_once`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{OnceLock, SetError};
    ///
    /// static SEED: OnceLock<u64> = OnceLock::new();
    /// SEED.set(7)?;
    /// assert_eq!(SEED.set(8), Err(SetError::AlreadySet(8)));
    /// assert_eq!(SEED.get(), Some(&7));
    /// # Ok::<(), SetError<u64>>(())
    /// ```
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        let mut unset = Some(value);
        let done = self.once.run(
            Until::Forever,
            |_| Ok::<_, Infallible>(unset.take()),
            |value| value.into_iter().for_each(|value| self.write(value)),
        );
        match (done, unset) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(value)) => Err(SetError::AlreadySet(value)),
            (Err(Failed::Once(error)), _) => Err(SetError::Failed(error)),
        }
    }

    /// The value; made by `f`, if there is none. Waits if somebody else is making it.
    ///
    /// # Errors
    ///
    /// As [`Once::call_once`].
    ///
    /// # Examples
    ///
    /// ```
    /// static SEED: ipc_sync::OnceLock<u64> = ipc_sync::OnceLock::new();
    /// assert_eq!(SEED.get_or_init(|| 7)?, &7);
    /// assert_eq!(SEED.get_or_init(|| unreachable!())?, &7);
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[inline]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> Result<&T, OnceError> {
        self.get_until(Until::Forever, || Ok(f()))
    }

    /// As [`get_or_init`](Self::get_or_init); waits until `deadline`. The time that `f` takes does not count.
    ///
    /// # Errors
    ///
    /// [`OnceError::TimedOut`] when the time is over, else as [`get_or_init`](Self::get_or_init).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, OnceError, OnceLock};
    ///
    /// let seed = OnceLock::new();
    /// let inner = || seed.get_or_init_deadline(Deadline::now(), || 8).copied();
    /// seed.get_or_init(|| {
    ///     // Somebody is making it: this very thread.
    ///     assert_eq!(inner(), Err(OnceError::TimedOut));
    ///     7
    /// })?;
    /// # Ok::<(), OnceError>(())
    /// ```
    #[inline]
    pub fn get_or_init_deadline(
        &self,
        deadline: Deadline,
        f: impl FnOnce() -> T,
    ) -> Result<&T, OnceError> {
        self.get_until(Until::Deadline(deadline), || Ok(f()))
    }

    /// As [`get_or_init_deadline`](Self::get_or_init_deadline), and [a signal](crate#signals) ends the wait, too.
    ///
    /// # Errors
    ///
    /// Also [`OnceError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, OnceLock};
    ///
    /// let seed = OnceLock::new();
    /// assert_eq!(seed.get_or_init_interruptible(Deadline::FAR, || 7)?, &7);
    /// # Ok::<(), ipc_sync::OnceError>(())
    /// ```
    #[inline]
    pub fn get_or_init_interruptible(
        &self,
        deadline: Deadline,
        f: impl FnOnce() -> T,
    ) -> Result<&T, OnceError> {
        self.get_until(Until::Interruptible(deadline), || Ok(f()))
    }

    /// As [`get_or_init`](Self::get_or_init), for an `f` that may fail: then there is no value, and the next caller's
    /// is asked.
    ///
    /// # Errors
    ///
    /// What `f` says, or an [`OnceError`] made into the like.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::OnceLock;
    ///
    /// static PORT: OnceLock<u16> = OnceLock::new();
    /// let parse = |text: &str| -> Result<u16, Box<dyn std::error::Error>> {
    ///     PORT.get_or_try_init(|| Ok(text.parse()?)).copied()
    /// };
    /// assert!(parse("eighty").is_err());
    /// assert_eq!(parse("80")?, 80);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn get_or_try_init<E: From<OnceError>>(
        &self,
        f: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        self.get_until(Until::Forever, f)
    }

    /// As [`get_or_try_init`](Self::get_or_try_init); waits until `deadline`. The time that `f` takes does not count.
    ///
    /// # Errors
    ///
    /// Also [`OnceError::TimedOut`], made into the like.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, OnceError, OnceLock};
    ///
    /// let seed = OnceLock::new();
    /// assert_eq!(seed.get_or_try_init_deadline(Deadline::now(), || Ok::<_, OnceError>(7))?, &7);
    /// # Ok::<(), OnceError>(())
    /// ```
    #[inline]
    pub fn get_or_try_init_deadline<E: From<OnceError>>(
        &self,
        deadline: Deadline,
        f: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        self.get_until(Until::Deadline(deadline), f)
    }

    /// Waits until somebody has set the value, as [`Once::wait`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// static SEED: ipc_sync::OnceLock<u64> = ipc_sync::OnceLock::new();
    /// let waiter = std::thread::spawn(|| SEED.wait());
    /// SEED.set(7).unwrap();
    /// assert_eq!(waiter.join().unwrap()?, &7);
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn wait(&self) -> Result<&T, WaitError> {
        self.wait_until(Until::Forever)
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] when the time is over and there is no value, else as [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{OnceLock, WaitError};
    ///
    /// let seed = OnceLock::<u64>::new();
    /// assert_eq!(seed.wait_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> Result<&T, WaitError> {
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
    /// use ipc_sync::{Deadline, OnceLock, WaitError};
    ///
    /// let seed = OnceLock::<u64>::new();
    /// assert_eq!(seed.wait_deadline(Deadline::now()), Err(WaitError::TimedOut));
    /// ```
    pub fn wait_deadline(&self, deadline: Deadline) -> Result<&T, WaitError> {
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
    /// use ipc_sync::{Deadline, OnceLock};
    ///
    /// let seed = OnceLock::new();
    /// seed.set(7).unwrap();
    /// assert_eq!(seed.wait_interruptible(Deadline::FAR)?, &7);
    /// # Ok::<(), ipc_sync::WaitError>(())
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<&T, WaitError> {
        self.wait_until(Until::Interruptible(deadline))
    }

    /// The process that is making the value at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::OnceLock::<u64>::new().runner(), None);
    /// ```
    #[must_use]
    pub fn runner(&self) -> Option<ProcessId> {
        self.once.runner()
    }

    /// Lets the next caller make the value, as [`Once::break_lock`].
    ///
    /// # Safety
    ///
    /// The one who is making it is dead.
    ///
    /// # Examples
    ///
    /// See [`Once::break_lock`].
    pub unsafe fn break_lock(&self) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.once.break_lock() };
    }

    /// For models: the calling process has been here before.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn admit(&self) {
        self.once.admit();
    }

    #[inline]
    fn get_until<E: From<OnceError>>(
        &self,
        until: Until,
        f: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        let done = self.once.run(until, |_| f(), |value| self.write(value));
        done.map_err(|failed| match failed {
            Failed::Once(error) => error.into(),
            Failed::Run(error) => error,
        })?;
        // What is done stays so, unless something else writes to the words.
        self.get().ok_or_else(|| OnceError::Corrupt.into())
    }

    fn wait_until(&self, until: Until) -> Result<&T, WaitError> {
        loop {
            if let Some(value) = self.get() {
                return Ok(value);
            }
            self.once.wait_until(until)?;
        }
    }

    /// For `run`, which calls it in the thread that does it, before it is done.
    fn write(&self, value: T) {
        // SAFETY: no other thread does it, and before it is done nobody reads.
        self.value.with_mut(|place| unsafe { place.write(value) });
    }
}

impl<T: Shareable> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceLock").field("value", &self.get()).finish_non_exhaustive()
    }
}
