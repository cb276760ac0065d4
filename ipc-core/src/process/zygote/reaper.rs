//! Reaping in a zygote whose kernel keeps no exit status of a reaped process (before Linux 6.15).
//!
//! Where it keeps one, SIGCHLD is ignored: the kernel reaps, and the application reads the status from
//! the pidfd. Where it does not, the zygote waits for its children beside its requests, and sends each
//! status through the child's [status link](crate::process::status_link). It reaps first and tells
//! afterwards: who knows the status of a process knows that it has been reaped.
//!
//! A zygote has descriptors for so many links only, and a child is worth more than its status: beyond
//! that, children get no link.

use alloc::vec::Vec;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, read, retry_on_intr};
use rustix::process::{Resource, WaitId, WaitIdOptions, getrlimit, waitid};

use super::signals;
use crate::Result;
use crate::fdpass::MAX_FDS;
use crate::process::status_link::{StatusReceiver, StatusSender, status_link};
use crate::process::{ExitStatus, Pid};

/// How many numbers below the limit of open files links leave free: those of a request, of the next link,
/// and of the pair by which a zygote hears its child.
const HEADROOM: u64 = MAX_FDS as u64 + 8;

/// The children that live, and the way to tell of their ends.
#[derive(Debug)]
pub(super) struct Reaper {
    /// Readable when a child has ended.
    ends: OwnedFd,
    children: Vec<(Pid, Option<StatusSender>)>,
}

impl Reaper {
    pub(super) fn new() -> Result<Self> {
        signals::keep_children();
        Ok(Self { ends: signals::ends_of_children()?, children: Vec::new() })
    }

    /// A link for the next child, if there is room.
    pub(super) fn link() -> (Option<StatusSender>, Option<StatusReceiver>) {
        // The lowest free number is given first, so a high one means that few are left.
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        match status_link() {
            Ok((sender, receiver)) if sender.as_raw_fd() as u64 + HEADROOM < most => {
                (Some(sender), Some(receiver))
            }
            _ => (None, None),
        }
    }

    /// Takes charge of a child that was just forked.
    pub(super) fn add(&mut self, child: Pid, link: Option<StatusSender>) {
        self.children.push((child, link));
    }

    /// Reaps whoever has ended, and says how.
    pub(super) fn reap(&mut self) {
        // First: whoever ends after this makes it readable again. It is only here that a signal is
        // taken, and if that should fail the next look comes too early.
        let _ = read(&self.ends, &mut [0; SIGNAL]);
        self.children.retain_mut(|(pid, link)| {
            // By number, which is nobody else's before the reap. Never any child: one that a function
            // of the application started in here would lose its status.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match retry_on_intr(|| waitid(WaitId::Pid(*pid), options)) {
                Ok(None) => true,
                Ok(Some(status)) => {
                    if let Some(link) = link.take() {
                        link.send(ExitStatus::from_waitid(&status));
                    }
                    false
                }
                // Somebody else has reaped it, and the end of the link says so.
                Err(errno) => errno != Errno::CHILD,
            }
        });
    }
}

/// What the kernel tells of a signal, `struct signalfd_siginfo`.
const SIGNAL: usize = 128;

impl AsFd for Reaper {
    /// Readable when [`reap`](Self::reap) has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ends.as_fd()
    }
}
