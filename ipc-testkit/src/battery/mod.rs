//! Scenarios for everything that is a lock or a ring: implement a small trait and run them all.

pub mod locks;
pub mod rings;
