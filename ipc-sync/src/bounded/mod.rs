//! [`BoundedSemaphore`]: so many permits, each of which has an owner.
//!
//! The protocol, with a table of what a death leaves at each step, is in `raw/permits.rs`.
//!
//! # Safety
//!
//! Nothing is guarded here but the number of those who are inside: there is no reference to hand out.
#![expect(unsafe_code, reason = "a lock is shared between threads and processes")]

mod error;
mod permit;

use core::fmt;
use core::time::Duration;

use ipc_core::Shareable;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;

use crate::InRegion;
use crate::raw::permits::{Claim, RawPermits, Refused};
use crate::raw::until::Until;

pub use error::{AcquireError, NotOurs};
pub use permit::{Permit, PermitTicket};

/// `N` permits that several processes share, and that survive the death of any of them: at most `N` may be inside at once,
/// and a permit comes back if its holder dies.
///
/// [`acquire`](Self::acquire) returns a [`Permit`], which gives itself back when it is dropped. So nobody
/// can give back more than he has, and a panic gives back what it has. A [`Semaphore`](crate::Semaphore) cannot do
/// that, nor bring permits back: its permits belong to nobody, which makes it smaller, and right for "so many items
/// are there".
///
/// It takes 16 bytes and 8 for each permit, lies in memory that the processes map, and works in a `static` between threads.
/// Zeroed memory is one with all permits free, though one whose waiters notice a death later (see [`new`](Self::new)).
/// Without contention `acquire` is a look at the permits and two atomic operations, and the drop one; no system call, but for the
/// first time.
///
/// To look for a free permit takes as long as there are permits. Up to 127 of them a waiter sleeps on all. If there are
/// more it looks again every 10 ms, for the case that two processes are killed at the same release.
///
/// # When a process dies
///
/// Its permits are given to the next who ask for one, who are told: [`AcquireError::Recovered`], once for each permit.
/// A waiter gets there at most 200 ms after the kernel reports the death, mostly within 5 ms. Ownership is the
/// *process's*: a thread that ends with a permit, or an `exec`, leaves it held until the process ends. A process that
/// is stopped is alive and keeps its permits. See [`holders`](Self::holders) for who has them.
///
/// Processes in different pid namespaces share the permits as usual, but cannot judge each other's life: once two
/// namespaces have met here, a dead holder's permit stays held, and only [`evict`](Self::evict) frees it.
///
/// # What it does not do
///
/// It is not fair, and a thread that takes more than there are waits for itself. It trusts those who map it.
///
/// # Examples
///
/// At most two of three processes are inside. For the memory see [the front page](crate#a-lock-between-processes).
///
/// ```
/// use ipc_core::process::fork_fn;
/// use ipc_shm::{Plan, Region};
/// use ipc_sync::{AcquireError, BoundedSemaphore};
///
/// let mut plan = Plan::new();
/// let slots = plan.one::<BoundedSemaphore<2>>()?;
/// let region = Region::planned_with(&plan, |fill| fill.locks(slots, |_| ()))?;
/// let slots = region.get(slots)?;
///
/// let mut child = fork_fn(|| {
///     std::mem::forget(slots.acquire().expect("two are free"));
///     0 // It ends with the permit.
/// })?;
/// child.wait()?;
///
/// let _first = slots.acquire().expect("one is free");
/// match slots.acquire() {
///     Err(AcquireError::Recovered(_second)) => {} // The child's: clean up after it.
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// One without permits does not compile:
///
/// ```compile_fail
/// let none = ipc_sync::BoundedSemaphore::<0>::new();
/// ```
#[repr(transparent)]
pub struct BoundedSemaphore<const N: usize> {
    raw: RawPermits<N>,
}

// SAFETY: words of which every pattern is a state, without padding; zeroed memory is all permits free.
unsafe impl<const N: usize> Shareable for BoundedSemaphore<N> {}

static_assertions::assert_impl_all!(BoundedSemaphore<1>: Send, Sync, Shareable);
#[cfg(not(loom))]
const _: () =
    assert!(size_of::<BoundedSemaphore<1>>() == 24 && size_of::<BoundedSemaphore<100>>() == 816);

impl<const N: usize> BoundedSemaphore<N> {
    ipc_core::const_unless_loom! {
        /// A semaphore with all its permits free.
        ///
        /// A waiter notices the death of a holder at the end of a slice, at most 64 ms
        /// later. [`in_region`](Self::in_region) makes one whose waiters notice it at once.
        ///
        /// # Examples
        ///
        /// ```
        /// static SLOTS: ipc_sync::BoundedSemaphore<3> = ipc_sync::BoundedSemaphore::new();
        /// assert_eq!(SLOTS.available(), 3);
        /// ```
        #[must_use]
        pub fn new() -> Self {
            Self { raw: RawPermits::new(false) }
        }
    }

