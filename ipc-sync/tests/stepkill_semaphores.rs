//! The semaphores with a bound, with a process killed at every machine instruction of the release build.
//!
//! One with one permit, whose owner is known, goes through all that a lock goes through.
//!
//! # Safety
//!
//! One that is made for a region lies in the harness's mapping, which is kept until the program ends.
#![expect(unsafe_code, reason = "semaphores that the kernel is told of")]

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::process::ExitCode;

use ipc_sync::{
    AcquireError, BinarySemaphore, BoundedSemaphore, CountingSemaphore, Permit, ProcessId,
};
use ipc_testkit::battery::locks::{self, Held, Lock};
use ipc_testkit::battery::semaphores::{self, Permits};
use ipc_testkit::battery::slots::{self, Slots};
use ipc_testkit::stepkill::{self, Suite};

fn main() -> ExitCode {
    stepkill::main(|suite| {
        if std::env::var_os("IPC_STEPKILL").is_some_and(|value| value == "deep") {
            semaphores::run::<Binary>(suite, "binary semaphore");
            semaphores::run::<Counting>(suite, "counting semaphore");
            locks::run::<One>(suite, "bounded semaphore");
            slots::run::<Two>(suite, "two permits");
        } else {
            what_is_their_own(suite);
        }
    })
}

/// The operations that are not those of a `Semaphore` or a `Mutex`, at every instruction; the waits, which are of
/// thousands of instructions that change nothing, in each image of the shared bytes.
fn what_is_their_own(suite: &mut Suite) {
    for waiters in [0, 1, 3] {
        suite.everywhere(&semaphores::release::<Binary>("binary semaphore", waiters));
        suite.everywhere(&semaphores::release::<Counting>("counting semaphore", waiters));
        suite.images(&semaphores::acquire::<Counting>("counting semaphore", waiters));
        suite.everywhere(&locks::unlock::<One>("bounded semaphore", waiters));
        suite.images(&locks::lock::<One>("bounded semaphore", waiters));
        suite.everywhere(&slots::release::<Two>("two permits", waiters));
        suite.everywhere(&slots::send::<Two>("two permits", waiters));
        suite.images(&slots::acquire_last::<Two>("two permits", waiters));
    }
    suite.pairs(&semaphores::release::<Counting>("counting semaphore", 0));
    suite.woken(&semaphores::wakeup_of_the_dead::<Counting>("counting semaphore", 1));
    suite.everywhere(&locks::try_lock::<One>("bounded semaphore"));
    suite.everywhere(&locks::section::<One>("bounded semaphore"));
    suite.pairs(&locks::unlock::<One>("bounded semaphore", 0));
    suite.beside_frozen(&locks::try_lock::<One>("bounded semaphore"));
    suite.woken(&locks::lost_wakeup::<One>("bounded semaphore", 1));
    suite.everywhere(&slots::acquire::<Two>("two permits"));
    suite.everywhere(&slots::adopt::<Two>("two permits"));
    suite.pairs(&slots::release::<Two>("two permits", 0));
}

struct Binary(BinarySemaphore);

impl Permits for Binary {
    const PLENTY: u32 = 1;

    fn new(permits: u32) -> Self {
        let permit = BinarySemaphore::new();
        assert!(permits == 1 || permit.try_acquire());
        Self(permit)
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
        u32::from(!self.0.is_taken())
    }
}

struct Counting(CountingSemaphore);

impl Permits for Counting {
    fn new(permits: u32) -> Self {
        Self(CountingSemaphore::new(permits, Self::PLENTY))
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

/// The permit, and whether its last holder died.
fn accept<'a, const N: usize>(
    result: Result<Permit<'a, N>, AcquireError<'a, N>>,
) -> Option<Held<Permit<'a, N>>> {
    match result {
        Ok(guard) => Some(Held { guard, recovered: false }),
        Err(AcquireError::Recovered(guard)) => Some(Held { guard, recovered: true }),
        Err(AcquireError::WouldBlock) => None,
        Err(error) => panic!("{error}"),
    }
}

struct One(BoundedSemaphore<1>);

impl Lock for One {
    type Guard<'a> = Permit<'a, 1>;

    fn new() -> Self {
        // SAFETY: see the head of this file.
        Self(unsafe { BoundedSemaphore::in_region() })
    }

    fn lock(&self) -> Held<Self::Guard<'_>> {
        accept(self.0.acquire()).expect("a wait without a time-out")
    }

    fn try_lock(&self) -> Option<Held<Self::Guard<'_>>> {
        accept(self.0.try_acquire())
    }

    fn owner(&self) -> u32 {
        let owner = self.0.holders().next();
        owner.map_or(0, |owner| owner.pid().as_raw_nonzero().get().unsigned_abs())
    }
}

struct Two {
    permits: BoundedSemaphore<2>,
    receiver: AtomicU64,
}

impl Slots for Two {
    type Permit<'a> = Permit<'a, 2>;

    fn new() -> Self {
        // SAFETY: see the head of this file.
        let permits = unsafe { BoundedSemaphore::in_region() };
        Self { permits, receiver: AtomicU64::new(0) }
    }

    fn acquire(&self) -> Self::Permit<'_> {
        accept(self.permits.acquire()).expect("a wait without a time-out").guard
    }

    fn try_acquire(&self) -> Option<Self::Permit<'_>> {
        accept(self.permits.try_acquire()).map(|held| held.guard)
    }

    fn send(&self, permit: Self::Permit<'_>) {
        let receiver = ProcessId::from_bits(self.receiver.load(SeqCst)).expect("introduced");
        permit.transfer(receiver).expect("it is ours");
    }

    fn introduce(&self) {
        let me = ProcessId::current().expect("an identity");
        self.receiver.store(me.to_bits(), SeqCst);
    }

    fn adopt(&self) -> Option<Self::Permit<'_>> {
        self.permits.adopt_any()
    }
}
