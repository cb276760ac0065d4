//! A number and the gate of those who wait for it to change, in one word.
//!
//! ```text
//!  63 ....................................... 32    31     30     29 ...... 0
//! +---------------------------------------------+------+--------+-------------+
//! | number                                      | none | roused | always 0    |
//! +---------------------------------------------+------+--------+-------------+
//!  the high half                                 the low half: the gate
//! ```
//!
//! The low half is a [gate](super::gate): 0 = somebody may be asleep, and so for zeroed memory; "none" = surely
//! nobody is. Here the two lie in one word, so that *a change of the number and the wake-up that it owes are one
//! atomic step*, whoever is killed where:
//!
//! * Surely nobody sleeps: a compare-exchange of the whole word changes the number. It fails if somebody
//!   has announced a sleep meanwhile.
//! * Somebody may, and the number has no bound to speak of ([`add`](Gated::add)): the kernel adds and wakes
//!   ([`futex::add_and_wake`]), with both of its queues locked.
//! * Somebody may, and the change depends on the number ([`change`](Gated::change)): the wake-up comes *first*.
//!
//! # Wake-up first
//!
//! The kernel adds whatever the number is by then: of two who both saw one less than the bound, both would add, and
//! no margin would do, since others may fill it up between the look and the sum of one who is slow. Only a
//! compare-exchange is exact, and only the kernel wakes in the same step. So these are two steps, in the order in
//! which a death between them costs nothing:
//!
//! 1. The kernel sets "roused" in the gate and wakes one, in one step.
//! 2. A compare-exchange changes the number and takes "roused" out. It fails if that is gone already; then all begins anew.
//!
//! *Roused* says: since it was set, nobody has gone to sleep and nobody has given up, and one who slept before has been
//! woken, if there was one. For whoever goes to sleep, and whoever gives up, takes it out, and looks at the number
//! in the same step. So the one who was woken still has his look before him when the number changes, or finds the
//! change as he takes "roused" out: he answers for it. Each change takes a "roused" of its own, hence has a woken one
//! of its own, or nobody sleeps. If he is killed, the kernel wakes another by the baton: who finds the change, or
//! goes to sleep again, and so takes out what must not be relied upon.
//!
//! For a change that is worth several wake-ups "none" takes the place of "roused": everybody is woken.
//!
//! Whoever was woken this way, is faster than the change and finds the gate still roused, does not go to sleep again at
//! once, which would make the other begin anew. First he yields the processor: if he has taken it from his waker, the
//! change is there as he comes back. Then he naps on the number, where nobody is woken, each time for longer. Without that one
//! of high priority would for ever keep his waker, on the same processor, from the second step.
//!
//! # Who needs what
//!
//! Whoever changes the number needs no baton, no identity and no thread-local memory, and may be a signal handler. Only a
//! sleeper arms the baton: it may be killed between its wake-up and what it does with that. It takes the baton back
//! before it returns, and until then borrows the word; so, unlike that of a lock, this gate may be armed wherever
//! it lies.
//!
//! | killed | leaves | seen by |
//! |---|---|---|
//! | changing the number, before the step | nothing | – |
//! | after a wake-up that came first | the number as it was; one looked for nothing, and sleeps again | – |
//! | after the step | the number, and its sleepers awake | them |
//! | adding, after a wake that found too few asleep | a gate at 0 | the next who adds: one futile system call |
//! | before or in the sleep | a gate at 0 | likewise |
//! | woken, before it has taken what it was woken for | its wake is spent | the kernel wakes the next by the baton; without it the sleepers' slices end |
//! | giving up, before "roused" is out | as woken | likewise |
//!
//! The kernel's futex operations see the halves, this program only ever the whole word.

use core::time::Duration;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::primitive::futex::{self, Entry, MAX_TERM, Wake, Word};
use ipc_core::primitive::{AtomicU64, Ordering, identity};

use crate::WaitError;

use super::armed::Armed;
use super::patience::{Looks, spin_until};
use super::until::Until;

/// The low half.
pub(super) const GATE: u64 = u32::MAX as u64;
/// In it: nobody is asleep.
pub(super) const NONE: u64 = 1 << 31;
/// In it: one was woken for a change that is to come, and nobody has gone to sleep or given up since.
const ROUSED: u64 = 1 << ROUSED_BIT;
const ROUSED_BIT: u16 = 30;

/// How long one who was woken for a change waits for it before it sleeps again: some hundred times what it takes. Each
/// nap of a wait is twice as long as the one before, up to [`LONGEST_NAP`]: a waker that is slower than one, because it is
/// traced or has little of a processor, gets its turn in one of the next.
const NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(64);

