//! The victim is killed once in each distinct image of the shared bytes, and at both ends of each system call.
//!
//! What lies between two such points is private to the victim and dies with it: enough for long operations.

use std::io;

use super::super::stage::{Plan, Stage};

pub(crate) const NAME: &str = "every image";

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    let Some(course) = stage.survey(Plan::Plain)? else { return Ok(()) };
    stage.report.instructions = course.len();
    super::kill_at(stage, Plan::Plain, &course, &course.images_and_calls())?;
    super::kill_asleep(stage, Plan::Plain, &course)
}
