//! The exit status is exact, or openly unknown; never a false success.
#![expect(unsafe_code, reason = "fork in a process with two threads")]

use core::time::Duration;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{ExitStatus, Fork, Signal, fork, fork_fn};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::tools::{
    exit_now, ignore_sigchld, kernel_keeps_status, pause_for_ever, raw_fork, raw_waitpid,
};
use ipc_testkit::cases::doing;
use ipc_testkit::cases::signals::on_signal;

const KILLED: ExitStatus = ExitStatus::Signaled { signal: 9, core_dumped: false };

pub(crate) fn exit_code_is_exact() {
    for code in 0..=255 {
        let mut child = fork_fn(|| code).expect("fork");
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(code)));
    }
}

/// The truth comes from a twin that libc's `waitpid` reaps. Whether a core is really written depends
/// on the machine, so both limits are tried.
pub(crate) fn signal_and_core_flag_are_exact() {
    let place = std::env::temp_dir().join(format!("ipc-core-cores-{}", std::process::id()));
    std::fs::create_dir(&place).expect("a place for core files");
    std::env::set_current_dir(&place).expect("chdir");
    let mut seen = Vec::new();
    for limit in [Some(0), None] {
        setrlimit(Resource::Core, Rlimit { current: limit, maximum: None }).expect("setrlimit");
        for signal in [libc::SIGKILL, libc::SIGABRT, libc::SIGTERM, libc::SIGQUIT, libc::SIGSYS] {
            if signal != libc::SIGKILL {
                // A shell lets its background programs ignore some.
                on_signal(signal, libc::SIG_DFL, 0);
            }
            let die = || {
                let signal = Signal::from_named_raw(signal).expect("a signal");
                rustix::process::kill_process(rustix::process::getpid(), signal).expect("kill");
                pause_for_ever()
            };
            let twin = raw_fork(die);
            let (_, truth) = raw_waitpid(twin.as_raw_nonzero().get(), 0);
            assert!(libc::WIFSIGNALED(truth) && libc::WTERMSIG(truth) == signal);
            let expected = ExitStatus::Signaled { signal, core_dumped: libc::WCOREDUMP(truth) };
            seen.push(libc::WCOREDUMP(truth));

            let mut child = fork_fn(die).expect("fork");
            assert_eq!(child.wait(), Ok(expected));

            // The same from the kernel's record of a process that it reaped itself.
            ignore_sigchld();
            let mut child = fork_fn(die).expect("fork");
            assert_eq!(child.wait(), Ok(if_kept(expected)));
            on_signal(libc::SIGCHLD, libc::SIG_DFL, 0);
        }
    }
    assert!(seen[..5].iter().all(|dumped| !dumped), "no core under a limit of zero");
    println!("cores written in {} of 5 deaths without limit", seen.iter().filter(|c| **c).count());
    std::env::set_current_dir("/").expect("chdir");
    std::fs::remove_dir_all(place).expect("remove core files");
}

/// S06: the kernel reaps at once, and the status is still exact where the kernel keeps it.
pub(crate) fn s06_sigchld_ignored() {
    ignore_sigchld();
    for code in (0..=255).step_by(5) {
        let mut child = fork_fn(|| code).expect("fork");
        assert_eq!(child.wait(), Ok(if_kept(ExitStatus::Exited(code))));
        let mut child = fork_fn(|| code).expect("fork");
        let status = child.wait_timeout(Duration::from_secs(10));
        assert_eq!(status, Ok(Some(if_kept(ExitStatus::Exited(code)))));
    }
    let mut child = fork_fn(|| pause_for_ever()).expect("fork");
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_timeout(Duration::from_millis(5)), Ok(None));
    child.kill().expect("kill");
    assert_eq!(child.wait(), Ok(if_kept(KILLED)));
}

/// S06, the other order: a zombie of before stays one and is reaped by us.
pub(crate) fn s06_sigchld_ignored_after_the_fork() {
    let mut zombie = fork_fn(|| 3).expect("fork");
    wait_for_end(&zombie);
    let mut later = fork_fn(|| pause_for_ever()).expect("fork");
    ignore_sigchld();
    assert_eq!(zombie.wait(), Ok(ExitStatus::Exited(3)));
    later.kill().expect("kill");
    assert_eq!(later.wait(), Ok(if_kept(KILLED)));
}

