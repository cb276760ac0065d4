//! Deaths inside the start barrier, at exact places: libc's own atfork handler acts between the fork
//! and its return, and a seccomp filter acts at the parent's `pidfd_open`.
#![expect(unsafe_code, reason = "fork, where fork_fn would look at /proc first")]

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::time::Instant;

use ipc_core::process::{Child, ExitStatus, Fork, fork, fork_fn};
use ipc_core::{Errno, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::tools::{
    bare_clone_sleeper, exit_now, filter_pidfd_open, ignore_sigchld, in_parent_of_fork,
    kill_and_reap, raw_waitpid,
};
use ipc_testkit::cases::pids::{Sleeper, sleeper_with_pid};
use ipc_testkit::cases::{doing, no_children, open_fds, shared, skip};

/// Set by a child that got through the barrier.
const STARTED: usize = 0;

fn fork_marking_start() -> Result<Child> {
    // SAFETY: the child stores a word and ends.
    match unsafe { fork() }? {
        Fork::Parent(child) => Ok(child),
        Fork::Child => {
            shared().words[STARTED].store(1, SeqCst);
            exit_now(0)
        }
    }
}

fn started() -> bool {
    shared().words[STARTED].load(SeqCst) != 0
}

/// The parent has a child and cannot name it.
pub(crate) fn refused_pidfd() {
    filter_pidfd_open(libc::SECCOMP_RET_ERRNO | libc::EMFILE as u32);
    let fds = open_fds();
    for ignored in [false, true] {
        if ignored {
            ignore_sigchld();
        }
        for _ in 0..50 {
            doing("a fork whose pidfd is refused");
            assert_eq!(fork_marking_start().map(drop), Err(Errno::MFILE));
            assert!(!started(), "the child ran");
            assert!(no_children(), "the child is left");
            assert_eq!(open_fds(), fds);
        }
    }
}

fn kill_child(pid: Pid) {
    kill_process(pid, Signal::KILL).expect("kill");
}

/// Nobody reaped it, so the handle is right and the status exact.
pub(crate) fn child_killed() {
    in_parent_of_fork(kill_child);
    for _ in 0..50 {
        let mut child = fork_marking_start().expect("a handle of the dead child");
        assert_eq!(child.wait(), Ok(ExitStatus::Signaled { signal: 9, core_dumped: false }));
        assert!(!started(), "the child ran");
    }
}

fn kill_child_and_see_it_reaped(pid: Pid) {
    kill_child(pid);
    // SIGCHLD is ignored: this returns, without a status, when the child is gone.
    assert_eq!(raw_waitpid(pid.as_raw_nonzero().get(), 0).0, -1);
}

pub(crate) fn child_killed_and_reaped() {
    ignore_sigchld();
    in_parent_of_fork(kill_child_and_see_it_reaped);
    for _ in 0..50 {
        assert_eq!(fork_marking_start().map(drop), Err(Errno::SRCH));
        assert!(!started() && no_children());
    }
}

/// K20: the number of the dead child belongs to another child of this process when the parent asks
/// for the pidfd. It must not become the handle.
pub(crate) fn k20_pid_recycled() {
    fn recycle(pid: Pid) {
        kill_child_and_see_it_reaped(pid);
        let stranger = match sleeper_with_pid(pid) {
            Sleeper::Sleeps(stranger) => stranger.as_raw_nonzero().get(),
            Sleeper::NotPermitted => -1,
            Sleeper::Taken => 0,
        };
        shared().words[1].store(stranger, SeqCst);
    }
    ignore_sigchld();
    in_parent_of_fork(recycle);
    doing("a fork whose child is replaced by another process of the same number");
    for _ in 0..10 {
        let forked = fork_marking_start();
        let stranger = shared().words[1].load(SeqCst);
        if stranger < 0 {
            skip("clone3(set_tid) needs CAP_SYS_ADMIN");
        }
        assert_eq!(forked.map(drop), Err(Errno::SRCH));
        // None where a process of the machine has the number; the handle was not to be it either.
        if let Some(stranger) = Pid::from_raw(stranger) {
            let (ended, _) = raw_waitpid(stranger.as_raw_nonzero().get(), libc::WNOHANG);
            assert_eq!(ended, 0, "it lives");
            return kill_and_reap(stranger);
        }
    }
    panic!("others took the number of the dead child ten times");
}

/// K17: the kernel kills the parent at the very call that asks for the pidfd.
pub(crate) fn k17_parent_killed() {
    for _ in 0..20 {
        let orphan = orphan_of_killed_parent();
        doing("waiting for the orphan to end");
        reap_orphan(orphan);
    }
}

/// K17, and a process that copied both ends of the barrier lives on: no end of file will come.
pub(crate) fn k17_parent_killed_with_copy() {
    fn copy(_: Pid) {
        shared().words[4].store(bare_clone_sleeper(), SeqCst);
    }
    in_parent_of_fork_noting_child(copy);
    let orphan = orphan_of_killed_parent();
    doing("waiting for the orphan to end beside a copy of the barrier");
    reap_orphan(orphan);
    kill_and_reap(Pid::from_raw(shared().words[4].load(SeqCst)).expect("the copy"));
}

/// As `in_parent_of_fork`, and active only in the parent that is going to be killed.
fn in_parent_of_fork_noting_child(hook: fn(Pid)) {
    use std::sync::OnceLock;
    static HOOK: OnceLock<fn(Pid)> = OnceLock::new();
    HOOK.set(hook).expect("one hook in a case");
    in_parent_of_fork(|pid| {
        if shared().words[5].load(SeqCst) != 0 {
            shared().words[3].store(pid.as_raw_nonzero().get(), SeqCst);
            HOOK.get().expect("set above")(pid);
        }
    });
}

/// The child, inherited by this process, of a parent that was killed inside the barrier.
fn orphan_of_killed_parent() -> Pid {
    shared().words[5].store(0, SeqCst);
    let mut parent = fork_fn(|| {
        filter_pidfd_open(libc::SECCOMP_RET_KILL_PROCESS);
        shared().words[5].store(1, SeqCst);
        let survived = fork_marking_start();
        i32::from(survived.is_ok())
    })
    .expect("fork");
    let status = parent.wait().expect("wait");
    assert!(matches!(status, ExitStatus::Signaled { signal: libc::SIGSYS, .. }), "{status}");
    // This process adopts orphans; the sleeping copy, if there is one, is known by its pid.
    let copy = shared().words[4].load(SeqCst);
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("/proc");
    let mut children = children.split_ascii_whitespace().map(|pid| pid.parse().expect("a pid"));
    Pid::from_raw(children.find(|pid| *pid != copy).expect("an orphan")).expect("a pid")
}

fn reap_orphan(orphan: Pid) {
    let (_, status) = raw_waitpid(orphan.as_raw_nonzero().get(), 0);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 127, "{status:#x}");
    assert!(!started(), "the child ran");
}

/// K17: a parent that forks all the time is killed at moments spread over a whole cycle.
pub(crate) fn k17_parent_killed_at_any_moment() {
    for round in 0..150 {
        let mut parent = fork_fn(|| {
            loop {
                let mut child = fork_marking_start().expect("fork");
                child.wait().expect("wait");
            }
        })
        .expect("fork");
        let began = Instant::now();
        while began.elapsed() < Duration::from_micros(400 + 7 * round) {
            core::hint::spin_loop();
        }
        parent.kill().expect("kill");
        parent.wait().expect("wait");
        doing("waiting for the orphans of a killed parent");
        while raw_waitpid(-1, 0).0 > 0 {}
        assert!(no_children());
    }
}
