//! [`WaitError`]: why a wait ended in vain.

use core::fmt;

use ipc_core::Errno;

/// Why a wait for something that nobody owns ended without it: [`Semaphore::acquire`](crate::Semaphore::acquire),
/// [`Event::wait`](crate::Event::wait) and their timed forms.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ipc_sync::{Event, WaitError};
///
/// let never = Event::new();
/// assert_eq!(never.wait_timeout(Duration::ZERO), Err(WaitError::TimedOut));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is over.
    TimedOut,
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

static_assertions::assert_impl_all!(WaitError: Send, Sync);

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out waiting"),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl core::error::Error for WaitError {}
