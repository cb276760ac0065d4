//! `EventCount` between processes, under signals, and with processes killed.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill_condvar.rs`.

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::baton;
use ipc_core::identity::ProcessId;
use ipc_core::process::{Child, fork_fn};
use ipc_sync::{Deadline, EventCount, WaitError};
use ipc_testkit::cases::seccomp::{die_of_wake, refuse_wake_op};
use ipc_testkit::cases::{self, events::await_sleep, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;
use waits::{ends_by_a_signal, interrupt_every, join, keeps_time_outs};

fn main() -> ExitCode {
    cases::run(&[
        ("items_arrive_once_each", items_arrive_once_each),
        ("a_key_that_was_notified_does_not_sleep", notified_key),
        ("an_attempt_may_panic", attempt_may_panic),
        ("a_killed_sleeper_takes_no_item_along", killed_sleeper),
        ("a_change_without_a_notification_is_found", change_without_notification),
        ("takers_outlive_kills", takers_outlive_kills),
        ("a_sandbox_may_refuse_to_notify_in_one_step", refused_operation),
        ("waiters_outlive_a_notifier_that_dies_in_a_sandbox", notifier_dies_in_a_sandbox),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("time_outs_are_kept_under_notifications", time_outs_are_kept_under_notifications),
        ("a_signal_ends_an_interruptible_wait", signal_ends_an_interruptible_wait),
        ("items_come_through_signals", items_come_through_signals),
        ("a_signal_handler_may_notify", a_signal_handler_may_notify),
    ])
}

struct World {
    items: AtomicU32,
    more: EventCount,
}

fn world() -> Shared<World> {
    Shared::new(World { items: AtomicU32::new(0), more: EventCount::new() }).expect("a mapping")
}

impl World {
    fn try_take(&self) -> Option<()> {
        let taken = self.items.fetch_update(Relaxed, Relaxed, |items| items.checked_sub(1));
        taken.ok().map(drop)
    }

    fn take(&self) -> Result<(), WaitError> {
        self.more.wait_for(|| self.try_take())
    }

    fn give(&self, count: u32) {
        self.items.fetch_add(count, Relaxed);
        self.more.notify(count);
    }

    fn left(&self) -> u32 {
        self.items.load(Relaxed)
    }

    fn takers(&self, count: usize) -> Vec<Child> {
        waits::sleepers(count, || self.take())
    }
}

fn items_arrive_once_each() {
    const TURNS: u32 = 20_000;
    let world = world();
    let give = || {
        (0..TURNS).for_each(|_| world.give(1));
        0
    };
    let take = || {
        (0..TURNS).for_each(|_| world.take().expect("a wait"));
        0
    };
    let pairs = (0..3).flat_map(|_| [fork_fn(take).expect("fork"), fork_fn(give).expect("fork")]);
    join(pairs.collect::<Vec<_>>());
    assert_eq!(world.left(), 0);
}

fn notified_key() {
    let world = world();
    let (first, second) = (world.more.prepare(), world.more.prepare());
    world.more.notify_one();
    let third = world.more.prepare();
    // Whoever has announced before may be meant, whoever did so later was not.
    assert_eq!(first.wait_deadline(Deadline::FAR), Ok(()));
    assert_eq!(second.wait_interruptible(Deadline::FAR), Ok(()));
    assert_eq!(third.wait_timeout(Duration::from_millis(1)), Err(WaitError::TimedOut));
    // It may return for no reason, and does so before long.
    assert_eq!(world.more.prepare().wait(), Ok(()));
}

fn attempt_may_panic() {
    let world = world();
    let mut giver = fork_fn(|| {
        await_sleep(rustix::process::getppid().expect("the taker"));
        world.give(1);
        0
    })
    .expect("fork");
    let attempt = || {
        if world.left() > 0 {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        None::<()>
    };
    let wait = core::panic::AssertUnwindSafe(|| world.more.wait_for(attempt));
    assert!(std::panic::catch_unwind(wait).is_err());
    assert!(giver.wait().expect("a child of ours").success());
    // Nothing is left with the kernel.
    let me = ProcessId::current().expect("an identity");
    assert!(!baton::is_armed_in(&(1..usize::MAX), me));
}

fn killed_sleeper() {
    let world = world();
    for _ in 0..20 {
        let mut takers = world.takers(3);
        let mut victim = takers.remove(0);
        victim.kill().expect("a live child");
        world.give(2);
        victim.wait().expect("a child of ours");
        join(takers);
        assert_eq!(world.left(), 0);
    }
}

fn change_without_notification() {
    let world = world();
    let takers = world.takers(2);
    world.items.fetch_add(2, Relaxed);
    join(takers);
}

/// One of three takers is killed now and then, and replaced; an item at a time, so that any lost wake-up shows.
fn takers_outlive_kills() {
    let world = world();
    let work = || {
        loop {
            world.take().expect("a wait");
        }
    };
    let mut takers: Vec<_> = (0..3).map(|_| fork_fn(work).expect("fork")).collect();
    for turn in 0..3_000 {
        if turn % 30 == 0 {
            let index = turn / 30 % takers.len();
            takers[index].kill().expect("a live child");
            takers[index].wait().expect("a child of ours");
            takers[index] = fork_fn(work).expect("fork");
        }
        world.give(1);
        while world.left() > 0 {
            std::thread::yield_now();
        }
    }
    for mut taker in takers {
        taker.kill().expect("a live child");
        taker.wait().expect("a child of ours");
    }
}

fn refused_operation() {
    refuse_wake_op();
    let world = world();
    for _ in 0..20 {
        let takers = world.takers(3);
        (0..3).for_each(|_| world.give(1));
        join(takers);
    }
    assert_eq!(world.left(), 0);
}

/// Without the kernel's operation it moves the number first and wakes second, and is killed between the two.
fn notifier_dies_in_a_sandbox() {
    let world = world();
    let takers = world.takers(1);
    let mut notifier = fork_fn(|| {
        refuse_wake_op();
        die_of_wake();
        world.give(1);
        0
    })
    .expect("fork");
    assert!(!notifier.wait().expect("a child of ours").success(), "it was to be killed");
    join(takers);
}

fn time_outs_are_kept_under_signals() {
    let world = world();
    keeps_time_outs(|timeout| world.more.wait_for_timeout(timeout, || world.try_take()));
    // A key returns for no reason after a slice.
    keeps_time_outs(|timeout| {
        let deadline = Deadline::after(timeout);
        loop {
            world.more.prepare().wait_deadline(deadline)?;
        }
    });
    world.items.fetch_add(1, Relaxed);
    assert_eq!(world.more.wait_for_deadline(Deadline::now(), || world.try_take()), Ok(()));
}

/// Whoever is notified again and again, and in vain, gives up in time: each look comes to nothing and takes the next
/// announcement back.
fn time_outs_are_kept_under_notifications() {
    let count = EventCount::new();
    let began = Instant::now();
    let timeout = Duration::from_millis(20);
    let mut looks = 0_u64;
    let waited = count.wait_for_timeout(timeout, || {
        looks += 1;
        count.notify_all();
        // For ever, without the deadline.
        (began.elapsed() > Duration::from_secs(10)).then_some(())
    });
    assert_eq!(waited, Err(WaitError::TimedOut));
    let took = began.elapsed();
    assert!(looks > 2 && took >= timeout && took < Duration::from_secs(1), "{looks}, {took:?}");
}

fn signal_ends_an_interruptible_wait() {
    let world = world();
    ends_by_a_signal(|deadline| world.more.wait_for_interruptible(deadline, || world.try_take()));
    ends_by_a_signal(|deadline| {
        loop {
            world.more.prepare().wait_interruptible(deadline)?;
        }
    });
}

fn items_come_through_signals() {
    let world = world();
    let taker = || {
        interrupt_every(300, 0);
        for _ in 0..500 {
            let attempt = || world.try_take();
            while world.more.wait_for_interruptible(Deadline::FAR, attempt).is_err() {}
        }
        signals::interrupt_every(0);
        0
    };
    let takers: Vec<_> = (0..3).map(|_| fork_fn(taker).expect("fork")).collect();
    for _ in 0..1_500 {
        world.give(1);
        std::thread::yield_now();
    }
    join(takers);
    assert_eq!(world.left(), 0);
}

fn a_signal_handler_may_notify() {
    static WORLD: World = World { items: AtomicU32::new(0), more: EventCount::new() };
    extern "C" fn give(_: i32) {
        WORLD.give(1);
    }
    signals::on_signal(Signal::ALARM.as_raw(), give as *const () as usize, 0);
    signals::interrupt_every(200);
    // The handler interrupts this very thread: asleep, awake and in between.
    (0..1_000).for_each(|_| WORLD.take().expect("a wait"));
    signals::interrupt_every(0);
    let world = world();
    let mut child = fork_fn(|| world.take().map_or(1, |()| 0)).expect("fork");
    await_sleep(child.id());
    world.give(1);
    assert!(child.wait().expect("a child of ours").success());
}
