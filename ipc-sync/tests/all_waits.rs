//! What every wait of every primitive must bear: time-outs of any length, signals, being stopped and continued,
//! and wake-ups that nobody meant.
//!
//! The numbers are those of the catalogue in `docs/FAULTS.md`.
//!
//! # Safety
//!
//! What is made for a region lies in a mapping that is never undone.
#![expect(unsafe_code, reason = "locks that the kernel is told of, and a look at their words")]

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::futex;
use ipc_core::process::{ExitStatus, fork_fn};
use ipc_sync::{
    AcquireError, Barrier, BarrierError, BinarySemaphore, BoundedSemaphore, Condvar,
    CountingSemaphore, Event, EventCount, Latch, LockError, Mutex, Once, OnceError,
    ReentrantLockError, ReentrantMutex, RwLock, RwLockError, Semaphore, WaitError,
};
use ipc_testkit::cases::events::await_sleep;
use ipc_testkit::cases::seccomp::{die_of_real_time, without_waitv};
use ipc_testkit::cases::{self, doing, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;

use waits::{interrupt_every, join};

fn main() -> ExitCode {
    cases::run(&[
        ("s03_time_outs_of_any_length", any_length),
        ("s03_no_wait_asks_for_the_time_of_day", no_wait_asks_for_the_time_of_day),
        ("s01_time_outs_are_right_within_5_percent", right_within_5_percent),
        ("s04_stopped_and_continued_waiters_keep_time", stopped_and_continued),
        ("s05_wake_ups_that_nobody_meant", wake_ups_that_nobody_meant),
        ("what_is_waited_for_ends_the_longest_wait", longest_wait),
    ])
}

/// One of each, none of which can be had until the keeper is told to give it.
struct World {
    mutex: Mutex<u64>,
    written: RwLock<u64, 3>,
    read: RwLock<u64, 3>,
    reentrant: ReentrantMutex<u64>,
    once: Once,
    event: Event,
    semaphore: Semaphore,
    binary: BinarySemaphore,
    counting: CountingSemaphore,
    bounded: BoundedSemaphore<2>,
    latch: Latch,
    barrier: Barrier<2>,
    /// Changed to something else than 0, each by its own means.
    under_a_lock: Mutex<u64>,
    changed: Condvar,
    without_a_lock: AtomicU32,
    counted: EventCount,
    /// Set when the keeper has taken what can be taken.
    kept: Event,
    /// Set to make it give everything.
    give: Event,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Had,
    TimedOut,
    Otherwise,
}

impl<T> From<Result<T, WaitError>> for Ended {
    fn from(result: Result<T, WaitError>) -> Self {
        match result {
            Ok(_) => Self::Had,
            Err(WaitError::TimedOut) => Self::TimedOut,
            Err(_) => Self::Otherwise,
        }
    }
}

impl<G> From<Result<G, RwLockError<'_, u64, 3>>> for Ended {
    fn from(result: Result<G, RwLockError<'_, u64, 3>>) -> Self {
        match result {
            Ok(_) => Self::Had,
            Err(RwLockError::TimedOut) => Self::TimedOut,
            Err(_) => Self::Otherwise,
        }
    }
}

