//! [`ReentrantMutex`]: a mutex that its thread may take again, Python's `RLock`.
//!
//! The protocol, with a table of what a death leaves at each step, is in `raw/reentrant.rs`.
//!
//! # Safety
//!
//! The value is reached only through a [guard](guard), and guards exist only in one thread at a time. The value is
//! [`Shareable`]: whatever a dead owner left of it is a valid value.
#![expect(unsafe_code, reason = "a lock is shared between threads and processes")]

mod error;
mod guard;

use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::UnsafeCell;

use crate::raw::mutex::Found;
use crate::raw::reentrant::RawReentrant;
use crate::raw::until::Until;

pub use error::ReentrantLockError;
pub use guard::{Exclusive, ReentrantMutexGuard, ReentrantRecovered};

/// A [`Mutex`](crate::Mutex) that the thread which holds it may lock again, as Python's `RLock`.
///
/// The lock is released when as many guards were dropped as were taken, in any order. It takes 32 bytes, and the value.
/// For the rest it is a [`Mutex`](crate::Mutex): where it may lie, what zeroed memory is, what happens between pid
/// namespaces, that it is not fair, and that it trusts those who map it.
///
/// Since a thread may have several guards, each gives a shared reference to the value. To change it there is
/// [`exclusive`](ReentrantMutexGuard::exclusive), which the only guard has; or let the value be one that changes
/// by itself, such as an atomic of `ipc-shm`. Who needs no second lock in the same thread takes a
/// [`Mutex`](crate::Mutex), which is smaller and faster.
///
/// # Whose it is
///
/// It belongs to a thread of a process. A forked child holds nothing, whatever the thread that forked it held; the copies
/// of the guards, dropped there, do nothing. A forgotten guard leaves it held: until the process ends, even if the
/// thread ends before. Only the thread that took a guard can drop it.
///
/// With the feature `std` a thread is known by a number that is never given twice in a process. Without it, by the kernel's
/// number for it, which costs a system call at each lock and unlock, and which a later thread may get: if a thread
/// *ends* while it holds the lock, by a forgotten guard, such a later one holds it too.
///
/// # When the owner dies
///
/// As with [`Mutex`](crate::Mutex), at whatever depth it was: the next owner is told by
/// [`ReentrantLockError::Recovered`], and holds the lock once. So it is after a panic, and then the outer calls of that
/// thread, if they go on, are told as well when they lock again.
///
/// # Examples
///
/// ```
/// use ipc_sync::{ReentrantLockError, ReentrantMutex};
///
/// /// Money in two accounts.
/// static BANK: ReentrantMutex<[u32; 2]> = ReentrantMutex::new([5, 5]);
///
/// fn sum() -> u32 {
///     // Also in the middle of a transfer of this thread.
///     BANK.lock().expect("nobody has died").iter().sum()
/// }
///
/// let mut bank = BANK.lock().unwrap();
/// if let Some(mut accounts) = bank.exclusive() {
///     accounts[0] -= 3;
///     accounts[1] += 3;
/// }
/// assert_eq!(sum(), 10);
/// # drop(bank);
/// ```
#[repr(C)]
pub struct ReentrantMutex<T: Shareable> {
    raw: RawReentrant,
    value: UnsafeCell<T>,
}

// SAFETY: the raw lock lets one thread at a time reach the value, and hands it from one to the next.
unsafe impl<T: Shareable + Send> Sync for ReentrantMutex<T> {}
// SAFETY: words of which every pattern is a state, then a shareable value; zeroed memory is a free lock.
unsafe impl<T: Shareable + Send> Shareable for ReentrantMutex<T> {}

