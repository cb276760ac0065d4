//! What process-shared data structures and their processes need of Linux.
//!
//! `ipc-sync`, `ipc-shm` and `ipc-pool` are built on this; processes and connections are of use by themselves.
//!
//! | module | what it answers |
//! |---|---|
//! | [`process`] | children by `fork`, by executing a program, by calling a function; pidfds, exact exit statuses |
//! | [`connection`] | messages between processes |
//! | [`parcel`] | values that travel with the handles inside them |
//! | [`fdpass`] | file descriptors over a socket, whole or not at all |
//! | [`function`] | function pointers that another process of the program can call |
//! | [`identity`] | which process is this, and does it live? Never by a clock, never fooled by a reused pid |
//! | [`futex`] | sleep until a word changes, on several words at once |
//! | [`clock`] | until when? |
//! | [`baton`] | who wakes the waiters of a thread that is killed? |
//! | [`Shareable`], [`Padded`] | what may lie in shared memory, and how far apart |
//!
//! # Examples
//!
//! A function in a process of its own, which answers:
//!
//! ```
//! # #[cfg(all(feature = "serde", feature = "pre-main"))]
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! use ipc_core::connection::{self, Sender};
//! use ipc_core::process::Process;
//!
//! let (mut receiver, sender) = connection::simplex()?;
//! let work = |mut sender: Sender| sender.send_value(&42);
//! let mut child = Process::new(work, sender).start()?;
//! assert_eq!(receiver.recv_value::<i32>()?, 42);
//! child.wait()?;
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "serde", feature = "pre-main")))]
//! # fn main() {}
//! ```
//!
//! Four programs in the crate's folder `examples` show that under each start method: `process`, `pipe`,
//! `start_methods` and `contexts`.
//!
//! # Process-wide state
//!
//! A page with this process's identity, which a fork wipes; a list of the locks that each thread holds in regions;
//! a flag that remembers that the kernel lacks a call, and the place of a variable of libc; whether the program
//! was diverted; the number of the last long message; for each thread, the parcel that is being packed; and
//! [`Context::global`](process::Context::global) with the helper process that it made. No thread, but for one in a
//! process that is a daemon; no signal handler, no `atexit`, and never a wait for *any* child.
//!
//! # Signals
//!
//! A signal changes nothing: a call that waits goes on after the handler, until the moment that it was told, and none
//! fails with `EINTR`. The exceptions are called `_interruptible`, and are for a program that wants to look, for
//! example at what its handler of Ctrl-C has noted:
//! [`Child::wait_interruptible`](process::Child::wait_interruptible),
//! [`Receiver::recv_interruptible`](connection::Receiver::recv_interruptible),
//! [`Sending::wait_interruptible`](connection::Sending::wait_interruptible) and
//! [`wait_any_interruptible`](connection::wait_any_interruptible). Each is the most general call of its kind, and promises:
//!
//! * a handler that runs on the calling thread while the call sleeps ends it with `EINTR`, whether the handler was
//!   installed with `SA_RESTART` or not. What has come already counts more: there is no `EINTR` instead of a result;
//! * nothing is lost by that: no status, no message, and no part of a message that is on its way in either direction.
//!   The same call again goes on;
//! * a signal without a handler, such as SIGSTOP and SIGCONT, does not end it.
//!
//! Of the lower calls, [`futex`]'s report a signal as [`Wake::Interrupted`](futex::Wake::Interrupted).
//!
//! A handler that runs just before the call sleeps does not end it. Who must not miss one lets the handler write to
//! a pipe, and waits for that as well, with [`wait_any`](connection::wait_any).
//!
//! # Features
//!
//! All are on by default.
//!
//! * `std`: [`connection`], [`process::fork_fn`], [`process::Spawn`], [`process::zygote`], the thread-locals of
//!   [`baton`], and descriptor types that are std's own. Without it there are [`process::fork()`],
//!   [`process::Child`], [`fdpass`], [`function`], [`futex`], [`clock`] and [`identity`], for a `#![no_std]`
//!   program that links a C library.
//! * `serde`: [`parcel`], [`process::Process`] and [`process::Context`], and values as messages. It brings 11 of
//!   the crate's 17 dependencies.
//! * `pre-main`: a constructor in the program, by which it turns aside before its `main` when it was executed to be
//!   a helper, and which returns at once when not. Without it such a program calls [`process::init`] first in its
//!   `main`.
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
mod errno;
pub mod fdpass;
pub mod function;
pub mod futex;
pub mod identity;
#[doc(hidden)]
pub mod os;
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
