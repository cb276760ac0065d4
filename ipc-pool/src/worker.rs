//! A worker process: takes tasks from the table and runs them, until it is told to stop or killed.
//!
//! It holds no lock at any moment. What it leaves when it is killed is in the head of [`crate::slot`].

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::time::Instant;

use ipc_core::clock::Deadline;
use ipc_core::process::Start;
use rustix::fd::OwnedFd;

use crate::call;
use crate::error::WorkerError;
use crate::slot::{self, Owner, Seen, State};
use crate::table::{Counter, Shape, Table};

/// A sleep without news ends after this, whatever was lost.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// How often a worker looks for a task before it sleeps: a few microseconds, less than a sleep costs.
const LOOKS: u32 = 20;

/// The seat of this process, plus one; 0 in a process that is no worker.
static SEAT: AtomicUsize = AtomicUsize::new(0);

/// The number of the worker that this process is, from 0 on; `None` in a process that is no worker of a pool.
///
/// A replaced worker keeps the number. It is the index into [`Pool::stats`](crate::Pool::stats).
///
/// # Examples
///
/// ```
/// let pool = ipc_pool::Pool::new(1)?;
/// assert_eq!(pool.submit(|()| ipc_pool::current_worker(), ())?.wait()?, Some(0));
/// assert_eq!(ipc_pool::current_worker(), None);
/// # Ok::<(), ipc_pool::Error>(())
/// ```
#[must_use]
pub fn current_worker() -> Option<usize> {
    SEAT.load(Ordering::Relaxed).checked_sub(1)
}

/// What a worker is told at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) shape: Shape,
    pub(crate) seat: u32,
    pub(crate) incarnation: u16,
    /// The most bytes that one result may have.
    pub(crate) limit: u64,
}

impl Orders {
    pub(crate) const LEN: usize = 4 * 4 + 4 + 2 + 8;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = self.shape.to_words().into_iter().flat_map(u32::to_le_bytes);
        let rest = self.seat.to_le_bytes().into_iter().chain(self.incarnation.to_le_bytes());
        let all = words.chain(rest).chain(self.limit.to_le_bytes());
        bytes.iter_mut().zip(all).for_each(|(to, byte)| *to = byte);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.split_first_chunk::<16>()?;
        let (seat, rest) = rest.split_first_chunk()?;
        let (incarnation, limit) = rest.split_first_chunk()?;
        let word =
            |index: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| words[index * 4 + byte]));
        Some(Self {
            shape: Shape::from_words([word(0), word(1), word(2), word(3)]),
            seat: u32::from_le_bytes(*seat),
            incarnation: u16::from_le_bytes(*incarnation),
            limit: u64::from_le_bytes(limit.try_into().ok()?),
        })
    }
}

/// The first code of ours in a worker process; its result is the exit code.
pub(crate) fn main(start: Start) -> i32 {
    match Worker::new(start).and_then(|mut worker| worker.run()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("ipc-pool: worker {} ends: {error}", std::process::id());
            1
        }
    }
}

