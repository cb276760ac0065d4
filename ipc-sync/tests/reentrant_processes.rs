//! `ReentrantMutex` between processes that are killed and forked.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from there. The kills at
//! every single instruction are in `stepkill_once.rs`.
//!
//! # Safety
//!
//! A lock that is made for a region lies in a mapping that is kept as long as any of its users.
#![expect(unsafe_code, reason = "locks that the kernel is told of, and copies of guards")]

mod waits;

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::futex;
use ipc_core::process::{Child, fork_fn};
use ipc_sync::{ProcessId, ReentrantLockError, ReentrantMutex, WaitError};
use ipc_testkit::cases;
use ipc_testkit::cases::seccomp::{refuse_waitv, refuse_wake_op};
use ipc_testkit::shared::Shared;
use waits::{ends_by_a_signal, join, keeps_time_outs, sleepers};

fn main() -> ExitCode {
    cases::run(&[
        ("counts_exactly_between_processes", counts_exactly),
        ("killed_holder_hands_over_at_depth_one", killed_holder_hands_over),
        ("every_form_finds_a_dead_owner", every_form_finds_a_dead_owner),
        ("forked_child_owns_nothing", forked_child_owns_nothing),
        ("forked_copies_of_guards_change_nothing", forked_copies_change_nothing),
        ("f06_forked_copies_leave_the_childs_own_holds", forked_copies_leave_own_holds),
        ("threads_of_processes_are_not_mixed_up", threads_are_not_mixed_up),
        ("ended_thread_keeps_the_lock", ended_thread_keeps_the_lock),
        ("crash_of_every_generation_is_told", crash_of_every_generation_is_told),
        ("time_outs_are_kept_under_signals", time_outs_are_kept_under_signals),
        ("a_signal_ends_an_interruptible_lock", a_signal_ends_an_interruptible_lock),
        ("a_sandbox_may_refuse_the_kernels_operations", sandbox),
    ])
}

/// What the processes of a case share.
struct World {
    lock: ReentrantMutex<u64>,
    stage: AtomicU32,
}

fn world() -> Shared<World> {
    // SAFETY: the mapping is kept until the case ends.
    let lock = unsafe { ReentrantMutex::in_region(0) };
    Shared::new(World { lock, stage: AtomicU32::new(0) }).expect("a mapping")
}

fn plain_world() -> Shared<World> {
    let lock = ReentrantMutex::new(0);
    Shared::new(World { lock, stage: AtomicU32::new(0) }).expect("a mapping")
}

impl World {
    /// A child that holds the lock three times; it does when this returns.
    fn holder(&self) -> Child {
        self.stage.store(0, SeqCst);
        let child = fork_fn(|| {
            let _held = [(); 3].map(|()| self.lock.lock().expect("a free lock"));
            self.stage.store(1, SeqCst);
            futex::wake(&self.stage, u32::MAX);
            loop {
                std::thread::park();
            }
        });
        while self.stage.load(SeqCst) == 0 {
            futex::wait(&self.stage, 0, None).expect("a readable word");
        }
        child.expect("fork")
    }

