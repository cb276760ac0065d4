//! [`OnceError`] and [`SetError`]: why something was not done, or not known to be.

use core::fmt;

use ipc_core::Errno;
use ipc_core::identity::NoIdentity;

use crate::raw::mutex::Refused;

/// Why a call of [`Once::call_once`](crate::Once::call_once) or of its kin ended without the thing done.
///
/// # Examples
///
/// ```
/// use ipc_sync::{Deadline, Once, OnceError};
///
/// let once = Once::new();
/// let inner = || once.call_once_deadline(Deadline::now(), |_| {});
/// once.call_once(|_| assert_eq!(inner(), Err(OnceError::TimedOut)))?;
/// # Ok::<(), OnceError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnceError {
    /// A process is doing it that lives, or whose life cannot be judged from here.
    WouldBlock,
    /// The time is over.
    TimedOut,
    /// The calling thread is doing it already: it called again from inside.
    Deadlock,
    /// When the function returned, its process was not the one that had begun, or an operator had
    /// [broken](crate::Once::break_lock) the lock. The former is a forked child of the caller, which came out of the
    /// function as well. It has completed nothing.
    NotRunner,
    /// The owner word is one that no process can have: something else has written to it.
    Corrupt,
    /// This process has no identity by which others could tell its death.
    NoIdentity(NoIdentity),
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

static_assertions::assert_impl_all!(OnceError: Send, Sync);

impl From<Refused> for OnceError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::WouldBlock => Self::WouldBlock,
            Refused::TimedOut => Self::TimedOut,
            Refused::Deadlock => Self::Deadlock,
            // Nobody gives up a lock that guards no value.
            Refused::Unrecoverable | Refused::Corrupt => Self::Corrupt,
            Refused::NoIdentity => Self::NoIdentity(NoIdentity),
            Refused::Os(errno) => Self::Os(errno),
        }
    }
}

impl fmt::Display for OnceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("another process or thread is doing it"),
            Self::TimedOut => f.write_str("timed out waiting for it to be done"),
            Self::Deadlock => f.write_str("this thread is doing it already"),
            Self::NotRunner => f.write_str("this process is not the one that began to do it"),
            Self::Corrupt => f.write_str("the owner word is not one of ours"),
            Self::NoIdentity(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl core::error::Error for OnceError {}

/// Why [`OnceLock::set`](crate::OnceLock::set) did not set the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetError<T> {
    /// There is a value already. This one comes back.
    AlreadySet(T),
    /// Whether there is one could not be found out.
    Failed(OnceError),
}

static_assertions::assert_impl_all!(SetError<u64>: Send, Sync);

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadySet(_) => f.write_str("there is a value already"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<T: fmt::Debug> core::error::Error for SetError<T> {}
