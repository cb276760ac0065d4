//! `Semaphore` between processes, under signals, and from a signal handler.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill.rs`.

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;

use ipc_core::process::fork_fn;
use ipc_sync::{Deadline, Semaphore, TooManyPermits, WaitError};
use ipc_testkit::cases::seccomp::{die_of_wake, refuse_wake_op};
use ipc_testkit::cases::{self, events::await_sleep, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;
use waits::{ends_by_a_signal, interrupt_every, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("counts_exactly_between_processes", counts_exactly),
        ("never_lends_more_than_there_are", never_lends_more),
        ("permits_wake_as_many", permits_wake_as_many),
        ("permits_beyond_one_step_wake_as_many", permits_beyond_one_step),
        ("a_killed_sleeper_takes_no_permit_along", killed_sleeper),
        ("a_sandbox_may_refuse_to_add_and_wake", refused_operation),
        ("waiters_outlive_a_giver_that_dies_in_a_sandbox", giver_dies_in_a_sandbox),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_permit_comes_through_signals", permit_comes_through_signals),
        ("a_signal_ends_an_interruptible_acquire", signal_ends_an_interruptible_acquire),
        ("an_interruptible_acquire_gets_its_permit", interruptible_gets_its_permit),
        ("a_signal_handler_may_release", a_signal_handler_may_release),
        ("waiting_costs_no_processor_time", waiting_costs_no_processor_time),
        ("zeroed_memory_has_no_permits", zeroed_memory_has_no_permits),
        ("the_greatest_number_is_exact", the_greatest_number_is_exact),
    ])
}

fn semaphore(permits: u32) -> Shared<Semaphore> {
    Shared::new(Semaphore::new(permits)).expect("a mapping")
}

fn counts_exactly() {
    const TURNS: u32 = 20_000;
    let permits = semaphore(0);
    let give = || {
        (0..TURNS).for_each(|_| permits.release().expect("not too many"));
        0
    };
    let take = || {
        (0..TURNS).for_each(|_| permits.acquire().expect("a wait"));
        0
    };
    let pairs = (0..4).flat_map(|_| [fork_fn(take).expect("fork"), fork_fn(give).expect("fork")]);
    join(pairs.collect::<Vec<_>>());
    assert_eq!(permits.available(), 0);
}

fn never_lends_more() {
    const MOST: u32 = 3;
    struct World {
        permits: Semaphore,
        inside: AtomicU32,
        seen: AtomicU32,
    }
    let world =
        World { permits: Semaphore::new(MOST), inside: AtomicU32::new(0), seen: AtomicU32::new(0) };
    let world = Shared::new(world).expect("a mapping");
    let borrow = || {
        for _ in 0..5_000 {
            world.permits.acquire().expect("a wait");
            let inside = 1 + world.inside.fetch_add(1, SeqCst);
            world.seen.fetch_max(inside, SeqCst);
            std::thread::yield_now();
            world.inside.fetch_sub(1, SeqCst);
            world.permits.release().expect("not too many");
        }
        0
    };
    join((0..8).map(|_| fork_fn(borrow).expect("fork")).collect::<Vec<_>>());
    assert_eq!(world.permits.available(), MOST);
    let seen = world.seen.load(SeqCst);
    assert_eq!(seen, MOST, "{seen} at once, of {MOST} permits");
}

fn permits_wake_as_many() {
    let permits = semaphore(0);
    let children = sleepers(6, || permits.acquire());
    permits.release_many(6).expect("not too many");
    join(children);
    assert_eq!(permits.available(), 0);
}

fn permits_beyond_one_step() {
    let permits = semaphore(0);
    let children = sleepers(2, || permits.acquire());
    permits.release_many(5_000).expect("not too many");
    join(children);
    assert_eq!(permits.available(), 4_998);
}

fn killed_sleeper() {
    let permits = semaphore(0);
    let mut children = sleepers(3, || permits.acquire());
    let mut victim = children.remove(0);
    victim.kill().expect("a live child");
    permits.release_many(2).expect("not too many");
    victim.wait().expect("a child of ours");
    join(children);
    assert_eq!(permits.available(), 0);
}

fn refused_operation() {
    refuse_wake_op();
    let permits = semaphore(0);
    for _ in 0..20 {
        let children = sleepers(3, || permits.acquire());
        (0..3).for_each(|_| permits.release().expect("not too many"));
        join(children);
    }
    assert_eq!(permits.available(), 0);
    // Nearly full, and somebody may be asleep.
    let memory = Shared::new(u64::from(Semaphore::MAX - 1) << 32).expect("a mapping");
    let permits = shared_at((&raw const *memory).cast());
    assert_eq!((permits.release(), permits.release()), (Ok(()), Err(TooManyPermits)));
}

