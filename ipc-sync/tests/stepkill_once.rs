//! `Once` and `ReentrantMutex` with a process killed at every machine instruction of the release build.
//!
//! `Once` with what it does in the middle: killed before it, in it, and between its end and the word of that. The
//! reentrant mutex goes through the scenarios of the mutex, each time it is locked twice and released in the order in which it
//! was locked.
//!
//! # Safety
//!
//! What is made for a region lies in the harness's mapping, which is kept until the program ends.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

use std::process::ExitCode;

use ipc_sync::{
    Once, OnceError, ProcessId, ReentrantLockError, ReentrantMutex, ReentrantMutexGuard,
};
use ipc_testkit::battery::locks::{self, Held, Lock};
use ipc_testkit::battery::once::{self, OnlyOnce};
use ipc_testkit::stepkill::{self, Suite};

fn main() -> ExitCode {
    stepkill::main(|suite| {
        once::run::<Resident>(suite, "once");
        once::run::<Plain>(suite, "once without baton");
        if suite.is_deep() {
            locks::run::<Twice>(suite, "reentrant mutex");
        } else {
            reentrant(suite);
        }
    })
}

/// What is not already done to the mutex inside.
fn reentrant(suite: &mut Suite) {
    let name = "reentrant mutex";
    suite.everywhere(&locks::lock_free::<Twice>(name));
    suite.everywhere(&locks::try_lock::<Twice>(name));
    for waiters in [0, 1, 3] {
        suite.images(&locks::lock::<Twice>(name, waiters));
        suite.everywhere(&locks::unlock::<Twice>(name, waiters));
    }
    suite.everywhere(&locks::section::<Twice>(name));
    suite.pairs(&locks::lock_free::<Twice>(name));
    suite.pairs(&locks::unlock::<Twice>(name, 0));
    suite.beside_frozen(&locks::try_lock::<Twice>(name));
    suite.woken(&locks::wakeup_of_the_dead::<Twice>(name, 3));
}

fn pid(process: Option<ProcessId>) -> u32 {
    process.map_or(0, |process| process.pid().as_raw_nonzero().get().unsigned_abs())
}

/// In a region: the kernel wakes a caller when its runner dies.
struct Resident(Once);

/// Anywhere: slices alone find the dead.
struct Plain(Once);

macro_rules! impl_once {
    ($once:ident, $new:expr) => {
        impl OnlyOnce for $once {
            fn warm_up() {
                static OTHER: $once = $once($new);
                OTHER.call(|_| {});
            }

            fn new() -> Self {
                Self($new)
            }

            fn call(&self, f: impl FnOnce(bool)) {
                let called = self.0.call_once(|state| f(state.previous_died()));
                called.expect("a call without a time-out");
            }

            fn try_call(&self, f: impl FnOnce(bool)) -> bool {
                match self.0.try_call_once(|state| f(state.previous_died())) {
                    Ok(()) => true,
                    Err(OnceError::WouldBlock) => false,
                    Err(error) => panic!("{error}"),
                }
            }

            fn is_completed(&self) -> bool {
                self.0.is_completed()
            }

            fn runner(&self) -> u32 {
                pid(self.0.runner())
            }
        }
    };
}

impl_once!(Resident, {
    // SAFETY: see the head of this file.
    unsafe { Once::in_region() }
});
impl_once!(Plain, Once::new());

/// A lock that is always taken twice.
struct Twice(ReentrantMutex<u64>);

type Guards<'a> = [ReentrantMutexGuard<'a, u64>; 2];

impl Twice {
    /// The guards, and whether the lock said that its last owner died.
    fn accept<'a>(
        &'a self,
        result: Result<ReentrantMutexGuard<'a, u64>, ReentrantLockError<'a, u64>>,
    ) -> Option<Held<Guards<'a>>> {
        let (outer, recovered) = match result {
            Ok(outer) => (outer, false),
            Err(ReentrantLockError::Recovered(value)) => (value.mark_consistent(), true),
            Err(ReentrantLockError::WouldBlock) => return None,
            Err(error) => panic!("{error}"),
        };
        let inner = self.0.lock().expect("it is this thread's");
        Some(Held { guard: [outer, inner], recovered })
    }
}

impl Lock for Twice {
    type Guard<'a> = Guards<'a>;

    fn new() -> Self {
        // SAFETY: see the head of this file.
        Self(unsafe { ReentrantMutex::in_region(0) })
    }

    fn lock(&self) -> Held<Self::Guard<'_>> {
        self.accept(self.0.lock()).expect("a lock without a time-out")
    }

    fn try_lock(&self) -> Option<Held<Self::Guard<'_>>> {
        self.accept(self.0.try_lock())
    }

    fn owner(&self) -> u32 {
        pid(self.0.owner())
    }
}
