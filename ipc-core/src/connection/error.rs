//! What can go wrong on a connection, by name.

use core::fmt;

use crate::Errno;
use crate::fdpass::{self, MAX_FDS};
#[cfg(feature = "serde")]
use crate::parcel::ParcelError;

/// Why a message was not sent.
///
/// # Examples
///
/// ```
/// use ipc_core::connection::{self, SendError};
///
/// let (mut ours, theirs) = connection::pair()?;
/// drop(theirs);
/// assert_eq!(ours.send(b"anybody?"), Err(SendError::Closed));
/// # Ok::<(), ipc_core::Errno>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is closed, in every process that had it.
    Closed,
    /// The deadline came before anything was sent.
    TimedOut,
    /// The deadline came, or an error, when a part of a long message was sent. The receiver is told
    /// with the next message that one was torn.
    Torn,
    /// More than [`MAX_FDS`] descriptors for one message.
    TooManyFds,
    /// The value could not be packed.
    #[cfg(feature = "serde")]
    Parcel(ParcelError),
    /// A system call failed; nothing was sent, or by a [`Sending`](super::Sending) nothing more. `ETOOMANYREFS`: too
    /// many descriptors are on their way. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end is closed"),
            Self::TimedOut => f.write_str("not sent in time"),
            Self::Torn => f.write_str("only a part of the message was sent"),
            Self::TooManyFds => write!(f, "more than {MAX_FDS} descriptors for one message"),
            #[cfg(feature = "serde")]
            Self::Parcel(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "cannot send: {errno}"),
        }
    }
}

impl core::error::Error for SendError {}

impl From<fdpass::SendError> for SendError {
    fn from(error: fdpass::SendError) -> Self {
        match error {
            // A reset: the peer closed with messages unread, and says so once.
            fdpass::SendError::Os(Errno::PIPE | Errno::CONNRESET) => Self::Closed,
            fdpass::SendError::Os(errno) => Self::Os(errno),
            fdpass::SendError::TooManyFds => Self::TooManyFds,
            // Every packet has a header, and the socket is in no `Link`.
            fdpass::SendError::Empty | fdpass::SendError::Poisoned => Self::Os(Errno::INVAL),
        }
    }
}

impl From<Errno> for SendError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

#[cfg(feature = "serde")]
impl From<ParcelError> for SendError {
    fn from(error: ParcelError) -> Self {
        Self::Parcel(error)
    }
}

/// Why no message was received.
///
/// # Examples
///
/// ```
/// use ipc_core::connection::{self, RecvError};
///
/// let (mut ours, theirs) = connection::pair()?;
/// drop(theirs);
/// assert_eq!(ours.recv(), Err(RecvError::Closed));
/// # Ok::<(), ipc_core::Errno>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end is closed, in every process that had it, and all its messages were received.
    Closed,
    /// The deadline came first. What has come of a long message is kept for the next call.
    TimedOut,
    /// A message was not sent to its end: its sender died, or gave up, or several processes sent or
    /// received long messages on one end. The connection goes on with the next message.
    Torn,
    /// A message is longer than the receiver's limit. It is dropped; the connection goes on.
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// The most it may be.
        limit: usize,
    },
    /// Descriptors that came with a message did not fit into this process's table. They are closed,
    /// and so is the connection: what comes next may speak of them.
    DescriptorsLost,
    /// What came was not sent by a connection. The connection is closed.
    Malformed,
    /// The value could not be unpacked. The connection goes on.
    #[cfg(feature = "serde")]
    Parcel(ParcelError),
    /// A system call failed; nothing is lost. `EINTR`: a signal ended an interruptible call.
    Os(Errno),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the other end is closed"),
            Self::TimedOut => f.write_str("no message came in time"),
            Self::Torn => f.write_str("a message was not sent to its end"),
            Self::TooLarge { len, limit } => {
                write!(f, "a message of {len} bytes, more than the {limit} allowed")
            }
            Self::DescriptorsLost => f.write_str("descriptors of a message were lost"),
            Self::Malformed => f.write_str("what came is no message"),
            #[cfg(feature = "serde")]
            Self::Parcel(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "cannot receive: {errno}"),
        }
    }
}

impl core::error::Error for RecvError {}

impl From<fdpass::RecvError> for RecvError {
    fn from(error: fdpass::RecvError) -> Self {
        match error {
            fdpass::RecvError::Closed => Self::Closed,
            fdpass::RecvError::Os(errno) => Self::Os(errno),
            fdpass::RecvError::FdsTruncated => Self::DescriptorsLost,
            fdpass::RecvError::TooManyFds
            | fdpass::RecvError::Truncated
            | fdpass::RecvError::UnexpectedControl
            | fdpass::RecvError::Poisoned => Self::Malformed,
        }
    }
}

impl From<Errno> for RecvError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

#[cfg(feature = "serde")]
impl From<ParcelError> for RecvError {
    fn from(error: ParcelError) -> Self {
        Self::Parcel(error)
    }
}

static_assertions::assert_impl_all!(SendError: Send, Sync);
static_assertions::assert_impl_all!(RecvError: Send, Sync);
