//! An operation under test, as the test describes it.

use core::error::Error;
use core::fmt::{self, Display};
use core::time::Duration;

use crate::stepkill::Flaw;
use crate::stepkill::arch::marker;

/// An operation, with what it needs before and what must hold behind it.
pub struct Case {
    pub(crate) name: &'static str,
    pub(crate) attempt: Box<Run>,
    pub(crate) helpers: bool,
    pub(crate) programs: bool,
    pub(crate) limit: Duration,
}

type Run = dyn Fn(&Attempt) -> Result<(), Trouble>;

impl Case {
    /// A case: `attempt` prepares, calls [`Attempt::operation`] once, judges its result, and drops everything.
    ///
    /// Each attempt runs in a process of its own with one thread, once with a fault and then once without.
    pub fn new(
        name: &'static str,
        attempt: impl Fn(&Attempt) -> Result<(), Trouble> + 'static,
    ) -> Self {
        let limit = Duration::from_secs(60);
        Self { name, attempt: Box::new(attempt), helpers: false, programs: false, limit }
    }

    /// Lets calls fail also in processes that were there before the operation began.
    ///
    /// Otherwise these are taken for tools of the test.
    #[must_use]
    pub fn in_helpers_too(mut self) -> Self {
        self.helpers = true;
        self
    }

    /// Lets calls fail also in processes that have executed a program, in its loader and in its start.
    ///
    /// Otherwise what an executed program meets is its own affair.
    #[must_use]
    pub fn in_programs_too(mut self) -> Self {
        self.programs = true;
        self
    }

    /// How long an attempt may take before it counts as hanging.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What an attempt is handed.
#[derive(Debug)]
pub struct Attempt(pub(super) ());

impl Attempt {
    /// Runs the operation: exactly the system calls that it makes, here and in the processes that it makes, may fail.
    ///
    /// # Errors
    ///
    /// [`Trouble::Refused`] with the operation's own error, which is what a fault may lead to.
    pub fn operation<R, E: Display>(
        &self,
        operation: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, Trouble> {
        self.infallible(operation).map_err(Trouble::refused)
    }

    /// As [`operation`](Self::operation), for one that has no errors.
    pub fn infallible<R>(&self, operation: impl FnOnce() -> R) -> R {
        let _end = Mark::begin();
        operation()
    }
}

/// Says that this process, which the operation has made, is about to do work of its own, whose calls do not fail.
pub fn unharmed() {
    marker();
}

/// The end of the operation, also of one that panics.
struct Mark;

impl Mark {
    fn begin() -> Self {
        marker();
        Self
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        marker();
    }
}

/// Why an attempt did not reach its end.
#[derive(Debug)]
pub enum Trouble {
    /// The operation reported an error. That is right if a fault was injected.
    Refused(Flaw),
    /// Something is wrong.
    Wrong(Flaw),
}

impl Trouble {
    /// The operation reported this, by other means than its result.
    pub fn refused(what: impl Display) -> Self {
        Self::Refused(Flaw::new(format_args!("{what}")))
    }

    /// Something is wrong: this.
    pub fn wrong(what: impl Display) -> Self {
        Self::Wrong(Flaw::new(format_args!("{what}")))
    }
}

/// What fails outside of the operation must not fail.
impl<E: Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::wrong(error)
    }
}

/// Ends an attempt with what is wrong, unless the condition holds.
///
/// # Errors
///
/// [`Trouble::Wrong`] if not.
pub fn check(holds: bool, what: impl Display) -> Result<(), Trouble> {
    if holds { Ok(()) } else { Err(Trouble::wrong(what)) }
}
