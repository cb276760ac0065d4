//! Who survives whom: the application, the zygote, the children.

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::os::fd::AsFd;

use ipc_core::clock::Deadline;
use ipc_core::process::{ExitStatus, Pid, Signal, Start, Zygote, ZygoteError};
use ipc_testkit::cases::signals::on_signal;
use ipc_testkit::cases::{doing, no_children, shared};
use rustix::process::{
    PidfdFlags, WaitOptions, kill_process, kill_process_group, pidfd_open, waitpid,
};

use crate::roles::first_byte;
use crate::spawning::count_me;
use crate::starting::wait_for_byte;
use crate::tools::{
    LONG, SOON, all_gone_within, code_of, has_stopped, pause_for_ever, raw_fork, readable, status,
};

const TERMINATED: ExitStatus = ExitStatus::Signaled { signal: 15, core_dumped: false };

/// A signal that arrives before the child has its own dispositions is not lost.
pub(crate) fn early_signals() {
    for start in [Zygote::start_by_fork, Zygote::start_by_exec] {
        let zygote = start().expect("start");
        for _ in 0..100 {
            let child = zygote.spawn(|_| pause_for_ever(), &[], &[]).expect("spawn");
            child.signal(Signal::TERM).expect("signal");
            assert_eq!(status(child), TERMINATED);
        }
    }
}

/// Ctrl-C reaches the whole foreground group.
pub(crate) fn interrupted_group() {
    // This process catches them, and does not ignore them: a zygote would inherit that.
    extern "C" fn handler(_: i32) {}
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TSTP] {
        let handler = handler as extern "C" fn(i32) as libc::sighandler_t;
        on_signal(signal.as_raw(), handler, libc::SA_RESTART);
    }
    for start in [Zygote::start_by_fork, Zygote::start_by_exec] {
        let zygote = start().expect("start");
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TSTP] {
            doing(&format!("{signal:?} to the group"));
            kill_process_group(rustix::process::getpgrp(), signal).expect("kill");
            assert_eq!(code_of(&zygote, first_byte, &[4]), 4);
        }
    }
}

pub(crate) fn k18_zygote_killed() {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    for start in [Zygote::start_by_fork, Zygote::start_by_exec] {
        let zygote = start().expect("start");
        let child = zygote.spawn(wait_for_byte, &[], &[reader.as_fd()]).expect("spawn");
        kill_process(zygote.id().expect("it runs"), Signal::KILL).expect("kill");
        for _ in 0..2 {
            doing("spawning from a dead zygote");
            assert_eq!(zygote.spawn(first_byte, &[1], &[]).map(drop), Err(ZygoteError::Died));
        }
        zygote.restart().expect("restart");
        assert_eq!(code_of(&zygote, first_byte, &[5]), 5);
        // The child is an orphan by now, and this process adopts and reaps it.
        rustix::io::write(&writer, &[8]).expect("write");
        assert_eq!(status(child), ExitStatus::Exited(8), "the child went on");
    }
}

/// K18: an entry runs if and only if `spawn` returned its child, whenever the zygote is killed.
pub(crate) fn k18_at_any_moment() {
    let (mut ran, mut died, mut survived) = (0, 0, 0);
    for round in 0..300 {
        doing(&format!("round {round}"));
        let zygote = Zygote::start_by_fork().expect("start");
        let pid = zygote.id().expect("it runs");
        let killer = raw_fork(|| {
            let wait = Duration::from_micros(round * 3);
            let began = std::time::Instant::now();
            while began.elapsed() < wait {
                core::hint::spin_loop();
            }
            let _ = kill_process(pid, Signal::KILL);
            0
        });
        let mut children = Vec::new();
        loop {
            match zygote.spawn(count_me, &[], &[]) {
                Ok(child) => children.push(child),
                Err(error) => break assert_eq!(error, ZygoteError::Died),
            }
        }
        died += 1;
        survived += usize::from(!children.is_empty());
        waitpid(Some(killer), WaitOptions::empty()).expect("wait");
        for child in children {
            ran += 1;
            let ended = status(child);
            assert!(matches!(ended, ExitStatus::Exited(0) | ExitStatus::Unknown), "{ended}");
        }
        drop(zygote);
        assert!(all_gone_within(LONG), "children that were not told to go have ended");
        assert_eq!(shared().words[0].load(SeqCst), ran, "entries that ran");
    }
    assert_eq!(died, 300);
    println!("{ran} children; in {survived} of {died} rounds there was one before the kill");
}

