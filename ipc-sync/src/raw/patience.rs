//! How long to spin, and how long to sleep before looking again.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::primitive::spin_loop;

/// The slices of one wait: short at first, then longer.
///
/// A sleeper looks at the end of each slice whether the owner still lives. So a slice bounds
/// how long a wake-up that died with its sender can be missed, and 64 ms is that bound.
#[derive(Debug)]
pub(crate) struct Slices {
    next: Duration,
}

impl Slices {
    const FIRST: Duration = Duration::from_millis(2);
    const AFTER_WAKE: Duration = Duration::from_micros(500);
    const LONGEST: Duration = Duration::from_millis(64);

    pub(crate) const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The end of a slice that begins now, at most `until`.
    pub(crate) fn end(&self, until: Option<Deadline>) -> Deadline {
        let slice = Deadline::after(self.next);
        until.map_or(slice, |until| until.min(slice))
    }

    /// A slice ended and nothing had happened.
    pub(crate) fn lengthen(&mut self) {
        self.next = (self.next * 2).min(Self::LONGEST);
    }

    /// A wake-up came that brought nothing. It may have been the kernel's, for a death that is
    /// not visible yet: look again soon.
    pub(crate) fn shorten(&mut self) {
        self.next = Self::AFTER_WAKE;
    }
}

/// The most rounds that a wait spins: about 25 µs, the cost of a sleep and a wake across cores.
const MOST_ROUNDS: u32 = 1000;
/// A wait that is expected to be in vain still spins this long, to learn when that changes.
const FEWEST_ROUNDS: u32 = 8;

/// What this process has learnt: the rounds that the next wait should spin.
static ROUNDS: AtomicU32 = AtomicU32::new(100);

/// Spins until `changed`, for as long as experience says that it may pay.
///
/// The budget follows the waits of this process as glibc's adaptive mutexes do: twice what
/// successful waits took, and less after each one in vain. On a machine, or in an affinity mask, of one
/// processor it is zero, since the owner cannot run meanwhile.
pub(crate) fn spin_until(mut changed: impl FnMut() -> bool) -> bool {
    if cfg!(loom) || !has_two_processors() {
        return false;
    }
    let budget = ROUNDS.load(Ordering::Relaxed);
    for round in 0..budget.min(MOST_ROUNDS) {
        if changed() {
            let wanted = (2 * round + FEWEST_ROUNDS).min(MOST_ROUNDS);
            let next = if wanted > budget {
                budget + (wanted - budget) / 8
            } else {
                budget - (budget - wanted) / 8
            };
            ROUNDS.store(next, Ordering::Relaxed);
            return true;
        }
        spin_loop();
    }
    ROUNDS.store((budget - budget / 8).max(FEWEST_ROUNDS), Ordering::Relaxed);
    false
}

fn has_two_processors() -> bool {
    /// 0 is "not known yet".
    static COUNT: AtomicU32 = AtomicU32::new(0);
    match COUNT.load(Ordering::Relaxed) {
        0 => {
            let count = ipc_core::processors();
            COUNT.store(count, Ordering::Relaxed);
            count > 1
        }
        count => count > 1,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn slices_double_up_to_a_bound() {
        let mut slices = Slices::new();
        for _ in 0..10 {
            slices.lengthen();
        }
        assert_eq!(slices.next, Slices::LONGEST);
        slices.shorten();
        assert_eq!(slices.next, Slices::AFTER_WAKE);
    }

    #[test]
    fn no_slice_is_longer_than_the_time_out() {
        let soon = Deadline::after(Duration::from_micros(10));
        assert_eq!(Slices::new().end(Some(soon)), soon);
    }

    #[test]
    fn spinning_learns() {
        if !has_two_processors() {
            return;
        }
        for _ in 0..100 {
            assert!(!spin_until(|| false));
        }
        assert_eq!(ROUNDS.load(Ordering::Relaxed), FEWEST_ROUNDS + 7);
        let mut rounds = 0;
        spin_until(|| {
            rounds += 1;
            false
        });
        assert!(rounds <= FEWEST_ROUNDS + 7);
    }
}
