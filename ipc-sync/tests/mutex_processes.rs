//! `Mutex` between processes that are killed, stopped, forked and put into other pid namespaces.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from
//! there. The kills at every single instruction are in `stepkill.rs`; here are the situations around them.
//! The numbers are those of the catalogue in `docs/FAULTS.md`.
//!
//! # Safety
//!
//! A lock that is made for a region lies in a mapping that is kept as long as any of its users.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::identity::ProcessId;
use ipc_core::process::{Child, fork_fn};
use ipc_core::{Errno, baton, futex};
use ipc_sync::{Deadline, LockError, Mutex};
use ipc_testkit::cases::{self, doing};
use ipc_testkit::shared::Shared;
use rustix::process::Signal;

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
        ("k21_zombie_owner_is_dead", k21_zombie_owner_is_dead),
        ("k24_stopped_owner_is_alive", k24_stopped_owner_is_alive),
        ("k22_ended_thread_keeps_the_lock", k22_ended_thread_keeps_the_lock),
        ("k16_exec_keeps_the_lock", k16_exec_keeps_the_lock),
        ("f06_forked_copy_of_a_guard_releases_nothing", f06_forked_copy_of_a_guard),
        ("forked_child_owns_nothing", forked_child_owns_nothing),
        ("k23_no_steal_between_pid_namespaces", k23_no_steal_between_pid_namespaces),
        ("crash_of_every_generation_is_told", crash_of_every_generation_is_told),
    ])
}

/// What the processes of a case share.
struct World {
    lock: Mutex<u64>,
    stage: AtomicU32,
}

fn world() -> Shared<World> {
    // SAFETY: the mapping is kept until the case ends.
    let lock = unsafe { Mutex::in_region(0) };
    Shared::new(World { lock, stage: AtomicU32::new(0) }).expect("a mapping")
}

/// The same with a lock that the kernel is not told of.
fn plain_world() -> Shared<World> {
    Shared::new(World { lock: Mutex::new(0), stage: AtomicU32::new(0) }).expect("a mapping")
}

impl World {
    fn reach(&self, stage: u32) {
        self.stage.store(stage, SeqCst);
        futex::wake(&self.stage, u32::MAX);
    }

    fn await_stage(&self, stage: u32) {
        loop {
            let now = self.stage.load(SeqCst);
            if now >= stage {
                return;
            }
            futex::wait(&self.stage, now, None).expect("a readable word");
        }
    }

    /// A child that holds the lock and does nothing more; it has it when this returns.
    fn holder(&self) -> Child {
        self.stage.store(0, SeqCst);
        let child = fork_fn(|| {
            let _held = self.lock.lock().expect("a free lock");
            self.reach(1);
            self.await_stage(9);
            0
        });
        self.await_stage(1);
        child.expect("fork")
    }

    fn expect_recovered(&self) {
        match self.lock.lock() {
            Err(LockError::Recovered(value)) => drop(value.mark_consistent()),
            other => panic!("not told of the death: {other:?}"),
        }
        drop(self.lock.lock().expect("told once only"));
    }
}

fn kill(mut child: Child) {
    child.kill().expect("a live child");
    child.wait().expect("a child of ours");
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

fn k21_zombie_owner_is_dead() {
    let world = world();
    let mut holder = world.holder();
    holder.kill().expect("a live child");
    cases::events::await_exit(&holder);
    // Dead and not reaped: its pid still exists.
    world.expect_recovered();
    holder.wait().expect("a child of ours");
}

fn k24_stopped_owner_is_alive() {
    let world = world();
    let mut holder = world.holder();
    holder.signal(Signal::STOP).expect("a live child");
    for _ in 0..3 {
        // Longer than the longest slice, so that the owner was looked at.
        let timeout = Duration::from_millis(250);
        assert!(matches!(world.lock.lock_timeout(timeout), Err(LockError::TimedOut)));
        assert!(matches!(world.lock.try_lock(), Err(LockError::WouldBlock)));
    }
    holder.signal(Signal::CONT).expect("a live child");
    world.reach(9);
    assert!(holder.wait().expect("wait").success());
    drop(world.lock.lock().expect("released by its owner"));
}

fn k22_ended_thread_keeps_the_lock() {
    let world = world();
    let world = &*world;
    let hold_in_a_thread = || {
        std::thread::scope(|scope| {
            scope.spawn(|| core::mem::forget(world.lock.lock().expect("a free lock")));
        });
        world.reach(1);
        world.await_stage(9);
        0
    };
    let holder = fork_fn(hold_in_a_thread).expect("fork");
    world.await_stage(1);
    assert!(matches!(
        world.lock.lock_timeout(Duration::from_millis(150)),
        Err(LockError::TimedOut)
    ));
    kill(holder);
    world.expect_recovered();
}

fn k16_exec_keeps_the_lock() {
    use std::os::unix::process::CommandExt;

    let world = world();
    let hold_and_exec = || {
        core::mem::forget(world.lock.lock().expect("a free lock"));
        world.reach(1);
        let error = std::process::Command::new("/bin/sleep").arg("100").exec();
        panic!("exec: {error}");
    };
    let holder = fork_fn(hold_and_exec).expect("fork");
    world.await_stage(1);
    cases::events::await_program(holder.id(), "sleep");
    assert!(matches!(
        world.lock.lock_timeout(Duration::from_millis(150)),
        Err(LockError::TimedOut)
    ));
    kill(holder);
    world.expect_recovered();
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

fn k23_no_steal_between_pid_namespaces() {
    let world = world();
    let outer = || {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let inner = fork_fn(|| {
            core::mem::forget(world.lock.lock().expect("a free lock"));
            // As pid 1 of a namespace this is somebody quite different in the outer one.
            i32::from(std::process::id() != 1)
        });
        i32::from(!inner.expect("fork").wait().expect("wait").success())
    };
    // Somebody of this namespace uses the lock first.
    drop(world.lock.lock().expect("a free lock"));
    let mut outer = fork_fn(outer).expect("fork");
    match outer.wait().expect("wait").code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0)),
    }
    // The owner is dead, but nobody here can know it.
    doing("locking what a dead process of another namespace holds");
    assert_eq!(world.lock.owner().map(|owner| owner.pid().as_raw_nonzero().get()), Some(1));
    let timeout = Duration::from_millis(250);
    assert!(matches!(world.lock.lock_timeout(timeout), Err(LockError::TimedOut)));
    assert!(matches!(world.lock.try_lock(), Err(LockError::WouldBlock)));
    // SAFETY: we made sure ourselves that the owner is dead.
    unsafe { world.lock.break_lock() };
    world.expect_recovered();
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
