//! Messages between processes: Python's `Pipe`.
//!
//! [`pair`] makes the two ends of a connection that works both ways, [`simplex`] one that works one way.
//! A message is bytes, as many as there are, with file descriptors beside them; with the feature
//! `serde` it is any value, with the handles inside it. An end is a descriptor: a child inherits it, and it travels
//! inside a parcel to any process.
//!
//! # What it runs on
//!
//! A connected pair of `SOCK_SEQPACKET` Unix sockets. The kernel keeps the bounds of messages, so
//!
//! * one of up to 4,096 bytes is one system call on each side, and is whole or not there, also when
//!   several processes share an end and when the sender is killed;
//! * a descriptor that is readable has something to say: nothing is read ahead, and event loops may
//!   wait for it beside anything else ([`wait_any`] does);
//! * no byte of one message is ever taken for one of another. A longer message travels in several
//!   packets; if it does not come to its end the receiver says [`RecvError::Torn`] and goes on.
//!
//! # When the peer dies
//!
//! Its messages are still received, then comes [`RecvError::Closed`]; sending is [`SendError::Closed`], and
//! never SIGPIPE. Both are said when *no* process has the other end any more: drop the end that you gave
//! to a child.
//!
//! # Examples
//!
//! ```
//! use ipc_core::connection;
//! use ipc_core::process::fork_fn;
//!
//! let (mut ours, mut theirs) = connection::pair()?;
//! let mut child = fork_fn(|| match theirs.send(b"hello") {
//!     Ok(()) => 0,
//!     Err(_) => 1,
//! })?;
//! assert_eq!(ours.recv()?, b"hello");
//! # child.wait()?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # References
//!  - [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html)

mod begun;
mod error;
mod packet;
mod receiver;
mod sender;
mod sending;
mod socket;
mod wait;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{Shutdown, shutdown};

use crate::Result;

pub use error::{RecvError, SendError};
pub use receiver::{Message, Receiver};
pub use sender::Sender;
pub use sending::Sending;
pub use wait::{wait_any, wait_any_interruptible};

/// Makes a connection that works both ways.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`, `ENOMEM`.
///
/// # Examples
///
/// ```
/// let (mut a, mut b) = ipc_core::connection::pair()?;
/// a.send(b"question")?;
/// assert_eq!(b.recv()?, b"question");
/// b.send(b"answer")?;
/// assert_eq!(a.recv()?, b"answer");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[doc(alias = "Pipe")]
pub fn pair() -> Result<(Connection, Connection)> {
    let (a, b) = socket::pair()?;
    Ok((Connection::over(a), Connection::over(b)))
}

/// Makes a connection that works one way.
///
/// # Errors
///
/// As [`pair`].
///
/// # Examples
///
/// ```
/// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
/// sender.send(b"hello")?;
/// assert_eq!(receiver.recv()?, b"hello");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[doc(alias = "Pipe")]
pub fn simplex() -> Result<(Receiver, Sender)> {
    let (receiver, sender) = socket::pair()?;
    // The kernel tells the other end: the receiver cannot send.
    shutdown(&sender, Shutdown::Read)?;
    Ok((Receiver::over(Arc::new(receiver)), Sender::over(Arc::new(sender))))
}

/// One end of a connection that works both ways.
///
/// See [`Sender`] and [`Receiver`], its two halves, for what each call promises.
///
/// # Examples
///
/// ```
/// let (mut ours, mut theirs) = ipc_core::connection::pair()?;
/// ours.send(b"hello")?;
/// assert_eq!(theirs.recv()?, b"hello");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    receiver: Receiver,
    sender: Sender,
}

static_assertions::assert_impl_all!(Connection: Send, Sync);

impl Connection {
    fn over(socket: OwnedFd) -> Self {
        let socket = Arc::new(socket);
        Self { receiver: Receiver::over(socket.clone()), sender: Sender::over(socket) }
    }

    /// Whether both halves are of one socket. [`receiver`](Self::receiver) and
    /// [`sender`](Self::sender) lend them, and what is lent can be swapped.
    fn is_one(&self) -> bool {
        self.receiver.as_fd().as_raw_fd() == self.sender.as_fd().as_raw_fd()
    }

    /// Takes an end that another process made.
    ///
    /// # Errors
    ///
    /// As [`Sender::from_fd`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::connection::{Connection, pair};
    /// use std::os::fd::OwnedFd;
    ///
    /// let (mut ours, theirs) = pair()?;
    /// let fd = OwnedFd::try_from(theirs).unwrap(); // .. travels somewhere ..
    /// Connection::from_fd(fd)?.send(b"hello")?;
    /// assert_eq!(ours.recv()?, b"hello");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        socket::checked(fd).map(Self::over)
    }

    /// The two halves, for two threads. The peer sees the end when both are dropped, or after
    /// [`Sender::close`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut ours, theirs) = ipc_core::connection::pair()?;
    /// let (mut receiver, mut sender) = theirs.split();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || sender.send(b"from one thread"));
    ///     scope.spawn(move || assert_eq!(receiver.recv().unwrap(), b"to the other"));
    ///     ours.send(b"to the other").unwrap();
    ///     assert_eq!(ours.recv().unwrap(), b"from one thread");
    /// });
    /// # Ok::<(), ipc_core::Errno>(())
    /// ```
    #[must_use]
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }

    /// The receiving half, for its other calls.
    pub const fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// The sending half, for its other calls.
    pub const fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.sender.send(bytes)
    }

    /// [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&mut self) -> Result<Vec<u8>, RecvError> {
        self.receiver.recv()
    }

    /// [`Receiver::recv_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.receiver.recv_timeout(timeout)
    }

    /// [`Sender::send_value`].
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "serde")]
    pub fn send_value<T>(&mut self, value: &T) -> Result<(), SendError>
    where
        T: serde::Serialize + ?Sized,
    {
        self.sender.send_value(value)
    }

    /// [`Receiver::recv_value`].
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "serde")]
    pub fn recv_value<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, RecvError> {
        self.receiver.recv_value()
    }
}

impl AsFd for Connection {
    /// The socket: readable when a message, the beginning of one, or the end has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl TryFrom<Connection> for OwnedFd {
    type Error = Connection;

    /// The socket, unless a message has been received in part, or one of the halves has been
    /// exchanged for another connection's.
    fn try_from(connection: Connection) -> Result<Self, Connection> {
        if !connection.receiver.is_idle() || !connection.is_one() {
            return Err(connection);
        }
        let Connection { receiver, sender } = connection;
        drop(sender);
        Ok(Self::try_from(receiver).expect("the two halves were its only owners"))
    }
}

/// As a [`Receiver`]; and not as the halves of two connections.
#[cfg(feature = "serde")]
impl serde::Serialize for Connection {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_one() {
            return Err(serde::ser::Error::custom("halves of two connections are none"));
        }
        serde::Serialize::serialize(&self.receiver, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Connection {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::parcel::deserialize(deserializer, Self::from_fd)
    }
}
