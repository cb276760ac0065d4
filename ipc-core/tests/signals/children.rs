//! Waits for children, and for nothing.

use core::time::Duration;
use std::os::fd::OwnedFd;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::os::sleep_until;
use ipc_core::process::{Child, ExitStatus, Signal, fork_fn};
use ipc_testkit::cases::signals::on_signal;
use ipc_testkit::cases::storm::{
    Go, HANDLERS, LONG, again_and_again, in_vain, in_vain_with, storm, until_done,
};
use rustix::io::retry_on_intr;
use rustix::process::{WaitOptions, getppid, kill_process, waitpid};

const KILLED: ExitStatus = ExitStatus::Signaled { signal: 9, core_dumped: false };

fn sleeping() -> Child {
    fork_fn(|| sleep_for_ever()).expect("fork")
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// A child that does not mind SIGTERM and ends when it hears *go*.
fn patient(go: &Go) -> Child {
    let ready = Go::new();
    let child = fork_fn(|| {
        on_signal(libc::SIGTERM, libc::SIG_IGN, 0);
        // A group of its own, for the cases that signal one.
        rustix::process::setpgid(None, None).expect("setpgid");
        ready.say();
        go.wait();
        5
    });
    ready.wait();
    child.expect("fork")
}

/// A sleep that is told a span takes any time, up to for ever.
pub(crate) fn sleep_ends() {
    for flags in HANDLERS {
        in_vain("sleep_until", flags, |span| sleep_until(Deadline::after(span)));
    }
}

pub(crate) fn waited_for() {
    type Wait = fn(&mut Child) -> Result<ExitStatus, Errno>;
    let waits: [(&str, Wait); 3] = [
        ("Child::wait", Child::wait),
        ("Child::wait_timeout", |child| Ok(child.wait_timeout(LONG)?.expect("it ends"))),
        ("Child::wait_deadline", |child| Ok(child.wait_deadline(Deadline::FAR)?.expect("it ends"))),
    ];
    for flags in HANDLERS {
        for (what, wait) in waits {
            let go = Go::new();
            let mut child = patient(&go);
            assert_eq!(storm(what, flags, &go, || wait(&mut child)), Ok(ExitStatus::Exited(5)));
        }
    }
}

pub(crate) fn in_time() {
    let mut child = sleeping();
    for flags in HANDLERS {
        in_vain("Child::wait_timeout in vain", flags, |span| {
            assert_eq!(child.wait_timeout(span), Ok(None));
        });
        in_vain("Child::wait_deadline in vain", flags, |span| {
            assert_eq!(child.wait_deadline(Deadline::after(span)), Ok(None));
        });
        in_vain("Child::wait_interruptible in vain", flags, |span| {
            let (deadline, mut ended) = (Deadline::after(span), 0);
            while child.wait_interruptible(deadline) == Err(Errno::INTR) {
                ended += 1;
            }
            assert!(ended > 0);
            assert_eq!(child.wait_interruptible(deadline), Ok(None));
        });
    }
    child.kill().expect("kill");
    assert_eq!(child.wait(), Ok(KILLED));
}

pub(crate) fn terminated() {
    type Terminate = fn(&mut Child, Duration) -> Result<ExitStatus, Errno>;
    let calls: [(&str, Terminate); 2] = [
        ("Child::terminate_graceful", Child::terminate_graceful),
        ("Child::terminate_group_graceful", Child::terminate_group_graceful),
    ];
    for flags in HANDLERS {
        for (what, terminate) in calls {
            let go = Go::new();
            let mut child = patient(&go);
            let status = storm(what, flags, &go, || terminate(&mut child, LONG));
            assert_eq!(status, Ok(ExitStatus::Exited(5)));

            let (what, make) = (format!("{what} in vain"), || patient(&Go::new()));
            in_vain_with(&what, flags, make, |mut child, grace| {
                assert_eq!(terminate(&mut child, grace), Ok(KILLED));
            });
        }
        // One who goes at once, and leaves another behind.
        let what = "Child::terminate_group_graceful of the rest";
        in_vain_with(what, flags, leaving_one_behind, |(mut child, rest), grace| {
            assert_eq!(child.terminate_group_graceful(grace), Ok(ExitStatus::Exited(0)));
            let waited = retry_on_intr(|| waitpid(Some(rest), WaitOptions::empty()));
            let (_, status) = waited.expect("wait").expect("its end");
            assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
        });
    }
}

/// A child that has ended, and one of its group, which this process will adopt, that does not mind SIGTERM.
fn leaving_one_behind() -> (Child, rustix::process::Pid) {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let child = fork_fn(|| {
        rustix::process::setpgid(None, None).expect("setpgid");
        on_signal(libc::SIGTERM, libc::SIG_IGN, 0);
        let rest = fork_fn(|| sleep_for_ever()).expect("fork");
        let pid = rest.id().as_raw_nonzero().get();
        rest.detach();
        rustix::io::write(&writer, &pid.to_ne_bytes()).expect("write");
        0
    });
    let mut pid = [0; 4];
    read_all(&reader, &mut pid);
    let rest = rustix::process::Pid::from_raw(i32::from_ne_bytes(pid)).expect("a pid");
    (child.expect("fork"), rest)
}

fn read_all(reader: &OwnedFd, bytes: &mut [u8]) {
    let read = retry_on_intr(|| rustix::io::read(reader, &mut *bytes));
    assert_eq!(read, Ok(bytes.len()));
}

pub(crate) fn interruptible() {
    for flags in HANDLERS {
        let ending = Go::new();
        let mut child = patient(&ending);
        let what = "Child::wait_interruptible";
        let status = until_done(
            what,
            flags,
            || ending.say(),
            || match child.wait_interruptible(Deadline::FAR) {
                Err(Errno::INTR) => None,
                other => Some(other),
            },
        );
        assert_eq!(status, Ok(Some(ExitStatus::Exited(5))));
        // What is known already is said, whatever comes.
        again_and_again("Child::wait_interruptible of an ended one", flags, || {
            assert_eq!(child.wait_interruptible(Deadline::FAR), status);
        });
    }
}

/// A process that is stopped and goes on has run no handler.
pub(crate) fn stopped_and_continued() {
    let mut child = fork_fn(|| {
        let parent = getppid().expect("a parent");
        let state = || {
            let path = format!("/proc/{}/stat", parent.as_raw_nonzero());
            let stat = std::fs::read_to_string(path).expect("/proc");
            stat.rsplit(") ").next().and_then(|rest| rest.chars().next())
        };
        // Nobody is told of either state, so it is looked for.
        let reaches = |wanted| {
            while state() != Some(wanted) {
                std::thread::yield_now();
            }
        };
        for _ in 0..10 {
            reaches('S');
            kill_process(parent, Signal::STOP).expect("kill");
            reaches('T');
            kill_process(parent, Signal::CONT).expect("kill");
        }
        reaches('S');
        5
    })
    .expect("fork");
    let status = child.wait_interruptible(Deadline::after(LONG));
    assert_eq!(status, Ok(Some(ExitStatus::Exited(5))));
}
