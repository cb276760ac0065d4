//! On the way to the kill point.

use super::super::arch::Instruction;
use super::super::control::Role;
use super::super::course::Course;
use super::super::trace::{Step, Tracee};
use super::judge::lost;
use super::{Arrival, Plan, Stage, Target, Trouble};

impl<T: Sync> Stage<'_, T> {
    /// Executes `k` instructions, or fewer if the operation ends or falls asleep for good before.
    pub(super) fn walk(
        &mut self,
        tracee: &mut Tracee,
        plan: Plan,
        k: usize,
    ) -> Result<(), Trouble> {
        let course = core::mem::take(&mut self.lead);
        let arrival = self.advance(tracee, plan, Target::Instruction(k), &course);
        self.lead = course;
        arrival.map(drop)
    }

    pub(super) fn advance(
        &mut self,
        victim: &mut Tracee,
        plan: Plan,
        target: Target,
        course: &Course,
    ) -> Result<Arrival, Trouble> {
        match target {
            Target::Instruction(k) => self.advance_to(victim, plan, k, course),
            Target::Sleep(n) => self.advance_to_sleep(victim, plan, n),
        }
    }

    pub(super) fn advance_to(
        &mut self,
        victim: &mut Tracee,
        plan: Plan,
        target: usize,
        course: &Course,
    ) -> Result<Arrival, Trouble> {
        let mut k = 0;
        if let Some((at, pc)) = course.waypoint(target) {
            let step = victim.run_to(pc)?;
            let step = self.see_through(victim, plan, step)?;
            self.missed |= step != Step::Done;
            match step {
                Step::Done => k = at,
                Step::AtMarker => return Ok(Arrival::Ended(at)),
                Step::Asleep => return Ok(Arrival::Asleep(at)),
                Step::Lost(change) => return Err(lost(victim.role(), change)),
            }
        }
        while k < target {
            let step = victim.step()?;
            match self.see_through(victim, plan, step)? {
                Step::Done => k += 1,
                Step::AtMarker => return Ok(Arrival::Ended(k)),
                Step::Asleep => return Ok(Arrival::Asleep(k)),
                Step::Lost(change) => return Err(lost(victim.role(), change)),
            }
        }
        if victim.next()? == Instruction::Marker {
            return Ok(Arrival::Ended(k));
        }
        // Not missed if it was stepped all the way: then this is where it is after so many instructions today.
        if let Some(recorded) = course.visits.get(k) {
            self.missed |= recorded.pc != victim.pc()?;
        }
        Ok(Arrival::At(k))
    }

    pub(super) fn advance_to_sleep(
        &mut self,
        victim: &mut Tracee,
        plan: Plan,
        target: usize,
    ) -> Result<Arrival, Trouble> {
        let mut sleeps = 0;
        loop {
            let step = victim.run_to_call()?;
            if step == Step::Asleep && sleeps == target {
                return Ok(Arrival::Asleep(sleeps));
            }
            sleeps += usize::from(step == Step::Asleep);
            match self.see_through(victim, plan, step)? {
                Step::Done => {}
                Step::AtMarker => return Ok(Arrival::Ended(sleeps)),
                Step::Asleep => {
                    // For good, and this sleep was a kill point before.
                    self.missed = true;
                    return Ok(Arrival::Asleep(sleeps));
                }
                Step::Lost(change) => return Err(lost(victim.role(), change)),
            }
        }
    }

    /// Gives a sleeping victim what it sleeps for and waits for it; `Asleep` if this plan has nothing to give.
    pub(super) fn see_through(
        &mut self,
        victim: &mut Tracee,
        plan: Plan,
        step: Step,
    ) -> Result<Step, Trouble> {
        if step != Step::Asleep {
            return Ok(step);
        }
        let was_unblocked = self.unblocked;
        self.unblock();
        let waits_for_good = matches!(plan, Plan::Beside { .. } | Plan::Woken);
        if was_unblocked && waits_for_good {
            return Ok(Step::Asleep);
        }
        let limit = self.scenario.patience;
        match victim.finish_step(limit)? {
            Step::Asleep if waits_for_good => Ok(Step::Asleep),
            Step::Asleep => Err(Trouble::Wedge(
                victim.role(),
                format!("alive, slept on for {limit:?} after it was unblocked"),
            )),
            step => Ok(step),
        }
    }

    pub(super) fn unblock(&mut self) {
        if core::mem::replace(&mut self.unblocked, true) {
            return;
        }
        if self.scenario.holder.is_some() {
            self.control.station(Role::Holder).release();
        }
        if let Some(unblock) = &self.scenario.unblock {
            unblock(self.scenario.state());
        }
    }
}
