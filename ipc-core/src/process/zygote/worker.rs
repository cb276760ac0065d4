//! A child of the zygote: what it is given, and its first steps.

use alloc::vec::Vec;
use core::iter;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::net::{SendFlags, send};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::set_name;
use rustix::time::Timespec;

use super::message::{Reply, Request};
use super::server::{Entry, Server};
use crate::Result;
use crate::fdpass::{Fds, recv_with_fds, send_with_fds};
use crate::process::fork::exit_now;
use crate::process::signal_set::set_mask;
use crate::process::status_link::StatusReceiver;
use crate::process::{SignalSet, fork_fn};

/// What the entry of a zygote's child is given.
#[derive(Debug)]
pub struct Start {
    /// The bytes of [`Zygote::spawn`](super::Zygote::spawn).
    pub bytes: Vec<u8>,
    /// Its descriptors, in their order; close-on-exec.
    pub fds: Fds,
    /// The application.
    pub parent: ParentWatch,
}

/// A child's view of the application that it works for.
///
/// The parent of a zygote's child, as the kernel counts, is the zygote, whose death means nothing.
/// This watches the process that made the zygote, through its pidfd: it becomes readable when that
/// process has ended, so it can stand beside other things in a `poll`.
#[derive(Debug)]
pub struct ParentWatch {
    pidfd: OwnedFd,
}

/// The exit code of a child that [`ParentWatch::exit_with_parent`] ended.
const ORPHANED: i32 = 125;

/// The watcher's stack: it makes two system calls.
const WATCHER_STACK: usize = 64 << 10;

impl ParentWatch {
    /// Watches this process, for a child that inherits the descriptor.
    #[cfg(feature = "serde")]
    pub(crate) fn over_this_process() -> Result<Self> {
        Ok(Self { pidfd: pidfd_open(getpid(), PidfdFlags::empty())? })
    }

    /// Whether the application still runs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, from `poll`.
    pub fn is_alive(&self) -> Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut fds, Some(&at_once)))? == 0)
    }

    /// Starts a thread that ends this process, with code 125, as soon as the application has ended,
    /// whatever the process is doing.
    ///
    /// A process that is stopped (`SIGSTOP`, a debugger) has its watcher stopped too: it outlives the
    /// application, with all that it holds, and ends when it is continued.
    ///
    /// It ends like a kill: no destructor and no flush runs. The thread takes no signals. A process
    /// that has this thread can no longer be forked by [`fork_fn`](fn@super::super::fork_fn).
    ///
    /// # Errors
    ///
    /// `EAGAIN` if no thread can be made, `EMFILE` if no descriptor can.
    pub fn exit_with_parent(&self) -> io::Result<()> {
        let pidfd = self.pidfd.try_clone()?;
        let mask = set_mask(SignalSet::ALL_BUT_LIBCS);
        let watcher = thread::Builder::new()
            .name("parent-watch".into())
            .stack_size(WATCHER_STACK)
            .spawn(move || {
                loop {
                    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
                    if poll(&mut fds, None).is_ok_and(|ready| ready > 0) {
                        exit_now(ORPHANED);
                    }
                }
            });
        set_mask(mask);
        watcher.map(drop)
    }
}

impl AsFd for ParentWatch {
    /// The application's pidfd: readable once that has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A child that has just been forked, or the zygote that becomes one.
pub(super) struct Newborn {
    pub(super) sequence: u64,
    pub(super) entry: Entry,
    pub(super) bytes: Vec<u8>,
    pub(super) fds: Fds,
    /// Of one that was forked.
    pub(super) voice: Option<Voice>,
}

/// What a child that was forked begins with.
pub(super) struct Voice {
    /// The zygote waits for a byte from here, and for the end.
    pub(super) speaking: OwnedFd,
    /// For the application: where the zygote will say the exit status.
    pub(super) status: Option<StatusReceiver>,
}

/// How a child ends that was not told to go.
const NOT_WANTED: i32 = 127;

/// The child's side of the fork. It introduces itself to the application and waits for its word: the
/// entry runs if and only if the application has the child's pidfd, whoever dies meanwhile.
///
/// The zygote waits until `speaking` is closed, so the socket is the child's alone until then.
pub(super) fn begin(mut server: Server, newborn: Newborn) -> ! {
    let Newborn { sequence, entry, bytes, fds, mut voice } = newborn;
    // The links of its siblings, and its own: an end of these must mean that the zygote has gone.
    drop(server.reaper.take());
    if introduce(&server, sequence, voice.as_mut()).is_none() || !awaits_go(&server, sequence) {
        exit_now(NOT_WANTED);
    }
    drop(voice);
    settle(&server);
    let Server { application: pidfd, link, .. } = server;
    drop(link);
    let start = Start { bytes, fds, parent: ParentWatch { pidfd } };
    fork_fn::run(|| entry(start))
}

/// Sends the child's own pidfd, which cannot be anybody else's, and where to learn its status; and tells
/// the zygote.
fn introduce(server: &Server, sequence: u64, voice: Option<&mut Voice>) -> Option<()> {
    let pid = getpid();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let reply = Reply::Started(pid.as_raw_nonzero().get()).encode(sequence);
    let (speaking, status) = voice.map(|voice| (&voice.speaking, voice.status.take())).unzip();
    let status = status.flatten();
    let fds: Vec<_> = iter::once(pidfd.as_fd()).chain(status.as_ref().map(AsFd::as_fd)).collect();
    send_with_fds(&server.link, &reply, &fds).ok()?;
    if let Some(speaking) = speaking {
        // A zygote that was killed meanwhile changes nothing for the child.
        let _ = send(speaking, b"s", SendFlags::NOSIGNAL);
    }
    Some(())
}

/// Whether the application says *go*.
fn awaits_go(server: &Server, sequence: u64) -> bool {
    let mut fds =
        [PollFd::new(&server.link, PollFlags::IN), PollFd::new(&server.application, PollFlags::IN)];
    // Out of memory is the only error; the read then simply blocks.
    let waited = retry_on_intr(|| poll(&mut fds, None));
    if waited.is_ok() && fds[0].revents().is_empty() {
        return false;
    }
    // A longer packet is not the word that is waited for.
    let mut packet = [0; 64];
    let Ok(received) = recv_with_fds(&server.link, &mut packet) else { return false };
    Request::decode(&packet[..received.len]) == Some((sequence, Request::Go))
}

/// Undoes what makes a zygote of a process.
fn settle(server: &Server) {
    if let Some(name) = &server.name {
        // As in the zygote: a name is for readers.
        let _ = set_name(name);
    }
    server.child_signal.restore();
    set_mask(SignalSet::EMPTY);
}

static_assertions::assert_impl_all!(Start: Send, Sync);
static_assertions::assert_impl_all!(ParentWatch: Send, Sync);
