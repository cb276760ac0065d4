//! Dispositions of a zygote and its children.
//!
//! A zygote blocks every signal from before it exists. Thus neither a Ctrl-C for the whole foreground
//! group nor a `kill` of the group ends it; and a signal for a new child waits until that child has
//! its own dispositions, where an *ignored* one would be lost.
//!
//! # Safety
//!
//! Thin calls with arguments that live as long as the call. No handler is ever installed.
#![expect(unsafe_code, reason = "dispositions and signalfd have no safe wrapper")]

use core::mem;
use core::ptr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::Result;
use crate::process::raw::syscall;
use crate::process::{Signal, SignalSet};

/// Signals that name a fault of the running code. Their handlers stay: they print a last message.
const FAULTS: [i32; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
];

/// Sets every signal that has a handler to its default, as `exec` does, but for the faults.
pub(super) fn drop_handlers() {
    for signal in 1..=libc::SIGRTMAX() {
        let caught = disposition(signal)
            .is_some_and(|handler| handler != libc::SIG_DFL && handler != libc::SIG_IGN);
        if caught && !FAULTS.contains(&signal) {
            set_disposition(signal, libc::SIG_DFL);
        }
    }
}

/// What SIGCHLD did in the application.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChildSignal(libc::sighandler_t);

impl ChildSignal {
    /// To be asked before anything is changed.
    pub(super) fn of_this_process() -> Self {
        Self(disposition(libc::SIGCHLD).unwrap_or(libc::SIG_DFL))
    }

    pub(super) fn restore(self) {
        set_disposition(libc::SIGCHLD, self.0);
    }
}

/// Lets the kernel reap children as they end.
pub(super) fn ignore_children() {
    set_disposition(libc::SIGCHLD, libc::SIG_IGN);
}

/// Leaves children that have ended to this process.
pub(super) fn keep_children() {
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
}

/// A descriptor that is readable while SIGCHLD, which is blocked, is pending.
pub(super) fn ends_of_children() -> Result<OwnedFd> {
    let set = SignalSet::from(Signal::CHILD);
    let (place, size) = ((&raw const set).expose_provenance(), size_of_val(&set));
    // A new one, and not a change of another.
    let arguments = [usize::MAX, place, size, (libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) as usize];
    // SAFETY: the kernel reads the set, which lives until the call returns.
    let number = unsafe { syscall(libc::SYS_signalfd4, arguments) }?;
    // SAFETY: the kernel made it for this call. Descriptors are small numbers.
    Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}

/// `None` for the signals that libc keeps to itself.
fn disposition(signal: i32) -> Option<libc::sighandler_t> {
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: writes the action only.
    let known = unsafe { libc::sigaction(signal, ptr::null(), &mut action) } == 0;
    known.then_some(action.sa_sigaction)
}

fn set_disposition(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = disposition;
    // SAFETY: `SIG_DFL` and `SIG_IGN` run no code. It cannot fail: the signal was read before.
    unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
}
