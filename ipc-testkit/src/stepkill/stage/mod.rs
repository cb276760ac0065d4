//! One round: everybody takes their place, somebody is killed, and the others are judged.

mod advance;
mod hostile;
mod judge;
mod prepare;

use core::time::Duration;
use std::io;

use super::arch::Instruction;
use super::control::{Control, Role};
use super::course::{Course, Visit};
use super::crew::Crew;
use super::procfs;
use super::report::{Finding, Point, Report};
use super::scenario::Scenario;
use super::suite::RECOVERY_LIMIT;
use super::trace::{Step, Tracee};
use super::watchdog;
use crate::sys;
use judge::lost;

/// The processes of a scenario, ready for one round after the other, and what came of the rounds so far.
pub(crate) struct Stage<'a, T: Sync> {
    scenario: &'a Scenario<T>,
    control: &'a Control,
    crew: Crew<'a, T>,
    pub(crate) report: Report,
    /// Holder released and `unblock` called in this round.
    unblocked: bool,
    /// Who was told to do something before the death, and must come back after it.
    busy: Vec<Role>,
    /// The course of the one who comes before the victim in the plans that have one.
    lead: Course,
    /// The victim of this round, at full speed, went another way than the recorded one, and not by its kill point.
    pub(crate) missed: bool,
    /// From when on recovery is measured.
    since: u64,
    /// The longest that a waiter or survivor took in this round.
    recovery: Duration,
}

/// What is so before the victim's first instruction counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Only what the scenario says.
    Plain,
    /// The second victim is in place of the first.
    Second,
    /// A first victim died after so many instructions of its operation.
    After { first: usize },
    /// Another process is alive but stopped after so many instructions of its operation.
    Beside { frozen: usize },
    /// The victim slept, was woken, and has not executed one instruction since; a newcomer was faster.
    Woken,
}

/// Where in the victim's course the kill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Before the instruction with this number.
    Instruction(usize),
    /// Inside the system call in which it sleeps, for the how manieth time (from 0).
    ///
    /// Such a victim runs at full speed from call to call. Stepped, it would come so late to a sleep with a deadline
    /// that it would not sleep at all.
    Sleep(usize),
}

/// How far a victim came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Stopped there.
    At(usize),
    /// Asleep, after so many instructions, or so many sleeps.
    Asleep(usize),
    /// The operation was over after so many instructions.
    Ended(usize),
    /// The round could not be played; that is recorded.
    Failed,
}

/// Those who are under the tracer in a round.
struct Scene {
    victim: Tracee,
    frozen: Option<Tracee>,
}

/// Why a round ended early.
enum Trouble {
    /// The harness's own system call failed.
    Os(io::Error),
    /// Somebody did not come back.
    Wedge(Role, String),
    /// Something was not as it must be.
    Failure(Role, String),
    /// The situation that the plan is for did not come about.
    Uncounted,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

/// How many findings of a kind are printed in full as they come.
const ANNOUNCED: usize = 4;

/// How often a round is played at most while recovery takes longer than [`RECOVERY_LIMIT`].
const SLOW_TRIES: usize = 3;

/// How often a round is tried until its situation comes about.
const ATTEMPTS: usize = 20;

impl<'a, T: Sync> Stage<'a, T> {
    pub(crate) fn new(
        scenario: &'a Scenario<T>,
        control: &'a Control,
        pass: &'static str,
    ) -> io::Result<Self> {
        let crew = Crew::enlist(scenario, control)?;
        let report = Report { scenario: scenario.name.clone(), pass, ..Report::default() };
        Ok(Self {
            scenario,
            control,
            crew,
            report,
            unblocked: false,
            busy: Vec::new(),
            lead: Course::default(),
            missed: false,
            since: 0,
            recovery: Duration::ZERO,
        })
    }

    pub(crate) fn scenario(&self) -> &'a Scenario<T> {
        self.scenario
    }

