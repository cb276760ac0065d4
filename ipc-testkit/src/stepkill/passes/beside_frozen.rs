//! One process is stopped, alive, in each image of its operation (with `IPC_STEPKILL=deep` at every instruction), while
//! another is killed at every instruction.
//!
//! The survivors must find the first one alive; then it goes on, and must finish.

use std::io;

use super::super::stage::{Plan, Stage};
use super::{REPEATS, first_points, kill_everywhere};

pub(crate) const NAME: &str = "beside one frozen alive";

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    let Some(alone) = stage.survey(Plan::Second)? else { return Ok(()) };
    let points = first_points(&alone);
    stage.set_lead(alone);
    for frozen in points {
        // A victim that waits for the frozen one spins or sleeps in slices without end.
        kill_everywhere(stage, Plan::Beside { frozen }, stage.scenario().repeats.min(REPEATS))?;
    }
    Ok(())
}
