//! [`Pool`] and [`Builder`].

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;
use std::thread::JoinHandle;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::os::sleep_until;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Backend, WorkerStats};
use crate::call;
use crate::error::{Error, PoolError, Result};
use crate::map;
use crate::nursery::Nursery;
use crate::shared::{SharedMemory, Supervisor};
use crate::slot::MAX_SEATS;
use crate::table::{AREA_HEADER, Shape};
use crate::ticket::Ticket;

/// Worker processes that run functions for this one.
///
/// A worker may be killed at any instruction, by anybody: the task that it was running resolves as
/// [`WorkerDied`](crate::TaskError::WorkerDied), or is run again when [`Builder::retries`] says so; every other
/// task is untouched; and the worker is replaced.
///
/// # Functions and values
///
/// A task is a `fn(A) -> R` and an argument: a function, or a closure that captures nothing. What it needs
/// travels in its argument. A closure that captures is refused by the compiler:
///
/// ```compile_fail,E0308
/// let pool = ipc_pool::Pool::new(1).unwrap();
/// let factor = 3;
/// pool.map(|x: u64| x * factor, 0..10);
/// ```
///
/// Arguments and results are serde values that own their data (`String`, not `&str`), in
/// [postcard](https://docs.rs/postcard)'s form. That form does not describe itself, so what asks its bytes what
/// they are is an `Encode` or `Decode` error: `untagged` and internally tagged enums, `flatten`, and whatever calls
/// `deserialize_any`, such as a JSON value. With `skip_serializing_if` a value is misread. Handles do not travel to
/// workers: not connections, and not regions. A value of a type that holds itself may be
/// [`MAX_DEPTH`](ipc_core::parcel::MAX_DEPTH) levels deep. A value that does not fit into the slot of its task travels in parts,
/// so there is no limit but [`Builder::limit`].
///
/// # Programs with threads
///
/// Workers come from a helper process. In a process with threads it is this program, executed again, which turns
/// aside before its `main`: the feature `pre-main` (default) sees to that. Without it, call [`init`](crate::init)
/// first in `main`; otherwise [`Builder::build`] says [`NoDiversion`](crate::ZygoteError::NoDiversion). So it does
/// in a shared library, where neither works: there a pool is made while the process has one thread.
///
/// # Statics
///
/// Workers are copies of a helper process, not of this one as it is now: a `static` has there the value that
/// it had when the helper was made, or its first.
///
/// # The end
///
/// Dropping the pool kills the workers, waits for them, and resolves what is left as
/// [`Cancelled`](crate::TaskError::Cancelled), as leaving Python's `with` block does. [`join`](Self::join) finishes
/// everything first. If this process ends in any other way, SIGKILL included, the workers end as well.
///
/// # Threads
///
/// A pool owns one thread in this process, its supervisor. All methods may be called from any thread.
///
/// # Forks
///
/// A pool belongs to the process that made it. In a forked copy of that process its methods say
/// [`PoolError::ForeignProcess`], its tickets [`TaskError::ForeignProcess`](crate::TaskError::ForeignProcess), and
/// what cannot say anything, such as dropping them, does nothing.
///
/// # Examples
///
/// ```
/// use ipc_pool::Pool;
///
/// fn main() -> ipc_pool::Result<()> {
///     let pool = Pool::new(2)?;
///     assert_eq!(pool.map(|x: u64| x * x, 0..10)?, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
///     assert_eq!(pool.submit(|x: u64| x * x, 20)?.wait()?, 400);
///     Ok(())
/// }
/// ```
pub struct Pool {
    shared: Arc<SharedMemory>,
    backend: Arc<dyn Backend>,
    workers: usize,
    supervisor: Option<JoinHandle<()>>,
}

static_assertions::assert_impl_all!(Pool: Send, Sync);

