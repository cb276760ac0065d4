//! The operating-system floor of process-shared data structures, for Linux.
#![no_std]

#[cfg(not(target_os = "linux"))]
compile_error!("ipc-core is for Linux: it is built on futex, pidfd and memfd");
#[cfg(not(target_has_atomic = "64"))]
compile_error!("ipc-core needs 64-bit atomics: a lock names its owner in one 64-bit word");

#[cfg(any(feature = "std", test, loom))]
extern crate std;

pub mod clock;
pub mod fdpass;
pub mod process;

pub use rustix::io::Errno;

/// The result of a call whose only failure is the operating system's.
pub type Result<T, E = Errno> = core::result::Result<T, E>;
