//! The backend of this machine: tasks in shared memory, workers as processes, a supervisor over them.
//!
//! The [`Table`] is what the workers see. The [`Desk`] is the application's own book of it: which task is in
//! which slot, and what has come out. Its lock is private to the application, and nobody sleeps holding it.

mod desk;
mod supervisor;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, pidfd_send_signal};

use crate::backend::{Backend, Outcome, Room, TaskId, WorkerStats};
use crate::error::{PoolError, TaskError};
use crate::home::Home;
use crate::slot::State;
use crate::table::{Counter, Shape, Table};
use crate::worker::SLICE;

use desk::Desk;
pub(crate) use supervisor::Supervisor;

/// What the threads of the application share.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    home: Home,
    table: Table,
    desk: Mutex<Desk>,
    seats: Box<[Seat]>,
    /// An eventfd: workers and threads of the application call the supervisor by it.
    signal: OwnedFd,
    /// No more tasks are taken.
    closed: AtomicBool,
    /// The supervisor is to end the workers now.
    terminated: AtomicBool,
    /// No worker lives and none can be started.
    broken: AtomicBool,
    retries: u32,
    limit: usize,
}

/// What is known of a seat outside of shared memory.
#[derive(Debug, Default)]
struct Seat {
    /// The present process, by a descriptor of its own.
    process: Mutex<Option<(Pid, OwnedFd)>>,
    restarts: AtomicU64,
    interrupted: AtomicU64,
}

impl SharedMemory {
    pub(crate) fn new(shape: Shape, retries: u32, limit: usize) -> Result<Self, PoolError> {
        let table = Table::create(shape)?;
        Ok(Self {
            home: Home::here(),
            desk: Mutex::new(Desk::new(table.slots())),
            seats: (0..table.workers()).map(|_| Seat::default()).collect(),
            signal: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            closed: AtomicBool::new(false),
            terminated: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            table,
            retries,
            limit,
        })
    }

    /// Whether this is the process that made the pool. In any other one, the application's side of it is a copy
    /// that must not be acted upon, nor its locks be taken.
    pub(crate) fn is_home(&self) -> bool {
        self.home.is_here()
    }

    /// Takes no more tasks; the workers end when none is left.
    pub(crate) fn close(&self) {
        if !self.is_home() {
            return;
        }
        self.closed.store(true, Ordering::Release);
        self.table.stop();
        self.call_supervisor();
        self.table.pool_bell().ring_after_store();
    }

    /// Ends the workers, whatever they do.
    pub(crate) fn terminate(&self) {
        if !self.is_home() {
            return;
        }
        self.closed.store(true, Ordering::Release);
        self.terminated.store(true, Ordering::Release);
        self.call_supervisor();
    }

    /// Kills the process on a seat.
    pub(crate) fn kill(&self, seat: usize) -> Result<(), Errno> {
        if !self.is_home() {
            return Err(Errno::PERM);
        }
        let seat = self.seats.get(seat).ok_or(Errno::SRCH)?;
        match &*lock(&seat.process) {
            Some((_, pidfd)) => pidfd_send_signal(pidfd, Signal::KILL),
            None => Err(Errno::SRCH),
        }
    }

    pub(crate) fn call_supervisor(&self) {
        // A counter that is full wakes the supervisor as well.
        let _ = rustix::io::write(&self.signal, &1_u64.to_ne_bytes());
    }

    /// Whether the supervisor has taken every call.
    #[cfg(test)]
    pub(crate) fn is_heard(&self) -> bool {
        let mut fds = [rustix::event::PollFd::new(&self.signal, rustix::event::PollFlags::IN)];
        ipc_core::os::Until::from(Deadline::now()).poll(&mut fds) == Ok(false)
    }

