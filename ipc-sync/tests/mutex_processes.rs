//! `Mutex` between processes that are killed and forked. How owners are judged is in `mutex_owners.rs`.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from
//! there. The kills at every single instruction are in `stepkill.rs`; here are the situations around them.
//! The numbers are those of the catalogue in `docs/FAULTS.md`.
//!
//! # Safety
//!
//! A copy of a guard is dropped in a forked child alone. A lock that is made for a region lies in a mapping that is kept as
//! long as its guards.
#![expect(unsafe_code, reason = "a guard is copied; locks that the kernel is told of")]

mod world;

use core::mem::ManuallyDrop;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::identity::ProcessId;
use ipc_core::process::fork_fn;
use ipc_core::{Errno, baton};
use ipc_sync::{BoundedSemaphore, Deadline, LockError, Mutex, ReentrantMutex, RwLock};
use ipc_testkit::cases;
use ipc_testkit::shared::Shared;
use rustix::process::Signal;

use world::{World, kill, plain_world, world};

fn main() -> ExitCode {
    cases::run(&[
        ("counts_exactly_between_processes", counts_exactly),
        ("killed_holder_hands_over_at_once", killed_holder_hands_over_at_once),
        ("killed_holder_hands_over_within_a_slice", killed_holder_hands_over_within_a_slice),
        ("every_try_finds_a_dead_owner", every_try_finds_a_dead_owner),
        ("a_time_out_of_zero_finds_a_dead_owner", zero_finds_a_dead_owner),
        ("a_signal_ends_an_interruptible_lock", signal_ends_an_interruptible_lock),
        ("waiting_costs_no_processor_time", waiting_costs_no_processor_time),
        ("s01_signals_do_not_hide_a_death", s01_signals_do_not_hide_a_death),
        ("f07_threads_of_a_forked_child_have_their_own_batons", f07_threads_of_a_forked_child),
        ("f07_forked_child_leaves_the_kernel_no_address", f07_no_address_left),
        ("f07_guards_of_every_kind_in_any_order", guards_of_every_kind_in_any_order),
        ("f06_forked_copy_of_a_guard_releases_nothing", f06_forked_copy_of_a_guard),
        ("f06_forked_copy_leaves_the_childs_own_hold", f06_forked_copy_leaves_own_hold),
        ("forked_child_owns_nothing", forked_child_owns_nothing),
        ("crash_of_every_generation_is_told", crash_of_every_generation_is_told),
    ])
}

fn counts_exactly() {
    const TURNS: u64 = 50_000;
    let world = world();
    let count = || {
        (0..TURNS).for_each(|_| *world.lock.lock().expect("nobody dies") += 1);
        0
    };
    let children: Vec<_> = (0..4).map(|_| fork_fn(count).expect("fork")).collect();
    for mut child in children {
        assert!(child.wait().expect("wait").success());
    }
    assert_eq!(*world.lock.lock().expect("free"), 4 * TURNS);
}

/// Three waiters, asleep for so long that their slices are at their longest; then the time from the
/// reported death of the owner until one of them has the lock.
fn hand_over(world: &World) -> Duration {
    let holder = world.holder();
    let told = AtomicShared::new();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let wait = || {
                if let Err(LockError::Recovered(value)) = world.lock.lock() {
                    told.0.fetch_add(1, SeqCst);
                    drop(value.mark_consistent());
                }
                0
            };
            fork_fn(wait).expect("fork")
        })
        .collect();
    waiters.iter().for_each(|waiter| cases::events::await_sleep(waiter.id()));
    std::thread::sleep(Duration::from_millis(250));
    kill(holder);
    let began = Instant::now();
    while told.0.load(SeqCst) == 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "nobody was told");
        std::thread::yield_now();
    }
    let took = began.elapsed();
    for mut waiter in waiters {
        assert!(waiter.wait().expect("wait").success());
    }
    assert_eq!(told.0.load(SeqCst), 1, "told exactly once");
    took
}

struct AtomicShared(Shared<AtomicU32>);

impl AtomicShared {
    fn new() -> Self {
        Self(Shared::new(AtomicU32::new(0)).expect("a mapping"))
    }
}

fn killed_holder_hands_over_at_once() {
    let world = world();
    let mut times: Vec<_> = (0..11).map(|_| hand_over(&world)).collect();
    times.sort();
    println!("    from the reported death: median {:?}, worst {:?}", times[5], times[10]);
    assert!(times[5] < Duration::from_millis(10), "the baton did not arrive: {times:?}");
    assert!(times[10] < Duration::from_millis(200));
}

fn killed_holder_hands_over_within_a_slice() {
    let world = plain_world();
    let worst = (0..10).map(|_| hand_over(&world)).max().expect("ten times");
    println!("    from the reported death, without a baton: worst {worst:?}");
    assert!(worst < Duration::from_millis(200));
}

