//! What the waits of all primitives have in common: children that sleep in them, time-outs, and signals.
#![allow(dead_code, reason = "each test program uses a part")]

use core::time::Duration;
use std::time::Instant;

use ipc_core::process::{Child, fork_fn};
use ipc_sync::{Deadline, Errno, WaitError};
use ipc_testkit::cases::{events::await_sleep, signals};
use rustix::process::Signal;

pub(crate) fn join(children: impl IntoIterator<Item = Child>) {
    for mut child in children {
        assert!(child.wait().expect("a child of ours").success());
    }
}

/// That many children, each asleep in `wait`.
pub(crate) fn sleepers(count: usize, wait: impl Fn() -> Result<(), WaitError>) -> Vec<Child> {
    let wait = || wait().map_or(1, |()| 0);
    let children: Vec<_> = (0..count).map(|_| fork_fn(wait).expect("fork")).collect();
    children.iter().for_each(|child| await_sleep(child.id()));
    children
}

/// Interrupts this thread every so many microseconds from now on.
pub(crate) fn interrupt_every(micros: i64, flags: i32) {
    extern "C" fn nothing(_: i32) {}
    signals::on_signal(Signal::ALARM.as_raw(), nothing as *const () as usize, flags);
    signals::interrupt_every(micros);
}

/// A wait in vain takes as long as it is told, under a storm of signals.
pub(crate) fn keeps_time_outs(wait: impl Fn(Duration) -> Result<(), WaitError>) {
    interrupt_every(50, 0);
    for nanos in [0, 1, 1_000_000, 150_000_000] {
        let timeout = Duration::from_nanos(nanos);
        let began = Instant::now();
        assert_eq!(wait(timeout), Err(WaitError::TimedOut));
        let took = began.elapsed();
        assert!(took >= timeout, "{took:?} is shorter than {timeout:?}");
        // Generous, because other tests share the processors.
        assert!(took < timeout + Duration::from_millis(200), "{took:?} for {timeout:?}");
    }
    signals::interrupt_every(0);
}

/// A wait in vain that is interruptible ends by a signal, whatever its handler's flags; else by its deadline.
pub(crate) fn ends_by_a_signal(wait: impl Fn(Deadline) -> Result<(), WaitError>) {
    for flags in [0, signals::SA_RESTART] {
        interrupt_every(2_000, flags);
        let result = wait(Deadline::FAR);
        signals::interrupt_every(0);
        assert_eq!(result, Err(WaitError::Os(Errno::INTR)), "flags {flags:#x}");
    }
    let soon = Deadline::after(Duration::from_millis(20));
    assert_eq!(wait(soon), Err(WaitError::TimedOut));
}
