//! [`ReentrantLockError`]: why a lock was not simply taken.

use core::fmt;

use ipc_core::identity::NoIdentity;
use ipc_core::{Errno, Shareable};

use super::ReentrantRecovered;
use crate::raw::mutex::Refused;
use crate::raw::reentrant::Denied;

/// Why [`ReentrantMutex::lock`](crate::ReentrantMutex::lock) and its kin did not return a plain guard.
#[non_exhaustive]
pub enum ReentrantLockError<'a, T: Shareable> {
    /// The lock *is* held now, but an owner died or panicked while it had it, or an operator
    /// [broke](crate::ReentrantMutex::break_lock) it, and nobody has said since that the value is in order.
    ///
    /// It stays held for as long as this error lives: match it before you return or keep it.
    Recovered(ReentrantRecovered<'a, T>),
    /// An owner has [given up](ReentrantRecovered::poison) the value.
    Unrecoverable,
    /// This thread has the value [alone](crate::ReentrantMutexGuard::exclusive) at the moment.
    Exclusive,
    /// This thread holds the lock 4,294,967,294 times already.
    TooDeep,
    /// A thread holds the lock that is not this one, and its process lives, or its life cannot be judged from here
    /// ([`ReentrantMutex::try_lock`](crate::ReentrantMutex::try_lock)).
    WouldBlock,
    /// The time is over.
    TimedOut,
    /// In a signal handler: the calling thread was just taking or releasing the lock.
    Deadlock,
    /// The owner word is one that no process can have: something else has written to it.
    Corrupt,
    /// This process has no identity by which others could tell its death.
    NoIdentity(NoIdentity),
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

static_assertions::assert_not_impl_any!(ReentrantLockError<'static, u64>: Send);

impl<T: Shareable> From<Denied> for ReentrantLockError<'_, T> {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Borrowed => Self::Exclusive,
            Denied::TooDeep => Self::TooDeep,
            Denied::Refused(Refused::Unrecoverable) => Self::Unrecoverable,
            Denied::Refused(Refused::WouldBlock) => Self::WouldBlock,
            Denied::Refused(Refused::TimedOut) => Self::TimedOut,
            Denied::Refused(Refused::Deadlock) => Self::Deadlock,
            Denied::Refused(Refused::Corrupt) => Self::Corrupt,
            Denied::Refused(Refused::NoIdentity) => Self::NoIdentity(NoIdentity),
            Denied::Refused(Refused::Os(errno)) => Self::Os(errno),
        }
    }
}

impl<T: Shareable> fmt::Debug for ReentrantLockError<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReentrantLockError({self})")
    }
}

impl<T: Shareable> fmt::Display for ReentrantLockError<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered(_) => f.write_str("an owner died or panicked while it held the lock"),
            Self::Unrecoverable => f.write_str("the value was given up by an owner of the lock"),
            Self::Exclusive => f.write_str("this thread has exclusive access to the value"),
            Self::TooDeep => f.write_str("this thread holds the lock too many times"),
            Self::WouldBlock => f.write_str("another process or thread holds the lock"),
            Self::TimedOut => f.write_str("timed out waiting for the lock"),
            Self::Deadlock => f.write_str("this thread was just taking or releasing the lock"),
            Self::Corrupt => f.write_str("the lock's owner word is not one of ours"),
            Self::NoIdentity(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl<T: Shareable> core::error::Error for ReentrantLockError<'_, T> {}
