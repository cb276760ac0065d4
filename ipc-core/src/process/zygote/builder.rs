//! What a zygote does before it serves.

use alloc::vec::Vec;
use core::time::Duration;

use super::start::Method;
use super::{Zygote, ZygoteError};
use crate::Result;
use crate::function::Function;

/// How a zygote is to start, with the functions that it calls before it serves. From
/// [`Zygote::builder`].
///
/// What these functions leave behind is there in every child: tables in statics, libraries that were
/// opened, files, a changed directory. The time for it is paid once, and the memory is shared until
/// somebody writes to it.
///
/// # The functions
///
/// * They run in the zygote, one after the other, in the order in which they were given, and once more
///   in each zygote that [`restart`](Zygote::restart) makes. Each is a `fn` item or a closure that
///   captures nothing, and of a module that the zygote has loaded.
/// * They may start processes and threads, but must not leave a thread running: nobody could be forked.
/// * Every signal is blocked meanwhile. Handlers that they install are taken back, mask and name of the
///   process as well; what they ignore, children ignore.
/// * Descriptors that they leave open are open in every child.
/// * If the application is killed meanwhile the zygote is killed, too.
///
/// # Time
///
/// The zygote has 5 s for its first word, as ever, and the functions come after that. All of them
/// together may take as long as [`preload_limit`](Self::preload_limit) says, 60 s if it says nothing.
///
/// # Examples
///
/// ```
/// use std::sync::OnceLock;
/// use ipc_core::process::{ExitStatus, Zygote};
///
/// static SQUARES: OnceLock<Vec<u64>> = OnceLock::new();
///
/// fn build_table() {
///     SQUARES.set((0..1000).map(|x| x * x).collect()).expect("it is called once");
/// }
///
/// let zygote = Zygote::builder().preload(build_table).start()?;
/// // Not here, but in every child.
/// assert_eq!(SQUARES.get(), None);
/// let mut child = zygote.spawn(|_| SQUARES.get().map_or(1, |table| table[7] as i32), &[], &[])?;
/// assert_eq!(child.wait()?, ExitStatus::Exited(49));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "`start` starts the zygote"]
pub struct ZygoteBuilder {
    preloads: Vec<fn()>,
    limit: Duration,
}

impl ZygoteBuilder {
    pub(crate) const fn new() -> Self {
        Self { preloads: Vec::new(), limit: Duration::from_secs(60) }
    }

    /// Adds a function that the zygote calls before it serves.
    #[doc(alias = "set_forkserver_preload")]
    pub fn preload(mut self, function: fn()) -> Self {
        self.preloads.push(function);
        self
    }

    /// How long the functions may take, all together. A zygote that takes longer is killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use core::time::Duration;
    /// use ipc_core::process::{PreloadError, Zygote, ZygoteError};
    ///
    /// let short = Duration::from_millis(10);
    /// let builder = Zygote::builder().preload(|| loop { std::thread::park() }).preload_limit(short);
    /// let error = builder.start().unwrap_err();
    /// assert_eq!(error, ZygoteError::Preload { which: 0, error: PreloadError::TimedOut });
    /// ```
    pub const fn preload_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts the zygote: by fork if this process has one thread, else by `exec`.
    ///
    /// # Errors
    ///
    /// As [`start_by_fork`](Self::start_by_fork) or [`start_by_exec`](Self::start_by_exec).
    pub fn start(&self) -> Result<Zygote, ZygoteError> {
        Zygote::start_by(Method::Auto, self)
    }

    /// As [`Zygote::start_by_fork`], and returns when the functions have returned.
    ///
    /// # Errors
    ///
    /// As that, and then
    ///
    /// * [`ZygoteError::Preload`] if a function panicked, ended the zygote, left a thread running or took
    ///   too long;
    /// * [`ZygoteError::Function`] if a function has no name, or its name no function in the zygote;
    /// * [`ZygoteError::TooManyPreloads`] if there are more than some hundreds.
    ///
    /// There is no zygote then.
    pub fn start_by_fork(&self) -> Result<Zygote, ZygoteError> {
        Zygote::start_by(Method::Fork, self)
    }

    /// As [`Zygote::start_by_exec`], and returns when the functions have returned.
    ///
    /// # Errors
    ///
    /// As that, and as [`start_by_fork`](Self::start_by_fork).
    pub fn start_by_exec(&self) -> Result<Zygote, ZygoteError> {
        Zygote::start_by(Method::Exec, self)
    }

    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// The names of the functions, as they travel.
    pub(super) fn names(&self) -> Result<Vec<u8>, ZygoteError> {
        let mut names = Vec::new();
        for function in &self.preloads {
            names.extend(Function::of(*function).map_err(ZygoteError::Function)?.to_bytes());
        }
        Ok(names)
    }
}

impl Default for ZygoteBuilder {
    /// Without functions.
    fn default() -> Self {
        Self::new()
    }
}

static_assertions::assert_impl_all!(ZygoteBuilder: Send, Sync);
