//! The locks with a process killed at every machine instruction of the release build.
//!
//! The lock goes through the same scenarios as the controls of `ipc-testkit`, which must fail them:
//! free, held, with one and three waiters asleep; pairs of victims; one frozen alive; and the
//! lost wake-up, in which a woken waiter dies after a newcomer took the lock (K13, K14).
//!
//! # Safety
//!
//! A lock that is made for a region lies in the harness's mapping, which is kept until the program ends.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

use std::process::ExitCode;

use ipc_sync::{Event, LockError, Mutex, MutexGuard, Semaphore};
use ipc_testkit::battery::events::{self, Signal};
use ipc_testkit::battery::locks::{self, Held, Lock};
use ipc_testkit::battery::semaphores::{self, Permits};
use ipc_testkit::stepkill;

fn main() -> ExitCode {
    stepkill::main(|suite| {
        locks::run::<Resident>(suite, "mutex");
        locks::run::<Plain>(suite, "mutex without baton");
        events::run::<Flag>(suite, "event");
        semaphores::run::<Tokens>(suite, "semaphore");
    })
}

/// A lock in a region: the kernel wakes a waiter when its holder dies.
struct Resident(Mutex<u64>);

/// A lock anywhere: slices alone find the dead.
struct Plain(Mutex<u64>);

/// The guard, and whether the lock said that its last owner died.
fn accept<'a>(
    result: Result<MutexGuard<'a, u64>, LockError<'a, u64>>,
) -> Option<Held<MutexGuard<'a, u64>>> {
    match result {
        Ok(guard) => Some(Held { guard, recovered: false }),
        Err(LockError::Recovered(value)) => {
            Some(Held { guard: value.mark_consistent(), recovered: true })
        }
        Err(LockError::WouldBlock) => None,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! impl_lock {
    ($lock:ty, $new:expr) => {
        impl Lock for $lock {
            type Guard<'a> = MutexGuard<'a, u64>;

            fn new() -> Self {
                Self($new)
            }

            fn lock(&self) -> Held<Self::Guard<'_>> {
                accept(self.0.lock()).expect("a lock without a time-out")
            }

            fn try_lock(&self) -> Option<Held<Self::Guard<'_>>> {
                accept(self.0.try_lock())
            }

            fn owner(&self) -> u32 {
                let owner = self.0.owner();
                owner.map_or(0, |owner| owner.pid().as_raw_nonzero().get().unsigned_abs())
            }
        }
    };
}

impl_lock!(Resident, {
    // SAFETY: see the head of this file.
    unsafe { Mutex::in_region(0) }
});
impl_lock!(Plain, Mutex::new(0));

struct Flag(Event);

impl Signal for Flag {
    fn new() -> Self {
        Self(Event::new())
    }

    fn set(&self) {
        self.0.set();
    }

    fn clear(&self) {
        self.0.clear();
    }

    fn is_set(&self) -> bool {
        self.0.is_set()
    }

    fn wait(&self) {
        self.0.wait().expect("a wait without a time-out");
    }
}

struct Tokens(Semaphore);

impl Permits for Tokens {
    fn new(permits: u32) -> Self {
        Self(Semaphore::new(permits))
    }

    fn acquire(&self) {
        self.0.acquire().expect("a wait without a time-out");
    }

    fn try_acquire(&self) -> bool {
        self.0.try_acquire()
    }

    fn release(&self) -> bool {
        self.0.release().is_ok()
    }

    fn available(&self) -> u32 {
        self.0.available()
    }
}