    /// Tells what the first victim, or the frozen one, does when it is alone.
    pub(crate) fn set_lead(&mut self, course: Course) {
        self.lead = course;
    }

    /// A round in which nobody is killed: records the victim's course, lets it finish, and judges.
    ///
    /// `None` if the round failed, which is recorded.
    pub(crate) fn survey(&mut self, plan: Plan) -> io::Result<Option<Course>> {
        self.attempt(plan, None, |stage| stage.try_survey(plan))
    }

    /// A round in which the victim is killed at `target`.
    ///
    /// If the others take too long to recover it is played again, since a busy machine may keep anybody from
    /// running. What a death leaves is the same each time: a recovery that is slow because of that stays slow.
    pub(crate) fn strike(
        &mut self,
        plan: Plan,
        target: Target,
        course: &Course,
    ) -> io::Result<Arrival> {
        let mut fastest = Duration::MAX;
        let mut tries = 0;
        loop {
            let counted = (self.report.kill_points, self.report.blocked_points);
            self.recovery = Duration::ZERO;
            let arrival =
                self.attempt(plan, Some(target), |stage| stage.try_strike(plan, target, course))?;
            fastest = fastest.min(self.recovery);
            tries += 1;
            let is_slow = self.recovery >= RECOVERY_LIMIT;
            self.report.slow_rounds += usize::from(is_slow);
            if !is_slow || tries == SLOW_TRIES {
                self.report.worst_recovery = self.report.worst_recovery.max(fastest);
                return Ok(arrival.unwrap_or(Arrival::Failed));
            }
            (self.report.kill_points, self.report.blocked_points) = counted;
        }
    }

    /// Plays a round until it counts.
    fn attempt<R>(
        &mut self,
        plan: Plan,
        target: Option<Target>,
        round: impl FnMut(&mut Self) -> Result<R, Trouble>,
    ) -> io::Result<Option<R>> {
        let point = target.map(|target| {
            let (instruction, asleep) = match target {
                Target::Instruction(k) => (k, false),
                Target::Sleep(n) => (n, true),
            };
            Point {
                killed: true,
                instruction,
                asleep,
                place: String::from("not reached"),
                given: plan.given(),
            }
        });
        self.attempt_at(plan, point, round)
    }

    fn attempt_at<R>(
        &mut self,
        plan: Plan,
        point: Option<Point>,
        mut round: impl FnMut(&mut Self) -> Result<R, Trouble>,
    ) -> io::Result<Option<R>> {
        for _ in 0..ATTEMPTS {
            watchdog::doing(&format!(
                "{} [{}] {point:?} {plan:?}",
                self.report.scenario, self.report.pass
            ));
            match round(self) {
                Ok(result) => return Ok(Some(result)),
                Err(Trouble::Uncounted) => {
                    self.report.uncounted += 1;
                    self.crew.replace()?;
                }
                Err(trouble) => return self.record(trouble, point).map(|()| None),
            }
        }
        let what = format!("was not brought into the situation in {ATTEMPTS} attempts");
        self.record_failure(Finding { point, who: plan.role(), what });
        Ok(None)
    }

    /// Records what ended a round and puts new processes in place of those that may be stuck in it.
    fn record(&mut self, trouble: Trouble, point: Option<Point>) -> io::Result<()> {
        match trouble {
            Trouble::Os(error) => return Err(error),
            Trouble::Wedge(who, what) => self.record_wedge(Finding { point, who, what }),
            Trouble::Failure(who, what) => self.record_failure(Finding { point, who, what }),
            Trouble::Uncounted => self.report.uncounted += 1,
        }
        self.crew.replace()
    }

    fn record_wedge(&mut self, finding: Finding) {
        self.report.wedges.push(finding);
        announce("WEDGE", &self.report.scenario, &self.report.wedges);
    }

    fn record_failure(&mut self, finding: Finding) {
        self.report.failures.push(finding);
        announce("FAILURE", &self.report.scenario, &self.report.failures);
    }

