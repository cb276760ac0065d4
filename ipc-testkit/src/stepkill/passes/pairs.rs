//! Two victims: the first is killed in each image of its operation, the second in each image of its own operation on
//! what the first has left. With `IPC_STEPKILL=deep` each is killed at every instruction instead.

use std::io;

use super::super::stage::{Plan, Stage};

pub(crate) const NAME: &str = "pairs of images";

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    let Some(first) = stage.survey(Plan::Plain)? else { return Ok(()) };
    let points = super::first_points(&first);
    stage.set_lead(first);
    for point in points {
        let plan = Plan::After { first: point };
        let Some(second) = stage.survey(plan)? else { continue };
        stage.report.instructions = stage.report.instructions.max(second.len());
        super::kill_at(stage, plan, &second, &super::second_points(&second))?;
        super::kill_asleep(stage, plan, &second)?;
    }
    Ok(())
}