#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Gated(AtomicU64);

impl Gated {
    /// The greatest number.
    pub(crate) const MAX: u32 = i32::MAX.unsigned_abs();

    /// What the kernel may be asked to add to: far enough from the end for as many threads as there can be.
    const MAX_FOR_KERNEL: u32 = Self::MAX / 2;

    /// The most that is added in one step.
    pub(crate) const MAX_STEP: u16 = MAX_TERM;

    ipc_core::const_unless_loom! {
        pub(crate) fn new(number: u32) -> Self {
            Self(AtomicU64::new((number as u64) << 32 | NONE))
        }
    }

    #[inline]
    pub(crate) fn number(&self, order: Ordering) -> u32 {
        number(self.0.load(order))
    }

    /// The newest number, and not only one that was there once.
    #[cfg(loom)]
    pub(crate) fn number_now(&self) -> u32 {
        number(self.0.fetch_or(0, Ordering::Relaxed))
    }

    /// Changes the number as `f` says, or not if it says `None`; what it was. Nobody is woken: this is
    /// for changes that nobody waits for.
    #[inline]
    pub(crate) fn update(&self, f: impl Fn(u32) -> Option<u32>) -> Result<u32, u32> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let was = number(word);
            let Some(next) = f(was) else { return Err(was) };
            // SYNC: what was done before a number was added (Release in `add`).
            match self.exchange(word, with_number(word, next), Ordering::Acquire) {
                Ok(()) => return Ok(was),
                Err(now) => word = now,
            }
        }
    }

    /// Adds to the number, if it stays in its range, and wakes as many: at most [`MAX_STEP`](Self::MAX_STEP), and
    /// more than 0.
    ///
    /// # Errors
    ///
    /// The number, if it would leave its range; then nothing was done.
    #[inline]
    pub(crate) fn add(&self, term: u16) -> Result<(), u32> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let was = number(word);
            let Some(sum) = was.checked_add(term.into()).filter(|&sum| sum <= Self::MAX) else {
                return Err(was);
            };
            if word & NONE == 0 {
                if was > Self::MAX_FOR_KERNEL {
                    // A sum by the kernel might wrap.
                    let sum =
                        |was: u32| was.checked_add(term.into()).filter(|&sum| sum <= Self::MAX);
                    return self.change(term.into(), sum);
                }
                self.add_by_kernel(term, term.into());
                return Ok(());
            }
            // SYNC: what was done before a number was added (Acquire in `update`).
            match self.exchange(word, with_number(word, sum), Ordering::Release) {
                Ok(()) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Adds 1 to a number that may wrap, and wakes as many as it `owes`, which is said of the number before; what that
    /// was.
    ///
    /// # Errors
    ///
    /// The number, if nothing is said of it; then nothing was done.
    pub(crate) fn bump(&self, owes: impl Fn(u32) -> Option<u32>) -> Result<u32, u32> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let was = number(word);
            let Some(wake) = owes(was) else { return Err(was) };
            if wake > 0 && word & NONE == 0 {
                self.add_by_kernel(1, wake);
                return Ok(was);
            }
            // SYNC: what was done before a number was added (Acquire where the sum is read).
            match self.exchange(word, with_number(word, was.wrapping_add(1)), Ordering::Release) {
                Ok(()) => return Ok(was),
                Err(now) => word = now,
            }
        }
    }

    /// Adds `term`, wrapping, and wakes up to `wake`, at least one, in one step.
    ///
    /// Where it wraps the kernel may wake one more: see [`futex::add_and_wake`].
    #[cold]
    pub(super) fn add_by_kernel(&self, term: u16, wake: u32) {
        match futex::add_and_wake(Word::High(&self.0), term, self.gate(), wake) {
            // Nobody sleeps any more.
            Ok(woken) if woken < wake as usize => _ = self.wake_all(),
            Ok(_) => {}
            // The kernel has added already.
            Err(Errno::INVAL) => _ = self.wake_all(),
            // A sandbox without the operation: first the sum, then everybody looks.
            Err(_) => {
                self.0.fetch_add(u64::from(term) << 32, Ordering::Release);
                self.wake_all();
            }
        }
    }

    /// Adds 1, wrapping, and wakes all, in one step; the gate stays as it is.
    #[cold]
    pub(super) fn add_and_wake_all(&self) {
        match futex::add_and_wake(Word::High(&self.0), 1, self.gate(), u32::MAX) {
            // The kernel has added already.
            Ok(_) | Err(Errno::INVAL) => {}
            // A sandbox without the operation.
            Err(_) => {
                self.0.fetch_add(1 << 32, Ordering::Release);
                futex::wake(self.gate(), u32::MAX);
            }
        }
    }

    /// Changes the number as `f` says, which brings something to `count` of those who wait, more than 0.
    ///
    /// # Errors
    ///
    /// The number, if `f` said `None`; then nothing was done.
    #[inline]
    pub(crate) fn change(&self, count: u32, f: impl Fn(u32) -> Option<u32>) -> Result<(), u32> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let was = number(word);
            let Some(next) = f(was) else { return Err(was) };
            let enough = if count == 1 { NONE | ROUSED } else { NONE };
            let refused = word & enough == 0
                && match self.rouse(count) {
                    Ok(()) => {
                        word = self.0.load(Ordering::Relaxed);
                        continue;
                    }
                    // A sandbox without the operation: first the change, then everybody looks.
                    Err(_) => true,
                };
            // SYNC: what was done before the number was changed (Acquire in `update`).
            match self.exchange(word, with_number(word & !ROUSED, next), Ordering::Release) {
                Ok(()) if refused => return Ok(_ = self.wake_all()),
                Ok(()) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Wakes `count` for a change that is to come, and says so in the gate.
    #[cold]
    fn rouse(&self, count: u32) -> ipc_core::Result<()> {
        let one_is_awake = count == 1 && futex::set_bit_and_wake(self.gate(), ROUSED_BIT, 1)? > 0;
        if !one_is_awake {
            futex::set_top_bit_and_wake_all(self.gate())?;
        }
        Ok(())
    }

    /// As [`update`](Self::update), asleep while `f` says `None`.
    ///
    /// # Errors
    ///
    /// [`WaitError`].
    #[inline]
    pub(crate) fn wait_to_update(
        &self,
        until: Until,
        f: impl Fn(u32) -> Option<u32>,
    ) -> Result<(), WaitError> {
        match self.update(&f) {
            Ok(_) => Ok(()),
            Err(seen) => self.wait_for(until, seen, || self.update(&f)).map(drop),
        }
    }

    /// Goes on where an attempt has failed because it saw the number `seen`: repeats it until it succeeds, asleep in
    /// between.
    ///
    /// Whatever ends a sleep, the next thing is an attempt. So a wake-up is never taken for nothing, even if it
    /// comes at the moment at which the time is over, and need not be passed on.
    ///
    /// # Errors
    ///
    /// [`WaitError`].
    #[cold]
    pub(crate) fn wait_for<R>(
        &self,
        until: Until,
        seen: u32,
        mut attempt: impl FnMut() -> Result<R, u32>,
    ) -> Result<R, WaitError> {
        // Armed until this thread answers for nothing any more.
        let mut baton = Baton::of(self);
        self.repeat(&mut baton, until, seen, &mut attempt).or_else(|error| {
            self.answer_no_more();
            // What came in time counts, however late this thread is.
            attempt().map_err(|_| error)
        })
    }

    fn repeat<R>(
        &self,
        baton: &mut Baton<'_>,
        until: Until,
        mut seen: u32,
        mut attempt: impl FnMut() -> Result<R, u32>,
    ) -> Result<R, WaitError> {
        let mut looks = Looks::new();
        let mut interrupted = false;
        // How often this thread has found the gate roused and nothing to take, since it last slept.
        let mut early = 0;
        let mut nap = NAP;
        loop {
            if until.has_passed() {
                return Err(WaitError::TimedOut);
            }
            // The number is all there is to look at: the next slice is longer.
            looks.is_due();
            if !spin_until(|| self.number(Ordering::Relaxed) != seen) {
                baton.arm();
                let slice = looks.sleep_until(until.deadline());
                early = if early < 2 && self.is_roused() { early + 1 } else { 0 };
                let wake = match early {
                    0 => self.park(seen, slice, until)?,
                    1 => {
                        ipc_core::os::yield_now();
                        Wake::Changed
                    }
                    _ => {
                        let time = nap;
                        nap = LONGEST_NAP.min(2 * nap);
                        self.nap(seen, time, slice, until)?
                    }
                };
                interrupted = wake == Wake::Interrupted && until.is_interruptible();
            }
            seen = match attempt() {
                Ok(result) => return Ok(result),
                Err(_) if interrupted => return Err(WaitError::Os(Errno::INTR)),
                Err(seen) => seen,
            };
        }
    }

    /// This thread gives up: whoever has woken it for a change must wake another one, or has made it already. Then
    /// the next look sees it.
    fn answer_no_more(&self) {
        self.0.fetch_and(!ROUSED, Ordering::Relaxed);
    }

    /// Somebody was woken for a change that has not come yet. The model knows no time, and so no naps.
    fn is_roused(&self) -> bool {
        !cfg!(loom) && self.0.load(Ordering::Relaxed) & ROUSED != 0
    }

    /// Sleeps `time` at most while the number is `seen`, and leaves the gate as it is. It sleeps on the number: nobody's
    /// wake-up must go to one who has had one.
    #[cold]
    fn nap(
        &self,
        seen: u32,
        time: Duration,
        slice: Deadline,
        until: Until,
    ) -> Result<Wake, WaitError> {
        let (entry, end) = (Entry::new(Word::High(&self.0), seen), Deadline::after(time));
        let wake = futex::sleep(&[entry], None, slice.min(end), until.is_interruptible());
        wake.map_err(WaitError::Os)
    }

    /// Sleeps while the number is `seen`, until woken or `slice` ends. Whatever else was in the gate, it is a gate
    /// again afterwards.
    fn park(&self, seen: u32, slice: Deadline, until: Until) -> Result<Wake, WaitError> {
        // From here on whoever adds does it by the kernel, which compares both halves as we fall asleep.
        let word = self.0.fetch_and(!GATE, Ordering::Relaxed);
        if number(word) != seen {
            return Ok(Wake::Changed);
        }
        self.sleep(seen, slice, until)
    }

    /// Sleeps while the gate is 0 and the number is `seen`, until woken or `slice` ends.
    pub(super) fn sleep(
        &self,
        seen: u32,
        slice: Deadline,
        until: Until,
    ) -> Result<Wake, WaitError> {
        let entries = [Entry::new(self.gate(), 0), Entry::new(Word::High(&self.0), seen)];
        futex::sleep(&entries, None, slice, until.is_interruptible()).map_err(WaitError::Os)
    }

    /// Both halves.
    #[inline]
    pub(super) fn word(&self) -> &AtomicU64 {
        &self.0
    }

    /// Sets "none", and wakes whoever sleeps nevertheless. `false`: in a sandbox without the operation the gate keeps
    /// saying "maybe".
    fn wake_all(&self) -> bool {
        let is_set = futex::set_top_bit_and_wake_all(self.gate()).is_ok();
        if !is_set {
            futex::wake(self.gate(), u32::MAX);
        }
        is_set
    }

    fn gate(&self) -> Word<'_> {
        Word::Low(&self.0)
    }

    #[inline]
    pub(super) fn exchange(&self, from: u64, to: u64, order: Ordering) -> Result<(), u64> {
        self.0.compare_exchange_weak(from, to, order, Ordering::Relaxed).map(drop)
    }
}

