//! A zygote: a helper process that forks children for an application that must not fork itself.
//!
//! A process with several threads cannot be forked safely, and a pool of workers must be able to
//! replace one at any time. The zygote has one thread for all its life. It is a fork of the
//! application, made while that had one thread too, or the same program executed again, which turns
//! aside before its `main`. On request it forks a child that calls a function of the program.
//!
//! # Who holds whom
//!
//! * The application holds each child by its pidfd, as if it had forked it. From Linux 6.15 on the kernel
//!   reaps the children, and the [`Child`] reads its status from the pidfd. Before, the zygote reaps them
//!   and tells the `Child`. Exact it is in both, but a status that the zygote could not tell, because it
//!   was killed, dropped or restarted before the child ended, or is stopped, is
//!   [`Unknown`](super::ExitStatus::Unknown).
//! * The entry of a child runs if and only if [`spawn`](Zygote::spawn) returns its `Child`, at
//!   whatever point the zygote or the application dies: the child sends its pidfd itself and begins
//!   when the application says that it has it.
//! * The zygote ends with the application and owns nothing else. If it dies, children go on, `spawn` says
//!   [`Died`](ZygoteError::Died) and [`restart`](Zygote::restart) makes another.
//! * Children watch the *application*: [`ParentWatch`].
//! * An application that adopts orphans (a subreaper, or process 1 of a pid namespace) becomes the parent
//!   of a dead zygote's children. A `Child` reaps its own; one that was forked and not told to go is
//!   reaped before the error is returned. Left to the application are those whose handles it dropped,
//!   one that was killed together with its zygote before its first word, and the process by which a zygote
//!   that is killed at its very start was asking whether the kernel keeps statuses: nobody learnt their
//!   names.
//!
//! # What a child sees
//!
//! | | zygote by fork | zygote by `exec` |
//! |---|---|---|
//! | statics, heap | as they were when the zygote was started, and what its [preloads](ZygoteBuilder) made of that | as before `main`: `main` never ran. And what the preloads made of that |
//! | environment, arguments, directory | as then | as when the zygote was started |
//! | `HashMap` seeds and other random state | whatever had been drawn by then: the same in all children | drawn by each child itself |
//! | panic hook, logger, stack-overflow message | as then | none yet: `main` and Rust's start before it set them |
//! | descriptors 0 to 2 | shared with the application; a closed one is `/dev/null` | the same |
//! | other descriptors | the numbers in use then refuse everything with `EBADF`, those beyond the limit of open files too | closed |
//! | | those of the request, and the application's pidfd | the same |
//! | signal mask | empty | empty |
//! | handlers | default, but for faults (SIGSEGV and the like) | default |
//! | ignored signals | as then | as when the zygote was started |
//! | threads, timers | none | none |
//! | `pthread_atfork` handlers | run | run |
//!
//! A fork copies page tables, so each child of a forked zygote costs some 30 µs for every MiB that
//! the application had in use when it started the zygote; a zygote by `exec` stays small. Start the
//! first kind early.
//!
//! Constructors that the linker placed behind this crate's have not run in a zygote by `exec`.
//! A child ends by `_exit` with the entry's result, 101 after a panic. Rust's standard output is
//! flushed before that; `atexit` handlers do not run.
//!
//! # Security
//!
//! The socket is unnamed and has two ends, one in each process. A program that gained privileges when
//! it was executed (`AT_SECURE`) never becomes a zygote, since whoever writes to the socket says what
//! is run; it ends instead, and [`start_by_exec`](Zygote::start_by_exec) says
//! [`Died`](ZygoteError::Died).

mod builder;
mod connection;
mod descriptors;
mod divert;
mod error;
mod message;
mod preload;
mod probe;
mod reaper;
mod server;
mod signals;
mod spawning;
mod start;
mod worker;

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::getpid;

use self::connection::Connection;
use self::message::{Name, Request};
use self::spawning::PATIENCE;
use self::start::Method;
use super::{Child, Pid};
use crate::Result;
use crate::clock::Deadline;
use crate::fdpass::MAX_FDS;
use crate::function::Function;

pub use builder::ZygoteBuilder;
pub use divert::init;
pub use error::{PreloadError, ZygoteError};
pub use spawning::Spawning;
pub use worker::{ParentWatch, Start};

/// The most bytes that a child can be given. More belongs into shared memory, whose descriptor fits.
pub const MAX_BYTES: usize = 16 << 10;

