//! The death of the parent, of its thread, and of the child.

use core::sync::atomic::Ordering::SeqCst;

use ipc_core::Errno;
use ipc_core::process::{ExitStatus, Pid, Signal, Spawn, Stage};
use ipc_testkit::cases::{doing, no_children, shared};
use rustix::process::{getpid, kill_process};

use crate::tools::{
    error_of, ignore, pipe, ptrace, ptrace_new_process, raw_fork, raw_wait, succeeds,
};

fn sleeper<'fd>() -> Spawn<'fd> {
    let mut sleeper = Spawn::new("/bin/sleep");
    sleeper.arg("600");
    sleeper
}

fn stop_self() {
    kill_process(getpid(), Signal::STOP).expect("stop");
}

/// Whatever ends the parent, the child gets its signal.
pub(crate) fn parent_death() {
    for signal in [Signal::KILL, Signal::TERM] {
        for killed in [true, false] {
            doing("the death of a parent");
            let word = &shared().words[0];
            word.store(0, SeqCst);
            let (said, say) = pipe();
            let parent = raw_fork(|| {
                let child = sleeper().parent_death(signal).spawn().expect("spawn");
                word.store(child.id().as_raw_nonzero().get(), SeqCst);
                rustix::io::write(&say, b".").expect("write");
                if killed {
                    stop_self();
                }
                0
            });
            rustix::io::read(&said, &mut [0]).expect("read");
            let child = Pid::from_raw(word.load(SeqCst)).expect("a child");
            if killed {
                kill_process(parent, Signal::KILL).expect("kill");
            }
            raw_wait(parent);
            // This process adopts it.
            let status = raw_wait(child);
            assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == signal.as_raw());
        }
    }
}

/// Another thread may end before its process, so the promise could not be kept.
pub(crate) fn needs_the_main_thread() {
    let in_thread = |program: Spawn<'static>| {
        std::thread::spawn(move || program.spawn()).join().expect("no panic")
    };
    let mut bound = sleeper();
    bound.parent_death(Signal::KILL);
    let error = in_thread(bound.clone()).expect_err("refused");
    assert_eq!((error.stage, error.errno), (Stage::ParentDeath, Errno::PERM));
    assert!(no_children());
    // For this one the thread is what counts.
    bound.parent_thread_death(Signal::KILL);
    let mut child = in_thread(bound).expect("spawn");
    let killed = ExitStatus::Signaled { signal: 9, core_dumped: false };
    assert_eq!(child.wait(), Ok(killed));
    assert!(succeeds(Spawn::new("/bin/true").parent_death(Signal::KILL)));
}

/// F14: a tracer holds the child at its first instruction, and its parent is killed.
pub(crate) fn f14_before() {
    let place = crate::tools::Place::new();
    for bound in [true, false] {
        doing("a parent that is killed before its child has run");
        let mark = place.path().join(format!("ran-{bound}"));
        let parent = raw_fork(|| {
            stop_self();
            let mut touch = Spawn::new("/bin/touch");
            touch.arg(&mark);
            if bound {
                touch.parent_death(Signal::TERM);
            }
            let _ = touch.spawn();
            1
        });
        ptrace(libc::PTRACE_SEIZE, parent, libc::PTRACE_O_TRACEVFORK as usize);
        // It stops itself, the tracer lets it go on, and it stops with its new child.
        let mut new = None;
        while new.is_none() {
            let status = raw_wait(parent);
            assert!(libc::WIFSTOPPED(status), "{status:#x}");
            if status >> 16 == libc::PTRACE_EVENT_VFORK {
                new = Some(ptrace_new_process(parent));
            } else {
                ptrace(libc::PTRACE_CONT, parent, 0);
            }
        }
        let child = new.expect("set above");
        assert!(libc::WIFSTOPPED(raw_wait(child)), "the child stops before its first line");
        kill_process(parent, Signal::KILL).expect("kill");
        assert!(libc::WIFSIGNALED(raw_wait(parent)));
        ptrace(libc::PTRACE_DETACH, child, 0);
        assert!(libc::WIFEXITED(raw_wait(child)));
        assert_eq!(mark.exists(), !bound, "the program ran if and only if it was not bound");
    }
}

/// F15: what no one asked to be bound goes on.
pub(crate) fn f15_thread_ends() {
    let thread = std::thread::spawn(|| sleeper().spawn().expect("spawn"));
    let mut child = thread.join().expect("no panic");
    assert_eq!(child.wait_timeout(core::time::Duration::from_millis(50)), Ok(None));
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// S06: the kernel reaps; the handle is right, and a failed child is gone all the same.
pub(crate) fn s06_sigchld_ignored() {
    ignore(Signal::CHILD);
    for _ in 0..100 {
        let status = Spawn::new("/bin/sh").args(["-c", "exit 3"]).spawn().expect("spawn").wait();
        assert!(matches!(status, Ok(ExitStatus::Exited(3) | ExitStatus::Unknown)), "{status:?}");
        let error = error_of(&Spawn::new("/no/such/program"));
        assert_eq!((error.stage, error.errno), (Stage::Exec, Errno::NOENT));
        assert!(no_children());
    }
}
