//! Process-shared locks.
#![no_std]

#[cfg(any(feature = "std", test, loom))]
extern crate std;

mod mutex;
mod raw;

pub use ipc_core::clock::Deadline;
pub use mutex::{LockError, Mutex, MutexGuard, Recovered};
