//! The seam between tasks and the machine that runs them.
//!
//! Above it, once: what a call is, chunks, order, tickets. Below it: where a task waits, who runs it, and what
//! happens when that one dies. [`crate::shared`] is the backend of this machine.

use core::fmt;
use core::time::Duration;

use ipc_core::clock::Deadline;

use crate::error::{PoolError, TaskError};

/// What a task came to: the bytes of its result, or why there are none.
pub(crate) type Outcome = Result<Vec<u8>, TaskError>;

/// A task, as its backend knows it. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TaskId(pub(crate) u64);

/// Room for one task.
#[derive(Debug)]
#[must_use = "room that is not used is lost"]
pub(crate) struct Room(pub(crate) usize);

/// What runs tasks.
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    /// Room for one task, as soon as there is some.
    fn reserve(&self) -> Result<Room, PoolError>;

    /// Queues a call. From here on the task has exactly one outcome.
    fn commit(&self, room: Room, call: Vec<u8>) -> TaskId;

    /// The outcome of a task, waiting for it until `until`; `None` when there is none by then. It is given once.
    fn poll(&self, task: TaskId, until: Deadline) -> Option<Outcome>;

    /// Nobody wants the outcome: a task that has not begun will not be run.
    fn cancel(&self, task: TaskId);

    /// What the workers have done so far.
    fn workers(&self) -> Vec<WorkerStats>;

    /// How many bytes of a call travel without a detour, and the most that one argument may have.
    fn sizes(&self) -> (usize, usize);
}

/// What one worker of a pool has done, all processes that have sat on its seat together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// The process id of the present process, 0 if there is none.
    pub pid: i32,
    /// Tasks finished. A task of [`Pool::map`](crate::Pool::map) is a chunk of items.
    pub tasks: u64,
    /// Time spent in them.
    pub busy: Duration,
    /// How often the process was replaced.
    pub restarts: u64,
    /// How many of the deaths interrupted a task.
    pub interrupted: u64,
}

static_assertions::assert_impl_all!(WorkerStats: Send, Sync);
