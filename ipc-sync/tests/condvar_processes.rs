//! `Condvar` between processes, under signals, and with processes killed.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill_condvar.rs`.
//!
//! # Safety
//!
//! A lock that is made for a region lies in a mapping that is kept until the case ends.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::process::{Child, fork_fn};
use ipc_sync::{Condvar, Deadline, Errno, LockError, Mutex, MutexGuard, WaitError};
use ipc_testkit::cases::seccomp::{When, answer, die_of_wake, refuse_wake_op};
use ipc_testkit::cases::{self, events::await_sleep, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;
use waits::{ends_by_a_signal, interrupt_every, join, keeps_time_outs};

fn main() -> ExitCode {
    cases::run(&[
        ("the_example_of_std_between_processes", example_of_std),
        ("notify_wakes_as_many_as_it_says", notify_wakes_as_many),
        ("notify_all_wakes_everybody", notify_all_wakes_everybody),
        ("a_notification_without_the_mutex_is_seen", notified_without_the_mutex),
        ("one_condvar_serves_several_mutexes", several_mutexes),
        ("producers_and_consumers_outlive_kills", producers_and_consumers),
        ("a_holder_killed_is_told_to_sleepers", holder_killed),
        ("a_change_without_a_notification_is_found", change_without_notification),
        ("a_killed_sleeper_takes_no_notification_along", killed_sleeper),
        ("a_poisoned_value_ends_the_wait", poisoned_value),
        ("a_sandbox_may_refuse_to_notify_in_one_step", refused_operation),
        ("waiters_outlive_a_notifier_that_dies_in_a_sandbox", notifier_dies_in_a_sandbox),
        ("a_sandbox_may_refuse_waitv", refused_waitv),
        ("a_sandbox_that_refuses_sleep_is_named", refused_sleep),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_signal_ends_an_interruptible_wait", signal_ends_an_interruptible_wait),
        ("a_notification_comes_through_signals", notified_through_signals),
        ("waiting_costs_no_processor_time", waiting_costs_no_processor_time),
        ("zeroed_memory_is_a_condvar", zeroed_memory),
        ("any_word_is_a_condvar", any_word),
    ])
}

struct World {
    items: Mutex<u32>,
    more: Condvar,
    /// How many waits have returned.
    back: AtomicU32,
}

fn world() -> Shared<World> {
    // SAFETY: see the head of this file.
    let items = unsafe { Mutex::in_region(0) };
    Shared::new(World { items, more: Condvar::new(), back: AtomicU32::new(0) }).expect("a mapping")
}

impl World {
    /// The mutex, whoever it comes from: what is killed here leaves the items in order.
    fn lock(&self) -> MutexGuard<'_, u32> {
        accept(self.items.lock())
    }

    fn wait_for_item(&self) -> MutexGuard<'_, u32> {
        let mut items = self.lock();
        while *items == 0 {
            items = accept(self.more.wait_while(items, |items| *items == 0));
        }
        items
    }

    fn take(&self) {
        *self.wait_for_item() -= 1;
        self.back.fetch_add(1, SeqCst);
    }

    fn give(&self, count: u32) {
        *self.lock() += count;
        self.more.notify(count);
    }

    /// That many children, each asleep waiting for an item.
    fn takers(&self, count: usize) -> Vec<Child> {
        asleep(count, || self.take())
    }
}

fn accept<'a>(result: Result<MutexGuard<'a, u32>, LockError<'a, u32>>) -> MutexGuard<'a, u32> {
    match result {
        Ok(items) => items,
        Err(LockError::Recovered(items)) => items.mark_consistent(),
        Err(error) => panic!("{error}"),
    }
}

fn child(f: impl Fn()) -> Child {
    fork_fn(|| {
        f();
        0
    })
    .expect("fork")
}

fn asleep(count: usize, f: impl Fn()) -> Vec<Child> {
    let children: Vec<_> = (0..count).map(|_| child(&f)).collect();
    children.iter().for_each(|child| await_sleep(child.id()));
    children
}

fn example_of_std() {
    let world = world();
    for _ in 0..200 {
        let starter = child(|| world.give(1));
        world.take();
        join([starter]);
    }
    assert_eq!(*world.lock(), 0);
}

