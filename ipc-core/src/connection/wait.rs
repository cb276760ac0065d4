//! Waiting for several things at once.

use alloc::vec::Vec;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};

use crate::Result;
use crate::clock::Deadline;
use crate::os::Until;

/// Waits until one of `items` has something to say, or until `deadline`; which of them have, by their
/// places, and none at the deadline.
///
/// A connection has something to say when a message or the end has come, a
/// [`Child`](crate::process::Child) when it has ended, and any other descriptor when it is readable.
/// Interrupting signals change nothing.
///
/// # Errors
///
/// `EINVAL` for more items than the limit of open files, `ENOMEM`.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use ipc_core::clock::Deadline;
/// use ipc_core::connection::{pair, wait_any};
/// use ipc_core::process::fork_fn;
///
/// let (ours, mut theirs) = pair()?;
/// let child = fork_fn(|| loop { std::thread::park() })?;
/// let items: [&dyn AsFd; 2] = [&ours, &child];
/// assert_eq!(wait_any(&items, Deadline::now())?, []);
/// theirs.send(b"hello")?;
/// assert_eq!(wait_any(&items, Deadline::FAR)?, [0]);
/// child.kill()?;
/// # let mut child = child;
/// # child.wait()?;
/// assert_eq!(wait_any(&[&child], Deadline::FAR)?, [0]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[doc(alias = "multiprocessing.connection.wait")]
pub fn wait_any<F: AsFd>(items: &[F], deadline: Deadline) -> Result<Vec<usize>> {
    wait_by(items, deadline.into())
}

/// As [`wait_any`], and [a signal](crate#signals) ends it, too.
///
/// # Errors
///
/// Also `EINTR`: a signal handler has run.
///
/// # Examples
///
/// ```
/// use ipc_core::Errno;
/// use ipc_core::clock::Deadline;
/// use ipc_core::connection::{pair, wait_any_interruptible};
///
/// # fn asked_to_stop() -> bool { false }
/// let (ours, mut theirs) = pair()?;
/// theirs.send(b"hello")?;
/// let ready = loop {
///     match wait_any_interruptible(&[&ours], Deadline::FAR) {
///         Err(Errno::INTR) if asked_to_stop() => break vec![],
///         Err(Errno::INTR) => {}
///         ready => break ready?,
///     }
/// };
/// assert_eq!(ready, [0]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn wait_any_interruptible<F: AsFd>(items: &[F], deadline: Deadline) -> Result<Vec<usize>> {
    wait_by(items, Until::interruptible(deadline))
}

fn wait_by<F: AsFd>(items: &[F], until: Until) -> Result<Vec<usize>> {
    let mut fds: Vec<_> = items.iter().map(|item| PollFd::new(item, PollFlags::IN)).collect();
    until.poll(&mut fds)?;
    let ready = fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|(place, _)| place).collect())
}

/// Waits until `fd` shows one of `events`, an error or the end; `false` at the deadline.
pub(super) fn until_ready(fd: impl AsFd, events: PollFlags, until: Until) -> Result<bool> {
    until.poll(&mut [PollFd::new(&fd, events)])
}
