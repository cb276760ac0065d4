//! Signal handlers and a storm of signals.
//!
//! # Safety
//!
//! Thin calls of libc, each with arguments that live as long as the call.
#![expect(unsafe_code, reason = "sigaction and setitimer have no safe wrapper")]

use core::{mem, ptr};
use std::io;

/// Installs a handler, given as libc wants it.
pub fn on_signal(signal: i32, handler: libc::sighandler_t, flags: i32) {
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the action is valid; the handlers of these tests only touch an atomic.
    let done = unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
    assert_eq!(done, 0, "sigaction: {}", io::Error::last_os_error());
}

/// For [`on_signal`]: the kernel goes on by itself, where it can, with the call that a handler interrupted.
pub const SA_RESTART: i32 = libc::SA_RESTART;

/// Sends SIGALRM every so many microseconds; zero stops it.
pub fn interrupt_every(micros: i64) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: micros };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the timer is read during the call only.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    assert_eq!(done, 0, "setitimer: {}", io::Error::last_os_error());
}
