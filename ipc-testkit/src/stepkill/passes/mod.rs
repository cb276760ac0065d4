//! Which victims are killed where.

pub(crate) mod beside_frozen;
pub(crate) mod everywhere;
pub(crate) mod hostile;
pub(crate) mod images;
pub(crate) mod pairs;
pub(crate) mod woken;

use std::io;

use super::course::Course;
use super::stage::{Arrival, Plan, Stage, Target};

/// An operation that spins is struck this often in each of its states, where all would have no end.
const REPEATS: usize = 2;

/// Whether the environment asks for the passes that take long: `IPC_STEPKILL=deep`.
pub(super) fn is_deep() -> bool {
    std::env::var_os("IPC_STEPKILL").is_some_and(|value| value == "deep")
}

/// Where the first of two processes is struck: in each image of its operation, at each instruction if
/// that is asked for.
fn first_points(course: &Course) -> Vec<usize> {
    if is_deep() { course.every(REPEATS) } else { course.images() }
}

/// Where the second one is.
fn second_points(course: &Course) -> Vec<usize> {
    if is_deep() { course.every(REPEATS) } else { course.images_and_calls() }
}

/// Kills at the given points of a course.
fn kill_at<T: Sync>(
    stage: &mut Stage<'_, T>,
    plan: Plan,
    course: &Course,
    points: &[usize],
) -> io::Result<()> {
    for k in points {
        stage.strike(plan, Target::Instruction(*k), course)?;
    }
    Ok(())
}

/// An operation that sleeps more often than this is killed in its first sleeps only.
const SLEEPS: usize = 4;

/// Kills inside each system call in which the victim sleeps.
fn kill_asleep<T: Sync>(stage: &mut Stage<'_, T>, plan: Plan, course: &Course) -> io::Result<()> {
    if course.calls.is_empty() {
        return Ok(());
    }
    for n in 0..SLEEPS {
        match stage.strike(plan, Target::Sleep(n), course)? {
            Arrival::Asleep(_) if !stage.missed => {}
            // It ended, or sleeps for good, before it slept so often.
            _ => break,
        }
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
    let mut last = Arrival::Failed;
    for k in course.every(repeats) {
        last = stage.strike(plan, Target::Instruction(k), &course)?;
        if stage.missed {
            // At full speed it took another way than step by step.
            stage.report.detours += 1;
            last = stage.strike(plan, Target::Instruction(k), &Course::default())?;
        }
    }
    // An operation whose length varies may have more instructions today than when it was recorded.
    let mut k = course.len();
    while course.ended
        && repeats == usize::MAX
        && matches!(last, Arrival::At(_))
        && k < stage.scenario().longest
    {
        k += 1;
        last = stage.strike(plan, Target::Instruction(k), &course)?;
    }
    kill_asleep(stage, plan, &course)
}
