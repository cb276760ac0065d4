//! What can go wrong between an application and its zygote.

use core::fmt;

use super::MAX_BYTES;
use crate::Errno;
use crate::fdpass::MAX_FDS;
use crate::function::FunctionError;
use crate::process::ExitStatus;

/// Why there is no zygote, or why it made no child.
///
/// Whatever the error, no child of the request runs its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZygoteError {
    /// A system call failed on this side. `ENOSYS`: there are no pidfds (before Linux 5.3), or a
    /// seccomp filter forbids them, if it does not say `EPERM`.
    Os(Errno),
    /// A zygote cannot be forked: another thread of this process runs.
    ManyThreads,
    /// The number of threads cannot be found out: `/proc` said this.
    ThreadsUnknown(Errno),
    /// A zygote cannot be made by `exec`: this program, executed again, would not divert. The feature
    /// `pre-main` is off and nobody called [`init`](super::super::init); or this copy of the crate
    /// sits in a shared library; or the program was run through an explicit loader
    /// (`ld.so ./program`), which is then what would be executed.
    NoDiversion,
    /// The program could not be executed again.
    Exec(Errno),
    /// The new program had threads before its `main`, so nothing may be forked from it.
    ZygoteHasThreads,
    /// A function that the zygote was to call before it serves, counted from zero, did not come to a good
    /// end. There is no zygote.
    Preload {
        /// Which one.
        which: u32,
        /// How it ended.
        error: PreloadError,
    },
    /// More functions are to be called first than fit into a message.
    TooManyPreloads,
    /// The zygote could not set itself up: replace the descriptors of the application that it was forked
    /// with, open the standard streams, or listen to its children. `EMFILE` and `ENFILE` mostly.
    Setup(Errno),
    /// The zygote did not answer in time and was killed; it owned nothing.
    Unresponsive,
    /// The zygote has died. [`Zygote::restart`](super::Zygote::restart) makes another.
    Died,
    /// The handle was copied by a fork: it belongs to the process that made it.
    ForeignProcess,
    /// More bytes than [`MAX_BYTES`] were given.
    BytesTooLong {
        /// How many.
        len: usize,
    },
    /// More descriptors than [`MAX_FDS`] were given.
    TooManyFds,
    /// The entry has no name here, or its name no function in the zygote.
    Function(FunctionError),
    /// The zygote could not make the child: `EAGAIN` or `ENOMEM` from `fork`, `EMFILE`, or `ESRCH` if
    /// somebody killed the child before it began.
    Fork(Errno),
    /// The zygote did not understand the request, or this side the reply.
    Malformed,
}

impl fmt::Display for ZygoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => write!(f, "cannot start or reach a zygote: {errno}"),
            Self::ManyThreads => f.write_str("cannot fork a zygote: another thread runs"),
            Self::ThreadsUnknown(errno) => {
                write!(f, "cannot fork a zygote: number of threads unknown: {errno}")
            }
            Self::NoDiversion => {
                f.write_str(
                    "cannot execute a zygote: this program does not divert before its main; ",
                )?;
                f.write_str(
                    "enable the feature `pre-main` of ipc-core, or call `init()` first in main",
                )
            }
            Self::Exec(errno) => write!(f, "cannot execute a zygote: {errno}"),
            Self::ZygoteHasThreads => f.write_str("the zygote had threads before its main"),
            Self::Preload { which, error } => write!(f, "preload {which} of the zygote {error}"),
            Self::TooManyPreloads => f.write_str("too many functions to preload"),
            Self::Setup(errno) => write!(f, "the zygote cannot set itself up: {errno}"),
            Self::Unresponsive => f.write_str("the zygote did not answer and was killed"),
            Self::Died => f.write_str("the zygote has died"),
            Self::ForeignProcess => f.write_str("the zygote belongs to another process"),
            Self::BytesTooLong { len } => write!(f, "{len} bytes for a child, of {MAX_BYTES}"),
            Self::TooManyFds => write!(f, "more than {MAX_FDS} descriptors for a child"),
            Self::Function(error) => write!(f, "cannot name the entry: {error}"),
            Self::Fork(errno) => write!(f, "the zygote cannot make a child: {errno}"),
            Self::Malformed => f.write_str("the zygote and this process disagree"),
        }
    }
}

impl core::error::Error for ZygoteError {}

/// How a function of [`ZygoteBuilder::preload`](super::ZygoteBuilder::preload) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreloadError {
    /// It panicked. The message went to standard error.
    Panicked,
    /// It ended the process, or somebody killed that: like this.
    Ended(ExitStatus),
    /// It returned, and a thread was still running: nobody could be forked.
    LeftThreads,
    /// It did not return in time, and the zygote was killed.
    TimedOut,
}

impl fmt::Display for PreloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("panicked"),
            Self::Ended(status) => write!(f, "did not return: the zygote {status}"),
            Self::LeftThreads => f.write_str("left a thread running"),
            Self::TimedOut => f.write_str("took too long"),
        }
    }
}

impl core::error::Error for PreloadError {}

impl From<Errno> for ZygoteError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

static_assertions::assert_impl_all!(ZygoteError: Send, Sync);
static_assertions::assert_impl_all!(PreloadError: Send, Sync);
