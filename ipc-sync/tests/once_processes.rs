//! `Once` and `OnceLock` between processes that are killed, forked, and put into other pid namespaces.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill_once.rs`.
//!
//! # Safety
//!
//! What is made for a region lies in a mapping that is kept as long as any of its users.
#![expect(unsafe_code, reason = "locks that the kernel is told of")]

mod waits;

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::process::{Child, fork_fn};
use ipc_core::{Errno, futex};
use ipc_sync::{Deadline, Once, OnceError, OnceLock, WaitError};
use ipc_testkit::cases::seccomp::{die_of_wake, refuse_waitv, refuse_wake_op};
use ipc_testkit::cases::{self, doing};
use ipc_testkit::shared::Shared;
use waits::{ends_by_a_signal, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("one_of_many_does_it", one_of_many_does_it),
        ("killed_runner_is_followed_at_once", killed_runner_is_followed_at_once),
        ("killed_runner_is_followed_within_a_slice", killed_runner_is_followed_within_a_slice),
        ("every_form_finds_a_dead_runner", every_form_finds_a_dead_runner),
        ("every_death_is_told", every_death_is_told),
        ("three_race_and_any_may_be_killed", three_race_and_any_may_be_killed),
        ("what_is_done_stays_done", what_is_done_stays_done),
        ("who_waits_outlives_a_runner", who_waits_outlives_a_runner),
        ("forked_child_of_the_runner_completes_nothing", forked_child_of_the_runner),
        ("forked_child_of_the_runner_writes_nothing", forked_child_writes_nothing),
        ("no_steal_between_pid_namespaces", no_steal_between_pid_namespaces),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_signal_ends_an_interruptible_call", a_signal_ends_an_interruptible_call),
        ("a_sandbox_may_refuse_the_kernels_operations", sandbox),
        ("waiters_outlive_a_runner_that_dies_in_a_sandbox", runner_dies_in_a_sandbox),
    ])
}

/// What the processes of a case share.
struct World {
    once: Once,
    /// How often somebody began to do it, and was told of a death.
    runs: AtomicU32,
    told: AtomicU32,
    stage: AtomicU32,
}

fn world() -> Shared<World> {
    // SAFETY: the mapping is kept until the case ends.
    world_of(unsafe { Once::in_region() })
}

/// The same with one that the kernel is not told of.
fn plain_world() -> Shared<World> {
    world_of(Once::new())
}

fn world_of(once: Once) -> Shared<World> {
    let zero = || AtomicU32::new(0);
    let world = World { once, runs: zero(), told: zero(), stage: zero() };
    Shared::new(world).expect("a mapping")
}

impl World {
    fn note(&self, state: &ipc_sync::OnceState) {
        self.runs.fetch_add(1, SeqCst);
        self.told.fetch_add(state.previous_died().into(), SeqCst);
    }

    fn call(&self) -> Result<(), OnceError> {
        self.once.call_once(|state| self.note(state))
    }

    /// A child that is doing it, and does not come to its end.
    fn runner(&self) -> Child {
        self.stage.store(0, SeqCst);
        let child = fork_fn(|| {
            let called = self.once.call_once(|_| {
                self.stage.store(1, SeqCst);
                futex::wake(&self.stage, u32::MAX);
                loop {
                    std::thread::park();
                }
            });
            called.map_or(1, |()| 0)
        });
        while self.stage.load(SeqCst) == 0 {
            futex::wait(&self.stage, 0, None).expect("a readable word");
        }
        child.expect("fork")
    }
}

/// Of those who wait the error is a time-out, for `sleepers`.
fn as_wait(called: Result<(), OnceError>) -> Result<(), WaitError> {
    called.map_err(|error| match error {
        OnceError::TimedOut => WaitError::TimedOut,
        OnceError::Os(errno) => WaitError::Os(errno),
        other => panic!("{other}"),
    })
}

fn kill(mut child: Child) {
    child.kill().expect("a live child");
    child.wait().expect("a child of ours");
}

fn one_of_many_does_it() {
    for _ in 0..50 {
        let world = world();
        let call = || i32::from(world.call().is_err() || world.runs.load(SeqCst) != 1);
        join((0..4).map(|_| fork_fn(call).expect("fork")).collect::<Vec<_>>());
        assert_eq!((world.runs.load(SeqCst), world.told.load(SeqCst)), (1, 0));
    }
}