/// The orphans of a dead zygote are this process's: those of which `spawn` returned a handle are reaped
/// by that, and the one that was not told to go by the error.
pub(crate) fn orphans_are_reaped() {
    let mut died = [0; 2];
    for round in 0..300 {
        doing(&format!("round {round}"));
        let zygote = Zygote::start_by_fork().expect("start");
        let pid = zygote.id().expect("it runs");
        let killer = raw_fork(|| {
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_micros(round * 3) {
                core::hint::spin_loop();
            }
            let _ = kill_process(pid, Signal::KILL);
            0
        });
        let mut children = Vec::new();
        while let Ok(child) = zygote.spawn(count_me, &[], &[]) {
            children.push(child);
        }
        died[usize::from(children.is_empty())] += 1;
        waitpid(Some(killer), WaitOptions::empty()).expect("wait");
        for child in children {
            status(child);
        }
        assert!(no_children(), "an orphan is left");
    }
    println!("killed after and before the first child: {died:?}");
}

/// A child that was asked for and is not wanted any more, at every moment of its beginning.
pub(crate) fn unwanted_children_are_reaped() {
    for round in 0..300_u64 {
        let zygote = Zygote::start_by_fork().expect("start");
        let mut spawning = zygote.begin_spawn(count_me, &[], &[]).expect("request");
        match round % 3 {
            0 => {}
            1 => assert!(readable(&spawning), "the child has said its first word"),
            _ => {
                let until = Deadline::after(Duration::from_micros(round));
                let _wanted = spawning.wait_until(until).expect("spawn").map(status);
            }
        }
        drop(spawning);
        drop(zygote);
        assert!(no_children(), "an orphan is left in round {round}");
    }
}

/// K17: whenever the application is killed, nothing of it is left a second later.
pub(crate) fn k17_at_any_moment() {
    for round in 0..200 {
        doing(&format!("round {round}"));
        let application = raw_fork(|| {
            let zygote = if round % 8 == 0 { Zygote::start_by_exec() } else { Zygote::start() };
            let zygote = zygote.expect("start");
            shared().words[1].store(1, SeqCst);
            loop {
                zygote.spawn(busy_for_the_application, &[], &[]).expect("spawn").detach();
            }
        });
        // Half of the rounds within the start, half within the spawns.
        while round % 2 == 1 && shared().words[1].load(SeqCst) == 0 {
            core::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(round * 20));
        kill_process(application, Signal::KILL).expect("kill");
        assert!(all_gone_within(SOON), "something outlived the application");
        shared().words[1].store(0, SeqCst);
    }
}

fn busy_for_the_application(mut start: Start) -> i32 {
    start.parent.exit_with_parent().expect("a thread");
    if let Some(ready) = start.fds.next() {
        rustix::io::write(&ready, b"r").expect("write");
    }
    loop {
        core::hint::spin_loop();
    }
}

pub(crate) fn p19_by_fork() {
    p19(Zygote::start_by_fork, true, false);
}

pub(crate) fn p19_by_exec() {
    p19(Zygote::start_by_exec, true, false);
}

pub(crate) fn p19_both() {
    for start in [Zygote::start_by_fork, Zygote::start_by_exec] {
        p19(start, true, true);
        // The zygote first, a while before.
        p19(start, false, true);
    }
}

