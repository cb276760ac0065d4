//! One process is stopped, alive, in each image of its operation, while another is killed at every instruction.
//!
//! The survivors must find the first one alive; then it goes on, and must finish.

use std::io;

use super::super::stage::{Plan, Stage};
use super::kill_everywhere;

pub(crate) const NAME: &str = "beside one frozen alive";

/// A victim that waits for the frozen one spins or sleeps in slices without end; each state of that is killed so often.
const REPEATS: usize = 2;

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    let Some(alone) = stage.survey(Plan::Second)? else { return Ok(()) };
    let images = alone.images();
    stage.set_lead(alone);
    for frozen in images {
        kill_everywhere(stage, Plan::Beside { frozen }, stage.scenario().repeats.min(REPEATS))?;
    }
    Ok(())
}
