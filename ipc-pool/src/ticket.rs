//! [`Ticket`]: the claim to one result.

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::parcel::take_from_bytes;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, Outcome, TaskId};
use crate::error::TaskError;

/// The claim to the result of one task.
///
/// Every ticket resolves, exactly once: with the result, with what went wrong in the task, with the
/// death of its worker, or with the end of the pool. Dropping it says that nobody wants the result: a task
/// that has not begun is not run, one that has is left to finish.
///
/// # In async code
///
/// A ticket is not a future: waiting for it blocks its thread. An executor has threads for that.
///
/// ```
/// use ipc_pool::Pool;
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = Pool::new(1)?;
///     let ticket = pool.submit(|x: u64| x * x, 20)?; // This waits as well, while the queue is full.
///     let square = tokio::task::spawn_blocking(move || ticket.wait()).await??;
///     assert_eq!(square, 400);
///     Ok(())
/// }
/// ```
pub struct Ticket<R> {
    backend: Arc<dyn Backend>,
    task: TaskId,
    state: State,
    result: PhantomData<fn() -> R>,
}

static_assertions::assert_impl_all!(Ticket<alloc::rc::Rc<u8>>: Send, Sync);

/// What this process has of the outcome.
#[derive(Debug)]
enum State {
    Waiting,
    /// Seen by [`Ticket::is_done`] and not asked for yet.
    Here(Outcome),
    Taken,
}

impl<R: DeserializeOwned> Ticket<R> {
    pub(crate) fn new(backend: Arc<dyn Backend>, task: TaskId) -> Self {
        Self { backend, task, state: State::Waiting, result: PhantomData }
    }

    /// The result, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// What became of the task instead.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = ipc_pool::Pool::new(1)?;
    /// let length = pool.submit(|text: String| text.len(), "four".to_owned())?;
    /// assert_eq!(length.wait()?, 4);
    /// # Ok::<(), ipc_pool::Error>(())
    /// ```
    #[doc(alias = "get")]
    pub fn wait(mut self) -> Result<R, TaskError> {
        self.wait_until(Deadline::FAR).unwrap_or(Err(TaskError::Taken))
    }

    /// The result, if it comes within `timeout`.
    ///
    /// # Errors
    ///
    /// [`TaskError::TimedOut`] if there is none by then, and the ticket stays good;
    /// [`TaskError::Taken`] if it has been given before; else what became of the task instead.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<R, TaskError> {
        let until = Deadline::after(timeout);
        self.wait_until(until).unwrap_or(Err(TaskError::TimedOut(timeout)))
    }

    /// The result, if it is there; `None` if it is not there yet.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn try_get(&mut self) -> Option<Result<R, TaskError>> {
        self.wait_until(Deadline::now())
    }

    /// Whether the task is over, in whatever way.
    #[doc(alias = "ready")]
    pub fn is_done(&mut self) -> bool {
        self.look(Deadline::now());
        !matches!(self.state, State::Waiting)
    }

    fn wait_until(&mut self, until: Deadline) -> Option<Result<R, TaskError>> {
        self.look(until);
        match core::mem::replace(&mut self.state, State::Taken) {
            State::Waiting => {
                self.state = State::Waiting;
                None
            }
            State::Here(Ok(bytes)) => Some(read(&bytes)),
            State::Here(Err(error)) => Some(Err(error)),
            State::Taken => Some(Err(TaskError::Taken)),
        }
    }

    fn look(&mut self, until: Deadline) {
        if let State::Waiting = self.state {
            if let Some(outcome) = self.backend.poll(self.task, until) {
                self.state = State::Here(outcome);
            }
        }
    }
}

fn read<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, TaskError> {
    let read = take_from_bytes(bytes).map(|(result, _)| result);
    read.map_err(|error| TaskError::Decode(error.to_string()))
}

impl<R> Drop for Ticket<R> {
    fn drop(&mut self) {
        if let State::Waiting = self.state {
            self.backend.cancel(self.task);
        }
    }
}

impl<R> fmt::Debug for Ticket<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("task", &self.task)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
