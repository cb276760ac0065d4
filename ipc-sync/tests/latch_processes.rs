//! `Latch` between processes, under signals, and from a signal handler.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill_condvar.rs`.

mod waits;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::process::ExitCode;

use ipc_core::process::fork_fn;
use ipc_sync::{BelowZero, Deadline, Latch, WaitError};
use ipc_testkit::cases::seccomp::{die_of_wake, refuse_wake_op};
use ipc_testkit::cases::{self, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;
use waits::{ends_by_a_signal, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("everybody_comes_through_after_the_last", everybody_comes_through),
        ("what_all_did_before_is_seen", what_all_did_is_seen),
        ("counts_below_zero_are_told", counts_below_zero),
        ("a_killed_sleeper_changes_nothing", killed_sleeper),
        ("somebody_may_count_for_the_dead", count_for_the_dead),
        ("a_sandbox_may_refuse_to_count_and_wake", refused_operation),
        ("waiters_outlive_a_counter_that_dies_in_a_sandbox", counter_dies_in_a_sandbox),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_signal_ends_an_interruptible_wait", signal_ends_an_interruptible_wait),
        ("a_signal_handler_may_count", a_signal_handler_may_count),
        ("zeroed_memory_is_open_and_any_word_a_latch", any_word),
    ])
}

fn latch(count: u32) -> Shared<Latch> {
    Shared::new(Latch::new(count)).expect("a mapping")
}

fn everybody_comes_through() {
    for _ in 0..20 {
        let latch = latch(3);
        let waiters = sleepers(3, || latch.wait());
        for left in [2, 1] {
            assert_eq!(latch.count_down(), Ok(left));
            assert!(!latch.is_open());
            assert_eq!(latch.wait_timeout(Duration::ZERO), Err(WaitError::TimedOut));
        }
        assert_eq!(latch.count_down(), Ok(0));
        join(waiters);
        assert!(latch.is_open());
    }
}

fn what_all_did_is_seen() {
    const COUNTERS: usize = 4;
    for _ in 0..50 {
        let latch = latch(COUNTERS as u32);
        let values = Shared::new([const { AtomicU64::new(0) }; COUNTERS]).expect("a mapping");
        let count = |index: usize| {
            values[index].store(7, Relaxed);
            i32::from(latch.count_down().is_err())
        };
        let counters: Vec<_> =
            (0..COUNTERS).map(|index| fork_fn(|| count(index)).expect("fork")).collect();
        latch.wait().expect("a wait");
        assert!(values.iter().all(|value| value.load(Relaxed) == 7));
        join(counters);
    }
}

/// Without anybody asleep the error is exact; with somebody, one who raced may be told as well.
fn counts_below_zero() {
    const COUNTERS: u32 = 3;
    const EACH: u32 = 1_000;
    for waiters in [0, 1] {
        let latch = latch(COUNTERS * EACH - 500);
        let refused = Shared::new(AtomicU32::new(0)).expect("a mapping");
        let sleepers = sleepers(waiters, || latch.wait());
        let count = || {
            for _ in 0..EACH {
                refused.fetch_add(u32::from(latch.count_down() == Err(BelowZero)), Relaxed);
            }
            0
        };
        join((0..COUNTERS).map(|_| fork_fn(count).expect("fork")).collect::<Vec<_>>());
        join(sleepers);
        let most = if waiters == 0 { 500 } else { 501 };
        let refused = refused.load(Relaxed);
        assert!((500..=most).contains(&refused), "{refused} were refused");
        assert_eq!((latch.remaining(), latch.is_open()), (0, true));
    }
}

fn killed_sleeper() {
    let latch = latch(1);
    let mut waiters = sleepers(3, || latch.wait());
    let mut victim = waiters.remove(0);
    victim.kill().expect("a live child");
    assert_eq!(latch.count_down(), Ok(0));
    victim.wait().expect("a child of ours");
    join(waiters);
}

fn count_for_the_dead() {
    let latch = latch(2);
    let waiters = sleepers(1, || latch.wait());
    let mut dead = fork_fn(|| {
        std::thread::sleep(Duration::from_secs(3600));
        i32::from(latch.count_down().is_err())
    })
    .expect("fork");
    dead.kill().expect("a live child");
    dead.wait().expect("a child of ours");
    assert_eq!(latch.count_down(), Ok(1));
    assert_eq!(latch.count_down(), Ok(0));
    join(waiters);
}

fn refused_operation() {
    refuse_wake_op();
    for _ in 0..20 {
        let latch = latch(2);
        let waiters = sleepers(3, || latch.wait());
        assert_eq!((latch.count_down(), latch.count_down()), (Ok(1), Ok(0)));
        join(waiters);
    }
}

/// Without the kernel's operation it counts first and wakes second, and is killed between the two.
fn counter_dies_in_a_sandbox() {
    let latch = latch(1);
    let waiters = sleepers(2, || latch.wait());
    let mut counter = fork_fn(|| {
        refuse_wake_op();
        die_of_wake();
        latch.count_down().map_or(1, |_| 0)
    })
    .expect("fork");
    assert!(!counter.wait().expect("a child of ours").success(), "it was to be killed");
    join(waiters);
}

fn time_outs_are_kept_under_signals() {
    let latch = latch(1);
    keeps_time_outs(|timeout| latch.wait_timeout(timeout));
    assert_eq!(latch.count_down(), Ok(0));
    for deadline in [Deadline::now(), Deadline::FAR] {
        assert_eq!(latch.wait_deadline(deadline), Ok(()));
    }
    assert_eq!(latch.wait_timeout(Duration::MAX), Ok(()));
}

fn signal_ends_an_interruptible_wait() {
    let latch = latch(1);
    ends_by_a_signal(|deadline| latch.wait_interruptible(deadline));
}

fn a_signal_handler_may_count() {
    static LATCH: Latch = Latch::new(1_000);
    extern "C" fn count(_: i32) {
        let _: Result<u32, BelowZero> = LATCH.count_down();
    }
    signals::on_signal(Signal::ALARM.as_raw(), count as *const () as usize, 0);
    signals::interrupt_every(200);
    // The handler interrupts this very thread: asleep, awake and in between.
    LATCH.wait().expect("a wait");
    signals::interrupt_every(0);
    assert_eq!(LATCH.remaining(), 0);
}

/// # Safety
///
/// A word is as large and as aligned as a latch, of which every pattern of bytes is one.
#[expect(unsafe_code, reason = "a latch is found in memory, as in any mapping")]
fn any_word() {
    let soon = Duration::from_millis(1);
    for low in [0, 1, 1 << 30, 1 << 31, u64::from(u32::MAX)] {
        for (number, left) in [(0_u32, 0), (1, 0), (u32::MAX, 1), (1 << 31, 1 << 31)] {
            let word = Shared::new(u64::from(number) << 32 | low).expect("a mapping");
            // SAFETY: see above; the mapping lives until the end of the turn.
            let latch = unsafe { &*(&raw const *word).cast::<Latch>() };
            assert_eq!(latch.remaining(), left);
            let waited = if left == 0 { Ok(()) } else { Err(WaitError::TimedOut) };
            assert_eq!(latch.wait_timeout(soon), waited);
            assert_eq!(latch.count_down(), left.checked_sub(1).ok_or(BelowZero));
        }
    }
}