    /// After a change to what is queued: in a closed pool it decides whether seats are filled, and when to end.
    fn call_supervisor_if_closed(&self) {
        if self.closed.load(Ordering::Acquire) {
            self.call_supervisor();
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }
}

/// A panic while a lock of the application was held has left single fields behind, each valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend for SharedMemory {
    fn reserve(&self) -> Result<Room, PoolError> {
        if !self.is_home() {
            return Err(PoolError::ForeignProcess);
        }
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(PoolError::Closed);
            }
            if self.broken.load(Ordering::Acquire) {
                return Err(PoolError::Broken);
            }
            if let Some(slot) = self.desk().room(&self.table) {
                return Ok(Room(slot));
            }
            let any_over =
                || (0..self.table.slots()).any(|slot| self.table.slot(slot).load().is_over());
            let until = Deadline::after(SLICE);
            self.table.pool_bell().wait(until, any_over).map_err(PoolError::Os)?;
        }
    }

    fn commit(&self, Room(slot): Room, call: Vec<u8>) -> TaskId {
        let task = self.desk().commit(&self.table, slot, call);
        self.table.rouse_one();
        self.call_supervisor_if_closed();
        task
    }

    fn poll(&self, task: TaskId, until: Deadline) -> Option<Outcome> {
        const SPINS: u32 = 200;
        if !self.is_home() {
            return Some(Err(TaskError::ForeignProcess));
        }
        loop {
            let (slot, seen) = match self.desk().take(&self.table, task) {
                desk::Taken::Outcome(outcome) => return Some(outcome),
                desk::Taken::Waiting(slot, seen) => (slot, seen),
            };
            if until.has_passed() {
                return None;
            }
            let moved = || {
                let now = self.table.slot(slot).load();
                now.generation() != seen.generation()
                    || !(now.is_claimed() || now.state() == State::Queued)
            };
            if (0..SPINS).any(|_| {
                core::hint::spin_loop();
                moved()
            }) {
                continue;
            }
            // The only error is that of a word in no mapping.
            let _ = self.table.slot_bell(slot).wait(until.min(Deadline::after(SLICE)), moved);
        }
    }

    fn cancel(&self, task: TaskId) {
        if !self.is_home() {
            return;
        }
        self.desk().cancel(&self.table, task);
        // There may be room now.
        self.table.pool_bell().ring_after_store();
        self.call_supervisor_if_closed();
    }

    fn workers(&self) -> Vec<WorkerStats> {
        if !self.is_home() {
            return Vec::new();
        }
        let count = |seat, counter| self.table.counter(seat, counter).load(Ordering::Relaxed);
        let of = |(index, seat): (usize, &Seat)| WorkerStats {
            pid: lock(&seat.process).as_ref().map_or(0, |(pid, _)| pid.as_raw_nonzero().get()),
            tasks: count(index, Counter::Tasks),
            busy: Duration::from_nanos(count(index, Counter::Busy)),
            restarts: seat.restarts.load(Ordering::Relaxed),
            interrupted: seat.interrupted.load(Ordering::Relaxed),
        };
        self.seats.iter().enumerate().map(of).collect()
    }

    fn sizes(&self) -> (usize, usize) {
        ((self.table.shape().payload as usize - crate::table::AREA_HEADER) * 8, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    /// A pool whose workers never come.
    fn without_workers() -> Arc<SharedMemory> {
        let shape = Shape { workers: 2, slots: 1, payload: 64, window: 64 };
        Arc::new(SharedMemory::new(shape, 0, 1000).unwrap())
    }

    /// As `poll`, but what takes more than ten seconds has hung.
    fn poll(pool: &Arc<SharedMemory>, task: TaskId, timeout: Duration) -> Option<Outcome> {
        let (pool, (done, over)) = (pool.clone(), mpsc::channel());
        std::thread::spawn(move || done.send(pool.poll(task, Deadline::after(timeout))));
        over.recv_timeout(Duration::from_secs(10)).expect("it hung")
    }

    #[test]
    fn a_word_that_is_none_of_a_task_resolves_it() {
        const RUNNING: u64 = 2;
        let pool = without_workers();
        for bits in [0, 7, 15, RUNNING | 2 << 4, u64::MAX] {
            let room = pool.reserve().unwrap();
            let task = pool.commit(room, vec![1, 2, 3]);
            assert_eq!(pool.poll(task, Deadline::now()), None);
            pool.table.slot(0).overwrite(bits);
            let outcome = poll(&pool, task, Duration::from_secs(60));
            assert_eq!(outcome, Some(Err(TaskError::Damaged)), "{bits:#x}");
        }
        let room = pool.reserve().unwrap();
        let task = pool.commit(room, vec![1, 2, 3]);
        assert_eq!(poll(&pool, task, Duration::from_millis(5)), None);
    }
}
