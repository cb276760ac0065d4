//! What is asked for: each ends with the full right result, or with the words of an error.

use core::fmt::Display;
use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};

use ipc_core::clock::Deadline;
use ipc_core::connection::{Connection, RecvError, Sender, pair, simplex, wait_any};
use ipc_core::identity::{Identity, Liveness, ProcessId};
use ipc_core::parcel::Handle;
use ipc_core::process::{
    Context, ExitStatus, Process, Signal, Spawn, Start, StartMethod, Zygote, ZygoteError, fork_fn,
};
use ipc_testkit::cases::signals::on_signal;

use crate::tools::{
    Ended, LONG, Outcome, SOON, all_gone_within, is_seven, pause_for_ever, raw_fork, raw_kill,
    raw_wait, read_all, readable, said, stop,
};

pub(crate) struct Capability {
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Outcome,
}

const fn capability(name: &'static str, run: fn() -> Outcome) -> Capability {
    Capability { name, run }
}

pub(crate) const ALL: [Capability; 24] = [
    capability("fork_fn", forked),
    capability("Spawn", spawned),
    capability("Child, its waits", waits),
    capability("Child, its signals", signals),
    capability("Child, terminate_graceful", terminate),
    capability("Child, terminate_group_graceful", terminate_group),
    capability("Child, status beside SIGCHLD ignored", status_of_reaped),
    capability("Zygote by fork", || zygote(Zygote::start_by_fork)),
    capability("Zygote by exec", || zygote(Zygote::start_by_exec)),
    capability("Zygote by whatever goes", || zygote(Zygote::start)),
    capability("Zygote, become_child", become_child),
    capability("Process, fork", || process(StartMethod::Fork)),
    capability("Process, spawn", || process(StartMethod::Spawn)),
    capability("Process, forkserver", || process(StartMethod::ForkServer)),
    capability("Process, auto", || process(StartMethod::Auto)),
    capability("Process, auto beside threads", beside_threads),
    capability("daemon, fork", || daemon(StartMethod::Fork)),
    capability("daemon, spawn", || daemon(StartMethod::Spawn)),
    capability("daemon, forkserver", || daemon(StartMethod::ForkServer)),
    capability("daemon, auto", || daemon(StartMethod::Auto)),
    capability("ParentWatch", parent_watch),
    capability("connection, with handles", connection),
    capability("ProcessId, current", identity),
    capability("ProcessId, liveness", liveness),
];

fn forked() -> Outcome {
    let child = fork_fn(|| 7).map_err(said)?;
    let mut child = Ended(child);
    is_exactly_seven(child.0.wait().map_err(said)?)
}

fn is_exactly_seven(status: ExitStatus) -> Outcome {
    assert_eq!(status, ExitStatus::Exited(7));
    Ok(())
}