    fn try_survey(&mut self, plan: Plan) -> Result<Course, Trouble> {
        let mut scene = self.prepare(plan)?;
        let extent = self.scenario.extent();
        let mut course = Course::default();
        let victim = &mut scene.victim;
        loop {
            let k = course.visits.len();
            course.visits.push(Visit { pc: victim.pc()?, image: extent.hash() });
            if k >= self.scenario.longest {
                if matches!(plan, Plan::Beside { .. }) {
                    break;
                }
                let what = format!("has not ended its operation after {k} instructions");
                return Err(Trouble::Failure(plan.role(), what));
            }
            if victim.next()? == Instruction::SystemCall {
                course.calls.push(k);
            }
            let step = victim.step()?;
            match self.see_through(victim, plan, step)? {
                Step::Done => {}
                Step::AtMarker => {
                    course.ended = true;
                    break;
                }
                Step::Asleep => break,
                Step::Lost(change) => return Err(lost(victim.role(), change)),
            }
        }
        self.since = sys::now();
        if course.ended {
            self.let_out(victim)?;
        } else {
            // It waits for the frozen one, or for the newcomer.
            self.thaw(scene.frozen.take(), None)?;
            self.control.station(Role::Newcomer).release();
            self.let_out(&mut scene.victim)?;
        }
        self.call_witness(scene.victim.pid());
        self.judge(scene.frozen.take(), None)?;
        Ok(course)
    }

    fn try_strike(
        &mut self,
        plan: Plan,
        target: Target,
        course: &Course,
    ) -> Result<Arrival, Trouble> {
        let mut scene = self.prepare(plan)?;
        let arrival = self.advance(&mut scene.victim, plan, target, course)?;
        let (instruction, asleep) = match arrival {
            Arrival::At(k) | Arrival::Ended(k) => (k, false),
            Arrival::Asleep(k) => (k, true),
            Arrival::Failed => return Ok(arrival),
        };
        let pc = if asleep { procfs::sleeps_at(scene.victim.pid())? } else { scene.victim.pc()? };
        self.kill(&mut scene.victim)?;
        // What was not aimed at, the end of an operation or a last sleep, has a round of its own.
        let hit = !self.missed && (asleep || matches!(target, Target::Instruction(_)));
        self.report.kill_points += usize::from(hit);
        self.report.blocked_points += usize::from(hit && asleep);
        let point = || Point {
            killed: true,
            instruction,
            asleep,
            place: procfs::place(pc),
            given: plan.given(),
        };
        let Scene { victim, frozen } = scene;
        let zombie = self.scenario.leave_zombie.then_some(victim);
        let judged = self.judge(frozen, Some(&point));
        drop(zombie);
        if let Err(trouble) = judged {
            self.record(trouble, Some(point()))?;
        }
        Ok(arrival)
    }
}

impl Plan {
    /// Who is killed.
    fn role(self) -> Role {
        match self {
            Self::Second | Self::After { .. } => Role::Second,
            Self::Plain | Self::Beside { .. } | Self::Woken => Role::Victim,
        }
    }

    /// The plan as an addition to a kill point.
    fn given(self) -> String {
        match self {
            Self::Plain | Self::Second => String::new(),
            Self::After { first } => {
                format!(" after a first victim was killed at instruction {first}")
            }
            Self::Beside { frozen } => format!(" beside one frozen at instruction {frozen}"),
            Self::Woken => String::from(" counted from its wake-up"),
        }
    }
}

/// Prints the last of `findings`, unless there were enough of its kind.
fn announce(kind: &str, scenario: &str, findings: &[Finding]) {
    match (findings.len(), findings.last()) {
        (..=ANNOUNCED, Some(finding)) => println!("  {kind} {scenario}: {finding}"),
        (n, _) if n == ANNOUNCED + 1 => println!("  {kind} {scenario}: and more of the kind"),
        _ => {}
    }
}
