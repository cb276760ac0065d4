//! Process-shared locks that survive SIGKILL of any participant at any instruction.
//!
//! A lock here is a few words in memory that processes share: no table, no attach call, no name,
//! and zeroed memory is a free lock. It works in a region of `ipc-shm`, in any other `MAP_SHARED`
//! mapping, between the threads of one process in a `static`, and in a `#![no_std]` program.
//!
//! | type | size | when a process dies |
//! |---|---|---|
//! | [`Mutex`] | 16 bytes and the value | the next owner is told, once; waiters go on |
//! | [`RwLock`] | 24 bytes, 8 for each reader, and the value | a reader is forgotten; after a writer the next is told, once |
//! | [`Event`] | 4 bytes | it is set for everybody, or for nobody; waiters go on |
//! | [`Once`] | 24 bytes | the next caller does it, and is told; waiters go on |
//! | [`OnceLock`] | 24 bytes and the value | the next caller makes the value; waiters go on |
//! | [`ReentrantMutex`] | 32 bytes and the value | as [`Mutex`], however deep it was held |
//! | [`Semaphore`] | 8 bytes | a permit that it took is gone; waiters go on |
//! | [`BinarySemaphore`] | 8 bytes | what it took stays taken, until anybody releases it; waiters go on |
//! | [`CountingSemaphore`] | 16 bytes | a permit that it took is gone; the bound is exact; waiters go on |
//! | [`BoundedSemaphore`] | 16 bytes and 8 a permit | its permits go to the next, who are told, once; waiters go on |
//! | [`Condvar`] | 8 bytes | a notification was made or not; waiters go on, and are told of a dead holder of the mutex |
//! | [`EventCount`] | 8 bytes | likewise; what makes a structure without locks one that can be waited for |
//! | [`Latch`] | 8 bytes | it has counted or not; what was not counted never is |
//! | [`Barrier`] | 24 bytes, and 8 for each place | if it was missing it breaks: everybody is told who it was |
//!
//! [`which`] says which of them to take when, and what is an error.
//!
//! # A lock between processes
//!
//! A lock does what it can do only in memory that processes share. A `static` is not that: after a fork each
//! process has a copy of its own, so a lock there is one between threads. A region of `ipc-shm` is:
//!
//! ```
//! use ipc_core::process::fork_fn;
//! use ipc_shm::Shared;
//! use ipc_sync::{LockError, Mutex};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A lock in memory that the child has too, after the fork.
//!     let total = Shared::<Mutex<u64>>::in_region(7)?;
//!
//!     let mut child = fork_fn(|| {
//!         let _held = total.lock().expect("nobody else wants it yet");
//!         loop {
//!             std::thread::park(); // In the middle of a change ..
//!         }
//!     })?;
//!     while total.owner().is_none() {
//!         std::thread::yield_now();
//!     }
//!     child.kill()?; // .. SIGKILL.
//!
//!     match total.lock() {
//!         Err(LockError::Recovered(mut value)) => {
//!             *value = 0; // The holder was killed: put the value right.
//!             *value.mark_consistent() += 1;
//!         }
//!         Ok(_) => unreachable!("the child was killed with the lock"),
//!         Err(error) => panic!("{error}"),
//!     }
//!     assert_eq!(*total.lock().unwrap(), 1);
//!     child.wait()?;
//!     Ok(())
//! }
//! ```
//!
//! # Your own types
//!
//! What a lock guards is [`Shareable`]: plain data, of which every pattern of bytes is a value, because its last
//! owner may have been killed in the middle of a store. A struct of yours is that by bytemuck's derives (its
//! feature `derive`):
//!
//! ```
//! use bytemuck::{Pod, Zeroable};
//! use ipc_sync::Mutex;
//!
//! #[derive(Clone, Copy, Pod, Zeroable)]
//! #[repr(C)]
//! struct Account {
//!     balance: i64,
//!     owner: u32,
//!     is_open: u8,    // A `bool` has two values, and a byte 256: keep a `u8`, and ask whether it is 0.
//!     unused: [u8; 3], // What would be padding is named: the derive refuses a type with padding.
//! }
//!
//! let account = Mutex::new(Account { balance: 7, owner: 1, is_open: 1, unused: [0; 3] });
//! account.lock().unwrap().balance += 1;
//! assert_eq!(account.into_inner().balance, 8);
//! ```
//!
//! # What the locks have in common
//!
//! * Liveness is asked of the kernel. No time-out makes a process dead, and a stopped one lives.
//! * An uncontended operation makes no system call, except the first release of a lock. A wait for a lock or a
//!   permit sleeps on a futex in slices of at most 64 ms, at whose ends it looks whether the owner lives.
//! * Time-outs are kept on `CLOCK_MONOTONIC`; signals neither shorten nor lengthen them.
//! * Guards are not `Send`. Ownership belongs to the process.
//! * Those who map the memory trust each other: whoever can write to a lock can open it.
//!
//! # Signals
//!
//! A signal changes nothing, but for the calls that are called `_interruptible`: a handler that runs on the calling
//! thread while it sleeps ends them with `EINTR`, whether it was installed with `SA_RESTART` or not. What they wait
//! for counts more, if it has come already. Nothing is lost by that, and another waiter is woken in their place.
//!
//! A handler that runs between two sleeps does not end the call, and a wait is cut into slices (64 ms for a lock or a
//! permit, a second for an event): of many signals, one now and then goes unnoticed there. Who must not miss one
//! gives a deadline, and looks at what its handler has noted.
//!
//! # Features
//!
//! `std` (default): a dying holder's waiters are woken by the kernel at once, and a guard that is dropped by a
//! panic leaves word of it. Without it a death is found at the end of a slice, and the crate needs neither `std`
//! nor an allocator: such a program brings a panic handler, `panic = "abort"`, and `lto = true` or `--gc-sections`
//! (because the precompiled `core` names `rust_eh_personality`), as `ipc-shm/tests/no_std_proof` in the repository
//! does.
//!
//! `lock_api`: `RawMutex`, for generic code and for values that are not [`Shareable`].
#![no_std]