fn every_try_finds_a_dead_owner() {
    let world = world();
    let tries: [fn(&World) -> bool; 3] = [
        |world| matches!(world.lock.try_lock(), Err(LockError::Recovered(_))),
        |world| matches!(world.lock.lock(), Err(LockError::Recovered(_))),
        |world| {
            let timeout = Duration::from_millis(500);
            matches!(world.lock.lock_timeout(timeout), Err(LockError::Recovered(_)))
        },
    ];
    for attempt in tries {
        world.expect_free_after_break();
        kill(world.holder());
        assert!(attempt(&world));
    }
}

impl World {
    /// Leaves the lock free and consistent, whatever it was.
    fn expect_free_after_break(&self) {
        match self.lock.lock() {
            Ok(held) => drop(held),
            Err(LockError::Recovered(value)) => drop(value.mark_consistent()),
            Err(error) => panic!("{error}"),
        }
    }
}

fn zero_finds_a_dead_owner() {
    let world = world();
    kill(world.holder());
    assert!(matches!(world.lock.lock_timeout(Duration::ZERO), Err(LockError::Recovered(_))));
}

fn s01_signals_do_not_hide_a_death() {
    extern "C" fn nothing(_: i32) {}
    for world in [world(), plain_world()] {
        // Without SA_RESTART, and much more often than any slice ends.
        cases::signals::on_signal(Signal::ALARM.as_raw(), nothing as *const () as usize, 0);
        kill(world.holder());
        cases::signals::interrupt_every(400);
        let began = Instant::now();
        let result = world.lock.lock_timeout(Duration::from_secs(5));
        let took = began.elapsed();
        cases::signals::interrupt_every(0);
        assert!(matches!(result, Err(LockError::Recovered(_))), "{result:?} after {took:?}");
        assert!(took < Duration::from_millis(200), "{took:?}");
    }
}

fn signal_ends_an_interruptible_lock() {
    extern "C" fn nothing(_: i32) {}
    let world = world();
    let holder = world.holder();
    for flags in [0, cases::signals::SA_RESTART] {
        let alarm = Signal::ALARM.as_raw();
        cases::signals::on_signal(alarm, nothing as *const () as usize, flags);
        cases::signals::interrupt_every(2_000);
        let result = world.lock.lock_interruptible(Deadline::FAR);
        cases::signals::interrupt_every(0);
        assert!(matches!(result, Err(LockError::Os(Errno::INTR))), "{result:?}, flags {flags:#x}");
    }
    let soon = Deadline::after(Duration::from_millis(20));
    assert!(matches!(world.lock.lock_interruptible(soon), Err(LockError::TimedOut)));
    kill(holder);
    assert!(matches!(world.lock.lock_interruptible(Deadline::FAR), Err(LockError::Recovered(_))));
}

