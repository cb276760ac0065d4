//! `fork` as a safe function: one thread, one closure, one exit.
//!
//! # Safety
//!
//! The unsafe act is [`fork()`]. A process with a single thread has no lock that another thread
//! could have held, so its forked child may do whatever the parent may; and the child never returns
//! into the caller's frames.
#![expect(unsafe_code, reason = "fork is unsafe in general; here its conditions are checked")]

use core::panic::AssertUnwindSafe;
use core::{fmt, mem};
use std::io::{self, Write};
use std::panic::catch_unwind;

use super::fork::exit_now;
use super::threads::is_single_threaded;
use super::{Child, Fork, fork};
use crate::Errno;

/// The exit code after a panic, as of a Rust program whose `main` panics.
const PANICKED: i32 = 101;

/// Runs `f` in a forked child, which then ends with the code that `f` returns.
///
/// The child starts with a copy of everything and shares open files and shared mappings. It ends by
/// `_exit`: destructors of the caller's frames and `atexit` handlers stay the parent's. Rust's
/// standard output is flushed before the fork and at the child's end, so that nothing is printed
/// twice and nothing is lost; buffers of C's stdio are left alone.
///
/// What is copied includes borrows of memory that is shared: a guard of a lock, an end of a ring, or a `&mut` into a region that came from
/// one. The compiler cannot know that there are two of it then. Do not take any into `f`: lock in the child, where
/// that is wanted. A copied guard of `ipc-sync` releases nothing, but what it guards is the parent's.
///
/// A panic in `f` prints its message through the panic hook and ends the child with code 101; it
/// never unwinds into the caller's frames. Built with `panic = "abort"`, the child ends by SIGABRT.
///
/// # Errors
///
/// [`ForkFnError::ManyThreads`] if another thread of this process still runs, since it may hold a
/// lock that nobody would release in the child; [`ForkFnError::ThreadsUnknown`] if `/proc` cannot
/// tell; [`ForkFnError::Os`] as [`fork()`](super::fork()).
///
/// # Examples
///
/// ```
/// use ipc_core::process::{ExitStatus, fork_fn};
///
/// let answer = 6 * 7;
/// let mut child = fork_fn(|| answer)?;
/// assert_eq!(child.wait()?, ExitStatus::Exited(42));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn fork_fn(f: impl FnOnce() -> i32) -> Result<Child, ForkFnError> {
    match is_single_threaded() {
        Ok(true) => {}
        Ok(false) => return Err(ForkFnError::ManyThreads),
        Err(errno) => return Err(ForkFnError::ThreadsUnknown(errno)),
    }
    flush_stdout();
    // SAFETY: no other thread exists, and the child never returns from `run`.
    match unsafe { fork() }.map_err(ForkFnError::Os)? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => run(f),
    }
}

/// The life of a forked child.
pub(super) fn run(f: impl FnOnce() -> i32) -> ! {
    // No frame of the caller is ever entered again, so nobody sees what a panic left half done.
    let code = catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| {
        // Dropping the payload runs user code that may panic again.
        mem::forget(payload);
        PANICKED
    });
    flush_stdout();
    exit_now(code)
}

/// Empties the buffer of standard output, without unwinding.
pub(super) fn flush_stdout() {
    // It fails when standard output is closed or broken, or panics when this very thread is inside a
    // `print!`: nothing that should keep a process from being forked, or keep it from its end.
    if let Err(payload) = catch_unwind(|| io::stdout().flush()) {
        mem::forget(payload);
    }
}

/// Why [`fork_fn`] made no child.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{ForkFnError, fork_fn};
///
/// let sleeper = std::thread::spawn(std::thread::park);
/// assert!(matches!(fork_fn(|| 0), Err(ForkFnError::ManyThreads)));
/// sleeper.thread().unpark();
/// # sleeper.join().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkFnError {
    /// `fork`, or what it needs, failed.
    Os(Errno),
    /// Another thread of this process still runs.
    ManyThreads,
    /// The number of threads cannot be found out: `/proc` said this.
    ThreadsUnknown(Errno),
}

impl fmt::Display for ForkFnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "cannot fork: {errno}"),
            Self::ManyThreads => f.write_str("cannot fork safely: another thread runs"),
            Self::ThreadsUnknown(errno) => {
                write!(f, "cannot fork safely: number of threads unknown: {errno}")
            }
        }
    }
}

impl core::error::Error for ForkFnError {}

static_assertions::assert_impl_all!(ForkFnError: Send, Sync);
