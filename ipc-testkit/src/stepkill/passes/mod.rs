//! Which victims are killed where.

pub(crate) mod beside_frozen;
pub(crate) mod everywhere;
pub(crate) mod images;
pub(crate) mod pairs;
pub(crate) mod woken;

use std::io;

use super::course::Course;
use super::stage::{Arrival, Plan, Stage, Target};

/// Kills at the given points of a course.
fn kill_at<T: Sync>(
    stage: &mut Stage<'_, T>,
    plan: Plan,
    course: &Course,
    points: &[usize],
) -> io::Result<()> {
    for k in points {
        stage.strike(plan, Target { instruction: *k, asleep: false }, course)?;
    }
    Ok(())
}

/// Kills inside each system call in which the victim slept.
fn kill_asleep<T: Sync>(stage: &mut Stage<'_, T>, plan: Plan, course: &Course) -> io::Result<()> {
    for k in &course.slept {
        stage.strike(plan, Target { instruction: *k, asleep: true }, course)?;
    }
    Ok(())
}

/// Kills at every instruction of a plan, and inside every sleep.
fn kill_everywhere<T: Sync>(
    stage: &mut Stage<'_, T>,
    plan: Plan,
    repeats: usize,
) -> io::Result<()> {
    let Some(course) = stage.survey(plan)? else { return Ok(()) };
    stage.report.instructions = stage.report.instructions.max(course.len());
    let points = course.every(repeats);
    let mut arrival = Arrival::Failed;
    for k in points {
        arrival = stage.strike(plan, Target { instruction: k, asleep: false }, &course)?;
    }
    // An operation whose length varies may have more instructions today than when it was recorded.
    let mut k = course.len();
    while course.ended
        && repeats == usize::MAX
        && matches!(arrival, Arrival::At(_))
        && k < stage.scenario().longest
    {
        k += 1;
        arrival = stage.strike(plan, Target { instruction: k, asleep: false }, &course)?;
    }
    kill_asleep(stage, plan, &course)
}
