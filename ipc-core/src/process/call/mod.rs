//! A function that is called in a process of its own: Python's `Process`.

mod context;
mod error;
mod orders;
mod report;

use alloc::string::String;
use core::fmt;
use std::io::Write;
use std::os::fd::AsFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::orders::{Orders, enter, settle};
use super::{Child, ParentWatch, fork_fn};
use crate::Result;
use crate::function::Function;
use crate::parcel::Parcel;

pub use context::{Context, StartMethod, UnknownStartMethod};
pub use error::StartError;
pub use report::Report;

/// A function and its argument, to be called in a process of its own.
///
/// The function is a `fn` item or a closure that captures nothing; what it needs travels in its
/// argument: a serde value that owns its data, with handles inside it if need be. It travels in postcard's
/// form, which some serde types cannot take: see [`parcel`](crate::parcel). The argument *moves*: this process keeps none of the handles in it,
/// so the end of a connection that a child was given is seen when the child has ended.
///
/// # The end
///
/// The child ends with the function's result as exit code ([`Report`]), with 101 after a panic, and
/// with 124 if the argument cannot be read there. It outlives this process unless it is a
/// [`daemon`](Self::daemon).
///
/// Its exit status is exact. **Before Linux 6.15** a child of a helper, which is one of [`StartMethod::Auto`] or
/// [`ForkServer`](StartMethod::ForkServer), has the status [`Unknown`](super::ExitStatus::Unknown) if the helper was
/// killed, or its context dropped, before the child ended: do not take `success()` for an answer there, but let it
/// send one. Children of [`Fork`](StartMethod::Fork) and [`Spawn`](StartMethod::Spawn) are this process's own.
///
/// # What the child sees
///
/// See [`StartMethod`], and [the table](super::zygote) for descriptors, signals, statics and random
/// numbers.
///
/// # Examples
///
/// ```
/// use ipc_core::connection::{self, Sender};
/// use ipc_core::process::Process;
///
/// fn f(mut sender: Sender) {
///     sender.send_value(&(42, None::<u8>, "hello")).unwrap();
/// }
///
/// let (mut receiver, sender) = connection::simplex()?;
/// let mut child = Process::new(f, sender).start()?;
/// let message: (i32, Option<u8>, String) = receiver.recv_value()?;
/// assert_eq!(message, (42, None, "hello".into()));
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[must_use = "`start` starts it"]
pub struct Process<A, R> {
    function: fn(A) -> R,
    argument: A,
    name: Option<String>,
    daemon: bool,
}

/// How much of a name the kernel keeps, in bytes.
const SEEN: usize = 15;

impl<A, R> Process<A, R>
where
    A: Serialize + DeserializeOwned,
    R: Report,
{
    /// A process that will call `function(argument)`.
    pub const fn new(function: fn(A) -> R, argument: A) -> Self {
        Self { function, argument, name: None, daemon: false }
    }

    /// Names it, for lists of processes, which show the first 15 bytes; no more is kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::Process;
    ///
    /// fn say_name(_: ()) -> Result<(), std::io::Error> {
    ///     assert_eq!(std::fs::read_to_string("/proc/self/comm")?, "bob\n");
    ///     Ok(())
    /// }
    ///
    /// assert!(Process::new(say_name, ()).name("bob").start()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let mut name = name.into();
        // What nobody sees need not travel.
        if let Some(end) = (0..=SEEN).rev().find(|end| name.is_char_boundary(*end)) {
            name.truncate(end);
        }
        self.name = Some(name);
        self
    }

    /// Whether it ends when this process ends, in whatever way, whatever it is doing then. A daemon
    /// has a second thread, which waits for that.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::Process;
    ///
    /// fn serve(_: ()) {
    ///     loop {
    ///         std::thread::park();
    ///     }
    /// }
    ///
    /// // It goes when we go.
    /// Process::new(serve, ()).daemon(true).start()?.detach();
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Starts it in the program's own context, [`Context::global`].
    ///
    /// # Errors
    ///
    /// As [`start_in`](Self::start_in).
    pub fn start(self) -> Result<Child, StartError> {
        self.start_in(Context::global())
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// [`StartError`]. The argument is dropped, and no child runs the function.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::{Context, ExitStatus, Process, StartMethod};
    ///
    /// for method in [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer] {
    ///     let context = Context::new(method);
    ///     let mut child = Process::new(|n: i32| 2 * n, 21).start_in(&context)?;
    ///     assert_eq!(child.wait()?, ExitStatus::Exited(42));
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn start_in(self, context: &Context) -> Result<Child, StartError> {
        let Self { function, argument, name, daemon } = self;
        if context.method() == StartMethod::Fork {
            let watch = daemon.then(ParentWatch::over_this_process).transpose()?;
            return Ok(fork_fn(move || {
                settle(name.as_deref());
                match watch.map(|watch| watch.exit_with_parent()) {
                    None | Some(Ok(())) => function(argument).report(),
                    Some(Err(error)) => {
                        complain(format_args!("a daemon cannot watch its parent: {error}"));
                        orders::NOT_UNDERSTOOD
                    }
                }
            })?);
        }
        let function = Function::of(function)?.to_bytes();
        let orders = Orders { function: function.into(), name, daemon, argument: None };
        let (bytes, fds) = orders.pack(Parcel::pack(&argument)?)?;
        let fds: alloc::vec::Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        Ok(context.spawn(enter::<A, R>, &function, &bytes, &fds)?)
    }
}

impl<A: fmt::Debug, R> fmt::Debug for Process<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("argument", &self.argument)
            .field("name", &self.name)
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}

static_assertions::assert_impl_all!(Process<u8, ()>: Send, Sync);

/// Says something on standard error, if that is there.
fn complain(what: fmt::Arguments<'_>) {
    // Nobody is left to be told that it failed.
    let _ = writeln!(std::io::stderr(), "{what}");
}
