//! [`Sender`]: the half of a connection that messages go into.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{Shutdown, shutdown};
use rustix::process::getpid;

use super::packet::{MessageId, PART};
use super::{SendError, Sending, socket};
use crate::Result;
use crate::clock::Deadline;
use crate::identity::ProcessId;

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
    pub(super) part: usize,
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

    /// As [`send`](Self::send), with copies of at most [`MAX_FDS`](crate::fdpass::MAX_FDS)
    /// descriptors, until `deadline`.
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
        let mut sending = self.begin_send(bytes, fds)?;
        sending.wait_until(deadline).map_err(|error| sending.given_up(error))
    }

    /// A message that [`Sending::wait_until`] and [`Sending::wait_interruptible`] send, with copies of at most
    /// [`MAX_FDS`](crate::fdpass::MAX_FDS) descriptors.
    ///
    /// It is for whoever wants to look at something else while the message waits for room, and then go
    /// on with it.
    ///
    /// # Errors
    ///
    /// [`SendError::TooManyFds`].
    ///
    /// # Examples
    ///
    /// A value, for at most a second at a time:
    ///
    /// ```
    /// # #[cfg(feature = "serde")]
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # use core::time::Duration;
    /// use ipc_core::clock::Deadline;
    /// use ipc_core::connection::SendError;
    /// use ipc_core::parcel::Parcel;
    /// use std::os::fd::AsFd;
    ///
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// let parcel = Parcel::pack(&(42, "hello"))?;
    /// let fds: Vec<_> = parcel.fds.iter().map(AsFd::as_fd).collect();
    /// let mut sending = sender.begin_send(&parcel.bytes, &fds)?;
    /// while sending.wait_until(Deadline::after(Duration::from_secs(1))) == Err(SendError::TimedOut) {
    ///     println!("the receiver is busy");
    /// }
    /// assert_eq!(receiver.recv_value::<(i32, String)>()?, (42, "hello".into()));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "serde"))]
    /// # fn main() {}
    /// ```
    pub fn begin_send<'a>(
        &'a mut self,
        bytes: &'a [u8],
        fds: &'a [BorrowedFd<'a>],
    ) -> Result<Sending<'a>, SendError> {
        Sending::new(self, bytes, fds)
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
}

pub(super) fn new_id() -> MessageId {
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
