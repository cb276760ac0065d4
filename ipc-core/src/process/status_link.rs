//! The way of an exit status from the process that reaps to the one that waits, where the kernel keeps
//! none: before Linux 6.15 only the parent learns it, and the parent of a zygote's child is the zygote.
//!
//! One socket pair for each child. The zygote holds the end that is written, the application's
//! [`Child`](super::Child) the one that is read, and nobody else has either: a child closes what it
//! inherited of them before it says its first word. What a death leaves behind:
//!
//! | the zygote is killed | the link says | the status is |
//! |---|---|---|
//! | before the child has ended, or while it is a zombie | the end | [`Unknown`](ExitStatus::Unknown), unless the application adopts the child and reaps it |
//! | between the reap and the word | the end | `Unknown`: nobody has it any more |
//! | after the word | the status | exact |
//!
//! A zygote that is *stopped* says neither a status nor the end, and a child that is stopped in its
//! first steps holds copies of all links: whoever waits for a word sets a bound.
//!
//! A word is only ever looked at and stays in the socket, so a handle that a fork copied reads the same.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::ExitStatus;
use crate::{Errno, Result};

/// Both ends, close-on-exec.
pub(super) fn status_link() -> Result<(StatusSender, StatusReceiver)> {
    // Not a pipe, which has no way to look without taking. Not packets: the kernel looks for these first
    // and for the end second, without a lock, and so says "the end" when both come in between.
    let (write, read) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Ok((StatusSender(write), StatusReceiver(read)))
}

/// The end that the application reads.
#[derive(Debug)]
pub(super) struct StatusReceiver(OwnedFd);

/// What a link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing yet.
    Silence,
    /// The child was reaped, and ended like this.
    Status(ExitStatus),
    /// The other end is gone, and nothing will come.
    End,
}

impl StatusReceiver {
    /// What has been said so far. It may be asked again.
    pub(super) fn look(&self) -> Result<Word> {
        let mut bytes = [0; 4];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match retry_on_intr(|| recv(&self.0, &mut bytes, flags)) {
            Ok((4, _)) => Ok(Word::Status(ExitStatus::from_wait_status(i32::from_ne_bytes(bytes)))),
            Ok(_) | Err(Errno::CONNRESET) => Ok(Word::End),
            Err(Errno::AGAIN) => Ok(Word::Silence),
            Err(errno) => Err(errno),
        }
    }
}

impl From<OwnedFd> for StatusReceiver {
    /// One that has travelled.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for StatusReceiver {
    /// Readable once something was said, the end included.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The end that the zygote writes, once.
#[derive(Debug)]
pub(super) struct StatusSender(OwnedFd);

impl StatusSender {
    pub(super) fn send(self, status: ExitStatus) {
        let Some(raw) = status.to_wait_status() else { return };
        // Four bytes into an empty socket do not block, and fail only if nobody waits for them any more.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = retry_on_intr(|| send(&self.0, &raw.to_ne_bytes(), flags));
    }
}

impl AsRawFd for StatusSender {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: ExitStatus = ExitStatus::Signaled { signal: 9, core_dumped: false };

    #[test]
    fn words_stay() {
        let (sender, receiver) = status_link().unwrap();
        assert_eq!(receiver.look(), Ok(Word::Silence));
        sender.send(KILLED);
        for _ in 0..3 {
            assert_eq!(receiver.look(), Ok(Word::Status(KILLED)));
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let (sender, receiver) = status_link().unwrap();
        sender.send(ExitStatus::Unknown);
        assert_eq!(receiver.look(), Ok(Word::End));
    }

    #[test]
    fn nobody_listens() {
        let (sender, receiver) = status_link().unwrap();
        drop(receiver);
        sender.send(KILLED);
    }
}
