//! [`Context`] and [`StartMethod`]: how processes are started.

use alloc::sync::Arc;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::Result;
use crate::function::FunctionRef;
use crate::process::threads::is_single_threaded;
use crate::process::{Child, Start, Zygote, ZygoteBuilder, ZygoteError};

/// How a [`Process`](super::Process) comes into being.
///
/// | method | the child is | from a process with threads | needs a diversion | exit status |
/// |---|---|---|---|---|
/// | [`Fork`](Self::Fork) | a copy of this process as it is now | refused | no | exact |
/// | [`Spawn`](Self::Spawn) | this program, executed again for each child | yes | yes | exact |
/// | [`ForkServer`](Self::ForkServer) | a fork of a helper that is this program, executed again once | yes | yes | exact; before Linux 6.15 as long as the helper lives |
/// | [`Auto`](Self::Auto) | a fork of a helper, which is a fork of this process if it has one thread, and else executed | yes | with threads | the same |
///
/// A program that is executed again must be diverted before its `main`. The feature `pre-main` (default) does that; without it
/// [`init`](crate::process::init) stands first in `main`. A program that does neither gets
/// [`NoDiversion`](crate::process::ZygoteError::NoDiversion).
///
/// What is copied is copied as it is: a lock that the calling thread holds when it forks, or when a
/// helper is forked, stays held in the children for ever.
///
/// Every handle of these crates works under each of them, because it is a descriptor that travels
/// beside the argument.
///
/// # Examples
///
/// ```
/// use ipc_core::process::StartMethod;
/// assert_eq!("forkserver".parse(), Ok(StartMethod::ForkServer));
/// assert_eq!(StartMethod::Spawn.to_string(), "spawn");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A helper that is there already, or can be had best.
    #[default]
    Auto,
    /// `fork`: everything is inherited. Only a process with one thread may do that safely.
    Fork,
    /// A fresh process for each child: nothing is inherited but the standard streams and what the
    /// argument holds.
    Spawn,
    /// As fresh, and quicker: the helper is executed once.
    ForkServer,
}

impl StartMethod {
    /// All of them, by name.
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Auto, "auto"),
        (Self::Fork, "fork"),
        (Self::Spawn, "spawn"),
        (Self::ForkServer, "forkserver"),
    ];
}

impl core::fmt::Display for StartMethod {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let named = Self::NAMES.iter().find(|(method, _)| method == self);
        f.pad(named.map_or("unknown", |(_, name)| name))
    }
}

impl core::str::FromStr for StartMethod {
    type Err = UnknownStartMethod;

    fn from_str(name: &str) -> Result<Self, UnknownStartMethod> {
        let named = Self::NAMES.iter().find(|(_, known)| *known == name);
        named.map(|(method, _)| *method).ok_or(UnknownStartMethod)
    }
}

/// No start method has this name.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{StartMethod, UnknownStartMethod};
/// assert_eq!("thread".parse::<StartMethod>(), Err(UnknownStartMethod));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownStartMethod;

impl core::fmt::Display for UnknownStartMethod {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not one of auto, fork, spawn, forkserver")
    }
}

impl core::error::Error for UnknownStartMethod {}

/// A way to start processes, with the helper that it may need.
///
/// Contexts are values: a library has its own and does not disturb the program's choice. One may be
/// used by any number of threads; the helper is made when the first process needs it, replaced when it
/// has died, and ends with the context. A fork's copy of a context makes a helper of its own.
///
/// Children outlive the helper. One that does is adopted by the system, and its exit status is known
/// once *that* has reaped it, and never before Linux 6.15: keep a context until the children have ended
/// whose status matters.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{Context, Process, StartMethod};
///
/// let context = Context::new(StartMethod::Spawn);
/// let mut child = Process::new(|name: String| println!("hello {name}"), "bob".into()).start_in(&context)?;
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[doc(alias = "get_context")]
pub struct Context {
    method: StartMethod,
    how: ZygoteBuilder,
    helper: Mutex<Option<Arc<Zygote>>>,
}

static_assertions::assert_impl_all!(StartMethod: Send, Sync);
static_assertions::assert_impl_all!(UnknownStartMethod: Send, Sync);
static_assertions::assert_impl_all!(Context: Send, Sync);

static GLOBAL: OnceLock<Context> = OnceLock::new();

