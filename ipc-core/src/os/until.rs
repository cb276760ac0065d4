//! Waiting for descriptors: until when, and what a signal does.

use rustix::event::{PollFd, poll};

use crate::clock::Deadline;
use crate::{Errno, Result};

/// Until when a call waits, and whether a signal ends it before that.
///
/// An interruptible wait promises that each signal handler which runs on its thread *while it sleeps* ends it with
/// `EINTR`, whether it was installed with `SA_RESTART` or not. So it sleeps in `poll`, which the kernel
/// never restarts after a handler. `recvmsg`, `sendmsg` and `waitid` are restarted after one with `SA_RESTART`: an
/// interruptible call makes them without blocking, and only when `poll` has said that they will not wait.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    deadline: Deadline,
    interruptible: bool,
}

static_assertions::assert_impl_all!(Until: Send, Sync);

impl Until {
    /// Until `deadline`, however often signals interrupt.
    #[must_use]
    pub const fn uninterrupted(deadline: Deadline) -> Self {
        Self { deadline, interruptible: false }
    }

    /// Until `deadline` or a signal.
    #[must_use]
    pub const fn interruptible(deadline: Deadline) -> Self {
        Self { deadline, interruptible: true }
    }

    /// The last moment.
    #[must_use]
    pub const fn deadline(self) -> Deadline {
        self.deadline
    }

    /// Whether a signal ends it.
    #[must_use]
    pub const fn is_interruptible(self) -> bool {
        self.interruptible
    }

    /// The same, but not beyond `deadline`.
    #[must_use]
    pub fn at_most(self, deadline: Deadline) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self }
    }

    /// Whether nothing but what is awaited ends it, so that a blocking system call can do the waiting.
    #[must_use]
    pub fn is_endless(self) -> bool {
        self.deadline == Deadline::FAR && !self.interruptible
    }

    /// Waits until one of `fds` shows an event that it asks for, an error or a hang-up; `false` at the
    /// deadline.
    ///
    /// # Errors
    ///
    /// `EINTR` if a signal ended it, which only an [`interruptible`](Self::interruptible) wait can
    /// say; `ENOMEM`; `EINVAL` for more descriptors than the limit of open files.
    pub fn poll(self, fds: &mut [PollFd<'_>]) -> Result<bool> {
        loop {
            match poll(fds, Some(&self.deadline.remaining_timespec())) {
                Err(Errno::INTR) if !self.interruptible => {}
                ready => return ready.map(|count| count > 0),
            }
        }
    }
}

impl From<Deadline> for Until {
    fn from(deadline: Deadline) -> Self {
        Self::uninterrupted(deadline)
    }
}
