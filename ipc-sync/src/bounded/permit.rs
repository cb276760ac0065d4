//! [`Permit`] and [`PermitTicket`]: a permit, held and on its way.
//!
//! # Safety
//!
//! The one unsafe act is the promise that a ticket may be shared: it is a number.
#![expect(unsafe_code, reason = "an unsafe marker trait")]

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use ipc_core::Shareable;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::killed;

use super::{BoundedSemaphore, NotOurs};
use crate::raw::permits::Claim;

/// One of the permits of a [`BoundedSemaphore`], held. Dropping it gives it back.
///
/// It belongs to the process, and to the thread that took it: it is not `Send`.
/// [`transfer`](Self::transfer) hands it to another thread or process. In a forked child, a copy of a permit gives
/// nothing back.
///
/// It cannot be given back twice:
///
/// ```compile_fail
/// let slots = ipc_sync::BoundedSemaphore::<1>::new();
/// let permit = slots.acquire().unwrap();
/// drop(permit);
/// drop(permit);
/// ```
///
/// nor taken to another thread as it is:
///
/// ```compile_fail
/// static SLOTS: ipc_sync::BoundedSemaphore<1> = ipc_sync::BoundedSemaphore::new();
/// let permit = SLOTS.acquire().unwrap();
/// std::thread::spawn(move || drop(permit));
/// ```
#[must_use = "the permit is given back when it is dropped"]
pub struct Permit<'a, const N: usize> {
    semaphore: &'a BoundedSemaphore<N>,
    claim: Claim,
    /// The baton belongs to the thread that took it.
    not_send: PhantomData<*const ()>,
}

static_assertions::assert_not_impl_any!(Permit<'static, 1>: Send, Sync, Clone);

impl<'a, const N: usize> Permit<'a, N> {
    #[inline]
    pub(super) fn new(semaphore: &'a BoundedSemaphore<N>, claim: Claim) -> Self {
        Self { semaphore, claim, not_send: PhantomData }
    }

    /// Which of the permits this is: below `N`, and no other one's as long as this is held.
    ///
    /// # Examples
    ///
    /// ```
    /// let slots = ipc_sync::BoundedSemaphore::<2>::new();
    /// let (a, b) = (slots.acquire().unwrap(), slots.acquire().unwrap());
    /// assert_eq!(a.index() + b.index(), 1);
    /// ```
    #[must_use]
    pub fn index(&self) -> usize {
        self.claim.slot as usize
    }

    /// Sends the permit on its way to the process `to`, which may be this one: for another thread. With the
    /// ticket it [adopts](BoundedSemaphore::adopt) the permit. Until then nobody holds it, and nobody else can have it.
    ///
    /// If `to` dies before it has adopted the permit, or is dead already, the next who wants one gets it as
    /// [`Recovered`](crate::AcquireError::Recovered), at most 64 ms later. If this process dies before it has handed on
    /// the ticket, `to` finds the permit by [`adopt_any`](BoundedSemaphore::adopt_any).
    ///
    /// `to` must be of this pid namespace, as [`ProcessId`] says: one of another is taken for dead.
    ///
    /// # Errors
    ///
    /// [`NotOurs`] for a copy in a forked child; then nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{BoundedSemaphore, ProcessId};
    ///
    /// static SLOTS: BoundedSemaphore<1> = BoundedSemaphore::new();
    /// let permit = SLOTS.acquire().unwrap();
    /// let ticket = permit.transfer(ProcessId::current()?)?;
    /// std::thread::spawn(move || drop(SLOTS.adopt(ticket).unwrap())).join().unwrap();
    /// assert_eq!(SLOTS.available(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transfer(self, to: ProcessId) -> Result<PermitTicket, NotOurs> {
        let permit = ManuallyDrop::new(self);
        let sent = permit.semaphore.raw.transfer(permit.claim, to);
        if sent { Ok(PermitTicket(permit.claim.slot)) } else { Err(NotOurs) }
    }
}

impl<const N: usize> Drop for Permit<'_, N> {
    #[inline]
    fn drop(&mut self) {
        if !killed() {
            // A copy of a permit in a forked child is not the owner; there is nothing for it to give back.
            self.semaphore.raw.release(self.claim);
        }
    }
}

impl<const N: usize> fmt::Debug for Permit<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.index()).finish()
    }
}

/// What a process [adopts](BoundedSemaphore::adopt) a permit with that was [sent](Permit::transfer) to it: a number,
/// which may travel by any message or memory.
///
/// It is good once, for the process that the permit was sent to, and for the semaphore that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct PermitTicket(u32);

// SAFETY: a number, of which every value is a ticket, if perhaps for nothing.
unsafe impl Shareable for PermitTicket {}

static_assertions::assert_impl_all!(PermitTicket: Send, Sync, Shareable);

impl PermitTicket {
    /// The number.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::PermitTicket;
    ///
    /// assert_eq!(PermitTicket::from_bits(7).to_bits(), 7);
    /// ```
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The ticket with this number. Any number may be tried: one that is not right adopts nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_sync::{BoundedSemaphore, NotOurs, PermitTicket};
    ///
    /// let slots = BoundedSemaphore::<1>::new();
    /// assert_eq!(slots.adopt(PermitTicket::from_bits(7)).unwrap_err(), NotOurs);
    /// ```
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}
