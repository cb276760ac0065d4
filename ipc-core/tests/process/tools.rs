//! What the cases need from the operating system beside what they test.
//!
//! # Safety
//!
//! Thin calls of libc, each with arguments that live as long as the call.
#![expect(unsafe_code, reason = "clone3, atfork and ptrace have no safe wrapper")]

use core::sync::atomic::Ordering::SeqCst;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, Signal};

use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::shared;
use ipc_testkit::cases::signals::on_signal;

/// Whether the kernel keeps the exit status of a reaped process (Linux 6.15).
pub(crate) fn kernel_keeps_status() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

pub(crate) fn ignore_sigchld() {
    on_signal(libc::SIGCHLD, libc::SIG_IGN, 0);
}

/// `waitpid` of libc: the pid it returns, and the status.
pub(crate) fn raw_waitpid(pid: i32, options: i32) -> (i32, i32) {
    let mut status = 0;
    // SAFETY: the status is written during the call only.
    let pid = unsafe { libc::waitpid(pid, &mut status, options) };
    (pid, status)
}

/// A plain fork whose child runs `f` and ends with its code.
pub(crate) fn raw_fork(f: impl FnOnce() -> i32) -> Pid {
    // SAFETY: the cases that call this have one thread.
    match Pid::from_raw(unsafe { libc::fork() }) {
        Some(pid) => pid,
        None => exit_now(f()),
    }
}

/// A copy of this process that keeps all its descriptors and sleeps, made without atfork handlers.
pub(crate) fn bare_clone_sleeper() -> i32 {
    // SAFETY: without CLONE_VM this is a fork; the child only sleeps.
    let raw = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    assert!(raw >= 0, "clone: {}", io::Error::last_os_error());
    if raw == 0 {
        pause_for_ever()
    }
    i32::try_from(raw).expect("a pid")
}

pub(crate) fn pause_for_ever() -> ! {
    loop {
        // SAFETY: sleeps until a signal.
        unsafe { libc::pause() };
    }
}

pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// A copy of a descriptor that is known by its number, such as a standard stream.
pub(crate) fn duplicate(number: i32) -> OwnedFd {
    // SAFETY: the standard streams stay open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::dup(fd).expect("dup")
}

/// Puts a copy of `fd` at `number`, closing what was there.
pub(crate) fn duplicate_onto(fd: impl AsFd, number: i32) {
    // SAFETY: used on standard streams only, which nobody owns.
    let done = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) };
    assert_eq!(done, number, "dup2: {}", io::Error::last_os_error());
}

/// Kills a child that was made without `Child`, and reaps it.
pub(crate) fn kill_and_reap(pid: Pid) {
    rustix::process::kill_process(pid, Signal::KILL).expect("kill");
    raw_waitpid(pid.as_raw_nonzero().get(), 0);
}

/// Makes the kernel answer every `pidfd_open` of another process with `action`, from now on and in
/// all children.
pub(crate) fn filter_pidfd_open(action: u32) {
    let own = rustix::process::getpid().as_raw_nonzero().get() as u32;
    answer(libc::SYS_pidfd_open, &When::NotEqual(0, own), action);
}

/// Runs `parent` in the parent inside every `fork` of libc, before it returns, with the child's pid.
pub(crate) fn in_parent_of_fork(parent: fn(Pid)) {
    use std::sync::OnceLock;
    static HOOK: OnceLock<fn(Pid)> = OnceLock::new();
    HOOK.set(parent).expect("one hook in a case");

    extern "C" fn in_child() {
        shared().words[14].store(rustix::process::getpid().as_raw_nonzero().get(), SeqCst);
    }
    extern "C" fn in_parent() {
        let hook = HOOK.get().expect("set above");
        loop {
            if let Some(pid) = Pid::from_raw(shared().words[14].swap(0, SeqCst)) {
                return hook(pid);
            }
            core::hint::spin_loop();
        }
    }
    // SAFETY: both handlers are functions that live as long as the program.
    let set = unsafe { libc::pthread_atfork(None, Some(in_parent), Some(in_child)) };
    assert_eq!(set, 0);
}

/// Attaches to a process as its tracer, without stopping it.
pub(crate) fn ptrace_seize(pid: Pid) -> bool {
    // SAFETY: attaches, and touches no memory.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid.as_raw_nonzero().get(), 0, 0) == 0 }
}
