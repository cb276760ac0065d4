//! Sending a message with descriptors.

use core::fmt;
use core::mem::MaybeUninit;

use rustix::cmsg_space;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::{IoSlice, retry_on_intr};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::MAX_FDS;
use crate::Errno;

/// `sendmsg(socket, bytes + SCM_RIGHTS, MSG_NOSIGNAL)` — sends bytes and copies of descriptors over a
/// connected Unix socket.
///
/// Returns how many bytes were taken. On success *all* descriptors have gone, with the first of
/// those bytes. On `SOCK_STREAM` fewer bytes than given may be taken; the rest must then be sent
/// **without** the descriptors, or the receiver gets them twice: [`Link`](super::Link) does so.
///
/// The caller's descriptors stay open and its own.
///
/// # Errors
///
/// Nothing was sent in any of these cases.
///
/// * [`SendError::TooManyFds`] for more than [`MAX_FDS`] descriptors;
/// * [`SendError::Empty`] for no bytes: on a stream nothing would carry the descriptors, and a
///   receiver of packets could take it for the end;
/// * [`SendError::Os`]: `EPIPE` if the peer has closed (there is no SIGPIPE), `EAGAIN` from a
///   non-blocking socket, `EMSGSIZE` for a packet beyond the socket's buffer, `ETOOMANYREFS` if the
///   sender's descriptors in flight exceed its limit of open files.
///
/// # Examples
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use std::os::fd::AsFd;
/// use ipc_core::fdpass::{SendError, send_with_fds};
/// use ipc_core::Errno;
///
/// let (ours, theirs) = UnixStream::pair()?;
/// assert_eq!(send_with_fds(&ours, b"here", &[theirs.as_fd()])?, 4);
/// assert_eq!(send_with_fds(&ours, b"", &[theirs.as_fd()]), Err(SendError::Empty));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # References
///  - [sendmsg(2)](https://man7.org/linux/man-pages/man2/sendmsg.2.html)
pub fn send_with_fds(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<usize, SendError> {
    if bytes.is_empty() {
        return Err(SendError::Empty);
    }
    send_parts(socket, &[IoSlice::new(bytes)], fds, SendFlags::empty())
}

/// As [`send_with_fds`], of bytes in several places, one of which is not empty.
pub(crate) fn send_parts(
    socket: impl AsFd,
    bytes: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<usize, SendError> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // Without descriptors there must be no control message either: the kernel refuses an empty one
    // on some sockets.
    if !fds.is_empty() {
        let fits = fds.len() <= MAX_FDS && control.push(SendAncillaryMessage::ScmRights(fds));
        if !fits {
            return Err(SendError::TooManyFds);
        }
    }
    let flags = flags | SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(&socket, bytes, &mut control, flags)).map_err(SendError::Os)
}

/// Why nothing, or by [`Link::send_with_fds`](super::Link::send_with_fds) not everything, was sent.
///
/// # Examples
///
/// ```
/// use ipc_core::fdpass::SendError;
/// assert_eq!(SendError::TooManyFds.to_string(), "more than 16 descriptors for one message");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The system call failed.
    Os(Errno),
    /// More than [`MAX_FDS`] descriptors were given.
    TooManyFds,
    /// No bytes were given.
    Empty,
    /// The link broke at an earlier message.
    Poisoned,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "cannot send: {errno}"),
            Self::TooManyFds => write!(f, "more than {MAX_FDS} descriptors for one message"),
            Self::Empty => f.write_str("a message needs at least one byte"),
            Self::Poisoned => f.write_str("the link broke at an earlier message"),
        }
    }
}

impl core::error::Error for SendError {}

static_assertions::assert_impl_all!(SendError: Send, Sync);
