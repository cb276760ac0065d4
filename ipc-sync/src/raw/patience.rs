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

    /// As seldom as may be from the beginning: for a look that costs more than it finds.
    pub(crate) const fn seldom() -> Self {
        Self { next: None, slice: Self::LONGEST }
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

/// What a process has learnt from its waits.
#[derive(Debug)]
struct Patience {
    /// The rounds that the next wait should spin.
    rounds: AtomicU32,
    /// After so many waits the next one explores.
    countdown: AtomicU32,
    /// How many waits lie between two that explore.
    period: AtomicU32,
    /// Rounds from one look at the lock to the next.
    ///
    /// Each look takes the lock's cache line from its owner. In a crowd around a tiny section, where a
    /// wait is over at the first look, that costs more than it brings: whoever has the line gets dozens of
    /// sections done while the others stay away.
    gap: AtomicU32,
}

/// About a microsecond.
const WIDEST_GAP: u32 = 32;

/// Spins until `changed`, for as long as experience says that it may pay.
pub(crate) fn spin_until(changed: impl FnMut() -> bool) -> bool {
    static PATIENCE: Patience = Patience::new();
    !cfg!(loom) && PATIENCE.spin_until(changed)
}

impl Patience {
    const fn new() -> Self {
        Self {
            rounds: AtomicU32::new(100),
            countdown: AtomicU32::new(OFTEN),
            period: AtomicU32::new(OFTEN),
            gap: AtomicU32::new(1),
        }
    }

    /// Spins within a budget, and learns from it.
    ///
    /// The budget is twice what waits took that ended by spinning, and shrinks by an eighth with each
    /// that did not, down to nothing. It belongs to the process and not to a lock, in which there is no
    /// room for it. How many processors the caller may run on says nothing: processes that are pinned to
    /// one each have the most to win. A wait that explores also looks at every round, and so learns
    /// whether there is a crowd.
    ///
    /// The numbers race with those of other threads, which costs a wait its best budget and no more.
    fn spin_until(&self, mut changed: impl FnMut() -> bool) -> bool {
        let left = self.countdown.load(Ordering::Relaxed);
        let explores = left == 0;
        let learnt = self.rounds.load(Ordering::Relaxed);
        self.countdown.store(left.wrapping_sub(1).min(SELDOM), Ordering::Relaxed);
        let gap = self.gap.load(Ordering::Relaxed);
        let (step, budget) = if explores { (1, MOST_ROUNDS) } else { (gap, learnt.max(gap)) };
        let mut round = 0;
        while round < budget {
            (0..step).for_each(|_| spin_loop());
            if changed() {
                if explores {
                    self.period.store(OFTEN, Ordering::Relaxed);
                    self.countdown.store(OFTEN, Ordering::Relaxed);
                    let next = if round == 0 { (2 * gap).min(WIDEST_GAP) } else { 1 };
                    self.gap.store(next, Ordering::Relaxed);
                }
                if step == 1 {
                    self.rounds.store(after_success(learnt, round), Ordering::Relaxed);
                }
                return true;
            }
            round += step;
        }
        self.rounds.store(learnt - learnt.div_ceil(8), Ordering::Relaxed);
        if explores {
            let period = (self.period.load(Ordering::Relaxed) * 2).min(SELDOM);
            self.period.store(period, Ordering::Relaxed);
            self.countdown.store(period, Ordering::Relaxed);
        }
        false
    }
}

/// Up at once, down slowly.
fn after_success(learnt: u32, round: u32) -> u32 {
    let wanted = (2 * round + MARGIN).min(MOST_ROUNDS);
    if wanted > learnt { wanted } else { learnt - (learnt - wanted) / 8 }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

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
        // One that was over soon does not yet speak for the others.
        assert_eq!(after_success(820, 0), 820 - (820 - MARGIN) / 8);
        let settled = (0..100).fold(MOST_ROUNDS, |learnt, _| after_success(learnt, 5));
        assert!((30..40).contains(&settled), "{settled}");
    }

    /// The looks of one wait for a peer that answers at the `answer`th of them; and whether it saw the answer.
    fn wait(patience: &Patience, answer: u32) -> (u32, bool) {
        let mut looks = 0;
        let answered = patience.spin_until(|| {
            looks += 1;
            looks == answer
        });
        (looks, answered)
    }

    /// Nobody answers one who spins on the only processor that there is.
    const NEVER: u32 = u32::MAX;

    /// One that has waited in vain for long.
    fn discouraged() -> Patience {
        let patience = Patience::new();
        (0..2 * SELDOM).for_each(|_| assert!(!wait(&patience, NEVER).1));
        patience
    }

    /// Where threads share a processor the spinning is what keeps the answer away.
    #[test]
    fn spinning_in_vain_becomes_rare_and_short() {
        let patience = discouraged();
        let looks: u32 = (0..=SELDOM).map(|_| wait(&patience, NEVER).0).sum();
        // One wait explores; the others look once.
        assert_eq!(looks, MOST_ROUNDS + SELDOM);
    }

    /// A thread that may run on one processor only, which says nothing about where its peer runs.
    ///
    /// One that drew the conclusion slept at each hand-over: 42 µs instead of 0.3 for two processes that
    /// were pinned to a processor each.
    #[test]
    fn pinned_thread_learns_to_spin() {
        std::thread::scope(|scope| {
            let pinned = scope.spawn(|| {
                let (all, mut one) = (sched_getaffinity(None).unwrap(), CpuSet::new());
                one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
                sched_setaffinity(None, &one).unwrap();
                assert_eq!(ipc_core::processors(), 1);
                assert!(spin_until(|| true), "it does not even look");
                for patience in [Patience::new(), discouraged()] {
                    // A peer on another processor answers soon.
                    let until_learnt = (0..=SELDOM).take_while(|_| !wait(&patience, 30).1).count();
                    assert!(until_learnt <= SELDOM as usize, "it never explores");
                    assert!((0..SELDOM).all(|_| wait(&patience, 30).1));
                    // And sleeps as before, once its peer shares the processor.
                    (0..2 * SELDOM).for_each(|_| assert!(!wait(&patience, NEVER).1));
                    let looks: u32 = (0..=SELDOM).map(|_| wait(&patience, NEVER).0).sum();
                    assert_eq!(looks, MOST_ROUNDS + SELDOM);
                }
            });
            pinned.join().unwrap();
        });
    }

    #[test]
    fn crowd_looks_rarely_until_it_is_gone() {
        let patience = Patience::new();
        let gap = || patience.gap.load(Ordering::Relaxed);
        for widened in [2, 4, 8, 16, WIDEST_GAP, WIDEST_GAP] {
            // The answer is there at the first look of each.
            (0..=OFTEN).for_each(|_| assert_eq!(wait(&patience, 1), (1, true)));
            assert_eq!(gap(), widened);
        }
        // Whoever must wait for longer looks at every round again, from the next that explores on.
        let seen = (0..=OFTEN).filter(|_| wait(&patience, 200).1).count();
        assert_eq!(seen, 1, "the one that explores");
        assert_eq!((gap(), wait(&patience, 200)), (1, (200, true)));
    }

    #[test]
    fn success_is_explored_often() {
        let patience = discouraged();
        let exploring = (0..=SELDOM).filter(|_| wait(&patience, 3).1).count();
        assert!(exploring > 0);
        assert_eq!(patience.period.load(Ordering::Relaxed), OFTEN);
        assert!(patience.countdown.load(Ordering::Relaxed) <= OFTEN);
    }
}
