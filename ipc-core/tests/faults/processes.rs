//! Forking, waiting and signals; identities; sleeping.
//!
//! # Safety
//!
//! A process with one thread forks a child that does nothing but end. The gate that is armed is a static.
#![expect(unsafe_code, reason = "fork, and a gate that the kernel is told of")]

use core::ptr;
use core::sync::atomic::AtomicU32;
use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::futex::{self, Entry, Wake};
use ipc_core::identity::{Identity, Liveness, ProcessId};
use ipc_core::process::{Child, ExitStatus, Fork, Signal, Spawn, fork, fork_fn};
use ipc_core::{Errno, baton};
use ipc_testkit::faults::{Case, Suite, Trouble, check};
use rustix::io::retry_on_intr;

/// Longer than any attempt.
const LONG: Duration = Duration::from_secs(3600);

pub(crate) fn all(suite: &mut Suite) {
    suite.everywhere(&Case::new("fork", |me| {
        // SAFETY: see the head of this file.
        let child = me.operation(|| match unsafe { fork() } {
            // SAFETY: `_exit` runs no code of this program.
            Ok(Fork::Child) => unsafe { libc::_exit(7) },
            Ok(Fork::Parent(child)) => Ok(child),
            Err(errno) => Err(errno),
        })?;
        expect(child, ExitStatus::Exited(7))
    }));
    suite.everywhere(&Case::new("fork_fn", |me| {
        let child = me.operation(|| fork_fn(|| 7))?;
        expect(child, ExitStatus::Exited(7))
    }));
    suite.everywhere(&Case::new("fork_fn and Child::wait", |me| {
        let status = me.operation(|| {
            let mut child = fork_fn(|| 7)?;
            Ok::<_, Box<dyn core::error::Error>>(child.wait()?)
        })?;
        check(status == ExitStatus::Exited(7), status)
    }));
    waiting(suite);
    groups(suite);
    suite.everywhere(&Case::new("ProcessId::current", |me| {
        let id = me.operation(ProcessId::current)?;
        check(id == ProcessId::current()?, "another identity")
    }));
    suite.everywhere(&Case::new("Identity::current", |me| {
        let me_then = me.operation(Identity::current)?;
        check(me_then == Identity::current()?, "another identity")
    }));
    suite.everywhere(&Case::new("baton::arm", |me| {
        static GATE: AtomicU32 = AtomicU32::new(0);
        let id = ProcessId::current()?;
        // SAFETY: a static is there for ever, and this one stays 0.
        let armed = me.infallible(|| unsafe { baton::arm(&GATE, id) });
        let expected = if armed { Some(ptr::from_ref(&GATE).addr()) } else { None };
        check(baton::known_to_kernel() == expected, "the kernel knows something else")?;
        baton::disarm(&GATE, id);
        // What cannot be had is no error: the baton is an accelerator.
        check(armed || baton::armed_times(&GATE, id) == 0, "not armed, and yet in the list")
    }));
    suite.everywhere(&Case::new("liveness of a live process", |me| {
        let id = ProcessId::current()?;
        let found = me.infallible(|| id.liveness());
        check(found != Liveness::Dead, "it lives")
    }));
    suite.everywhere(&Case::new("liveness of a dead process", |me| {
        let dead = dead_process()?;
        let found = me.infallible(|| dead.liveness());
        check(found != Liveness::Alive, "it is dead")
    }));
    suite.everywhere(&Case::new("futex::wait until a deadline", |me| {
        let word = AtomicU32::new(1);
        let until = Deadline::after(Duration::from_millis(2));
        me.operation(|| sleep(until, || futex::wait(&word, 1, Some(until))))
    }));
    suite.everywhere(&Case::new("futex::wait_any until a deadline", |me| {
        let words = [AtomicU32::new(1), AtomicU32::new(2)];
        let entries = [Entry::new(&words[0], 1), Entry::new(&words[1], 2)];
        let until = Deadline::after(Duration::from_millis(2));
        me.operation(|| sleep(until, || futex::wait_any(&entries, Some(until))))
    }));
    suite.everywhere(&Case::new("futex::wait_any_interruptible until a deadline", |me| {
        let words = [AtomicU32::new(1), AtomicU32::new(2)];
        let entries = [Entry::new(&words[0], 1), Entry::new(&words[1], 2)];
        let until = Deadline::after(Duration::from_millis(2));
        let wait = || futex::wait_any_interruptible(&entries, Some(until));
        me.operation(|| sleep(until, wait))
    }));
}

/// Sleeps in turns, as whoever waits for a condition does.
fn sleep(until: Deadline, turn: impl Fn() -> Result<Wake, Errno>) -> Result<(), Errno> {
    while turn()? != Wake::TimedOut {
        if until.has_passed() {
            break;
        }
    }
    Ok(())
}

