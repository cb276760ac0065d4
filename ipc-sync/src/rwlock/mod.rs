//! [`RwLock`]: many readers or one writer, each of whom may be killed.
//!
//! The protocol, with a table of what a death leaves at each step, is in `raw/rwlock.rs`.
//!
//! # Safety
//!
//! The value is reached only through a [guard](guard). A guard for writing exists only while the writer's word names this
//! process, no other thread of it has one, and no slot is taken that was claimed before that word; one for reading only
//! while its slot names this process. The value is [`Shareable`]: whatever a dead writer left of it is a valid value.
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
use crate::raw::mutex::Found;
use crate::raw::rwlock::{Entered, MissedRead, RawRwLock};
use crate::raw::until::Until;

pub use error::RwLockError;
pub use guard::{RwLockReadGuard, RwLockRecovered, RwLockWriteGuard};

type Reading<'a, T, const READERS: usize> =
    Result<RwLockReadGuard<'a, T, READERS>, RwLockError<'a, T, READERS>>;
type Writing<'a, T, const READERS: usize> =
    Result<RwLockWriteGuard<'a, T, READERS>, RwLockError<'a, T, READERS>>;

/// A lock that up to `READERS` share for reading, or one has for writing, and that survives the death of any of them.
///
/// It lies in memory that the processes map, as a [`Mutex`](crate::Mutex) does, and needs no attach call and no
/// initialisation: zeroed memory is a free lock around a zeroed value. It takes 24 bytes, 8 for each reader that there is
/// place for, and the value.
///
/// Uncontended, [`read`](Self::read) and the guard's drop are one compare-exchange each and no system call, but for the
/// first time. Each reader has a place of its own, eight of which share a cache line; a writer looks at all of them.
///
/// # When a process dies
///
/// A dead *reader* is forgotten: its place is free for another, and a writer does not wait for it. When a *writer* dies while
/// it had the lock, whoever comes first is told, once, be it to write or to read: [`RwLockError::Recovered`] has
/// the lock for writing, so that it can repair the value. A writer that dies while it still waits for readers has changed
/// nothing, and nobody is told.
///
/// Who waits goes on at most 200 ms after the kernel reports the death, mostly within 5 ms. As with a `Mutex`,
/// ownership is the process's: a thread that ends with a guard, or an `exec`, keeps the lock until the process
/// ends; a process that is stopped is alive; and processes of two pid namespaces that have met at a lock cannot judge each
/// other's life any more: [`break_lock`](Self::break_lock) and [`break_reads`](Self::break_reads) are for that.
///
/// # Writers first
///
/// As soon as a writer has announced itself, it waits only for those who read already; newcomers wait for it. So readers
/// cannot keep a writer waiting for ever, but a thread that reads must not lock again: it might wait for a writer that
/// waits for it. That is [`RwLockError::Deadlock`] where it can be known (a lock made by
/// [`in_region`](Self::in_region)), and else a wait for ever. Nor can a reader become a writer. Between writers there is no
/// order.
///
/// # More readers than places
///
/// One who finds no place is told so at once, by [`RwLockError::TooManyReaders`]; a thread that reads takes one, not a
/// process. 0 places are none:
///
/// ```compile_fail
/// let lock = ipc_sync::RwLock::<u32, 0>::new(7);
/// ```
///
/// # Examples
///
/// Between processes:
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::RwLock;
///
/// let mut plan = Plan::new();
/// let limits = plan.one::<RwLock<[u32; 2], 8>>()?;
/// let region = Region::planned(&plan)?;
/// let limits = region.get(limits)?;
///
/// let mut child = fork_fn(|| {
///     *limits.write().expect("nobody dies here") = [3, 4];
///     0
/// })?;
/// assert!(child.wait()?.success());
/// assert_eq!(*limits.read().expect("nobody dies here"), [3, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(C)]
pub struct RwLock<T: Shareable, const READERS: usize> {
    raw: RawRwLock<READERS>,
    value: UnsafeCell<T>,
}

// SAFETY: the raw lock lets one thread write or several read, and hands the value from these to those.
unsafe impl<T: Shareable + Send, const READERS: usize> Sync for RwLock<T, READERS> {}
// SAFETY: words of which every pattern is a state, then a shareable value; zeroed memory is a free lock.
unsafe impl<T: Shareable + Send, const READERS: usize> Shareable for RwLock<T, READERS> {}

