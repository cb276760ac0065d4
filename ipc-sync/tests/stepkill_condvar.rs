//! `Condvar`, `EventCount` and `Latch` with a process killed at every machine instruction of the release build.
//!
//! A condition variable stands between its own sleepers and those of a mutex, which may have a baton or not: it
//! is played with both.
//!
//! # Safety
//!
//! A lock that is made for a region lies in the harness's mapping, which is kept until the program ends.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::process::ExitCode;

use ipc_sync::{Condvar, EventCount, Latch, LockError, Mutex, MutexGuard};
use ipc_testkit::battery::latches::{self, Counted};
use ipc_testkit::battery::waits::{self, Items};
use ipc_testkit::stepkill;

fn main() -> ExitCode {
    stepkill::main(|suite| {
        waits::run::<Resident>(suite, "condvar");
        suite.everywhere(&waits::notify::<Resident>("condvar", 3));
        suite.everywhere(&waits::take::<Resident>("condvar", 3));
        if suite.is_deep() {
            // Most of these end with the mutex held by the dead, which sleepers find out at the end of a slice.
            suite.woken(&waits::wakeup_of_the_dead::<Resident>("condvar", 3));
        }
        let plain = "condvar, mutex without baton";
        waits::run::<Plain>(suite, plain);
        suite.woken(&waits::wakeup_of_the_dead::<Plain>(plain, 3));
        waits::run::<Counter>(suite, "event count");
        suite.woken(&waits::wakeup_of_the_dead::<Counter>("event count", 3));
        suite.everywhere(&waits::notify::<Counter>("event count", 3));
        latches::run::<Gate>(suite, "latch");
    })
}

/// The items are the mutex's value.
struct Resident {
    items: Mutex<u32>,
    more: Condvar,
}

struct Plain {
    items: Mutex<u32>,
    more: Condvar,
}

/// Whoever was killed while he held the mutex left one number, the old or the new.
fn accept<'a>(
    result: Result<MutexGuard<'a, u32>, LockError<'a, u32>>,
) -> Option<MutexGuard<'a, u32>> {
    match result {
        Ok(items) => Some(items),
        Err(LockError::Recovered(items)) => Some(items.mark_consistent()),
        Err(LockError::WouldBlock) => None,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! impl_items {
    ($items:ty, $new:expr) => {
        impl Items for $items {
            fn new() -> Self {
                Self { items: $new, more: Condvar::new() }
            }

            fn take(&self, taken: &AtomicU32) {
                let mut items = accept(self.items.lock()).expect("a lock without a time-out");
                loop {
                    let waited = self.more.wait_while(items, |items| *items == 0);
                    items = accept(waited).expect("a wait without a time-out");
                    if *items > 0 {
                        break;
                    }
                }
                taken.fetch_add(1, Relaxed);
                *items -= 1;
            }

            fn try_take(&self, taken: &AtomicU32) -> bool {
                let Some(mut items) = accept(self.items.try_lock()) else { return false };
                let there = *items > 0;
                if there {
                    taken.fetch_add(1, Relaxed);
                    *items -= 1;
                }
                there
            }

            fn put(&self, more: impl FnOnce(u32) -> u32) {
                let mut items = accept(self.items.lock()).expect("a lock without a time-out");
                *items += more(*items);
            }

            fn notify(&self, count: u32) {
                self.more.notify(count);
            }

            fn notify_all(&self) {
                self.more.notify_all();
            }
        }
    };
}

impl_items!(Resident, {
    // SAFETY: see the head of this file.
    unsafe { Mutex::in_region(0) }
});
impl_items!(Plain, Mutex::new(0));

/// The items are a number that is changed without a lock.
struct Counter {
    items: AtomicU32,
    more: EventCount,
}

impl Items for Counter {
    fn new() -> Self {
        Self { items: AtomicU32::new(0), more: EventCount::new() }
    }

    fn take(&self, taken: &AtomicU32) {
        let attempt = || self.try_take(taken).then_some(());
        self.more.wait_for(attempt).expect("a wait without a time-out");
    }

    fn try_take(&self, taken: &AtomicU32) -> bool {
        if self.items.load(Relaxed) == 0 {
            return false;
        }
        taken.fetch_add(1, Relaxed);
        let there = self.items.fetch_update(Relaxed, Relaxed, |items| items.checked_sub(1));
        if there.is_err() {
            taken.fetch_sub(1, Relaxed);
        }
        there.is_ok()
    }

    fn put(&self, more: impl FnOnce(u32) -> u32) {
        self.items.fetch_add(more(self.items.load(Relaxed)), Relaxed);
    }

    fn notify(&self, count: u32) {
        self.more.notify(count);
    }

    fn notify_all(&self) {
        self.more.notify_all();
    }
}

struct Gate(Latch);

impl Counted for Gate {
    fn new(count: u32) -> Self {
        Self(Latch::new(count))
    }

    fn count_down(&self) -> bool {
        self.0.count_down().is_ok()
    }

    fn remaining(&self) -> u32 {
        self.0.remaining()
    }

    fn wait(&self) {
        self.0.wait().expect("a wait without a time-out");
    }
}
