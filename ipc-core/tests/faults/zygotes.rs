//! Zygotes, and functions in processes of their own.

use core::sync::atomic::Ordering::SeqCst;
use std::os::fd::AsFd;

use ipc_core::clock::Deadline;
use ipc_core::connection::{self, Sender};
use ipc_core::process::{Child, Context, ExitStatus, Process, Start, StartMethod, Zygote};
use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::shared;
use ipc_testkit::faults::{Attempt, Case, Suite, Trouble, check, unharmed};
use rustix::process::{Pid, Signal, getppid, kill_process};

use crate::processes::{expect, settle};

/// The exit code of a child that could not read its argument, as documented.
const NOT_UNDERSTOOD: i32 = 124;

/// The exit code of a zygote's child that ran out of something before it could hear its *go*: it is an error that
/// the application learns as it learns any other death of a child before its first line.
const NOT_BEGUN: i32 = 127;

pub(crate) fn all(suite: &mut Suite) {
    // Mapped before anything is forked.
    shared();
    starting(suite);
    preloading(suite);
    spawning(suite);
    telling(suite);
    functions(suite);
}

fn starting(suite: &mut Suite) {
    suite.everywhere(&Case::new("Zygote::start_by_fork", |me| {
        let zygote = me.operation(Zygote::start_by_fork)?;
        works(&zygote)
    }));
    let by_exec = |me: &Attempt| {
        let zygote = me.operation(Zygote::start_by_exec)?;
        works(&zygote)
    };
    suite.everywhere(&Case::new("Zygote::start_by_exec", by_exec));
    suite.everywhere(
        &Case::new("Zygote::start_by_exec, in the program too", by_exec).in_programs_too(),
    );
    suite.everywhere(&Case::new("Zygote::restart", |me| {
        let zygote = Zygote::start_by_exec()?;
        me.operation(|| zygote.restart())?;
        works(&zygote)
    }));
    suite.everywhere(&Case::new("Zygote::restart, after an error too", |me| {
        let zygote = Zygote::start_by_exec()?;
        let result = me.operation(|| zygote.restart());
        if result.is_err() {
            zygote.restart()?;
        }
        works(&zygote)?;
        result
    }));
}

fn preloading(suite: &mut Suite) {
    fn prepare() {
        unharmed();
        shared().words[1].fetch_add(1, SeqCst);
    }
    let preload = |me: &Attempt| {
        let calls = &shared().words[1];
        calls.store(0, SeqCst);
        let zygote = me.operation(|| Zygote::builder().preload(prepare).start_by_fork())?;
        check(calls.load(SeqCst) == 1, "it was not called once")?;
        works(&zygote)
    };
    suite.everywhere(&Case::new("Zygote::builder, preload", preload));
    suite.everywhere(
        &Case::new("Zygote::builder, preload, in the zygote too", preload).in_helpers_too(),
    );
}

/// On a kernel that keeps no exit status: the zygote tells it.
fn telling(suite: &mut Suite) {
    const PIDFD_GET_INFO: u32 = 0xc040_ff0b;
    let tell = |me: &Attempt| {
        let refusal = libc::SECCOMP_RET_ERRNO | libc::ENOTTY as u32;
        answer(libc::SYS_ioctl, &When::Equal(1, PIDFD_GET_INFO), refusal);
        let zygote = Zygote::start_by_fork()?;
        let status = me.operation(|| -> Result<_, Box<dyn core::error::Error>> {
            Ok(zygote.spawn(length, b"four", &[])?.wait()?)
        })?;
        match status {
            ExitStatus::Exited(4) => Ok(()),
            ExitStatus::Exited(NOT_BEGUN) => Err(Trouble::refused("not begun in the child")),
            ExitStatus::Unknown => Err(Trouble::refused("nobody could tell the status")),
            other => Err(Trouble::wrong(other)),
        }
    };
    suite.everywhere(&Case::new("Child::wait, before Linux 6.15", tell));
    suite.everywhere(
        &Case::new("Child::wait, before Linux 6.15, in the zygote too", tell).in_helpers_too(),
    );
}

