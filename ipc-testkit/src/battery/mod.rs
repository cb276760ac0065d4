//! Scenarios for each kind of primitive: locks, things done once, waits, permits, barriers, rings. Implement a small trait, and run
//! them all.

pub mod barriers;
pub mod events;
pub mod latches;
pub mod locks;
pub mod once;
pub mod rings;
pub mod rwlocks;
pub mod semaphores;
pub mod slots;
pub mod waiting;
pub mod waits;