/// Without the kernel's operation it adds first and wakes second, and is killed between the two.
fn giver_dies_in_a_sandbox() {
    let permits = semaphore(0);
    let children = sleepers(1, || permits.acquire());
    let mut giver = fork_fn(|| {
        refuse_wake_op();
        die_of_wake();
        permits.release().map_or(1, |()| 0)
    })
    .expect("fork");
    assert!(!giver.wait().expect("a child of ours").success(), "it was to be killed");
    join(children);
    assert_eq!(permits.available(), 0);
}

fn time_outs_are_kept_under_signals() {
    let permits = semaphore(0);
    keeps_time_outs(|timeout| permits.acquire_timeout(timeout));
    assert_eq!(permits.acquire_deadline(Deadline::now()), Err(WaitError::TimedOut));
    permits.release().expect("not too many");
    // What is there is had however late it is.
    assert_eq!(permits.acquire_deadline(Deadline::now()), Ok(()));
}

fn permit_comes_through_signals() {
    let permits = semaphore(0);
    let mut child = fork_fn(|| {
        interrupt_every(50, 0);
        let taken = permits.acquire_timeout(Duration::MAX);
        signals::interrupt_every(0);
        taken.map_or(1, |()| 0)
    })
    .expect("fork");
    await_sleep(child.id());
    permits.release().expect("not too many");
    assert!(child.wait().expect("a child of ours").success());
}

fn signal_ends_an_interruptible_acquire() {
    let permits = semaphore(0);
    ends_by_a_signal(|deadline| permits.acquire_interruptible(deadline));
}

/// Permits are neither lost nor doubled by waits that signals end.
fn interruptible_gets_its_permit() {
    let permits = semaphore(0);
    let taker = || {
        interrupt_every(300, 0);
        for _ in 0..500 {
            while permits.acquire_interruptible(Deadline::FAR).is_err() {}
        }
        signals::interrupt_every(0);
        0
    };
    let takers: Vec<_> = (0..3).map(|_| fork_fn(taker).expect("fork")).collect();
    for _ in 0..1_500 {
        permits.release().expect("not too many");
        std::thread::yield_now();
    }
    join(takers);
    assert_eq!(permits.available(), 0);
}

fn a_signal_handler_may_release() {
    static PERMITS: Semaphore = Semaphore::new(0);
    extern "C" fn give(_: i32) {
        let given = PERMITS.release();
        debug_assert!(given.is_ok());
    }
    signals::on_signal(Signal::ALARM.as_raw(), give as *const () as usize, 0);
    signals::interrupt_every(200);
    // The handler interrupts this very thread in `acquire`: asleep, awake and in between.
    (0..1_000).for_each(|_| PERMITS.acquire().expect("a wait"));
    signals::interrupt_every(0);
}

/// A waiter that outlasts its first slices must sleep in between, not run.
fn waiting_costs_no_processor_time() {
    let permits = semaphore(0);
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let before = used();
    let timeout = Duration::from_millis(500);
    assert_eq!(permits.acquire_timeout(timeout), Err(WaitError::TimedOut));
    let used = used() - before;
    assert!(used < timeout / 20, "{used:?} of {timeout:?}");
}

fn zeroed_memory_has_no_permits() {
    #[repr(C, align(8))]
    struct Zeroes([u8; 8]);
    let memory = Shared::new(Zeroes([0; 8])).expect("a mapping");
    let address = memory.0.as_ptr().cast::<Semaphore>();
    let permits = shared_at(address);
    assert!(!permits.try_acquire());
    let children = sleepers(1, || permits.acquire());
    permits.release().expect("not too many");
    join(children);
}

/// # Safety
///
/// `Zeroes` is as large and as aligned as a semaphore, and every pattern of its bytes is one.
#[expect(unsafe_code, reason = "a semaphore is found in memory, as in any mapping")]
fn shared_at<'a>(address: *const Semaphore) -> &'a Semaphore {
    // SAFETY: see above; the mapping lives until the case ends.
    unsafe { &*address }
}

fn the_greatest_number_is_exact() {
    let permits = semaphore(Semaphore::MAX - 2_000);
    assert_eq!(permits.release_many(2_001), Err(TooManyPermits));
    assert_eq!(permits.available(), Semaphore::MAX - 2_000);
    let given = Shared::new(AtomicU32::new(0)).expect("a mapping");
    let give = || {
        for _ in 0..1_000 {
            given.fetch_add(u32::from(permits.release().is_ok()), SeqCst);
        }
        0
    };
    join((0..3).map(|_| fork_fn(give).expect("fork")).collect::<Vec<_>>());
    assert_eq!(given.load(SeqCst), 2_000);
    assert_eq!(permits.available(), Semaphore::MAX);
    assert_eq!(permits.release(), Err(TooManyPermits));
    (0..10).for_each(|_| permits.acquire().expect("plenty"));
    assert_eq!(permits.available(), Semaphore::MAX - 10);
}
