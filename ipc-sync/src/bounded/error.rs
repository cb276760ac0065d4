//! [`AcquireError`] and [`NotOurs`]: why a permit was not simply had.

use core::fmt;

use ipc_core::Errno;
use ipc_core::identity::NoIdentity;

use super::Permit;
use crate::raw::permits::Refused;

/// Why [`BoundedSemaphore::acquire`](crate::BoundedSemaphore::acquire) and its kin did not return a plain permit.
#[non_exhaustive]
pub enum AcquireError<'a, const N: usize> {
    /// The permit *is* held now, but the process that had it before died with it. Told once for each permit of each death.
    ///
    /// Whoever does not mind takes it as any other:
    ///
    /// ```
    /// # let slots = ipc_sync::BoundedSemaphore::<1>::new();
    /// use ipc_sync::AcquireError::Recovered;
    ///
    /// let permit = match slots.acquire() {
    ///     Ok(permit) | Err(Recovered(permit)) => permit,
    ///     Err(error) => panic!("{error}"),
    /// };
    /// # drop(permit);
    /// ```
    Recovered(Permit<'a, N>),
    /// Processes have all permits that live, or whose life cannot be judged from here
    /// ([`try_acquire`](crate::BoundedSemaphore::try_acquire)).
    WouldBlock,
    /// The time is over ([`acquire_timeout`](crate::BoundedSemaphore::acquire_timeout),
    /// [`acquire_deadline`](crate::BoundedSemaphore::acquire_deadline)).
    TimedOut,
    /// No permit is left whose word a process can have: something else has written to all of them.
    Corrupt,
    /// This process has no identity by which others could tell its death.
    NoIdentity(NoIdentity),
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

static_assertions::assert_not_impl_any!(AcquireError<'static, 1>: Send);

impl<const N: usize> From<Refused> for AcquireError<'_, N> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WouldBlock => Self::WouldBlock,
            Refused::TimedOut => Self::TimedOut,
            Refused::Corrupt => Self::Corrupt,
            Refused::NoIdentity => Self::NoIdentity(NoIdentity),
            Refused::Os(errno) => Self::Os(errno),
        }
    }
}

impl<const N: usize> fmt::Debug for AcquireError<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AcquireError({self})")
    }
}

impl<const N: usize> fmt::Display for AcquireError<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered(_) => f.write_str("the last holder of the permit died with it"),
            Self::WouldBlock => f.write_str("all permits are held"),
            Self::TimedOut => f.write_str("timed out waiting for a permit"),
            Self::Corrupt => f.write_str("the semaphore's words are none of ours"),
            Self::NoIdentity(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl<const N: usize> core::error::Error for AcquireError<'_, N> {}

/// The permit is not this process's to [send](Permit::transfer) or to [adopt](crate::BoundedSemaphore::adopt).
///
/// Sent: it is a copy in a forked child. Adopted: it was not sent to this process; or has been adopted already; or this
/// process has no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOurs;

static_assertions::assert_impl_all!(NotOurs: Send, Sync);

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the permit is not this process's")
    }
}

impl core::error::Error for NotOurs {}
