//! What can go wrong between a wish and a running program.

use core::fmt;

use crate::Errno;

/// Why there is no new program: where it failed, and what the kernel said there.
///
/// The child that met the error has ended and is reaped.
///
/// # Examples
///
/// ```
/// use ipc_core::Errno;
/// use ipc_core::process::{Spawn, Stage};
///
/// let error = Spawn::new("/no/such/program").spawn().unwrap_err();
/// assert_eq!((error.stage, error.errno), (Stage::Exec, Errno::NOENT));
///
/// let error = Spawn::new("true").current_dir("/no/such/place").spawn().unwrap_err();
/// assert_eq!((error.stage, error.errno), (Stage::Chdir, Errno::NOENT));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnError {
    /// What was being done.
    pub stage: Stage,
    /// The kernel's answer to it.
    pub errno: Errno,
}

/// What [`Spawn`](super::Spawn) was doing when it failed, in the order in which it does these.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{Spawn, Stage};
///
/// let error = Spawn::new("true").arg("a zero byte: \0").spawn().unwrap_err();
/// assert_eq!(error.stage, Stage::Prepare);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Reading what was asked for: `EINVAL` if a string holds a zero byte, a variable's name is
    /// empty or holds a `=`, or the number of a processor is absurd; `EBADF` if a descriptor's
    /// number is negative. No process was made.
    Prepare,
    /// Making the process: `EAGAIN` (limit of processes), `ENOMEM`, `EMFILE` and `ENFILE` (no room
    /// for the pidfd), `ENOSYS` (no pidfd before Linux 5.2), or what a seccomp filter says.
    Clone,
    /// Setting up the parent-death signal: `EPERM` if [`parent_death`](super::Spawn::parent_death)
    /// was asked for in another thread than the main one;
    /// `ESRCH` if the child is in another pid namespace and cannot see its parent; `EINVAL` for a
    /// signal that does not exist.
    ParentDeath,
    /// `setsid`.
    Session,
    /// `setpgid`: `EPERM` if the group is of another session, or if the child leads a new session.
    Group,
    /// `sched_setaffinity`: `EINVAL` if this process may run on none of the processors.
    Affinity,
    /// `setpriority`: `EACCES` if it is lower than the privileges allow.
    Nice,
    /// Keeping the other descriptors from the program: the answer of `close_range`, or, where that
    /// is not to be had, of reading `/proc/self/fd`: `ENOENT` without `/proc`, `EMFILE` without
    /// room.
    Descriptors,
    /// Bringing a descriptor to its number: `EBADF` for a number beyond `RLIMIT_NOFILE`, `EMFILE`
    /// for numbers that change places in a full table.
    Dup,
    /// `chdir`: what is wrong with the directory.
    Chdir,
    /// `setrlimit`: `EPERM` for a hard limit above the present one, `EINVAL` for a soft above a
    /// hard one.
    Rlimit,
    /// Dispositions and mask: `EINVAL` if SIGKILL or SIGSTOP shall be ignored.
    Signals,
    /// `execve`: `ENOENT` if the program, its interpreter, or the loader is not there; `EACCES` if
    /// it may not be executed, as a directory; `ENOEXEC` if its format is unknown, as of a script
    /// without its first line; `E2BIG` for arguments and environment that are too long together;
    /// `ETXTBSY`, `ELOOP` and the others of its manual.
    Exec,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.stage {
            Stage::Prepare => "prepare the arguments",
            Stage::Clone => "make a process",
            Stage::ParentDeath => "bind it to its parent",
            Stage::Session => "begin a session",
            Stage::Group => "enter the process group",
            Stage::Affinity => "bind it to its processors",
            Stage::Nice => "set its priority",
            Stage::Descriptors => "keep other descriptors from it",
            Stage::Dup => "bring its descriptors to their numbers",
            Stage::Chdir => "change the directory",
            Stage::Rlimit => "set its limits",
            Stage::Signals => "set its signals",
            Stage::Exec => "execute the program",
        };
        write!(f, "cannot spawn: cannot {doing}: {}", self.errno)
    }
}

impl core::error::Error for SpawnError {}

static_assertions::assert_impl_all!(SpawnError: Send, Sync);
static_assertions::assert_impl_all!(Stage: Send, Sync);