static_assertions::assert_impl_all!(RwLock<u64, 1>: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () = assert!(size_of::<RwLock<(), 1>>() == 32 && size_of::<RwLock<u64, 16>>() == 160);

impl<T: Shareable, const READERS: usize> RwLock<T, READERS> {
    ipc_core::const_unless_loom! {
        /// A free lock around `value`.
        ///
        /// A waiter notices a death at the end of a slice, at most 64 ms
        /// later. [`in_region`](Self::in_region) makes a lock whose waiters notice it at once.
        ///
        /// # Examples
        ///
        /// ```
        /// static LOCK: ipc_sync::RwLock<u32, 4> = ipc_sync::RwLock::new(7);
        /// let (a, b) = (LOCK.read().unwrap(), LOCK.read().unwrap());
        /// assert_eq!(*a + *b, 14);
        /// ```
        #[must_use]
        pub fn new(value: T) -> Self {
            Self { raw: RawRwLock::new(false), value: UnsafeCell::new(value) }
        }
    }

    ipc_core::const_unless_loom! {
        /// A free lock around `value`, for memory that stays mapped: the kernel is told its
        /// address while it is held, and wakes a waiter when a holder dies.
        ///
        /// The kernel knows one lock for each thread, and the lists end somewhere, as
        /// [with a `Mutex`](crate::Mutex::in_region).
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
        /// use ipc_sync::{RwLock, RwLockError};
        ///
        /// // SAFETY: a static is there for ever.
        /// static LOCK: RwLock<u32, 4> = unsafe { RwLock::in_region(7) };
        /// let reading = LOCK.read().unwrap();
        /// assert!(matches!(LOCK.write(), Err(RwLockError::Deadlock)));
        /// # drop(reading);
        /// ```
        #[must_use]
        pub unsafe fn in_region(value: T) -> Self {
            Self { raw: RawRwLock::new(true), value: UnsafeCell::new(value) }
        }
    }

    /// Waits until no writer has the lock, and takes it for reading.
    ///
    /// # Errors
    ///
    /// [`RwLockError::Recovered`] *has* the lock, for writing. Otherwise [`TooManyReaders`](RwLockError::TooManyReaders),
    /// [`Unrecoverable`](RwLockError::Unrecoverable), [`Deadlock`](RwLockError::Deadlock),
    /// [`Corrupt`](RwLockError::Corrupt), [`NoIdentity`](RwLockError::NoIdentity) or [`Os`](RwLockError::Os).
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::RwLock<u32, 4> = ipc_sync::RwLock::new(7);
    /// assert_eq!(*LOCK.read()?, 7);
    /// # Ok::<(), ipc_sync::RwLockError<'static, u32, 4>>(())
    /// ```
    #[inline]
    pub fn read(&self) -> Reading<'_, T, READERS> {
        self.read_until(Until::Forever)
    }

    /// Takes the lock for reading if no writer has it, or the writer is dead, without waiting.
    ///
    /// If one has it, this asks the kernel whether it lives (about 5 µs).
    ///
    /// # Errors
    ///
    /// [`RwLockError::WouldBlock`], else as [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{RwLock, RwLockError};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(0);
    /// let held = LOCK.write()?;
    /// assert!(matches!(LOCK.try_read(), Err(RwLockError::WouldBlock)));
    /// # drop(held);
    /// # Ok::<(), RwLockError<'static, u32, 4>>(())
    /// ```
    #[inline]
    pub fn try_read(&self) -> Reading<'_, T, READERS> {
        self.read_until(Until::Now)
    }

    /// As [`read`](Self::read), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RwLockError::TimedOut`] when the time is over, else as [`read`](Self::read). A time-out of zero is over at
    /// once, but not before it was asked whether the writer lives. Signals do not lengthen or shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{RwLock, RwLockError};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(0);
    /// let held = LOCK.write()?;
    /// let read = LOCK.read_timeout(Duration::from_millis(1));
    /// assert!(matches!(read, Err(RwLockError::TimedOut)));
    /// # drop(held);
    /// # Ok::<(), RwLockError<'static, u32, 4>>(())
    /// ```
    pub fn read_timeout(&self, timeout: Duration) -> Reading<'_, T, READERS> {
        self.read_deadline(Deadline::after(timeout))
    }

    /// As [`read`](Self::read), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`read_timeout`](Self::read_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Deadline, RwLock};
    ///
    /// static LOCKS: [RwLock<u32, 4>; 2] = [RwLock::new(0), RwLock::new(0)];
    /// // One deadline for both.
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// let (a, b) = (LOCKS[0].read_deadline(deadline)?, LOCKS[1].read_deadline(deadline)?);
    /// # drop((a, b));
    /// # Ok::<(), ipc_sync::RwLockError<'static, u32, 4>>(())
    /// ```
    pub fn read_deadline(&self, deadline: Deadline) -> Reading<'_, T, READERS> {
        self.read_until(Until::Deadline(deadline))
    }

    /// As [`read_deadline`](Self::read_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`RwLockError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, RwLock};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(7);
    /// assert_eq!(*LOCK.read_interruptible(Deadline::FAR)?, 7);
    /// # Ok::<(), ipc_sync::RwLockError<'static, u32, 4>>(())
    /// ```
    pub fn read_interruptible(&self, deadline: Deadline) -> Reading<'_, T, READERS> {
        self.read_until(Until::Interruptible(deadline))
    }

    /// Waits until nobody else has the lock, or who had it is dead, and takes it for writing.
    ///
    /// # Errors
    ///
    /// [`RwLockError::Recovered`] *has* the lock. Otherwise as [`read`](Self::read), but for
    /// [`TooManyReaders`](RwLockError::TooManyReaders).
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::RwLock<u32, 4> = ipc_sync::RwLock::new(0);
    /// *LOCK.write()? += 1;
    /// # Ok::<(), ipc_sync::RwLockError<'static, u32, 4>>(())
    /// ```
    #[inline]
    pub fn write(&self) -> Writing<'_, T, READERS> {
        self.write_until(Until::Forever)
    }

    /// Takes the lock for writing if nobody has it who is not known to be dead, without waiting.
    ///
    /// If somebody has it, this asks the kernel whether they live (about 5 µs for each). Those who come to read in the
    /// meantime may find that a writer has it.
    ///
    /// # Errors
    ///
    /// [`RwLockError::WouldBlock`], else as [`write`](Self::write).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{RwLock, RwLockError};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(0);
    /// let read = LOCK.read()?;
    /// assert!(matches!(LOCK.try_write(), Err(RwLockError::WouldBlock)));
    /// # drop(read);
    /// # Ok::<(), RwLockError<'static, u32, 4>>(())
    /// ```
    #[inline]
    pub fn try_write(&self) -> Writing<'_, T, READERS> {
        self.write_until(Until::Now)
    }

    /// As [`write`](Self::write), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RwLockError::TimedOut`] when the time is over, else as [`write`](Self::write). Readers that waited for this writer
    /// go on then. A time-out of zero is over at once, but not before it was asked who lives.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{RwLock, RwLockError};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(0);
    /// let read = LOCK.read()?;
    /// let written = LOCK.write_timeout(Duration::from_millis(1));
    /// assert!(matches!(written, Err(RwLockError::TimedOut)));
    /// # drop(read);
    /// # Ok::<(), RwLockError<'static, u32, 4>>(())
    /// ```
    pub fn write_timeout(&self, timeout: Duration) -> Writing<'_, T, READERS> {
        self.write_deadline(Deadline::after(timeout))
    }

    /// As [`write`](Self::write), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`write_timeout`](Self::write_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{Deadline, RwLock};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(0);
    /// *LOCK.write_deadline(Deadline::after(Duration::from_millis(100)))? += 1;
    /// # Ok::<(), ipc_sync::RwLockError<'static, u32, 4>>(())
    /// ```
    pub fn write_deadline(&self, deadline: Deadline) -> Writing<'_, T, READERS> {
        self.write_until(Until::Deadline(deadline))
    }

    /// As [`write_deadline`](Self::write_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`RwLockError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{Deadline, RwLock};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(0);
    /// *LOCK.write_interruptible(Deadline::FAR)? += 1;
    /// # Ok::<(), ipc_sync::RwLockError<'static, u32, 4>>(())
    /// ```
    pub fn write_interruptible(&self, deadline: Deadline) -> Writing<'_, T, READERS> {
        self.write_until(Until::Interruptible(deadline))
    }

    /// The process that has the lock for writing at this moment, or only waits for those who still read.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::ProcessId;
    ///
    /// static LOCK: ipc_sync::RwLock<u32, 4> = ipc_sync::RwLock::new(0);
    /// assert_eq!(LOCK.owner(), None);
    /// let held = LOCK.write().unwrap();
    /// assert_eq!(LOCK.owner(), ProcessId::current().ok());
    /// # drop(held);
    /// ```
    #[must_use]
    pub fn owner(&self) -> Option<ProcessId> {
        self.raw.owner()
    }

    /// The processes that read at this moment, one for each guard: how many, and who. Some may be about to find out
    /// that there is a writer, and some may be dead.
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::RwLock<u32, 4> = ipc_sync::RwLock::new(0);
    /// let both = [LOCK.read().unwrap(), LOCK.read().unwrap()];
    /// assert_eq!(LOCK.readers().count(), 2);
    /// # drop(both);
    /// ```
    pub fn readers(&self) -> impl Iterator<Item = ProcessId> {
        self.raw.readers()
    }

    /// Takes the lock away from its writer and leaves it free and inconsistent. For operators, to free a lock
    /// whose writer has died in another pid namespace, or one that was made unrecoverable.
    ///
    /// # Safety
    ///
    /// As [with a `Mutex`](crate::Mutex::break_lock): the writer is dead, or its guard is forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{RwLock, RwLockError};
    ///
    /// static LOCK: RwLock<u32, 4> = RwLock::new(0);
    /// std::mem::forget(LOCK.write().unwrap());
    /// // SAFETY: a forgotten guard touches nothing.
    /// unsafe { LOCK.break_lock() };
    /// assert!(matches!(LOCK.read(), Err(RwLockError::Recovered(_))));
    /// ```
    pub unsafe fn break_lock(&self) {
        self.raw.break_lock();
    }

    /// Takes the lock away from `reader`, with all the guards that it has for reading. For operators, as
    /// [`break_lock`](Self::break_lock).
    ///
    /// # Safety
    ///
    /// `reader` is dead, or all its guards of this lock for reading are forgotten, and none of its threads is about to
    /// take one.
    ///
    /// # Examples
    ///
    /// ```
    /// static LOCK: ipc_sync::RwLock<u32, 4> = ipc_sync::RwLock::new(0);
    /// std::mem::forget(LOCK.read().unwrap());
    /// for reader in LOCK.readers() {
    ///     // SAFETY: a forgotten guard touches nothing, and there is no other thread.
    ///     unsafe { LOCK.break_reads(reader) };
    /// }
    /// assert!(LOCK.try_write().is_ok());
    /// ```
    pub unsafe fn break_reads(&self, reader: ProcessId) {
        self.raw.break_reads(reader);
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
    /// assert_eq!(ipc_sync::RwLock::<u32, 4>::new(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    #[inline]
    fn read_until(&self, until: Until) -> Reading<'_, T, READERS> {
        match self.raw.read_uncontended() {
            Ok((slot, holder)) => Ok(RwLockReadGuard::new(self, slot, holder)),
            Err(missed) => self.read_contended(missed, until),
        }
    }

    #[cold]
    fn read_contended<'a>(
        &'a self,
        missed: MissedRead<'a>,
        until: Until,
    ) -> Reading<'a, T, READERS> {
        match self.raw.read_contended(missed, until)? {
            Entered::Reading(slot) => Ok(RwLockReadGuard::new(self, slot, Holder::this())),
            Entered::Recovering => Err(RwLockError::Recovered(RwLockRecovered::new(self))),
            Entered::Full => Err(RwLockError::TooManyReaders),
        }
    }

    #[inline]
    fn write_until(&self, until: Until) -> Writing<'_, T, READERS> {
        match self.raw.write(until)? {
            Found::Consistent => Ok(RwLockWriteGuard::new(self, Found::Consistent)),
            Found::Inconsistent => Err(RwLockError::Recovered(RwLockRecovered::new(self))),
        }
    }
}

impl<T: Shareable + Default, const READERS: usize> Default for RwLock<T, READERS> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Shareable, const READERS: usize> fmt::Debug for RwLock<T, READERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("owner", &self.owner())
            .field("readers", &self.readers().count())
            .finish_non_exhaustive()
    }
}
