//! The zygote itself: one thread that waits for a request, forks, and waits again.
//!
//! Nothing of the application runs in it. It owns nothing that anybody would miss: its children are
//! reaped by the kernel and held by the application, so it may be killed at any moment.
//!
//! # Safety
//!
//! `fork` is sound because the zygote has one thread: checked at its start, and nothing in here
//! starts another. The entry's type is vouched for by the only writer of the socket, the
//! application's [`Zygote::spawn`](super::Zygote::spawn), which encodes an entry and nothing else.
#![expect(unsafe_code, reason = "fork, and the entry by name")]

use alloc::vec;
use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::thread::set_name;

use super::message::{MAX_REQUEST, Reply, Request, sequence};
use super::signals::{self, ChildSignal};
use super::worker::{Newborn, Start};
use super::{descriptors, worker};
use crate::Result;
use crate::fdpass::{Fds, RecvError, SendError, recv_with_fds, send_with_fds};
use crate::function::Function;
use crate::process::SignalSet;
use crate::process::fork::last_errno;
use crate::process::signal_set::set_mask;
use crate::process::threads::is_single_threaded;

/// What the zygote is called in lists of processes.
const NAME: &core::ffi::CStr = c"ipc-zygote";

/// How a zygote ends that is no longer needed.
const DONE: i32 = 0;

/// How a zygote ends that could not begin.
const FAILED: i32 = 126;

/// Serves in a process that was forked with all signals blocked.
pub(super) fn after_fork(link: OwnedFd) -> i32 {
    match descriptors::replace_all_but(&link) {
        Ok(()) => serve(link),
        Err(errno) => refuse(&link, Reply::ThreadsUnknown(errno)),
    }
}

/// Serves in a program that was executed for it.
pub(super) fn after_exec(link: OwnedFd) -> i32 {
    // The application blocked them before the `exec`, unless this is a kernel's or tracer's doing.
    set_mask(SignalSet::ALL_BUT_LIBCS);
    serve(link)
}

/// The zygote's state.
pub(super) struct Server {
    /// The application's requests, and where the replies go.
    pub(super) link: OwnedFd,
    /// The application's pidfd.
    pub(super) application: OwnedFd,
    /// What SIGCHLD shall do in children.
    pub(super) child_signal: ChildSignal,
    /// What the process was called.
    pub(super) name: Option<CString>,
}

fn serve(link: OwnedFd) -> i32 {
    match is_single_threaded() {
        Ok(true) => {}
        Ok(false) => return refuse(&link, Reply::HasThreads),
        Err(errno) => return refuse(&link, Reply::ThreadsUnknown(errno)),
    }
    if descriptors::open_standard_streams().is_err() {
        return FAILED;
    }
    signals::drop_handlers();
    let mut packet = vec![0; MAX_REQUEST];
    // It was sent before this process existed.
    let Ok(mut hello) = recv_with_fds(&link, &mut packet) else { return FAILED };
    let (Some((_, Request::Hello)), Some(application)) =
        (Request::decode(&packet[..hello.len]), hello.fds.next())
    else {
        return FAILED;
    };
    let name = rustix::thread::name().ok();
    // A name is for the reader of a list; without it nothing else changes.
    let _ = set_name(NAME);
    let server = Server { link, application, child_signal: signals::ignore_children(), name };
    if server.reply(Reply::Ready, 0).is_err() {
        return DONE;
    }
    loop {
        match server.serve_one(&mut packet) {
            Next::Request => {}
            Next::End => return DONE,
            Next::Child(newborn) => {
                drop(packet);
                worker::begin(server, newborn)
            }
        }
    }
}

fn refuse(link: &OwnedFd, reply: Reply) -> i32 {
    // The application, if it lives, sees the end of this process anyway.
    let _ = send_with_fds(link, &reply.encode(0), &[]);
    FAILED
}

/// What comes after a request.
enum Next {
    Request,
    /// The application has gone.
    End,
    /// This is the new process.
    Child(Newborn),
}

