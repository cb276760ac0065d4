//! Where an exit status comes from: the reap, a zygote's word, the kernel's record, or nowhere.

use core::time::Duration;

use rustix::event::PollFlags;
use rustix::fd::AsFd;
use rustix::io::retry_on_intr;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::Child;
use crate::clock::Deadline;
use crate::process::raw::pidfd_send_signal;
use crate::process::status_link::{StatusReceiver, Word};
use crate::process::{ExitStatus, pidfd_info};
use crate::{Errno, Result};

/// How long a process that has ended may remain without a status before that counts as
/// [`ExitStatus::Unknown`]. Between the end and the status lies only the reaper's own work, which is
/// microseconds; the bound is for a reaper that never comes, or that is stopped.
const REAP_BOUND: Duration = Duration::from_secs(1);

impl Child {
    /// Reaps the child if it has ended.
    pub(super) fn reap(&self) -> Result<Option<ExitStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), options))?;
        Ok(status.as_ref().map(ExitStatus::from_waitid))
    }

    /// The status of a child that is not ours to reap: it is a zygote's, SIGCHLD is ignored, another
    /// thread took it, or this process is not the parent.
    pub(super) fn status_from_others(&mut self) -> Result<Option<ExitStatus>> {
        if !self.poll(PollFlags::IN, Deadline::now().into())? {
            return Ok(None);
        }
        match self.link.as_ref().map(StatusReceiver::look).transpose()? {
            Some(Word::Status(status)) => return Ok(Some(status)),
            Some(Word::Silence) => return Ok(self.unknown_at_last()),
            // The zygote is dead. Whoever adopts the child, perhaps this very process, reaps it.
            Some(Word::End) => self.link = None,
            None => {}
        }
        match pidfd_info::exit_status(self.pidfd.as_fd()) {
            Ok(None) => Ok(self.unknown_at_last()),
            Ok(status) => Ok(status),
            // A kernel before 6.15 keeps no status after the reap, and a sandbox may not let it say so.
            Err(
                Errno::NOTTY
                | Errno::INVAL
                | Errno::SRCH
                | Errno::NOSYS
                | Errno::PERM
                | Errno::ACCESS,
            ) => {
                let reaped = pidfd_send_signal(self.pidfd.as_fd(), 0, 0) == Err(Errno::SRCH);
                Ok(if reaped { Some(ExitStatus::Unknown) } else { self.unknown_at_last() })
            }
            Err(errno) => Err(errno),
        }
    }

    /// Of a child that has ended, and whose reaper has not come yet: `None` within the bound.
    fn unknown_at_last(&mut self) -> Option<ExitStatus> {
        let from = *self.unknown_from.get_or_insert_with(|| Deadline::after(REAP_BOUND));
        from.has_passed().then_some(ExitStatus::Unknown)
    }
}
