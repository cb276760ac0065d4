//! What a ring of bytes says when it says no.

use core::fmt;

use ipc_core::Errno;

use crate::ring;

/// Why a record was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// The consumer has not yet made room.
    Full,
    /// The ring has no room, and the consumer is closed or dead: nobody makes room unless a new consumer attaches.
    Disconnected,
    /// The ring's words are not what a ring can have. This producer is of no use any more.
    Corrupt,
    /// The record never fits, not even into an empty ring.
    TooLong {
        /// How many bytes it has.
        len: usize,
        /// How many a record of this ring may have.
        max: usize,
    },
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => ring::PushError::Full(()).fmt(f),
            Self::Disconnected => ring::PushError::Disconnected(()).fmt(f),
            Self::Corrupt => ring::PushError::Corrupt(()).fmt(f),
            Self::TooLong { len, max } => TooLong { len: *len, max: *max }.fmt(f),
        }
    }
}

impl core::error::Error for PushError {}

impl From<ring::PushError<()>> for PushError {
    fn from(error: ring::PushError<()>) -> Self {
        match error {
            ring::PushError::Full(()) => Self::Full,
            ring::PushError::Disconnected(()) => Self::Disconnected,
            ring::PushError::Corrupt(()) => Self::Corrupt,
        }
    }
}

impl From<TooLong> for PushError {
    fn from(TooLong { len, max }: TooLong) -> Self {
        Self::TooLong { len, max }
    }
}

/// Why no record was popped. If there is one, it is still the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// The producer has not yet pushed another one.
    Empty,
    /// The ring is empty, and the producer is closed or dead: no record comes unless a new producer attaches.
    Disconnected,
    /// The ring's words are not what a ring can have. This consumer is of no use any more.
    Corrupt,
    /// The next record is longer than the buffer.
    BufferTooSmall {
        /// How many bytes the record has.
        len: usize,
    },
    /// The allocator has no room for the next record.
    OutOfMemory {
        /// How many bytes the record has.
        len: usize,
    },
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => ring::PopError::Empty.fmt(f),
            Self::Disconnected => ring::PopError::Disconnected.fmt(f),
            Self::Corrupt => ring::PopError::Corrupt.fmt(f),
            Self::BufferTooSmall { len } => {
                write!(f, "the next record has {len} bytes, more than the buffer")
            }
            Self::OutOfMemory { len } => write!(f, "not enough memory for a record of {len} bytes"),
        }
    }
}

impl core::error::Error for PopError {}

impl From<ring::PopError> for PopError {
    fn from(error: ring::PopError) -> Self {
        match error {
            ring::PopError::Empty => Self::Empty,
            ring::PopError::Disconnected => Self::Disconnected,
            ring::PopError::Corrupt => Self::Corrupt,
        }
    }
}

/// Why a record was not pushed by a call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushWaitError {
    /// There was no room until the time was over.
    TimedOut,
    /// As [`PushError::Disconnected`].
    Disconnected,
    /// As [`PushError::Corrupt`].
    Corrupt,
    /// As [`PushError::TooLong`].
    TooLong {
        /// How many bytes it has.
        len: usize,
        /// How many a record of this ring may have.
        max: usize,
    },
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

impl From<PushError> for PushWaitError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::TimedOut,
            PushError::Disconnected => Self::Disconnected,
            PushError::Corrupt => Self::Corrupt,
            PushError::TooLong { len, max } => Self::TooLong { len, max },
        }
    }
}

impl From<ring::PopWaitError> for PushWaitError {
    fn from(error: ring::PopWaitError) -> Self {
        match error {
            ring::PopWaitError::TimedOut => Self::TimedOut,
            ring::PopWaitError::Disconnected => Self::Disconnected,
            ring::PopWaitError::Corrupt => Self::Corrupt,
            ring::PopWaitError::Os(errno) => Self::Os(errno),
        }
    }
}

impl fmt::Display for PushWaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => ring::PushWaitError::TimedOut(()).fmt(f),
            Self::Disconnected => PushError::Disconnected.fmt(f),
            Self::Corrupt => PushError::Corrupt.fmt(f),
            Self::TooLong { len, max } => TooLong { len: *len, max: *max }.fmt(f),
            Self::Os(errno) => ring::PushWaitError::Os((), *errno).fmt(f),
        }
    }
}

impl core::error::Error for PushWaitError {}

/// Why a call that waits popped no record. If there is one, it is still the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopWaitError {
    /// The ring was empty until the time was over.
    TimedOut,
    /// As [`PopError::Disconnected`].
    Disconnected,
    /// As [`PopError::Corrupt`].
    Corrupt,
    /// As [`PopError::BufferTooSmall`].
    BufferTooSmall {
        /// How many bytes the record has.
        len: usize,
    },
    /// As [`PopError::OutOfMemory`].
    OutOfMemory {
        /// How many bytes the record has.
        len: usize,
    },
    /// The kernel refused to let the thread sleep. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

impl From<PopError> for PopWaitError {
    fn from(error: PopError) -> Self {
        match error {
            PopError::Empty => Self::TimedOut,
            PopError::Disconnected => Self::Disconnected,
            PopError::Corrupt => Self::Corrupt,
            PopError::BufferTooSmall { len } => Self::BufferTooSmall { len },
            PopError::OutOfMemory { len } => Self::OutOfMemory { len },
        }
    }
}

impl From<ring::PopWaitError> for PopWaitError {
    fn from(error: ring::PopWaitError) -> Self {
        match error {
            ring::PopWaitError::TimedOut => Self::TimedOut,
            ring::PopWaitError::Disconnected => Self::Disconnected,
            ring::PopWaitError::Corrupt => Self::Corrupt,
            ring::PopWaitError::Os(errno) => Self::Os(errno),
        }
    }
}

impl fmt::Display for PopWaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TimedOut => ring::PopWaitError::TimedOut.fmt(f),
            Self::Disconnected => PopError::Disconnected.fmt(f),
            Self::Corrupt => PopError::Corrupt.fmt(f),
            Self::BufferTooSmall { len } => PopError::BufferTooSmall { len }.fmt(f),
            Self::OutOfMemory { len } => PopError::OutOfMemory { len }.fmt(f),
            Self::Os(errno) => ring::PopWaitError::Os(errno).fmt(f),
        }
    }
}

impl core::error::Error for PopWaitError {}

/// More bytes than there is room for. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// How many bytes the record would have.
    pub len: usize,
    /// How many it may have.
    pub max: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record of {} bytes, where {} is the most", self.len, self.max)
    }
}

impl core::error::Error for TooLong {}

static_assertions::assert_impl_all!(PushError: Send, Sync);
static_assertions::assert_impl_all!(PopError: Send, Sync);
static_assertions::assert_impl_all!(PushWaitError: Send, Sync);
static_assertions::assert_impl_all!(PopWaitError: Send, Sync);
static_assertions::assert_impl_all!(TooLong: Send, Sync);
