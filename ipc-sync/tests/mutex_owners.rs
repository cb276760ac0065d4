//! Whose death a `Mutex` believes: owners that are stopped, unreaped, of
//! another namespace, gone with their pid in use again; threads that end and programs that are executed.
//!
//! Each case runs in a process of its own with one thread (see `ipc_testkit::cases`) and forks from
//! there. The numbers are those of the catalogue in `docs/FAULTS.md`.
#![expect(unsafe_code, reason = "namespaces; a lock is taken away from who is known to be dead")]

mod world;

use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{Child, ExitStatus, fork_fn};
use ipc_sync::LockError;
use ipc_testkit::cases::{self, doing, pids};
use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use world::{World, kill, plain_world, world};

fn main() -> ExitCode {
    cases::run(&[
        ("k21_zombie_owner_is_dead", k21_zombie_owner_is_dead),
        ("k24_stopped_owner_is_alive", k24_stopped_owner_is_alive),
        ("k22_ended_thread_keeps_the_lock", k22_ended_thread_keeps_the_lock),
        ("k16_exec_keeps_the_lock", k16_exec_keeps_the_lock),
        ("k23_no_steal_between_pid_namespaces", k23_no_steal_between_pid_namespaces),
        ("k23_time_namespaces_change_nothing", k23_time_namespaces),
        ("k20_pid_in_use_again_is_somebody_else", pid_in_use_again),
    ])
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
    // Ten seconds, if the environment asks for it by `IPC_CYCLES=deep`.
    let deep = std::env::var_os("IPC_CYCLES").is_some_and(|how| how == "deep");
    for _ in 0..if deep { 40 } else { 3 } {
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

/// The holder has another idea of the time since the start of the machine, from which some take who a process is.
fn k23_time_namespaces() {
    for waiter_is_inside in [false, true] {
        let world = plain_world();
        let world: &World = &world;
        let hold = || {
            let _held = world.lock.lock().expect("a free lock");
            world.reach(1);
            world.await_stage(9);
            0
        };
        let wait = || {
            world.await_stage(1);
            let (timeout, began) = (Duration::from_millis(250), Instant::now());
            assert!(matches!(world.lock.lock_timeout(timeout), Err(LockError::TimedOut)));
            assert!((timeout..timeout * 4).contains(&began.elapsed()), "{:?}", began.elapsed());
            assert!(matches!(world.lock.try_lock(), Err(LockError::WouldBlock)));
            world.reach(2);
            // Now it dies.
            matches!(world.lock.lock(), Err(LockError::Recovered(_))).into()
        };
        let (inside, outside): (&dyn Fn() -> i32, &dyn Fn() -> i32) =
            if waiter_is_inside { (&wait, &hold) } else { (&hold, &wait) };
        let mut shifted = shifted(inside);
        let mut plain = fork_fn(outside).expect("fork");
        let (holder, waiter) =
            if waiter_is_inside { (&mut plain, &mut shifted) } else { (&mut shifted, &mut plain) };
        world.await_stage(2);
        holder.kill().expect("a live child");
        assert_eq!(waiter.wait(), Ok(ExitStatus::Exited(1)), "{waiter_is_inside}");
        assert!(!holder.wait().expect("wait").success());
    }
}

/// A child for which the machine has been up for eleven days more.
fn shifted(run: &dyn Fn() -> i32) -> Child {
    // SAFETY: a new time namespace for children; nothing of this process changes.
    match unsafe { unshare_unsafe(UnshareFlags::NEWTIME) } {
        Ok(()) => {}
        Err(Errno::PERM) => cases::skip("unshare(CLONE_NEWTIME) is not permitted"),
        Err(errno) => panic!("unshare: {errno}"),
    }
    // While the namespace has no process yet.
    let offsets = "monotonic 1000000 0\nboottime 1000000 0\n";
    std::fs::write("/proc/self/timens_offsets", offsets).expect("the offsets");
    let child = fork_fn(run).expect("fork");
    let ours = std::fs::read_link("/proc/self/ns/time").expect("/proc");
    let theirs = format!("/proc/{}/ns/time", child.id().as_raw_nonzero());
    assert_ne!(std::fs::read_link(theirs).expect("/proc"), ours);
    // Later children are of this namespace again.
    let own = std::fs::File::open("/proc/self/ns/time").expect("/proc");
    rustix::thread::move_into_link_name_space(
        std::os::fd::AsFd::as_fd(&own),
        Some(rustix::thread::LinkNameSpaceType::Time),
    )
    .expect("back");
    child
}

/// Within one tick of the clock, from which some take who a process is.
fn pid_in_use_again() {
    let mut recycled = 0;
    for round in 0..20 {
        let world = world();
        let holder = world.holder();
        let (pid, owner) = (holder.id(), world.lock.owner());
        kill(holder);
        let stranger = match pids::sleeper_with_pid(pid) {
            pids::Sleeper::Sleeps(stranger) => stranger,
            pids::Sleeper::NotPermitted => cases::skip("clone3(set_tid) needs CAP_SYS_ADMIN"),
            pids::Sleeper::Taken => continue,
        };
        recycled += 1;
        assert_eq!(world.lock.owner(), owner, "it died with the lock");
        doing("locking what a dead process held whose pid lives");
        world.expect_recovered();
        rustix::process::kill_process(stranger, Signal::KILL).expect("kill");
        let reaped =
            rustix::process::waitpid(Some(stranger), rustix::process::WaitOptions::empty());
        assert!(reaped.is_ok(), "round {round}");
    }
    assert!(recycled >= 10, "others took the pid in all but {recycled} rounds");
}