    ipc_core::const_unless_loom! {
        /// A semaphore with all its permits free, for memory that stays mapped: the kernel is told its
        /// address while a permit is held, and wakes a waiter at once when the holder dies.
        ///
        /// Of the permits, locks and the like that one thread holds, this is so for 14; the waiters for the others find
        /// a death as those of [`new`](Self::new) do. So it is without the feature `std`.
        ///
        /// # Safety
        ///
        /// Wherever the semaphore is placed: for as long as any thread has taken a permit and not given it back,
        /// forgotten ones included, its memory is not used for anything else. A region of `ipc-shm` sees to that. One in
        /// a `static` satisfies it; one on a stack or on the heap does not.
        ///
        /// # Examples
        ///
        /// ```
        /// use ipc_sync::BoundedSemaphore;
        ///
        /// // SAFETY: a static is there for ever.
        /// static SLOTS: BoundedSemaphore<3> = unsafe { BoundedSemaphore::in_region() };
        /// let _one = SLOTS.acquire().unwrap();
        /// ```
        #[must_use]
        pub unsafe fn in_region() -> Self {
            Self { raw: RawPermits::new(true) }
        }
    }

    /// Waits until a permit is free or its holder is dead, and takes it.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Recovered`] *has* the permit. Otherwise [`Corrupt`](AcquireError::Corrupt),
    /// [`NoIdentity`](AcquireError::NoIdentity) or [`Os`](AcquireError::Os).
    ///
    /// # Examples
    ///
    /// ```
    /// static SLOTS: ipc_sync::BoundedSemaphore<1> = ipc_sync::BoundedSemaphore::new();
    /// let permit = SLOTS.acquire()?;
    /// assert_eq!(SLOTS.available(), 0);
    /// # drop(permit);
    /// # Ok::<(), ipc_sync::AcquireError<'static, 1>>(())
    /// ```
    #[inline]
    pub fn acquire(&self) -> Result<Permit<'_, N>, AcquireError<'_, N>> {
        self.acquire_until(Until::Forever)
    }