/// S07: a library that reaps every child of the process, as some do.
pub(crate) fn s07_another_thread_reaps_every_child() {
    std::thread::spawn(|| {
        loop {
            if raw_waitpid(-1, 0).0 < 0 {
                std::thread::yield_now();
            }
        }
    });
    let mut reaped = 0;
    for round in 0..400 {
        let code = round % 256;
        doing("round of fork and wait beside a thread that reaps everything");
        // SAFETY: the child does nothing but end.
        let mut child = match unsafe { fork() }.expect("fork") {
            Fork::Parent(child) => child,
            Fork::Child => exit_now(code),
        };
        let status = if round % 2 == 0 {
            child.wait().expect("wait")
        } else {
            child.wait_timeout(Duration::from_secs(10)).expect("wait").expect("in time")
        };
        if kernel_keeps_status() {
            assert_eq!(status, ExitStatus::Exited(code));
        } else {
            assert!([ExitStatus::Exited(code), ExitStatus::Unknown].contains(&status));
        }
        reaped += i32::from(child.kill() == Err(Errno::SRCH));
    }
    assert_eq!(reaped, 400, "every child is reaped when its status is known");
}

/// A handle that was copied by a fork sees the end and, after the parent's reap, the status.
pub(crate) fn in_a_process_not_the_parent() {
    for timed in [false, true] {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let mut child = fork_fn(|| {
            rustix::io::read(&reader, &mut [0]).expect("read");
            9
        })
        .expect("fork");
        let mut witness = fork_fn(|| {
            assert_eq!(child.try_wait(), Ok(None));
            assert_eq!(child.wait_timeout(Duration::from_millis(5)), Ok(None));
            rustix::io::write(&writer, &[0]).expect("write");
            let status = if timed {
                child.wait_timeout(Duration::from_secs(10)).expect("wait").expect("in time")
            } else {
                child.wait().expect("wait")
            };
            assert_eq!(status, if_kept(ExitStatus::Exited(9)));
            0
        })
        .expect("fork");
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(9)));
        assert_eq!(witness.wait(), Ok(ExitStatus::Exited(0)));
    }
}

/// A witness that asks without a pause asks in the middle of many a reap.
pub(crate) fn in_the_middle_of_a_reap() {
    for round in 0..500 {
        doing("round of a witness that asks while the parent reaps");
        let code = round % 256;
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let mut child = fork_fn(|| {
            rustix::io::read(&reader, &mut [0]).expect("read");
            code
        })
        .expect("fork");
        let mut witness = fork_fn(|| {
            rustix::io::write(&writer, &[0]).expect("write");
            let status = loop {
                if let Some(status) = child.try_wait().expect("wait") {
                    break status;
                }
            };
            assert_eq!(status, if_kept(ExitStatus::Exited(code)));
            0
        })
        .expect("fork");
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(code)));
        assert_eq!(witness.wait(), Ok(ExitStatus::Exited(0)));
    }
}

/// Asked again and again about a living child, a process that is not its parent learns nothing, also
/// after the time that a status may take.
pub(crate) fn living_child_of_another_process() {
    let mut child = fork_fn(|| pause_for_ever()).expect("fork");
    let mut witness = fork_fn(|| {
        for _ in 0..2 {
            assert_eq!(child.try_wait(), Ok(None));
            assert_eq!(child.wait_timeout(Duration::from_millis(1100)), Ok(None));
        }
        0
    })
    .expect("fork");
    assert_eq!(witness.wait(), Ok(ExitStatus::Exited(0)));
    child.kill().expect("kill");
    assert_eq!(child.wait(), Ok(KILLED));
}

/// The end is known, the status is not and never will be as long as the parent does nothing.
pub(crate) fn unreaped_by_its_parent_is_unknown() {
    let mut child = fork_fn(|| 0).expect("fork");
    wait_for_end(&child);
    let mut witness = fork_fn(|| {
        let began = Instant::now();
        assert_eq!(child.try_wait(), Ok(None), "not known, and asked without waiting");
        assert_eq!(child.wait_timeout(Duration::from_millis(50)), Ok(None));
        assert_eq!(child.wait(), Ok(ExitStatus::Unknown));
        assert!(began.elapsed() < Duration::from_secs(4));
        assert_eq!(child.wait(), Ok(ExitStatus::Unknown));
        0
    })
    .expect("fork");
    assert_eq!(witness.wait(), Ok(ExitStatus::Exited(0)));
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(0)));
}

pub(crate) fn answer_is_kept() {
    let mut child = fork_fn(|| 7).expect("fork");
    for _ in 0..3 {
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(7)));
        assert_eq!(child.try_wait(), Ok(Some(ExitStatus::Exited(7))));
        assert_eq!(child.wait_timeout(Duration::ZERO), Ok(Some(ExitStatus::Exited(7))));
    }
}

pub(crate) fn if_kept(status: ExitStatus) -> ExitStatus {
    if kernel_keeps_status() { status } else { ExitStatus::Unknown }
}

/// Waits until the process has ended, and leaves it a zombie.
pub(crate) fn wait_for_end(child: &ipc_core::process::Child) {
    use rustix::event::{PollFd, PollFlags, poll};
    poll(&mut [PollFd::new(child, PollFlags::IN)], None).expect("poll");
}
