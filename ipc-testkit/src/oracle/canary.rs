//! Shows whether two processes were inside the same critical section, and who died in it.

use core::hint;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::ensure;
use crate::stepkill::Verdict;

/// Lives beside a lock. Whoever holds the lock calls [`visit`](Self::visit); who shares it with others, [`look`](Self::look).
///
/// All accesses are relaxed and no step is atomic with the next one: only the lock keeps visitors apart, and only its
/// ordering makes one visitor's stores visible to the next.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Canary {
    /// Number of the process inside, 0 if there is none.
    inside: AtomicU32,
    /// How often a lock told its owner that the one before it had died.
    recoveries: AtomicU32,
    /// Counts visits, at their beginning and at their end.
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Canary {
    /// Nobody inside, nothing counted.
    pub const fn new() -> Self {
        Self {
            inside: AtomicU32::new(0),
            recoveries: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// Goes in and out again as process `number`.
    ///
    /// # Errors
    ///
    /// If somebody else is or was inside at the same time, or died inside and nobody called [`repair`](Self::repair).
    pub fn visit(&self, number: u32) -> Verdict {
        let inside = self.inside.load(Ordering::Relaxed);
        ensure!(inside == 0, "{number} got in while {inside} was inside");
        self.inside.store(number, Ordering::Relaxed);
        let begun = self.begun.load(Ordering::Relaxed) + 1;
        self.begun.store(begun, Ordering::Relaxed);
        // Gives a wrong guest the time to show.
        for _ in 0..4 {
            hint::spin_loop();
            let inside = self.inside.load(Ordering::Relaxed);
            ensure!(inside == number, "{inside} came in while {number} was inside");
        }
        let ended = self.ended.load(Ordering::Relaxed) + 1;
        self.ended.store(ended, Ordering::Relaxed);
        ensure!(begun == ended, "{begun} visits begun, but {ended} ended: one was lost");
        ensure!(
            self.begun.load(Ordering::Relaxed) == begun,
            "somebody came in while {number} was inside"
        );
        self.inside.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Stays outside as process `number`, among others who do.
    ///
    /// # Errors
    ///
    /// If somebody is inside or comes in meanwhile, or died inside and nobody called [`repair`](Self::repair).
    pub fn look(&self, number: u32) -> Verdict {
        let begun = self.begun.load(Ordering::Relaxed);
        for _ in 0..4 {
            let inside = self.inside.load(Ordering::Relaxed);
            ensure!(inside == 0, "{number} looked on while {inside} was inside");
            hint::spin_loop();
        }
        ensure!(
            self.ended.load(Ordering::Relaxed) == begun
                && self.begun.load(Ordering::Relaxed) == begun,
            "somebody was inside while {number} looked on"
        );
        Ok(())
    }

    /// To be called by an owner that was told that the one before it had died: counts that, and mends what a visit cut
    /// short has left.
    pub fn repair(&self) {
        self.recoveries.store(self.recoveries.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.ended.store(self.begun.load(Ordering::Relaxed), Ordering::Relaxed);
        self.inside.store(0, Ordering::Relaxed);
    }

    /// How often a death was told.
    pub fn recoveries(&self) -> u32 {
        self.recoveries.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_death_inside_until_it_is_repaired() {
        let canary = Canary::new();
        assert!(canary.visit(1).is_ok());
        canary.inside.store(2, Ordering::Relaxed);
        canary.begun.store(2, Ordering::Relaxed);
        assert!(canary.visit(1).is_err() && canary.look(1).is_err());
        canary.repair();
        assert!(canary.visit(1).is_ok() && canary.look(1).is_ok());
        assert_eq!(canary.recoveries(), 1);
    }

    #[test]
    fn sees_a_lost_visit() {
        let canary = Canary::new();
        canary.begun.store(1, Ordering::Relaxed);
        assert!(canary.visit(1).is_err() && canary.look(1).is_err());
    }
}