impl Pool {
    /// A pool of `workers` processes, and otherwise as [`Builder::new`] has it.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Builder::new().workers(workers).build()
    }

    /// A pool that is to be described.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Calls `f` on every item in the workers; the results, in the order of the items.
    ///
    /// Items are sent in chunks, and a chunk is one task: it is run again as a whole, or fails as a whole.
    ///
    /// # Errors
    ///
    /// The first that a chunk meets, in the order of the items; chunks that have not begun then are not run.
    #[doc(alias = "starmap")]
    pub fn map<A, R>(&self, f: fn(A) -> R, items: impl IntoIterator<Item = A>) -> Result<Vec<R>>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        map::map(&self.backend, self.workers, f, items.into_iter())
    }

    /// Queues the call `f(argument)`.
    ///
    /// Waits while [`Builder::queue`] tasks have not been finished.
    ///
    /// # Errors
    ///
    /// [`PoolError::Closed`], [`PoolError::Broken`] or [`PoolError::ForeignProcess`]; [`PoolError::Encode`] or
    /// [`PoolError::TooLarge`] for the argument; [`PoolError::Function`] for the function.
    #[doc(alias = "apply_async")]
    pub fn submit<A, R>(&self, f: fn(A) -> R, argument: A) -> Result<Ticket<R>, PoolError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let mut bytes = call::of_one(f)?;
        call::append(&argument, &mut bytes).map_err(|e| PoolError::Encode(e.to_string()))?;
        let (size, (_, limit)) = (bytes.len() - call::HEADER, self.backend.sizes());
        if size > limit {
            return Err(PoolError::TooLarge { size, limit });
        }
        let room = self.backend.reserve()?;
        let task = self.backend.commit(room, bytes);
        Ok(Ticket::new(self.backend.clone(), task))
    }

    /// Calls `f(argument)` in a worker and waits for the result.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit) and [`Ticket::wait`].
    #[doc(alias = "apply")]
    pub fn call<A, R>(&self, f: fn(A) -> R, argument: A) -> Result<R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.submit(f, argument)?.wait().map_err(Error::Task)
    }

    /// What each worker has done so far, by its number. Nothing in a forked copy of the process.
    #[must_use]
    pub fn stats(&self) -> Vec<WorkerStats> {
        self.backend.workers()
    }

    /// Kills the process that is worker `number`, with SIGKILL: to see that a program bears it.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such worker, or it is being replaced at this moment; `EPERM` in a forked copy of the
    /// process.
    pub fn kill_worker(&self, number: usize) -> Result<(), Errno> {
        self.shared.kill(number)
    }

    /// Takes no more tasks. Those that were taken are finished, and the workers end after them.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Finishes every task that was taken, and waits for the workers to end. Tickets stay good.
    pub fn join(mut self) {
        self.shared.close();
        self.wait_for_supervisor();
    }

    /// As [`join`](Self::join), but what is not finished within `grace` is cancelled; whether everything was
    /// finished.
    pub fn shutdown(mut self, grace: Duration) -> bool {
        if !self.shared.is_home() {
            return false;
        }
        self.shared.close();
        let until = Deadline::after(grace);
        let ended = || self.supervisor.as_ref().is_none_or(JoinHandle::is_finished);
        while !ended() && !until.has_passed() {
            // The end of a thread can be waited for, but not until a deadline: look in slices.
            sleep_until(until.min(Deadline::after(Duration::from_millis(2))));
        }
        let all = ended();
        self.end();
        all
    }

    /// Kills the workers and cancels what they have not finished: what dropping does, said aloud.
    pub fn terminate(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.terminate();
        self.wait_for_supervisor();
    }

    fn wait_for_supervisor(&mut self) {
        let Some(thread) = self.supervisor.take() else { return };
        if self.shared.is_home() {
            // It catches its own panics, and has said what it had to say.
            let _ = thread.join();
        } else {
            // A fork did not copy it, and nobody here may say anything about it.
            core::mem::forget(thread);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            self.end();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.stats()).finish_non_exhaustive()
    }
}

/// A pool before it is made.
///
/// # Examples
///
/// ```
/// use ipc_pool::Pool;
///
/// let pool = Pool::builder().workers(2).retries(3).build()?;
/// assert_eq!(pool.stats().len(), 2);
/// # Ok::<(), ipc_pool::PoolError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "`build` makes the pool"]
pub struct Builder {
    workers: usize,
    queue: usize,
    retries: u32,
    restart_limit: u32,
    payload: usize,
    window: usize,
    limit: usize,
}

