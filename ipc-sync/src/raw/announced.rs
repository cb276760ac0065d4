//! Announced sleepers: what an event count and a condition variable are made of.
//!
//! A [number and a gate](super::gated) in one word. Whoever may go to sleep says so first, *announces* it, then looks
//! once more whether there is a reason to, and then sleeps for as long as its announcement stands. Whoever notifies while
//! nobody has announced anything does nothing: one load.
//!
//! | word | who | to | how |
//! |---|---|---|---|
//! | gate "none" | who announces | gate 0, number + 1: the *key* of everybody who announces until the next step | compare-exchange |
//! | gate 0 | who announces | the same word, whose number is the key | compare-exchange |
//! | gate "none" | who notifies | – | a load |
//! | gate 0 | who notifies *n* | number + 1, and *n* sleepers awake | one operation of the kernel |
//! | gate 0, and too few were asleep | the same, in a second step | gate "none", and everybody awake | one operation of the kernel |
//! | gate 0 | who wakes all, and leaves the gate | number + 1, and everybody awake | one operation of the kernel |
//!
//! An announcement stands while the gate is 0 and the number is its key, which the kernel compares as the thread falls asleep. So each
//! way to revoke it is seen: a notification moves the number, and "none" differs from 0 until somebody announces anew,
//! which moves the number as well. (If it did not, an announcement could be revoked by the second step of an earlier
//! notification, a notification be left out, and the announcement stand again by somebody else's.) Only if all of that
//! happens 2^32 times between an announcement and its sleep does it stand again.
//!
//! # What a death leaves behind
//!
//! | killed | leaves | seen by |
//! |---|---|---|
//! | having announced, or asleep | a gate at 0 | the next who notifies: one or two futile system calls |
//! | in a notification, before its step | nothing: nobody was notified | – |
//! | in a notification, after its step | the number moved, and as many awake | them |
//! | in a notification, between its two steps | a gate at 0 | the next who notifies |
//! | woken, before it returns | its wake-up is spent | the kernel wakes the next by the baton; without it a sleeper finds at a slice's end that the number has moved |
//!
//! The protocol of announcing, looking and sleeping is Dmitry Vyukov's eventcount; that the word and its wake-up change
//! in one step, and what a key is, are this project's own.

use core::mem::replace;

use ipc_core::Errno;
use ipc_core::primitive::futex::Wake;
use ipc_core::primitive::{Ordering, fence, fence_after_rmw};

use crate::WaitError;

use super::gated::{Baton, GATE, Gated, NONE, number, with_number};
use super::patience::{Looks, spin_until};
use super::until::Until;

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Announced(Gated);

/// How often the word may change under an announcement before the caller looks at the clock again. Each time it was somebody
/// else's announcement or notification, so among those who keep the protocol it is over sooner; but whoever shares the
/// memory and cannot be trusted may write to it without end.
const ATTEMPTS: usize = 100;

/// How a wait ended, if not by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The announcement was revoked, by a notification as a rule.
    Notified,
    /// A slice is over, and nothing has happened. Time to look at what no notification would tell of.
    Slice,
}

/// How thorough an attempt of a wait is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// One of many in a row: it looks at memory, and at as little of that as may be.
    Spin,
    /// Before a sleep, and after a wake-up.
    Try,
    /// A slice is over, or the wait: it looks also at what no notification tells of, say whether a process lives.
    Ask,
}

/// A wait that goes on until its caller has what it wants: the slices, and the baton that covers all of it.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    announced: &'a Announced,
    until: Until,
    looks: Looks,
    baton: Baton<'a>,
    /// A slice has come to its end, whatever else has happened.
    slice_is_over: bool,
}

impl Announced {
    ipc_core::const_unless_loom! {
        pub(crate) fn new() -> Self {
            Self(Gated::new(0))
        }
    }

    /// Says that this thread may sleep; the key of the announcement. What the caller looks at next is either up to date,
    /// or whoever changes it sees the announcement.
    #[inline]
    pub(crate) fn announce(&self) -> u32 {
        // SYNC: announced or seen (the fence in `notify_unordered`).
        self.announce_by(fence_after_rmw)
    }

    /// As [`announce`](Self::announce), where `order` has to see to it that an announcement comes before the look
    /// that follows. Right after it comes an operation that reads, modifies and writes.
    #[inline]
    pub(crate) fn announce_by(&self, order: impl Fn()) -> u32 {
        loop {
            if let Some(key) = self.try_announce_by(&order) {
                return key;
            }
        }
    }

    /// As [`announce_by`](Self::announce_by), but `None` if somebody was faster [again and again](ATTEMPTS).
    #[inline]
    pub(crate) fn try_announce_by(&self, order: impl FnOnce()) -> Option<u32> {
        let mut word = self.0.word().load(Ordering::Relaxed);
        for _ in 0..ATTEMPTS {
            let is_first = word & GATE != 0;
            let key = number(word).wrapping_add(is_first.into());
            // Written even if it stays the same: whoever notifies must not have read an older one.
            match self.0.exchange(word, with_number(word & !GATE, key), Ordering::Relaxed) {
                Ok(()) => {
                    order();
                    return Some(key);
                }
                Err(now) => word = now,
            }
        }
        None
    }

    /// Wakes up to `count` of those who have announced a sleep, and revokes what others have announced and not begun.
    ///
    /// For changes under a lock under which others look and announce: it orders one before the other.
    #[inline]
    pub(crate) fn notify_ordered(&self, count: u32) {
        if self.is_announced() {
            self.notify_contended(count);
        }
    }