/// A running zygote.
///
/// It may be shared by threads: requests are served one after the other. Dropping it ends the zygote,
/// which takes a few microseconds, and leaves the children alone.
///
/// Before Linux 6.15 a zygote keeps a descriptor for each child that lives, and the `Child` has two. Of
/// children beyond its limit of open files (`RLIMIT_NOFILE`, less some twenty) the status is `Unknown`.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{ExitStatus, Start, Zygote};
///
/// fn work(start: Start) -> i32 {
///     start.bytes.len() as i32
/// }
///
/// // Also from a process with many threads.
/// let zygote = Zygote::start()?;
/// let mut child = zygote.spawn(work, b"four", &[])?;
/// assert_eq!(child.wait()?, ExitStatus::Exited(4));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Zygote {
    /// `None` after a restart that failed.
    connection: Mutex<Option<Connection>>,
    method: Method,
    how: ZygoteBuilder,
    /// The process that the zygote works for.
    owner: Pid,
}

impl Zygote {
    /// A zygote that calls functions of the program before it serves, so that children find prepared what
    /// they need.
    pub const fn builder() -> ZygoteBuilder {
        ZygoteBuilder::new()
    }

    /// Starts a zygote: by fork if this process has one thread, else by `exec`.
    ///
    /// # Errors
    ///
    /// As [`start_by_fork`](Self::start_by_fork) or [`start_by_exec`](Self::start_by_exec).
    pub fn start() -> Result<Self, ZygoteError> {
        Self::builder().start()
    }

    /// Starts a zygote that is a copy of this process at this moment.
    ///
    /// # Errors
    ///
    /// [`ZygoteError::ManyThreads`], [`ZygoteError::ThreadsUnknown`], [`ZygoteError::Setup`],
    /// [`ZygoteError::Os`] as [`fork`](super::fork()) and `socketpair`, [`ZygoteError::Unresponsive`] and
    /// [`ZygoteError::Died`] if somebody stopped or killed it at its start.
    pub fn start_by_fork() -> Result<Self, ZygoteError> {
        Self::builder().start_by_fork()
    }

    /// Starts a zygote that is this program, executed again and turned aside before its `main`.
    ///
    /// # Errors
    ///
    /// [`ZygoteError::NoDiversion`] if the program would come to its `main`, and then nothing is
    /// executed; [`ZygoteError::Exec`], `ENOENT` without `/proc`; [`ZygoteError::ZygoteHasThreads`] if another constructor of
    /// the program starts threads; [`ZygoteError::Setup`]; [`ZygoteError::Unresponsive`] if it says nothing for 5 s, and
    /// then it is killed; [`ZygoteError::Died`]; [`ZygoteError::Os`].
    pub fn start_by_exec() -> Result<Self, ZygoteError> {
        Self::builder().start_by_exec()
    }

    fn start_by(method: Method, how: &ZygoteBuilder) -> Result<Self, ZygoteError> {
        let connection = Mutex::new(Some(method.start(how)?));
        Ok(Self { connection, method, how: how.clone(), owner: getpid() })
    }

