//! Paired measurements of the ipc crates beside their peers.
//!
//! The binary `compare` runs two subjects in short alternating slices on two pinned processors,
//! probes the machine before and after each slice, and reports the median of the pairwise ratios.
//! `benches/README.md` says how to run it, how to read it, and why it is made like that.
//!
//! To add a subject, write a function that returns a [`subject::Subject`] and name it in its
//! family, in `families/`; what it must reach stands in [`targets`].

pub mod cli;
pub mod families;
pub mod format;
pub mod machine;
pub mod ours;
pub mod payload;
pub mod peers;
pub mod plot;
pub mod queue;
pub mod readme;
pub mod report;
pub mod runner;
pub mod stats;
pub mod streams;
pub mod subject;
pub mod sys;
pub mod table;
pub mod targets;
pub mod turns;

mod board;
mod crew;
mod probe;
mod sides;

/// The examples of the project's front page, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod front_page {}
