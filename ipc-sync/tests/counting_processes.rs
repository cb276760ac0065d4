//! `BinarySemaphore` and `CountingSemaphore` between processes: their bound is exact, whoever releases when.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. What they
//! have in common with `Semaphore` is in `semaphore_processes.rs`; the kills at every single instruction are in
//! `stepkill_semaphores.rs`.

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;

use ipc_core::process::fork_fn;
use ipc_sync::{BinarySemaphore, CountingSemaphore, Deadline, TooManyPermits, WaitError};
use ipc_testkit::cases::seccomp::{die_of_wake, refuse_wake_op};
use ipc_testkit::cases::{self, events::await_sleep, signals};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;
use waits::{ends_by_a_signal, interrupt_every, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("never_more_than_the_bound_under_contention", never_more_than_the_bound),
        ("one_of_many_who_release_at_once_is_right", one_of_many_is_right),
        ("excludes_and_hands_over_between_eight", excludes_between_eight),
        ("released_by_another_process", released_by_another_process),
        ("a_permit_for_each_wakes_all", permit_for_each_wakes_all),
        ("permits_at_once_wake_as_many", permits_at_once_wake_as_many),
        ("a_killed_sleeper_takes_no_wake_up_along", killed_sleepers),
        ("waiters_outlive_givers_that_are_killed", waiters_outlive_givers),
        ("a_sandbox_may_refuse_the_wake_up", refused_operation),
        ("waiters_outlive_a_giver_that_dies_in_a_sandbox", giver_dies_in_a_sandbox),
        ("who_gives_up_passes_his_wake_up_on", who_gives_up_passes_it_on),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_signal_ends_an_interruptible_acquire", signal_ends_an_interruptible_acquire),
        ("a_signal_handler_may_release", a_signal_handler_may_release),
        ("zeroed_memory_is_one_that_is_free", zeroed_memory),
        ("whatever_is_in_the_words_it_neither_panics_nor_hangs", garbage),
        ("the_greatest_bound_is_exact", the_greatest_bound_is_exact),
    ])
}

fn shared<T: Sync>(value: T) -> Shared<T> {
    Shared::new(value).expect("a mapping")
}

/// Eight processes release more than they took, and others wait. The permits never are more than the bound, and each
/// release was refused or has made one more.
fn never_more_than_the_bound() {
    struct World {
        permits: CountingSemaphore,
        given: AtomicU32,
        taken: AtomicU32,
        most: AtomicU32,
    }
    for bound in [1, 3] {
        let count = || AtomicU32::new(0);
        let permits = CountingSemaphore::new(0, bound);
        let world = shared(World { permits, given: count(), taken: count(), most: count() });
        let work = || {
            for turn in 0..4_000 {
                let given = world.permits.release().is_ok();
                world.given.fetch_add(u32::from(given), SeqCst);
                world.most.fetch_max(world.permits.available(), SeqCst);
                // Sometimes asleep, so that both ways to release are gone.
                let taken = match turn % 3 {
                    0 => world.permits.acquire_timeout(Duration::from_micros(50)).is_ok(),
                    _ => world.permits.try_acquire(),
                };
                world.taken.fetch_add(u32::from(taken), SeqCst);
            }
            0
        };
        join((0..8).map(|_| fork_fn(work).expect("fork")).collect::<Vec<_>>());
        let left = world.given.load(SeqCst) - world.taken.load(SeqCst);
        assert_eq!(world.permits.available(), left);
        assert!(left <= bound, "{left} of {bound}");
        assert!(world.most.load(SeqCst) <= bound, "{} of {bound}", world.most.load(SeqCst));
    }
}

/// All see that it is taken, and release it: one was right, and the others are told. Somebody may be asleep.
fn one_of_many_is_right() {
    struct World {
        lock: BinarySemaphore,
        round: AtomicU32,
        right: AtomicU32,
        done: AtomicU32,
    }
    const ROUNDS: u32 = 300;
    let count = || AtomicU32::new(0);
    let lock = BinarySemaphore::new();
    let world = shared(World { lock, round: count(), right: count(), done: count() });
    let release = || {
        for round in 1..=ROUNDS {
            while world.round.load(SeqCst) < round {
                std::thread::yield_now();
            }
            world.right.fetch_add(u32::from(world.lock.release().is_ok()), SeqCst);
            world.done.fetch_add(1, SeqCst);
        }
        0
    };
    world.lock.acquire().expect("free");
    let children: Vec<_> = (0..7).map(|_| fork_fn(release).expect("fork")).collect();
    for round in 1..=ROUNDS {
        if round % 2 == 0 {
            // The gate says "maybe" from now on.
            let slept = world.lock.acquire_timeout(Duration::from_micros(100));
            assert_eq!(slept, Err(WaitError::TimedOut));
        }
        world.right.store(0, SeqCst);
        world.done.store(0, SeqCst);
        world.round.store(round, SeqCst);
        while world.done.load(SeqCst) < 7 {
            std::thread::yield_now();
        }
        assert_eq!(world.right.load(SeqCst), 1, "round {round}");
        assert!(world.lock.try_acquire(), "round {round}");
    }
    join(children);
}

