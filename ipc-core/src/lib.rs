//! The operating-system floor of process-shared data structures, for Linux.
#![no_std]

#[cfg(not(target_os = "linux"))]
compile_error!("ipc-core is for Linux: it is built on futex, pidfd and memfd");
#[cfg(not(target_has_atomic = "64"))]
compile_error!("ipc-core needs 64-bit atomics: a lock names its owner in one 64-bit word");

#[cfg(loom)]
extern crate alloc;
#[cfg(any(feature = "std", test, loom))]
extern crate std;

pub mod baton;
pub mod clock;
pub mod fdpass;
pub mod futex;
pub mod identity;
mod padded;
#[doc(hidden)]
pub mod primitive;
pub mod process;
mod shareable;

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
