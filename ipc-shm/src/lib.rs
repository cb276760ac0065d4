//! Regions of shared memory, and what lives in them.
//!
//! # Building on it
//!
//! A larger structure, such as a worker pool, makes one [`Plan`] of everything that its processes share,
//! and needs no `unsafe`:
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

pub use ipc_core::{Padded, Shareable};
#[cfg(not(loom))]
pub use {
    atomic::{Atomic, AtomicInteger},
    plan::{Kind, Place, Plan, PlanError},
    raw_value::RawValue,
    region::{AttachError, CreateError, Fill, PlaceError, Region, Step},
};
