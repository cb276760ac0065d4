//! The long-lived processes of a scenario: holder, newcomer, waiters and survivors.

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::io;
use std::panic::catch_unwind;
use std::time::Instant;

use super::actor::Actor;
use super::control::{Command, Control, Role};
use super::procfs;
use super::scenario::Scenario;
use super::verdict::Verdict;
use crate::flaw;
use crate::sys::{self, Change, Pid};

/// One process per role, forked once and told by the control page what to run next.
pub(crate) struct Crew<'a, T: Sync> {
    scenario: &'a Scenario<T>,
    control: &'a Control,
    members: Vec<Member>,
}

struct Member {
    role: Role,
    pid: Pid,
    gone: bool,
}

/// How a wait for the crew ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// What was waited for has come.
    Come,
    /// The time passed.
    TooLong,
    /// A member died of itself.
    Lost(Role, Change),
}

/// How often a sleeping harness looks whether a member died.
const ROLL_CALL: Duration = Duration::from_millis(20);

impl<'a, T: Sync> Crew<'a, T> {
    pub(crate) fn enlist(scenario: &'a Scenario<T>, control: &'a Control) -> io::Result<Self> {
        let mut crew = Self { scenario, control, members: Vec::new() };
        for role in scenario.crew() {
            let pid = crew.hire(role)?;
            crew.members.push(Member { role, pid, gone: false });
        }
        Ok(crew)
    }

    fn hire(&self, role: Role) -> io::Result<Pid> {
        let station = self.control.station(role);
        station.clear();
        let begun = station.order();
        sys::fork(|| serve(self.scenario, self.control, role, begun))
    }

    /// Tells `role` to run a part.
    pub(crate) fn command(&self, role: Role, command: Command) {
        self.control.station(role).command(command);
    }

    /// Waits until `come`, for at most `limit`.
    pub(crate) fn wait(
        &mut self,
        limit: Duration,
        come: impl Fn(&Control) -> bool,
    ) -> io::Result<Waited> {
        let start = Instant::now();
        loop {
            let bell = self.control.bell();
            if come(self.control) {
                return Ok(Waited::Come);
            }
            let Some(left) = limit.checked_sub(start.elapsed()) else { return Ok(Waited::TooLong) };
            let asleep = Instant::now();
            self.control.sleep(bell, left.min(ROLL_CALL));
            if asleep.elapsed() >= ROLL_CALL {
                if let Some((role, change)) = self.roll_call()? {
                    return Ok(Waited::Lost(role, change));
                }
            }
        }
    }

    fn roll_call(&mut self) -> io::Result<Option<(Role, Change)>> {
        for member in &mut self.members {
            if let Some(change) = sys::poll_child(member.pid)? {
                member.gone = true;
                return Ok(Some((member.role, change)));
            }
        }
        Ok(None)
    }

    /// Waits until `role` sleeps in a futex, or polls, inside its part; `false` if it ends or is still awake after `limit`.
    pub(crate) fn wait_parked(&self, role: Role, limit: Duration) -> io::Result<bool> {
        let station = self.control.station(role);
        let pid = self.pid(role);
        let start = Instant::now();
        while start.elapsed() < limit {
            // Running before and after the look: the sleep was in the part and not in the wait for orders.
            let is_parked = || Ok::<_, io::Error>(procfs::is_parked(pid)? || procfs::polls(pid)?);
            if station.is_running() && is_parked()? && station.is_running() {
                return Ok(true);
            }
            if station.is_done() {
                return Ok(false);
            }
            std::thread::yield_now();
        }
        Ok(false)
    }

    fn pid(&self, role: Role) -> Pid {
        self.members
            .iter()
            .find(|m| m.role == role)
            .map(|m| m.pid)
            .expect("the scenario has this role")
    }

    /// Kills all members and forks new ones: the old ones may be stuck anywhere.
    pub(crate) fn replace(&mut self) -> io::Result<()> {
        self.dismiss();
        for i in 0..self.members.len() {
            let role = self.members[i].role;
            self.members[i] = Member { role, pid: self.hire(role)?, gone: false };
        }
        Ok(())
    }

    fn dismiss(&mut self) {
        for member in self.members.iter().filter(|m| !m.gone) {
            sys::kill(member.pid, libc::SIGKILL);
        }
        for member in self.members.iter_mut().filter(|m| !m.gone) {
            // An error means that it is reaped already, which is what is wanted.
            let _ = sys::wait(member.pid);
            member.gone = true;
        }
    }
}

impl<T: Sync> Drop for Crew<'_, T> {
    fn drop(&mut self) {
        self.dismiss();
    }
}

/// The life of a member.
fn serve<T: Sync>(scenario: &Scenario<T>, control: &Control, role: Role, begun: u32) -> i32 {
    let station = control.station(role);
    let mut last = begun;
    loop {
        let (order, command) = station.await_order(last);
        last = order;
        station.begin();
        let part = match command {
            Command::Own => scenario.part(role),
            Command::BesideFrozen => scenario.beside_frozen.as_ref(),
            Command::Audit => scenario.audit.as_ref(),
        };
        let actor = Actor::new(role, control, false);
        station.finish(run(|| part.map_or(Ok(()), |part| part(scenario.state(), &actor))), control);
    }
}

/// Runs a part; a panic, whose message is on standard error already, becomes a flaw.
pub(crate) fn run(part: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or_else(|_| Err(flaw!("panicked")))
}
