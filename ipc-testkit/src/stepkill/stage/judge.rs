//! The kill, and how the others are after it.

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io;

use super::super::control::{Command, Role};
use super::super::crew::Waited;
use super::super::report::{Finding, Point};
use super::super::trace::Tracee;
use super::{Stage, Trouble};
use crate::sys::{self, Change};

impl<T: Sync> Stage<'_, T> {
    pub(super) fn call_witness(&self, victim: sys::Pid) {
        if let Some(witness) = &self.scenario.witness {
            let said = witness(self.scenario.state(), victim as u32);
            let earlier = self.control.witnessed.swap(said, Ordering::Relaxed);
            self.control.witnessed_before.fetch_add(earlier, Ordering::Relaxed);
        }
    }

    pub(super) fn kill(&mut self, victim: &mut Tracee) -> io::Result<()> {
        self.call_witness(victim.pid());
        victim.kill()?;
        self.since = sys::now();
        self.control.deaths.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Lets a traced process finish its part.
    pub(super) fn let_out(&self, tracee: &mut Tracee) -> Result<(), Trouble> {
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
    pub(super) fn thaw(
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
    pub(super) fn judge(
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

    pub(super) fn run_survivors(
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

    pub(super) fn wait_done(&mut self, roles: &[Role]) -> Result<(), Trouble> {
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
            self.recovery = self.recovery.max(Duration::from_nanos(took));
        }
        Ok(())
    }

    /// Records the verdicts of `roles`, who are done.
    pub(super) fn hear(&mut self, roles: &[Role], point: Option<&dyn Fn() -> Point>) {
        for role in roles {
            if let Err(flaw) = self.control.station(*role).verdict() {
                let point = point.map(|point| point());
                self.record_failure(Finding { point, who: *role, what: flaw.to_string() });
            }
        }
    }
}

/// Somebody ended, or was stopped, who must not.
pub(super) fn lost(role: Role, change: Change) -> Trouble {
    let what = match change {
        Change::Stopped(signal) => format!("was stopped by signal {signal}"),
        Change::Killed(signal) => format!("was killed by signal {signal}"),
        Change::Exited(code) => format!("exited with code {code}"),
    };
    Trouble::Failure(role, what)
}