fn waiting(suite: &mut Suite) {
    suite.everywhere(&Case::new("Child::wait", |me| {
        let mut child = fork_fn(|| 7)?;
        let status = settle(&mut child, |child| me.operation(|| child.wait()))?;
        check(status == ExitStatus::Exited(7), status)
    }));
    suite.everywhere(&Case::new("Child::wait_timeout, ended", |me| {
        let mut child = fork_fn(|| 7)?;
        let status = settle(&mut child, |child| me.operation(|| child.wait_timeout(LONG)))?;
        check(status == Some(ExitStatus::Exited(7)), format_args!("{status:?}"))
    }));
    suite.everywhere(&Case::new("Child::wait_interruptible", |me| {
        let mut child = fork_fn(|| 7)?;
        let status = settle(&mut child, |child| {
            // What a signal has ended is asked again.
            me.operation(|| retry_on_intr(|| child.wait_interruptible(Deadline::FAR)))
        })?;
        check(status == Some(ExitStatus::Exited(7)), format_args!("{status:?}"))
    }));
    suite.everywhere(&Case::new("Child::wait_timeout, running", |me| {
        let mut child = sleeper()?;
        let short = Duration::from_millis(1);
        let status = settle(&mut child, |child| me.operation(|| child.wait_timeout(short)))?;
        check(status.is_none(), "it runs")
    }));
    suite.everywhere(&Case::new("Child::try_wait, running", |me| {
        let mut child = sleeper()?;
        let status = settle(&mut child, |child| me.operation(|| child.try_wait()))?;
        check(status.is_none(), "it runs")
    }));
    suite.everywhere(&Case::new("Child::kill", |me| {
        let mut child = sleeper()?;
        settle(&mut child, |child| {
            me.operation(|| child.kill())?;
            let status = child.wait()?;
            check(signal(status) == Some(9), status)
        })
    }));
    suite.everywhere(&Case::new("Child::signal", |me| {
        let mut child = sleeper()?;
        settle(&mut child, |child| {
            me.operation(|| child.signal(Signal::TERM))?;
            let status = child.wait()?;
            check(signal(status) == Some(15), status)
        })
    }));
    suite.everywhere(&Case::new("Child::terminate_graceful", |me| {
        let mut child = sleeper()?;
        let status = settle(&mut child, |child| me.operation(|| child.terminate_graceful(LONG)))?;
        check(signal(status) == Some(15), status)
    }));
    suite.everywhere(&Case::new("Child::terminate_graceful, at once", |me| {
        let mut child = sleeper()?;
        let at_once = Duration::ZERO;
        let status =
            settle(&mut child, |child| me.operation(|| child.terminate_graceful(at_once)))?;
        check(matches!(signal(status), Some(9 | 15)), status)
    }));
}

/// What a child does with all that it has started.
fn groups(suite: &mut Suite) {
    let leader = || -> Result<Child, Trouble> {
        Ok(Spawn::new("/bin/sleep").arg("1000").new_process_group().spawn()?)
    };
    suite.everywhere(&Case::new("Child::signal_group", move |me| {
        let mut child = leader()?;
        settle(&mut child, |child| {
            me.operation(|| child.signal_group(Signal::TERM))?;
            let status = child.wait()?;
            check(signal(status) == Some(15), status)
        })
    }));
    for (name, grace) in [
        ("Child::terminate_group_graceful", LONG),
        ("Child::terminate_group_graceful, at once", Duration::ZERO),
    ] {
        suite.everywhere(&Case::new(name, move |me| {
            let mut child = leader()?;
            let status =
                settle(&mut child, |child| me.operation(|| child.terminate_group_graceful(grace)))?;
            check(matches!(signal(status), Some(9 | 15)), status)
        }));
    }
}

/// Does something to a child, and sees to its end, whatever came of it.
pub(crate) fn settle<R>(
    child: &mut Child,
    operation: impl FnOnce(&mut Child) -> Result<R, Trouble>,
) -> Result<R, Trouble> {
    let result = operation(child);
    // It may have ended and been reaped.
    let _ = child.kill();
    child.wait()?;
    result
}

/// The child ends like that.
pub(crate) fn expect(mut child: Child, wanted: ExitStatus) -> Result<(), Trouble> {
    let found = child.wait()?;
    check(found == wanted, format_args!("the child's end: {found}"))
}

pub(crate) fn sleeper() -> Result<Child, Trouble> {
    Ok(fork_fn(|| {
        loop {
            std::thread::park();
        }
    })?)
}

/// A process that has been.
fn dead_process() -> Result<ProcessId, Trouble> {
    let shared = ipc_testkit::shared::Shared::new(core::sync::atomic::AtomicU64::new(0))?;
    let child = fork_fn(|| {
        let id = ProcessId::current().map_or(0, ProcessId::to_bits);
        shared.store(id, core::sync::atomic::Ordering::SeqCst);
        0
    })?;
    expect(child, ExitStatus::Exited(0))?;
    let bits = shared.load(core::sync::atomic::Ordering::SeqCst);
    ProcessId::from_bits(bits).ok_or_else(|| Trouble::wrong("no identity"))
}

fn signal(status: ExitStatus) -> Option<i32> {
    match status {
        ExitStatus::Signaled { signal, .. } => Some(signal),
        _ => None,
    }
}
