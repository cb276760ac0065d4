//! `fork`, with the child's pidfd in hand before the child runs.
//!
//! # Safety
//!
//! `fork` itself is the unsafe act: of a process with several threads the child has one, and every
//! lock that another thread held stays locked in it for ever. [`fork()`] passes that duty on to its
//! caller. `_exit` is sound everywhere, since it runs no code of the program.
#![expect(unsafe_code, reason = "libc's fork and _exit have no safe wrapper")]

use rustix::process::Pid;

use super::Child;
use super::barrier::Barrier;
use crate::errno::last_errno;
use crate::{Result, baton};

/// The exit code of a child whose `fork` failed in the parent, or whose parent died first. Nobody
/// sees it but the process that inherits the orphan.
pub(super) const NEVER_STARTED: i32 = 127;

/// Which side of a [`fork()`] this is.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{Fork, fork};
///
/// // SAFETY: the child does nothing but end.
/// match unsafe { fork() }? {
///     Fork::Parent(mut child) => assert!(child.wait()?.success()),
///     // SAFETY: `_exit` runs no code of this program.
///     Fork::Child => unsafe { libc::_exit(0) },
/// }
/// # Ok::<(), ipc_core::Errno>(())
/// ```
#[derive(Debug)]
pub enum Fork {
    /// The calling process, with a handle of its new child.
    Parent(Child),
    /// The new process.
    Child,
}

/// `fork()` — copies the calling process and returns in both.
///
/// The call goes through libc, so that its `pthread_atfork` handlers run and the child's own thread
/// is registered as libc wants it (thread id, robust list); a bare `clone` does neither.
///
/// The child does not return before its parent holds the child's pidfd. The handle is therefore
/// right also where SIGCHLD is ignored or another thread waits for any child, and a child whose
/// parent dies during the call ends without returning. The barrier's descriptors are close-on-exec
/// and gone on both sides when the call returns.
///
/// # Errors
///
/// In the parent only, and then there is no child:
///
/// * `EAGAIN` (limit of processes), `ENOMEM`: from `fork`;
/// * `EMFILE`, `ENFILE`: four descriptors are needed for the time of the call, of which the handle
///   keeps one, and three must be free;
/// * `ENOSYS`: the kernel has no pidfd (before 5.3), or a seccomp filter forbids it;
/// * `ESRCH`: somebody killed the child before it started, and somebody reaped it too.
///
/// # Safety
///
/// If the process may have more than one thread:
///
/// * until it calls `exec` or `_exit`, the child must call only async-signal-safe functions: it must
///   not allocate, lock, print or panic. In this crate these are safe there: [`fork()`] itself,
///   everything of [`Child`] and everything of [`fdpass`](crate::fdpass).
///
/// Always:
///
/// * the child must not return into code that relies on being run once, such as a test harness or a
///   scope that joins threads, since those threads do not exist in it.
///
/// # Examples
///
/// ```
/// use ipc_core::process::{ExitStatus, Fork, fork};
///
/// // SAFETY: the child does nothing but end.
/// let mut child = match unsafe { fork() }? {
///     // SAFETY: `_exit` runs no code of this program.
///     Fork::Child => unsafe { libc::_exit(42) },
///     Fork::Parent(child) => child,
/// };
/// assert_eq!(child.wait()?, ExitStatus::Exited(42));
/// # Ok::<(), ipc_core::Errno>(())
/// ```
///
/// # References
///  - [Linux](https://man7.org/linux/man-pages/man2/fork.2.html)
///  - [pidfd_open](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
pub unsafe fn fork() -> Result<Fork> {
    let barrier = Barrier::new()?;
    // SAFETY: the caller keeps the child to what a forked child may do, and the barrier makes system
    // calls alone.
    let raw = unsafe { libc::fork() };
    if raw < 0 {
        return Err(last_errno());
    }
    let child = Pid::from_raw(raw);
    if child.is_none() {
        baton::forget_after_fork();
    }
    match child {
        Some(pid) => Ok(Fork::Parent(Child::new(pid, barrier.release(pid)?))),
        None if barrier.wait() => Ok(Fork::Child),
        None => exit_now(NEVER_STARTED),
    }
}

/// Ends the process at once: no destructor, no exit handler and no flush runs.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` ends the process and touches no memory of it.
    unsafe { libc::_exit(code) }
}

static_assertions::assert_impl_all!(Fork: Send, Sync);