/// Three callers asleep behind a runner; the time from its reported death until it is done.
fn follow(world: &World) -> Duration {
    let runner = world.runner();
    let callers = sleepers(3, || as_wait(world.call()));
    kill(runner);
    let began = Instant::now();
    world.once.wait().expect("a wait");
    let took = began.elapsed();
    join(callers);
    assert_eq!((world.runs.load(SeqCst), world.told.load(SeqCst)), (1, 1));
    took
}

fn killed_runner_is_followed_at_once() {
    let mut times: Vec<_> = (0..11).map(|_| follow(&world())).collect();
    times.sort();
    println!("    from the reported death: median {:?}, worst {:?}", times[5], times[10]);
    assert!(times[5] < Duration::from_millis(10), "the baton did not arrive: {times:?}");
    assert!(times[10] < Duration::from_millis(200));
}

fn killed_runner_is_followed_within_a_slice() {
    let worst = (0..10).map(|_| follow(&plain_world())).max().expect("ten times");
    println!("    from the reported death, without a baton: worst {worst:?}");
    assert!(worst < Duration::from_millis(200));
}

fn every_form_finds_a_dead_runner() {
    type Form = fn(&World) -> Result<(), OnceError>;
    let forms: [Form; 5] = [
        World::call,
        |world| world.once.try_call_once(|state| world.note(state)),
        |world| world.once.call_once_timeout(Duration::ZERO, |state| world.note(state)),
        |world| world.once.call_once_deadline(Deadline::now(), |state| world.note(state)),
        |world| world.once.call_once_interruptible(Deadline::FAR, |state| world.note(state)),
    ];
    for form in forms {
        let world = world();
        kill(world.runner());
        assert_eq!(form(&world), Ok(()));
        assert_eq!((world.runs.load(SeqCst), world.told.load(SeqCst)), (1, 1));
    }
}

fn every_death_is_told() {
    let world = world();
    for generation in 0..100 {
        let die = || {
            let called = world.once.call_once(|state| {
                world.note(state);
                std::process::abort();
            });
            called.map_or(1, |()| 0)
        };
        let mut child = fork_fn(die).expect("fork");
        assert!(!child.wait().expect("a child of ours").success());
        assert_eq!(world.told.load(SeqCst), generation);
    }
    assert_eq!(world.call(), Ok(()));
    assert_eq!((world.runs.load(SeqCst), world.told.load(SeqCst)), (101, 100));
}

/// Each is killed after a time of its own, from before it calls until after it has returned.
fn three_race_and_any_may_be_killed() {
    for round in 0..100_u32 {
        let world = world();
        let call = || {
            let called = world.once.call_once(|state| {
                world.note(state);
                (0..200).for_each(|_| std::thread::yield_now());
            });
            called.map_or(1, |()| 0)
        };
        let mut children = [(); 3].map(|()| fork_fn(call).expect("fork"));
        let victim = &mut children[round as usize % 3];
        (0..round * 5).for_each(|_| std::thread::yield_now());
        // It may have ended.
        let _ = victim.kill();
        for child in &mut children {
            child.wait().expect("a child of ours");
        }
        assert_eq!(world.call(), Ok(()));
        let (runs, told) = (world.runs.load(SeqCst), world.told.load(SeqCst));
        assert!(
            (1..=2).contains(&runs) && told <= 1 && runs <= 1 + told,
            "{runs} runs, {told} told"
        );
    }
}

fn what_is_done_stays_done() {
    let world = world();
    assert_eq!(world.call(), Ok(()));
    let call = || {
        let called = world.once.call_once(|_| unreachable!());
        std::process::exit(called.map_or(1, |()| 0))
    };
    join((0..3).map(|_| fork_fn(call).expect("fork")).collect::<Vec<_>>());
    // SAFETY: nobody is doing it.
    unsafe { world.once.break_lock() };
    assert_eq!(world.once.try_call_once(|_| unreachable!()), Ok(()));
    assert_eq!(world.runs.load(SeqCst), 1);
}

/// Those who only wait sleep on, and a caller among them is not kept from his wake-up.
fn who_waits_outlives_a_runner() {
    let world = world();
    let runner = world.runner();
    let mut waiting = sleepers(3, || world.once.wait());
    let caller = sleepers(1, || as_wait(world.call()));
    waiting.extend(sleepers(1, || world.once.wait()));
    kill(runner);
    join(caller);
    join(waiting);
    assert_eq!((world.runs.load(SeqCst), world.told.load(SeqCst)), (1, 1));
}

