//! A child process, held by its pidfd.

mod status;

use core::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::ExitStatus;
use super::raw::pidfd_send_signal;
use super::status_link::StatusReceiver;
use crate::clock::Deadline;
use crate::os::Until;
use crate::{Errno, Result};

/// How often a child that has ended, but is still held by a tracer or by its parent, is looked at again.
const HELD_SLICE: Duration = Duration::from_millis(10);

/// A child process: its pidfd, and its exit status once that is known.
///
/// The pidfd becomes readable when the process has ended, so `poll`, `epoll` and event loops can
/// wait for a child beside anything else: this is the *sentinel* of the process. Readable means
/// that [`try_wait`](Self::try_wait) will know the answer, at once if this process is the parent
/// and no tracer or other reaper stands between.
///
/// # Drop
///
/// Dropping the handle never blocks and never signals. A child that has already ended is reaped, so
/// that no zombie stays; one that still runs goes on without a handle, as after
/// [`detach`](Self::detach), and becomes a zombie when it ends, until this process ends too. Who
/// wants the child gone calls [`kill`](Self::kill) and [`wait`](Self::wait) first. There is no
/// kill-on-drop: `fork` copies every handle, and a copy must not kill its sibling.
///
/// # In another process
///
/// A handle that a fork copied works in the copy as well: signals are sent and the end is seen. The
/// exit status appears there after the parent has reaped (Linux 6.15), and is
/// [`ExitStatus::Unknown`] if the parent leaves that undone for a second.
///
/// # A child of a zygote
///
/// Its parent is the [zygote](super::zygote), as the kernel counts. From Linux 6.15 on the status is in
/// the pidfd. Before, the zygote sends it, through a second descriptor that the handle keeps until it
/// knows; it is `Unknown` if the zygote has been killed, dropped or restarted before the child ended, or
/// is stopped for a second after that.
///
/// # Examples
///
/// ```
/// use core::time::Duration;
/// use ipc_core::process::{ExitStatus, Fork, fork};
///
/// // SAFETY: the child does nothing but end.
/// let mut child = match unsafe { fork() }? {
///     // SAFETY: `_exit` runs no code of this program.
///     Fork::Child => unsafe { libc::_exit(3) },
///     Fork::Parent(child) => child,
/// };
/// assert_eq!(child.wait_timeout(Duration::from_secs(5))?, Some(ExitStatus::Exited(3)));
/// // The answer is kept.
/// assert_eq!(child.wait()?, ExitStatus::Exited(3));
/// # Ok::<(), ipc_core::Errno>(())
/// ```
#[derive(Debug)]
#[must_use = "a child that is dropped while it runs becomes a zombie when it ends"]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// Where a zygote says the status, on a kernel that does not keep it. `None` when nothing more comes.
    link: Option<StatusReceiver>,
    /// The status, once known. It is set once and never changes.
    status: Option<ExitStatus>,
    /// Set when the process was first seen ended, and not ours to reap, without a status: the moment
    /// at which that counts as `Unknown`.
    unknown_from: Option<Deadline>,
}