fn spawned() -> Outcome {
    let (said_by_child, saying) = pipe();
    let script = "echo $A; ls -d 5 2> /dev/null; exit 7";
    let mut program = Spawn::new("/bin/sh");
    program.args(["-c", script]).env("A", "b").stdout(saying.as_fd()).new_session();
    let mut child = Ended(program.spawn().map_err(said)?);
    drop(program);
    drop(saying);
    assert_eq!(read_all(&said_by_child), "b\n");
    match child.0.wait() {
        Ok(status) => is_exactly_seven(status),
        Err(errno) => Err(said(errno)),
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe")
}

/// A program that sleeps.
fn sleeper() -> Result<Ended, String> {
    Ok(Ended(Spawn::new("/bin/sleep").arg("60").spawn().map_err(said)?))
}

const fn by(signal: i32) -> ExitStatus {
    ExitStatus::Signaled { signal, core_dumped: false }
}

fn waits() -> Outcome {
    let mut child = sleeper()?;
    assert_eq!(child.0.try_wait().map_err(said)?, None);
    assert_eq!(child.0.wait_timeout(Duration::from_millis(5)).map_err(said)?, None);
    raw_kill(child.0.id().as_raw_nonzero().get(), libc::SIGKILL);
    let mut fds = [child.0.as_fd()];
    assert_eq!(wait_any(&fds, Deadline::after(LONG)).map_err(said)?, [0]);
    fds.reverse();
    assert_eq!(child.0.wait_timeout(LONG).map_err(said)?, Some(by(9)));
    assert_eq!(child.0.wait().map_err(said)?, by(9));
    Ok(())
}

fn signals() -> Outcome {
    for (signal, number) in [(Signal::TERM, 15), (Signal::KILL, 9)] {
        let mut child = sleeper()?;
        child.0.signal(signal).map_err(said)?;
        assert_eq!(child.0.wait_timeout(LONG).map_err(said)?, Some(by(number)));
    }
    Ok(())
}

fn terminate() -> Outcome {
    let mut child = sleeper()?;
    assert_eq!(child.0.terminate_graceful(LONG).map_err(said)?, by(15));
    let mut stopped = sleeper()?;
    stop(&stopped.0);
    assert_eq!(stopped.0.terminate_graceful(Duration::from_millis(10)).map_err(said)?, by(9));
    Ok(())
}

/// What is over when the shell has ended: nobody reaps the others, so they count as left.
const GRACE: Duration = Duration::from_millis(150);

fn terminate_group() -> Outcome {
    let (ready, saying) = pipe();
    let mut shell = Spawn::new("/bin/sh");
    shell.args(["-c", "sleep 60 & sleep 60 & echo; wait"]).new_process_group();
    let shell = shell.stdout(saying.as_fd()).spawn().map_err(said)?;
    let mut shell = Ended(shell);
    drop(saying);
    assert!(readable(&ready, LONG));
    let ended = shell.0.terminate_group_graceful(GRACE).map_err(said);
    if ended.is_err() {
        raw_kill(-shell.0.id().as_raw_nonzero().get(), libc::SIGKILL);
    }
    drop(shell);
    assert!(all_gone_within(SOON), "the group is left");
    assert_eq!(ended?, by(15));
    Ok(())
}

/// Somebody ignores SIGCHLD: the kernel reaps.
fn status_of_reaped() -> Outcome {
    on_signal(libc::SIGCHLD, libc::SIG_IGN, 0);
    let child = Spawn::new("/bin/sh").args(["-c", "exit 7"]).spawn();
    on_signal(libc::SIGCHLD, libc::SIG_IGN, 0);
    let mut child = child.map_err(said)?;
    is_seven(child.wait_timeout(LONG).map_err(said)?)
}

/// Its descriptor is the one that it was given, and its application lives.
fn answer(mut start: Start) -> i32 {
    let fd = start.fds.next().expect("a descriptor");
    assert_eq!(start.parent.is_alive(), Ok(true));
    rustix::io::write(&fd, &start.bytes).expect("write");
    7
}

fn zygote(start: fn() -> Result<Zygote, ZygoteError>) -> Outcome {
    let zygote = start().map_err(said)?;
    for _ in 0..2 {
        let (heard, saying) = pipe();
        let mut child = zygote.spawn(answer, b"hello", &[saying.as_fd()]).map_err(said)?;
        drop(saying);
        assert_eq!(read_all(&heard), "hello");
        is_seven_of_a_zygote(child.wait_timeout(LONG).map_err(said)?);
    }
    Ok(())
}

/// Its parent is the zygote, so that its status may be unknown before Linux 6.15.
fn is_seven_of_a_zygote(status: Option<ExitStatus>) {
    let status = status.expect("it ends");
    assert!(matches!(status, ExitStatus::Exited(7) | ExitStatus::Unknown), "{status}");
}

fn become_child() -> Outcome {
    let (heard, saying) = pipe();
    let zygote = Zygote::start_by_exec().map_err(said)?;
    let child = zygote.become_child(answer, b"hello", &[saying.as_fd()]).map_err(said)?;
    drop(saying);
    assert_eq!(read_all(&heard), "hello");
    let mut child = Ended(child);
    is_exactly_seven(child.0.wait().map_err(said)?)
}

fn process(method: StartMethod) -> Outcome {
    fn add((mut sender, number): (Sender, i32)) -> i32 {
        sender.send_value(&(number + 2)).expect("send");
        7
    }
    let context = Context::new(method);
    for long in [0, 100_000] {
        let (mut receiver, sender) = simplex().map_err(said)?;
        let f = |(sender, number, _): (Sender, i32, Vec<u8>)| add((sender, number));
        let child =
            Process::new(f, (sender, 40, vec![1; long])).start_in(&context).map_err(said)?;
        let mut child = Ended(child);
        assert_eq!(receiver.recv_timeout(LONG).as_deref(), Ok(&[84][..]), "42 as postcard has it");
        let status = child.0.wait_timeout(LONG).map_err(said)?;
        match method {
            StartMethod::Fork | StartMethod::Spawn => {
                assert_eq!(status, Some(ExitStatus::Exited(7)))
            }
            _ => is_seven_of_a_zygote(status),
        }
    }
    Ok(())
}

fn beside_threads() -> Outcome {
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new();
        // Where this is refused, it is the system's own `clone`.
        let beside = thread.spawn_scoped(scope, move || stopped.recv()).map_err(said)?;
        let outcome = process(StartMethod::Auto);
        drop(stop);
        beside.join().expect("no panic").expect_err("the end");
        outcome
    })
}