#[inline]
pub(super) fn number(word: u64) -> u32 {
    (word >> 32) as u32
}

/// The same gate with another number. As a sum, for a number that is more or less by a constant is an addition then,
/// where cutting out and putting in would have the processor wait for five instructions between its load and its exchange.
#[inline]
pub(super) fn with_number(word: u64, to: u32) -> u64 {
    word.wrapping_add(u64::from(to.wrapping_sub(number(word))) << 32)
}

/// Has the kernel wake another sleeper if this thread is killed with its wake-up, from [`arm`](Self::arm) on until it is
/// dropped. It never leaves the function that waits.
#[derive(Debug)]
pub(super) struct Baton<'a> {
    word: &'a Gated,
    armed: Option<Armed<'a>>,
}

impl<'a> Baton<'a> {
    pub(super) fn of(word: &'a Gated) -> Self {
        Self { word, armed: None }
    }

    pub(super) fn arm(&mut self) {
        if self.armed.is_some() {
            return;
        }
        let Ok(me) = identity::current() else { return };
        self.armed = Armed::new(self.word.gate(), me.id);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A thread that was kept from running until its time was over, while a number was added in time.
    #[test]
    fn what_came_in_time_counts_however_late_the_thread_is() {
        let word = Gated::new(1);
        let take = || word.update(|number| number.checked_sub(1));
        let late = Until::Deadline(Deadline::now());
        assert_eq!(word.wait_for(late, 0, take), Ok(1));
        assert_eq!(word.wait_for(late, 0, take), Err(WaitError::TimedOut));
    }

    #[test]
    fn whatever_is_in_the_gate_it_is_slept_upon() {
        for low in [1, 0x4000_0000, u32::MAX] {
            let word = Gated(AtomicU64::new(low.into()));
            let soon = Until::Deadline(Deadline::after(Duration::from_millis(5)));
            let none = || Err::<(), _>(word.number(Ordering::Relaxed));
            assert_eq!(word.wait_for(soon, 0, none), Err(WaitError::TimedOut));
            assert_eq!(word.0.load(Ordering::Relaxed), 0, "{low:#x}");
        }
    }
}