impl Child {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, link: None, status: None, unknown_from: None }
    }

    /// A child of a zygote, which will say the status through the link, if there is one.
    #[cfg(feature = "std")]
    pub(super) fn of_zygote(pid: Pid, pidfd: OwnedFd, link: Option<StatusReceiver>) -> Self {
        Self { pid, pidfd, link, status: None, unknown_from: None }
    }

    /// Waits until the child has ended, however often signals interrupt.
    ///
    /// # Errors
    ///
    /// What the kernel says to `waitid` or `poll`, which is out of memory at most; before Linux 5.4
    /// `EINVAL`. Nothing is lost by an error: the call may be repeated.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::{ExitStatus, Signal, fork_fn};
    /// let mut child = fork_fn(|| loop { std::thread::park() })?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?, ExitStatus::Signaled { signal: 9, core_dumped: false });
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            let id = WaitId::PidFd(self.pidfd.as_fd());
            match waitid(id, WaitIdOptions::EXITED) {
                Ok(status) => self.status = status.as_ref().map(ExitStatus::from_waitid),
                Err(Errno::INTR) => {}
                Err(Errno::CHILD) => self.status = self.wait_deadline(Deadline::FAR)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Waits until the child has ended or `timeout` has passed, which is `None`.
    ///
    /// Interrupting signals neither shorten nor lengthen the wait. A `timeout` beyond the clock's
    /// range is for ever.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use ipc_core::process::fork_fn;
    /// let mut child = fork_fn(|| loop { std::thread::park() })?;
    /// assert_eq!(child.wait_timeout(Duration::from_millis(5))?, None);
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.wait_deadline(Deadline::after(timeout))
    }

    /// Waits until the child has ended or `deadline` has come, which is `None`.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use ipc_core::process::{ExitStatus, fork_fn};
    /// use ipc_core::clock::Deadline;
    ///
    /// let both_by = Deadline::after(Duration::from_secs(5));
    /// let (mut a, mut b) = (fork_fn(|| 0)?, fork_fn(|| 1)?);
    /// assert_eq!(a.wait_deadline(both_by)?, Some(ExitStatus::Exited(0)));
    /// assert_eq!(b.wait_deadline(both_by)?, Some(ExitStatus::Exited(1)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait_deadline(&mut self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        self.wait_by(deadline.into())
    }

    /// As [`wait_deadline`](Self::wait_deadline), and [a signal](crate#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also `EINTR`: a signal handler has run. The call may be repeated.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::Errno;
    /// # use ipc_core::process::{ExitStatus, fork_fn};
    /// use ipc_core::clock::Deadline;
    ///
    /// # fn asked_to_stop() -> bool { false }
    /// let mut child = fork_fn(|| 0)?;
    /// let status = loop {
    ///     match child.wait_interruptible(Deadline::FAR) {
    ///         Err(Errno::INTR) if asked_to_stop() => child.kill()?,
    ///         Err(Errno::INTR) => {}
    ///         status => break status?,
    ///     }
    /// };
    /// assert_eq!(status, Some(ExitStatus::Exited(0)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait_interruptible(&mut self, deadline: Deadline) -> Result<Option<ExitStatus>> {
        self.wait_by(Until::interruptible(deadline))
    }

    fn wait_by(&mut self, until: Until) -> Result<Option<ExitStatus>> {
        if self.status.is_none() && !self.poll(PollFlags::IN, until)? {
            return Ok(None);
        }
        loop {
            let status = self.try_wait()?;
            if status.is_some() || until.deadline().has_passed() {
                return Ok(status);
            }
            // The child has ended, and a tracer or another reaper has not let go of it yet. A reap
            // is an event, the hang-up of the pidfd (Linux 6.9), and so is a zygote's word; that a
            // tracer lets go is none, so the sleep is cut into slices.
            let slice = until.at_most(Deadline::after(HELD_SLICE));
            match &self.link {
                Some(link) => slice.poll(&mut [PollFd::new(link, PollFlags::IN)])?,
                None => self.poll(PollFlags::empty(), slice)?,
            };
        }
    }

    /// Looks whether the child has ended, without waiting; `None` means that no status is known yet.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::fork_fn;
    /// let mut child = fork_fn(|| loop { std::thread::park() })?;
    /// assert_eq!(child.try_wait()?, None);
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = match self.reap() {
                Ok(status) => status,
                Err(Errno::CHILD) => self.status_from_others()?,
                Err(errno) => return Err(errno),
            };
        }
        if self.status.is_some() {
            self.link = None;
        }
        Ok(self.status)
    }

    /// Sends SIGTERM, waits for `grace`, sends SIGKILL if the child still runs, and reaps it.
    ///
    /// # Errors
    ///
    /// `EPERM` if the child took other credentials and this process may not signal it; else as
    /// [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use ipc_core::process::{ExitStatus, fork_fn};
    /// let mut child = fork_fn(|| loop { std::thread::park() })?;
    /// let status = child.terminate_graceful(Duration::from_secs(5))?;
    /// assert_eq!(status, ExitStatus::Signaled { signal: 15, core_dumped: false });
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn terminate_graceful(&mut self, grace: Duration) -> Result<ExitStatus> {
        for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, Duration::ZERO)] {
            match self.signal(signal) {
                // A child that has ended already is what was asked for.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno),
            }
            if let Some(status) = self.wait_timeout(patience)? {
                return Ok(status);
            }
        }
        self.wait()
    }

    /// `pidfd_send_signal(pidfd, signal)` — sends a signal to the child and to nobody else, even if
    /// its process id belongs to another process by now.
    ///
    /// A child that has ended and is not reaped yet takes any signal without effect.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the child has been reaped, `EPERM` if this process may not signal it, `ENOSYS` from a
    /// sandbox without the call: a signal by number might reach a stranger.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::Errno;
    /// # use ipc_core::process::{Signal, fork_fn};
    /// let mut child = fork_fn(|| loop { std::thread::park() })?;
    /// child.signal(Signal::TERM)?;
    /// child.wait()?;
    /// assert_eq!(child.signal(Signal::TERM), Err(Errno::SRCH));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # References
    ///  - [Linux](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(self.pidfd.as_fd(), signal.as_raw(), 0)
    }

    /// Sends SIGKILL; [`wait`](Self::wait) then reaps the child.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal).
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::fork_fn;
    /// let mut child = fork_fn(|| loop { std::thread::park() })?;
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// The child's process id, for messages and logs: it means this child only until that is reaped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::fork_fn;
    /// let mut child = fork_fn(|| 0)?;
    /// println!("started {}", child.id().as_raw_nonzero());
    /// child.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn id(&self) -> Pid {
        self.pid
    }

    /// Gives the handle up and lets the child go on: what dropping does, said aloud.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::fork_fn;
    /// fork_fn(|| 0)?.detach();
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn detach(self) {}

    /// Waits until the child has ended or `deadline`, and leaves it to be reaped.
    #[cfg(feature = "std")]
    pub(super) fn wait_unreaped(&self, deadline: Deadline) -> Result<bool> {
        self.poll(PollFlags::IN, deadline.into())
    }

    /// Waits until the pidfd shows one of `events` or hangs up; `false` at the deadline.
    fn poll(&self, events: PollFlags, until: Until) -> Result<bool> {
        until.poll(&mut [PollFd::new(&self.pidfd, events)])
    }
}

impl AsFd for Child {
    /// The pidfd: readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Whatever the answer, nobody is left to hear it.
            let _ = self.reap();
        }
    }
}

static_assertions::assert_impl_all!(Child: Send, Sync);