#[cfg(any(feature = "std", test, loom))]
extern crate std;

mod barrier;
mod bounded;
mod condvar;
mod event;
mod event_count;
mod in_region;
mod latch;
#[cfg(all(feature = "lock_api", not(loom)))]
mod lock_api;
mod mutex;
mod once;
mod raw;
mod reentrant;
mod rwlock;
mod semaphore;
mod wait_error;

pub use barrier::{Barrier, BarrierError, BarrierMember, BarrierWaitResult, Breach};
pub use bounded::{AcquireError, BoundedSemaphore, NotOurs, Permit, PermitTicket};
pub use condvar::{Condvar, Waited};
pub use event::Event;
pub use event_count::{EventCount, Key};
pub use in_region::InRegion;
pub use ipc_core::{
    Errno, Shareable,
    clock::Deadline,
    identity::{NoIdentity, ProcessId},
};
pub use latch::{BelowZero, Latch};
#[cfg(all(feature = "lock_api", not(loom)))]
pub use lock_api::RawMutex;
pub use mutex::{LockError, Mutex, MutexGuard, Recovered};
pub use once::{Once, OnceError, OnceLock, OnceState, SetError};
#[doc(hidden)]
pub use raw::announced::Look;
pub use reentrant::{
    Exclusive, ReentrantLockError, ReentrantMutex, ReentrantMutexGuard, ReentrantRecovered,
};
pub use rwlock::{RwLock, RwLockError, RwLockReadGuard, RwLockRecovered, RwLockWriteGuard};
pub use semaphore::{BinarySemaphore, CountingSemaphore, Semaphore, TooManyPermits};
pub use wait_error::WaitError;

#[cfg(doc)]
#[doc = include_str!("../WHICH.md")]
pub mod which {}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