/// A primitive, and its wait.
type Kind = (&'static str, fn(&World, Duration) -> Ended);

const KINDS: &[Kind] = &[
    ("Mutex", |world, timeout| match world.mutex.lock_timeout(timeout) {
        Ok(_) => Ended::Had,
        Err(LockError::TimedOut) => Ended::TimedOut,
        Err(_) => Ended::Otherwise,
    }),
    ("RwLock, reading", |world, timeout| world.written.read_timeout(timeout).into()),
    ("RwLock, writing", |world, timeout| world.written.write_timeout(timeout).into()),
    ("RwLock, readers", |world, timeout| world.read.write_timeout(timeout).into()),
    ("ReentrantMutex", |world, timeout| match world.reentrant.lock_timeout(timeout) {
        Ok(_) => Ended::Had,
        Err(ReentrantLockError::TimedOut) => Ended::TimedOut,
        Err(_) => Ended::Otherwise,
    }),
    ("Once", |world, timeout| match world.once.call_once_timeout(timeout, |_| {}) {
        Ok(()) => Ended::Had,
        Err(OnceError::TimedOut) => Ended::TimedOut,
        Err(_) => Ended::Otherwise,
    }),
    ("Once::wait", |world, timeout| world.once.wait_timeout(timeout).into()),
    ("Event", |world, timeout| world.event.wait_timeout(timeout).into()),
    ("Semaphore", |world, timeout| world.semaphore.acquire_timeout(timeout).into()),
    ("BinarySemaphore", |world, timeout| world.binary.acquire_timeout(timeout).into()),
    ("CountingSemaphore", |world, timeout| world.counting.acquire_timeout(timeout).into()),
    ("BoundedSemaphore", |world, timeout| match world.bounded.acquire_timeout(timeout) {
        Ok(_) => Ended::Had,
        Err(AcquireError::TimedOut) => Ended::TimedOut,
        Err(_) => Ended::Otherwise,
    }),
    ("Latch", |world, timeout| world.latch.wait_timeout(timeout).into()),
    ("Barrier", |world, timeout| {
        let mut member = world.barrier.join().expect("the keeper is the other one");
        let waited = member.wait_timeout(timeout);
        member.leave();
        match waited {
            Ok(_) => Ended::Had,
            Err(BarrierError::TimedOut) => {
                world.barrier.reset();
                Ended::TimedOut
            }
            Err(_) => Ended::Otherwise,
        }
    }),
    ("Condvar", |world, timeout| {
        let guard = world.under_a_lock.lock().expect("nobody dies with it");
        match world.changed.wait_timeout_while(guard, timeout, |value| *value == 0) {
            Ok((_, waited)) => waited.into(),
            Err(_) => Ended::Otherwise,
        }
    }),
    ("EventCount", |world, timeout| {
        let is_changed = || (world.without_a_lock.load(SeqCst) != 0).then_some(());
        world.counted.wait_for_timeout(timeout, is_changed).into()
    }),
];

/// Calls `f` with a world of its own for each kind, and a keeper of it, which must have given everything in the end.
fn each(f: impl Fn(&'static World, Kind)) {
    for &kind in KINDS {
        // SAFETY: the mapping is kept until the case ends.
        let mutex = unsafe { Mutex::in_region(0) };
        // SAFETY: as above.
        let [written, read] = [(); 2].map(|()| unsafe { RwLock::in_region(0) });
        // SAFETY: as above.
        let reentrant = unsafe { ReentrantMutex::in_region(0) };
        // SAFETY: as above.
        let once = unsafe { Once::in_region() };
        // SAFETY: as above.
        let bounded = unsafe { BoundedSemaphore::in_region() };
        let (event, semaphore) = (Event::new(), Semaphore::new(0));
        let (kept, give) = (Event::new(), Event::new());
        let world = World {
            mutex,
            written,
            read,
            reentrant,
            once,
            event,
            semaphore,
            binary: BinarySemaphore::new(),
            counting: CountingSemaphore::new(0, 1),
            bounded,
            latch: Latch::new(1),
            barrier: Barrier::new(2),
            under_a_lock: Mutex::new(0),
            changed: Condvar::new(),
            without_a_lock: AtomicU32::new(0),
            counted: EventCount::new(),
            kept,
            give,
        };
        let world = Shared::new(world).expect("a mapping");
        let world: &World = Box::leak(Box::new(world));
        let keeper = fork_fn(|| {
            let mutex = world.mutex.lock().expect("it is free");
            let mut member = world.barrier.join().expect("it has a place");
            let written = world.written.write().expect("it is free");
            let read = world.read.read().expect("it is free");
            let reentrant = world.reentrant.lock().expect("it is free");
            let permits = [(); 2].map(|()| world.bounded.acquire().expect("it is free"));
            world.binary.acquire().expect("it is free");
            let done = world.once.call_once(|_| {
                world.kept.set();
                world.give.wait().expect("told");
            });
            drop((mutex, written, read, reentrant, permits));
            world.binary.release().expect("it was taken");
            world.counting.release().expect("one is missing");
            done.expect("nobody else does it");
            world.event.set();
            world.semaphore.release().expect("few permits");
            world.latch.count_down().expect("the first");
            *world.under_a_lock.lock().expect("nobody dies with it") = 1;
            world.changed.notify_all();
            world.without_a_lock.store(1, SeqCst);
            world.counted.notify_all();
            // The last one, if somebody waits.
            let _ = member.try_wait();
            member.leave();
            0
        });
        world.kept.wait().expect("kept");
        doing(kind.0);
        f(world, kind);
        world.give.set();
        join(keeper);
    }
}

fn any_length() {
    each(|world, (name, wait)| {
        for nanos in [0, 1, 1_000_000, 20_000_000] {
            let timeout = Duration::from_nanos(nanos);
            let began = Instant::now();
            assert_eq!(wait(world, timeout), Ended::TimedOut, "{name}, {timeout:?}");
            let took = began.elapsed();
            assert!(took >= timeout, "{name}: {took:?} is shorter than {timeout:?}");
            assert!(took < timeout + Duration::from_millis(200), "{name}: {took:?}, {timeout:?}");
        }
    });
}

/// So whoever sets the clock, by an hour or by leap seconds, moves no deadline.
fn no_wait_asks_for_the_time_of_day() {
    for prepare in [(|| ()) as fn(), without_waitv] {
        each(|world, (name, wait)| {
            let waits = || {
                prepare();
                die_of_real_time();
                let ended = wait(world, Duration::from_millis(20));
                assert_eq!(ended, Ended::TimedOut, "{name}");
                7
            };
            let ended = fork_fn(waits).expect("fork").wait();
            assert_eq!(ended, Ok(ExitStatus::Exited(7)), "{name}");
        });
    }
    // That the filter would have seen it.
    let asks = || {
        die_of_real_time();
        let soon = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 1 };
        let word = AtomicU32::new(0);
        let flags = rustix::thread::futex::Flags::CLOCK_REALTIME;
        let mask = core::num::NonZeroU32::MAX;
        let _ = rustix::thread::futex::wait_bitset(&word, flags, 0, Some(&soon), mask);
        7
    };
    let died = fork_fn(asks).expect("fork").wait();
    assert!(matches!(died, Ok(ExitStatus::Signaled { signal: 31, .. })), "{died:?}");
}

/// The best of several, because other programs share the processors.
fn right_within_5_percent() {
    interrupt_every(50, 0);
    each(|world, (name, wait)| {
        let timeout = Duration::from_millis(60);
        let took = (0..8).map(|_| {
            let began = Instant::now();
            assert_eq!(wait(world, timeout), Ended::TimedOut, "{name}");
            began.elapsed()
        });
        let took: Vec<_> = took.collect();
        let (least, most) = (took.iter().min().unwrap(), timeout.mul_f64(1.05));
        assert!((timeout..most).contains(least), "{name}: {took:?}");
    });
    signals::interrupt_every(0);
}

fn stopped_and_continued() {
    each(|world, (name, wait)| {
        let timeout = Duration::from_millis(100);
        let mut waiter = fork_fn(|| {
            let began = Instant::now();
            let ended = wait(world, timeout);
            // Whoever is stopped when the time is over comes later.
            let late = began.elapsed() > timeout + Duration::from_millis(200);
            i32::from(ended != Ended::TimedOut || began.elapsed() < timeout || late)
        })
        .expect("fork");
        await_sleep(waiter.id());
        let mut stops = 0;
        while waiter.wait_timeout(Duration::from_millis(1)).expect("wait").is_none() {
            // It may have ended meanwhile.
            let _ = waiter.signal(Signal::STOP).and_then(|()| waiter.signal(Signal::CONT));
            stops += 1;
        }
        assert!(waiter.wait().expect("wait").success(), "{name}, stopped {stops} times");
        assert!(stops > 10, "{name}: stopped {stops} times");
    });
}

fn wake_ups_that_nobody_meant() {
    each(|world, (name, wait)| {
        let waiter = fork_fn(|| match wait(world, Duration::from_millis(100)) {
            Ended::TimedOut => 0,
            _ => 1,
        })
        .expect("fork");
        await_sleep(waiter.id());
        let mut woken = 0;
        let mut waiter = waiter;
        while waiter.wait_timeout(Duration::ZERO).expect("wait").is_none() {
            woken += words(world).iter().map(|word| futex::wake(word, u32::MAX)).sum::<usize>();
        }
        assert!(waiter.wait().expect("wait").success(), "{name}, woken {woken} times");
        assert!(woken > 10, "{name}: woken {woken} times");
    });
}

/// Everything on which somebody might sleep.
fn words(world: &World) -> &[AtomicU32] {
    let first = core::ptr::from_ref(world).cast::<AtomicU32>();
    // SAFETY: the world, which consists of atomics and of data that nobody writes to now.
    unsafe { core::slice::from_raw_parts(first, size_of_val(world) / 4) }
}

fn longest_wait() {
    each(|world, (name, wait)| {
        let mut waiter =
            fork_fn(|| i32::from(wait(world, Duration::MAX) != Ended::Had)).expect("fork");
        await_sleep(waiter.id());
        world.give.set();
        assert!(waiter.wait().expect("wait").success(), "{name}");
    });
}