impl Context {
    /// A context of its own.
    #[must_use]
    pub const fn new(method: StartMethod) -> Self {
        Self { method, how: Zygote::builder(), helper: Mutex::new(None) }
    }

    /// Adds a function that the helper calls before it makes the first child: what it prepares is there in
    /// every child, and the time for it is paid once. See [`ZygoteBuilder`] for what it may do.
    ///
    /// The helper is made when the first process is started, and again when it has died; then the
    /// function is called again. If it panics, ends the helper, leaves a thread running, or takes longer
    /// than 60 s, that start says [`ZygoteError::Preload`], and so does each further one.
    ///
    /// A context of [`StartMethod::Fork`] or [`StartMethod::Spawn`] has no helper, and calls nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use ipc_core::process::{Context, ExitStatus, Process, StartMethod};
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// fn load_words() {
    ///     let words = ["one", "two", "three"].map(String::from);
    ///     WORDS.set(words.into()).expect("it is called once");
    /// }
    ///
    /// fn length(index: usize) -> i32 {
    ///     WORDS.get().map_or(0, |words| words[index].len() as i32)
    /// }
    ///
    /// let context = Context::new(StartMethod::ForkServer).preload(load_words);
    /// let mut child = Process::new(length, 2).start_in(&context)?;
    /// assert_eq!(child.wait()?, ExitStatus::Exited(5));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "set_forkserver_preload")]
    pub fn preload(mut self, function: fn()) -> Self {
        self.how = self.how.preload(function);
        self
    }

    /// The program's own: [`StartMethod::Auto`], unless [`set_global`](Self::set_global) came first.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::{Context, StartMethod};
    /// assert_eq!(Context::global().method(), StartMethod::Auto);
    /// ```
    #[must_use]
    pub fn global() -> &'static Self {
        GLOBAL.get_or_init(Self::default)
    }

    /// Chooses the program's own context: once, and before it is used. Libraries leave it alone.
    ///
    /// # Errors
    ///
    /// The context comes back if there is one already.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::{Context, StartMethod};
    ///
    /// Context::set_global(Context::new(StartMethod::Spawn)).expect("the first");
    /// assert_eq!(Context::global().method(), StartMethod::Spawn);
    /// Context::set_global(Context::default()).expect_err("the second");
    /// ```
    #[doc(alias = "set_start_method")]
    pub fn set_global(context: Self) -> Result<(), Self> {
        GLOBAL.set(context)
    }

    /// How it starts processes.
    #[must_use]
    pub const fn method(&self) -> StartMethod {
        self.method
    }

    /// A fresh or forked child that calls `entry`, which calls `function`; not for
    /// [`StartMethod::Fork`].
    pub(super) fn spawn(
        &self,
        entry: fn(Start) -> i32,
        function: &[u8; FunctionRef::LEN],
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Child, ZygoteError> {
        if self.method == StartMethod::Spawn {
            return Zygote::start_by_exec()?.become_caller(entry, Some(function), bytes, fds);
        }
        let helper = self.helper(None)?;
        match helper.spawn_caller(entry, function, bytes, fds) {
            // Somebody killed it, or this is a fork's copy. No child has run.
            Err(ZygoteError::Died | ZygoteError::ForeignProcess) => {
                self.helper(Some(&helper))?.spawn_caller(entry, function, bytes, fds)
            }
            result => result,
        }
    }

    /// The helper, a new one if there is none but `useless`.
    fn helper(&self, useless: Option<&Arc<Zygote>>) -> Result<Arc<Zygote>, ZygoteError> {
        let mut helper = self.lock();
        match (&*helper, useless) {
            (Some(present), None) => return Ok(present.clone()),
            // Another thread has replaced it meanwhile.
            (Some(present), Some(useless)) if !Arc::ptr_eq(present, useless) => {
                return Ok(present.clone());
            }
            _ => {}
        }
        let by_fork = self.method == StartMethod::Auto && is_single_threaded() == Ok(true);
        let new = Arc::new(if by_fork {
            // The children of a forked helper have a copy of this context: a lock that is held now
            // would be held in them for ever. Nobody else is there to take it meanwhile.
            drop(helper);
            let new = self.how.start_by_fork()?;
            helper = self.lock();
            new
        } else {
            self.how.start_by_exec()?
        });
        *helper = Some(new.clone());
        Ok(new)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Zygote>>> {
        // No panic leaves it half way.
        self.helper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
