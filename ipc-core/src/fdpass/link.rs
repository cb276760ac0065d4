//! A socket that does not go on after a lost message.

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{Shutdown, shutdown};

use super::{Received, RecvError, SendError, recv_with_fds, send_with_fds};
use crate::clock::Deadline;
use crate::os::Until;
use crate::{Errno, Result};

/// A connected Unix socket for messages with descriptors, which is *poisoned* by the first message
/// that is lost or torn.
///
/// Poisoned means: the socket has been shut down in both directions, so that the peer sees its end,
/// and every later call is refused, so that nothing which still lies in the socket's buffer is taken
/// for the answer to something else. The shutdown concerns the socket itself, that is every copy of
/// the descriptor in every process.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
/// use ipc_core::fdpass::{Link, RecvError};
///
/// let (a, b) =
///     socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
/// let (mut a, mut b) = (Link::new(a), Link::new(b));
/// let stdin = std::io::stdin();
/// a.send_with_fds(b"request", &[stdin.as_fd()])?;
///
/// // The buffer is too small: the message is lost, its descriptor closed, the link broken.
/// assert_eq!(b.recv_with_fds(&mut [0; 4]).unwrap_err(), RecvError::Truncated);
/// assert_eq!(b.recv_with_fds(&mut [0; 4]).unwrap_err(), RecvError::Poisoned);
/// assert_eq!(a.recv_with_fds(&mut [0; 4]).unwrap_err(), RecvError::Closed);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    poisoned: bool,
}

impl Link {
    /// Takes a connected Unix socket of any of the three kinds.
    #[must_use]
    pub const fn new(socket: OwnedFd) -> Self {
        Self { socket, poisoned: false }
    }

    /// Sends a whole message; its descriptors go once, with its first byte.
    ///
    /// A non-blocking stream whose buffer fills in the middle of the message is waited for: only its
    /// beginning can be refused with `EAGAIN`.
    ///
    /// # Errors
    ///
    /// As [`send_with_fds`], and [`SendError::Poisoned`]. An error in the middle of a message, which
    /// only a stream can have, poisons the link.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::os::unix::net::UnixStream;
    /// # use ipc_core::fdpass::Link;
    /// let (a, b) = UnixStream::pair()?;
    /// let reader = std::thread::spawn(move || std::io::copy(&mut &b, &mut std::io::sink()));
    /// let mut link = Link::new(a.into());
    /// link.send_with_fds(&[0; 1 << 20], &[])?;
    /// drop(link);
    /// assert_eq!(reader.join().unwrap()?, 1 << 20);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn send_with_fds(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        if self.poisoned {
            return Err(SendError::Poisoned);
        }
        let mut sent = send_with_fds(&self.socket, bytes, fds)?;
        while sent < bytes.len() {
            let more = match send_with_fds(&self.socket, &bytes[sent..], &[]) {
                Err(SendError::Os(Errno::AGAIN)) => self.wait_writable().map(|()| 0),
                more => more,
            };
            sent += more.inspect_err(|_| self.poison())?;
        }
        Ok(())
    }

    /// Receives a message; on a stream, as many of the next bytes as there are.
    ///
    /// # Errors
    ///
    /// As [`recv_with_fds`], and [`RecvError::Poisoned`]. Every error but [`RecvError::Os`] and
    /// [`RecvError::Closed`] poisons the link.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::os::unix::net::UnixStream;
    /// # use ipc_core::fdpass::Link;
    /// let (a, b) = UnixStream::pair()?;
    /// let (mut a, mut b) = (Link::new(a.into()), Link::new(b.into()));
    /// a.send_with_fds(b"hello", &[])?;
    /// let mut buf = [0; 16];
    /// let received = b.recv_with_fds(&mut buf)?;
    /// assert_eq!((&buf[..received.len], received.fds.len()), (&b"hello"[..], 0));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn recv_with_fds(&mut self, buf: &mut [u8]) -> Result<Received, RecvError> {
        if self.poisoned {
            return Err(RecvError::Poisoned);
        }
        recv_with_fds(&self.socket, buf).inspect_err(|error| {
            if !matches!(error, RecvError::Os(_) | RecvError::Closed) {
                self.poison();
            }
        })
    }

    /// Whether an earlier message was lost or torn.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Gives the socket back; one of a poisoned link is shut down.
    #[must_use]
    pub fn into_inner(self) -> OwnedFd {
        self.socket
    }

    fn poison(&mut self) {
        self.poisoned = true;
        // A socket that was never connected has nobody to tell.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    fn wait_writable(&self) -> Result<(), SendError> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
        Until::from(Deadline::FAR).poll(&mut fds).map(drop).map_err(SendError::Os)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

static_assertions::assert_impl_all!(Link: Send, Sync);
