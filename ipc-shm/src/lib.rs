//! Regions of shared memory, and what lives in them, for processes that may die at any instruction.
//!
//! | item | what it is |
//! |---|---|
//! | [`Region`] | a sealed and reserved memfd that processes map |
//! | [`RegionName`] | a region that other programs find by a name |
//! | [`ReadOnlyRegion`], [`FrozenRegion`] | what one process writes and others only read; what nobody can change any more |
//! | [`Shared`] | one value, a lock for example, in a region of its own |
//! | [`Plan`], [`Place`] | what lies where in a region, typed and checked |
//! | [`Atomic`], [`RawValue`], [`Mutex`](ipc_sync::Mutex) | what may lie there: atomics, plain data, locked data |
//! | [`ring::spsc`] | a ring for one producer and one consumer: one message at a time |
//! | [`ring::indexed`] | the same for batches, and for messages that are handled where they lie |
//! | [`ring::bytes`] | the same for records of any length |
//! | [`StopToken`] | asks any number of processes to stop |
//! | [`describe`](fn@describe) | what is in a region, for a tool that does not know its types; the program `ipc-inspect` prints it |
//!
//! # Two processes
//!
//! ```
//! use ipc_core::process::fork_fn;
//! use ipc_shm::ring::spsc::Ring;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let ring = Ring::<[u64; 7]>::create(1024)?; // 56 bytes and a sequence: one cache line per message
//!     let mut child = fork_fn(|| {
//!         let mut producer = ring.producer().expect("nobody else has this end");
//!         for number in 0..10 {
//!             // It waits while the ring is full. An error: the consumer is gone.
//!             if producer.push_wait([number; 7]).is_err() {
//!                 return 1;
//!             }
//!         }
//!         0
//!     })?;
//!     let mut consumer = ring.consumer()?;
//!     let mut sum = 0;
//!     // It waits for each, and ends when the child has closed its end, or died.
//!     for message in consumer.messages() {
//!         sum += message?[0];
//!     }
//!     assert_eq!((sum, child.wait()?.success()), (45, true));
//!     Ok(())
//! }
//! ```
//!
//! `push` and `pop` answer at once, for those who poll; `push_wait`, `pop_wait` and their timed forms spin for a moment and
//! then sleep, and are told of the other side's death: see [`ring`].
//!
//! # Your own types
//!
//! Rings, [`RawValue`] and locks carry plain data, [`bytemuck::Pod`]: every pattern of bytes is a value, because a
//! peer may die in the middle of a store, or be of another build. A struct is that by bytemuck's derives (its
//! feature `derive`):
//!
//! ```
//! use bytemuck::{Pod, Zeroable};
//! use ipc_shm::ring::spsc::Ring;
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
//! #[repr(C)]
//! struct Trade {
//!     price: f64,
//!     amount: u32,
//!     is_buy: u8,      // A `bool` has two values, and a byte 256: send a `u8`, and ask whether it is 0.
//!     unused: [u8; 3], // What would be padding is named: the derive refuses a type with padding.
//! }
//!
//! let ring = Ring::<Trade>::create(64)?;
//! let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
//! let trade = Trade { price: 1.5, amount: 3, is_buy: 1, unused: [0; 3] };
//! producer.push(trade)?;
//! assert_eq!(consumer.pop()?, trade);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Handing it on
//!
//! A forked child has everything already. To any other process regions, places, rings and [`StopToken`]s travel in
//! a [parcel](ipc_core::parcel): in the argument of a [`Process`](ipc_core::process::Process), or in a message of a
//! connection (feature `serde`, on by default). The process that gets a ring takes one end of it. A
//! `File` of std is no serde value: it travels as a [`Handle`](ipc_core::parcel::Handle).
//!
//! ```
//! # #[cfg(feature = "serde")]
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! use ipc_core::process::Process;
//! use ipc_shm::ring::spsc::Ring;
//!
//! fn produce(ring: Ring<'static, u64>) -> i32 {
//!     let mut producer = ring.producer().expect("nobody else has this end");
//!     i32::from(producer.push(42).is_err())
//! }
//!
//! let ring = Ring::<u64>::create(64)?;
//! let mut consumer = ring.consumer()?;
//! let fd = ring.as_fd().expect("it has a region of its own").try_clone_to_owned()?;
//! let mut child = Process::new(produce, Ring::from_fd(fd)?).start()?;
//! child.wait()?;
//! assert_eq!(consumer.pop()?, 42);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "serde"))]
//! # fn main() {}
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
//! let region = Region::planned_with(&plan, |fill| fill.locks(places.counts, |_| [0, 0]))?;
//!
//! region.slice(places.arguments)?[3].set([1, 2, 3, 4, 5, 6, 7]);
//! region.slice(places.tasks)?[3].store(1, Ordering::Release);
//! region.get(places.counts)?.lock().unwrap()[0] += 1;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Features
//!
//! * `std` (default): the kernel wakes the waiters of a lock at once when its holder dies. It includes `alloc`.
//! * `serde` (default): what is shared travels in parcels. It includes `std`, and brings 11 dependencies through
//!   `ipc-core`.
//! * `alloc`: rings on the heap, for the threads of one process.
//!
//! Without any the crate needs neither `std` nor an allocator. Such a program brings a panic handler, `panic =
//! "abort"`, and `lto = true` or `--gc-sections` (because the precompiled `core` names `rust_eh_personality`), as
//! `tests/no_std_proof` of this crate does.
#![no_std]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(any(feature = "alloc", test, loom))]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(not(loom))]
mod atomic;
#[cfg(not(loom))]
pub mod describe;
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
mod shared;
#[cfg(not(loom))]
mod stop;
#[cfg(all(feature = "serde", not(loom)))]
mod travel;

pub use ipc_core::{
    Errno, Padded, Shareable,
    clock::Deadline,
    identity::{Liveness, NoIdentity, ProcessId},
};
#[cfg(all(not(loom), target_pointer_width = "64"))]
pub use region::{Load, ReadOnlyRegion};
#[cfg(not(loom))]
pub use {
    atomic::{Atomic, AtomicInteger},
    describe::describe,
    plan::{Kind, Place, Plan, PlanError},
    raw_value::RawValue,
    region::{
        AttachError, CreateError, Fill, FrozenRegion, NamedError, PlaceError, Region, RegionName,
        Step,
    },
    shared::Shared,
    stop::{StopError, StopToken},
};
/// The crates whose types and traits stand in the signatures of this one.
pub use {bytemuck, ipc_sync};
