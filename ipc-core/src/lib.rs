//! The operating-system floor of process-shared data structures, for Linux.
//!
//! Everything that `ipc-sync`, `ipc-shm` and `ipc-pool` ask of the kernel is here, and nothing else is:
//!
//! | module | what it answers |
//! |---|---|
//! | [`identity`] | which process is this, and does it live? Never by a clock, never fooled by a reused pid |
//! | [`futex`] | sleep until a word changes, on several words at once |
//! | [`clock`] | until when? |
//! | [`baton`] | who wakes the waiters of a thread that is killed? |
//! | [`process`] | children by `fork`, by executing a program, by calling a function; pidfds, exact exit statuses |
//! | [`fdpass`] | file descriptors over a socket, whole or not at all |
//! | [`connection`] | messages between processes |
//! | [`parcel`] | values that travel with the handles inside them |
//! | [`Shareable`], [`Padded`] | what may lie in shared memory, and how far apart |
//!
//! # Process-wide state
//!
//! A page with this process's identity, which a fork wipes; a list of the locks that each thread
//! holds in regions; flags that remember that the kernel lacks a call. No thread, no signal handler, no
//! `atexit`, and never a wait for *any* child.
//!
//! # Features
//!
//! `std` (default): thread-locals for [`baton`], `process::fork_fn`, and descriptor types that are std's own.
//! Without it everything else works in a `#![no_std]` program that links a C library.
#![no_std]

#[cfg(not(target_os = "linux"))]
compile_error!("ipc-core is for Linux: it is built on futex, pidfd and memfd");
#[cfg(not(target_has_atomic = "64"))]
compile_error!("ipc-core needs 64-bit atomics: a lock names its owner in one 64-bit word");

#[cfg(any(feature = "std", loom))]
extern crate alloc;
#[cfg(any(feature = "std", test, loom))]
extern crate std;

pub mod baton;
pub mod clock;
#[cfg(feature = "std")]
pub mod connection;
pub mod fdpass;
pub mod function;
pub mod futex;
pub mod identity;
mod padded;
#[cfg(feature = "serde")]
pub mod parcel;
#[doc(hidden)]
pub mod primitive;
pub mod process;
mod shareable;

/// Whose `Pod` is [`Shareable`].
pub use bytemuck;
pub use padded::Padded;
pub use rustix::io::Errno;
pub use shareable::Shareable;

/// The result of a call whose only failure is the operating system's.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

/// How many processors the calling thread may run on: at least 1.
///
/// # Examples
///
/// ```
/// assert!(ipc_core::processors() >= 1);
/// ```
#[must_use]
pub fn processors() -> u32 {
    // A machine with more processors than the set can name refuses the call: it has many.
    rustix::thread::sched_getaffinity(None).map_or(u32::MAX, |set| set.count().max(1))
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
