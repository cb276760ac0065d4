//! [`Receiver`]: the half of a connection that messages come out of.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::IoSliceMut;
use rustix::net::{Shutdown, shutdown};

use super::begun::{Begun, Packet, Step, check_first, recv_packet};
use super::packet::{HEADER, Header, WHOLE};
use super::{RecvError, socket, wait};
use crate::Result;
use crate::clock::Deadline;
use crate::fdpass::Fds;
use crate::os::Until;

/// The longest message that is taken unless [`Receiver::set_limit`] says otherwise: 1 GiB.
const LIMIT: usize = 1 << 30;

/// How many packets are still taken when the deadline has passed. The usual socket buffer takes fewer
/// of a long message, so what is there in time is received; a peer that sends without end is not
/// listened to without end.
const LATE: u32 = 16;

/// A message as it came.
///
/// # Examples
///
/// ```
/// use ipc_core::clock::Deadline;
///
/// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
/// sender.send(b"hello")?;
/// let message = receiver.recv_message(Deadline::FAR)?;
/// assert!(message.bytes == b"hello" && message.fds.is_empty());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The descriptors that came with it.
    pub fds: Fds,
}

static_assertions::assert_impl_all!(Message: Send, Sync);

impl Message {
    /// The value that [`Sender::send_value`](super::Sender::send_value) sent.
    ///
    /// [`Receiver::recv_value`] does it at once; this is for messages that were received until a
    /// deadline or a signal.
    ///
    /// # Errors
    ///
    /// [`ParcelError`](crate::parcel::ParcelError): it is no such value.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::clock::Deadline;
    ///
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// sender.send_value(&(42, "hello"))?;
    /// let message = receiver.recv_message(Deadline::FAR)?;
    /// assert_eq!(message.unpack::<(i32, String)>()?, (42, "hello".into()));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(feature = "serde")]
    pub fn unpack<T: serde::de::DeserializeOwned>(self) -> Result<T, crate::parcel::ParcelError> {
        crate::parcel::Parcel { bytes: self.bytes, fds: self.fds.collect() }.unpack()
    }
}

/// The half of a connection that messages come out of.
///
/// Several processes may have the same end: each message of up to 4,096 bytes goes to one of them.
/// Longer ones want a single receiver.
///
/// What a peer said before it died is still received; [`RecvError::Closed`] comes after the last
/// message. Memory is taken as bytes arrive, and never on a peer's word that many will come.
///
/// # Examples
///
/// ```
/// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
/// sender.send(b"hello")?;
/// assert_eq!(receiver.recv()?, b"hello");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct Receiver {
    socket: Arc<OwnedFd>,
    limit: usize,
    /// Where the next message begins.
    first: Box<[u8; HEADER + WHOLE]>,
    /// A message that has not come whole; or has, behind one that was torn, if another process
    /// receives on this end as well.
    begun: Option<Begun>,
    /// What came was no message: nothing is taken any more.
    broken: bool,
}

static_assertions::assert_impl_all!(Receiver: Send, Sync);

impl Receiver {
    pub(super) fn over(socket: Arc<OwnedFd>) -> Self {
        let first = Box::new([0; HEADER + WHOLE]);
        Self { socket, limit: LIMIT, first, begun: None, broken: false }
    }

