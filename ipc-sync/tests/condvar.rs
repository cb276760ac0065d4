//! `Condvar`, `EventCount` and `Latch` between the threads of one process.

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::thread;

use ipc_sync::{
    BelowZero, Condvar, Deadline, EventCount, Latch, LockError, Mutex, MutexGuard, WaitError,
};
use ipc_testkit::watchdog::watch;

fn held<'a>(result: Result<MutexGuard<'a, u32>, LockError<'a, u32>>) -> MutexGuard<'a, u32> {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// std's example, with everything on the stack.
#[test]
fn works_on_the_stack() {
    watch();
    let (started, changed) = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            *held(started.lock()) = 1;
            changed.notify_one();
        });
        let mut guard = held(started.lock());
        while *guard == 0 {
            guard = held(changed.wait(guard));
        }
    });
}

#[test]
fn ping_pong_loses_nothing() {
    const TURNS: u32 = 20_000;
    watch();
    let (turn, changed) = (Mutex::new(0), Condvar::new());
    let play = |parity| {
        for _ in 0..TURNS {
            let mut guard = held(changed.wait_while(held(turn.lock()), |turn| *turn % 2 != parity));
            *guard += 1;
            drop(guard);
            changed.notify_one();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| play(0));
        scope.spawn(|| play(1));
    });
    assert_eq!(turn.into_inner(), 2 * TURNS);
}

/// Also if its time is over, it is the disorder that a wait tells of.
#[test]
fn recovered_comes_first() {
    watch();
    static LOCK: Mutex<u32> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    static HELD: Latch = Latch::new(1);
    let waiter = thread::spawn(|| {
        let guard = held(LOCK.lock());
        let panicking = thread::spawn(|| {
            let _guard = LOCK.lock();
            HELD.count_down().unwrap();
            thread::sleep(Duration::from_millis(30));
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        let waited =
            CHANGED
                .wait_deadline_while(guard, Deadline::after(Duration::from_millis(20)), |_| true);
        let Err(LockError::Recovered(value)) = waited else { panic!("not told") };
        // And the repair is not forgotten by the next wait.
        let guard = value.mark_consistent();
        let (guard, waited) = CHANGED.wait_deadline(guard, Deadline::now()).ok().unwrap();
        assert_eq!(waited, Err(WaitError::TimedOut));
        drop(guard);
        panicking.join().unwrap_err();
    });
    HELD.wait().unwrap();
    waiter.join().unwrap();
    drop(held(LOCK.lock()));
}

#[test]
fn condition_that_panics_leaves_word_of_it() {
    watch();
    static LOCK: Mutex<u32> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    thread::spawn(|| {
        let guard = held(LOCK.lock());
        drop(CHANGED.wait_while(guard, |_| std::panic::resume_unwind(Box::new("on purpose"))));
    })
    .join()
    .unwrap_err();
    assert!(matches!(LOCK.lock(), Err(LockError::Recovered(_))));
}

/// A wait that is not notified and whose time is over leaves nothing behind: the next is notified.
#[test]
fn time_outs_swallow_no_notification() {
    watch();
    let (items, more, served) = (Mutex::new(0), Condvar::new(), AtomicU32::new(0));
    thread::scope(|scope| {
        for patience in [100, 150, 1_000_000] {
            let (items, more, served) = (&items, &more, &served);
            scope.spawn(move || {
                while served.load(SeqCst) < 2_000 {
                    let patience = Duration::from_micros(patience);
                    let waited =
                        more.wait_timeout_while(held(items.lock()), patience, |items| *items == 0);
                    let (mut guard, waited) = waited.unwrap_or_else(|error| panic!("{error}"));
                    if waited.is_ok() {
                        *guard -= 1;
                        served.fetch_add(1, SeqCst);
                    }
                }
            });
        }
        for _ in 0..2_003 {
            *held(items.lock()) += 1;
            more.notify_one();
            thread::yield_now();
        }
    });
    assert_eq!(served.into_inner() + items.into_inner(), 2_003);
}

#[test]
fn notify_of_nobody_is_kept_for_nobody() {
    watch();
    let (lock, changed) = (Mutex::new(0), Condvar::new());
    for count in [0, 1, 2, u32::MAX] {
        changed.notify(count);
        let soon = Duration::from_millis(1);
        let (guard, waited) = changed.wait_timeout(held(lock.lock()), soon).ok().unwrap();
        assert_eq!(waited, Err(WaitError::TimedOut), "after notify({count})");
        drop(guard);
    }
}

#[test]
fn event_count_serves_threads() {
    const TURNS: u32 = 20_000;
    watch();
    let (items, more) = (AtomicU32::new(0), EventCount::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..TURNS {
                    let take =
                        || items.fetch_update(SeqCst, SeqCst, |items| items.checked_sub(1)).ok();
                    more.wait_for(take).unwrap();
                }
            });
        }
        for _ in 0..2 * TURNS {
            items.fetch_add(1, SeqCst);
            more.notify_one();
        }
    });
    assert_eq!(items.into_inner(), 0);
}

#[test]
fn latch_takes_the_greatest_count() {
    let latch = Latch::new(Latch::MAX);
    assert_eq!((latch.remaining(), latch.count_down()), (Latch::MAX, Ok(Latch::MAX - 1)));
    let open = Latch::new(0);
    assert_eq!((open.is_open(), open.remaining(), open.count_down()), (true, 0, Err(BelowZero)));
}

#[test]
#[should_panic = "more than a latch can count"]
fn latch_refuses_more() {
    drop(Latch::new(Latch::MAX + 1));
}
