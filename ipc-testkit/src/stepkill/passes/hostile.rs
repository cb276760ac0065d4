//! Before each access of an honest operation to a shared word, a hostile peer writes something else there.
//!
//! The operation must end without a signal, without a panic, and soon; its part says whether it also ended well. Nobody is
//! killed, and nobody else is there.

use std::io;

use super::super::stage::{Plan, Stage};

pub(crate) const NAME: &str = "hostile values";

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    let Some(course) = stage.survey(Plan::Plain)? else { return Ok(()) };
    stage.report.instructions = course.len();
    let Some(accesses) = stage.accesses()? else { return Ok(()) };
    stage.report.accesses = accesses.len();
    for access in accesses {
        stage.attack(access, &course)?;
    }
    Ok(())
}
