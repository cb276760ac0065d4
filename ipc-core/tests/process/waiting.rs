//! Waits end when they should: at the child's end or at the deadline, and never otherwise.

use core::time::Duration;
use std::os::fd::AsFd;
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::process::{Child, ExitStatus, Signal, Spawn, fork_fn};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, kill_process, kill_process_group, wait};
use rustix::time::{ClockId, clock_gettime};

use crate::status::if_kept;
use crate::tools::{ignore_sigchld, pause_for_ever, ptrace_seize, raw_waitpid};
use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::signals::on_signal;
use ipc_testkit::cases::{doing, no_children, skip};

pub(crate) fn zero_short_long() {
    let mut child = fork_fn(|| pause_for_ever()).expect("fork");
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(30)] {
        let began = Instant::now();
        assert_eq!(child.wait_timeout(timeout), Ok(None));
        assert!(began.elapsed() >= timeout, "{timeout:?} ended early");
        assert!(began.elapsed() < timeout + Duration::from_millis(500), "{timeout:?} ended late");
    }
    assert_eq!(child.wait_deadline(Deadline::now()), Ok(None));
    doing("waiting for ever for a child that is killed");
    child.kill().expect("kill");
    let killed = ExitStatus::Signaled { signal: 9, core_dumped: false };
    assert_eq!(child.wait_timeout(Duration::MAX), Ok(Some(killed)));
}

/// A tracer sees the end of its tracee before the parent does. Until it lets go, the pidfd is
/// readable and there is nothing to reap: a wait must neither spin nor give a status.
pub(crate) fn held_by_a_tracer() {
    let (go, starter) = rustix::pipe::pipe().expect("pipe");
    let mut child = fork_fn(|| {
        rustix::io::read(&go, &mut [0]).expect("read");
        5
    })
    .expect("fork");
    let (ready, attached) = rustix::pipe::pipe().expect("pipe");
    let (release, releaser) = rustix::pipe::pipe().expect("pipe");
    let traced = child.id();
    let mut tracer = fork_fn(|| {
        rustix::io::write(&attached, &[u8::from(ptrace_seize(traced))]).expect("write");
        rustix::io::read(&release, &mut [0]).expect("read");
        i32::from(raw_waitpid(traced.as_raw_nonzero().get(), libc::__WALL).0 < 0)
    })
    .expect("fork");
    let mut seized = [0];
    rustix::io::read(&ready, &mut seized).expect("read");
    if seized == [0] {
        skip("ptrace is not permitted");
    }
    rustix::io::write(&starter, &[0]).expect("write");
    poll(&mut [PollFd::new(&child, PollFlags::IN)], None).expect("poll");
    assert_eq!(child.try_wait(), Ok(None));
    let (began, burned) = (Instant::now(), cpu_time());
    assert_eq!(child.wait_timeout(Duration::from_millis(300)), Ok(None));
    assert!(began.elapsed() >= Duration::from_millis(300));
    let burned = cpu_time() - burned;
    assert!(burned < Duration::from_millis(100), "{burned:?} of processor time");
    rustix::io::write(&releaser, &[0]).expect("write");
    doing("waiting for a child that its tracer has let go");
    assert_eq!(child.wait_timeout(Duration::from_secs(10)), Ok(Some(ExitStatus::Exited(5))));
    assert_eq!(tracer.wait(), Ok(ExitStatus::Exited(0)));
}

pub(crate) fn pidfd_is_pollable() {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let mut child = fork_fn(|| {
        rustix::io::read(&reader, &mut [0]).expect("read");
        0
    })
    .expect("fork");
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let readable =
        |timeout| poll(&mut [PollFd::new(&child, PollFlags::IN)], timeout).expect("poll");
    assert_eq!(readable(Some(&now)), 0);
    rustix::io::write(&writer, &[0]).expect("write");
    doing("polling the pidfd of a child that ends");
    assert_eq!(readable(None), 1);
    assert_eq!(child.try_wait(), Ok(Some(ExitStatus::Exited(0))));
}

pub(crate) fn terminate_graceful() {
    let mut obedient = fork_fn(|| pause_for_ever()).expect("fork");
    let status = obedient.terminate_graceful(Duration::from_secs(10));
    assert_eq!(status, Ok(ExitStatus::Signaled { signal: 15, core_dumped: false }));

    let (ready, deaf) = rustix::pipe::pipe().expect("pipe");
    let mut stubborn = fork_fn(|| {
        on_signal(libc::SIGTERM, libc::SIG_IGN, 0);
        rustix::io::write(&deaf, &[0]).expect("write");
        pause_for_ever()
    })
    .expect("fork");
    rustix::io::read(&ready, &mut [0]).expect("read");
    let began = Instant::now();
    let status = stubborn.terminate_graceful(Duration::from_millis(50));
    assert_eq!(status, Ok(ExitStatus::Signaled { signal: 9, core_dumped: false }));
    assert!(began.elapsed() >= Duration::from_millis(50), "grace was not given");

    let mut stopped = fork_fn(|| pause_for_ever()).expect("fork");
    stopped.signal(Signal::STOP).expect("stop");
    raw_waitpid(stopped.id().as_raw_nonzero().get(), libc::WUNTRACED);
    let status = stopped.terminate_graceful(Duration::from_millis(20));
    assert_eq!(status, Ok(ExitStatus::Signaled { signal: 9, core_dumped: false }));

    let mut gone = fork_fn(|| 4).expect("fork");
    assert_eq!(gone.wait(), Ok(ExitStatus::Exited(4)));
    assert_eq!(gone.terminate_graceful(Duration::ZERO), Ok(ExitStatus::Exited(4)));
}

