//! A peer that writes what it likes, between any two instructions of an honest operation.

use core::sync::atomic::Ordering;
use std::collections::HashMap;
use std::io;

use super::super::arch::WATCHPOINTS;
use super::super::course::Course;
use super::super::procfs;
use super::super::report::Point;
use super::super::trace::Step;
use super::judge::lost;
use super::{Arrival, Plan, Stage, Trouble};
use crate::shared::Extent;

/// An instruction of the operation that reads or writes a shared word.
///
/// What is planted in that word earlier, after the access before, comes to the same: so this is where attacks are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// The number of the instruction.
    pub(crate) instruction: usize,
    /// The word in the surface.
    word: usize,
    part: Part,
}

/// What is accessed of a 64-bit word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// The 32 bits from this bit on.
    Half(u32),
}

/// How much longer an operation may get by what it reads.
const LONGER: usize = 8;
const AND_SOME: usize = 2000;

impl<T: Sync> Stage<'_, T> {
    /// All accesses of the operation to the surface; `None` if it cannot be played, which is recorded.
    pub(crate) fn accesses(&mut self) -> io::Result<Option<Vec<Access>>> {
        self.attempt(Plan::Plain, None, Self::try_accesses)
    }

    /// Plants each interesting value before `access`; the operation must end, and end well, whatever it is.
    pub(crate) fn attack(&mut self, access: Access, course: &Course) -> io::Result<()> {
        let old = access.read(self.surface());
        for value in access.part.interesting(old, self.scenario.capacity) {
            let point = Point {
                killed: false,
                instruction: access.instruction,
                asleep: false,
                place: procfs::place(course.visits[access.instruction].pc),
                given: format!(" with {value:#x} planted in {access}"),
            };
            self.attempt_at(Plan::Plain, Some(point), |stage| {
                stage.try_attack(access, value, course)
            })?;
        }
        Ok(())
    }

    fn surface(&self) -> Extent {
        self.scenario.surface.unwrap_or_else(|| self.scenario.extent())
    }

    fn try_accesses(&mut self) -> Result<Vec<Access>, Trouble> {
        let surface = self.surface();
        let words: Vec<_> = (0..surface.words()).collect();
        let mut touched = Vec::new();
        for batch in words.chunks(WATCHPOINTS) {
            let places: Vec<_> = batch.iter().map(|word| surface.address(*word)).collect();
            touched.extend(self.watch(&places, 8)?.into_iter().map(|(_, i)| batch[i]));
        }
        touched.sort_unstable();
        touched.dedup();
        // Again with both halves of each word that was touched, because the halves may be words of their own.
        let mut halves: HashMap<_, [bool; 2]> = HashMap::new();
        for batch in touched.chunks(WATCHPOINTS / 2) {
            let both = |word: &usize| [surface.address(*word), surface.address(*word) + 4];
            let places: Vec<_> = batch.iter().flat_map(both).collect();
            for (k, i) in self.watch(&places, 4)? {
                halves.entry((k, batch[i / 2])).or_default()[i % 2] = true;
            }
        }
        let access = |((instruction, word), halves): ((usize, usize), [bool; 2])| {
            let part = match halves {
                [true, false] => Part::Half(0),
                [false, true] => Part::Half(32),
                _ => Part::Whole,
            };
            Access { instruction, word, part }
        };
        let mut accesses: Vec<_> = halves.into_iter().map(access).collect();
        accesses.sort_unstable_by_key(|access| (access.instruction, access.word));
        Ok(accesses)
    }

    /// Which instruction accesses which of the places.
    fn watch(&mut self, places: &[u64], len: u64) -> Result<Vec<(usize, usize)>, Trouble> {
        let mut victim = self.prepare(Plan::Plain)?.victim;
        victim.watch(places, len)?;
        let mut hits = Vec::new();
        for k in 0.. {
            let step = victim.step()?;
            match self.see_through(&mut victim, Plan::Plain, step)? {
                Step::Done => hits.extend(victim.accessed()?.map(|i| (k, i))),
                Step::AtMarker => break,
                Step::Asleep => unreachable!("the plain plan sees sleeps through"),
                Step::Lost(change) => return Err(lost(victim.role(), change)),
            }
        }
        self.let_out(&mut victim)?;
        Ok(hits)
    }

    fn try_attack(&mut self, access: Access, value: u64, course: &Course) -> Result<(), Trouble> {
        let mut victim = self.prepare(Plan::Plain)?.victim;
        if self.advance_to(&mut victim, Plan::Plain, access.instruction, course)?
            != Arrival::At(access.instruction)
        {
            return Err(Trouble::Uncounted);
        }
        access.write(self.surface(), value);
        self.report.planted += 1;
        let budget = LONGER * course.len() + AND_SOME;
        for _ in 0..budget {
            let step = victim.step()?;
            match self.see_through(&mut victim, Plan::Plain, step)? {
                Step::Done => {}
                Step::AtMarker => return self.let_out(&mut victim),
                Step::Asleep => unreachable!("the plain plan sees sleeps through"),
                Step::Lost(change) => return Err(lost(victim.role(), change)),
            }
        }
        // If it was on its way to a panic, that is the flaw.
        self.let_out(&mut victim)?;
        let what = format!("did not end its operation within {budget} instructions");
        Err(Trouble::Failure(victim.role(), what))
    }
}

impl Access {
    fn read(self, surface: Extent) -> u64 {
        let word = surface.word(self.word).load(Ordering::Relaxed);
        match self.part {
            Part::Whole => word,
            Part::Half(shift) => word >> shift & u64::from(u32::MAX),
        }
    }

    /// The victim is stopped, so nobody sees this store in two steps.
    fn write(self, surface: Extent, value: u64) {
        let word = surface.word(self.word);
        let value = match self.part {
            Part::Whole => value,
            Part::Half(shift) => {
                let others = !(u64::from(u32::MAX) << shift);
                word.load(Ordering::Relaxed) & others | value << shift
            }
        };
        word.store(value, Ordering::Relaxed);
    }
}

impl core::fmt::Display for Access {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.part {
            Part::Whole => write!(f, "the u64 at offset {:#x}", self.word * 8),
            Part::Half(shift) => {
                write!(f, "the u32 at offset {:#x}", self.word * 8 + shift as usize / 8)
            }
        }
    }
}

impl Part {
    /// Values at which comparisons, masks and sums turn over.
    fn interesting(self, old: u64, capacity: u64) -> Vec<u64> {
        let mut values = vec![0, 1, u64::MAX, capacity - 1, capacity, capacity + 1, 2 * capacity];
        values.extend([1 << 31, 1 << 32, 1 << 63, old.wrapping_add(1), old.wrapping_sub(1)]);
        values.extend([0, 1, 16, 31, 32, 62, 63].map(|bit| old ^ 1 << bit));
        if self != Self::Whole {
            values.iter_mut().for_each(|value| *value &= u64::from(u32::MAX));
        }
        values.sort_unstable();
        values.dedup();
        values.retain(|value| *value != old);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interesting_values_fit_and_differ_from_the_old_one() {
        assert!(
            Part::Half(32).interesting(8, 8).iter().all(|v| *v <= u64::from(u32::MAX) && *v != 8)
        );
        assert!(Part::Whole.interesting(5, 8).contains(&(1 << 63)));
    }
}