    /// Whether somebody has announced a sleep, as far as this thread has heard.
    #[inline(always)]
    pub(crate) fn is_announced(&self) -> bool {
        self.0.word().load(Ordering::Relaxed) & NONE == 0
    }

    /// As [`notify_ordered`](Self::notify_ordered), for changes of any kind.
    #[inline]
    pub(crate) fn notify_unordered(&self, count: u32) {
        // SYNC: announced or seen. Either this sees the announcement; or whoever makes it sees, when it looks once
        // more, what was done before (the fence in `announce`).
        fence(Ordering::SeqCst);
        self.notify_ordered(count);
    }

    /// Wakes all who have announced a sleep, in one step, which leaves the gate at 0: whoever notifies next looks once more.
    #[inline]
    pub(crate) fn wake_unordered(&self) {
        // SYNC: announced or seen, as in `notify_unordered`.
        fence(Ordering::SeqCst);
        if self.is_announced() {
            self.0.add_and_wake_all();
        }
    }

    #[cold]
    fn notify_contended(&self, count: u32) {
        if count > 0 {
            self.0.add_by_kernel(1, count);
        }
    }

    /// The newest number, and not only one that was there once.
    #[cfg(loom)]
    pub(crate) fn number_now(&self) -> u32 {
        self.0.number_now()
    }

    fn stands(&self, key: u32) -> bool {
        let word = self.0.word().load(Ordering::Relaxed);
        word & GATE == 0 && number(word) == key
    }

    /// Repeats `attempt`, which has failed just now, until it succeeds; announced and asleep in between.
    ///
    /// Whatever ends a sleep, the next thing is an attempt; so neither a wake-up nor what came in time is ever taken
    /// for nothing. `order` as for [`announce_by`](Self::announce_by).
    #[cold]
    pub(crate) fn wait_for<R>(
        &self,
        until: Until,
        order: impl Fn(),
        mut attempt: impl FnMut(Look) -> Option<R>,
    ) -> Result<R, WaitError> {
        let mut waiting = Waiting::new(self, until, Looks::new());
        let mut failed = until.has_passed().then_some(WaitError::TimedOut);
        let mut look = if failed.is_some() { Look::Ask } else { Look::Try };
        loop {
            if let Some(result) = attempt(look) {
                return Ok(result);
            }
            if let Some(error) = failed {
                return Err(error);
            }
            // Who does not announce that he sleeps costs nobody a system call.
            let mut early = None;
            spin_until(|| {
                early = attempt(Look::Spin);
                early.is_some()
            });
            if let Some(result) = early {
                return Ok(result);
            }
            let key = self.try_announce_by(&order);
            if let Some(result) = attempt(Look::Try) {
                return Ok(result);
            }
            failed = match key.map(|key| waiting.wait(key)) {
                Some(Err(error)) => Some(error),
                // Notified again and again in vain, or kept from sleeping at all, nobody waits beyond his time.
                Some(Ok(_)) | None => until.has_passed().then_some(WaitError::TimedOut),
            };
            let asks = failed.is_some() || replace(&mut waiting.slice_is_over, false);
            look = if asks { Look::Ask } else { Look::Try };
        }
    }
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(announced: &'a Announced, until: Until, looks: Looks) -> Self {
        Self { announced, until, looks, baton: Baton::of(&announced.0), slice_is_over: false }
    }

    /// Sleeps while the announcement of `key` stands, for at most one slice.
    ///
    /// # Errors
    ///
    /// [`WaitError`]; then the announcement still stood when the time was over, or when the signal came.
    pub(crate) fn wait(&mut self, key: u32) -> Result<Ended, WaitError> {
        let is_revoked = || !self.announced.stands(key);
        loop {
            // In this order: what came in time counts, however late this thread is.
            let passed = self.until.has_passed();
            if is_revoked() {
                return Ok(Ended::Notified);
            }
            if passed {
                return Err(WaitError::TimedOut);
            }
            // A slice may also end while this thread does something else.
            self.slice_is_over |= self.looks.is_due();
            self.baton.arm();
            let slice = self.looks.sleep_until(self.until.deadline());
            let wake = self.announced.0.sleep(key, slice, self.until)?;
            self.slice_is_over |= wake == Wake::TimedOut;
            match wake {
                Wake::Interrupted if self.until.is_interruptible() && !is_revoked() => {
                    return Err(WaitError::Os(Errno::INTR));
                }
                // Unless it is the end.
                Wake::TimedOut if !is_revoked() && !self.until.has_passed() => {
                    return Ok(Ended::Slice);
                }
                _ => {}
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::time::Duration;

    use ipc_core::clock::Deadline;

    use super::*;

    /// Revoked each time before its sleep, a wait ends all the same.
    #[test]
    fn who_is_notified_for_nothing_again_and_again_waits_no_longer() {
        let announced = Announced::new();
        let deadline = Deadline::after(Duration::from_millis(20));
        let (mut attempts, late) = (0, deadline.plus(Duration::from_secs(5)));
        let waited = announced.wait_for(
            Until::Deadline(deadline),
            || (),
            |_| {
                attempts += 1;
                assert!(!late.has_passed(), "attempt number {attempts}");
                announced.notify_unordered(1);
                None::<()>
            },
        );
        assert_eq!(waited, Err(WaitError::TimedOut));
        assert!(deadline.has_passed() && attempts > 10, "{attempts} attempts");
    }
}
