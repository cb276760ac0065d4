//! Two victims: the first is killed in each image of its operation, the second in each image of its own operation on
//! what the first has left. With `IPC_STEPKILL=deep` each is killed at every instruction instead.
//!
//! Of long operations that would be too many: a second victim is then killed at every instruction after a first one that was
//! killed in a new image or around a call, and in its own images and calls after all other ones.

use std::io;

use super::super::stage::{Plan, Stage};

pub(crate) const NAME: &str = "pairs of images";

/// More pairs of instructions than this take longer than a quarter of an hour.
const MANY: usize = 300_000;

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    let Some(first) = stage.survey(Plan::Plain)? else { return Ok(()) };
    let (points, marked) = (super::first_points(&first), first.images_and_calls());
    let count = points.len();
    stage.set_lead(first);
    for point in points {
        let plan = Plan::After { first: point };
        let Some(second) = stage.survey(plan)? else { continue };
        stage.report.instructions = stage.report.instructions.max(second.len());
        let mut seconds = super::second_points(&second);
        if count * seconds.len() > MANY && !marked.contains(&point) {
            seconds = second.images_and_calls();
        }
        super::kill_at(stage, plan, &second, &seconds)?;
        super::kill_asleep(stage, plan, &second)?;
    }
    Ok(())
}