fn excludes_between_eight() {
    struct World {
        lock: BinarySemaphore,
        inside: AtomicU32,
        count: AtomicU32,
    }
    let count = || AtomicU32::new(0);
    let world = shared(World { lock: BinarySemaphore::new(), inside: count(), count: count() });
    let work = || {
        for _ in 0..2_000 {
            world.lock.acquire().expect("a wait");
            assert_eq!(world.inside.fetch_add(1, SeqCst), 0, "two inside");
            let count = world.count.load(SeqCst);
            if count % 16 == 0 {
                std::thread::yield_now();
            }
            world.count.store(count + 1, SeqCst);
            world.inside.fetch_sub(1, SeqCst);
            world.lock.release().expect("taken by us");
        }
        0
    };
    join((0..8).map(|_| fork_fn(work).expect("fork")).collect::<Vec<_>>());
    assert_eq!(world.count.load(SeqCst), 16_000);
    assert_eq!(world.lock.release(), Err(TooManyPermits));
}

fn released_by_another_process() {
    let lock = shared(BinarySemaphore::new());
    lock.acquire().expect("free");
    let children = sleepers(1, || lock.acquire());
    let release = || lock.release().map_or(1, |()| 0);
    join([fork_fn(release).expect("fork")]);
    join(children);
    // Whoever had it last is dead, and it is taken.
    assert!(lock.is_taken());
    assert!(!lock.try_acquire());
    assert_eq!((lock.release(), lock.release()), (Ok(()), Err(TooManyPermits)));
}

fn permit_for_each_wakes_all() {
    let permits = shared(CountingSemaphore::new(0, 6));
    let children = sleepers(6, || permits.acquire());
    (0..6).for_each(|_| permits.release().expect("not too many"));
    join(children);
    assert_eq!(permits.available(), 0);
}

fn permits_at_once_wake_as_many() {
    let permits = shared(CountingSemaphore::new(0, 5_000));
    let children = sleepers(3, || permits.acquire());
    assert_eq!(permits.release_many(5_001), Err(TooManyPermits));
    permits.release_many(5_000).expect("the bound");
    join(children);
    assert_eq!(permits.available(), 4_997);
    assert_eq!(permits.release_many(0), Ok(()));
}

fn killed_sleepers() {
    for _ in 0..20 {
        let permits = shared(CountingSemaphore::new(0, 2));
        let mut children = sleepers(4, || permits.acquire());
        let mut victims: Vec<_> = children.drain(..2).collect();
        victims.iter().for_each(|victim| victim.kill().expect("a live child"));
        // The wake-ups may go to those who are just dying. They have slept, and so take nothing any more.
        (0..2).for_each(|_| permits.release().expect("not too many"));
        victims.iter_mut().for_each(|victim| _ = victim.wait().expect("a child of ours"));
        join(children);
        assert_eq!(permits.available(), 0);
    }
}

/// Givers and takers, of which the givers are killed all the time: what they have given is had, and nobody is stranded.
fn waiters_outlive_givers() {
    let permits = shared(CountingSemaphore::new(0, 1));
    let taken = shared(AtomicU32::new(0));
    let take = || {
        while taken.fetch_add(1, SeqCst) < 3_000 {
            permits.acquire().expect("a wait");
        }
        0
    };
    let takers: Vec<_> = (0..3).map(|_| fork_fn(take).expect("fork")).collect();
    let give = || loop {
        let _ = permits.release();
    };
    while taken.load(SeqCst) < 3_000 {
        let mut giver = fork_fn(give).expect("fork");
        std::thread::sleep(Duration::from_micros(u64::from(taken.load(SeqCst)) % 997));
        giver.kill().expect("a live child");
        giver.wait().expect("a child of ours");
        assert!(permits.available() <= 1);
    }
    let mut last = fork_fn(give).expect("fork");
    join(takers);
    last.kill().expect("a live child");
    last.wait().expect("a child of ours");
}

fn refused_operation() {
    refuse_wake_op();
    let permits = shared(CountingSemaphore::new(0, 3));
    for _ in 0..20 {
        let children = sleepers(3, || permits.acquire());
        (0..3).for_each(|_| permits.release().expect("not too many"));
        join(children);
    }
    permits.release_many(3).expect("the bound");
    assert_eq!(permits.release(), Err(TooManyPermits));
}

/// Without the kernel's operation it adds first and wakes second, and is killed between the two.
fn giver_dies_in_a_sandbox() {
    let lock = shared(BinarySemaphore::new());
    lock.acquire().expect("free");
    let children = sleepers(1, || lock.acquire());
    let mut giver = fork_fn(|| {
        refuse_wake_op();
        die_of_wake();
        lock.release().map_or(1, |()| 0)
    })
    .expect("fork");
    assert!(!giver.wait().expect("a child of ours").success(), "it was to be killed");
    join(children);
}

