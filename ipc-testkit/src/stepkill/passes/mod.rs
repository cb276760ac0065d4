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