/// A waiter that outlasts its first looks must sleep in between, not run.
fn waiting_costs_no_processor_time() {
    let world = world();
    let holder = world.holder();
    let used = || {
        let clock = rustix::time::ClockId::ProcessCPUTime;
        let time = rustix::time::clock_gettime(clock);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let before = used();
    let timeout = Duration::from_millis(500);
    assert!(matches!(world.lock.lock_timeout(timeout), Err(LockError::TimedOut)));
    let used = used() - before;
    assert!(used < timeout / 20, "{used:?} of {timeout:?}");
    kill(holder);
}

/// The forking thread's record is its parent's, and free in the child; another thread there may
/// have it before the forking thread uses it again.
fn f07_threads_of_a_forked_child() {
    let (first, second) = (world(), world());
    let (first, second) = (&*first, &*second);
    drop(first.lock.lock().expect("a free lock"));
    for _ in 0..200 {
        let child = || {
            std::thread::scope(|scope| {
                let held = scope.spawn(|| drop(second.lock.lock().expect("a free lock")));
                for _ in 0..100 {
                    // Deadlock would be a lie, and a crash a dangling record.
                    drop(first.lock.lock().expect("nobody else takes it"));
                }
                held.join().expect("no panic");
                drop(first.lock.lock().expect("nobody else takes it"));
            });
            0
        };
        let status = fork_fn(child).expect("fork").wait().expect("wait");
        assert!(status.success(), "{status}");
    }
}

fn f07_no_address_left() {
    let world = world();
    let addresses = {
        let start = core::ptr::from_ref(&*world).addr();
        start..start + size_of::<World>()
    };
    let held = world.lock.lock().expect("a free lock");
    assert!(baton::is_armed_in(&addresses, ProcessId::current().expect("an identity")));
    let look = || {
        let me = ProcessId::current().expect("an identity");
        i32::from(baton::is_armed_in(&addresses, me) || baton::known_to_kernel().is_some())
    };
    let status = fork_fn(look).expect("fork").wait().expect("wait");
    assert!(status.success(), "the child's kernel has its parent's address");
    assert_eq!(baton::known_to_kernel().map(|at| addresses.contains(&at)), Some(true));
    drop(held);
    assert_eq!(baton::known_to_kernel(), None);
}

/// The closure owns the guard. So the parent has released the lock when `fork_fn` returns, and the child has a copy of
/// the guard beside one of its own.
fn f06_forked_copy_leaves_own_hold() {
    let world = world();
    let copy = world.lock.lock().expect("a free lock");
    let drop_copy = || {
        let copy = copy;
        let own = world.lock.lock().expect("the parent releases it");
        let me = ProcessId::current().ok();
        drop(copy);
        let still_held = world.lock.owner() == me;
        drop(own);
        i32::from(!still_held || world.lock.owner().is_some())
    };
    let mut child = fork_fn(drop_copy).expect("fork");
    assert!(child.wait().expect("wait").success(), "the copy released what the child holds");
}

fn f06_forked_copy_of_a_guard() {
    let world = world();
    let held = world.lock.lock().expect("a free lock");
    let me = ProcessId::current().expect("an identity");
    // SAFETY: the copy is dropped in the child alone, where it is nobody's guard.
    let copy = ManuallyDrop::new(unsafe { core::ptr::read(&held) });
    let drop_copy = || {
        drop(ManuallyDrop::into_inner(copy));
        let refused = matches!(world.lock.try_lock(), Err(LockError::WouldBlock));
        i32::from(!refused)
    };
    let mut child = fork_fn(drop_copy).expect("fork");
    assert!(child.wait().expect("wait").success(), "the child released its parent's lock");
    assert_eq!(world.lock.owner(), Some(me));
    drop(held);
    assert_eq!(world.lock.owner(), None);
}

fn forked_child_owns_nothing() {
    let world = world();
    let held = world.lock.lock().expect("a free lock");
    let parent = ProcessId::current().expect("an identity");
    let look = || {
        let me = ProcessId::current().expect("an identity");
        // The child has a new identity, and its parent's death is not its own.
        i32::from(me == parent || world.lock.owner() != Some(parent))
    };
    let mut child = fork_fn(look).expect("fork");
    assert!(child.wait().expect("wait").success());
    assert!(matches!(world.lock.lock(), Err(LockError::Deadlock)), "the parent still knows it");
    drop(held);
}

fn crash_of_every_generation_is_told() {
    let world = world();
    for generation in 0..200 {
        let crash = || {
            let told = match world.lock.lock() {
                Ok(held) => {
                    core::mem::forget(held);
                    false
                }
                Err(LockError::Recovered(value)) => {
                    core::mem::forget(value);
                    true
                }
                Err(error) => panic!("{error}"),
            };
            i32::from(told != (generation > 0))
        };
        let mut child = fork_fn(crash).expect("fork");
        assert!(child.wait().expect("wait").success(), "generation {generation}");
    }
    world.expect_recovered();
}

/// Whatever is dropped first: what the kernel would wake is a lock that is still held, and nothing in the end.
fn guards_of_every_kind_in_any_order() {
    /// One of each kind whose holder the kernel is told of.
    struct Locks(
        Mutex<u64>,
        ReentrantMutex<u64>,
        RwLock<u64, 2>,
        RwLock<u64, 2>,
        BoundedSemaphore<1>,
    );

    trait Held {}
    impl<T> Held for T {}

    type Guard<'a> = Option<Box<dyn Held + 'a>>;

    fn range<T>(lock: &T) -> Range<usize> {
        let start = core::ptr::from_ref(lock).addr();
        start..start + size_of::<T>()
    }

    // SAFETY: the mapping is kept until the case ends.
    let mutex = unsafe { Mutex::in_region(0) };
    // SAFETY: as above.
    let reentrant = unsafe { ReentrantMutex::in_region(0) };
    // SAFETY: as above.
    let [read, written] = [(); 2].map(|()| unsafe { RwLock::in_region(0) });
    // SAFETY: as above.
    let bounded = unsafe { BoundedSemaphore::in_region() };
    let locks = Shared::new(Locks(mutex, reentrant, read, written, bounded)).expect("a mapping");
    let Locks(mutex, reentrant, read, written, bounded) = &*locks;
    let me = ProcessId::current().expect("an identity");
    for order in 0..3125 {
        let mut guards: [(Range<usize>, Guard<'_>); 5] = [
            (range(mutex), Some(Box::new(mutex.lock().expect("free")))),
            (range(reentrant), Some(Box::new(reentrant.lock().expect("free")))),
            (range(read), Some(Box::new(read.read().expect("free")))),
            (range(written), Some(Box::new(written.write().expect("free")))),
            (range(bounded), Some(Box::new(bounded.acquire().expect("free")))),
        ];
        // Each of five, some of them twice or never; the rest at the end.
        let picks = [1, 5, 25, 125, 625].map(|power| order / power % 5);
        for pick in picks.into_iter().chain(0..5) {
            guards[pick].1 = None;
            for (range, guard) in &guards {
                assert_eq!(baton::is_armed_in(range, me), guard.is_some(), "{picks:?}");
            }
            let is_held = |at: usize| {
                guards.iter().any(|(range, guard)| guard.is_some() && range.contains(&at))
            };
            assert!(baton::known_to_kernel().is_none_or(is_held), "{picks:?}");
        }
        assert_eq!(baton::known_to_kernel(), None, "{picks:?}");
    }
}
