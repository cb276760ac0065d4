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

/// How long `pid`, a child of ours that is not reaped yet, has been executing.
pub(crate) fn processor_time(pid: Pid) -> Duration {
    let mut clock = 0;
    // SAFETY: `clock` is a local that outlives the call.
    if unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } != 0 {
        return Duration::ZERO;
    }
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a local that outlives the call; it stays zero if the process has just ended.
    unsafe { libc::clock_gettime(clock, &raw mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
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
    Ok(wait_status(pid, flags)?.map(|(_, status)| change(status)))
}

/// As [`poll_child`], of any child or process that this one traces: which it was, what it did, and the event of
/// ptrace (`PTRACE_EVENT_*`) that stopped it, or 0.
pub(crate) fn poll_children() -> io::Result<Option<(Pid, Change, i32)>> {
    let next = wait_status(-1, libc::WNOHANG)?;
    Ok(next.map(|(pid, status)| {
        (pid, change(status), if libc::WIFSTOPPED(status) { status >> 16 } else { 0 })
    }))
}

fn wait_status(pid: Pid, flags: i32) -> io::Result<Option<(Pid, i32)>> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a local that outlives the call.
        match unsafe { libc::waitpid(pid, &raw mut status, flags | libc::__WALL) } {
            0 => return Ok(None),
            -1 => {}
            got => return Ok(Some((got, status))),
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn change(status: i32) -> Change {
    if libc::WIFSTOPPED(status) {
        Change::Stopped(libc::WSTOPSIG(status))
    } else if libc::WIFSIGNALED(status) {
        Change::Killed(libc::WTERMSIG(status))
    } else {
        Change::Exited(libc::WEXITSTATUS(status))
    }
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

/// A system call at which a tracee is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallStop {
    /// It is about to be made: its number and its first four arguments.
    Entry(i64, [u64; 4]),
    /// It has returned.
    Exit,
}

/// `PTRACE_GET_SYSCALL_INFO`: which call it is, and on which side of it the tracee stands; `None` if it stands
/// elsewhere.
pub(crate) fn ptrace_call(pid: Pid) -> io::Result<Option<CallStop>> {
    // `struct ptrace_syscall_info` in words: what it is in the first byte, two addresses, then the call's number and
    // arguments.
    let mut words = [0_u64; 11];
    let request = u64::from(PTRACE_GET_SYSCALL_INFO);
    let (size, to) = (size_of_val(&words), &raw mut words);
    // SAFETY: the kernel writes at most `size` bytes to the local.
    if unsafe { libc::syscall(libc::SYS_ptrace, request, pid, size, to) } == -1 {
        return Err(ptrace_failed(PTRACE_GET_SYSCALL_INFO));
    }
    Ok(match words[0].to_ne_bytes()[0] {
        1 => Some(CallStop::Entry(words[3] as i64, [words[4], words[5], words[6], words[7]])),
        2 => Some(CallStop::Exit),
        _ => None,
    })
}

/// As in `linux/ptrace.h`; not every libc has it.
const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;

/// `PTRACE_GETEVENTMSG`: the process that was made, where the event tells of one.
pub(crate) fn ptrace_message(pid: Pid) -> io::Result<Pid> {
    ptrace_peek(libc::PTRACE_GETEVENTMSG as _, pid, 0).map(|message| message as Pid)
}

/// Adopts the orphans among this process's descendants.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes a flag.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps malloc in the heap proper, from which nothing is given back: what is mapped is then what somebody mapped.
pub(crate) fn keep_malloc_in_the_heap() {
    #[cfg(target_env = "gnu")]
    for (option, value) in
        [(libc::M_MMAP_MAX, 0), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 8 << 20)]
    {
        // SAFETY: mallopt takes integers; this process has one thread.
        unsafe { libc::mallopt(option, value) };
    }
}

/// Puts a copy of `fd` in place of the standard error stream.
pub(crate) fn replace_stderr(fd: &impl std::os::fd::AsRawFd) {
    // SAFETY: both numbers are open, and nobody owns that of a standard stream.
    unsafe { libc::dup2(fd.as_raw_fd(), 2) };
}
