//! [`LockError`]: why a lock was not simply taken.

use core::fmt;

use ipc_core::identity::NoIdentity;
use ipc_core::{Errno, Shareable};

use super::Recovered;
use crate::raw::mutex::Refused;

/// Why [`Mutex::lock`](crate::Mutex::lock) and its kin did not return a plain guard.
#[non_exhaustive]
pub enum LockError<'a, T: Shareable> {
    /// The lock *is* held now, but its last owner died or panicked while it had it, or an operator
    /// [broke](crate::Mutex::break_lock) it.
    ///
    /// It stays held for as long as this error lives: match it before you return or keep it. See
    /// [`Mutex`](crate::Mutex#in-functions-that-return-boxdyn-error) for functions that return `Box<dyn Error>`.
    Recovered(Recovered<'a, T>),
    /// An owner has [given up](Recovered::poison) the value.
    Unrecoverable,
    /// A process holds the lock that lives, or whose life cannot be judged from here
    /// ([`Mutex::try_lock`](crate::Mutex::try_lock)).
    WouldBlock,
    /// The time is over ([`Mutex::lock_timeout`](crate::Mutex::lock_timeout), [`Mutex::lock_deadline`](crate::Mutex::lock_deadline)).
    TimedOut,
    /// The calling thread holds the lock already; or, in a signal handler, was just taking it.
    Deadlock,
    /// The owner word is one that no process can have: something else has written to it.
    Corrupt,
    /// This process has no identity by which others could tell its death.
    NoIdentity(NoIdentity),
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

static_assertions::assert_not_impl_any!(LockError<'static, u64>: Send);

impl<T: Shareable> From<Refused> for LockError<'_, T> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unrecoverable => Self::Unrecoverable,
            Refused::WouldBlock => Self::WouldBlock,
            Refused::TimedOut => Self::TimedOut,
            Refused::Deadlock => Self::Deadlock,
            Refused::Corrupt => Self::Corrupt,
            Refused::NoIdentity => Self::NoIdentity(NoIdentity),
            Refused::Os(errno) => Self::Os(errno),
        }
    }
}

impl<T: Shareable> fmt::Debug for LockError<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockError({self})")
    }
}

impl<T: Shareable> fmt::Display for LockError<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered(_) => {
                f.write_str("the last owner died or panicked while it held the lock")
            }
            Self::Unrecoverable => f.write_str("the value was given up by an owner of the lock"),
            Self::WouldBlock => f.write_str("another process or thread holds the lock"),
            Self::TimedOut => f.write_str("timed out waiting for the lock"),
            Self::Deadlock => f.write_str("this thread holds the lock already"),
            Self::Corrupt => f.write_str("the lock's owner word is not one of ours"),
            Self::NoIdentity(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl<T: Shareable> core::error::Error for LockError<'_, T> {}
