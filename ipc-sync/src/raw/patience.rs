//! How long to spin, and how long to sleep before looking again.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::primitive::spin_loop;

/// When one wait looks whether the owner of the lock still lives.
///
/// The moment is set when the thread first sleeps after a look, and stays: whatever ends a sleep
/// early, be it a signal, a change of the word or a wake-up for nothing, never puts the look
/// off. So 64 ms bound how long a wake-up that died with its sender can be missed.
#[derive(Debug)]
pub(crate) struct Looks {
    next: Option<Deadline>,
    slice: Duration,
}

impl Looks {
    /// Longer than a tick of the kernel's clock: for a shorter one it programs the timer anew, which
    /// made a hand-over on one processor 1.9 times as dear as that of a bare futex, not 1.2.
    const FIRST: Duration = Duration::from_millis(5);
    const AFTER_WAKE: Duration = Duration::from_micros(500);
    const LONGEST: Duration = Duration::from_millis(64);

    pub(crate) const fn new() -> Self {
        Self { next: None, slice: Self::FIRST }
    }

    /// Until when to sleep: the next look, or `until` if that is sooner.
    pub(crate) fn sleep_until(&mut self, until: Option<Deadline>) -> Deadline {
        let slice = self.slice;
        let next = *self.next.get_or_insert_with(|| Deadline::after(slice));
        until.map_or(next, |until| until.min(next))
    }

    /// Whether it is time to look; if so, the next look is twice as far away as this one was.
    ///
    /// In the model a sleep that ended by itself says so; there is no other time.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = !cfg!(loom) && self.next.is_some_and(Deadline::has_passed);
        if due {
            self.slice = (self.slice * 2).min(Self::LONGEST);
            self.next = None;
        }
        due
    }

    /// A wake-up came that brought nothing. It may have been the kernel's, for a death that is
    /// not visible yet: look soon.
    pub(crate) fn hasten(&mut self) {
        let soon = Deadline::after(Self::AFTER_WAKE);
        self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
    }
}

/// The most rounds that a wait spins: about 25 µs, the cost of a sleep and a wake across cores.
const MOST_ROUNDS: u32 = 1000;
/// How much longer than the last time a wait may take and still be caught.
const MARGIN: u32 = 20;
/// One wait in so many spins for as long as may be, to learn whether times have changed: where
/// everybody sleeps, nobody answers within a short spin. Where that teaches nothing, as on one
/// processor, it becomes rarer.
const OFTEN: u32 = 32;
const SELDOM: u32 = 1024;

/// What this process has learnt: the rounds that the next wait should spin.
static ROUNDS: AtomicU32 = AtomicU32::new(100);
/// After so many waits the next one explores.
static COUNTDOWN: AtomicU32 = AtomicU32::new(OFTEN);
/// How many waits lie between two that explore.
static PERIOD: AtomicU32 = AtomicU32::new(OFTEN);

/// Rounds from one look at the lock to the next.
///
/// Each look takes the lock's cache line from its owner. In a crowd around a tiny section, where a
/// wait is over at the first look, that costs more than it brings: whoever has the line gets dozens of
/// sections done while the others stay away.
static GAP: AtomicU32 = AtomicU32::new(1);
/// About a microsecond.
const WIDEST_GAP: u32 = 32;

/// Spins until `changed`, for as long as experience says that it may pay.
///
/// The budget is twice what waits took that ended by spinning, and shrinks by an eighth with each
/// that did not, down to nothing. It belongs to the process and not to a lock, in which there is no
/// room for it. How many processors the caller may run on says nothing: processes that are pinned to
/// one each have the most to win. A wait that explores also looks at every round, and so learns
/// whether there is a crowd.
///
/// The numbers race with those of other threads, which costs a wait its best budget and no more.
pub(crate) fn spin_until(mut changed: impl FnMut() -> bool) -> bool {
    if cfg!(loom) {
        return false;
    }
    let left = COUNTDOWN.load(Ordering::Relaxed);
    let explores = left == 0;
    let learnt = ROUNDS.load(Ordering::Relaxed);
    COUNTDOWN.store(left.wrapping_sub(1).min(SELDOM), Ordering::Relaxed);
    let gap = GAP.load(Ordering::Relaxed);
    let (step, budget) = if explores { (1, MOST_ROUNDS) } else { (gap, learnt.max(gap)) };
    let mut round = 0;
    while round < budget {
        (0..step).for_each(|_| spin_loop());
        if changed() {
            if explores {
                PERIOD.store(OFTEN, Ordering::Relaxed);
                COUNTDOWN.store(OFTEN, Ordering::Relaxed);
                let next = if round == 0 { (2 * gap).min(WIDEST_GAP) } else { 1 };
                GAP.store(next, Ordering::Relaxed);
            }
            if step == 1 {
                ROUNDS.store(after_success(learnt, round), Ordering::Relaxed);
            }
            return true;
        }
        round += step;
    }
    ROUNDS.store(learnt - learnt.div_ceil(8), Ordering::Relaxed);
    if explores {
        let period = (PERIOD.load(Ordering::Relaxed) * 2).min(SELDOM);
        PERIOD.store(period, Ordering::Relaxed);
        COUNTDOWN.store(period, Ordering::Relaxed);
    }
    false
}

/// Up at once, down slowly.
fn after_success(learnt: u32, round: u32) -> u32 {
    let wanted = (2 * round + MARGIN).min(MOST_ROUNDS);
    if wanted > learnt { wanted } else { learnt - (learnt - wanted) / 8 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_up_to_a_bound() {
        let mut looks = Looks::new();
        for _ in 0..10 {
            assert!(!looks.is_due());
            looks.next = Some(Deadline::now());
            assert!(looks.is_due());
        }
        assert_eq!(looks.slice, Looks::LONGEST);
    }

    #[test]
    fn a_wake_brings_the_next_look_nearer_and_never_puts_it_off() {
        let mut looks = Looks::new();
        let first = looks.sleep_until(None);
        assert_eq!(looks.sleep_until(None), first);
        looks.hasten();
        let hastened = looks.sleep_until(None);
        assert!(hastened < first);
        looks.hasten();
        assert_eq!(looks.sleep_until(None), hastened);
    }

    #[test]
    fn no_sleep_is_longer_than_the_time_out() {
        let soon = Deadline::after(Duration::from_micros(10));
        assert_eq!(Looks::new().sleep_until(Some(soon)), soon);
    }

    #[test]
    fn the_budget_follows_what_waits_took() {
        assert_eq!(after_success(0, 400), 800 + MARGIN);
        assert_eq!(after_success(MOST_ROUNDS, 990), MOST_ROUNDS);
        let settled = (0..100).fold(MOST_ROUNDS, |learnt, _| after_success(learnt, 5));
        assert!((30..40).contains(&settled), "{settled}");
    }

    #[test]
    fn spinning_in_vain_becomes_rare_and_short() {
        let mut rounds = 0;
        let mut wait = || {
            rounds += 1;
            false
        };
        for _ in 0..2 * SELDOM {
            assert!(!spin_until(&mut wait));
        }
        rounds = 0;
        for _ in 0..=SELDOM {
            spin_until(|| {
                rounds += 1;
                false
            });
        }
        // One wait explores; the others look once.
        assert_eq!(rounds, MOST_ROUNDS + SELDOM);
    }
}
