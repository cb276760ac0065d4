//! What ours is compared with: physical floors, kernel transports, and other people's crates.

pub mod attributes;
pub mod channels;
pub mod floor;
pub mod index_ring;
pub mod kernel;
pub mod locks;
pub mod mq;
pub mod parents;
pub mod permits;
pub mod posix;
pub mod pthread;
pub mod python;
pub mod readers;
pub mod rings;
pub mod spawners;
pub mod vyukov;
