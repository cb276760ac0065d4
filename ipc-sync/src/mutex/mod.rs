//! [`Mutex`]: mutual exclusion between processes, whose holder may be killed.
//!
//! The protocol, with a table of what a death leaves at each step, is in `raw/mutex.rs`.
//!
//! # Safety
//!
//! The value is reached only through a [guard](guard), and a guard exists only while the owner word names this
//! process and no other thread of it has one. The value is [`Shareable`]: whatever a dead owner left of it is a valid
//! value.
#![expect(unsafe_code, reason = "a lock is shared between threads and processes")]

mod error;
mod guard;

use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::UnsafeCell;

use crate::raw::holder::Holder;
use crate::raw::mutex::{Found, Missed, RawMutex};
use crate::raw::until::Until;

pub use error::LockError;
pub use guard::{MutexGuard, Recovered};

/// A lock that several processes share, and that survives the death of any of them.
///
/// It lies in memory that the processes map, be it a region of `ipc-shm` or any other `MAP_SHARED` mapping. In a
/// `static` it works between the threads of one process and no further: after a fork each process has a copy of its
/// own. It needs no table, no attach call and no initialisation: zeroed memory is a free lock around a zeroed
/// value, though one whose waiters notice a death later (see [`new`](Self::new)). It takes 16 bytes, and the value.
///
/// Uncontended, [`lock`](Self::lock) and the guard's drop are one compare-exchange each and no
/// system call, but for the first time: the lock does not know yet that nobody sleeps.
///
/// # When the owner dies
///
/// The next process that gets the lock is told: it gets [`LockError::Recovered`], whose guard lets
/// it repair the value. A waiter gets there at most 200 ms after the kernel reports the death, mostly
/// within 5 ms. Ownership is the *process's*: a thread that ends while it holds the lock, or
/// an `exec`, leaves it held until the process ends. A process that is stopped is alive and keeps
/// the lock. See [`owner`](Self::owner) for who it is.
///
/// Processes in different pid namespaces exclude each other as usual, but cannot judge each
/// other's life: once two namespaces have met at a lock, a dead owner's lock stays held, and only
/// [`break_lock`](Self::break_lock) frees it.
///
/// # What it does not do
///
/// It is not fair, and it is not recursive: locking it twice in one thread is
/// [`LockError::Deadlock`] where that can be known (a lock made by [`in_region`](Self::in_region))
/// and waits for ever where not. It trusts those who map it: a process that can write to the memory can
/// unlock it. In memory shared with somebody you do not trust, do not use it.
///
/// # In functions that return `Box<dyn Error>`
///
/// A [`LockError`] borrows the lock, since it may *have* it, and for that reason is not `Send` either. So `lock()?`
/// does not compile where the error outlives the lock or has to be `Send`: in a function that returns `Box<dyn
/// Error>` or an `anyhow::Error`, for example. Take care of [`Recovered`](LockError::Recovered) where you lock,
/// which is the place for it anyway, and hand on the text of the rest:
///
/// ```
/// use std::error::Error;
/// use ipc_sync::{LockError, Mutex};
///
/// fn add(total: &Mutex<u64>, amount: u64) -> Result<u64, Box<dyn Error + Send + Sync>> {
///     let mut total = match total.lock() {
///         Ok(total) => total,
///         Err(LockError::Recovered(mut total)) => {
///             *total = 0;
///             total.mark_consistent()
///         }
///         Err(error) => return Err(error.to_string().into()),
///     };
///     *total += amount;
///     Ok(*total)
/// }
///
/// assert_eq!(add(&Mutex::new(7), 1)?, 8);
/// # Ok::<(), Box<dyn Error + Send + Sync>>(())
/// ```
///
/// # Examples
///
/// Between threads; the [front page](crate#a-lock-between-processes) has one between processes.
///
/// ```
/// use ipc_sync::{LockError, Mutex};
///
/// static TOTAL: Mutex<u64> = Mutex::new(0);
///
/// match TOTAL.lock() {
///     Ok(mut total) => *total += 1,
///     // The last owner died: put the value right, then say so.
///     Err(LockError::Recovered(mut total)) => {
///         *total = 0;
///         total.mark_consistent();
///     }
///     Err(error) => panic!("{error}"),
/// }
/// ```
#[repr(C)]
pub struct Mutex<T: Shareable> {
    raw: RawMutex,
    value: UnsafeCell<T>,
}

