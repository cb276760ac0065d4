//! The builder: program, arguments, environment, directory, descriptors. What the kernel keeps for
//! each process beside these is in [`attributes`](super::attributes).

use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::attributes::Attributes;
use super::environment::Environment;
use super::own::OwnEnvironment;
use super::{Prepared, SpawnError};
use crate::Errno;
use crate::process::Child;

/// A program to be executed in a new process, and how.
///
/// Like [`std::process::Command`], with the descriptors, signals and limits of the new program in
/// the caller's hand, and without its `pre_exec`: what that is used for is here, and needs no copy
/// of the parent. What holds unless asked otherwise:
///
/// * descriptors 0, 1 and 2 are shared with this process, and no other reaches the program;
/// * no signal is blocked or caught; ignored signals stay ignored, but for SIGPIPE, which is at its
///   default;
/// * all else is as in this process.
///
/// A call replaces what an earlier one of the same kind said. Strings with a zero byte and the like
/// are noted and reported by [`spawn`](Self::spawn).
///
/// # Examples
///
/// ```
/// use std::io::Read;
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use ipc_core::process::Spawn;
///
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let mut child = Spawn::new("echo").arg("hello").stdout(theirs.as_fd()).spawn()?;
/// drop(theirs);
/// let mut said = String::new();
/// ours.read_to_string(&mut said)?;
/// assert_eq!(said, "hello\n");
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Spawn<'fd> {
    pub(super) program: OsString,
    /// Argument zero, if it is not the program.
    pub(super) name: Option<OsString>,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Environment,
    pub(super) directory: Option<OsString>,
    /// Which descriptor gets which number; each number once.
    pub(super) fds: Vec<(BorrowedFd<'fd>, i32)>,
    pub(super) attributes: Attributes,
    /// What was wrong first in what was asked for.
    pub(super) refused: Option<Errno>,
}

