//! Why a process was not started.

use core::fmt;

use crate::Errno;
use crate::function::FunctionError;
use crate::parcel::ParcelError;
use crate::process::{ForkFnError, ZygoteError};

/// Why a [`Process`](super::Process) was not started. No child runs the function then.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{Context, Process, StartError, StartMethod};
///
/// let context = Context::new(StartMethod::Fork);
/// let started = std::thread::scope(|scope| {
///     scope.spawn(|| Process::new(|()| 0, ()).start_in(&context).map(drop)).join()
/// });
/// let error = started.unwrap().unwrap_err();
/// assert!(matches!(error, StartError::Fork(_)), "a process with two threads is not forked");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The argument cannot travel.
    Parcel(ParcelError),
    /// The argument holds more handles than one child can be given.
    TooManyHandles {
        /// How many it holds.
        count: usize,
        /// How many may be.
        most: usize,
    },
    /// The function has no name by which another process could find it, or the new process has not
    /// loaded the library that it is of ([`FunctionError::UnknownModule`]): a plugin, say, that this
    /// process opened itself. A [`Fork`](super::StartMethod::Fork) has it.
    Function(FunctionError),
    /// `fork` is refused: there are other threads, mostly.
    Fork(ForkFnError),
    /// The helper, or the fresh process, could not be started.
    Zygote(ZygoteError),
    /// A system call failed. `EFBIG`: a long argument travels in a file without a name, and is longer
    /// than a file of this process may be (`RLIMIT_FSIZE`).
    Os(Errno),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parcel(error) => error.fmt(f),
            Self::TooManyHandles { count, most } => {
                write!(f, "the argument holds {count} handles, and {most} is the most")
            }
            Self::Function(error) => error.fmt(f),
            Self::Fork(error) => error.fmt(f),
            Self::Zygote(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "cannot start a process: {errno}"),
        }
    }
}

impl core::error::Error for StartError {}

impl From<ParcelError> for StartError {
    fn from(error: ParcelError) -> Self {
        Self::Parcel(error)
    }
}

impl From<FunctionError> for StartError {
    fn from(error: FunctionError) -> Self {
        Self::Function(error)
    }
}

impl From<ForkFnError> for StartError {
    fn from(error: ForkFnError) -> Self {
        Self::Fork(error)
    }
}

impl From<ZygoteError> for StartError {
    fn from(error: ZygoteError) -> Self {
        match error {
            ZygoteError::Function(error) => Self::Function(error),
            error => Self::Zygote(error),
        }
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

static_assertions::assert_impl_all!(StartError: Send, Sync);