// SAFETY: the raw lock lets one thread at a time reach the value, and hands it from one to the next.
unsafe impl<T: Shareable + Send> Sync for Mutex<T> {}
// SAFETY: three words of which every pattern is a state, then a shareable value; zeroed memory is a free lock.
unsafe impl<T: Shareable + Send> Shareable for Mutex<T> {}

static_assertions::assert_impl_all!(Mutex<u64>: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Mutex<()>>() == 16 && size_of::<Mutex<u64>>() == 24);

impl<T: Shareable> Mutex<T> {
    ipc_core::const_unless_loom! {
        /// A free lock around `value`.
        ///
        /// A waiter notices the death of the owner at the end of a slice, at most 64 ms
        /// later. [`in_region`](Self::in_region) makes a lock whose waiters notice it at once.
        ///
        /// # Examples
        ///
        /// ```
        /// static LOCK: ipc_sync::Mutex<u32> = ipc_sync::Mutex::new(7);
        /// assert_eq!(*LOCK.lock().unwrap(), 7);
        /// ```
        #[must_use]
        pub fn new(value: T) -> Self {
            Self { raw: RawMutex::new(false), value: UnsafeCell::new(value) }
        }
    }

    ipc_core::const_unless_loom! {
        /// A free lock around `value`, for memory that stays mapped: the kernel is told its
        /// address while it is held, and wakes a waiter when the holder dies.
        ///
        /// The kernel knows one lock for each thread, the one it took last; and a thread's list of them ends
        /// at 14. The waiters of the others find a death at the end of a slice, as those of
        /// [`new`](Self::new) do. So it is without the feature `std`.
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
        /// static LOCK: ipc_sync::Mutex<u32> = unsafe { ipc_sync::Mutex::in_region(7) };
        /// let held = LOCK.lock().unwrap();
        /// assert!(matches!(LOCK.lock(), Err(ipc_sync::LockError::Deadlock)));
        /// # drop(held);
        /// ```
        #[must_use]
        pub unsafe fn in_region(value: T) -> Self {
            Self { raw: RawMutex::new(true), value: UnsafeCell::new(value) }
        }
    }