/// The child comes out of the function, too.
fn forked_child_of_the_runner() {
    let world = world();
    let mut is_child = false;
    let called = world.once.call_once(|state| {
        world.note(state);
        // SAFETY: this process has one thread.
        match unsafe { ipc_core::process::fork() }.expect("fork") {
            ipc_core::process::Fork::Child => is_child = true,
            ipc_core::process::Fork::Parent(mut it) => {
                assert!(it.wait().expect("a child of ours").success());
            }
        }
        if is_child {
            assert_eq!(world.once.try_call_once(|_| {}), Err(OnceError::WouldBlock));
        }
    });
    if is_child {
        let completed = world.once.is_completed();
        std::process::exit(i32::from(called != Err(OnceError::NotRunner) || completed));
    }
    assert_eq!(called, Ok(()));
    assert_eq!((world.runs.load(SeqCst), world.once.is_completed()), (1, true));
}

fn forked_child_writes_nothing() {
    let lock = Shared::new(OnceLock::<u64>::new()).expect("a mapping");
    let mut is_child = false;
    let made = lock.get_or_init(|| {
        // SAFETY: this process has one thread.
        match unsafe { ipc_core::process::fork() }.expect("fork") {
            ipc_core::process::Fork::Child => is_child = true,
            ipc_core::process::Fork::Parent(mut it) => {
                assert!(it.wait().expect("a child of ours").success());
            }
        }
        if is_child { 8 } else { 7 }
    });
    if is_child {
        std::process::exit(i32::from(made != Err(OnceError::NotRunner) || lock.get().is_some()));
    }
    assert_eq!(made, Ok(&7));
}

fn no_steal_between_pid_namespaces() {
    let world = world();
    let outer = || {
        // SAFETY: a new pid namespace for children; nothing of this process changes.
        match unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) } {
            Ok(()) => {}
            Err(Errno::PERM) => return 77,
            Err(errno) => panic!("unshare: {errno}"),
        }
        let inner = fork_fn(|| {
            let _ = world.once.call_once(|_| std::process::exit(3));
            0
        });
        i32::from(inner.expect("fork").wait().expect("wait").code() != Some(3))
    };
    // Somebody of this namespace is there first.
    let failed = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
        world.once.call_once(|_| std::panic::resume_unwind(Box::new("on purpose")))
    }));
    assert!(failed.is_err());
    let mut outer = fork_fn(outer).expect("fork");
    match outer.wait().expect("wait").code() {
        Some(77) => cases::skip("unshare(CLONE_NEWPID) is not permitted"),
        code => assert_eq!(code, Some(0)),
    }
    doing("calling where a dead process of another namespace is the runner");
    let timeout = Duration::from_millis(250);
    assert_eq!(world.once.call_once_timeout(timeout, |_| {}), Err(OnceError::TimedOut));
    // SAFETY: we made sure ourselves that the runner is dead.
    unsafe { world.once.break_lock() };
    assert_eq!(world.call(), Ok(()));
    assert_eq!(world.told.load(SeqCst), 1);
}

fn time_outs_are_kept_under_signals() {
    let world = world();
    keeps_time_outs(|timeout| world.once.wait_timeout(timeout));
    let runner = world.runner();
    keeps_time_outs(|timeout| as_wait(world.once.call_once_timeout(timeout, |_| {})));
    kill(runner);
}

fn a_signal_ends_an_interruptible_call() {
    let world = world();
    ends_by_a_signal(|deadline| world.once.wait_interruptible(deadline));
    let runner = world.runner();
    ends_by_a_signal(|deadline| as_wait(world.once.call_once_interruptible(deadline, |_| {})));
    kill(runner);
}

fn sandbox() {
    for refuse in [refuse_wake_op, refuse_waitv] {
        let mut child = fork_fn(|| {
            refuse();
            for _ in 0..10 {
                let world = plain_world();
                let waiting = sleepers(2, || world.once.wait());
                let runner = world.runner();
                let callers = sleepers(2, || as_wait(world.call()));
                kill(runner);
                join(callers);
                join(waiting);
                assert_eq!((world.runs.load(SeqCst), world.told.load(SeqCst)), (1, 1));
            }
            0
        })
        .expect("fork");
        assert!(child.wait().expect("a child of ours").success());
    }
}

/// Without the kernel's operation it is done first and said second; the runner is killed between the two.
fn runner_dies_in_a_sandbox() {
    let world = world();
    let waiting = sleepers(1, || world.once.wait());
    let mut runner = fork_fn(|| {
        refuse_wake_op();
        die_of_wake();
        world.call().map_or(1, |()| 0)
    })
    .expect("fork");
    assert!(!runner.wait().expect("a child of ours").success(), "it was to be killed");
    join(waiting);
    assert_eq!(world.once.call_once(|_| unreachable!()), Ok(()));
}