fn spawning(suite: &mut Suite) {
    let spawn = |me: &Attempt| {
        let zygote = Zygote::start_by_fork()?;
        let file = std::fs::File::open("/dev/null")?;
        let runs = &shared().words[0];
        runs.store(0, SeqCst);
        let spawned = me.operation(|| zygote.spawn(length, b"four", &[file.as_fd()]));
        match spawned {
            Ok(child) => ends(child, 4),
            Err(trouble) => {
                // A zygote that is left can be replaced.
                zygote.restart()?;
                check(runs.load(SeqCst) == 0, "an error, and the entry ran")?;
                expect(zygote.spawn(length, b"four", &[])?, ExitStatus::Exited(4))?;
                Err(trouble)
            }
        }
    };
    suite.everywhere(&Case::new("Zygote::spawn", spawn));
    suite.everywhere(&Case::new("Zygote::spawn, in the zygote too", spawn).in_helpers_too());
    suite.everywhere(&Case::new("Zygote::spawn, twice after an error", |me| {
        let zygote = Zygote::start_by_fork()?;
        let spawned = me.operation(|| zygote.spawn(length, b"four", &[]));
        match spawned {
            Ok(child) => expect(child, ExitStatus::Exited(4)),
            // An error of this one says nothing of the next, unless the zygote is gone.
            Err(trouble) => {
                if let Ok(child) = zygote.spawn(length, b"four", &[]) {
                    expect(child, ExitStatus::Exited(4))?;
                }
                Err(trouble)
            }
        }
    }));
    suite.everywhere(&Case::new("Zygote::begin_spawn", |me| {
        let zygote = Zygote::start_by_fork()?;
        let child = me.operation(|| {
            let mut spawning = zygote.begin_spawn(length, b"four", &[])?;
            spawning.wait_until(Deadline::FAR)
        })?;
        let child = child.ok_or_else(|| Trouble::wrong("it did not wait"))?;
        expect(child, ExitStatus::Exited(4))
    }));
    let become_child = |me: &Attempt| {
        let zygote = Zygote::start_by_fork()?;
        ends(me.operation(|| zygote.become_child(length, b"four", &[]))?, 4)
    };
    suite.everywhere(&Case::new("Zygote::become_child", become_child));
    suite.everywhere(
        &Case::new("Zygote::become_child, in the zygote too", become_child).in_helpers_too(),
    );
    let watch = |me: &Attempt| {
        let zygote = Zygote::start_by_fork()?;
        let mut child = me.operation(|| zygote.spawn(watches, b"", &[]))?;
        match child.wait()? {
            ExitStatus::Exited(NOT_WATCHED) => Err(Trouble::refused("the child cannot watch")),
            ExitStatus::Exited(NOT_BEGUN) => Err(Trouble::refused("not begun in the child")),
            status => check(status == ExitStatus::Exited(4), status),
        }
    };
    suite.everywhere(&Case::new("ParentWatch, in the child", watch).in_helpers_too());
    suite.everywhere(&Case::new("Child::wait, of a zygote's child", |me| {
        let zygote = Zygote::start_by_fork()?;
        let mut child = zygote.spawn(length, b"four", &[])?;
        let status = settle(&mut child, |child| me.operation(|| child.wait()))?;
        // A kernel without the question for it does not know.
        check(matches!(status, ExitStatus::Exited(4) | ExitStatus::Unknown), status)
    }));
}

fn functions(suite: &mut Suite) {
    for (name, method) in [
        ("Process::start_in, fork", StartMethod::Fork),
        ("Process::start_in, spawn", StartMethod::Spawn),
        ("Process::start_in, forkserver", StartMethod::ForkServer),
        ("Process::start_in, auto", StartMethod::Auto),
    ] {
        let call = move |me: &Attempt, argument: &str| {
            let context = Context::new(method);
            let (mut receiver, sender) = connection::simplex()?;
            let process = Process::new(say, (sender, argument.to_owned())).name("bob");
            ends(me.operation(|| process.start_in(&context))?, 5)?;
            check(receiver.recv_value::<String>()? == argument, "it said something else")
        };
        suite.everywhere(&Case::new(name, move |me| call(me, "hello")));
        if method == StartMethod::Fork {
            // What a daemon needs is had in the parent.
            suite.everywhere(&Case::new("Process::start_in, daemon", move |me| {
                let context = Context::new(method);
                let process = Process::new(|()| 5, ()).daemon(true);
                ends(me.operation(|| process.start_in(&context))?, 5)
            }));
        }
        if method == StartMethod::ForkServer {
            suite.everywhere(&Case::new("Process::start_in, helper killed", move |me| {
                let context = Context::new(method);
                let (mut receiver, sender) = connection::simplex()?;
                kill_helper_of(&context)?;
                let process = Process::new(say, (sender, String::from("hello")));
                ends(me.operation(|| process.start_in(&context))?, 5)?;
                check(receiver.recv_value::<String>()? == "hello", "it said something else")
            }));
            // Its argument travels in a file.
            let long = "hello".repeat(10_000);
            suite.everywhere(&Case::new("Process::start_in, long", move |me| call(me, &long)));
        }
    }
}

/// Starts the helper of `context`, and kills it.
fn kill_helper_of(context: &Context) -> Result<(), Trouble> {
    let (mut receiver, sender) = connection::simplex()?;
    let tell = |mut sender: Sender| {
        let helper = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        sender.send_value(&helper).map_or(1, |()| 5)
    };
    ends(Process::new(tell, sender).start_in(context)?, 5)?;
    let helper = Pid::from_raw(receiver.recv_value::<i32>()?);
    kill_process(helper.ok_or_else(|| Trouble::wrong("no helper"))?, Signal::KILL)?;
    Ok(())
}

fn say((mut sender, word): (Sender, String)) -> i32 {
    unharmed();
    sender.send_value(&word).map_or(1, |()| 5)
}

/// The child ends with this code, or could not begin.
fn ends(mut child: Child, code: i32) -> Result<(), Trouble> {
    match child.wait()? {
        ExitStatus::Exited(found) if found == code => Ok(()),
        ExitStatus::Exited(NOT_UNDERSTOOD) => Err(Trouble::refused("not understood in the child")),
        ExitStatus::Exited(NOT_BEGUN) => Err(Trouble::refused("not begun in the child")),
        status => Err(Trouble::wrong(status)),
    }
}

fn works(zygote: &Zygote) -> Result<(), Trouble> {
    expect(zygote.spawn(length, b"four", &[])?, ExitStatus::Exited(4))
}

/// The exit code of a child that could not watch its application.
const NOT_WATCHED: i32 = 9;

fn watches(start: Start) -> i32 {
    let watches =
        start.parent.is_alive().ok() == Some(true) && start.parent.exit_with_parent().is_ok();
    unharmed();
    if watches { 4 } else { NOT_WATCHED }
}

fn length(start: Start) -> i32 {
    unharmed();
    shared().words[0].fetch_add(1, SeqCst);
    start.bytes.len() as i32
}
