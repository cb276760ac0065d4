//! Who outlives whom.

use core::time::Duration;

use ipc_core::connection::{RecvError, Sender, simplex};
use ipc_core::process::{Context, ExitStatus, Process, StartMethod, fork_fn};
use ipc_testkit::cases::{doing, no_children, open_fds};

use crate::{METHODS, expect, rounds};

/// Says that it is there, and stays.
fn stay(mut sender: Sender) {
    sender.send(b"here").expect("send");
    loop {
        std::thread::park();
    }
}

/// Starts a child from a process that is killed then. The receiver sees the child's end.
fn orphan(method: StartMethod, daemon: bool) -> ipc_core::connection::Receiver {
    let (mut receiver, sender) = simplex().expect("simplex");
    let mut sender = Some(sender);
    let parent = fork_fn(|| {
        let sender = sender.take().expect("once");
        let process = Process::new(stay, sender).daemon(daemon);
        process.start_in(&Context::new(method)).expect("start").detach();
        loop {
            std::thread::park();
        }
    });
    drop(sender);
    let mut parent = parent.expect("fork");
    assert_eq!(receiver.recv().as_deref(), Ok(&b"here"[..]));
    parent.kill().expect("kill");
    parent.wait().expect("wait");
    receiver
}

pub(crate) fn daemons_go() {
    for method in METHODS {
        doing("waiting for the end of a daemon");
        let mut receiver = orphan(method, true);
        assert_eq!(receiver.recv_timeout(Duration::from_secs(1)), Err(RecvError::Closed));
    }
    reap_orphans();
}

pub(crate) fn others_stay() {
    for method in METHODS {
        doing("looking after an orphan");
        let mut receiver = orphan(method, false);
        // Nothing happens, which takes time to see.
        let still = receiver.recv_timeout(Duration::from_millis(200));
        assert_eq!(still, Err(RecvError::TimedOut));
    }
    reap_orphans();
}

/// This process adopts them: the case must leave none behind.
pub(crate) fn reap_orphans() {
    use rustix::process::{Signal, WaitOptions, kill_process, wait};
    while !no_children() {
        for entry in std::fs::read_dir("/proc/self/task").expect("/proc") {
            let path = entry.expect("an entry").path().join("children");
            for pid in std::fs::read_to_string(path).expect("/proc").split_whitespace() {
                let pid = rustix::process::Pid::from_raw(pid.parse().expect("a number"));
                // It may have ended by itself.
                let _ = kill_process(pid.expect("a process"), Signal::KILL);
            }
        }
        let _ = wait(WaitOptions::empty());
    }
}

pub(crate) fn cycles() {
    let maps = || std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count();
    for (method, count) in [
        (StartMethod::Fork, 5_000),
        (StartMethod::Auto, 5_000),
        (StartMethod::ForkServer, 5_000),
        (StartMethod::Spawn, 500),
    ] {
        doing("starting children in a cycle");
        let context = Context::new(method);
        let one = |number: i32| {
            let child = Process::new(|number: i32| number % 200, number).start_in(&context);
            expect(child.expect("start"), ExitStatus::Exited(number % 200));
        };
        (0..20).for_each(one);
        let before = (open_fds(), maps());
        let count = rounds(count);
        (0..count).for_each(one);
        assert_eq!((open_fds(), maps()), before, "{method}");
        drop(context);
        assert!(no_children(), "{method}");
        println!("{count} cycles by {method}");
    }
}

/// Each child starts the next one. A forked helper, and so each child of it, has the copy of a static
/// context that was being used at that moment.
pub(crate) fn nested() {
    fn next(depth: i32) -> i32 {
        if depth == 3 {
            return 40;
        }
        doing("starting a child in a child");
        match Process::new(next, depth + 1).start().expect("start").wait().expect("wait") {
            ExitStatus::Exited(code) => code + 1,
            _ => 1,
        }
    }
    // In a process of its own, since a static context and its helper stay to the end.
    expect(fork_fn(|| next(0)).expect("fork"), ExitStatus::Exited(43));
    reap_orphans();
}