    /// Whether the lock was told of a death; it is repaired, and held once.
    fn accept(
        &self,
        locked: Result<ipc_sync::ReentrantMutexGuard<'_, u64>, ReentrantLockError<'_, u64>>,
    ) -> bool {
        match locked {
            Ok(_) => false,
            Err(ReentrantLockError::Recovered(mut value)) => {
                *value.exclusive().expect("it is held once") += 1;
                drop(value.mark_consistent());
                true
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn kill(mut child: Child) {
    child.kill().expect("a live child");
    child.wait().expect("a child of ours");
}

fn counts_exactly() {
    const TURNS: u64 = 20_000;
    let world = world();
    let count = || {
        for _ in 0..TURNS {
            let mut outer = world.lock.lock().expect("nobody dies");
            drop(world.lock.lock().expect("again"));
            *outer.exclusive().expect("the only guard") += 1;
        }
        0
    };
    join((0..4).map(|_| fork_fn(count).expect("fork")).collect::<Vec<_>>());
    assert_eq!(*world.lock.lock().expect("free"), 4 * TURNS);
}

fn killed_holder_hands_over() {
    for (world, limit) in [(world(), 10), (plain_world(), 200)] {
        let mut times: Vec<_> = (0..5)
            .map(|round| {
                let holder = world.holder();
                let lock = || {
                    world.accept(world.lock.lock());
                    Ok(())
                };
                let waiters = sleepers(3, lock);
                kill(holder);
                let began = Instant::now();
                join(waiters);
                let took = began.elapsed();
                assert_eq!(*world.lock.lock().expect("told already"), round + 1, "told once");
                took
            })
            .collect();
        times.sort();
        println!("    from the reported death: median {:?}, worst {:?}", times[2], times[4]);
        assert!(times[2] < Duration::from_millis(limit) && times[4] < Duration::from_millis(200));
    }
}

fn every_form_finds_a_dead_owner() {
    let world = world();
    let forms: [fn(&World) -> bool; 4] = [
        |world| world.accept(world.lock.lock()),
        |world| world.accept(world.lock.try_lock()),
        |world| world.accept(world.lock.lock_timeout(Duration::ZERO)),
        |world| world.accept(world.lock.lock_interruptible(ipc_sync::Deadline::FAR)),
    ];
    for form in forms {
        kill(world.holder());
        assert!(form(&world));
        assert!(!form(&world), "told once only");
    }
}

fn forked_child_owns_nothing() {
    let world = world();
    let held = [(); 2].map(|()| world.lock.lock().expect("a free lock"));
    let parent = ProcessId::current().expect("an identity");
    // The child's thread has the number of the one that forked it.
    let mut child = fork_fn(|| {
        let refused = matches!(world.lock.try_lock(), Err(ReentrantLockError::WouldBlock));
        let late = world.lock.lock_timeout(Duration::from_millis(5));
        let late = matches!(late, Err(ReentrantLockError::TimedOut));
        i32::from(!refused || !late || world.lock.owner() != Some(parent))
    })
    .expect("fork");
    assert!(child.wait().expect("a child of ours").success());
    assert!(world.lock.try_lock().is_ok(), "the parent goes on");
    drop(held);
    let mut child = fork_fn(|| i32::from(world.lock.try_lock().is_err())).expect("fork");
    assert!(child.wait().expect("a child of ours").success(), "it is free");
}

fn forked_copies_change_nothing() {
    let world = world();
    let mut outer = world.lock.lock().expect("a free lock");
    let inner = world.lock.lock().expect("again");
    let copies = [&outer, &inner].map(|guard| {
        // SAFETY: the copies are dropped in the child alone, where they are nobody's guards.
        ManuallyDrop::new(unsafe { core::ptr::read(guard) })
    });
    let drop_copies = || {
        for mut copy in copies.map(ManuallyDrop::into_inner) {
            assert!(copy.exclusive().is_none(), "it is not this process's");
            drop(copy);
        }
        i32::from(world.lock.try_lock().is_ok())
    };
    let mut child = fork_fn(drop_copies).expect("fork");
    assert!(
        child.wait().expect("a child of ours").success(),
        "the child released its parent's lock"
    );
    assert!(outer.exclusive().is_none(), "there are two guards still");
    drop(inner);
    assert!(outer.exclusive().is_some());
    drop(outer);
    assert_eq!(world.lock.owner(), None);
}

/// The closures own what they drop. So the parent has released the lock, and the child has copies beside what it holds.
fn forked_copies_leave_own_holds() {
    let world = world();
    let copy = world.lock.lock().expect("a free lock");
    let drop_copy = || {
        let copy = copy;
        let own = world.lock.lock().expect("the parent releases it");
        drop(copy);
        let still_held = world.lock.owner() == ProcessId::current().ok();
        drop(own);
        i32::from(!still_held || world.lock.owner().is_some())
    };
    let mut child = fork_fn(drop_copy).expect("fork");
    assert!(child.wait().expect("a child of ours").success(), "the copy released a hold");

    let mut held = world.lock.lock().expect("a free lock");
    let copy = held.exclusive().expect("the only guard");
    let drop_copy = || {
        let copy = copy;
        let mut own = world.lock.lock().expect("the parent releases it");
        let lent = own.exclusive().expect("the only guard");
        drop(copy);
        let second = world.lock.lock().is_ok();
        drop(lent);
        i32::from(second)
    };
    let mut child = fork_fn(drop_copy).expect("fork");
    drop(held);
    assert!(
        child.wait().expect("a child of ours").success(),
        "a value that was lent was lent again"
    );
}

/// Two threads in each of two processes, whose numbers are the same in both.
fn threads_are_not_mixed_up() {
    const TURNS: u64 = 5_000;
    let world = world();
    let process = || {
        let lock = &world.lock;
        let count = || {
            for turn in 0..TURNS {
                let Ok(mut outer) = lock.lock() else { return false };
                let inner = (turn % 2 == 0).then(|| lock.lock());
                drop(inner);
                let Some(mut value) = outer.exclusive() else { return false };
                *value += 1;
            }
            true
        };
        let counted = std::thread::scope(|scope| {
            let other = scope.spawn(count);
            count() && other.join().expect("no panic")
        });
        i32::from(!counted)
    };
    join((0..2).map(|_| fork_fn(process).expect("fork")).collect::<Vec<_>>());
    assert_eq!(*world.lock.lock().expect("free"), 4 * TURNS);
}

fn ended_thread_keeps_the_lock() {
    let world = world();
    let mut child = fork_fn(|| {
        let lock = &world.lock;
        std::thread::scope(|scope| {
            scope.spawn(|| core::mem::forget(lock.lock()));
        });
        // A later thread, and this one, are not the one that ended.
        let refused = || matches!(lock.try_lock(), Err(ReentrantLockError::WouldBlock));
        let later = std::thread::scope(|scope| scope.spawn(refused).join().expect("no panic"));
        i32::from(!later || !refused())
    })
    .expect("fork");
    assert!(child.wait().expect("a child of ours").success());
    assert!(world.accept(world.lock.lock()), "now the process has ended");
}

fn crash_of_every_generation_is_told() {
    let world = world();
    for generation in 0..100 {
        let crash = || {
            let told = match world.lock.lock() {
                Ok(held) => {
                    core::mem::forget(held);
                    false
                }
                Err(error) => {
                    core::mem::forget(error);
                    true
                }
            };
            core::mem::forget(world.lock.lock());
            i32::from(told != (generation > 0))
        };
        let mut child = fork_fn(crash).expect("fork");
        assert!(child.wait().expect("a child of ours").success(), "generation {generation}");
    }
    assert!(world.accept(world.lock.lock()));
    assert!(!world.accept(world.lock.lock()), "told once only");
}

/// For `waits`.
fn as_wait(locked: Result<impl Sized, ReentrantLockError<'_, u64>>) -> Result<(), WaitError> {
    match locked {
        Ok(_) => Ok(()),
        Err(ReentrantLockError::TimedOut) => Err(WaitError::TimedOut),
        Err(ReentrantLockError::Os(errno)) => Err(WaitError::Os(errno)),
        Err(other) => panic!("{other}"),
    }
}

fn time_outs_are_kept_under_signals() {
    let world = world();
    let holder = world.holder();
    keeps_time_outs(|timeout| as_wait(world.lock.lock_timeout(timeout)));
    kill(holder);
}

fn a_signal_ends_an_interruptible_lock() {
    let world = world();
    let holder = world.holder();
    ends_by_a_signal(|deadline| as_wait(world.lock.lock_interruptible(deadline)));
    kill(holder);
}

fn sandbox() {
    for refuse in [refuse_wake_op, refuse_waitv] {
        let mut child = fork_fn(|| {
            refuse();
            let world = plain_world();
            for round in 1..=5 {
                let holder = world.holder();
                let lock = || {
                    world.accept(world.lock.lock());
                    Ok(())
                };
                let waiters = sleepers(3, lock);
                kill(holder);
                join(waiters);
                assert_eq!(*world.lock.lock().expect("told already"), round);
            }
            0
        })
        .expect("fork");
        assert!(child.wait().expect("a child of ours").success());
    }
}
