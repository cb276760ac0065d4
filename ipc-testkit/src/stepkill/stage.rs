//! One round: everybody takes their place, somebody is killed, and the others are judged.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io;

use super::actor::Actor;
use super::arch::Instruction;
use super::control::{Command, Control, Role};
use super::course::{Course, Visit};
use super::crew::{self, Crew, Waited};
use super::procfs;
use super::report::{Finding, Point, Report};
use super::scenario::Scenario;
use super::trace::{Step, Tracee};
use super::watchdog;
use crate::sys::{self, Change};

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
    pub(crate) fn strike(
        &mut self,
        plan: Plan,
        target: Target,
        course: &Course,
    ) -> io::Result<Arrival> {
        let arrival =
            self.attempt(plan, Some(target), |stage| stage.try_strike(plan, target, course))?;
        Ok(arrival.unwrap_or(Arrival::Failed))
    }

    /// Plays a round until it counts.
    fn attempt<R>(
        &mut self,
        plan: Plan,
        target: Option<Target>,
        mut round: impl FnMut(&mut Self) -> Result<R, Trouble>,
    ) -> io::Result<Option<R>> {
        let place = || String::from("not reached");
        let point = target.map(|target| match target {
            Target::Instruction(k) => {
                Point { instruction: k, asleep: false, place: place(), given: plan.given() }
            }
            Target::Sleep(n) => {
                Point { instruction: n, asleep: true, place: place(), given: plan.given() }
            }
        });
        for _ in 0..ATTEMPTS {
            watchdog::doing(&format!(
                "{} [{}] {target:?} {plan:?}",
                self.report.scenario, self.report.pass
            ));
            match round(self) {
                Ok(result) => return Ok(Some(result)),
                Err(Trouble::Os(error)) => return Err(error),
                Err(Trouble::Wedge(who, what)) => {
                    self.record_wedge(Finding { point, who, what });
                    self.crew.replace()?;
                    return Ok(None);
                }
                Err(Trouble::Failure(who, what)) => {
                    self.record_failure(Finding { point, who, what });
                    self.crew.replace()?;
                    return Ok(None);
                }
                Err(Trouble::Uncounted) => {
                    self.report.uncounted += 1;
                    self.crew.replace()?;
                }
            }
        }
        let what = format!("was not brought into the situation in {ATTEMPTS} attempts");
        self.record_failure(Finding { point, who: plan.role(), what });
        Ok(None)
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
        let point = || Point { instruction, asleep, place: procfs::place(pc), given: plan.given() };
        let Scene { victim, frozen } = scene;
        let zombie = self.scenario.leave_zombie.then_some(victim);
        let judged = self.judge(frozen, Some(&point));
        drop(zombie);
        match judged {
            Err(Trouble::Wedge(who, what)) => {
                self.record_wedge(Finding { point: Some(point()), who, what });
                self.crew.replace()?;
            }
            Err(Trouble::Failure(who, what)) => {
                self.record_failure(Finding { point: Some(point()), who, what });
                self.crew.replace()?;
            }
            other => other?,
        }
        Ok(arrival)
    }

    // Before the kill.

    /// Everybody takes their place.
    fn prepare(&mut self, plan: Plan) -> Result<Scene, Trouble> {
        self.unblocked = false;
        self.missed = false;
        self.busy.clear();
        self.control.frozen.store(0, Ordering::Relaxed);
        self.control.deaths.store(0, Ordering::Relaxed);
        self.control.witnessed.store(0, Ordering::Relaxed);
        self.control.witnessed_before.store(0, Ordering::Relaxed);
        self.scenario.reset();
        if self.scenario.holder.is_some() {
            self.send(Role::Holder);
            self.wait_in_place(Role::Holder)?;
        }
        let mut frozen = None;
        match plan {
            Plan::Plain | Plan::Second | Plan::Woken => {}
            Plan::After { first } => {
                let mut victim = self.bring(Role::Victim)?;
                self.walk(&mut victim, plan, first)?;
                self.kill(&mut victim)?;
            }
            Plan::Beside { frozen: at } => {
                let mut second = self.bring(Role::Second)?;
                self.walk(&mut second, plan, at)?;
                self.control.frozen.store(second.pid() as u32, Ordering::Relaxed);
                frozen = Some(second);
            }
        }
        let mut victim = self.bring(plan.role())?;
        if plan == Plan::Woken {
            self.wake(&mut victim)?;
        } else {
            self.park_waiters()?;
        }
        Ok(Scene { victim, frozen })
    }

    fn send(&mut self, role: Role) {
        self.busy.push(role);
        self.crew.command(role, Command::Own);
    }

    fn wait_in_place(&mut self, role: Role) -> Result<(), Trouble> {
        let limit = self.scenario.patience;
        let come = |c: &Control| c.station(role).is_in_place() || c.station(role).is_done();
        match self.crew.wait(limit, come)? {
            Waited::Come if self.control.station(role).is_in_place() => Ok(()),
            Waited::Come => match self.control.station(role).verdict() {
                Err(flaw) => Err(Trouble::Failure(role, flaw.to_string())),
                Ok(()) => Err(Trouble::Failure(role, String::from("ended without a call of hold"))),
            },
            Waited::TooLong => {
                Err(Trouble::Wedge(role, format!("was not in place within {limit:?}")))
            }
            Waited::Lost(role, change) => Err(lost(role, change)),
        }
    }

    /// Forks a process that stops at the beginning of its operation.
    fn bring(&self, role: Role) -> Result<Tracee, Trouble> {
        let part = self.scenario.part(role).expect("the suite checked that there is a victim");
        let station = self.control.station(role);
        station.clear();
        let limit = self.scenario.patience;
        Tracee::spawn(role, limit, || {
            let actor = Actor::new(role, self.control, true);
            let verdict = crew::run(|| {
                if self.scenario.one_processor {
                    sys::stay_on_processor()?;
                }
                part(self.scenario.state(), &actor)
            });
            station.finish(verdict, self.control);
            0
        })
        .map_err(|error| match (error.kind(), station.verdict()) {
            (io::ErrorKind::TimedOut, _) => {
                Trouble::Wedge(role, format!("did not come to its operation within {limit:?}"))
            }
            (_, Err(flaw)) => Trouble::Failure(role, flaw.to_string()),
            (io::ErrorKind::Other, Ok(())) => Trouble::Failure(role, error.to_string()),
            _ => Trouble::Os(error),
        })
    }

    fn park_waiters(&mut self) -> Result<(), Trouble> {
        for waiter in (0..self.scenario.waiters).map(Role::Waiter) {
            self.send(waiter);
            if !self.crew.wait_parked(waiter, self.scenario.patience)? {
                let verdict = self.control.station(waiter).verdict();
                let why = verdict.err().map_or_else(String::new, |flaw| format!(": {flaw}"));
                return Err(Trouble::Failure(waiter, format!("does not sleep in a futex{why}")));
            }
        }
        Ok(())
    }

    /// Brings about `Plan::Woken`.
    fn wake(&mut self, victim: &mut Tracee) -> Result<(), Trouble> {
        for _ in 0..self.scenario.longest {
            match victim.run_to_call()? {
                Step::Done => continue,
                Step::AtMarker => {
                    return Err(Trouble::Failure(
                        victim.role(),
                        String::from("never slept in its operation"),
                    ));
                }
                Step::Lost(change) => return Err(lost(victim.role(), change)),
                Step::Asleep => {}
            }
            // The victim is the first in the queue and the waiters stand behind it.
            if self.busy.iter().all(|role| *role == Role::Holder) {
                self.park_waiters()?;
            }
            if !procfs::is_parked(victim.pid())? {
                // Its slice ended meanwhile.
                match victim.finish_step(self.scenario.patience)? {
                    Step::Done => continue,
                    _ => return Err(Trouble::Uncounted),
                }
            }
            self.unblock();
            // The wake-up ends its step, so it stops behind the system call, before it could do anything about it.
            match victim.finish_step(self.scenario.patience)? {
                Step::Done if victim.result()? >= 0 => {}
                Step::Lost(change) => return Err(lost(victim.role(), change)),
                // Its slice ended, or the other one was woken.
                _ => return Err(Trouble::Uncounted),
            }
            if self.scenario.newcomer.is_some() {
                self.send(Role::Newcomer);
                match self.wait_in_place(Role::Newcomer) {
                    Err(Trouble::Failure(..))
                        if self.control.station(Role::Newcomer).verdict().is_ok() =>
                    {
                        // It ended without a word: somebody else was faster.
                        return Err(Trouble::Uncounted);
                    }
                    other => other?,
                }
            }
            return Ok(());
        }
        Err(Trouble::Failure(victim.role(), String::from("never slept in its operation")))
    }

    /// Executes `k` instructions, or fewer if the operation ends or falls asleep for good before.
    fn walk(&mut self, tracee: &mut Tracee, plan: Plan, k: usize) -> Result<(), Trouble> {
        let course = core::mem::take(&mut self.lead);
        let arrival = self.advance(tracee, plan, Target::Instruction(k), &course);
        self.lead = course;
        arrival.map(drop)
    }

    fn advance(
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

    fn advance_to(
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
        Ok(if victim.next()? == Instruction::Marker { Arrival::Ended(k) } else { Arrival::At(k) })
    }

    fn advance_to_sleep(
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
                Step::Asleep => return Ok(Arrival::Asleep(sleeps)),
                Step::Lost(change) => return Err(lost(victim.role(), change)),
            }
        }
    }

    /// Gives a sleeping victim what it sleeps for and waits for it; `Asleep` if this plan has nothing to give.
    fn see_through(
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

    fn unblock(&mut self) {
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

    fn call_witness(&self, victim: sys::Pid) {
        if let Some(witness) = &self.scenario.witness {
            let said = witness(self.scenario.state(), victim as u32);
            let earlier = self.control.witnessed.swap(said, Ordering::Relaxed);
            self.control.witnessed_before.fetch_add(earlier, Ordering::Relaxed);
        }
    }

    fn kill(&mut self, victim: &mut Tracee) -> io::Result<()> {
        self.call_witness(victim.pid());
        victim.kill()?;
        self.since = sys::now();
        self.control.deaths.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    // After the kill.

    /// Lets a traced process finish its part.
    fn let_out(&self, tracee: &mut Tracee) -> Result<(), Trouble> {
        let role = tracee.role();
        let limit = self.scenario.patience;
        match tracee.run_out(limit)? {
            Some(Change::Exited(0)) => match self.control.station(role).verdict() {
                Ok(()) => Ok(()),
                Err(flaw) => Err(Trouble::Failure(role, flaw.to_string())),
            },
            Some(change) => Err(lost(role, change)),
            None => Err(Trouble::Wedge(role, format!("alive, did not finish within {limit:?}"))),
        }
    }

    /// Lets the frozen one go on after the survivors had their look beside it.
    fn thaw(
        &mut self,
        frozen: Option<Tracee>,
        point: Option<&dyn Fn() -> Point>,
    ) -> Result<(), Trouble> {
        let Some(mut frozen) = frozen else { return Ok(()) };
        if self.scenario.beside_frozen.is_some() {
            self.run_survivors(Command::BesideFrozen, point)?;
        }
        self.control.frozen.store(0, Ordering::Relaxed);
        self.let_out(&mut frozen)?;
        self.since = sys::now();
        Ok(())
    }

    /// Waits for everybody who was on the way, lets the survivors work, and hears all verdicts.
    fn judge(
        &mut self,
        frozen: Option<Tracee>,
        point: Option<&dyn Fn() -> Point>,
    ) -> Result<(), Trouble> {
        self.thaw(frozen, point)?;
        if !self.unblocked {
            self.unblock();
            self.since = sys::now();
        }
        if self.busy.contains(&Role::Newcomer) {
            self.control.station(Role::Newcomer).release();
            self.since = sys::now();
        }
        let busy = core::mem::take(&mut self.busy);
        self.wait_done(&busy)?;
        self.hear(&busy, point);
        self.run_survivors(Command::Own, point)?;
        if self.scenario.audit.is_some() {
            let auditor = [Role::Survivor(0)];
            self.crew.command(auditor[0], Command::Audit);
            self.wait_done(&auditor)?;
            self.hear(&auditor, point);
        }
        Ok(())
    }

    fn run_survivors(
        &mut self,
        command: Command,
        point: Option<&dyn Fn() -> Point>,
    ) -> Result<(), Trouble> {
        let survivors: Vec<_> = (0..self.scenario.survivors).map(Role::Survivor).collect();
        self.since = sys::now();
        for survivor in &survivors {
            self.crew.command(*survivor, command);
        }
        self.wait_done(&survivors)?;
        self.hear(&survivors, point);
        Ok(())
    }

    fn wait_done(&mut self, roles: &[Role]) -> Result<(), Trouble> {
        let limit = self.scenario.patience;
        match self.crew.wait(limit, |c| roles.iter().all(|r| c.station(*r).is_done()))? {
            Waited::Come => {}
            Waited::Lost(role, change) => return Err(lost(role, change)),
            Waited::TooLong => {
                let stuck = roles.iter().find(|r| !self.control.station(**r).is_done());
                return Err(Trouble::Wedge(
                    *stuck.unwrap_or(&roles[0]),
                    format!("did not come back within {limit:?}"),
                ));
            }
        }
        for role in roles {
            let took = self.control.station(*role).succeeded_at().saturating_sub(self.since);
            self.report.worst_recovery = self.report.worst_recovery.max(Duration::from_nanos(took));
        }
        Ok(())
    }

    /// Records the verdicts of `roles`, who are done.
    fn hear(&mut self, roles: &[Role], point: Option<&dyn Fn() -> Point>) {
        for role in roles {
            if let Err(flaw) = self.control.station(*role).verdict() {
                let point = point.map(|point| point());
                self.record_failure(Finding { point, who: *role, what: flaw.to_string() });
            }
        }
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

fn lost(role: Role, change: Change) -> Trouble {
    let what = match change {
        Change::Stopped(signal) => format!("was stopped by signal {signal}"),
        Change::Killed(signal) => format!("was killed by signal {signal}"),
        Change::Exited(code) => format!("exited with code {code}"),
    };
    Trouble::Failure(role, what)
}

/// Prints the last of `findings`, unless there were enough of its kind.
fn announce(kind: &str, scenario: &str, findings: &[Finding]) {
    match (findings.len(), findings.last()) {
        (..=ANNOUNCED, Some(finding)) => println!("  {kind} {scenario}: {finding}"),
        (n, _) if n == ANNOUNCED + 1 => println!("  {kind} {scenario}: and more of the kind"),
        _ => {}
    }
}