static_assertions::assert_impl_all!(ReentrantMutex<u64>: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () =
    assert!(size_of::<ReentrantMutex<()>>() == 32 && size_of::<ReentrantMutex<u64>>() == 40);

/// What an attempt to lock gives.
type Locked<'a, T> = Result<ReentrantMutexGuard<'a, T>, ReentrantLockError<'a, T>>;

impl<T: Shareable> ReentrantMutex<T> {
    ipc_core::const_unless_loom! {
        /// A free lock around `value`.
        ///
        /// A waiter notices the death of the owner at the end of a slice, at most 64 ms
        /// later. [`in_region`](Self::in_region) makes a lock whose waiters notice it at once.
        ///
        /// # Examples
        ///
        /// ```
        /// static LOCK: ipc_sync::ReentrantMutex<u32> = ipc_sync::ReentrantMutex::new(7);
        /// assert_eq!(*LOCK.lock().unwrap(), 7);
        /// ```
        #[must_use]
        pub fn new(value: T) -> Self {
            Self { raw: RawReentrant::new(false), value: UnsafeCell::new(value) }
        }
    }

    ipc_core::const_unless_loom! {
        /// A free lock around `value`, for memory that stays mapped: the kernel is told its
        /// address while it is held, and wakes a waiter when the holder dies. It is as with
        /// [`Mutex::in_region`](crate::Mutex::in_region), and counts as one lock there, however deep it is held.
        ///
        /// # Safety
        ///
        /// Wherever the lock is placed: for as long as any thread has locked it and not unlocked it, forgotten
        /// guards included, its memory is not used for anything else. A region of `ipc-shm` sees to that. A lock in
        /// a `static` satisfies it; one on a stack or on the heap does not.
        ///
        /// # Examples
        ///
        /// ```
        /// // SAFETY: a static is there for ever.
        /// static LOCK: ipc_sync::ReentrantMutex<u32> = unsafe { ipc_sync::ReentrantMutex::in_region(7) };
        /// let (outer, inner) = (LOCK.lock().unwrap(), LOCK.lock().unwrap());
        /// assert_eq!(*outer + *inner, 14);
        /// ```
        #[must_use]
        pub unsafe fn in_region(value: T) -> Self {
            Self { raw: RawReentrant::new(true), value: UnsafeCell::new(value) }
        }
    }

    /// Takes the lock once more, or waits until it is free or its owner is dead, and takes it.
    ///
    /// # Errors
    ///
    /// [`ReentrantLockError::Recovered`] *has* the lock. Otherwise [`Unrecoverable`](ReentrantLockError::Unrecoverable),
    /// [`Exclusive`](ReentrantLockError::Exclusive), [`TooDeep`](ReentrantLockError::TooDeep),
    /// [`Corrupt`](ReentrantLockError::Corrupt), [`NoIdentity`](ReentrantLockError::NoIdentity) or
    /// [`Os`](ReentrantLockError::Os).
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::ReentrantMutex<u32> = ipc_sync::ReentrantMutex::new(7);
    /// let outer = LOCK.lock()?;
    /// let inner = LOCK.lock()?;
    /// drop(outer);
    /// assert_eq!(*inner, 7);
    /// # Ok::<(), ipc_sync::ReentrantLockError<'static, u32>>(())
    /// ```
    pub fn lock(&self) -> Result<ReentrantMutexGuard<'_, T>, ReentrantLockError<'_, T>> {
        self.lock_until(Until::Forever)
    }

    /// Takes the lock once more, or if it is free or its owner is dead, without waiting.
    ///
    /// As [`Mutex::try_lock`](crate::Mutex::try_lock) it asks the kernel whether the owner lives.
    ///
    /// # Errors
    ///
    /// [`ReentrantLockError::WouldBlock`] if another thread holds the lock whose process is not known to be dead, else
    /// as [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{ReentrantLockError, ReentrantMutex};
    ///
    /// static LOCK: ReentrantMutex<u32> = ReentrantMutex::new(0);
    /// let held = LOCK.try_lock()?;
    /// assert!(LOCK.try_lock().is_ok(), "again");
    /// let other = std::thread::spawn(|| matches!(LOCK.try_lock(), Err(ReentrantLockError::WouldBlock)));
    /// assert!(other.join().unwrap());
    /// # drop(held);
    /// # Ok::<(), ReentrantLockError<'static, u32>>(())
    /// ```
    pub fn try_lock(&self) -> Result<ReentrantMutexGuard<'_, T>, ReentrantLockError<'_, T>> {
        self.lock_until(Until::Now)
    }

    /// As [`lock`](Self::lock), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ReentrantLockError::TimedOut`] when the time is over, else as [`lock`](Self::lock). Signals do not lengthen
    /// or shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::ReentrantMutex;
    ///
    /// static LOCK: ReentrantMutex<u32> = ReentrantMutex::new(0);
    /// let held = LOCK.lock_timeout(Duration::from_millis(1)).unwrap();
    /// # drop(held);
    /// ```
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ReentrantMutexGuard<'_, T>, ReentrantLockError<'_, T>> {
        self.lock_deadline(Deadline::after(timeout))
    }

    /// As [`lock`](Self::lock), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`lock_timeout`](Self::lock_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, ReentrantMutex};
    ///
    /// static LOCK: ReentrantMutex<u32> = ReentrantMutex::new(0);
    /// // What is free is had however late it is.
    /// let held = LOCK.lock_deadline(Deadline::now()).unwrap();
    /// # drop(held);
    /// ```
    pub fn lock_deadline(
        &self,
        deadline: Deadline,
    ) -> Result<ReentrantMutexGuard<'_, T>, ReentrantLockError<'_, T>> {
        self.lock_until(Until::Deadline(deadline))
    }

    /// As [`lock_deadline`](Self::lock_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`ReentrantLockError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, ReentrantMutex};
    ///
    /// static LOCK: ReentrantMutex<u32> = ReentrantMutex::new(0);
    /// let held = LOCK.lock_interruptible(Deadline::FAR).unwrap();
    /// # drop(held);
    /// ```
    pub fn lock_interruptible(
        &self,
        deadline: Deadline,
    ) -> Result<ReentrantMutexGuard<'_, T>, ReentrantLockError<'_, T>> {
        self.lock_until(Until::Interruptible(deadline))
    }

    /// The process that holds the lock at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::ReentrantMutex<u32> = ipc_sync::ReentrantMutex::new(0);
    /// assert_eq!(LOCK.owner(), None);
    /// ```
    #[must_use]
    pub fn owner(&self) -> Option<ProcessId> {
        self.raw.mutex.owner()
    }

    /// Takes the lock away from its owner and leaves it free and inconsistent, as
    /// [`Mutex::break_lock`](crate::Mutex::break_lock).
    ///
    /// # Safety
    ///
    /// The owner is dead; or all its guards are forgotten, they are neither used nor dropped, and their thread does not
    /// lock it at the same time.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{ReentrantLockError, ReentrantMutex};
    ///
    /// static LOCK: ReentrantMutex<u32> = ReentrantMutex::new(0);
    /// std::mem::forget(LOCK.lock().unwrap());
    /// // SAFETY: a forgotten guard touches nothing.
    /// unsafe { LOCK.break_lock() };
    /// assert!(matches!(LOCK.lock(), Err(ReentrantLockError::Recovered(_))));
    /// ```
    pub unsafe fn break_lock(&self) {
        self.raw.break_lock();
    }

    /// For models: the calling process has been here before.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn admit(&self) {
        self.raw.mutex.admit();
    }

    /// The value, without locking: nobody else can have the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::ReentrantMutex::new(7_u32).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    fn lock_until(&self, until: Until) -> Locked<'_, T> {
        match self.raw.lock(until) {
            Ok(Found::Consistent) => Ok(ReentrantMutexGuard::new(self)),
            Ok(Found::Inconsistent) => {
                Err(ReentrantLockError::Recovered(ReentrantRecovered::new(self)))
            }
            Err(denied) => Err(denied.into()),
        }
    }
}

impl<T: Shareable + Default> Default for ReentrantMutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Shareable> fmt::Debug for ReentrantMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantMutex").field("owner", &self.owner()).finish_non_exhaustive()
    }
}
