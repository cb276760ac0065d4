//! A pool of worker processes that survives the death of any of them.
//!
//! A [`Pool`] runs functions in other processes and brings their results back through shared memory. Workers and
//! application share no lock: a task is claimed by a compare-exchange on one word that names the worker, so a
//! worker may be killed at any instruction, and the supervisor finds in that word what it had in hand.
//!
//! ```
//! use ipc_pool::Pool;
//!
//! let pool = Pool::new(2)?;
//! let lengths = pool.map(|word: String| word.len(), ["one".into(), "seven".into()])?;
//! assert_eq!(lengths, [3, 5]);
//! # Ok::<(), ipc_pool::Error>(())
//! ```
//!
//! # Features
//!
//! `pre-main` (default): a constructor in the program, by which a program with threads that is executed again to
//! make workers turns aside before its `main`. Without it such a program calls [`init`] first in its `main`, or its
//! pools say [`NoDiversion`](ZygoteError::NoDiversion).

#[cfg(not(loom))]
extern crate alloc;

#[cfg(all(doctest, not(loom)))]
#[doc = include_str!("../README.md")]
mod readme {}

mod bell;
mod slot;

#[cfg(not(loom))]
mod backend;
#[cfg(not(loom))]
mod call;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod function;
#[cfg(not(loom))]
mod home;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod nursery;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod shared;
#[cfg(not(loom))]
mod table;
#[cfg(not(loom))]
mod ticket;
#[cfg(not(loom))]
mod worker;

/// What application and workers do with a task slot: for the model, which explores it.
#[doc(hidden)]
pub mod protocol {
    pub use crate::bell::Bell;
    pub use crate::slot::{MAX_SEATS, Owner, Seen, Slot, State, claim};
}

#[cfg(not(loom))]
pub use {
    backend::WorkerStats,
    error::{Error, PoolError, Result, TaskError},
    pool::{Builder, Pool},
    ticket::Ticket,
    worker::current_worker,
};

#[cfg(not(loom))]
pub use ipc_core::{
    Errno,
    function::FunctionError,
    process::{ExitStatus, ZygoteError, init},
};
#[cfg(not(loom))]
pub use ipc_shm::{CreateError, PlanError};
