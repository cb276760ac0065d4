//! Before the kill: everybody takes their place.

use core::sync::atomic::Ordering;
use std::io;

use super::super::actor::Actor;
use super::super::control::{Command, Control, Role};
use super::super::crew::{self, Waited};
use super::super::procfs;
use super::super::trace::{Step, Tracee};
use super::judge::lost;
use super::{Plan, Scene, Stage, Trouble};
use crate::sys;

impl<T: Sync> Stage<'_, T> {
    /// Everybody takes their place.
    pub(super) fn prepare(&mut self, plan: Plan) -> Result<Scene, Trouble> {
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

    pub(super) fn send(&mut self, role: Role) {
        self.busy.push(role);
        self.crew.command(role, Command::Own);
    }

    pub(super) fn wait_in_place(&mut self, role: Role) -> Result<(), Trouble> {
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
    pub(super) fn bring(&self, role: Role) -> Result<Tracee, Trouble> {
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

    pub(super) fn park_waiters(&mut self) -> Result<(), Trouble> {
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
    pub(super) fn wake(&mut self, victim: &mut Tracee) -> Result<(), Trouble> {
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
}
