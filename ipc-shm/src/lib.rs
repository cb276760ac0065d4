//! Regions of shared memory, and what lives in them, for processes that may die at any instruction.
//!
//! | item | what it is |
//! |---|---|
//! | [`Region`] | a sealed and reserved memfd that processes map |
//! | [`Plan`], [`Place`] | what lies where in a region, typed and checked |
//! | [`Atomic`], [`RawValue`], [`Mutex`](ipc_sync::Mutex) | what may lie there: atomics, plain data, locked data |
//! | [`ring::spsc`] | a ring for one producer and one consumer |
//!
//! The crate is `no_std`. The feature `alloc` adds rings on the heap; `std`, on by default, lets
//! the kernel wake the waiters of a lock whose holder died.
//!
//! # Two processes
//!
//! ```
//! use ipc_core::process::fork_fn;
//! use ipc_shm::ring::{PopError, spsc::Ring};
//!
//! let ring = Ring::<[u64; 7]>::create(1024)?;
//! let mut child = fork_fn(|| {
//!     let mut producer = ring.producer().expect("nobody else has this end");
//!     for number in 0..10 {
//!         while producer.push([number; 7]).is_err() {}
//!     }
//!     0
//! })?;
//! let mut consumer = ring.consumer()?;
//! let mut sum = 0;
//! loop {
//!     match consumer.pop() {
//!         Ok(message) => sum += message[0],
//!         Err(PopError::Empty) => core::hint::spin_loop(),
//!         Err(error) => break assert_eq!(error, PopError::Disconnected),
//!     }
//! }
//! assert_eq!((sum, child.wait()?.success()), (45, true));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Building on it
//!
//! A larger structure, such as a worker pool, makes one [`Plan`] of everything that its processes
//! share, and needs no `unsafe`:
//!
//! ```
//! use core::sync::atomic::{AtomicU64, Ordering};
//! use ipc_shm::{Atomic, Place, Plan, PlanError, RawValue, Region};
//! use ipc_sync::Mutex;
//!
//! /// Where everything lies. Both sides call `plan`, with the same numbers.
//! struct Places {
//!     tasks: Place<Atomic<AtomicU64>>,
//!     arguments: Place<RawValue<[u64; 7]>>,
//!     counts: Place<Mutex<[u64; 2]>>,
//! }
//!
//! fn plan(tasks: usize) -> Result<(Plan, Places), PlanError> {
//!     let mut plan = Plan::new();
//!     let places = Places {
//!         tasks: plan.array(tasks)?,
//!         arguments: plan.array(tasks)?,
//!         counts: plan.one()?,
//!     };
//!     Ok((plan, places))
//! }
//!
//! let (plan, places) = plan(64)?;
//! // The parent. Workers inherit the region, or get its descriptor and call `Region::from_fd_for`.
//! let region = Region::planned_with(&plan, |fill| fill.mutexes(places.counts, |_| [0, 0]))?;
//!
//! region.slice(places.arguments)?[3].set([1, 2, 3, 4, 5, 6, 7]);
//! region.slice(places.tasks)?[3].store(1, Ordering::Release);
//! region.get(places.counts)?.lock().unwrap()[0] += 1;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(any(feature = "alloc", test, loom))]
extern crate alloc;

#[cfg(not(loom))]
mod atomic;
#[cfg_attr(loom, expect(dead_code, reason = "the model maps no regions"))]
mod layout;
#[cfg(not(loom))]
mod plan;
#[cfg(not(loom))]
mod raw_value;
#[cfg(not(loom))]
mod region;
pub mod ring;
#[cfg(not(loom))]
mod stop;
#[cfg(all(feature = "serde", not(loom)))]
mod travel;

pub use ipc_core::{Padded, Shareable};
#[cfg(not(loom))]
pub use {
    atomic::{Atomic, AtomicInteger},
    plan::{Kind, Place, Plan, PlanError},
    raw_value::RawValue,
    region::{AttachError, CreateError, Fill, PlaceError, Region, Step},
    stop::{StopError, StopToken},
};
