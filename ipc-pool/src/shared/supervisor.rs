//! The supervisor: one thread of the application that waits on the pidfds of the workers.
//!
//! It resolves or queues again what a dead worker had claimed, replaces the worker, and moves the parts of
//! large values. It is not on the way of a task: if it sleeps, small tasks run. It waits for a new worker as for
//! everything else: a helper process that is slow or stopped keeps nobody waiting but the seat to be filled.

use alloc::sync::Arc;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::panic::catch_unwind;

use ipc_core::clock::Deadline;
use ipc_core::process::{Child, ExitStatus, Spawning, ZygoteError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::time::Timespec;

use super::desk::Burial;
use super::{SharedMemory, lock};
use crate::error::{PoolError, TaskError};
use crate::nursery::Nursery;
use crate::slot::Owner;
use crate::table::Counter;
use crate::worker::{self, Orders, SLICE};

/// How long an ended process may keep its status to itself. Beyond that it is `Unknown`.
const STATUS_BOUND: Duration = Duration::from_secs(2);

/// How long the end of a pool waits for a worker that was asked for: as long as the helper process has to end.
const LAST_RECRUIT: Duration = Duration::from_secs(1);

/// A worker that dies sooner, and has taken no task, has died early.
const SETTLED: Duration = Duration::from_secs(1);

/// The pause before the n-th worker in a row that dies without having taken a task is replaced.
fn pause(early_deaths: u32) -> Duration {
    const LONGEST: Duration = Duration::from_millis(500);
    match early_deaths {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(1 << n.min(9)).min(LONGEST),
    }
}

pub(crate) struct Supervisor {
    shared: Arc<SharedMemory>,
    posts: Vec<Post>,
    restart_limit: u32,
    /// Workers in a row that have died, or could not be started, without having taken a task.
    early_deaths: u32,
}

/// A seat and the process on it.
struct Post {
    child: Option<Child>,
    incarnation: u16,
    /// How many tasks the seat had taken when this process began.
    claims: u64,
    /// When an empty seat is filled.
    due: Deadline,
    /// A process that lives until then has not failed at its start.
    settled: Deadline,
}

/// A process that is on its way to a seat.
struct Recruit<'a> {
    seat: usize,
    spawning: Spawning<'a>,
    nursery: &'a Nursery,
    /// Whether a helper has died or hung over it already.
    again: bool,
}

impl Supervisor {
    /// Starts the workers.
    pub(crate) fn new(
        shared: Arc<SharedMemory>,
        nursery: &Nursery,
        restart_limit: u32,
    ) -> Result<Self, PoolError> {
        let workers = shared.table.workers();
        let mut this = Self { shared, posts: Vec::new(), restart_limit, early_deaths: 0 };
        for seat in 0..workers {
            let due = Deadline::now();
            this.posts.push(Post { child: None, incarnation: 0, claims: 0, due, settled: due });
            let mut recruit = Some(this.recruit(nursery, seat)?);
            while let Some(waiting) = recruit {
                recruit = this.admit(waiting, Deadline::FAR)?;
            }
        }
        Ok(this)
    }

    /// The thread: works until the pool ends.
    pub(crate) fn run(mut self, nursery: &Nursery) {
        // A panic here is a mistake of this crate, and must not leave a ticket waiting for ever.
        let mut recruit = None;
        let result = catch_unwind(AssertUnwindSafe(|| self.watch(nursery, &mut recruit)));
        let error =
            if matches!(result, Ok(Ok(()))) { TaskError::Cancelled } else { TaskError::Broken };
        if error == TaskError::Broken {
            self.shared.broken.store(true, Ordering::Release);
        }
        self.end_workers();
        self.shared.desk().end(&self.shared.table, &error);
        if let Some(recruit) = recruit {
            // To be ended and reaped like the others, when this is dropped. One that does not come ends by itself:
            // it waits for a word that nobody will give.
            let _ = self.admit(recruit, Deadline::after(LAST_RECRUIT));
        }
    }

