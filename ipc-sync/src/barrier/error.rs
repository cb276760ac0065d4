//! [`BarrierError`] and [`Breach`]: why a barrier did not open.

use core::fmt;

use ipc_core::Errno;
use ipc_core::identity::{NoIdentity, ProcessId};

/// Why [`Barrier::join`](crate::Barrier::join) gave no place, or a wait at the barrier ended before it opened.
///
/// # Examples
///
/// ```
/// use ipc_sync::{Barrier, BarrierError, Breach};
///
/// let barrier: Barrier<2> = Barrier::new(2);
/// let mut one = barrier.join()?;
/// barrier.abort();
/// assert_eq!(one.wait(), Err(BarrierError::Broken(Breach::Aborted)));
/// # Ok::<(), BarrierError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BarrierError {
    /// It is broken, for everybody and until it is [reset](crate::Barrier::reset).
    Broken(Breach),
    /// There are as many members as parties, and none is known to be dead ([`Barrier::join`](crate::Barrier::join)).
    Full,
    /// Somebody is missing ([`BarrierMember::try_wait`](crate::BarrierMember::try_wait)).
    WouldBlock,
    /// The time of this member is over, which has broken the barrier: the others get [`Breach::TimedOut`].
    TimedOut,
    /// The place is another process's: the handle is a copy that a fork made.
    NotAMember,
    /// This process has no identity by which others could tell its death.
    NoIdentity(NoIdentity),
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call. Either way the
    /// arrival stands, and the member's next wait goes on with it.
    Os(Errno),
}

static_assertions::assert_impl_all!(BarrierError: Send, Sync);

impl From<NoIdentity> for BarrierError {
    fn from(error: NoIdentity) -> Self {
        Self::NoIdentity(error)
    }
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(breach) => write!(f, "the barrier is broken: {breach}"),
            Self::Full => f.write_str("the barrier has all its members"),
            Self::WouldBlock => f.write_str("another member is missing at the barrier"),
            Self::TimedOut => f.write_str("timed out waiting at the barrier"),
            Self::NotAMember => f.write_str("this process is not the member of the barrier"),
            Self::NoIdentity(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl core::error::Error for BarrierError {}

/// Why a [`Barrier`](crate::Barrier) is broken: what came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// This process, a member that was missing, is dead.
    Died(ProcessId),
    /// A member was dropped, so that the others are short of one.
    Left,
    /// Another member's time was over before all had come.
    TimedOut,
    /// Somebody called [`Barrier::abort`](crate::Barrier::abort).
    Aborted,
    /// Somebody called [`Barrier::reset`](crate::Barrier::reset) while this member waited, or was killed in it.
    Reset,
    /// The [action](crate::BarrierMember::wait_with) of a member panicked.
    Panicked,
    /// A word of the barrier is one that no member has written.
    Corrupt,
}

static_assertions::assert_impl_all!(Breach: Send, Sync);

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Died(who) => write!(f, "{who} died, and was a member"),
            Self::Left => f.write_str("a member has left it"),
            Self::TimedOut => f.write_str("the time of a member was over"),
            Self::Aborted => f.write_str("it was aborted"),
            Self::Reset => f.write_str("it was reset"),
            Self::Panicked => f.write_str("the action of a member panicked"),
            Self::Corrupt => f.write_str("something else has written to it"),
        }
    }
}
