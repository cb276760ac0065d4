//! [`Sender`]: the half of a connection that messages go into.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::IoSlice;
use rustix::net::{SendFlags, Shutdown, shutdown};
use rustix::process::getpid;

use super::packet::{Header, MessageId, PART, WHOLE};
use super::{SendError, socket, wait};
use crate::clock::Deadline;
use crate::fdpass::{self, MAX_FDS, send_parts};
use crate::identity::ProcessId;
use crate::{Errno, Result};

/// The half of a connection that messages go into.
///
/// # Several senders on one end
///
/// `&mut` keeps threads of one process apart, but a fork or a parcel may give the same end to several
/// processes. Each message of up to 4,096 bytes arrives whole, whoever else sends. A longer one of
/// two that are sent at the same time may arrive as [`RecvError::Torn`](super::RecvError::Torn):
/// noticed, never mixed.
///
/// # Examples
///
/// ```
/// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
/// sender.send(b"hello")?;
/// assert_eq!(receiver.recv()?, b"hello");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sender {
    socket: Arc<OwnedFd>,
    /// The largest further packet that the socket has taken.
    part: usize,
}

static_assertions::assert_impl_all!(Sender: Send, Sync);

/// Numbers the long messages of this process. A fork's copy goes on under another identity.
static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Sender {
    pub(super) const fn over(socket: Arc<OwnedFd>) -> Self {
        Self { socket, part: PART }
    }

    /// Takes the sending half of an end that another process made.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is no connected `SOCK_SEQPACKET` Unix socket; `ENOTSOCK`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::connection::Sender;
    /// use std::os::fd::OwnedFd;
    ///
    /// let (mut receiver, sender) = ipc_core::connection::simplex()?;
    /// let fd = OwnedFd::try_from(sender).unwrap(); // .. travels somewhere ..
    /// Sender::from_fd(fd)?.send(b"hello")?;
    /// assert_eq!(receiver.recv()?, b"hello");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        socket::checked(fd).map(|fd| Self::over(Arc::new(fd)))
    }

    /// Sends a message, which may be empty. Waits while the socket's buffer is full.
    ///
    /// Interrupting signals change nothing. A receiver that dies meanwhile is
    /// [`SendError::Closed`], and never SIGPIPE.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`], [`SendError::Torn`], [`SendError::Os`].
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send_deadline(bytes, &[], Deadline::FAR)
    }

    /// As [`send`](Self::send), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`SendError::TimedOut`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use core::time::Duration;
    /// use ipc_core::connection::SendError;
    ///
    /// let (_receiver, mut sender) = ipc_core::connection::simplex()?;
    /// let full = loop {
    ///     if let Err(error) = sender.send_timeout(&[0; 4096], Duration::from_millis(1)) {
    ///         break error;
    ///     }
    /// };
    /// assert_eq!(full, SendError::TimedOut);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn send_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.send_deadline(bytes, &[], Deadline::after(timeout))
    }

    /// As [`send`](Self::send), with copies of at most [`MAX_FDS`] descriptors, until `deadline`.
    ///
    /// # Errors
    ///
    /// Also [`SendError::TimedOut`] and [`SendError::TooManyFds`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::clock::Deadline;
    /// use std::os::fd::AsFd;
    ///
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// let stdin = std::io::stdin();
    /// sender.send_deadline(b"take it", &[stdin.as_fd()], Deadline::FAR)?;
    /// assert_eq!(receiver.recv_message(Deadline::FAR)?.fds.len(), 1);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn send_deadline(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let count = u8::try_from(fds.len()).ok().filter(|count| usize::from(*count) <= MAX_FDS);
        let count = count.ok_or(SendError::TooManyFds)?;
        let (first, mut rest) = bytes.split_at(bytes.len().min(WHOLE));
        let id = if rest.is_empty() { MessageId::default() } else { new_id() };
        let total = bytes.len() as u64;
        self.packet(Header::First { id, total, fds: count }, first, fds, deadline)?;
        let torn = |error| match error {
            SendError::Closed => SendError::Closed,
            _ => SendError::Torn,
        };
        while !rest.is_empty() {
            let offset = (bytes.len() - rest.len()) as u64;
            let (part, after) = rest.split_at(rest.len().min(self.part));
            match self.packet(Header::Next { id, offset }, part, &[], deadline) {
                Ok(()) => rest = after,
                // A socket with a small buffer.
                Err(SendError::Os(Errno::MSGSIZE)) if self.part > WHOLE => self.part /= 2,
                Err(error) => return Err(torn(error)),
            }
        }
        Ok(())
    }

    /// Sends a value, with the handles inside it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::Parcel`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// sender.send_value(&(42, None::<u8>, "hello"))?;
    /// assert_eq!(receiver.recv_value::<(i32, Option<u8>, String)>()?, (42, None, "hello".into()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(feature = "serde")]
    pub fn send_value<T>(&mut self, value: &T) -> Result<(), SendError>
    where
        T: serde::Serialize + ?Sized,
    {
        let parcel = crate::parcel::Parcel::pack(value)?;
        let fds: alloc::vec::Vec<_> = parcel.fds.iter().map(AsFd::as_fd).collect();
        self.send_deadline(&parcel.bytes, &fds, Deadline::FAR)
    }

    /// Tells the receiver that no more will come, in the name of every process that has this end.
    ///
    /// Without it the receiver learns that when the last of them drops it.
    ///
    /// # Errors
    ///
    /// What the kernel says to `shutdown`, and to a connected socket it says nothing: not even if the
    /// receiver is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::connection::RecvError;
    ///
    /// let (mut receiver, sender) = ipc_core::connection::simplex()?;
    /// sender.close()?;
    /// assert_eq!(receiver.recv(), Err(RecvError::Closed));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn close(self) -> Result<()> {
        shutdown(&self.socket, Shutdown::Write)
    }

    fn packet(
        &self,
        header: Header,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let header = header.encode();
        let flags =
            if deadline == Deadline::FAR { SendFlags::empty() } else { SendFlags::DONTWAIT };
        loop {
            // Packets go whole or not at all.
            let sent =
                send_parts(&self.socket, &[IoSlice::new(&header), IoSlice::new(bytes)], fds, flags);
            match sent {
                Ok(_) => return Ok(()),
                Err(fdpass::SendError::Os(Errno::AGAIN)) => {
                    if !wait::until_ready(&self.socket, PollFlags::OUT, deadline)? {
                        return Err(SendError::TimedOut);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn new_id() -> MessageId {
    // A process that cannot know its identity has a number that is good enough to tell it from the
    // others on this end.
    let pid = || u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
    let sender = ProcessId::current().map_or_else(|_| pid(), ProcessId::to_bits);
    MessageId { sender, number: NUMBER.fetch_add(1, Ordering::Relaxed) }
}

impl AsFd for Sender {
    /// The socket: writable while its buffer has room.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl TryFrom<Sender> for OwnedFd {
    type Error = Sender;

    /// The socket, unless the other half of the connection is still there.
    fn try_from(sender: Sender) -> Result<Self, Sender> {
        let part = sender.part;
        Arc::try_unwrap(sender.socket).map_err(|socket| Sender { socket, part })
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Sender {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::parcel::serialize(self, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Sender {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::parcel::deserialize(deserializer, Self::from_fd)
    }
}