    /// Takes the receiving half of an end that another process made.
    ///
    /// # Errors
    ///
    /// As [`Sender::from_fd`](super::Sender::from_fd).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::connection::Receiver;
    /// use std::os::fd::OwnedFd;
    ///
    /// let (receiver, mut sender) = ipc_core::connection::simplex()?;
    /// let fd = OwnedFd::try_from(receiver).unwrap(); // .. travels somewhere ..
    /// sender.send(b"hello")?;
    /// assert_eq!(Receiver::from_fd(fd)?.recv()?, b"hello");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        socket::checked(fd).map(|fd| Self::over(Arc::new(fd)))
    }

    /// Sets the longest message in bytes that is taken, 1 GiB at first.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::connection::RecvError;
    ///
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// receiver.set_limit(3);
    /// sender.send(b"long")?;
    /// sender.send(b"ok")?;
    /// assert_eq!(receiver.recv(), Err(RecvError::TooLarge { len: 4, limit: 3 }));
    /// assert_eq!(receiver.recv()?, b"ok");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Receives a message; waits for it. Descriptors that came with it are closed.
    ///
    /// Interrupting signals change nothing.
    ///
    /// # Errors
    ///
    /// [`RecvError`], but for `TimedOut`.
    pub fn recv(&mut self) -> Result<Vec<u8>, RecvError> {
        Ok(self.recv_message(Deadline::FAR)?.bytes)
    }

    /// As [`recv`](Self::recv), for at most `timeout`; zero only looks.
    ///
    /// # Errors
    ///
    /// Also [`RecvError::TimedOut`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use core::time::Duration;
    /// use ipc_core::connection::RecvError;
    ///
    /// let (mut receiver, _sender) = ipc_core::connection::simplex()?;
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(5)), Err(RecvError::TimedOut));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        Ok(self.recv_message(Deadline::after(timeout))?.bytes)
    }

    /// As [`recv`](Self::recv), with the descriptors, until `deadline`.
    ///
    /// # Errors
    ///
    /// Also [`RecvError::TimedOut`].
    pub fn recv_message(&mut self, deadline: Deadline) -> Result<Message, RecvError> {
        let mut message = Message::default();
        self.recv_into(&mut message, deadline)?;
        Ok(message)
    }

    /// As [`recv_message`](Self::recv_message), in place of an older message, whose memory serves
    /// again: messages of up to 4,096 bytes then need no allocation.
    ///
    /// # Errors
    ///
    /// Also [`RecvError::TimedOut`]. After an error `message` is as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::clock::Deadline;
    /// use ipc_core::connection::{Message, simplex};
    ///
    /// let (mut receiver, mut sender) = simplex()?;
    /// let mut message = Message::default();
    /// for word in ["one", "two"] {
    ///     sender.send(word.as_bytes())?;
    ///     receiver.recv_into(&mut message, Deadline::FAR)?;
    ///     assert_eq!(message.bytes, word.as_bytes());
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn recv_into(
        &mut self,
        message: &mut Message,
        deadline: Deadline,
    ) -> Result<(), RecvError> {
        self.recv_by(message, deadline.into())
    }

    /// As [`recv_into`](Self::recv_into), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`RecvError::Os`] with `EINTR`: a signal handler has run. `message` is as it was, and what has come of a
    /// long one is kept for the next call, whichever that is.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::Errno;
    /// use ipc_core::clock::Deadline;
    /// use ipc_core::connection::{Message, RecvError, simplex};
    ///
    /// # fn asked_to_stop() -> bool { false }
    /// let (mut receiver, mut sender) = simplex()?;
    /// sender.send(b"hello")?;
    /// let mut message = Message::default();
    /// loop {
    ///     match receiver.recv_interruptible(&mut message, Deadline::FAR) {
    ///         Err(RecvError::Os(Errno::INTR)) if asked_to_stop() => break,
    ///         Err(RecvError::Os(Errno::INTR)) => {}
    ///         received => break received?,
    ///     }
    /// }
    /// assert_eq!(message.bytes, b"hello");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn recv_interruptible(
        &mut self,
        message: &mut Message,
        deadline: Deadline,
    ) -> Result<(), RecvError> {
        self.recv_by(message, Until::interruptible(deadline))
    }

    fn recv_by(&mut self, message: &mut Message, until: Until) -> Result<(), RecvError> {
        if self.broken {
            return Err(RecvError::Malformed);
        }
        let mut late = 0;
        let error = loop {
            let step = match self.begun.take() {
                None => match self.recv_first(message, until) {
                    Ok(true) => return Ok(()),
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                },
                Some(begun) if begun.is_whole() => {
                    *message = begun.message;
                    return Ok(());
                }
                Some(begun) => self.recv_next(begun, until),
            };
            if let Err(error) = step {
                break error;
            }
            // More is awaited: of a long message, or behind a packet that belongs to none.
            late += u32::from(until.deadline().has_passed());
            if late > LATE && !self.begun.as_ref().is_some_and(Begun::is_whole) {
                break RecvError::TimedOut;
            }
        };
        if matches!(error, RecvError::Malformed | RecvError::DescriptorsLost) {
            self.broken = true;
            // With the descriptors that it brought.
            self.begun = None;
            // Both ways: the peer must not go on either. It may be shut down already.
            let _ = shutdown(&self.socket, Shutdown::Both);
        }
        Err(error)
    }

    /// Receives a value, with the handles inside it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`RecvError::Parcel`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// sender.send_value("hello")?;
    /// assert_eq!(receiver.recv_value::<String>()?, "hello");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[cfg(feature = "serde")]
    pub fn recv_value<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, RecvError> {
        Ok(self.recv_message(Deadline::FAR)?.unpack()?)
    }

    /// Waits until a message, the beginning of one, or the end has come; `false` at the deadline.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, from `poll`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::clock::Deadline;
    ///
    /// let (receiver, mut sender) = ipc_core::connection::simplex()?;
    /// assert!(!receiver.wait(Deadline::now())?);
    /// sender.send(b"")?;
    /// assert!(receiver.wait(Deadline::FAR)?);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait(&self, deadline: Deadline) -> Result<bool> {
        let ready = self.begun.as_ref().is_some_and(Begun::is_whole);
        Ok(ready || wait::until_ready(&self.socket, PollFlags::IN, deadline.into())?)
    }

    /// Receives the first packet of a message; whether that is all of it, and then it is in `message`.
    fn recv_first(&mut self, message: &mut Message, until: Until) -> Result<bool, RecvError> {
        let mut bufs = [IoSliceMut::new(&mut self.first[..])];
        let Packet { len, fds, is_cut } = recv_packet(&self.socket, &mut bufs, until)?;
        let (header, payload) =
            self.first[..len].split_first_chunk().ok_or(RecvError::Malformed)?;
        match Header::decode(header).ok_or(RecvError::Malformed)? {
            Header::First { id, total, fds: count } if !is_cut => {
                check_first(total, payload, count, &fds)?;
                if total > self.limit as u64 {
                    // Its further packets will belong to no message that was begun.
                    return Err(RecvError::TooLarge { len: total, limit: self.limit });
                }
                if total == payload.len() as u64 {
                    message.bytes.clear();
                    message.bytes.extend_from_slice(payload);
                    message.fds = fds;
                    return Ok(true);
                }
                self.begun = Some(Begun::new(id, total, payload, fds));
                Ok(false)
            }
            // Of a message that was dropped, or whose beginning another receiver has.
            Header::Next { .. } if fds.is_empty() => Ok(false),
            _ => Err(RecvError::Malformed),
        }
    }

    /// Receives a further packet of a message that was begun.
    fn recv_next(&mut self, mut begun: Begun, until: Until) -> Result<(), RecvError> {
        let step = begun.recv(&self.socket, until);
        self.begun = match step {
            Ok(Step::Torn) => None,
            // One that is too large would be a second error at once: this one tells of both.
            Ok(Step::Other(other)) => Some(other).filter(|other| other.total <= self.limit as u64),
            Ok(Step::Taken) => {
                self.begun = Some(begun);
                return Ok(());
            }
            Err(error) => {
                self.begun = Some(begun);
                return Err(error);
            }
        };
        Err(RecvError::Torn)
    }

    /// Whether nothing has been received in part.
    pub(super) const fn is_idle(&self) -> bool {
        self.begun.is_none()
    }
}

