//! Two victims: the first is killed in each image of its operation, the second in each image of its own operation on
//! what the first has left.

use std::io;

use super::super::stage::{Plan, Stage};

pub(crate) const NAME: &str = "pairs of images";

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    let Some(first) = stage.survey(Plan::Plain)? else { return Ok(()) };
    let images = first.images();
    stage.set_lead(first);
    for image in images {
        let plan = Plan::After { first: image };
        let Some(second) = stage.survey(plan)? else { continue };
        stage.report.instructions = stage.report.instructions.max(second.len());
        super::kill_at(stage, plan, &second, &second.images_and_calls())?;
        super::kill_asleep(stage, plan, &second)?;
    }
    Ok(())
}