    /// Takes a permit if one is free or its holder is dead, without waiting.
    ///
    /// It never fails while some permit was free at every moment of the call, even if it was always another
    /// one. When none is free this asks the kernel for each holder whether it lives (about 5 µs each), so that a
    /// program that only ever tries gets the permits of the dead too.
    ///
    /// # Errors
    ///
    /// [`AcquireError::WouldBlock`] if all are held and no holder is known to be dead, else as
    /// [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{AcquireError, BoundedSemaphore};
    ///
    /// let slots = BoundedSemaphore::<1>::new();
    /// let permit = slots.try_acquire().unwrap();
    /// assert!(matches!(slots.try_acquire(), Err(AcquireError::WouldBlock)));
    /// # drop(permit);
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_, N>, AcquireError<'_, N>> {
        self.acquire_until(Until::Now)
    }

    /// As [`acquire`](Self::acquire), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`AcquireError::TimedOut`] when the time is over, else as [`acquire`](Self::acquire). A time-out of
    /// zero is over at once, but not before it was asked whether the holders live. Signals do not lengthen
    /// or shorten it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_sync::{AcquireError, BoundedSemaphore};
    ///
    /// let slots = BoundedSemaphore::<1>::new();
    /// let permit = slots.acquire().unwrap();
    /// let again = slots.acquire_timeout(Duration::from_millis(1));
    /// assert!(matches!(again, Err(AcquireError::TimedOut)));
    /// # drop(permit);
    /// ```
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_, N>, AcquireError<'_, N>> {
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
    /// use ipc_sync::{BoundedSemaphore, Deadline};
    ///
    /// static SLOTS: BoundedSemaphore<2> = BoundedSemaphore::new();
    /// // One deadline for both.
    /// let deadline = Deadline::after(Duration::from_millis(100));
    /// let (a, b) = (SLOTS.acquire_deadline(deadline)?, SLOTS.acquire_deadline(deadline)?);
    /// # drop((a, b));
    /// # Ok::<(), ipc_sync::AcquireError<'static, 2>>(())
    /// ```
    pub fn acquire_deadline(
        &self,
        deadline: Deadline,
    ) -> Result<Permit<'_, N>, AcquireError<'_, N>> {
        self.acquire_until(Until::Deadline(deadline))
    }

    /// As [`acquire_deadline`](Self::acquire_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`AcquireError::Os`] with `EINTR`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{BoundedSemaphore, Deadline};
    ///
    /// static SLOTS: BoundedSemaphore<2> = BoundedSemaphore::new();
    /// let permit = SLOTS.acquire_interruptible(Deadline::FAR)?;
    /// # drop(permit);
    /// # Ok::<(), ipc_sync::AcquireError<'static, 2>>(())
    /// ```
    pub fn acquire_interruptible(
        &self,
        deadline: Deadline,
    ) -> Result<Permit<'_, N>, AcquireError<'_, N>> {
        self.acquire_until(Until::Interruptible(deadline))
    }

    /// Holds from now on the permit that was [sent](Permit::transfer) to this process with this ticket.
    ///
    /// # Errors
    ///
    /// [`NotOurs`] if none is on its way to this process by this ticket: it was sent to another one, or is adopted
    /// already.
    ///
    /// # Examples
    ///
    /// Between threads. A ticket for another process travels by a message or by memory that both map.
    ///
    /// ```
    /// use ipc_sync::{BoundedSemaphore, NotOurs, ProcessId};
    ///
    /// let slots = BoundedSemaphore::<2>::new();
    /// let ticket = slots.acquire().unwrap().transfer(ProcessId::current()?)?;
    /// let permit = slots.adopt(ticket)?;
    /// assert_eq!(slots.adopt(ticket).unwrap_err(), NotOurs);
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt(&self, ticket: PermitTicket) -> Result<Permit<'_, N>, NotOurs> {
        self.raw.adopt(ticket.to_bits()).map(|claim| Permit::new(self, claim)).ok_or(NotOurs)
    }

    /// As [`adopt`](Self::adopt), any permit that is on its way to this process: for tickets that died with whoever was
    /// to hand them on.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{BoundedSemaphore, ProcessId};
    ///
    /// let slots = BoundedSemaphore::<2>::new();
    /// slots.acquire().unwrap().transfer(ProcessId::current()?)?;
    /// assert!(slots.adopt_any().is_some());
    /// assert!(slots.adopt_any().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "the permit is given back when it is dropped"]
    pub fn adopt_any(&self) -> Option<Permit<'_, N>> {
        let claim = self.raw.sent_to_us().find_map(|slot| self.raw.adopt(slot));
        claim.map(|claim| Permit::new(self, claim))
    }

    /// How many permits are free at this moment, or were one after the other.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_sync::BoundedSemaphore::<3>::new().available(), 3);
    /// ```
    #[must_use]
    pub fn available(&self) -> usize {
        self.raw.available()
    }

    /// The processes that hold a permit, or that one is on its way to, at this moment: once for each.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{BoundedSemaphore, ProcessId};
    ///
    /// let slots = BoundedSemaphore::<3>::new();
    /// let _held = (slots.acquire().unwrap(), slots.acquire().unwrap());
    /// let me = ProcessId::current()?;
    /// assert_eq!(slots.holders().collect::<Vec<_>>(), [me, me]);
    /// # Ok::<(), ipc_sync::NoIdentity>(())
    /// ```
    pub fn holders(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.raw.owners()
    }

    /// Takes all permits away from `owner`, and frees them; how many these were. For operators, to free what a process
    /// has that died in another pid namespace.
    ///
    /// # Safety
    ///
    /// `owner` is dead, or its permits are forgotten: they are neither used nor dropped. (Dropped, one would give back
    /// another permit of its process, which has the same owner.)
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{BoundedSemaphore, ProcessId};
    ///
    /// let slots = BoundedSemaphore::<1>::new();
    /// std::mem::forget(slots.acquire().unwrap());
    /// // SAFETY: a forgotten permit touches nothing.
    /// let freed = unsafe { slots.evict(ProcessId::current()?) };
    /// assert_eq!((freed, slots.available()), (1, 1));
    /// # Ok::<(), ipc_sync::NoIdentity>(())
    /// ```
    pub unsafe fn evict(&self, owner: ProcessId) -> usize {
        self.raw.evict(owner)
    }

    /// For models: the calling process has been here before.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn admit(&self) {
        self.raw.admit();
    }

    #[inline]
    fn acquire_until(&self, until: Until) -> Result<Permit<'_, N>, AcquireError<'_, N>> {
        self.accept(self.raw.acquire(until))
    }

    #[inline]
    fn accept(
        &self,
        acquired: Result<Claim, Refused>,
    ) -> Result<Permit<'_, N>, AcquireError<'_, N>> {
        let claim = acquired?;
        let permit = Permit::new(self, claim);
        if claim.recovered { Err(AcquireError::Recovered(permit)) } else { Ok(permit) }
    }
}

impl<const N: usize> InRegion for BoundedSemaphore<N> {
    type Value = ();

    unsafe fn in_region((): ()) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::in_region() }
    }
}

impl<const N: usize> Default for BoundedSemaphore<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for BoundedSemaphore<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("available", &self.available())
            .field("permits", &N)
            .finish_non_exhaustive()
    }
}
