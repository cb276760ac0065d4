//! Starting processes: what waits for another process for microseconds, and what can be made to wait.

use ipc_core::clock::Deadline;
use ipc_core::process::{
    Child, Context, ExitStatus, Process, Signal, Spawn, StartMethod, Zygote, fork_fn,
};
use ipc_testkit::cases::storm::{HANDLERS, LONG, again_and_again, with_peer};
use rustix::process::kill_process;

use crate::succeeds;

pub(crate) fn programs_and_forks() {
    for flags in HANDLERS {
        again_and_again("fork_fn", flags, || succeeds(fork_fn(|| 0).expect("fork")));
        again_and_again("Spawn::spawn", flags, || {
            succeeds(Spawn::new("true").spawn().expect("spawn"));
        });
        let prepared = Spawn::new("true").prepare().expect("prepare");
        again_and_again("Prepared::spawn", flags, || succeeds(prepared.spawn().expect("spawn")));
    }
}

fn expect_seven(mut child: Child) {
    // Before Linux 6.15 nobody keeps the status of a child that is not ours.
    let status = child.wait().expect("wait");
    assert!(matches!(status, ExitStatus::Exited(7) | ExitStatus::Unknown), "{status}");
}

pub(crate) fn functions() {
    // Once in the bytes of a request, once in a file.
    let arguments = [vec![7; 7], vec![7; 100_000]];
    for method in [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer] {
        for flags in HANDLERS {
            again_and_again(&format!("Process::start_in, {method:?}"), flags, || {
                // A context starts its helper with its first process, and ends it.
                let context = Context::new(method);
                for argument in &arguments {
                    let first = |argument: Vec<u8>| i32::from(argument[0]);
                    let process = Process::new(first, argument.clone()).name("in a storm");
                    expect_seven(process.start_in(&context).expect("start"));
                }
            });
        }
    }
    for flags in HANDLERS {
        again_and_again("a daemon", flags, || {
            let process = Process::new(|()| 7, ()).daemon(true);
            expect_seven(process.start_in(&Context::new(StartMethod::ForkServer)).expect("start"));
        });
    }
}

pub(crate) fn zygotes() {
    for flags in HANDLERS {
        again_and_again("Zygote::start_by_fork", flags, || {
            drop(Zygote::start_by_fork().expect("start"));
        });
        again_and_again("Zygote::become_child", flags, || {
            let zygote = Zygote::start_by_exec().expect("start");
            let mut child = zygote.become_child(|_| 7, &[], &[]).expect("its last child");
            assert_eq!(child.wait(), Ok(ExitStatus::Exited(7)));
        });
        let zygote = Zygote::start_by_exec().expect("start");
        again_and_again("Zygote::restart", flags, || zygote.restart().expect("restart"));

        // One that is stopped makes its application wait.
        let pid = zygote.id().expect("it was started");
        let stop = || kill_process(pid, Signal::STOP).expect("kill");
        let go_on = || kill_process(pid, Signal::CONT).expect("kill");
        stop();
        let child = with_peer("Zygote::spawn", flags, go_on, || zygote.spawn(|_| 7, &[], &[]));
        expect_seven(child.expect("spawn"));
        stop();
        let child = with_peer("Spawning::wait_until", flags, go_on, || {
            let mut spawning = zygote.begin_spawn(|_| 7, &[], &[])?;
            spawning.wait_until(Deadline::after(LONG))
        });
        expect_seven(child.expect("spawn").expect("in time"));
    }
}
