//! The start barrier of [`fork()`](super::fork()): the child waits in it until its parent holds the
//! child's pidfd.
//!
//! Without it the child could end at once, and where SIGCHLD is ignored, or another thread waits for
//! any child, its process id could belong to a stranger when the parent asks for the pidfd. Three
//! descriptors, all close-on-exec, make it safe for every order of deaths:
//!
//! * a socket pair. The parent's byte means *go*. A parent that cannot have the pidfd shuts the pair
//!   down instead, which reaches the child even if another thread's fork holds a copy of the
//!   parent's end. That the byte was taken shows that the child was alive *after* its pidfd was
//!   opened, hence that the pidfd is the child's (unless another thread's fork keeps a copy of the child's end open).
//! * a pidfd of the parent, because the end of file of the socket is not enough: it would not come
//!   while another thread's fork holds a copy of the parent's end.
//!
//! What remains: a child that is killed inside the barrier while another thread's fork of this process holds a copy of
//! its end, and whose process id is given anew within these microseconds, cannot be told from who has it then.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
    socketpair,
};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, getpid, pidfd_open, waitid, waitpid,
};

use crate::clock::Deadline;
use crate::os::Until;
use crate::{Errno, Result};

/// The only message that is ever sent.
const GO: [u8; 1] = *b"g";

/// How long a process may take from closing its files to its end: the kernel's work of microseconds,
/// with room for a loaded machine.
const DYING: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Barrier {
    parent_end: OwnedFd,
    child_end: OwnedFd,
    parent_pidfd: OwnedFd,
}

impl Barrier {
    pub(super) fn new() -> Result<Self> {
        let (parent_end, child_end) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let parent_pidfd = pidfd_open(getpid(), PidfdFlags::empty())?;
        Ok(Self { parent_end, child_end, parent_pidfd })
    }

    /// The child's side: waits for the parent and says whether the child may go on. It makes system
    /// calls and nothing else, as a forked child of a process with several threads must.
    pub(super) fn wait(self) -> bool {
        let Self { parent_end, child_end, parent_pidfd } = self;
        // Else our own copy would keep the end of file from coming.
        drop(parent_end);
        let mut fds =
            [PollFd::new(&child_end, PollFlags::IN), PollFd::new(&parent_pidfd, PollFlags::IN)];
        loop {
            let waited = Until::from(Deadline::FAR).poll(&mut fds);
            // A parent that said *go* and then died still said *go*, so the socket decides. Where
            // `poll` fails (out of memory, or a limit of open files below two) it is also what is
            // waited for: the child must not end on its own when its parent is about to say *go*.
            let flags = if waited.is_ok() { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
            let mut message = [0; GO.len()];
            match retry_on_intr(|| recv(&child_end, &mut message, flags)) {
                // The parent lives and has said nothing: woken for nothing.
                Err(Errno::AGAIN) if fds[1].revents().is_empty() => {}
                received => return matches!(received, Ok((1, _)) if message == GO),
            }
        }
    }

    /// The parent's side: opens the child's pidfd and lets the child go on; or, failing that, ends
    /// and reaps it.
    pub(super) fn release(self, pid: Pid) -> Result<OwnedFd> {
        let Self { parent_end, child_end, parent_pidfd } = self;
        // Only the child may hold its end, or the byte would prove nothing. Both closes also leave
        // room for the pidfd in a full descriptor table.
        drop((child_end, parent_pidfd));
        let named = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| {
            match retry_on_intr(|| send(&parent_end, &GO, SendFlags::NOSIGNAL)) {
                Ok(_) => Ok(pidfd),
                // Somebody killed the child inside the barrier. If nobody has reaped it, the pidfd
                // is right all the same and the status is there for the caller.
                Err(Errno::PIPE) if is_our_zombie(&pidfd) => Ok(pidfd),
                Err(Errno::PIPE) => Err(Errno::SRCH),
                Err(errno) => Err(errno),
            }
        });
        if matches!(named, Err(errno) if errno != Errno::SRCH) {
            dismiss(&parent_end, pid);
        }
        named
    }
}

/// Whether the pidfd names a child of ours that has ended, as the one must that closed its end of the
/// barrier. A process that received the number of a reaped child lives, or is not ours.
fn is_our_zombie(pidfd: &OwnedFd) -> bool {
    // A dying process closes its files shortly before it counts as ended.
    let end = Until::from(Deadline::after(DYING));
    // If it has not ended by then, or nobody can say, there is nothing to reap.
    let _ = end.poll(&mut [PollFd::new(pidfd, PollFlags::IN)]);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(Some(_)))
}

/// Tells the child to end, and reaps it. Its process id is safe to use: the child waits in the
/// barrier until this moment.
fn dismiss(parent_end: &OwnedFd, pid: Pid) {
    // Shutting down a connected pair cannot fail, and the reap below shows that the child heard it.
    let _ = shutdown(parent_end, Shutdown::Both);
    // Any answer but an interruption is final: reaped here, or (`ECHILD`) by somebody else.
    while waitpid(Some(pid), WaitOptions::empty()).err() == Some(Errno::INTR) {}
}
