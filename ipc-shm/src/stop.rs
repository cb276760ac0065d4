//! [`StopToken`]: asking any number of processes to come to an end.
//!
//! | step of [`stop`](StopToken::stop) | killed before it | killed after it |
//! |---|---|---|
//! | the event is written | nobody is asked | everybody who waits is asked, and tells those who only look |
//! | the word is set | as before | everybody is asked |
//!
//! Nothing is ever taken back, so whoever finds the event sets the word too, and doing it twice does it
//! once.

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::os::Until;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::region::PlaceError;
use crate::{Atomic, AttachError, CreateError, Place, Plan, Region};

/// A request to stop that many processes share: made once, never taken back.
///
/// Looking takes a few loads from memory and no system call. Waiting is a `poll` of a descriptor, so
/// that it stands beside connections, children and timers in any event loop; signals are not needed,
/// and no process can miss the request because it was not there yet. The token travels in parcels and through forks, and
/// goes with the last process that has it. Processes that have come to hang are for
/// [`Child::terminate_graceful`](ipc_core::process::Child::terminate_graceful).
///
/// If the process that stops is killed in the middle of it, either nobody is asked or everybody who
/// waits is. Those who only look see it as soon as one who waits has.
///
/// # Examples
///
/// ```
/// use ipc_core::clock::Deadline;
/// use ipc_core::process::fork_fn;
/// use ipc_shm::StopToken;
///
/// let token = StopToken::new()?;
/// let mut worker = fork_fn(|| {
///     while !token.is_stopped() {
///         std::thread::yield_now(); // .. a piece of work ..
///     }
///     0
/// })?;
/// let mut waiter = fork_fn(|| match token.wait(Deadline::FAR) {
///     Ok(true) => 0,
///     _ => 1,
/// })?;
/// token.stop()?;
/// assert!(worker.wait()?.success() && waiter.wait()?.success());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct StopToken {
    region: Region,
    word: Place<Atomic<AtomicU32>>,
    event: OwnedFd,
}

static_assertions::assert_impl_all!(StopToken: Send, Sync);

impl StopToken {
    /// A token that nobody has stopped.
    ///
    /// # Errors
    ///
    /// [`StopError`]: no memory, or no descriptors.
    pub fn new() -> Result<Self, StopError> {
        let (plan, word) = plan();
        let region = Region::planned(&plan).map_err(StopError::Create)?;
        // Not blocking: a counter that is full says the same as one that is one.
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self { region, word, event: event.map_err(StopError::Os)? })
    }

    /// The token whose two descriptors came from another process: its memory and its event, which
    /// [`into_fds`](Self::into_fds) gives.
    ///
    /// # Errors
    ///
    /// [`StopError`], if the memory is not that of a token.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::StopToken;
    ///
    /// let fds = StopToken::new()?.into_fds();
    /// assert!(!StopToken::from_fds(fds)?.is_stopped());
    /// # Ok::<(), ipc_shm::StopError>(())
    /// ```
    pub fn from_fds([memory, event]: [OwnedFd; 2]) -> Result<Self, StopError> {
        let (plan, word) = plan();
        let region = Region::from_fd_for(memory, &plan).map_err(StopError::Attach)?;
        region.get(word).map_err(StopError::Place)?;
        Ok(Self { region, word, event })
    }

    /// Its memory and its event, to be sent to another process.
    #[must_use]
    pub fn into_fds(self) -> [OwnedFd; 2] {
        [self.region.into(), self.event]
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn memory(&self) -> &Region {
        &self.region
    }

    /// Asks everybody to stop. Doing it again changes nothing.
    ///
    /// It is one system call and one store, so a signal handler may call it.
    ///
    /// # Errors
    ///
    /// `EBADF` or `EINVAL`, if what came as the token's event was none.
    pub fn stop(&self) -> Result<(), Errno> {
        match rustix::io::write(&self.event, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        self.set();
        Ok(())
    }

    /// Whether somebody has stopped it: a few loads, no system call.
    ///
    /// What the stopper did before is seen afterwards.
    #[inline]
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        // SYNC: stopped (Release in `set`).
        self.region.get(self.word).is_ok_and(|word| word.load(Ordering::Acquire) != 0)
    }

    /// Waits until somebody stops it, or until `deadline`; whether it is stopped. Interrupting signals
    /// change nothing.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, from `poll`.
    pub fn wait(&self, deadline: Deadline) -> Result<bool, Errno> {
        self.wait_by(deadline.into())
    }

    /// As [`wait`](Self::wait), and [a signal](ipc_core#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also `EINTR`: a signal handler has run. The call may be repeated. A handler that is to end a
    /// wait whenever it runs calls [`stop`](Self::stop).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::Errno;
    /// use ipc_core::clock::Deadline;
    /// use ipc_shm::StopToken;
    ///
    /// let token = StopToken::new()?;
    /// token.stop()?;
    /// let stopped = loop {
    ///     match token.wait_interruptible(Deadline::FAR) {
    ///         Err(Errno::INTR) => println!("a signal came"),
    ///         stopped => break stopped?,
    ///     }
    /// };
    /// assert!(stopped);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait_interruptible(&self, deadline: Deadline) -> Result<bool, Errno> {
        self.wait_by(Until::interruptible(deadline))
    }

    fn wait_by(&self, until: Until) -> Result<bool, Errno> {
        if self.is_stopped() {
            return Ok(true);
        }
        let stopped = until.poll(&mut [PollFd::new(&self.event, PollFlags::IN)])?;
        if stopped {
            // The stopper may have been killed just now.
            self.set();
        }
        Ok(stopped)
    }

    fn set(&self) {
        // The place was there when the token was made, and nobody removes it.
        if let Ok(word) = self.region.get(self.word) {
            // SYNC: stopped (Acquire in `is_stopped`).
            word.store(1, Ordering::Release);
        }
    }
}

fn plan() -> (Plan, Place<Atomic<AtomicU32>>) {
    let mut plan = Plan::new();
    let word = plan.one().expect("one word fits into any region");
    (plan, word)
}

impl AsFd for StopToken {
    /// The event: readable once the token is stopped, and for ever after. Nobody reads it. Who has
    /// waited for it in an event loop calls [`wait`](StopToken::wait) then, which returns at once.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopToken").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

/// Why there is no token.
///
/// # Examples
///
/// ```
/// use ipc_shm::{StopError, StopToken};
///
/// let [memory, event] = StopToken::new()?.into_fds();
/// assert!(matches!(StopToken::from_fds([event, memory]), Err(StopError::Attach(_))));
/// # Ok::<(), StopError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StopError {
    /// Its memory could not be made.
    Create(CreateError),
    /// The descriptor is not that of a token's memory.
    Attach(AttachError),
    /// The memory has no word for it.
    Place(PlaceError),
    /// Its event could not be made.
    Os(Errno),
}

static_assertions::assert_impl_all!(StopError: Send, Sync);

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(error) => error.fmt(f),
            Self::Attach(error) => error.fmt(f),
            Self::Place(error) => error.fmt(f),
            Self::Os(errno) => write!(f, "no event for a token: {errno}"),
        }
    }
}

impl core::error::Error for StopError {}
