//! A child with all that it has started: the process group that it leads.

use core::time::Duration;
use std::os::fd::AsFd;

use rustix::process::kill_process_group;

use super::raw::pidfd_send_signal;
use super::{Child, ExitStatus, Signal};
use crate::clock::Deadline;
use crate::os::sleep_until;
use crate::{Errno, Result};

/// `linux/pidfd.h`, from Linux 6.9 on: the group whose leader the pidfd means.
const PIDFD_SIGNAL_PROCESS_GROUP: usize = 1 << 2;

/// The end of a group is no event, so it is looked for this often.
const SLICE: Duration = Duration::from_millis(2);

impl Child {
    /// Sends a signal to every process of the group that the child leads.
    ///
    /// A child leads a group if it was started with
    /// [`new_process_group`](super::Spawn::new_process_group) or
    /// [`new_session`](super::Spawn::new_session), or made itself a leader. What it starts is in the
    /// group too, unless it leaves it.
    ///
    /// From Linux 6.9 on the group is named by the child's pidfd, so that no other one is ever met.
    /// Before, it is named by number, and only as long as the child has not been reaped, which keeps
    /// the number from being given away.
    ///
    /// # Errors
    ///
    /// `ESRCH` if the child leads no group, if nobody is left in it, or, before Linux 6.9, if the
    /// child has been reaped; `EPERM` if this process may signal none of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::{Signal, Spawn};
    ///
    /// let script = "sleep 60 & sleep 60 & wait";
    /// let mut shell = Spawn::new("sh").args(["-c", script]).new_process_group().spawn()?;
    /// shell.signal_group(Signal::KILL)?;
    /// assert!(!shell.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        match self.signal_group_by_pidfd(signal.as_raw()) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                // Whoever has not been reaped takes no signal at all without an error.
                pidfd_send_signal(self.as_fd(), 0, 0)?;
                kill_process_group(self.id(), signal)
            }
            result => result,
        }
    }

    /// As [`terminate_graceful`](Self::terminate_graceful), for the whole group that the child leads:
    /// SIGTERM to all, SIGKILL after `grace` to those that are left, and the child is reaped.
    ///
    /// The call returns when the child has ended and everybody in the group has ended or been sent
    /// SIGKILL. Members that have died and that nobody reaps count as left. Before Linux 6.9 only the child is given `grace`; the others are killed when it has ended.
    ///
    /// # Errors
    ///
    /// As [`terminate_graceful`](Self::terminate_graceful). A child that leads no group is terminated
    /// alone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use core::time::Duration;
    /// use ipc_core::process::{ExitStatus, Spawn};
    ///
    /// let script = "sleep 60 & sleep 60 & wait";
    /// let mut shell = Spawn::new("sh").args(["-c", script]).new_process_group().spawn()?;
    /// let status = shell.terminate_group_graceful(Duration::from_secs(5))?;
    /// assert_eq!(status, ExitStatus::Signaled { signal: 15, core_dumped: false });
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn terminate_group_graceful(&mut self, grace: Duration) -> Result<ExitStatus> {
        let deadline = Deadline::after(grace);
        match self.signal_group(Signal::TERM) {
            Ok(()) => {}
            Err(Errno::SRCH) => return self.terminate_graceful(grace),
            Err(errno) => return Err(errno),
        }
        if self.signal_group_by_pidfd(0) == Err(Errno::INVAL) {
            // Its number is the group's as long as nobody reaps it.
            self.wait_unreaped(deadline)?;
        } else if self.wait_deadline(deadline)?.is_some() {
            while !deadline.has_passed() && self.signal_group_by_pidfd(0).is_ok() {
                sleep_until(deadline.min(Deadline::after(SLICE)));
            }
        }
        match self.signal_group(Signal::KILL) {
            // Nobody was left.
            Ok(()) | Err(Errno::SRCH) => self.wait(),
            Err(errno) => Err(errno),
        }
    }

    fn signal_group_by_pidfd(&self, signal: i32) -> Result<()> {
        pidfd_send_signal(self.as_fd(), signal, PIDFD_SIGNAL_PROCESS_GROUP)
    }
}