/// One that is woken by nobody may come back when a slice ends, 64 ms after it fell asleep: what happens later says
/// nothing about how many were woken.
fn notify_wakes_as_many() {
    const SLICE: Duration = Duration::from_millis(50);
    let mut exact = 0;
    for _ in 0..40 {
        let world = world();
        let began = Instant::now();
        // Plain waits: each returns once it is woken, for whatever reason.
        let waiters = asleep(4, || {
            drop(accept(world.more.wait(world.lock())));
            world.back.fetch_add(1, SeqCst);
        });
        world.more.notify(2);
        while world.back.load(SeqCst) < 2 {
            std::thread::yield_now();
        }
        // Whoever was woken as well would come back about now.
        while began.elapsed() < SLICE * 3 / 4 {
            std::thread::yield_now();
        }
        let back = world.back.load(SeqCst);
        if began.elapsed() < SLICE {
            assert_eq!(back, 2, "of four, two were notified");
            exact += 1;
        }
        world.more.notify_all();
        join(waiters);
        if exact == 5 {
            return;
        }
    }
    assert!(exact > 0, "not one of 40 attempts was in time");
}

fn notify_all_wakes_everybody() {
    let world = world();
    for _ in 0..20 {
        let began = Instant::now();
        let waiters = asleep(5, || drop(accept(world.more.wait(world.lock()))));
        let slept = Instant::now();
        world.more.notify_all();
        join(waiters);
        // Unless the machine was slow it was no slice that ended.
        assert!(slept.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

fn notified_without_the_mutex() {
    let world = world();
    for _ in 0..50 {
        let takers = world.takers(1);
        *world.lock() += 1;
        world.more.notify_one();
        join(takers);
    }
}

fn several_mutexes() {
    struct Two {
        values: [Mutex<u32>; 2],
        changed: Condvar,
    }
    let values = [0; 2].map(Mutex::new);
    let two = Shared::new(Two { values, changed: Condvar::new() }).expect("a mapping");
    let wait = |of: usize| {
        let value = two.values[of].lock().expect("nobody has died");
        drop(two.changed.wait_while(value, |value| *value == 0).expect("nobody has died"));
    };
    let waiters: Vec<_> = (0..4).map(|index| child(|| wait(index % 2))).collect();
    waiters.iter().for_each(|child| await_sleep(child.id()));
    for value in &two.values {
        *value.lock().expect("nobody has died") = 1;
        two.changed.notify_all();
    }
    join(waiters);
}

/// Two producers and two consumers, one of whom is killed every now and then, and replaced.
fn producers_and_consumers() {
    const KILLS: u32 = 60;
    const ROOM: u32 = 3;
    struct Queue {
        held: Mutex<[u32; 3]>,
        changed: [Condvar; 2],
        stop: AtomicU32,
    }
    // SAFETY: see the head of this file.
    let held = unsafe { Mutex::in_region([0; 3]) };
    let changed = [Condvar::new(), Condvar::new()];
    let queue = Shared::new(Queue { held, changed, stop: AtomicU32::new(0) }).expect("a mapping");
    // [there, put, taken]: whoever is killed in between leaves a sum that is wrong, and is put right.
    let repair = |mut queue: ipc_sync::Recovered<'_, [u32; 3]>| {
        queue[0] = queue[1].saturating_sub(queue[2]).min(ROOM);
        queue[1] = queue[2] + queue[0];
        drop(queue.mark_consistent());
    };
    let work = |side: usize| {
        while queue.stop.load(SeqCst) == 0 {
            let is_stuck = |held: &mut [u32; 3]| {
                let stuck = if side == 0 { held[0] == ROOM } else { held[0] == 0 };
                stuck && queue.stop.load(SeqCst) == 0
            };
            let held = queue.held.lock();
            match held.and_then(|held| queue.changed[side].wait_while(held, is_stuck)) {
                Ok(mut held) => {
                    if !is_stuck(&mut held) && queue.stop.load(SeqCst) == 0 {
                        held[0] = if side == 0 { held[0] + 1 } else { held[0] - 1 };
                        held[1 + side] += 1;
                    }
                    drop(held);
                    queue.changed[1 - side].notify_one();
                }
                Err(LockError::Recovered(held)) => repair(held),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let mut workers: Vec<_> = (0..4).map(|index| child(|| work(index % 2))).collect();
    let taken = || match queue.held.lock() {
        Ok(held) => held[2],
        Err(LockError::Recovered(held)) => {
            let taken = held[2];
            repair(held);
            taken
        }
        Err(error) => panic!("{error}"),
    };
    for kill in 0..KILLS as usize {
        let index = kill % workers.len();
        workers[index].kill().expect("a live child");
        workers[index].wait().expect("a child of ours");
        workers[index] = child(|| work(index % 2));
        // And on it goes.
        let before = taken();
        while taken() < before + 20 {
            std::thread::yield_now();
        }
    }
    queue.stop.store(1, SeqCst);
    queue.changed.iter().for_each(Condvar::notify_all);
    join(workers);
    let held = queue.held.lock().map_err(|error| error.to_string()).expect("all have ended well");
    assert!(held[0] <= ROOM && held[1] == held[2] + held[0], "{:?}", *held);
}

/// All others are asleep when it dies, and nobody would notify them.
fn holder_killed() {
    let world = world();
    let waiters = asleep(2, || {
        // By hand: only what the wait itself notices counts.
        let mut items = match world.more.wait(world.lock()) {
            Ok(items) => items,
            Err(LockError::Recovered(mut items)) => {
                *items = 2;
                world.more.notify_all();
                items.mark_consistent()
            }
            Err(error) => panic!("{error}"),
        };
        while *items == 0 {
            items = accept(world.more.wait(items));
        }
        *items -= 1;
    });
    let mut holder = child(|| {
        let _items = world.lock();
        loop {
            std::thread::park();
        }
    });
    while world.items.owner().is_none() {
        std::thread::yield_now();
    }
    holder.kill().expect("a live child");
    holder.wait().expect("a child of ours");
    join(waiters);
    assert_eq!(*world.lock(), 0);
}

fn change_without_notification() {
    let world = world();
    let takers = world.takers(2);
    *world.lock() += 2;
    join(takers);
}

fn killed_sleeper() {
    let world = world();
    for _ in 0..20 {
        let mut takers = world.takers(3);
        // The one that is woken first, and killed before it runs, if it comes to that.
        let mut victim = takers.remove(0);
        victim.kill().expect("a live child");
        world.give(2);
        victim.wait().expect("a child of ours");
        join(takers);
        let left = *world.lock();
        assert_eq!(left, 0);
    }
}

fn poisoned_value() {
    let world = world();
    let waiter = asleep(1, || match world.more.wait(world.lock()) {
        Err(LockError::Unrecoverable) => {}
        other => panic!("{:?}", other.map(|items| *items)),
    });
    let mut holder = child(|| {
        core::mem::forget(world.lock());
    });
    holder.wait().expect("a child of ours");
    // The waiter may be told of the death first: then it hands it on by its own end.
    match world.items.lock() {
        Err(LockError::Recovered(items)) => {
            items.poison();
            join(waiter);
        }
        other => {
            drop(other);
            for mut waiter in waiter {
                assert!(!waiter.wait().expect("a child of ours").success(), "it was told");
            }
        }
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
    assert_eq!(*world.lock(), 0);
}

/// Without the kernel's operation it moves the number first and wakes second, and is killed between the two.
fn notifier_dies_in_a_sandbox() {
    let world = world();
    let takers = world.takers(1);
    *world.lock() += 1;
    let mut notifier = child(|| {
        refuse_wake_op();
        die_of_wake();
        world.more.notify_one();
    });
    assert!(!notifier.wait().expect("a child of ours").success(), "it was to be killed");
    join(takers);
}

fn refused_waitv() {
    answer(SYS_FUTEX_WAITV, &When::Always, DENIED);
    let world = world();
    for _ in 0..20 {
        let takers = world.takers(3);
        world.give(3);
        join(takers);
    }
}

/// `futex_waitv` on all architectures, and `SECCOMP_RET_ERRNO | EPERM`.
const SYS_FUTEX_WAITV: i64 = 449;
const DENIED: u32 = 0x0005_0001;
#[cfg(target_arch = "x86_64")]
const SYS_FUTEX: i64 = 202;
#[cfg(not(target_arch = "x86_64"))]
const SYS_FUTEX: i64 = 98;
/// `FUTEX_WAIT_BITSET` with the clock that is meant without a flag.
const WAIT_BITSET: u32 = 9;

/// It does not sleep, and says so: once without the mutex, once with it.
fn refused_sleep() {
    answer(SYS_FUTEX_WAITV, &When::Always, DENIED);
    answer(SYS_FUTEX, &When::Equal(1, WAIT_BITSET), DENIED);
    let world = world();
    match world.more.wait(world.lock()) {
        Err(LockError::Os(Errno::PERM)) => {}
        other => panic!("{:?}", other.map(|items| *items)),
    }
    assert_eq!(world.items.owner(), None);
    let soon = Duration::from_secs(1);
    let (items, waited) = world.more.wait_timeout(world.lock(), soon).expect("nobody has died");
    assert_eq!((*items, waited), (0, Err(WaitError::Os(Errno::PERM))));
    assert!(world.items.owner().is_some());
}

fn time_outs_are_kept_under_signals() {
    let world = world();
    let held = |(items, waited): (MutexGuard<'_, u32>, _)| {
        assert!(world.items.owner().is_some(), "the mutex is not held");
        drop(items);
        waited
    };
    keeps_time_outs(|timeout| {
        held(world.more.wait_timeout(world.lock(), timeout).expect("nobody has died"))
    });
    keeps_time_outs(|timeout| {
        let waited = world.more.wait_timeout_while(world.lock(), timeout, |items| *items == 0);
        held(waited.expect("nobody has died"))
    });
    // The condition counts more than the time; and Duration::MAX is for ever.
    *world.lock() = 1;
    for timeout in [Duration::ZERO, Duration::MAX] {
        let waited = world.more.wait_timeout_while(world.lock(), timeout, |items| *items == 0);
        assert_eq!(held(waited.expect("nobody has died")), Ok(()));
    }
}

fn signal_ends_an_interruptible_wait() {
    let world = world();
    ends_by_a_signal(|deadline| {
        let waited = world.more.wait_interruptible(world.lock(), deadline);
        let (items, waited) = waited.expect("nobody has died");
        assert!(world.items.owner().is_some(), "the mutex is not held");
        drop(items);
        waited
    });
    ends_by_a_signal(|deadline| {
        let condition = |items: &mut u32| *items == 0;
        let waited = world.more.wait_interruptible_while(world.lock(), deadline, condition);
        waited.expect("nobody has died").1
    });
}

fn notified_through_signals() {
    let world = world();
    let taker = || {
        interrupt_every(100, 0);
        for _ in 0..200 {
            let mut items = world.lock();
            while *items == 0 {
                let waited = world.more.wait_interruptible(items, Deadline::FAR);
                items = accept(waited.map(|(items, _)| items));
            }
            *items -= 1;
        }
        signals::interrupt_every(0);
    };
    let takers: Vec<_> = (0..2).map(|_| child(taker)).collect();
    for _ in 0..400 {
        world.give(1);
        std::thread::yield_now();
    }
    join(takers);
    assert_eq!(*world.lock(), 0);
    // And a handler may notify, also the thread that it interrupts.
    static CHANGED: Condvar = Condvar::new();
    extern "C" fn notify(_: i32) {
        CHANGED.notify_all();
    }
    signals::on_signal(Signal::ALARM.as_raw(), notify as *const () as usize, 0);
    signals::interrupt_every(2_000);
    for _ in 0..20 {
        let limit = Duration::from_secs(30);
        let waited = CHANGED.wait_timeout(world.lock(), limit).expect("nobody has died");
        assert_eq!(waited.1, Ok(()));
    }
    signals::interrupt_every(0);
}

fn waiting_costs_no_processor_time() {
    let world = world();
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let (before, timeout) = (used(), Duration::from_millis(500));
    let waited = world.more.wait_timeout_while(world.lock(), timeout, |items| *items == 0);
    assert_eq!(waited.expect("nobody has died").1, Err(WaitError::TimedOut));
    let used = used() - before;
    assert!(used < timeout / 20, "{used:?} of {timeout:?}");
}

fn zeroed_memory() {
    works_over([0, 0]);
}

/// Garbage costs a wake-up at most, until a slice ends.
fn any_word() {
    for word in [1, 0x4000_0000, u64::from(u32::MAX), u64::MAX, 1 << 63, 0xffff_ffff_8000_0000] {
        works_over([word, 0]);
    }
}

fn works_over(words: [u64; 2]) {
    let memory = Shared::new(words).expect("a mapping");
    let address = (&raw const memory[0]).cast::<Condvar>();
    // SAFETY: as large and as aligned as a condvar, of which every pattern of bytes is one; the mapping lives until
    // the case ends.
    let more = unsafe { &*address };
    let world = world();
    let waiters = asleep(2, || {
        drop(accept(more.wait_while(world.lock(), |items| *items == 0)));
    });
    for _ in 0..3 {
        *world.lock() += 1;
        more.notify_all();
    }
    join(waiters);
}
