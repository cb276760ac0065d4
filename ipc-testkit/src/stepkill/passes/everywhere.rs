//! The victim is killed at every instruction of its operation.

use std::io;

use super::super::stage::{Plan, Stage};

pub(crate) const NAME: &str = "every instruction";

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    super::kill_everywhere(stage, Plan::Plain, stage.scenario().repeats)
}