fn p19(start: fn() -> Result<Zygote, ZygoteError>, at_once: bool, kill_zygote: bool) {
    const WORKERS: usize = 4;
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    doing("an application with busy workers");
    let application = raw_fork(|| {
        let zygote = start().expect("start");
        let zygote_pid = zygote.id().expect("it runs").as_raw_nonzero().get();
        shared().words[2].store(zygote_pid, SeqCst);
        let spawn = || zygote.spawn(busy_for_the_application, &[], &[writer.as_fd()]);
        let _children = [(); WORKERS].map(|()| spawn().expect("spawn"));
        pause_for_ever()
    });
    drop(writer);
    let mut ready = 0;
    while ready < WORKERS {
        let more = rustix::io::read(&reader, &mut [0; WORKERS]).expect("read");
        assert!(more > 0, "the application and its workers have ended");
        ready += more;
    }
    let zygote = Pid::from_raw(shared().words[2].load(SeqCst)).expect("a pid");
    if kill_zygote {
        kill_process(zygote, Signal::KILL).expect("kill");
    }
    if !at_once {
        doing("workers without a zygote");
        let gone = rustix::process::waitid(
            rustix::process::WaitId::All,
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG,
        );
        assert!(matches!(gone, Ok(None)), "workers go on: {gone:?}");
        assert!(
            !crate::tools::readable_within(&reader, Duration::ZERO),
            "the workers hold the pipe"
        );
    }
    kill_process(application, Signal::KILL).expect("kill");
    doing("waiting for the orphans");
    assert!(all_gone_within(SOON), "something outlived the application");
}

/// A stopped worker's watcher is stopped as well; it does its work when the worker is continued.
pub(crate) fn p19_stopped() {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let application = raw_fork(|| {
        let zygote = Zygote::start_by_fork().expect("start");
        let worker = zygote.spawn(busy_for_the_application, &[], &[writer.as_fd()]);
        let worker = worker.expect("spawn").id().as_raw_nonzero().get();
        shared().words[2].store(worker, SeqCst);
        pause_for_ever()
    });
    drop(writer);
    assert_eq!(rustix::io::read(&reader, &mut [0; 2]), Ok(1), "the worker runs");
    while shared().words[2].load(SeqCst) == 0 {
        core::hint::spin_loop();
    }
    let worker = Pid::from_raw(shared().words[2].load(SeqCst)).expect("a pid");
    let pidfd = pidfd_open(worker, PidfdFlags::empty()).expect("pidfd");
    kill_process(worker, Signal::STOP).expect("stop");
    while !has_stopped(worker) {
        std::thread::yield_now();
    }
    kill_process(application, Signal::KILL).expect("kill");
    let ended = crate::tools::readable_within(&pidfd, Duration::from_millis(100));
    assert!(!ended, "a stopped process cannot end itself");
    kill_process(worker, Signal::CONT).expect("continue");
    assert!(all_gone_within(SOON), "something outlived the application");
}

/// A fork of the application holds a copy of its socket: the zygote sees the death itself.
pub(crate) fn p19_copy() {
    for start in [Zygote::start_by_fork, Zygote::start_by_exec] {
        let ready = &shared().words[3];
        ready.store(0, SeqCst);
        let application = raw_fork(|| {
            let zygote = start().expect("start");
            let zygote_pid = zygote.id().expect("it runs").as_raw_nonzero().get();
            let copy = raw_fork(|| pause_for_ever());
            shared().words[2].store(copy.as_raw_nonzero().get(), SeqCst);
            ready.store(zygote_pid, SeqCst);
            pause_for_ever()
        });
        while ready.load(SeqCst) == 0 {
            core::hint::spin_loop();
        }
        let [copy, zygote] = [2, 3].map(|at| shared().words[at].load(SeqCst));
        let [copy, zygote] = [copy, zygote].map(|pid| Pid::from_raw(pid).expect("a pid"));
        let pidfd = rustix::process::pidfd_open(zygote, rustix::process::PidfdFlags::empty());
        kill_process(application, Signal::KILL).expect("kill");
        doing("waiting for the zygote");
        let ended = crate::tools::readable_within(&pidfd.expect("it runs"), SOON);
        kill_process(copy, Signal::KILL).expect("kill");
        let _ = kill_process(zygote, Signal::KILL);
        assert!(all_gone_within(LONG));
        assert!(ended, "the zygote outlived the application");
    }
}
