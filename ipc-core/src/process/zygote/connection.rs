//! The application's side: one request at a time, each with one outcome.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{child_subreaper, getpid};

use super::message::{Reply, Request};
use super::{PreloadError, ZygoteError};
use crate::clock::Deadline;
use crate::fdpass::{Fds, RecvError, SendError, recv_with_fds, send_with_fds};
use crate::os::Until;
use crate::process::{Child, ExitStatus, Pid};
use crate::{Errno, Result};

/// How long a new zygote may take to its first word. It executes a program, which may be large.
const START: Duration = Duration::from_secs(5);

/// How long a zygote that was told to end, or an orphan that was not told to go, may take.
const ENDING: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Connection {
    link: OwnedFd,
    /// `None` when it has been ended and reaped, or belongs to somebody else.
    zygote: Option<Child>,
    id: Pid,
    /// The number of the latest request.
    sequence: u64,
    /// Whether nobody has answered it yet: there may be a child that waits for its word.
    unanswered: bool,
    /// How the zygote ended, once it has.
    ended: ExitStatus,
}

impl Connection {
    /// Waits until the zygote serves: for its first word, and for as long as its preloads may take. A
    /// zygote that does not come to that is killed.
    pub(super) fn open(
        link: OwnedFd,
        zygote: Child,
        preload_limit: Duration,
    ) -> Result<Self, ZygoteError> {
        let id = zygote.id();
        let zygote = Some(zygote);
        let mut connection =
            Self { link, zygote, id, sequence: 0, unanswered: false, ended: ExitStatus::Unknown };
        let mut until = Deadline::after(START);
        let mut preloading = None;
        let error = loop {
            let why = match connection.reply(until) {
                Ok(Some((Reply::Ready, _))) => return Ok(connection),
                Ok(Some((Reply::Preloading(index), _))) => {
                    if preloading.is_none() {
                        until = Deadline::after(preload_limit);
                    }
                    preloading = Some(index.unsigned_abs());
                    continue;
                }
                Ok(Some((Reply::Panicked, _))) => Err(PreloadError::Panicked),
                Ok(Some((Reply::HasThreads, _))) if preloading.is_some() => {
                    Err(PreloadError::LeftThreads)
                }
                Ok(Some((reply, _))) => Ok(refusal(reply)),
                Ok(None) if preloading.is_some() => Err(PreloadError::TimedOut),
                Ok(None) => Ok(ZygoteError::Unresponsive),
                Err(ZygoteError::Died) if preloading.is_some() => {
                    Err(PreloadError::Ended(connection.ended))
                }
                Err(error) => Ok(error),
            };
            let which = preloading.unwrap_or(0);
            break why.unwrap_or_else(|error| ZygoteError::Preload { which, error });
        };
        connection.end(Duration::ZERO);
        Err(error)
    }

