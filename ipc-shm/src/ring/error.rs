//! What a ring says when it says no.

use core::fmt;

use ipc_core::Errno;
use ipc_core::identity::{NoIdentity, ProcessId};

#[cfg(not(loom))]
use crate::{CreateError, PlanError};

/// Why a message was not pushed. It comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// The consumer has not yet made room.
    Full(T),
    /// The ring is full, and the consumer is closed or dead: nobody makes room unless a new
    /// consumer attaches.
    Disconnected(T),
    /// The ring's words are not what a ring can have. This producer is of no use any more.
    Corrupt(T),
}

impl<T> PushError<T> {
    /// The message that was not pushed.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_shm::ring::PushError::Full(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        let (Self::Full(message) | Self::Disconnected(message) | Self::Corrupt(message)) = self;
        message
    }

    /// The reason alone.
    pub(super) fn without_message(self) -> PushError<()> {
        match self {
            Self::Full(_) => PushError::Full(()),
            Self::Disconnected(_) => PushError::Disconnected(()),
            Self::Corrupt(_) => PushError::Corrupt(()),
        }
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Disconnected(_) => "Disconnected(..)",
            Self::Corrupt(_) => "Corrupt(..)",
        })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the ring is full",
            Self::Disconnected(_) => "the ring is full and its consumer is gone",
            Self::Corrupt(_) => CORRUPT,
        })
    }
}

impl<T> core::error::Error for PushError<T> {}

/// Why no message was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// The producer has not yet pushed another one.
    Empty,
    /// The ring is empty, and the producer is closed or dead: no message comes unless a new
    /// producer attaches.
    Disconnected,
    /// The ring's words are not what a ring can have. This consumer is of no use any more.
    Corrupt,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the ring is empty",
            Self::Disconnected => "the ring is empty and its producer is gone",
            Self::Corrupt => CORRUPT,
        })
    }
}

impl core::error::Error for PopError {}

/// Why a message was not pushed by a call that waits. It comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushWaitError<T> {
    /// The ring was full until the time was over.
    TimedOut(T),
    /// The ring is full, and the consumer is closed or dead: nobody makes room unless a new
    /// consumer attaches.
    Disconnected(T),
    /// The ring's words are not what a ring can have. This producer is of no use any more.
    Corrupt(T),
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(T, Errno),
}

impl<T> PushWaitError<T> {
    /// `message` was not pushed, for the reason for which nothing would have been popped.
    pub(super) fn of(reason: PopWaitError, message: T) -> Self {
        match reason {
            PopWaitError::TimedOut => Self::TimedOut(message),
            PopWaitError::Disconnected => Self::Disconnected(message),
            PopWaitError::Corrupt => Self::Corrupt(message),
            PopWaitError::Os(errno) => Self::Os(message, errno),
        }
    }

    /// The message that was not pushed.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ipc_shm::ring::PushWaitError::TimedOut(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        let (Self::TimedOut(message)
        | Self::Disconnected(message)
        | Self::Corrupt(message)
        | Self::Os(message, _)) = self;
        message
    }
}

/// What a call that does not wait has said; `Full` is what such a wait ends with when there is no time.
impl<T> From<PushError<T>> for PushWaitError<T> {
    fn from(error: PushError<T>) -> Self {
        match error {
            PushError::Full(message) => Self::TimedOut(message),
            PushError::Disconnected(message) => Self::Disconnected(message),
            PushError::Corrupt(message) => Self::Corrupt(message),
        }
    }
}

impl<T> fmt::Debug for PushWaitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(_) => f.write_str("TimedOut(..)"),
            Self::Disconnected(_) => f.write_str("Disconnected(..)"),
            Self::Corrupt(_) => f.write_str("Corrupt(..)"),
            Self::Os(_, errno) => write!(f, "Os(.., {errno:?})"),
        }
    }
}

impl<T> fmt::Display for PushWaitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(_) => f.write_str("timed out waiting for room in the ring"),
            Self::Disconnected(_) => f.write_str("the ring is full and its consumer is gone"),
            Self::Corrupt(_) => f.write_str(CORRUPT),
            Self::Os(_, errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl<T> core::error::Error for PushWaitError<T> {}

/// Why a call that waits popped no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopWaitError {
    /// The ring was empty until the time was over.
    TimedOut,
    /// The ring is empty, and the producer is closed or dead: no message comes unless a new
    /// producer attaches.
    Disconnected,
    /// The ring's words are not what a ring can have. This consumer is of no use any more.
    Corrupt,
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

/// As for [`PushWaitError`].
impl From<PopError> for PopWaitError {
    fn from(error: PopError) -> Self {
        match error {
            PopError::Empty => Self::TimedOut,
            PopError::Disconnected => Self::Disconnected,
            PopError::Corrupt => Self::Corrupt,
        }
    }
}

impl fmt::Display for PopWaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out waiting for a message"),
            Self::Disconnected => f.write_str("the ring is empty and its producer is gone"),
            Self::Corrupt => f.write_str(CORRUPT),
            Self::Os(errno) => write!(f, "the kernel refused to wait: {errno}"),
        }
    }
}

