//! The zygote itself: one thread that waits for a request, forks, and waits again.
//!
//! Nothing of the application runs in it, but for what it was told to call first. It owns nothing that anybody would miss: its children are
//! held by the application, and reaped by the kernel, so it may be killed at any moment. Where the kernel
//! keeps no exit status it reaps them itself ([`Reaper`]), and the statuses of those that outlive it are
//! what is lost.
//!
//! # Safety
//!
//! `fork` is sound because the zygote has one thread: checked at its start, and nothing in here
//! starts another. The entry's type is vouched for by the only writer of the socket, the
//! application's [`Zygote::spawn`](super::Zygote::spawn), which encodes an entry and nothing else.
#![expect(unsafe_code, reason = "fork, and the entry by name")]

use alloc::vec;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::thread::set_name;

use super::message::{MAX_REQUEST, Reply, Request, sequence};
use super::probe::kernel_keeps_status;
use super::reaper::Reaper;
use super::signals::{self, ChildSignal};
use super::worker::{Newborn, Start, Voice};
use super::{descriptors, preload, worker};
use crate::Result;
use crate::errno::last_errno;
use crate::fdpass::{Fds, RecvError, SendError, recv_with_fds, send_with_fds};
use crate::function::{Function, FunctionRef};
use crate::process::signal_set::set_mask;
use crate::process::threads::is_single_threaded;
use crate::process::{Pid, SignalSet};

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
        Err(errno) => refuse(&link, Reply::Setup(errno)),
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
    /// Who reaps the children, unless the kernel does.
    pub(super) reaper: Option<Reaper>,
    /// What the process was called.
    pub(super) name: Option<CString>,
}

fn serve(link: OwnedFd) -> i32 {
    match is_single_threaded() {
        Ok(true) => {}
        Ok(false) => return refuse(&link, Reply::HasThreads),
        Err(errno) => return refuse(&link, Reply::ThreadsUnknown(errno)),
    }
    if let Err(errno) = descriptors::open_standard_streams() {
        return refuse(&link, Reply::Setup(errno));
    }
    signals::drop_handlers();
    let mut packet = vec![0; MAX_REQUEST];
    // It was sent before this process existed.
    let Ok(mut hello) = recv_with_fds(&link, &mut packet) else { return FAILED };
    let (Some((_, Request::Hello { preloads })), Some(application)) =
        (Request::decode(&packet[..hello.len]), hello.fds.next())
    else {
        return FAILED;
    };
    let name = rustix::thread::name().ok();
    // A name is for the reader of a list; without it nothing else changes.
    let _ = set_name(NAME);
    if !preloads.is_empty() {
        if let Err(reply) = preload::run(preloads, &link, &application) {
            return refuse(&link, reply);
        }
    }
    let child_signal = ChildSignal::of_this_process();
    let reaper = if kernel_keeps_status() {
        signals::ignore_children();
        None
    } else {
        match Reaper::new() {
            Ok(reaper) => Some(reaper),
            Err(errno) => return refuse(&link, Reply::Setup(errno)),
        }
    };
    let mut server = Server { link, application, child_signal, reaper, name };
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
    fn serve_one(&mut self, packet: &mut [u8]) -> Next {
        if ended_before(&self.application, &mut self.reaper, &self.link) {
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
    fn answer(&mut self, packet: &[u8], fds: Fds) -> Result<Next, Reply> {
        let request = Request::decode(packet);
        let itself = matches!(request, Some((_, Request::Become { .. })));
        let (sequence, entry, calls, bytes) = match request {
            Some((
                sequence,
                Request::Spawn { entry, calls, bytes } | Request::Become { entry, calls, bytes },
            )) => (sequence, entry, calls, bytes),
            // Meant for a child that died before it could read it.
            Some((_, Request::Go | Request::Stop)) => return Ok(Next::Request),
            Some((_, Request::Hello { .. })) | None => return Err(Reply::Malformed),
        };
        if calls != entry {
            // The child could only end for want of it.
            let called = FunctionRef::from_bytes(calls).and_then(|called| called.resolve());
            called.map_err(Reply::Function)?;
        }
        // SAFETY: the application encoded a function of this type.
        let entry = unsafe { Function::<Entry>::from_bytes(entry) };
        let entry = entry.and_then(|entry| entry.resolve()).map_err(Reply::Function)?;
        let voice = if itself { None } else { Some(self.fork().map_err(Reply::Fork)?) };
        if matches!(voice, Some(None)) {
            return Ok(Next::Request);
        }
        let (bytes, voice) = (bytes.to_vec(), voice.flatten());
        Ok(Next::Child(Newborn { sequence, entry, bytes, fds, voice }))
    }

    /// Forks a child. The parent waits until the child has spoken with the application; from then on
    /// the socket is the zygote's again. An error means that the child did not say a word. In the
    /// child it returns what that speaks with.
    fn fork(&mut self) -> Result<Option<Voice>> {
        // Not a pipe: a child whose zygote was killed must not meet SIGPIPE.
        let (spoken, speaking) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let (to_application, status) =
            if self.reaper.is_some() { Reaper::link() } else { (None, None) };
        // SAFETY: this process has one thread.
        let raw = unsafe { libc::fork() };
        if raw < 0 {
            return Err(last_errno());
        }
        let Some(pid) = Pid::from_raw(raw) else {
            drop((spoken, to_application));
            return Ok(Some(Voice { speaking, status }));
        };
        drop((speaking, status));
        if let Some(reaper) = &mut self.reaper {
            reaper.add(pid, to_application);
        }
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

    /// How many bytes came; `None` if the application ended, which the next look finds too.
    fn hear(&mut self, spoken: &OwnedFd) -> Option<usize> {
        if ended_before(&self.application, &mut self.reaper, spoken) {
            return None;
        }
        // A reset is an end, too.
        let heard = retry_on_intr(|| recv(spoken, &mut [0; 1], RecvFlags::empty()));
        Some(heard.map_or(0, |(len, _)| len))
    }

    fn reply(&self, reply: Reply, sequence: u64) -> Result<usize, SendError> {
        send_with_fds(&self.link, &reply.encode(sequence), &[])
    }
}

/// Waits until `fd` has something to say, and reaps meanwhile. `true` if the application ended: its death
/// counts first, so that nothing is begun for the dead.
fn ended_before(application: &OwnedFd, reaper: &mut Option<Reaper>, fd: &OwnedFd) -> bool {
    loop {
        // Without a reaper there is no third, and any descriptor stands in its place.
        let children = reaper.as_ref().map_or(application.as_fd(), AsFd::as_fd);
        let mut fds = [application.as_fd(), fd.as_fd(), children]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let asked = if reaper.is_some() { 3 } else { 2 };
        // Out of memory is the only error; the next read would then simply block.
        let waited = retry_on_intr(|| poll(&mut fds[..asked], None));
        let [ended, said, child_ended] = fds.map(|fd| waited.is_ok() && !fd.revents().is_empty());
        match reaper {
            Some(reaper) if child_ended => reaper.reap(),
            _ => return ended,
        }
        if ended || said {
            return ended;
        }
    }
}

/// What every worker begins with.
pub(super) type Entry = fn(Start) -> i32;