impl<'fd> Spawn<'fd> {
    /// A program, without arguments.
    ///
    /// A `program` with a slash in it is a path, taken from the directory in which the *child* runs
    /// ([`current_dir`](Self::current_dir)). Any other is a name that is looked up in the `PATH` of
    /// the
    /// *child's* environment, or in `/bin:/usr/bin` if that has none. An empty element of `PATH` is
    /// the child's directory. A file of that name which may not be executed does not end the
    /// search.
    ///
    /// What the kernel cannot execute is not handed to a shell.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// assert!(Spawn::new("true").spawn()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            name: None,
            arguments: Vec::new(),
            environment: Environment::default(),
            directory: None,
            fds: Vec::new(),
            attributes: Attributes::default(),
            refused: None,
        }
    }

    /// Adds an argument.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::{ExitStatus, Spawn};
    /// let mut child = Spawn::new("sh").arg("-c").arg("exit 3").spawn()?;
    /// assert_eq!(child.wait()?, ExitStatus::Exited(3));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child = Spawn::new("test").args(["1", "-lt", "2"]).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn args(&mut self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// What the program is told as its own name, argument zero. It is the program as given
    /// otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child = Spawn::new("sh").arg0("-sh").args(["-c", "test $0 = -sh"]).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// Sets a variable of the program's environment.
    ///
    /// The rest of the environment is what this process has when [`spawn`](Self::spawn) is called.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child = Spawn::new("sh").args(["-c", "test $A = b"]).env("A", "b").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let name = name.as_ref();
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return self.refuse(Errno::INVAL);
        }
        self.environment.changes.insert(name.to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Leaves a variable of this process out of the program's environment.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child = Spawn::new("sh").args(["-c", "test -z $HOME"]).env_remove("HOME").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.changes.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Leaves every variable out, those that were set before included.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child = Spawn::new("sh").args(["-c", "test -z $HOME"]).env_clear().spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment = Environment { is_cleared: true, ..Environment::default() };
        self
    }

    /// The directory in which the program starts.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child = Spawn::new("sh").args(["-c", "test $(pwd) = /"]).current_dir("/").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().as_os_str().to_owned());
        self
    }

    /// Gives the program a descriptor, at this number there.
    ///
    /// All numbers are filled at once, as they are here at the time of [`spawn`](Self::spawn): two
    /// descriptors may change places, and one may appear at several numbers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use std::os::fd::AsFd;
    ///
    /// let file = std::fs::File::open("/dev/null")?;
    /// let mut child =
    ///     Spawn::new("sh").args(["-c", "cat <&9"]).fd(9, file.as_fd()).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn fd(&mut self, number: i32, fd: BorrowedFd<'fd>) -> &mut Self {
        if number < 0 {
            return self.refuse(Errno::BADF);
        }
        self.fds.retain(|&(_, taken)| taken != number);
        self.fds.push((fd, number));
        self
    }

    /// Gives the program a descriptor at the number that it has here, where any close-on-exec mark
    /// stays.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use std::os::fd::{AsFd, AsRawFd};
    ///
    /// let file = std::fs::File::open("/dev/null")?;
    /// let script = format!("cat <&{}", file.as_raw_fd());
    /// let mut child = Spawn::new("sh").args(["-c", &script]).pass(file.as_fd()).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn pass(&mut self, fd: BorrowedFd<'fd>) -> &mut Self {
        self.fd(fd.as_raw_fd(), fd)
    }

    /// [`fd`](Self::fd) at number 0.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use std::os::fd::AsFd;
    ///
    /// let nothing = std::fs::File::open("/dev/null")?;
    /// assert!(Spawn::new("cat").stdin(nothing.as_fd()).spawn()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn stdin(&mut self, fd: BorrowedFd<'fd>) -> &mut Self {
        self.fd(0, fd)
    }

    /// [`fd`](Self::fd) at number 1.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use std::os::fd::AsFd;
    ///
    /// let nowhere = std::fs::File::create("/dev/null")?;
    /// assert!(Spawn::new("ls").stdout(nowhere.as_fd()).spawn()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn stdout(&mut self, fd: BorrowedFd<'fd>) -> &mut Self {
        self.fd(1, fd)
    }

    /// [`fd`](Self::fd) at number 2.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use std::os::fd::AsFd;
    ///
    /// let nowhere = std::fs::File::create("/dev/null")?;
    /// let mut child = Spawn::new("ls").arg("/no/such").stderr(nowhere.as_fd()).spawn()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn stderr(&mut self, fd: BorrowedFd<'fd>) -> &mut Self {
        self.fd(2, fd)
    }

    /// Executes the program in a new process; returns when it runs.
    ///
    /// The same `Spawn` may be used again. To start a program many times,
    /// [`prepare`](Self::prepare) it once: that saves the copy of the environment, which is made if
    /// the environment was changed, if this process has more than one thread, and if its C library
    /// is not glibc 2.32 or a later one.
    ///
    /// # Errors
    ///
    /// [`SpawnError`], whose [`Stage`](super::Stage) says what failed and its errno why. There is no child then,
    /// and nothing is left of it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut program = Spawn::new("sh");
    /// program.args(["-c", "exit 0"]);
    /// for _ in 0..3 {
    ///     assert!(program.spawn()?.wait()?.success());
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # References
    ///  - [clone](https://man7.org/linux/man-pages/man2/clone.2.html)
    ///  - [execve](https://man7.org/linux/man-pages/man2/execve.2.html)
    ///  - [close_range](https://man7.org/linux/man-pages/man2/close_range.2.html)
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let own = self.environment.is_unchanged().then(OwnEnvironment::if_alone).flatten();
        match own {
            Some(own) => self.lay_out(Some(&own))?.spawn_in(&own),
            None => self.lay_out(None)?.spawn(),
        }
    }

    /// Lays out all that the child will need, so that [`Prepared::spawn`] is left with the system
    /// calls.
    ///
    /// This takes the environment as it is now, which is most of the work.
    ///
    /// # Errors
    ///
    /// Those of [`Stage::Prepare`](super::Stage::Prepare).
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let worker = Spawn::new("true").prepare()?;
    /// for _ in 0..3 {
    ///     assert!(worker.spawn()?.wait()?.success());
    /// }
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn prepare(&self) -> Result<Prepared<'fd>, SpawnError> {
        self.lay_out(None)
    }

    /// Notes what [`spawn`](Self::spawn) will say.
    pub(super) fn refuse(&mut self, errno: Errno) -> &mut Self {
        self.refused.get_or_insert(errno);
        self
    }
}

static_assertions::assert_impl_all!(Spawn<'static>: Send, Sync);
