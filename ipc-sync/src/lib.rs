//! Process-shared locks that survive SIGKILL of any participant at any instruction.
//!
//! A lock here is a few words in memory that processes share: no table, no attach call, no name,
//! and zeroed memory is a free lock. It works in a region of `ipc-shm`, in any other `MAP_SHARED`
//! mapping, in a `static`, and in a `#![no_std]` program.
//!
//! | type | size | when a process dies |
//! |---|---|---|
//! | [`Mutex`] | 16 bytes and the value | the next owner is told, once; waiters go on |
//!
//! ```
//! use ipc_sync::{LockError, Mutex};
//!
//! static TOTAL: Mutex<u64> = Mutex::new(0);
//!
//! let mut total = match TOTAL.lock() {
//!     Ok(total) => total,
//!     Err(LockError::Recovered(mut total)) => {
//!         *total = 0; // The last holder was killed in the middle: put it right.
//!         total.mark_consistent()
//!     }
//!     Err(error) => panic!("{error}"),
//! };
//! *total += 1;
//! ```
//!
//! # What the locks have in common
//!
//! * Liveness is asked of the kernel. No time-out makes a process dead, and a stopped one lives.
//! * An uncontended operation makes no system call, except the first release of a lock. A wait sleeps on a futex in slices of at most
//!   64 ms, at whose ends it looks whether the owner lives.
//! * Time-outs are kept on `CLOCK_MONOTONIC`; signals neither shorten nor lengthen them.
//! * Guards are not `Send`. Ownership belongs to the process.
//! * Those who map the memory trust each other: whoever can write to a lock can open it.
//!
//! # Features
//!
//! `std` (default): a dying holder's waiters are woken by the kernel at once, and a guard that is dropped by a
//! panic leaves word of it. Without it a death is found at the end of a slice.
#![no_std]

#[cfg(any(feature = "std", test, loom))]
extern crate std;

mod mutex;
mod raw;

pub use ipc_core::clock::Deadline;
pub use mutex::{LockError, Mutex, MutexGuard, Recovered};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