/// Waiters whose time is always just over, and one who waits on: it gets its permits.
fn who_gives_up_passes_it_on() {
    let permits = shared(CountingSemaphore::new(0, 1));
    let hasty = || loop {
        if permits.acquire_timeout(Duration::from_micros(30)).is_ok() {
            // Refused where another permit was given meanwhile.
            let _ = permits.release();
        }
    };
    let patient = || {
        (0..1_000).for_each(|_| permits.acquire().expect("a wait"));
        0
    };
    let mut hasty: Vec<_> = (0..2).map(|_| fork_fn(hasty).expect("fork")).collect();
    let mut patient = fork_fn(patient).expect("fork");
    while patient.try_wait().expect("a child of ours").is_none() {
        let _ = permits.release();
        std::thread::yield_now();
    }
    for child in &mut hasty {
        child.kill().expect("a live child");
        child.wait().expect("a child of ours");
    }
}

fn time_outs_are_kept_under_signals() {
    let lock = shared(BinarySemaphore::new());
    lock.acquire().expect("free");
    keeps_time_outs(|timeout| lock.acquire_timeout(timeout));
    assert_eq!(lock.acquire_deadline(Deadline::now()), Err(WaitError::TimedOut));
    lock.release().expect("taken");
    // What is there is had however late it is.
    assert_eq!(lock.acquire_deadline(Deadline::now()), Ok(()));
    let mut child = fork_fn(|| {
        interrupt_every(50, 0);
        let taken = lock.acquire_timeout(Duration::MAX);
        signals::interrupt_every(0);
        taken.map_or(1, |()| 0)
    })
    .expect("fork");
    await_sleep(child.id());
    lock.release().expect("taken");
    assert!(child.wait().expect("a child of ours").success());
}

fn signal_ends_an_interruptible_acquire() {
    let permits = shared(CountingSemaphore::new(0, 1));
    ends_by_a_signal(|deadline| permits.acquire_interruptible(deadline));
}

fn a_signal_handler_may_release() {
    static LOCK: BinarySemaphore = BinarySemaphore::new();
    extern "C" fn release(_: i32) {
        // It may be free already.
        let _ = LOCK.release();
    }
    signals::on_signal(Signal::ALARM.as_raw(), release as *const () as usize, 0);
    signals::interrupt_every(200);
    // The handler interrupts this very thread in `acquire`: asleep, awake and in between.
    (0..1_000).for_each(|_| LOCK.acquire().expect("a wait"));
    signals::interrupt_every(0);
}

fn zeroed_memory() {
    let memory = shared([0_u64; 3]);
    let lock: &BinarySemaphore = found_at(&memory[0]);
    let children = {
        assert!(lock.try_acquire() && !lock.try_acquire());
        sleepers(1, || lock.acquire())
    };
    lock.release().expect("taken");
    join(children);
    let permits: &CountingSemaphore = found_at(&memory[1]);
    assert!(!permits.try_acquire());
    assert_eq!(permits.bound(), CountingSemaphore::MAX);
    let children = sleepers(1, || permits.acquire());
    permits.release().expect("not too many");
    join(children);
}

fn garbage() {
    for bits in [1, u64::MAX, 1 << 63, 1 << 30, 0x4000_0001_4000_0000, 0xc000_0000] {
        let memory = shared([bits; 2]);
        let lock: &BinarySemaphore = found_at(&memory[0]);
        let _ = (lock.try_acquire(), lock.release(), lock.release());
        assert!(lock.try_acquire() && lock.is_taken(), "{bits:#x}");
        memory_is(&memory[0], bits);
        let permits: &CountingSemaphore = found_at(&memory[0]);
        let _ = (permits.release(), permits.release_many(7), permits.try_acquire());
        let _ = (permits.bound(), permits.acquire_timeout(Duration::from_millis(3)));
    }
}

fn memory_is(word: &u64, bits: u64) {
    let word: &core::sync::atomic::AtomicU64 = found_at(word);
    word.store(bits, SeqCst);
}

/// # Safety
///
/// What is found has room in the mapping, which lives until the case ends, is aligned, and is right with any bytes.
#[expect(unsafe_code, reason = "found in memory, as in any mapping")]
fn found_at<'a, T>(word: &u64) -> &'a T {
    // SAFETY: see above.
    unsafe { &*core::ptr::from_ref(word).cast() }
}

fn the_greatest_bound_is_exact() {
    const MAX: u32 = CountingSemaphore::MAX;
    let permits = shared(CountingSemaphore::new(MAX - 2_000, MAX));
    // The gate says "maybe", as it does after any sleep.
    let given = shared(AtomicU32::new(0));
    let give = || {
        for _ in 0..1_000 {
            given.fetch_add(u32::from(permits.release().is_ok()), SeqCst);
        }
        0
    };
    assert_eq!(permits.release_many(2_001), Err(TooManyPermits));
    join((0..3).map(|_| fork_fn(give).expect("fork")).collect::<Vec<_>>());
    assert_eq!(given.load(SeqCst), 2_000);
    assert_eq!((permits.available(), permits.release()), (MAX, Err(TooManyPermits)));
}
