//! A wake-up that dies with its receiver: `cargo run --release --example lost_wakeup`
//!
//! A owns a lock; B and C sleep on it. A unlocks, which wakes B; D comes by and takes the lock before B runs; B is
//! killed; D unlocks, and sees nobody to wake: the note that somebody sleeps went with B. The lock is free, and C
//! sleeps on it for ever.
//!
//! This plays those four processes with two locks, and kills B at each machine instruction from its wake-up on: the C
//! library's robust mutex, which is made for owners that die, and ours.
//!
//! # Safety
//!
//! The lock lies in memory that is kept until the program ends.
#![expect(unsafe_code, reason = "a lock that the kernel is told of")]

use core::time::Duration;
use std::process::ExitCode;

use ipc_sync::{LockError, Mutex, MutexGuard};
use ipc_testkit::battery::locks::{Held, Lock, lost_wakeup};
#[cfg(target_env = "gnu")]
use ipc_testkit::controls::RobustMutex;
use ipc_testkit::stepkill::{self, Pass};

struct Ours(Mutex<u64>);

impl Lock for Ours {
    type Guard<'a> = MutexGuard<'a, u64>;

    fn new() -> Self {
        // SAFETY: see the head of this file.
        Self(unsafe { Mutex::in_region(0) })
    }

    fn lock(&self) -> Held<MutexGuard<'_, u64>> {
        match self.0.lock() {
            Ok(guard) => Held { guard, recovered: false },
            Err(LockError::Recovered(value)) => {
                Held { guard: value.mark_consistent(), recovered: true }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn try_lock(&self) -> Option<Held<MutexGuard<'_, u64>>> {
        self.0.try_lock().ok().map(|guard| Held { guard, recovered: false })
    }

    fn owner(&self) -> u32 {
        let owner = self.0.owner();
        owner.map_or(0, |owner| owner.pid().as_raw_nonzero().get().unsigned_abs())
    }
}

fn main() -> ExitCode {
    stepkill::main(|suite| {
        #[cfg(target_env = "gnu")]
        {
            // Whoever is not back within this long never comes back; each such process costs as much time.
            let patience = Duration::from_millis(100);
            let theirs = lost_wakeup::<RobustMutex>("pthread robust mutex", 1).patience(patience);
            suite.must_fail(Pass::Woken, &theirs, 1);
        }
        suite.woken(&lost_wakeup::<Ours>("ipc-sync Mutex", 1));
    })
}
