//! Scenarios for everything that is a lock, an event, a latch, a semaphore, a ring or something to wait at: implement a small trait and run them all.

pub mod events;
pub mod latches;
pub mod locks;
pub mod rings;
pub mod semaphores;
pub mod waits;
