//! Receiving a message with descriptors.

use core::fmt;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd;
use rustix::io::{IoSliceMut, retry_on_intr};
use rustix::net::RecvFlags;

use super::message::{Came, recvmsg};
use super::{Fds, MAX_FDS};
use crate::clock::Deadline;
use crate::os::Until;
use crate::{Errno, Result};

/// A message as it came.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer were written. Zero stands for an empty packet, which
    /// [`send_with_fds`](super::send_with_fds) never sends but others may.
    pub len: usize,
    /// The descriptors that came with them.
    pub fds: Fds,
}

/// `recvmsg(socket, buf, MSG_CMSG_CLOEXEC)` — receives bytes and descriptors from a Unix socket.
///
/// The socket must not have been told to add control messages of other kinds (`SO_PASSCRED`,
/// `SO_PASSPIDFD`, `SO_PASSSEC`). A peer can switch them on only if it has, or had, this end.
///
/// # Errors
///
/// The bytes of a message that came with an error other than [`RecvError::Os`] are lost, its
/// descriptors are closed, and a caller who goes on no longer knows where in the conversation it is;
/// [`Link`](super::Link) does not let it.
///
/// * [`RecvError::Closed`] at the end: the peer has closed and everything was received. An empty
///   packet is told from the end while the peer is open; one that a foreign sender sends last, just
///   before it closes, reads as the end.
/// * [`RecvError::TooManyFds`] if more than [`MAX_FDS`] came;
/// * [`RecvError::FdsTruncated`] if the kernel dropped some, mostly because this process has too few
///   free descriptors;
/// * [`RecvError::Truncated`] if the packet is longer than `buf`;
/// * [`RecvError::UnexpectedControl`] if the socket adds its peer's credentials;
/// * [`RecvError::Os`]: `EAGAIN` from a non-blocking socket, `ECONNRESET` if the peer closed with
///   unread bytes of ours, `EINVAL` if `buf` is empty.
///
/// # Examples
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use ipc_core::fdpass::{RecvError, recv_with_fds};
///
/// let (ours, theirs) = UnixStream::pair()?;
/// drop(theirs);
/// assert_eq!(recv_with_fds(&ours, &mut [0; 8]).unwrap_err(), RecvError::Closed);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
///  - [recvmsg(2)](https://man7.org/linux/man-pages/man2/recvmsg.2.html)
pub fn recv_with_fds(socket: impl AsFd, buf: &mut [u8]) -> Result<Received, RecvError> {
    if buf.is_empty() {
        return Err(RecvError::Os(Errno::INVAL));
    }
    recv_parts(socket, &mut [IoSliceMut::new(buf)], RecvFlags::empty())
}

/// As [`recv_with_fds`], into several places, one of which is not empty.
pub(crate) fn recv_parts(
    socket: impl AsFd,
    bufs: &mut [IoSliceMut<'_>],
    flags: RecvFlags,
) -> Result<Received, RecvError> {
    // Every descriptor that came has an owner, so each return closes them.
    let mut came = retry_on_intr(|| recvmsg(&socket, bufs, flags)).map_err(RecvError::Os)?;
    if came.is_nothing() && is_closed(&socket).map_err(RecvError::Os)? {
        // Where it does not wait, the kernel looks for packets first and for the end second, without a
        // lock: the last packet may have come in between. Behind the end nothing comes.
        came = retry_on_intr(|| recvmsg(&socket, bufs, flags)).map_err(RecvError::Os)?;
        if came.is_nothing() {
            return Err(RecvError::Closed);
        }
    }
    let Came { len, fds, .. } = came;
    if came.too_many {
        Err(RecvError::TooManyFds)
    } else if came.is_control_cut {
        Err(RecvError::FdsTruncated)
    } else if came.is_cut {
        Err(RecvError::Truncated)
    } else if came.unexpected {
        Err(RecvError::UnexpectedControl)
    } else {
        Ok(Received { len, fds })
    }
}

/// Whether no more can come: an empty packet and the end both read as zero bytes.
fn is_closed(socket: impl AsFd) -> Result<bool> {
    Until::from(Deadline::now()).poll(&mut [PollFd::new(&socket, PollFlags::RDHUP)])
}

/// Why no message was received.
///
/// # Examples
///
/// ```
/// use ipc_core::fdpass::RecvError;
/// assert_eq!(RecvError::Closed.to_string(), "the peer has closed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// A system call failed; no message was taken.
    Os(Errno),
    /// The peer has closed and everything was received.
    Closed,
    /// More than [`MAX_FDS`] descriptors came with the message; all are closed.
    TooManyFds,
    /// The kernel could not deliver all descriptors of the message; those that came are closed.
    FdsTruncated,
    /// The packet is longer than the buffer; its descriptors are closed.
    Truncated,
    /// The socket adds control messages that nobody here asked for; the descriptors are closed.
    UnexpectedControl,
    /// The link broke at an earlier message.
    Poisoned,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "cannot receive: {errno}"),
            Self::Closed => f.write_str("the peer has closed"),
            Self::TooManyFds => write!(f, "more than {MAX_FDS} descriptors came with one message"),
            Self::FdsTruncated => f.write_str("descriptors of the message were lost"),
            Self::Truncated => f.write_str("the message is longer than the buffer"),
            Self::UnexpectedControl => f.write_str("the message carries unexpected control data"),
            Self::Poisoned => f.write_str("the link broke at an earlier message"),
        }
    }
}

impl core::error::Error for RecvError {}

static_assertions::assert_impl_all!(Received: Send, Sync);
static_assertions::assert_impl_all!(RecvError: Send, Sync);