    /// Waits until the lock is free or its owner is dead, and takes it.
    ///
    /// # Errors
    ///
    /// [`LockError::Recovered`] *has* the lock. Otherwise [`Unrecoverable`](LockError::Unrecoverable),
    /// [`Deadlock`](LockError::Deadlock), [`Corrupt`](LockError::Corrupt),
    /// [`NoIdentity`](LockError::NoIdentity) or [`Os`](LockError::Os).
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::Mutex<u32> = ipc_sync::Mutex::new(0);
    /// *LOCK.lock()? += 1;
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    #[inline]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        self.lock_until(Until::Forever)
    }

    /// Takes the lock if it is free or its owner is dead, without waiting.
    ///
    /// When the lock is held, this asks the kernel whether its owner lives (about 5 µs), so
    /// that a program that only ever tries gets the lock of a dead owner too.
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] if the lock is held and its owner not known to be dead, else as
    /// [`lock`](Self::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{LockError, Mutex};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(0);
    /// let held = LOCK.try_lock()?;
    /// assert!(matches!(LOCK.try_lock(), Err(LockError::WouldBlock)));
    /// # drop(held);
    /// # Ok::<(), LockError<'static, u32>>(())
    /// ```
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        self.lock_until(Until::Now)
    }

    /// As [`lock`](Self::lock), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`LockError::TimedOut`] when the time is over, else as [`lock`](Self::lock). A time-out of
    /// zero is over at once, but not before it was asked whether the owner lives. Signals do not lengthen
    /// or shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{LockError, Mutex};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(0);
    /// let held = LOCK.lock()?;
    /// let again = LOCK.lock_timeout(Duration::from_millis(1));
    /// assert!(matches!(again, Err(LockError::TimedOut)));
    /// # drop(held);
    /// # Ok::<(), LockError<'static, u32>>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
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
    /// use std::time::Duration;
    /// use ipc_sync::{Deadline, Mutex};
    ///
    /// static LOCKS: [Mutex<u32>; 2] = [Mutex::new(0), Mutex::new(0)];
    /// // One deadline for both.
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// let (a, b) = (LOCKS[0].lock_deadline(deadline)?, LOCKS[1].lock_deadline(deadline)?);
    /// # drop((a, b));
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn lock_deadline(&self, deadline: Deadline) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        self.lock_until(Until::Deadline(deadline))
    }

    /// As [`lock_deadline`](Self::lock_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`LockError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, Mutex};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(0);
    /// *LOCK.lock_interruptible(Deadline::FAR)? += 1;
    /// # Ok::<(), ipc_sync::LockError<'static, u32>>(())
    /// ```
    pub fn lock_interruptible(
        &self,
        deadline: Deadline,
    ) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        self.lock_until(Until::Interruptible(deadline))
    }

    /// The process that holds the lock at this moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::ProcessId;
    ///
    /// static LOCK: ipc_sync::Mutex<u32> = ipc_sync::Mutex::new(0);
    /// assert_eq!(LOCK.owner(), None);
    /// let held = LOCK.lock().unwrap();
    /// assert_eq!(LOCK.owner(), ProcessId::current().ok());
    /// # drop(held);
    /// ```
    #[must_use]
    pub fn owner(&self) -> Option<ProcessId> {
        self.raw.owner()
    }

    /// Takes the lock away from its owner and leaves it free and inconsistent. For operators, to
    /// free a lock whose owner has died in another pid namespace, or one that was made unrecoverable.
    ///
    /// # Safety
    ///
    /// The owner is dead, or its guard is forgotten: it is neither used nor dropped. (Dropped, it
    /// would release the lock of another thread of its process, which has the same owner word.)
    ///
    /// The thread that forgot the guard of a lock [in a region](Self::in_region) is still taken for a holder: what it
    /// gets from [`lock`](Self::lock) while its process holds the lock is [`LockError::Deadlock`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{LockError, Mutex};
    ///
    /// static LOCK: Mutex<u32> = Mutex::new(0);
    /// std::mem::forget(LOCK.lock().unwrap());
    /// // SAFETY: a forgotten guard touches nothing.
    /// unsafe { LOCK.break_lock() };
    /// assert!(matches!(LOCK.lock(), Err(LockError::Recovered(_))));
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

    /// The value, without locking: nobody else can have the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::Mutex::new(7_u32).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Whether whoever takes the lock now is told of a death, or that it is over with it. Costs as much as
    /// [`try_lock`](Self::try_lock) if somebody holds it.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.raw.is_abandoned()
    }

    #[inline]
    fn lock_until(&self, until: Until) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        match self.raw.lock_uncontended() {
            Ok(holder) => Ok(MutexGuard::new(self, holder, Found::Consistent)),
            Err(missed) => self.lock_contended(missed, until),
        }
    }

    #[cold]
    fn lock_contended(
        &self,
        missed: Missed,
        until: Until,
    ) -> Result<MutexGuard<'_, T>, LockError<'_, T>> {
        match self.raw.lock_contended(missed, until) {
            Ok(Found::Consistent) => Ok(MutexGuard::new(self, Holder::this(), Found::Consistent)),
            Ok(Found::Inconsistent) => Err(LockError::Recovered(Recovered::new(self))),
            Err(refused) => Err(refused.into()),
        }
    }
}

impl<T: Shareable + Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Shareable> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("owner", &self.owner()).finish_non_exhaustive()
    }
}