static_assertions::assert_impl_all!(Builder: Send, Sync);

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A worker for each processor that this process may run on, 256 tasks in the queue, no retries; each method
    /// says what else.
    pub fn new() -> Self {
        Self {
            workers: ipc_core::processors() as usize,
            queue: 256,
            retries: 0,
            restart_limit: 16,
            payload: 4096,
            window: 256 << 10,
            limit: 1 << 30,
        }
    }

    /// How many worker processes; by default one for each processor that this process may run on. At most 4096.
    #[doc(alias = "processes")]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many tasks can be queued or running at once, by default 256; [`Pool::submit`] waits while there are as
    /// many.
    pub fn queue(mut self, tasks: usize) -> Self {
        self.queue = tasks;
        self
    }

    /// How often a task is run again because its worker died with it; by default never, since a task may have done
    /// half of its work. A task that panics is never run again.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many workers in a row may die within a second of their start without having taken a task, or
    /// fail to start at all, before the pool counts as broken and no more are started. By default 16.
    pub fn restart_limit(mut self, workers: u32) -> Self {
        self.restart_limit = workers;
        self
    }

    /// Bytes of shared memory for the argument, and again for the result, of each task in the queue; by default
    /// 4096. Larger values work, and travel in parts with the help of the supervisor.
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// Bytes of shared memory for each worker, for the parts of large values; by default 256 KiB.
    pub fn window(mut self, bytes: usize) -> Self {
        self.window = bytes;
        self
    }

    /// The most bytes that one argument or one result may have, in its serialised form, by default 1 GiB: beyond it
    /// lies an error, and not the end of memory.
    ///
    /// Each item of a [`Pool::map`] has the limit to itself, and so has each of its results, though those of a
    /// chunk travel together.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// [`PoolError::NoWorkers`] for zero workers, [`PoolError::TooMany`] for more of anything than there can be,
    /// [`PoolError::Memory`] if the memory cannot be had, [`PoolError::Start`] if a process cannot be
    /// started. Nothing is left behind.
    pub fn build(self) -> Result<Pool, PoolError> {
        let shape = self.shape()?;
        let nursery = Nursery::start()?;
        let shared = Arc::new(SharedMemory::new(shape, self.retries, self.limit)?);
        let supervisor = Supervisor::new(shared.clone(), &nursery, self.restart_limit)?;
        let supervisor = std::thread::Builder::new()
            .name("ipc-pool".into())
            .spawn(move || supervisor.run(&nursery))
            .map_err(|error| PoolError::Os(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))?;
        Ok(Pool {
            backend: shared.clone(),
            shared,
            workers: self.workers,
            supervisor: Some(supervisor),
        })
    }

    fn shape(&self) -> Result<Shape, PoolError> {
        if self.workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        let at_most = |what, asked: usize, most: usize| {
            let too_many = PoolError::TooMany { what, asked, most };
            if asked > most { Err(too_many) } else { Ok(asked as u32) }
        };
        // At least the start of a call, so that a chunk of `map` is never empty.
        let area = |what, bytes: usize, most_words: usize| {
            at_most(what, bytes, 8 * (most_words - AREA_HEADER))?;
            Ok::<_, PoolError>((bytes.max(call::HEADER + 64).div_ceil(8) + AREA_HEADER) as u32)
        };
        Ok(Shape {
            workers: at_most("workers", self.workers, MAX_SEATS)?,
            slots: at_most("tasks in the queue", self.queue.max(1), 1 << 20)?,
            payload: area("bytes of payload", self.payload, 1 << 24)?,
            window: area("bytes of window", self.window, 1 << 27)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody else closes the pool when room has been given to a task, and before it comes.
    #[test]
    fn a_task_that_has_room_when_the_pool_is_closed_is_run() {
        let until = Deadline::after(Duration::from_secs(30));
        let await_that = |what: &str, condition: &dyn Fn() -> bool| {
            while !condition() {
                assert!(!until.has_passed(), "{what} takes too long");
                std::thread::yield_now();
            }
        };
        let pool = Pool::new(2).unwrap();
        let ended = || pool.supervisor.as_ref().is_some_and(JoinHandle::is_finished);
        let room = pool.backend.reserve().unwrap();
        pool.close();
        await_that("the end of idle workers", &|| pool.stats().iter().all(|seat| seat.pid == 0));
        // The supervisor has nothing to do, and must not take that for the end: it comes again.
        for _ in 0..2 {
            pool.shared.call_supervisor();
            await_that("the supervisor", &|| ended() || pool.shared.is_heard());
        }
        assert!(!ended());
        let mut bytes = call::of_one(|x: u64| x + 1).unwrap();
        call::append(&4_u64, &mut bytes).unwrap();
        let task = pool.backend.commit(room, bytes);
        assert_eq!(pool.backend.poll(task, until), Some(Ok(vec![5])));
        await_that("the end of the supervisor", &ended);
    }
}
