//! Executing another program: what `fork` and `exec` do together, without the copy.
//!
//! # What the program starts with
//!
//! | | unless asked otherwise |
//! |---|---|
//! | descriptors | 0, 1 and 2 as an `exec` here would leave them; **no other**, whatever other threads open meanwhile and whether or not it is close-on-exec |
//! | signal mask | empty |
//! | handlers | none |
//! | ignored signals | stay ignored, as `nohup` and shells expect; but SIGPIPE, which Rust ignores in every program, is at its default |
//! | environment | this process's |
//! | directory, umask, limits, processors, priority, session, process group | this process's; processors and priority those of the calling thread |
//! | parent-death signal, timers, threads, locks, mappings | none |
//!
//! # How
//!
//! `clone3(CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND)`: the child works on this
//! process's memory, and the calling thread alone is suspended until the program runs. Nothing is
//! copied, so that it takes as long from a process of 100 GiB as from a small one, and it is safe
//! beside any number of threads: the child makes system calls and nothing else. All arguments are
//! laid out before. `pthread_atfork` handlers do not run.
//!
//! If the child cannot become the program, it leaves the stage and the error in the memory that it
//! shares with its parent, ends and is reaped: a [`SpawnError`] is never confused with a program
//! that ended. A child that somebody kills, or that the kernel kills inside of `execve` beyond the
//! point where it could still fail, is a [`Child`] that was killed.
//!
//! The calling thread is not to be had while the child is on its way: a child that is stopped there
//! (SIGSTOP, a debugger), or that opens a program on a file system that hangs, holds it.

mod attributes;
mod builder;
mod child;
mod clone;
mod environment;
mod error;
mod moves;
mod own;
mod plan;
mod prepared;
mod strings;

pub use builder::Spawn;
pub use error::{SpawnError, Stage};
pub use prepared::Prepared;
