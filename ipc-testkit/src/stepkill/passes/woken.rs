//! A waiter is killed between its wake-up and its acquisition, after a newcomer was faster.
//!
//! The victim sleeps first, the waiters behind it. The holder lets go and so wakes the victim, whose step ends in the
//! kernel's return path: it was woken and has not executed one instruction. The newcomer takes what was released. Then
//! the victim executes *k* instructions and is killed, the newcomer lets go, and all waiters must get their turn.

use std::io;

use super::super::stage::{Plan, Stage};

pub(crate) const NAME: &str = "woken waiter";

pub(crate) fn run<T: Sync>(stage: &mut Stage<'_, T>) -> io::Result<()> {
    super::kill_everywhere(stage, Plan::Woken, stage.scenario().repeats)
}