    /// Forks a child that calls `entry` with a copy of `bytes` and of the descriptors, and ends with
    /// its result as exit code.
    ///
    /// # Errors
    ///
    /// In each case no child runs `entry`.
    ///
    /// * [`ZygoteError::BytesTooLong`] beyond [`MAX_BYTES`], [`ZygoteError::TooManyFds`] beyond
    ///   [`MAX_FDS`];
    /// * [`ZygoteError::Function`] if `entry` is of a library that the zygote has not loaded, or of
    ///   one without a build id;
    /// * [`ZygoteError::Fork`] if the zygote met a limit;
    /// * [`ZygoteError::Died`], now and until a [`restart`](Self::restart);
    ///   [`ZygoteError::Unresponsive`] if it does not answer for 10 s, and then it is killed;
    /// * [`ZygoteError::ForeignProcess`] in a fork of the process that started the zygote;
    /// * [`ZygoteError::Os`]: `EMFILE` if the pidfd does not fit into this process, among others.
    ///
    /// # Panics
    ///
    /// Never. A panic of `entry` is the child's: exit code 101.
    pub fn spawn(
        &self,
        entry: fn(Start) -> i32,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Child, ZygoteError> {
        self.begin(entry, None, bytes, fds)?.finish()
    }

    /// As [`spawn`](Self::spawn), with an entry that has another function to call.
    #[cfg(feature = "serde")]
    pub(super) fn spawn_caller(
        &self,
        entry: fn(Start) -> i32,
        calls: &Name,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Child, ZygoteError> {
        self.begin(entry, Some(calls), bytes, fds)?.finish()
    }

    /// Asks for a child as [`spawn`](Self::spawn) does, and does not wait for it: for a thread that
    /// has other things to wait for meanwhile.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn), in part here and in part from [`Spawning::wait_until`].
    ///
    /// # Examples
    ///
    /// ```
    /// use core::time::Duration;
    /// use ipc_core::clock::Deadline;
    /// use ipc_core::process::{Zygote, ZygoteError};
    ///
    /// let zygote = Zygote::start()?;
    /// let mut spawning = zygote.begin_spawn(|_| 5, &[], &[])?;
    /// let mut child = loop {
    ///     // .. or a `poll` that has `spawning` beside other things ..
    ///     if let Some(child) = spawning.wait_until(Deadline::after(Duration::from_millis(1)))? {
    ///         break child;
    ///     }
    /// };
    /// child.wait()?;
    /// drop(spawning);
    ///
    /// // Nobody waits for this one, so it never runs.
    /// drop(zygote.begin_spawn(|_| panic!("not wanted"), &[], &[])?);
    /// assert_eq!(zygote.spawn(|_| 6, &[], &[]).unwrap_err(), ZygoteError::Died);
    /// zygote.restart()?;
    /// zygote.spawn(|_| 7, &[], &[])?.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn begin_spawn(
        &self,
        entry: fn(Start) -> i32,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Spawning<'_>, ZygoteError> {
        self.begin(entry, None, bytes, fds)
    }

    fn begin(
        &self,
        entry: fn(Start) -> i32,
        calls: Option<&Name>,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Spawning<'_>, ZygoteError> {
        self.check_owner()?;
        check(bytes, fds)?;
        let entry = Function::of(entry).map_err(ZygoteError::Function)?.to_bytes();
        let mut connection = self.lock();
        let request = Request::Spawn { entry: &entry, calls: calls.unwrap_or(&entry), bytes };
        connection.as_mut().ok_or(ZygoteError::Died)?.request(&request, fds)?;
        Ok(Spawning::new(self, connection))
    }

    /// Makes the zygote itself the child: it calls `entry`, and forks no more.
    ///
    /// After [`start_by_exec`](Self::start_by_exec) the child is a fresh process that shares nothing
    /// with this one, and its exit status is exact on every kernel.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn). The zygote is gone then, and no child runs `entry`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::{ExitStatus, Zygote};
    ///
    /// let mut child = Zygote::start_by_exec()?.become_child(|_| 4, &[], &[])?;
    /// assert_eq!(child.wait()?, ExitStatus::Exited(4));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn become_child(
        self,
        entry: fn(Start) -> i32,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Child, ZygoteError> {
        self.become_caller(entry, None, bytes, fds)
    }

    /// As [`become_child`](Self::become_child), perhaps with an entry that has another function to
    /// call.
    pub(super) fn become_caller(
        mut self,
        entry: fn(Start) -> i32,
        calls: Option<&Name>,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Child, ZygoteError> {
        self.check_owner()?;
        check(bytes, fds)?;
        let entry = Function::of(entry).map_err(ZygoteError::Function)?.to_bytes();
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut connection = connection.take().ok_or(ZygoteError::Died)?;
        let request = Request::Become { entry: &entry, calls: calls.unwrap_or(&entry), bytes };
        connection.request(&request, fds)?;
        connection.become_child(Deadline::after(PATIENCE))
    }

    /// Ends the zygote, if it still runs, and starts another in the same way, preloads included.
    ///
    /// After [`start`](Self::start), which chooses, it chooses anew: a process that has threads by
    /// now gets its second zygote by `exec`. Children of the first are left alone.
    ///
    /// # Errors
    ///
    /// As the start; `spawn` then says [`ZygoteError::Died`] until a restart succeeds.
    pub fn restart(&self) -> Result<(), ZygoteError> {
        self.check_owner()?;
        let mut connection = self.lock();
        *connection = None;
        *connection = Some(self.method.start(&self.how)?);
        Ok(())
    }

    /// The zygote's process id, for messages and logs; `None` after a restart that failed, and in a
    /// fork of the process that started it.
    #[must_use]
    pub fn id(&self) -> Option<Pid> {
        self.check_owner().ok()?;
        self.lock().as_ref().map(Connection::id)
    }

    fn check_owner(&self) -> Result<(), ZygoteError> {
        // Before the lock, which another thread may have held when a fork copied it.
        if getpid() == self.owner { Ok(()) } else { Err(ZygoteError::ForeignProcess) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // No panic leaves a connection half way: its numbers only grow.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        if getpid() != self.owner {
            // A copy that a fork made: closing it is all that it may do.
            let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Some(connection) = connection {
                connection.disown();
            }
        }
    }
}

fn check(bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ZygoteError> {
    if bytes.len() > MAX_BYTES {
        return Err(ZygoteError::BytesTooLong { len: bytes.len() });
    }
    if fds.len() > MAX_FDS {
        return Err(ZygoteError::TooManyFds);
    }
    Ok(())
}

static_assertions::assert_impl_all!(Zygote: Send, Sync);
