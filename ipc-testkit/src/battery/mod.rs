//! Scenarios for everything that is a lock, an event, a semaphore or a ring: implement a small trait and run them all.

pub mod events;
pub mod locks;
pub mod rings;
pub mod semaphores;
