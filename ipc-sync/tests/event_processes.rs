//! `Event` between processes, under signals, and from a signal handler.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill.rs`.

mod waits;

use core::time::Duration;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use ipc_core::process::fork_fn;
use ipc_sync::{Deadline, Event, WaitError};
use ipc_testkit::cases::seccomp::{die_of_wake, refuse_wake_op};
use ipc_testkit::cases::{self, events::await_sleep, signals};
use ipc_testkit::shared::Shared;
use rustix::process::{Signal, getpid, kill_process};
use waits::{ends_by_a_signal, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("everybody_comes_through", everybody_comes_through),
        ("what_the_setter_did_is_seen", what_the_setter_did_is_seen),
        ("who_waited_comes_through_a_pulse", who_waited_comes_through_a_pulse),
        ("a_killed_sleeper_changes_nothing", a_killed_sleeper_changes_nothing),
        ("a_sandbox_may_refuse_to_set_and_wake", refused_operation),
        ("waiters_outlive_a_setter_that_dies_in_a_sandbox", setter_dies_in_a_sandbox),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_signal_ends_an_interruptible_wait", signal_ends_an_interruptible_wait),
        ("a_signal_handler_may_set", a_signal_handler_may_set),
        ("a_signal_handler_wakes_others", a_signal_handler_wakes_others),
        ("who_waits_sleeps_on", sleeps_on),
        ("set_and_cleared_by_many", set_and_cleared_by_many),
    ])
}

fn event() -> Shared<Event> {
    Shared::new(Event::new()).expect("a mapping")
}

fn everybody_comes_through() {
    let event = event();
    let began = Instant::now();
    for _ in 0..20 {
        let children = sleepers(5, || event.wait());
        event.set();
        join(children);
        assert_eq!(event.wait(), Ok(()));
        event.clear();
        assert!(!event.is_set());
    }
    assert_woken(began.elapsed());
}

/// Twenty times somebody slept: nobody who did was left to look up by himself, which is once a second.
fn assert_woken(took: Duration) {
    assert!(took < Duration::from_secs(10), "{took:?}");
}

fn what_the_setter_did_is_seen() {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    let (event, value) = (event(), Shared::new(AtomicU64::new(0)).expect("a mapping"));
    let mut child =
        fork_fn(|| event.wait().map_or(1, |()| i32::from(value.load(Relaxed) != 7))).expect("fork");
    await_sleep(child.id());
    value.store(7, Relaxed);
    event.set();
    assert!(child.wait().expect("a child of ours").success());
}

fn who_waited_comes_through_a_pulse() {
    let event = event();
    for _ in 0..50 {
        let children = sleepers(3, || event.wait());
        event.set();
        event.clear();
        join(children);
    }
}

fn a_killed_sleeper_changes_nothing() {
    let event = event();
    let mut children = sleepers(3, || event.wait());
    let mut victim = children.remove(0);
    victim.kill().expect("a live child");
    event.set();
    victim.wait().expect("a child of ours");
    join(children);
}

fn refused_operation() {
    refuse_wake_op();
    let event = event();
    let began = Instant::now();
    for _ in 0..20 {
        let children = sleepers(3, || event.wait());
        event.set();
        join(children);
        event.clear();
    }
    assert_woken(began.elapsed());
}

/// Without the kernel's operation it sets first and wakes second, and is killed between the two.
fn setter_dies_in_a_sandbox() {
    let event = event();
    let children = sleepers(2, || event.wait());
    let mut setter = fork_fn(|| {
        refuse_wake_op();
        die_of_wake();
        event.set();
        0
    })
    .expect("fork");
    assert!(!setter.wait().expect("a child of ours").success(), "it was to be killed");
    assert!(event.is_set());
    join(children);
}

fn time_outs_are_kept_under_signals() {
    let event = event();
    keeps_time_outs(|timeout| event.wait_timeout(timeout));
    event.set();
    // What is there is had however late it is.
    assert_eq!(event.wait_deadline(Deadline::now()), Ok(()));
}

fn signal_ends_an_interruptible_wait() {
    let event = event();
    ends_by_a_signal(|deadline| event.wait_interruptible(deadline));
    event.set();
    assert_eq!(event.wait_interruptible(Deadline::now()), Ok(()));
}

fn a_signal_handler_may_set() {
    static EVENT: Event = Event::new();
    extern "C" fn set(_: i32) {
        EVENT.set();
    }
    signals::on_signal(Signal::ALARM.as_raw(), set as *const () as usize, 0);
    signals::interrupt_every(200);
    // The handler interrupts this very thread in `wait`: asleep, awake and in between.
    for _ in 0..1_000 {
        EVENT.wait().expect("a wait");
        EVENT.clear();
    }
    signals::interrupt_every(0);
}

/// The handler interrupts a process that does something else, while three others sleep.
fn a_signal_handler_wakes_others() {
    static EVENT: OnceLock<&Event> = OnceLock::new();
    extern "C" fn set(_: i32) {
        EVENT.get().expect("it is there before the handler").set();
    }
    let event = EVENT.get_or_init(|| Box::leak(Box::new(event())));
    signals::on_signal(Signal::ALARM.as_raw(), set as *const () as usize, 0);
    for _ in 0..50 {
        event.clear();
        let children = sleepers(3, || event.wait());
        kill_process(getpid(), Signal::ALARM).expect("ourselves");
        join(children);
        assert!(event.is_set());
    }
}

/// Between going to sleep and the time-out, 500 ms, nobody looks up.
fn sleeps_on() {
    let event = event();
    let before = sleeps();
    assert_eq!(event.wait_timeout(Duration::from_millis(500)), Err(WaitError::TimedOut));
    let sleeps = sleeps() - before;
    assert!(sleeps <= 2, "it slept {sleeps} times");
}

/// How often this process has gone to sleep.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("a line of it").trim().parse().expect("a number")
}

/// Nobody hangs as long as somebody sets it.
fn set_and_cleared_by_many() {
    let (event, done) = (event(), event());
    let setter = || {
        while !done.is_set() {
            event.set();
        }
        0
    };
    let waiter = || {
        for _ in 0..2_000 {
            event.wait().expect("a wait");
            event.clear();
        }
        0
    };
    let setters: Vec<_> = (0..2).map(|_| fork_fn(setter).expect("fork")).collect();
    join((0..3).map(|_| fork_fn(waiter).expect("fork")).collect::<Vec<_>>());
    done.set();
    join(setters);
}
