//! Who a part of a scenario is run by, and what it may ask of the harness.

use core::sync::atomic::Ordering;

use super::control::{Control, Role, Station};
use super::trace;

/// The harness, as a process of the scenario sees it; every part is handed one.
#[derive(Debug)]
pub struct Actor<'a> {
    role: Role,
    control: &'a Control,
    station: &'a Station,
    traced: bool,
}

impl<'a> Actor<'a> {
    pub(crate) fn new(role: Role, control: &'a Control, traced: bool) -> Self {
        Self { role, control, station: control.station(role), traced }
    }

    /// What this process is there for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// A number that is unique among the processes of the scenario, from 1; fit for a producer's or an owner's id.
    pub fn number(&self) -> u32 {
        self.role.number()
    }

    /// Runs the operation under test: in a victim, exactly the instructions of `operation` are kill points.
    ///
    /// Whatever stands before the call in the part runs unharmed; whatever stands after it runs only in a victim that
    /// nobody kills. Outside a victim this is a plain call.
    #[inline(always)]
    pub fn operation<R>(&self, operation: impl FnOnce() -> R) -> R {
        self.operation_begins();
        let result = operation();
        self.operation_ends();
        result
    }

    /// For an operation that calls back: its kill points begin here, in what it calls.
    #[inline(always)]
    pub fn operation_begins(&self) {
        if self.traced {
            trace::marker();
        }
    }

    /// And end here, behind it.
    #[inline(always)]
    pub fn operation_ends(&self) {
        if self.traced {
            trace::marker();
        }
    }

    /// For a holder or a newcomer: says "I am in place" and sleeps until the harness lets it go on.
    pub fn hold(&self) {
        self.station.hold(self.control);
    }

    /// Says that the first operation after the death has succeeded; recovery is measured up to here.
    ///
    /// A part that never calls it has recovered when it ends. Only the first call counts.
    pub fn succeeded(&self) {
        self.station.succeed();
    }

    /// What the scenario's witness said about the last victim just before it was killed; 0 without a witness.
    pub fn witnessed(&self) -> u64 {
        self.control.witnessed.load(Ordering::Relaxed)
    }

    /// The sum of what the witness said before earlier deaths in this round; 0 if there was only one.
    pub fn witnessed_before(&self) -> u64 {
        self.control.witnessed_before.load(Ordering::Relaxed)
    }

    /// How many processes were killed in this round so far.
    pub fn deaths(&self) -> u32 {
        self.control.deaths.load(Ordering::Relaxed)
    }

    /// The process that is alive but frozen within its operation, if there is one.
    pub fn frozen(&self) -> Option<u32> {
        match self.control.frozen.load(Ordering::Relaxed) {
            0 => None,
            pid => Some(pid),
        }
    }
}
