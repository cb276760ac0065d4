//! What ours is compared with: physical floors, kernel transports, and other people's crates.

pub mod floor;
pub mod kernel;
pub mod locks;
pub mod pthread;
pub mod python;
pub mod rings;
pub mod spawners;