impl Server {
    fn serve_one(&self, packet: &mut [u8]) -> Next {
        if self.application_ended_before(&self.link) {
            return Next::End;
        }
        packet[..Reply::LEN].fill(0);
        let answer = match recv_with_fds(&self.link, packet) {
            Ok(received) => self.answer(&packet[..received.len], received.fds),
            Err(RecvError::Closed | RecvError::Os(_)) => return Next::End,
            // The packet is lost and the next one is whole: packets keep their bounds.
            Err(RecvError::FdsTruncated) => Err(Reply::Fork(Errno::MFILE)),
            Err(_) => Err(Reply::Malformed),
        };
        let (Ok(next) | Err(next)) =
            answer.map_err(|reply| match self.reply(reply, sequence(packet)) {
                Ok(_) => Next::Request,
                Err(_) => Next::End,
            });
        next
    }

    /// Does what the packet says; the error is the reply.
    fn answer(&self, packet: &[u8], fds: Fds) -> Result<Next, Reply> {
        let request = Request::decode(packet);
        let itself = matches!(request, Some((_, Request::Become { .. })));
        let (sequence, entry, bytes) = match request {
            Some((
                sequence,
                Request::Spawn { entry, bytes } | Request::Become { entry, bytes },
            )) => (sequence, entry, bytes),
            // Meant for a child that died before it could read it.
            Some((_, Request::Go | Request::Stop)) => return Ok(Next::Request),
            Some((_, Request::Hello)) | None => return Err(Reply::Malformed),
        };
        // SAFETY: the application encoded a function of this type.
        let entry = unsafe { Function::<Entry>::from_bytes(entry) };
        let entry = entry.and_then(|entry| entry.resolve()).map_err(Reply::Function)?;
        let speaking = if itself { None } else { Some(self.fork().map_err(Reply::Fork)?) };
        if matches!(speaking, Some(None)) {
            return Ok(Next::Request);
        }
        let (bytes, speaking) = (bytes.to_vec(), speaking.flatten());
        Ok(Next::Child(Newborn { sequence, entry, bytes, fds, speaking }))
    }

    /// Forks a child. The parent waits until the child has spoken with the application; from then on
    /// the socket is the zygote's again. An error means that the child did not say a word. In the
    /// child it returns the end of the socket that the zygote listens to.
    fn fork(&self) -> Result<Option<OwnedFd>> {
        // Not a pipe: a child whose zygote was killed must not meet SIGPIPE.
        let (spoken, speaking) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            -1 => Err(last_errno()),
            0 => {
                drop(spoken);
                Ok(Some(speaking))
            }
            _ => {
                drop(speaking);
                // One byte when the child has sent its pidfd, the end when it reads no more.
                match self.hear(&spoken) {
                    Some(0) => Err(Errno::SRCH),
                    Some(_) => {
                        self.hear(&spoken);
                        Ok(None)
                    }
                    None => Ok(None),
                }
            }
        }
    }

    /// How many bytes came; `None` if the application ended, which the next look finds too.
    fn hear(&self, spoken: &OwnedFd) -> Option<usize> {
        if self.application_ended_before(spoken) {
            return None;
        }
        // A reset is an end, too.
        let heard = retry_on_intr(|| recv(spoken, &mut [0; 1], RecvFlags::empty()));
        Some(heard.map_or(0, |(len, _)| len))
    }

    /// Waits until `fd` has something to say. `true` if the application ended: its death counts
    /// first, so that nothing is begun for the dead.
    fn application_ended_before(&self, fd: &OwnedFd) -> bool {
        let mut fds =
            [PollFd::new(&self.application, PollFlags::IN), PollFd::new(fd, PollFlags::IN)];
        // Out of memory is the only error; the next read would then simply block.
        let waited = retry_on_intr(|| poll(&mut fds, None));
        waited.is_ok() && !fds[0].revents().is_empty()
    }

    fn reply(&self, reply: Reply, sequence: u64) -> Result<usize, SendError> {
        send_with_fds(&self.link, &reply.encode(sequence), &[])
    }
}

/// What every worker begins with.
pub(super) type Entry = fn(Start) -> i32;
