//! [`RwLockError`]: why a lock was not simply taken for reading or for writing.

use core::fmt;

use ipc_core::identity::NoIdentity;
use ipc_core::{Errno, Shareable};

use super::RwLockRecovered;
use crate::raw::mutex::Refused;

/// Why [`RwLock::read`](crate::RwLock::read), [`RwLock::write`](crate::RwLock::write) and their kin did not return a
/// plain guard.
#[non_exhaustive]
pub enum RwLockError<'a, T: Shareable, const READERS: usize> {
    /// The lock *is* held now, for *writing*, but its last writer died or panicked while it had it, or an operator
    /// [broke](crate::RwLock::break_lock) it. So says [`read`](crate::RwLock::read), too: whoever is told can repair.
    ///
    /// It stays held for as long as this error lives: match it before you return or keep it, as
    /// [with a `Mutex`](crate::Mutex#in-functions-that-return-boxdyn-error).
    Recovered(RwLockRecovered<'a, T, READERS>),
    /// A writer has [given up](RwLockRecovered::poison) the value.
    Unrecoverable,
    /// As many as there is place for read at this moment, and all of them live. Only for those who want to read.
    TooManyReaders,
    /// Somebody holds the lock who lives, or whose life cannot be judged from here
    /// ([`RwLock::try_read`](crate::RwLock::try_read), [`RwLock::try_write`](crate::RwLock::try_write)).
    WouldBlock,
    /// The time is over.
    TimedOut,
    /// The calling thread would wait for itself: it holds the lock for writing; or for reading, and wants to write; or
    /// wants to read once more, while a writer waits that it has finished the first time. Or it is in a signal handler,
    /// and was just taking the lock.
    Deadlock,
    /// An owner word is one that no process can have: something else has written to it.
    Corrupt,
    /// This process has no identity by which others could tell its death.
    NoIdentity(NoIdentity),
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

static_assertions::assert_not_impl_any!(RwLockError<'static, u64, 1>: Send);

impl<T: Shareable, const READERS: usize> From<Refused> for RwLockError<'_, T, READERS> {
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

impl<T: Shareable, const READERS: usize> fmt::Debug for RwLockError<'_, T, READERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RwLockError({self})")
    }
}

impl<T: Shareable, const READERS: usize> fmt::Display for RwLockError<'_, T, READERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered(_) => {
                f.write_str("the last writer died or panicked while it held the lock")
            }
            Self::Unrecoverable => f.write_str("the value was given up by a writer"),
            Self::TooManyReaders => write!(f, "{READERS} read already, and there is no more place"),
            Self::WouldBlock => f.write_str("another process or thread holds the lock"),
            Self::TimedOut => f.write_str("timed out waiting for the lock"),
            Self::Deadlock => f.write_str("this thread would wait for itself"),
            Self::Corrupt => f.write_str("an owner word of the lock is not one of ours"),
            Self::NoIdentity(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl<T: Shareable, const READERS: usize> core::error::Error for RwLockError<'_, T, READERS> {}
