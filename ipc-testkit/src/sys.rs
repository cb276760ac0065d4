//! The system calls of the harness, as safe functions with `io::Result`.
//!
//! The harness calls libc directly, because what it judges is built on `ipc-core`.
//!
//! # Safety
//!
//! Every function here hands the kernel either plain integers or pointers to locals and borrowed atomics that outlive
//! the call. [`fork`] is the one with a duty: the process must have one thread, which [`crate::stepkill::Suite`] checks
//! once before anything is forked.

#![expect(unsafe_code, reason = "system calls")]

use core::sync::atomic::AtomicU32;
use core::time::Duration;
use std::io;

/// A process id as the kernel's calls take it.
pub(crate) type Pid = libc::pid_t;

/// What a child process did, from the status word of `waitpid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Stopped by this signal (under ptrace every signal stops).
    Stopped(i32),
    /// Ended by itself with this code.
    Exited(i32),
    /// Ended by this signal.
    Killed(i32),
}

/// Nanoseconds of CLOCK_MONOTONIC, the same in every process.
pub(crate) fn now() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a local that outlives the call; CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// This process.
pub(crate) fn pid() -> Pid {
    // SAFETY: getpid has no preconditions.
    unsafe { libc::getpid() }
}

/// Splits the process and runs `child` in the new one, which dies with this one and never returns.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    let parent = pid();
    // SAFETY: the suite checked that this process has one thread, so the child is a complete copy.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            become_child(parent);
            exit(child())
        }
        pid => Ok(pid),
    }
}

fn become_child(parent: Pid) {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    // SAFETY: getppid has no preconditions.
    if unsafe { libc::getppid() } != parent {
        // The parent died before the kernel was told to take us along.
        exit(0);
    }
    let children = sigchld();
    // SAFETY: `children` is a local; SIG_UNBLOCK undoes what `hear_children` did in the parent.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const children, core::ptr::null_mut()) };
}

/// Ends this process at once, without atexit handlers or buffers.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

/// Sends `signal` to `pid`, a child of ours that is not reaped yet.
pub(crate) fn kill(pid: Pid, signal: i32) {
    // SAFETY: kill takes integers.
    unsafe { libc::kill(pid, signal) };
}

/// The next stop or end of `pid`; ends are reaped.
pub(crate) fn wait(pid: Pid) -> io::Result<Change> {
    wait_with(pid, 0).map(|change| change.expect("a wait without WNOHANG returns a change"))
}

/// As [`wait`], but `None` if nothing has happened yet.
pub(crate) fn poll_child(pid: Pid) -> io::Result<Option<Change>> {
    wait_with(pid, libc::WNOHANG)
}

fn wait_with(pid: Pid, flags: i32) -> io::Result<Option<Change>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a local that outlives the call.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags | libc::__WALL) };
        if got == 0 {
            return Ok(None);
        }
        if got == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(Some(if libc::WIFSTOPPED(status) {
        Change::Stopped(libc::WSTOPSIG(status))
    } else if libc::WIFSIGNALED(status) {
        Change::Killed(libc::WTERMSIG(status))
    } else {
        Change::Exited(libc::WEXITSTATUS(status))
    }))
}

/// Waits until the kernel reports the death of `pid` and leaves the zombie in place.
pub(crate) fn wait_dead(pid: Pid) -> io::Result<()> {
    loop {
        // SAFETY: an all-zero siginfo_t is a valid value of that plain C struct.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOWAIT | libc::__WALL;
        // SAFETY: `info` is a local that outlives the call.
        if unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, flags) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn sigchld() -> libc::sigset_t {
    // SAFETY: an all-zero sigset_t is a valid value of that plain C struct (and the empty set on Linux).
    let mut set = unsafe { core::mem::zeroed() };
    // SAFETY: `set` is a local sigset_t.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    set
}

/// Blocks SIGCHLD in this process, so that [`wait_any_child`] can receive it.
pub(crate) fn hear_children() {
    let children = sigchld();
    // SAFETY: `children` is a local; the old mask is not wanted.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const children, core::ptr::null_mut()) };
}

/// Sleeps until some child stops or ends, or `limit` passes. May return early.
pub(crate) fn wait_any_child(limit: Duration) {
    let children = sigchld();
    let limit = timespec(limit);
    // SAFETY: both pointers are to locals; a null siginfo is allowed.
    unsafe { libc::sigtimedwait(&raw const children, core::ptr::null_mut(), &raw const limit) };
}

fn timespec(d: Duration) -> libc::timespec {
    libc::timespec { tv_sec: d.as_secs() as _, tv_nsec: d.subsec_nanos() as _ }
}

/// Sleeps while `word` holds `seen`, for at most `limit`. May return early.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, limit: Duration) {
    let limit = timespec(limit);
    // SAFETY: `word` is a live, aligned futex word and `limit` a local.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &raw const limit)
    };
}

/// Wakes at most `count` sleepers of `word` and says how many were woken.
pub(crate) fn futex_wake(word: &AtomicU32, count: i32) -> i64 {
    // SAFETY: `word` is a live, aligned futex word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) }
}

/// Confines this process to the processor that it runs on.
pub(crate) fn stay_on_processor() -> io::Result<()> {
    // SAFETY: sched_getcpu has no preconditions.
    let here = unsafe { libc::sched_getcpu() };
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: the processor that we run on has a place in the set.
    unsafe { libc::CPU_SET(here as usize, &mut set) };
    // SAFETY: `set` is a local of the size given.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Calls `handler` with SIGALRM; the handler may only do what is async-signal-safe.
pub(crate) fn on_alarm(handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handler has the signature that the kernel calls.
    unsafe { libc::signal(libc::SIGALRM, handler as *const () as libc::sighandler_t) };
}

/// Raises SIGALRM after `seconds`; 0 cancels. Not inherited by a fork.
pub(crate) fn alarm(seconds: u32) {
    // SAFETY: alarm takes an integer.
    unsafe { libc::alarm(seconds) };
}

/// Writes to standard error without buffers or locks, as a signal handler may.
pub(crate) fn write_stderr(bytes: &[u8]) {
    // SAFETY: the slice is readable for its length.
    unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
}

/// `ptrace(request, pid, addr, data)` for the requests that take integers.
pub(crate) fn ptrace(request: libc::c_uint, pid: Pid, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: only requests that read or write the tracee are made through this function, none that writes to us.
    match unsafe { libc::syscall(libc::SYS_ptrace, u64::from(request), pid, addr, data) } {
        -1 => Err(ptrace_failed(request)),
        _ => Ok(()),
    }
}

fn ptrace_failed(request: libc::c_uint) -> io::Error {
    let error = io::Error::last_os_error();
    io::Error::new(error.kind(), format!("ptrace request {request}: {error}"))
}

/// `PTRACE_PEEKTEXT` and `PTRACE_PEEKUSER`: one word of the tracee.
pub(crate) fn ptrace_peek(request: libc::c_uint, pid: Pid, addr: usize) -> io::Result<u64> {
    let mut word = 0_u64;
    // SAFETY: the raw call stores one word at `data`, which is a local of that size.
    match unsafe { libc::syscall(libc::SYS_ptrace, u64::from(request), pid, addr, &raw mut word) } {
        -1 => Err(ptrace_failed(request)),
        _ => Ok(word),
    }
}
