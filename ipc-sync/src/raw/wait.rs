//! [`Wait`]: a wait for what a process owns, which may die.

use core::mem::replace;

use ipc_core::Errno;
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

    /// `None`: the word is to be read once more. The time is over, and what came in time counts, however late this
    /// thread is.
    pub(crate) fn turn(&mut self) -> Option<Turn> {
        let (ends, due) = (self.interrupted || self.until.has_passed(), self.looks.is_due());
        if ends && self.until.deadline().is_some() && !replace(&mut self.is_last, true) {
            return None;
        }
        let asks = replace(&mut self.must_look, false) || ends || due;
        Some(Turn { asks, ends })
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
        let slice = self.looks.sleep_until(self.until.deadline());
        match gate.park(state, Some(owner), slice, self.until.is_interruptible()) {
            Ok(Wake::Woken) => {
                self.looks.hasten();
                return Ok(true);
            }
            Ok(Wake::Changed) => {}
            Ok(Wake::Interrupted) => self.interrupted = self.until.is_interruptible(),
            Ok(Wake::TimedOut) => self.must_look = true,
            Err(errno) => return Err(Refused::Os(errno)),
        }
        Ok(false)
    }
}
