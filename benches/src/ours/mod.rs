//! Ours, as subjects.

mod locks;
pub mod stamped;
