//! Child processes: made by [`fork()`] or `Spawn`, named by a pidfd, waited for by deadline.
//!
//! A process id is a number that the kernel hands out again. A [`Child`] therefore holds a *pidfd*,
//! which means one process and never another, from before that process runs its first line of the
//! caller's code until the handle is dropped. Everything here works through it:
//!
//! * waiting, with or without a deadline, is a `poll` of the pidfd, so that a child can stand beside
//!   sockets in any event loop ([`Child`] is [`AsFd`](rustix::fd::AsFd));
//! * a signal sent through it reaches the child or fails with `ESRCH`, and never a stranger;
//! * the [`ExitStatus`] is exact or says that it is [`Unknown`](ExitStatus::Unknown), also when
//!   SIGCHLD is ignored or another part of the process reaps every child it can find.
//!
//! This module starts no thread, installs no signal handler, and never calls `waitpid(-1)`, which
//! would take the exit statuses of children that belong to others.

mod barrier;
#[cfg(feature = "serde")]
mod call;
mod child;
mod exit_status;
mod fork;
#[cfg(feature = "std")]
mod fork_fn;
#[cfg(feature = "std")]
mod group;
mod pidfd_info;
mod raw;
#[cfg(feature = "std")]
mod signal_set;
#[cfg(feature = "std")]
mod spawn;
#[cfg_attr(not(feature = "std"), expect(dead_code, reason = "only a zygote sends"))]
mod status_link;
#[cfg(feature = "std")]
mod threads;
#[cfg(feature = "std")]
pub mod zygote;

#[cfg(feature = "serde")]
pub use call::{Context, Process, Report, StartError, StartMethod, UnknownStartMethod};
pub use child::Child;
pub use exit_status::ExitStatus;
pub use fork::{Fork, fork};
#[cfg(feature = "std")]
pub use fork_fn::{ForkFnError, fork_fn};
#[cfg(feature = "std")]
pub use signal_set::SignalSet;
#[cfg(feature = "std")]
pub use spawn::{Prepared, Spawn, SpawnError, Stage};
#[cfg(feature = "std")]
pub use zygote::{
    ParentWatch, PreloadError, Spawning, Start, Zygote, ZygoteBuilder, ZygoteError, init,
};

pub use rustix::process::{Pid, Signal};
#[cfg(feature = "std")]
pub use rustix::process::{Resource, Rlimit};