fn say(to: &OwnedFd, error: impl Display) {
    rustix::io::write(to, error.to_string().as_bytes()).expect("write");
}

/// Says that it is there, and stays.
fn stay(mut sender: Sender) {
    sender.send(b"here").expect("send");
    pause_for_ever();
}

fn daemon(method: StartMethod) -> Outcome {
    let (mut receiver, sender) = simplex().map_err(said)?;
    let (words, saying) = pipe();
    let mut ends = Some((sender, saying));
    let parent = raw_fork(|| {
        let (sender, saying) = ends.take().expect("once");
        // What the daemon itself says when it cannot be one.
        rustix::stdio::dup2_stderr(&saying).expect("dup2");
        let context = Context::new(method);
        match Process::new(stay, sender).daemon(true).start_in(&context) {
            Ok(mut child) => {
                let Ok(status) = child.wait() else { pause_for_ever() };
                println!("the daemon ended: {status}");
            }
            Err(error) => say(&saying, error),
        }
        0
    });
    drop(ends);
    let began = receiver.recv_timeout(LONG);
    if began == Err(RecvError::Closed) {
        assert!(readable(&words, LONG), "somebody says why");
    }
    raw_kill(parent, libc::SIGKILL);
    raw_wait(parent);
    let ended = receiver.recv_timeout(SOON);
    assert!(all_gone_within(SOON), "something outlived the application");
    match began.as_deref() {
        Ok(b"here") => {
            assert_eq!(ended, Err(RecvError::Closed), "the daemon outlived its parent");
            Ok(())
        }
        Err(RecvError::Closed) => Err(read_all(&words).trim().to_owned()),
        other => panic!("{other:?}"),
    }
}

/// A child of a zygote ends with the application, also when it looks for that itself.
fn parent_watch() -> Outcome {
    fn watch(mut start: Start) -> i32 {
        let ready = start.fds.next().expect("a descriptor");
        assert_eq!(start.parent.is_alive(), Ok(true));
        rustix::io::write(&ready, b"r").expect("write");
        let seen = wait_any(&[start.parent.as_fd()], Deadline::after(LONG));
        assert_eq!((seen, start.parent.is_alive()), (Ok(vec![0]), Ok(false)));
        rustix::io::write(&ready, b"e").expect("write");
        0
    }
    let (heard, saying) = pipe();
    let mut saying = Some(saying);
    let application = raw_fork(|| {
        let saying = saying.take().expect("once");
        let error = match Zygote::start() {
            Err(error) => error,
            Ok(zygote) => match zygote.spawn(watch, &[], &[saying.as_fd()]) {
                Err(error) => error,
                Ok(_child) => pause_for_ever(),
            },
        };
        say(&saying, error);
        0
    });
    drop(saying);
    assert!(readable(&heard, LONG));
    raw_kill(application, libc::SIGKILL);
    raw_wait(application);
    let text = read_all(&heard);
    assert!(all_gone_within(SOON), "something outlived the application");
    if text == "re" { Ok(()) } else { Err(text) }
}

