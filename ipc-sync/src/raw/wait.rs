//! [`Wait`]: a wait for what a process owns, which may die.

use core::mem::replace;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::identity::ProcessId;
use ipc_core::primitive::futex::{Entry, Wake, Word};
use ipc_core::primitive::{AtomicU64, Ordering};

use super::gate::Gate;
use super::mutex::Refused;
use super::patience::{Looks, spin_until};
use super::until::Until;

/// The wait of one call: what it does in the turn after it has read an [owner word](super::owner) that is another's.
#[derive(Debug)]
pub(crate) struct Wait {
    until: Until,
    looks: Looks,
    must_look: bool,
    interrupted: bool,
    is_last: bool,
}

/// What to do about an owner, in this order; else [`sleep`](Wait::sleep).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Ask the kernel whether the owner lives.
    pub(crate) asks: bool,
    /// Give up, for [this reason](Wait::refused). Nobody gives up on a dead owner without having asked.
    pub(crate) ends: bool,
}

impl Wait {
    pub(crate) const fn new(until: Until) -> Self {
        Self { until, looks: Looks::new(), must_look: false, interrupted: false, is_last: false }
    }

    /// Whether it is over, because of its time or by a signal.
    pub(crate) fn is_over(&self) -> bool {
        self.interrupted || self.until.has_passed()
    }

    pub(crate) const fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether to ask the kernel in this turn who lives. Whoever gives up, because it `is_over`, asks before.
    pub(crate) fn asks(&mut self, is_over: bool) -> bool {
        let is_due = self.looks.is_due();
        replace(&mut self.must_look, false) || is_over || is_due
    }

    /// What was asked may be otherwise by now: ask in the next turn, too.
    pub(crate) const fn ask_again(&mut self) {
        self.must_look = true;
    }

    /// `None`: the word is to be read once more. The time is over, and what came in time counts, however late this
    /// thread is.
    pub(crate) fn turn(&mut self) -> Option<Turn> {
        let ends = self.is_over();
        if ends && self.may_sleep() && !replace(&mut self.is_last, true) {
            return None;
        }
        Some(Turn { asks: self.asks(ends), ends })
    }

    /// Whether a wait that has ended may have slept before, and so may have been woken in the last moment.
    pub(crate) fn may_sleep(&self) -> bool {
        self.until.deadline().is_some()
    }

    pub(crate) fn refused(&self) -> Refused {
        match self.until {
            Until::Now => Refused::WouldBlock,
            _ if self.interrupted => Refused::Os(Errno::INTR),
            _ => Refused::TimedOut,
        }
    }

    /// Spins or sleeps until `word`, which names `owner`, is not `seen` any more, or somebody wakes a sleeper of
    /// `gate`, or it is time for another turn. Whether this thread has taken a wake-up.
    pub(crate) fn sleep(
        &mut self,
        gate: &Gate,
        word: &AtomicU64,
        seen: u64,
        owner: ProcessId,
    ) -> Result<bool, Refused> {
        if spin_until(|| word.load(Ordering::Relaxed) != seen) {
            return Ok(false);
        }
        let state = Entry::new(Word::Low(word), seen as u32);
        let slice = self.slice();
        let wake = gate.park(state, Some(owner), slice, self.until.is_interruptible());
        self.slept(wake).map_err(Refused::Os)
    }

    /// Until when to sleep: the next time to ask, or the end.
    pub(crate) fn slice(&mut self) -> Deadline {
        self.looks.sleep_until(self.until.deadline())
    }

    /// What ended a sleep, for the next turn. Whether this thread has taken a wake-up.
    pub(crate) fn slept(&mut self, wake: ipc_core::Result<Wake>) -> ipc_core::Result<bool> {
        match wake? {
            Wake::Woken => {
                self.looks.hasten();
                return Ok(true);
            }
            Wake::Changed => {}
            Wake::Interrupted => self.interrupted = self.until.is_interruptible(),
            Wake::TimedOut => self.must_look = true,
        }
        Ok(false)
    }
}