impl core::error::Error for PopWaitError {}

const CORRUPT: &str = "the ring's memory has been damaged";

/// Why an end can do nothing now: whichever end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The peer has not yet made room, or not yet pushed.
    NotYet,
    /// The same, and it is closed or dead.
    Disconnected,
    /// The ring's words are not what a ring can have.
    Corrupt,
}

impl Refused {
    pub(super) fn push<T>(self, message: T) -> PushError<T> {
        match self {
            Self::NotYet => PushError::Full(message),
            Self::Disconnected => PushError::Disconnected(message),
            Self::Corrupt => PushError::Corrupt(message),
        }
    }

    pub(super) fn pop(self) -> PopError {
        match self {
            Self::NotYet => PopError::Empty,
            Self::Disconnected => PopError::Disconnected,
            Self::Corrupt => PopError::Corrupt,
        }
    }
}

/// Why this process did not become the producer or the consumer of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleError {
    /// A process has the role, and is not known to be dead. It may be this process, by another
    /// handle.
    Taken {
        /// Who has it.
        owner: ProcessId,
    },
    /// The ring's words are not what a ring can have.
    Corrupt,
    /// This process has no identity by which others could tell its death.
    NoIdentity(NoIdentity),
    /// The ring could not be mapped once more for the new handle, or its socket not copied.
    Os(Errno),
    /// An end that does not trust the other one was asked for, of a ring whose memory could be taken away.
    NotSealed,
    /// The ring is [pollable](super::pollable): whoever takes an end needs the socket of its side, to tell the other side by it.
    NoSocket,
    /// Of a ring of many: it has records for so many producers, or consumers, and all are those of processes that may live.
    Crowded {
        /// How many there can be at a time.
        participants: usize,
    },
    /// The ring was given sockets, and somebody has taken an end of it without: he cannot tell anybody by them.
    NotPollable,
}

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { owner } => write!(f, "{owner} has this end of the ring"),
            Self::Corrupt => f.write_str(CORRUPT),
            Self::NoIdentity(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "cannot map the ring, or copy its socket: {errno}"),
            Self::NotSealed => {
                f.write_str("the ring's memory could be taken away by an untrusted peer")
            }
            Self::NoSocket => f.write_str("the ring is pollable, and its socket is not here"),
            Self::Crowded { participants } => {
                write!(f, "all {participants} places at the ring are taken")
            }
            Self::NotPollable => f.write_str("the ring has been used without its sockets"),
        }
    }
}

impl core::error::Error for RoleError {}

/// Why there is no new ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// A ring for no messages.
    ZeroCapacity,
    /// An [indexed](super::indexed) ring or one [of many](super::mpmc), whose capacity would not be a power of two.
    NotAPowerOfTwo {
        /// What was asked for.
        capacity: usize,
    },
    /// The allocator has no room for it.
    OutOfMemory,
    /// Its slots cannot lie in a region.
    #[cfg(not(loom))]
    Plan(PlanError),
    /// The region could not be made.
    #[cfg(not(loom))]
    Region(CreateError),
}

/// Whether rings whose positions wrap around can have this capacity.
pub(super) fn check_power_of_two(capacity: usize) -> Result<(), RingError> {
    match capacity {
        0 => Err(RingError::ZeroCapacity),
        _ if !capacity.is_power_of_two() => Err(RingError::NotAPowerOfTwo { capacity }),
        _ => Ok(()),
    }
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroCapacity => f.write_str("a ring of capacity 0"),
            Self::NotAPowerOfTwo { capacity } => {
                write!(f, "capacity {capacity} is not a power of two")
            }
            Self::OutOfMemory => f.write_str("not enough memory for the ring"),
            #[cfg(not(loom))]
            Self::Plan(error) => error.fmt(f),
            #[cfg(not(loom))]
            Self::Region(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for RingError {}

static_assertions::assert_impl_all!(PushError<u64>: Send, Sync);
static_assertions::assert_impl_all!(PopError: Send, Sync);
static_assertions::assert_impl_all!(PushWaitError<u64>: Send, Sync);
static_assertions::assert_impl_all!(PopWaitError: Send, Sync);
static_assertions::assert_impl_all!(RoleError: Send, Sync);
static_assertions::assert_impl_all!(RingError: Send, Sync);