fn connection() -> Outcome {
    let (mut ours, mut theirs) = pair().map_err(said)?;
    let mut slot = Some(theirs);
    let other = raw_fork(|| {
        let mut theirs = slot.take().expect("once");
        let (mut sender, handle): (Sender, Handle) = theirs.recv_value().expect("recv");
        assert_eq!(rustix::io::write(&handle, b"file"), Ok(4));
        sender.send(b"sent").expect("send");
        let mut back: Connection = theirs.recv_value().expect("recv");
        back.send(&vec![7; 100_000]).expect("send");
        0
    });
    theirs = slot.take().expect("ours");
    drop(theirs);
    let (file, writing) = pipe();
    let (mut receiver, sender) = simplex().map_err(said)?;
    ours.send_value(&(sender, Handle::from(writing))).map_err(said)?;
    let (mut near, far) = pair().map_err(said)?;
    ours.send_value(&far).map_err(said)?;
    drop(far);
    let ready = wait_any(&[&receiver], Deadline::after(LONG)).map_err(said)?;
    assert_eq!((ready, receiver.recv()), (vec![0], Ok(b"sent".to_vec())));
    assert_eq!(near.recv_timeout(LONG), Ok(vec![7; 100_000]));
    assert_eq!(raw_wait(other), Some(0));
    assert_eq!(receiver.recv_timeout(LONG), Err(RecvError::Closed));
    assert_eq!(read_all(&file), "file");
    Ok(())
}

fn identity() -> Outcome {
    let me = Identity::current().map_err(said)?;
    assert_eq!(ProcessId::current(), Ok(me.id));
    assert_eq!(me.id.pid(), rustix::process::getpid());
    Ok(())
}

/// Of this process, and of another while it lives, when it is a zombie, and when it is gone.
fn liveness() -> Outcome {
    let is = |id: ProcessId, what: &str, expected: Liveness| match id.liveness() {
        Liveness::Unknown => Err(format!("whether {what} lives is unknown")),
        found => {
            assert_eq!(found, expected, "{what}");
            Ok(())
        }
    };
    let me = ProcessId::current().map_err(said)?;
    let (heard, saying) = pipe();
    let mut saying = Some(saying);
    let other = raw_fork(|| {
        let saying = saying.take().expect("once");
        let bits = ProcessId::current().map_or(0, ProcessId::to_bits);
        rustix::io::write(&saying, &bits.to_le_bytes()).expect("write");
        pause_for_ever()
    });
    drop(saying);
    let mut bits = [0; 8];
    assert_eq!(rustix::io::read(&heard, &mut bits), Ok(8));
    let id = ProcessId::from_bits(u64::from_le_bytes(bits)).expect("an id, as this one has");
    let alive = is(me, "this process", Liveness::Alive).and(is(id, "another", Liveness::Alive));
    raw_kill(other, libc::SIGKILL);
    assert!(readable(&heard, LONG));
    let zombie = loop {
        // Its descriptors are closed shortly before it has ended.
        match id.liveness() {
            Liveness::Alive => std::thread::yield_now(),
            _ => break is(id, "a zombie", Liveness::Dead),
        }
    };
    raw_wait(other);
    alive.and(zombie).and(is(id, "one that is gone", Liveness::Dead))
}