impl AsFd for Receiver {
    /// The socket: readable when a message, the beginning of one, or the end has come. Nothing is
    /// kept in front of it, so an event loop may wait for it as it is. (If several processes receive
    /// on this end: after a [`RecvError::Torn`] ask once more before the next wait.)
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl TryFrom<Receiver> for OwnedFd {
    type Error = Receiver;

    /// The socket, unless the other half of the connection is still there, or a message has been
    /// received in part.
    fn try_from(receiver: Receiver) -> Result<Self, Receiver> {
        if receiver.begun.is_some() {
            return Err(receiver);
        }
        let Receiver { socket, limit, first, begun, broken } = receiver;
        Arc::try_unwrap(socket).map_err(|socket| Receiver { socket, limit, first, begun, broken })
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("socket", &self.socket)
            .field("limit", &self.limit)
            .field("begun", &self.begun.as_ref().map(|begun| begun.message.bytes.len()))
            .finish_non_exhaustive()
    }
}

/// Not while a message has been received in part: whoever gets the copy would miss it.
#[cfg(feature = "serde")]
impl serde::Serialize for Receiver {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_idle() {
            return Err(serde::ser::Error::custom("a message has been received in part"));
        }
        crate::parcel::serialize(self, serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Receiver {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::parcel::deserialize(deserializer, Self::from_fd)
    }
}