struct Worker {
    table: Table,
    seat: usize,
    me: Owner,
    limit: usize,
    /// Calls the supervisor.
    signal: OwnedFd,
    /// Where the next look for a task begins.
    next: usize,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// The slot is no longer the worker's, or the application has nothing to hand over. Nobody takes a task from a
/// living worker, so something else has written to the memory.
struct Damaged;

impl From<Damaged> for WorkerError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl Worker {
    fn new(start: Start) -> Result<Self, WorkerError> {
        let orders = Orders::from_bytes(&start.bytes).ok_or(WorkerError::Parcel)?;
        start.parent.exit_with_parent().map_err(WorkerError::Watch)?;
        let mut fds = start.fds;
        let (Some(region), Some(signal)) = (fds.next(), fds.next()) else {
            return Err(WorkerError::Parcel);
        };
        let table = Table::attach(region, orders.shape)?;
        let seat = orders.seat as usize;
        SEAT.store(seat + 1, Ordering::Relaxed);
        Ok(Self {
            me: Owner::new(seat, orders.incarnation),
            next: seat * table.slots() / table.workers(),
            seat,
            limit: usize::try_from(orders.limit).unwrap_or(usize::MAX),
            signal,
            table,
            input: Vec::new(),
            output: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<(), WorkerError> {
        // Zeros, or the last sleep of a worker that was killed: neither is this one's.
        self.table.idle_bell(self.seat).leave();
        loop {
            if let Some((slot, mine)) = self.claim() {
                self.serve(slot, mine)?;
            } else if self.table.is_stopped() {
                return Ok(());
            } else {
                self.idle()?;
            }
        }
    }

    fn claim(&mut self) -> Option<(usize, Seen)> {
        let table = &self.table;
        let found = slot::claim(|index| table.slot(index), table.slots(), self.next, self.me)?;
        self.next = found.0 + 1;
        // This process alone writes its counters.
        let claims = table.counter(self.seat, Counter::Claims);
        claims.store(claims.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(found)
    }

    fn idle(&mut self) -> Result<(), Damaged> {
        let bell = self.table.idle_bell(self.seat);
        let news = || self.table.has_queued() || self.table.is_stopped();
        for _ in 0..LOOKS {
            if news() {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        // The only error is that of a word in no mapping.
        let _ = bell.wait(Deadline::after(SLICE), news);
        bell.leave();
        if let Some((slot, mine)) = self.claim() {
            // Whoever rang may have meant another task than this one: pass the ring on.
            if self.table.has_queued() {
                self.table.rouse_one();
            }
            self.serve(slot, mine)?;
        }
        Ok(())
    }

    fn serve(&mut self, slot: usize, mine: Seen) -> Result<(), Damaged> {
        let began = Instant::now();
        let (mut input, mut output) =
            (core::mem::take(&mut self.input), core::mem::take(&mut self.output));
        input.clear();
        output.clear();
        let mine = self.receive(slot, mine, &mut input)?;
        let state = self.perform(&input, &mut output);
        self.send(slot, mine, state, &output)?;
        self.count(began.elapsed());
        self.table.slot_bell(slot).ring();
        self.table.pool_bell().ring();
        // Room for values as large as this one, for the next: and one of a gigabyte is not kept for ever.
        const KEEP: usize = 1 << 20;
        input.shrink_to(KEEP);
        output.shrink_to(KEEP);
        (self.input, self.output) = (input, output);
        Ok(())
    }

    fn count(&self, busy: Duration) {
        let (tasks, nanos) = (
            self.table.counter(self.seat, Counter::Tasks),
            self.table.counter(self.seat, Counter::Busy),
        );
        tasks.store(tasks.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let busy = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        nanos.store(nanos.load(Ordering::Relaxed).saturating_add(busy), Ordering::Relaxed);
    }

    /// Runs the call; what the result area will hold.
    fn perform(&self, input: &[u8], output: &mut Vec<u8>) -> State {
        match call::make(input, output, self.limit) {
            Ok(()) => State::Done,
            Err(failure) => {
                call::put_failure(&failure, output);
                State::Failed
            }
        }
    }

    /// Reads the argument, which the application hands over in parts when it is larger than its area.
    fn receive(&self, slot: usize, mut mine: Seen, input: &mut Vec<u8>) -> Result<Seen, Damaged> {
        let area = self.table.argument(slot);
        area.take(input);
        while input.len() < area.total() {
            mine = self.hand_over(slot, mine, State::More)?;
            let before = input.len();
            self.table.window(self.seat).take(input);
            if input.len() == before {
                return Err(Damaged);
            }
        }
        Ok(mine)
    }

    /// Writes the result, through the window in parts when it is larger than its area.
    fn send(&self, slot: usize, mut mine: Seen, end: State, output: &[u8]) -> Result<(), Damaged> {
        let area = self.table.result(slot);
        if area.put(output) < output.len() {
            let window = self.table.window(self.seat);
            for part in output.chunks(window.capacity()) {
                window.put(part);
                mine = self.hand_over(slot, mine, State::Part)?;
            }
        }
        self.table.slot(slot).turn(mine, end).map(drop).ok_or(Damaged)
    }

    /// Gives the window to the application and waits until it comes back.
    fn hand_over(&self, slot: usize, mine: Seen, why: State) -> Result<Seen, Damaged> {
        let word = self.table.slot(slot);
        let asked = word.turn(mine, why).ok_or(Damaged)?;
        // A full counter means that the supervisor has calls enough to wake for.
        let _ = rustix::io::write(&self.signal, &1_u64.to_ne_bytes());
        let bell = self.table.window_bell(self.seat);
        loop {
            let seen = word.load();
            if seen != asked {
                bell.leave();
                let back = seen.state() == State::Running
                    && (seen.generation(), seen.owner()) == (asked.generation(), asked.owner());
                return if back { Ok(seen) } else { Err(Damaged) };
            }
            // As in `idle`.
            let _ = bell.wait(Deadline::after(SLICE), || word.load() != asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_as_they_were_given() {
        let shape = Shape { workers: 1, slots: u32::MAX, payload: 3, window: 1 << 20 };
        let orders = Orders { shape, seat: 4000, incarnation: u16::MAX, limit: u64::MAX - 1 };
        let bytes = orders.to_bytes();
        assert_eq!(Orders::from_bytes(&bytes), Some(orders));
        assert_eq!(Orders::from_bytes(&bytes[1..]), None);
    }
}
