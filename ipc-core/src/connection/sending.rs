//! [`Sending`]: a message on its way.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::PollFlags;
use rustix::io::IoSlice;
use rustix::net::SendFlags;

use super::packet::{Header, MessageId, WHOLE};
use super::sender::new_id;
use super::{SendError, Sender, wait};
use crate::clock::Deadline;
use crate::fdpass::{self, MAX_FDS, send_parts};
use crate::os::Until;
use crate::{Errno, Result};

/// A message on its way, from [`Sender::begin_send`].
///
/// It remembers how much of the message has gone, so a call that a deadline or a signal has ended may be repeated and
/// goes on from there. Dropping it before anything has gone takes the message back; dropping it in the
/// middle tears the message, which the receiver is told with the next one.
#[derive(Debug)]
#[must_use = "nothing is sent before it is waited for, and dropping it in the middle tears the message"]
pub struct Sending<'a> {
    sender: &'a mut Sender,
    bytes: &'a [u8],
    fds: &'a [BorrowedFd<'a>],
    /// The same number as a byte of the header.
    count: u8,
    id: MessageId,
    /// How many of the bytes have gone; `None` before the first packet, which may be empty.
    sent: Option<usize>,
}

static_assertions::assert_impl_all!(Sending<'static>: Send, Sync);

impl<'a> Sending<'a> {
    pub(super) fn new(
        sender: &'a mut Sender,
        bytes: &'a [u8],
        fds: &'a [BorrowedFd<'a>],
    ) -> Result<Self, SendError> {
        let count = u8::try_from(fds.len()).ok().filter(|count| usize::from(*count) <= MAX_FDS);
        let count = count.ok_or(SendError::TooManyFds)?;
        let id = if bytes.len() > WHOLE { new_id() } else { MessageId::default() };
        Ok(Self { sender, bytes, fds, count, id, sent: None })
    }

    /// Sends what is left of the message, until `deadline`. When all has gone it is `Ok`, also if it is asked
    /// again.
    ///
    /// Interrupting signals change nothing.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`], [`SendError::Closed`], [`SendError::Os`]. None of them tears the message: the call may
    /// be repeated.
    ///
    /// # Examples
    ///
    /// ```
    /// # use core::time::Duration;
    /// use ipc_core::clock::Deadline;
    /// use ipc_core::connection::SendError;
    ///
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// let long = vec![7; 1 << 20];
    /// let mut sending = sender.begin_send(&long, &[])?;
    /// assert_eq!(sending.wait_until(Deadline::now()), Err(SendError::TimedOut));
    /// std::thread::scope(|scope| {
    ///     let received = scope.spawn(|| receiver.recv());
    ///     sending.wait_until(Deadline::FAR).unwrap();
    ///     assert!(received.join().unwrap().unwrap() == long);
    /// });
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait_until(&mut self, deadline: Deadline) -> Result<(), SendError> {
        self.wait_by(deadline.into())
    }

    /// As [`wait_until`](Self::wait_until), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`SendError::Os`] with `EINTR`: a signal handler has run. The message is not torn: calling
    /// again goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::Errno;
    /// use ipc_core::clock::Deadline;
    /// use ipc_core::connection::SendError;
    ///
    /// # fn asked_to_stop() -> bool { false }
    /// let (mut receiver, mut sender) = ipc_core::connection::simplex()?;
    /// let mut sending = sender.begin_send(b"hello", &[])?;
    /// loop {
    ///     match sending.wait_interruptible(Deadline::FAR) {
    ///         Err(SendError::Os(Errno::INTR)) if asked_to_stop() => break,
    ///         Err(SendError::Os(Errno::INTR)) => {}
    ///         sent => break sent?,
    ///     }
    /// }
    /// assert_eq!(receiver.recv()?, b"hello");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait_interruptible(&mut self, deadline: Deadline) -> Result<(), SendError> {
        self.wait_by(Until::interruptible(deadline))
    }

    /// What `error` means if the message is given up now.
    pub(super) fn given_up(&self, error: SendError) -> SendError {
        if self.sent.is_none() || error == SendError::Closed { error } else { SendError::Torn }
    }

    fn wait_by(&mut self, until: Until) -> Result<(), SendError> {
        loop {
            let (header, from, most) = match self.sent {
                None => {
                    let total = self.bytes.len() as u64;
                    (Header::First { id: self.id, total, fds: self.count }, 0, WHOLE)
                }
                Some(sent) if sent == self.bytes.len() => return Ok(()),
                Some(sent) => {
                    (Header::Next { id: self.id, offset: sent as u64 }, sent, self.sender.part)
                }
            };
            let to = self.bytes.len().min(from + most);
            // The descriptors go once, with the beginning.
            let fds = if self.sent.is_none() { self.fds } else { &[] };
            match self.packet(header, &self.bytes[from..to], fds, until) {
                Ok(()) => self.sent = Some(to),
                // A socket with a small buffer.
                Err(SendError::Os(Errno::MSGSIZE)) if self.sent.is_some() && most > WHOLE => {
                    self.sender.part /= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn packet(
        &self,
        header: Header,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        until: Until,
    ) -> Result<(), SendError> {
        let header = header.encode();
        let flags = if until.is_endless() { SendFlags::empty() } else { SendFlags::DONTWAIT };
        let socket = self.sender.as_fd();
        loop {
            // Packets go whole or not at all.
            let sent =
                send_parts(socket, &[IoSlice::new(&header), IoSlice::new(bytes)], fds, flags);
            match sent {
                Ok(_) => return Ok(()),
                Err(fdpass::SendError::Os(Errno::AGAIN)) => {
                    if !wait::until_ready(socket, PollFlags::OUT, until)? {
                        return Err(SendError::TimedOut);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