    fn watch<'a>(
        &mut self,
        nursery: &'a Nursery,
        recruit: &mut Option<Recruit<'a>>,
    ) -> Result<(), ipc_core::Errno> {
        loop {
            let shared = self.shared.clone();
            if shared.terminated.load(Ordering::Acquire) {
                return Ok(());
            }
            let ended = self.wait(recruit.as_ref())?;
            let mut calls = [0; 8];
            if rustix::io::read(&shared.signal, &mut calls).is_ok() {
                shared.desk().move_parts(&shared.table);
            }
            for seat in ended {
                self.bury(seat)?;
            }
            *recruit = self.refill(nursery, recruit.take());
            if self.posts.iter().any(|post| post.child.is_some()) {
                continue;
            }
            if shared.broken.load(Ordering::Acquire) {
                shared.desk().end(&shared.table, &TaskError::Broken);
            }
            // Without a process, every task that is left is queued: `wait` has a seat to fill for it, or the
            // ticket that takes it back calls.
            if self.is_finished() {
                return Ok(());
            }
        }
    }

    /// Sleeps until a worker ends, somebody calls, a recruit comes, or an empty seat is due; the seats of those that
    /// ended.
    fn wait(&self, recruit: Option<&Recruit<'_>>) -> Result<Vec<usize>, ipc_core::Errno> {
        let living = || {
            let posts = self.posts.iter().enumerate();
            posts.filter_map(|(seat, post)| post.child.as_ref().map(|child| (seat, child)))
        };
        let mut fds: Vec<_> =
            living().map(|(_, child)| PollFd::new(child, PollFlags::IN)).collect();
        fds.push(PollFd::new(&self.shared.signal, PollFlags::IN));
        fds.extend(recruit.map(|recruit| PollFd::new(&recruit.spawning, PollFlags::IN)));
        let empty = self.posts.iter().filter(|post| post.child.is_none());
        let due = match recruit {
            // The end of a helper process does not always show.
            Some(_) => Some(Deadline::after(SLICE)),
            None => empty.map(|post| post.due).min().filter(|_| self.is_filling()),
        };
        let timeout: Option<Timespec> = due.map(Deadline::remaining_timespec);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(ipc_core::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let ended = living().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ended.map(|((seat, _), _)| seat).collect())
    }

    /// Whether empty seats are filled. In a closed pool a worker that finds no task ends: another one
    /// is of use only to a task that waits, such as that of a worker that was killed.
    fn is_filling(&self) -> bool {
        let shared = &self.shared;
        !shared.broken.load(Ordering::Acquire)
            && (!shared.closed.load(Ordering::Acquire) || shared.table.has_queued())
    }

    /// Whether there is nothing to do any more, now and later.
    fn is_finished(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire) && self.shared.desk().is_done(&self.shared.table)
    }

    /// The process on `seat` has ended.
    fn bury(&mut self, seat: usize) -> Result<(), ipc_core::Errno> {
        let shared = self.shared.clone();
        let post = &mut self.posts[seat];
        let Some(child) = post.child.as_mut() else { return Ok(()) };
        let cause = child.wait_timeout(STATUS_BOUND)?.unwrap_or(ExitStatus::Unknown);
        let pid = child.id().as_raw_nonzero().get();
        post.child = None;
        *lock(&shared.seats[seat].process) = None;

        let dead = Owner::new(seat, post.incarnation);
        let died = |attempt| TaskError::WorkerDied { pid, cause, attempt };
        let burial = shared.desk().bury(&shared.table, dead, shared.retries, died);
        // It may have been roused for a task that it did not take, and its own may be queued again.
        shared.table.rouse_all();
        if burial == Burial::Interrupted {
            shared.seats[seat].interrupted.fetch_add(1, Ordering::Relaxed);
        }
        let claims = shared.table.counter(seat, Counter::Claims).load(Ordering::Relaxed);
        let post = &mut self.posts[seat];
        let worked = claims != post.claims || post.settled.has_passed();
        let at_ease = shared.closed.load(Ordering::Acquire) && cause.success();
        self.early_deaths = if worked || at_ease { 0 } else { self.early_deaths + 1 };
        post.due = Deadline::after(pause(self.early_deaths));
        self.give_up_if_hopeless();
        Ok(())
    }

    fn give_up_if_hopeless(&self) {
        if self.early_deaths > self.restart_limit {
            self.shared.broken.store(true, Ordering::Release);
        }
    }

    /// Fills the seats that are due, one after the other; the recruit that is not there yet.
    fn refill<'a>(
        &mut self,
        nursery: &'a Nursery,
        mut recruit: Option<Recruit<'a>>,
    ) -> Option<Recruit<'a>> {
        loop {
            let next = match recruit {
                Some(recruit) => (recruit.seat, self.admit(recruit, Deadline::now())),
                None => {
                    let seat = self.next_due()?;
                    (seat, self.recruit(nursery, seat).map(Some))
                }
            };
            recruit = match next {
                (_, Ok(Some(recruit))) => return Some(recruit),
                (seat, Ok(None)) => {
                    self.shared.seats[seat].restarts.fetch_add(1, Ordering::Relaxed);
                    None
                }
                (seat, Err(_)) => {
                    self.early_deaths += 1;
                    self.posts[seat].due = Deadline::after(pause(self.early_deaths));
                    self.give_up_if_hopeless();
                    None
                }
            };
        }
    }

    /// An empty seat that is to be filled now.
    fn next_due(&self) -> Option<usize> {
        let is_due = |post: &Post| post.child.is_none() && post.due.has_passed();
        self.posts.iter().position(is_due).filter(|_| self.is_filling())
    }

    /// Asks for a process to fill `seat`.
    fn recruit<'a>(
        &mut self,
        nursery: &'a Nursery,
        seat: usize,
    ) -> Result<Recruit<'a>, ZygoteError> {
        let shared = &self.shared;
        let post = &mut self.posts[seat];
        post.incarnation = post.incarnation.wrapping_add(1);
        post.claims = shared.table.counter(seat, Counter::Claims).load(Ordering::Relaxed);
        let orders = Orders {
            shape: shared.table.shape(),
            seat: seat as u32,
            incarnation: post.incarnation,
            limit: shared.limit as u64,
        };
        let fds = [shared.table.as_fd(), shared.signal.as_fd()];
        let spawning = nursery.begin(worker::main, &orders.to_bytes(), &fds)?;
        Ok(Recruit { seat, spawning, nursery, again: false })
    }

    /// Seats a recruit that comes by `until`; it is given back if it does not.
    fn admit<'a>(
        &mut self,
        mut recruit: Recruit<'a>,
        until: Deadline,
    ) -> Result<Option<Recruit<'a>>, ZygoteError> {
        let child = match recruit.spawning.wait_until(until) {
            Ok(Some(child)) => child,
            Ok(None) => return Ok(Some(recruit)),
            // Somebody killed the helper, or it hung. Once is no fault of the worker's.
            Err(ZygoteError::Died | ZygoteError::Unresponsive) if !recruit.again => {
                let Recruit { seat, spawning, nursery, .. } = recruit;
                drop(spawning);
                let recruit = self.recruit(nursery, seat)?;
                return Ok(Some(Recruit { again: true, ..recruit }));
            }
            Err(error) => return Err(error),
        };
        let post = &mut self.posts[recruit.seat];
        // Without a second descriptor the worker works; it only cannot be killed by its number.
        let own = child.as_fd().try_clone_to_owned().ok();
        *lock(&self.shared.seats[recruit.seat].process) = own.map(|fd| (child.id(), fd));
        post.child = Some(child);
        post.settled = Deadline::after(SETTLED);
        Ok(None)
    }

    /// Ends every worker that there is.
    fn end_workers(&mut self) {
        for post in &self.posts {
            if let Some(child) = &post.child {
                // A worker that has ended meanwhile is what is wanted.
                let _ = child.kill();
            }
        }
        for (seat, post) in self.posts.iter_mut().enumerate() {
            if let Some(mut child) = post.child.take() {
                // SIGKILL was sent and nobody can hold it back; the pool's memory outlives the wait in any case.
                let _ = child.wait();
            }
            *lock(&self.shared.seats[seat].process) = None;
        }
    }
}

impl Drop for Supervisor {
    /// For a supervisor that never came to its thread, and for a recruit that came at the very end.
    fn drop(&mut self) {
        self.end_workers();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_second() {
        assert_eq!(pause(1), Duration::ZERO);
        assert_eq!(pause(3), Duration::from_millis(8));
        assert_eq!(pause(u32::MAX), Duration::from_millis(500));
    }
}