    /// Asks for a child, which [`child`](Self::child) waits for.
    pub(super) fn request(
        &mut self,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ZygoteError> {
        if self.zygote.is_none() {
            return Err(ZygoteError::Died);
        }
        self.sequence += 1;
        self.unanswered = true;
        self.send(request, fds)
    }

    /// The zygote itself, as the child of the latest request, told to go.
    pub(super) fn become_child(mut self, until: Deadline) -> Result<Child, ZygoteError> {
        // Its pidfd comes along and is closed: the one of the process that was forked here is better,
        // and a second `Child` would reap it when it is dropped.
        match self.reply(until)? {
            Some((Reply::Started(_), _)) => self.answer(&Request::Go)?,
            Some((reply, _)) => return Err(refusal(reply)),
            None => return Err(ZygoteError::Unresponsive),
        }
        self.zygote.take().ok_or(ZygoteError::Died)
    }

    /// The child of the latest request, told to go; `None` if it is not there by `until`.
    pub(super) fn child(&mut self, until: Deadline) -> Result<Option<Child>, ZygoteError> {
        let reply = self.reply(until);
        self.unanswered = matches!(reply, Ok(None));
        let (pid, mut fds) = match reply {
            Ok(Some((Reply::Started(pid), fds))) => (pid, fds),
            Ok(Some((reply, _))) => return Err(refusal(reply)),
            Ok(None) => return Ok(None),
            Err(error @ ZygoteError::Os(_)) => {
                // The child is there, and its pidfd did not fit into this process.
                self.answer(&Request::Stop)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        match (Pid::from_raw(pid), fds.next()) {
            (Some(pid), Some(pidfd)) => {
                let child = Child::of_zygote(pid, pidfd, fds.next().map(Into::into));
                match self.answer(&Request::Go) {
                    Ok(()) => Ok(Some(child)),
                    Err(error) => {
                        see_off(child);
                        Err(error)
                    }
                }
            }
            _ => {
                self.answer(&Request::Stop)?;
                Err(ZygoteError::Malformed)
            }
        }
    }

    pub(super) const fn id(&self) -> Pid {
        self.id
    }

    /// Ends the zygote and reaps it. A child that waits for its *go* ends too.
    pub(super) fn end(&mut self, grace: Duration) {
        let Some(mut zygote) = self.zygote.take() else { return };
        // This reaches every copy of the socket, also those in other forks of this process. A child may
        // still say its first word.
        let _ = shutdown(&self.link, Shutdown::Write);
        // An error is out of memory at most. Whatever happens, the kill comes.
        let status = zygote.wait_timeout(grace);
        self.ended = if let Ok(Some(status)) = status {
            status
        } else {
            let _ = zygote.kill();
            zygote.wait().unwrap_or(ExitStatus::Unknown)
        };
        if self.unanswered {
            self.see_off_orphan();
        }
    }

    /// After the zygote's end: reaps the child that it had forked and that nobody will tell to go, if
    /// this process is the one that adopts it.
    ///
    /// Only the child can say who it is, and it does so before it looks for its word. When it has ended
    /// without that, so has the socket.
    fn see_off_orphan(&mut self) {
        if !adopts_orphans() {
            return;
        }
        let until = Until::from(Deadline::after(ENDING));
        // If nothing comes it is stopped, or a fork of this process holds a copy of the zygote's end.
        while until.poll(&mut [PollFd::new(&self.link, PollFlags::IN)]) == Ok(true) {
            match self.receive() {
                Ok(Some((Reply::Started(pid), mut fds))) => {
                    if let (Some(pid), Some(pidfd)) = (Pid::from_raw(pid), fds.next()) {
                        see_off(Child::of_zygote(pid, pidfd, None));
                    }
                    return;
                }
                // Of an earlier request.
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }

    /// In a copy that a fork made: leaves the zygote to its owner.
    pub(super) fn disown(&mut self) {
        self.zygote = None;
    }

    /// Gives a child the word that it waits for. It reads the socket itself, whether the zygote lives
    /// or not.
    ///
    /// A child that did not get its word would read the next request in the zygote's place. So after
    /// any error the socket ends, and with it the child and the zygote.
    fn answer(&mut self, word: &Request<'_>) -> Result<(), ZygoteError> {
        self.send(word, &[]).inspect_err(|_| self.end(Duration::ZERO))
    }

    fn send(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> Result<(), ZygoteError> {
        let packet = request.encode(self.sequence);
        send_with_fds(&self.link, &packet, fds).map(drop).map_err(|error| {
            let error = not_sent(error);
            if error == ZygoteError::Died {
                self.end(Duration::ZERO);
            }
            error
        })
    }

    /// The reply to the latest request; `None` if there is none by then. After an error other than
    /// [`ZygoteError::Os`] the zygote is gone.
    fn reply(&mut self, deadline: Deadline) -> Result<Option<(Reply, Fds)>, ZygoteError> {
        loop {
            let ready = {
                let zygote = self.zygote.as_ref().ok_or(ZygoteError::Died)?.as_fd();
                let mut fds =
                    [PollFd::new(&self.link, PollFlags::IN), PollFd::new(&zygote, PollFlags::IN)];
                match Until::from(deadline).poll(&mut fds) {
                    Err(errno) => return Err(ZygoteError::Os(errno)),
                    Ok(false) => return Ok(None),
                    // What was said before a death was said.
                    Ok(_) if !fds[0].revents().is_empty() => Ok(()),
                    Ok(_) => Err(ZygoteError::Died),
                }
            };
            let reply = ready.and_then(|()| self.receive());
            match reply {
                Ok(Some(reply)) => return Ok(Some(reply)),
                Ok(None) => {}
                Err(error @ ZygoteError::Os(_)) => return Err(error),
                Err(error) => {
                    self.end(Duration::ZERO);
                    return Err(error);
                }
            }
        }
    }

    /// The reply to the latest request; `None` if there is reason to look again.
    fn receive(&self) -> Result<Option<(Reply, Fds)>, ZygoteError> {
        let mut packet = [0; Reply::LEN];
        match recv_with_fds(&self.link, &mut packet) {
            Ok(received) => match Reply::decode(&packet[..received.len]) {
                Some((sequence, reply)) if sequence == self.sequence => {
                    Ok(Some((reply, received.fds)))
                }
                // Of an earlier request, whose child died between its word and the zygote's.
                Some(_) => Ok(None),
                None => Err(ZygoteError::Malformed),
            },
            Err(RecvError::FdsTruncated) => Err(ZygoteError::Os(Errno::MFILE)),
            // A zygote that ended without reading all it was sent. That is said once, before what it
            // said itself.
            Err(RecvError::Os(Errno::CONNRESET)) => Ok(None),
            Err(RecvError::Closed) => Err(ZygoteError::Died),
            Err(RecvError::Os(errno)) => Err(ZygoteError::Os(errno)),
            Err(_) => Err(ZygoteError::Malformed),
        }
    }
}

impl AsFd for Connection {
    /// The socket: readable once a reply has come, or the zygote has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.end(ENDING);
    }
}

/// Whether the orphans among this process's descendants become its children.
fn adopts_orphans() -> bool {
    getpid() == Pid::INIT || !matches!(child_subreaper(), Ok(None))
}

/// Reaps a child that was not told to go and whose zygote is dead, unless it is somebody else's by now.
fn see_off(mut child: Child) {
    if adopts_orphans() {
        // It ends by itself, at once unless it is stopped.
        let _ = child.wait_timeout(ENDING);
    }
}

pub(super) fn not_sent(error: SendError) -> ZygoteError {
    match error {
        SendError::Os(Errno::PIPE | Errno::CONNRESET) => ZygoteError::Died,
        SendError::Os(errno) => ZygoteError::Os(errno),
        SendError::TooManyFds => ZygoteError::TooManyFds,
        // No packet of ours is empty, and no link of this kind is poisoned.
        SendError::Empty | SendError::Poisoned => ZygoteError::Malformed,
    }
}

fn refusal(reply: Reply) -> ZygoteError {
    match reply {
        Reply::HasThreads => ZygoteError::ZygoteHasThreads,
        Reply::ThreadsUnknown(errno) => ZygoteError::ThreadsUnknown(errno),
        Reply::Setup(errno) => ZygoteError::Setup(errno),
        Reply::Fork(errno) => ZygoteError::Fork(errno),
        Reply::Function(error) => ZygoteError::Function(error),
        Reply::Malformed
        | Reply::Ready
        | Reply::Preloading(_)
        | Reply::Panicked
        | Reply::Started(_) => ZygoteError::Malformed,
    }
}
