//! `RwLock` with a process killed at every machine instruction of the release build.
//!
//! Readers and writers, on a free lock and with one and three waiters asleep, and the lost wake-up. As
//! `stepkill.rs`, which has the locks without readers.
//!
//! # Safety
//!
//! A lock that is made for a region lies in the harness's mapping, which is kept until the program ends.
#![expect(unsafe_code, reason = "locks that the kernel is told of, and their first word")]

use core::sync::atomic::{AtomicU64, Ordering};
use std::process::ExitCode;

use ipc_sync::{RwLock, RwLockError, RwLockReadGuard, RwLockWriteGuard};
use ipc_testkit::battery::locks::Held;
use ipc_testkit::battery::rwlocks::{self, ReadWrite};
use ipc_testkit::stepkill;

fn main() -> ExitCode {
    stepkill::main(|suite| {
        rwlocks::run::<Resident>(suite, "rwlock");
        if suite.is_deep() {
            rwlocks::run::<Plain>(suite, "rwlock without baton");
        }
    })
}

const READERS: usize = 3;
type Lock = RwLock<u64, READERS>;
type Reading<'a> = RwLockReadGuard<'a, u64, READERS>;
type Writing<'a> = RwLockWriteGuard<'a, u64, READERS>;
type Refused<'a> = RwLockError<'a, u64, READERS>;

/// A lock in a region: the kernel wakes a waiter when its holder dies.
struct Resident(Lock);

/// A lock anywhere: slices alone find the dead.
struct Plain(Lock);

fn accept_read<'a>(
    result: Result<Reading<'a>, Refused<'a>>,
) -> Option<Result<Reading<'a>, Writing<'a>>> {
    match result {
        Ok(guard) => Some(Ok(guard)),
        Err(RwLockError::Recovered(value)) => Some(Err(value.mark_consistent())),
        Err(RwLockError::WouldBlock) => None,
        Err(error) => panic!("{error}"),
    }
}

fn accept_write<'a>(result: Result<Writing<'a>, Refused<'a>>) -> Option<Held<Writing<'a>>> {
    match result {
        Ok(guard) => Some(Held { guard, recovered: false }),
        Err(RwLockError::Recovered(value)) => {
            Some(Held { guard: value.mark_consistent(), recovered: true })
        }
        Err(RwLockError::WouldBlock) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Whether the writer's word says so, which is the lock's first. (From outside, a writer that still waits for readers looks
/// like one that writes.)
fn is_in_doubt(lock: &Lock) -> bool {
    let first = core::ptr::from_ref(lock).cast_mut().cast::<u64>();
    // SAFETY: a lock begins with an atomic word of 8 bytes, which lives as long as the lock.
    let word = unsafe { AtomicU64::from_ptr(first) };
    word.load(Ordering::Relaxed) >> 63 == 1
}

macro_rules! impl_read_write {
    ($lock:ty, $new:expr) => {
        impl ReadWrite for $lock {
            type Read<'a> = Reading<'a>;
            type Write<'a> = Writing<'a>;

            fn new() -> Self {
                Self($new)
            }

            fn read(&self) -> Result<Self::Read<'_>, Self::Write<'_>> {
                accept_read(self.0.read()).expect("a lock without a time-out")
            }

            fn try_read(&self) -> Option<Result<Self::Read<'_>, Self::Write<'_>>> {
                accept_read(self.0.try_read())
            }

            fn write(&self) -> Held<Self::Write<'_>> {
                accept_write(self.0.write()).expect("a lock without a time-out")
            }

            fn try_write(&self) -> Option<Held<Self::Write<'_>>> {
                accept_write(self.0.try_write())
            }

            fn writer(&self) -> u32 {
                let owner = self.0.owner();
                owner.map_or(0, |owner| owner.pid().as_raw_nonzero().get().unsigned_abs())
            }

            fn is_in_doubt(&self) -> bool {
                is_in_doubt(&self.0)
            }

            fn readers(&self) -> usize {
                self.0.readers().count()
            }
        }
    };
}

impl_read_write!(Resident, {
    // SAFETY: see the head of this file.
    unsafe { RwLock::in_region(0) }
});
impl_read_write!(Plain, RwLock::new(0));
