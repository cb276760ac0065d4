//! What can go wrong, by name.
//!
//! An error's text contains that of the error it wraps, so none has a `source`: a program that prints the whole chain
//! says nothing twice.

use core::fmt;
use core::time::Duration;

use ipc_core::Errno;
use ipc_core::function::FunctionError;
use ipc_core::process::{ExitStatus, ZygoteError};
use ipc_shm::{AttachError, CreateError, PlanError};

/// Why a pool could not be made, or did not take a task.
///
/// # Examples
///
/// ```
/// use ipc_pool::Pool;
///
/// let error = Pool::new(100_000).unwrap_err().to_string();
/// assert!(error.starts_with("100000 workers asked for"), "{error}");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool of zero workers was asked for.
    NoWorkers,
    /// More workers, tasks in the queue or bytes were asked for than a pool can have.
    TooMany {
        /// Of what: a noun for messages.
        what: &'static str,
        /// What was asked for.
        asked: usize,
        /// The most there can be.
        most: usize,
    },
    /// The pool has been closed.
    Closed,
    /// Workers die faster than they can be replaced, or cannot be started any more.
    Broken,
    /// The handle was copied by a fork: the pool belongs to the process that made it.
    ForeignProcess,
    /// The function has no name by which a worker could find it.
    Function(FunctionError),
    /// The argument cannot be serialised: what its `Serialize` says, or postcard.
    Encode(String),
    /// The argument is larger than [`Builder::limit`](crate::Builder::limit) allows.
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most it may be.
        limit: usize,
    },
    /// The memory that workers share could not be made.
    Memory(CreateError),
    /// It could not be laid out.
    Layout(PlanError),
    /// No process could be started.
    Start(ZygoteError),
    /// The operating system refused something else.
    Os(Errno),
}

static_assertions::assert_impl_all!(PoolError: Send, Sync);

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkers => f.write_str("a pool needs at least one worker"),
            Self::TooMany { what, asked, most } => {
                write!(f, "{asked} {what} asked for, and {most} is the most")
            }
            Self::Closed => f.write_str("the pool is closed"),
            Self::Broken => f.write_str("the pool is broken: its workers cannot be kept alive"),
            Self::ForeignProcess => f.write_str("the pool belongs to another process"),
            Self::Function(error) => error.fmt(f),
            Self::Encode(why) => write!(f, "the argument cannot be serialised: {why}"),
            Self::TooLarge { size, limit } => {
                write!(f, "an argument of {size} bytes, more than the {limit} allowed")
            }
            Self::Memory(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Os(errno) => errno.fmt(f),
        }
    }
}

impl core::error::Error for PoolError {}

impl From<CreateError> for PoolError {
    fn from(error: CreateError) -> Self {
        Self::Memory(error)
    }
}

impl From<PlanError> for PoolError {
    fn from(error: PlanError) -> Self {
        Self::Layout(error)
    }
}

impl From<ZygoteError> for PoolError {
    fn from(error: ZygoteError) -> Self {
        Self::Start(error)
    }
}

impl From<FunctionError> for PoolError {
    fn from(error: FunctionError) -> Self {
        Self::Function(error)
    }
}

impl From<Errno> for PoolError {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. The worker goes on.
    Panicked {
        /// What the panic said, if that was text.
        message: String,
    },
    /// The worker died while it ran the task, and the task was not to be run again.
    WorkerDied {
        /// Its process id.
        pid: i32,
        /// How it ended; before Linux 6.15 [`ExitStatus::Unknown`] if the helper process that forked it died
        /// first.
        cause: ExitStatus,
        /// How often the task had been started, this time included.
        attempt: u32,
    },
    /// There is no result yet: [`Ticket::wait_timeout`](crate::Ticket::wait_timeout) waited this long. The ticket
    /// stays good.
    TimedOut(Duration),
    /// The pool was dropped before the task was over.
    Cancelled,
    /// No worker was left to run the task, and none could be started.
    Broken,
    /// The argument could not be read in the worker, or the result in the application: what `Deserialize` says. It
    /// may be of a type that [postcard cannot carry](crate::Pool#functions-and-values).
    Decode(String),
    /// The result could not be serialised: what its `Serialize` says.
    Encode(String),
    /// The result is larger than [`Builder::limit`](crate::Builder::limit) allows.
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The most it may be.
        limit: usize,
    },
    /// The ticket has given its result away already.
    Taken,
    /// The ticket was copied by a fork: the result goes to the process that made the pool.
    ForeignProcess,
    /// What the pool's memory says of the task is not what any step of the pool writes: something else has
    /// written there, such as a wild pointer in a task. No result of this pool is to be trusted from here on.
    Damaged,
}

static_assertions::assert_impl_all!(TaskError: Send, Sync);

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message } => write!(f, "the task panicked: {message}"),
            Self::WorkerDied { pid, cause, attempt } => {
                write!(f, "worker {pid} {cause} while it ran the task (attempt {attempt})")
            }
            Self::TimedOut(after) => write!(f, "no result after {after:?}"),
            Self::Cancelled => f.write_str("the pool was dropped before the task was over"),
            Self::Broken => f.write_str("no worker is left to run the task"),
            Self::Decode(why) => write!(f, "a value cannot be read: {why}"),
            Self::Encode(why) => write!(f, "the result cannot be serialised: {why}"),
            Self::TooLarge { size, limit } => {
                write!(f, "a result of {size} bytes, more than the {limit} allowed")
            }
            Self::Taken => f.write_str("the result has been taken already"),
            Self::ForeignProcess => f.write_str("the result goes to another process"),
            Self::Damaged => f.write_str("the memory of the pool was overwritten"),
        }
    }
}

impl core::error::Error for TaskError {}

/// Any error of this crate, for programs that do not tell them apart.
#[derive(Debug)]
pub enum Error {
    /// The pool's.
    Pool(PoolError),
    /// A task's.
    Task(TaskError),
}

static_assertions::assert_impl_all!(Error: Send, Sync);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f),
            Self::Task(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

/// The result of a call that can fail in any way of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a worker process cannot take up its work, or cannot go on; it says so on standard error and ends.
#[derive(Debug)]
pub(crate) enum WorkerError {
    /// The parcel that it was started with is not one of this version.
    Parcel,
    Attach(AttachError),
    Layout(PoolError),
    /// Without a watch over the application a worker could outlive it.
    Watch(std::io::Error),
    /// As [`TaskError::Damaged`]. The supervisor buries the worker, and the task gets its outcome there.
    Damaged,
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parcel => f.write_str("not started by a pool of this version"),
            Self::Attach(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
            Self::Watch(error) => write!(f, "the application cannot be watched: {error}"),
            Self::Damaged => TaskError::Damaged.fmt(f),
        }
    }
}
