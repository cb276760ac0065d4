//! Waiting until another process has got somewhere, as it says itself or as the kernel sees it.
//!
//! There is no event for "is asleep" or "has executed", so these look again and again, and yield in
//! between. The time limit of the case bounds them.
//!
//! # Safety
//!
//! A word is reinterpreted as one of the same size that is as atomic.
#![expect(unsafe_code, reason = "the words of a case are signed, the kernel's are not")]

use core::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::os::fd::AsFd;
use std::thread::yield_now;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;

use crate::stepkill::procfs::{is_parked, polls, sleeps_in};
use crate::sys::{futex_wait, futex_wake};

/// Adds one to a word of the case's shared memory, and wakes whoever waits for that; the sum.
pub fn count(word: &AtomicI32) -> i32 {
    let sum = word.fetch_add(1, SeqCst) + 1;
    futex_wake(futex(word), i32::MAX);
    sum
}

/// Waits until as many as `wanted` have been counted.
pub fn await_count(word: &AtomicI32, wanted: i32) {
    loop {
        let seen = word.load(SeqCst);
        if seen >= wanted {
            return;
        }
        // It returns early if the word has changed, and the case is over before this is.
        futex_wait(futex(word), seen as u32, Duration::from_secs(3600));
    }
}

fn futex(word: &AtomicI32) -> &AtomicU32 {
    // SAFETY: it lives as long as the word, and is only used by atomic operations like it.
    unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
}

/// Waits until `pid` is asleep in a futex call.
pub fn await_sleep(pid: Pid) {
    super::doing("waiting for a process to fall asleep");
    while !is_parked(pid.as_raw_nonzero().get()).expect("a live process") {
        yield_now();
    }
}

/// Waits until `pid` is asleep in a `poll`, of whatever kind.
pub fn await_sleep_in_poll(pid: Pid) {
    super::doing("waiting for a process to fall asleep in a poll");
    while !polls(pid.as_raw_nonzero().get()).expect("a live process") {
        yield_now();
    }
}

/// Waits until `pid` is asleep in a call on a socket.
pub fn await_sleep_in_socket(pid: Pid) {
    super::doing("waiting for a process to fall asleep in a socket call");
    let calls = [libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_ppoll];
    while !sleeps_in(pid.as_raw_nonzero().get(), &calls).expect("a live process") {
        yield_now();
    }
}

/// Waits until `pid` runs the program called `name`.
pub fn await_program(pid: Pid, name: &str) {
    super::doing("waiting for a process to execute its program");
    let path = format!("/proc/{}/comm", pid.as_raw_nonzero());
    while std::fs::read_to_string(&path).expect("a live process").trim_end() != name {
        yield_now();
    }
}

/// Waits until the process behind `pidfd` has ended, without reaping it.
pub fn await_exit(pidfd: impl AsFd) {
    super::doing("waiting for a process to end");
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    poll(&mut fds, None).expect("a pidfd can be polled");
}