/// A child that took other credentials is not waited for: it does not end.
pub(crate) fn terminate_without_permission() {
    let mut child = fork_fn(|| pause_for_ever()).expect("fork");
    let denied = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    // No signal is that large.
    answer(libc::SYS_pidfd_send_signal, &When::NotEqual(1, u32::MAX), denied);
    let long = Duration::from_secs(20);
    assert_eq!(child.terminate_graceful(long), Err(Errno::PERM));
    assert_eq!(child.terminate_group_graceful(long), Err(Errno::PERM));
    assert_eq!(child.try_wait(), Ok(None));
    kill_process(child.id(), Signal::KILL).expect("kill");
    assert!(!child.wait().expect("wait").success());
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().expect("a positive span")
}

/// A shell with two children, all in its own group; `ready` says that they are there.
fn shell(script: &str) -> Child {
    let (ready, said) = rustix::pipe::pipe().expect("pipe");
    let script = format!("{script}\necho ready\nwait; wait; wait");
    let mut spawn = Spawn::new("sh");
    let child = spawn.args(["-c", &script]).new_process_group().stdout(said.as_fd()).spawn();
    drop(spawn);
    drop(said);
    assert_eq!(rustix::io::read(&ready, &mut [0; 100]), Ok(6));
    child.expect("a shell")
}

pub(crate) fn terminate_group() {
    // Orphans come to this process, and the kernel reaps them.
    ignore_sigchld();
    terminate_groups(if_kept);
}

/// As on a kernel before 6.9: the flag is unknown. The members are reaped when all is over.
pub(crate) fn terminate_group_by_number() {
    let invalid = libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32;
    answer(libc::SYS_pidfd_send_signal, &When::NotEqual(3, 0), invalid);
    terminate_groups(|status| status);

    doing("signalling the group of a leader that has been reaped");
    let mut reaped = shell("sleep 1000 & echo ready; exit 3");
    assert_eq!(reaped.wait(), Ok(ExitStatus::Exited(3)));
    // Its number might be anybody's by now. Here it is still that of the member.
    assert_eq!(reaped.signal_group(Signal::KILL), Err(Errno::SRCH));
    assert_eq!(alive(&reaped), 1);
    kill_process_group(reaped.id(), Signal::KILL).expect("kill");
    while !no_children() {
        wait(WaitOptions::empty()).expect("a member that ends");
    }
}

fn terminate_groups(seen: fn(ExitStatus) -> ExitStatus) {
    let by = |signal| Ok(seen(ExitStatus::Signaled { signal, core_dumped: false }));
    let (term, kill) = (by(libc::SIGTERM), by(libc::SIGKILL));
    let long = Duration::from_secs(20);
    let ended = |child: &Child, members| {
        doing("waiting for the last members");
        while alive(child) > members {
            std::thread::yield_now();
        }
    };

    doing("terminating an obedient group");
    let began = Instant::now();
    let mut obedient = shell("sleep 1000 & sleep 1000 &");
    assert_eq!(alive(&obedient), 3);
    assert_eq!(obedient.terminate_group_graceful(long), term);
    assert!(began.elapsed() < long, "nobody needed the time");
    ended(&obedient, 0);

    doing("terminating a group whose leader goes and whose members stay");
    let mut loose = shell("(trap '' TERM; sleep 1000) & sleep 1000 &");
    assert_eq!(loose.terminate_group_graceful(Duration::from_millis(100)), term);
    ended(&loose, 0);

    doing("terminating a group whose leader stays and whose members go");
    let began = Instant::now();
    let mut stubborn = shell("sleep 1000 & trap '' TERM; sleep 1000 &");
    assert_eq!(stubborn.terminate_group_graceful(Duration::from_millis(50)), kill);
    assert!(began.elapsed() >= Duration::from_millis(50), "grace was not given");
    ended(&stubborn, 0);

    doing("terminating a group that is stopped");
    let mut stopped = shell("sleep 1000 &");
    stopped.signal_group(Signal::STOP).expect("stop");
    let ending = stopped.terminate_group_graceful(Duration::from_millis(20));
    // The kernel may deliver the first signal when the second one wakes it.
    assert!(ending == term || ending == kill, "{ending:?}");
    ended(&stopped, 0);

    doing("terminating a child that leads no group");
    let mut alone = Spawn::new("sleep").arg("1000").spawn().expect("spawn");
    assert_eq!(alone.signal_group(Signal::TERM), Err(Errno::SRCH));
    assert_eq!(alone.terminate_group_graceful(long), term);
    assert_eq!(alone.signal_group(Signal::TERM), Err(Errno::SRCH));
}

/// How many processes of the group that the child leads run, the dead not counted.
fn alive(leader: &Child) -> usize {
    let group = leader.id().as_raw_nonzero().get().to_string();
    let all = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let runs = |stat: String| {
        // The name may contain anything; state, parent and group follow it.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        Some(fields.next()? != "Z" && fields.nth(1)? == group)
    };
    all.filter(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok();
        stat.and_then(runs).unwrap_or(false)
    })
    .count()
}
