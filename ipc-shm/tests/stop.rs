//! A request to stop reaches everybody, whoever makes it and wherever it is killed.

use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::time::Instant;

use ipc_core::clock::Deadline;
use ipc_core::connection::{Sender, simplex, wait_any};
use ipc_core::parcel::Parcel;
use ipc_core::process::{Child, Context, ExitStatus, Process, StartMethod, fork_fn};
use ipc_shm::StopToken;
use ipc_testkit::cases::signals::{interrupt_every, on_signal};
use ipc_testkit::cases::{self, doing, open_fds};

fn main() -> ExitCode {
    cases::run(&[
        ("everybody_is_asked", everybody_is_asked),
        ("stopper_killed_half_way", stopper_killed_half_way),
        ("who_comes_later_is_asked", who_comes_later),
        ("stop_is_said_once", said_once),
        ("s01_deadline_holds_among_signals", s01_deadline_holds),
        ("a_tree_of_processes_ends", a_tree_ends),
        ("x01_short_of_descriptors", x01_short_of_descriptors),
    ])
}

const METHODS: [StartMethod; 4] =
    [StartMethod::Auto, StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer];

fn copy(token: &StopToken) -> StopToken {
    Parcel::pack(token).and_then(Parcel::unpack).expect("it travels")
}

fn is_good(mut child: Child) -> bool {
    matches!(child.wait().expect("wait"), ExitStatus::Exited(0) | ExitStatus::Unknown)
}

/// One that only looks, and one that waits, of each kind of child.
fn everybody_is_asked() {
    fn look((token, mut ready): (StopToken, Sender)) {
        ready.send(b"ready").expect("send");
        while !token.is_stopped() {
            std::thread::yield_now();
        }
    }
    fn wait((token, mut ready): (StopToken, Sender)) -> i32 {
        ready.send(b"ready").expect("send");
        i32::from(token.wait(Deadline::FAR) != Ok(true))
    }
    for method in METHODS {
        doing("stopping processes");
        let (context, token) = (Context::new(method), StopToken::new().expect("a token"));
        let (mut ready, mut children) = (Vec::new(), Vec::new());
        for number in 0..4 {
            let (receiver, sender) = simplex().expect("simplex");
            let argument = (copy(&token), sender);
            ready.push(receiver);
            children.push(if number % 2 == 0 {
                Process::new(look, argument).start_in(&context).expect("start")
            } else {
                Process::new(wait, argument).start_in(&context).expect("start")
            });
        }
        for receiver in &mut ready {
            assert_eq!(receiver.recv().as_deref(), Ok(&b"ready"[..]));
        }
        assert_eq!(wait_any(&children, Deadline::now()), Ok(Vec::new()), "nobody has said stop");
        // Said by a child, not by who made the token.
        let stopper = fork_fn(|| i32::from(token.stop().is_err())).expect("fork");
        assert!(is_good(stopper));
        assert!(children.into_iter().all(is_good));
        assert!(token.is_stopped());
    }
}

/// What a stopper leaves that is killed between its two steps: the event alone.
fn stopper_killed_half_way() {
    let token = StopToken::new().expect("a token");
    let looker = fork_fn(|| {
        while !token.is_stopped() {
            std::thread::yield_now();
        }
        0
    });
    rustix::io::write(token.as_fd(), &1_u64.to_ne_bytes()).expect("write");
    assert!(!token.is_stopped(), "nobody has found it");
    let waiter = fork_fn(|| i32::from(token.wait(Deadline::FAR) != Ok(true))).expect("fork");
    assert!(is_good(waiter));
    assert!(token.is_stopped());
    assert!(is_good(looker.expect("fork")));
}

fn who_comes_later() {
    let token = StopToken::new().expect("a token");
    token.stop().expect("stop");
    for method in METHODS {
        let process = Process::new(|token: StopToken| i32::from(!token.is_stopped()), copy(&token));
        assert!(is_good(process.start_in(&Context::new(method)).expect("start")));
    }
    assert_eq!(token.wait(Deadline::now()), Ok(true));
    assert_eq!(wait_any(&[&token], Deadline::now()), Ok(vec![0]));
}

fn said_once() {
    let token = StopToken::new().expect("a token");
    // As full as an event can be.
    rustix::io::write(token.as_fd(), &(u64::MAX - 1).to_ne_bytes()).expect("write");
    for _ in 0..3 {
        assert_eq!(token.stop(), Ok(()));
        assert!(token.is_stopped());
    }
}

fn s01_deadline_holds() {
    extern "C" fn nothing(_: i32) {}
    let token = StopToken::new().expect("a token");
    let handler = nothing as extern "C" fn(i32) as usize;
    on_signal(rustix::process::Signal::ALARM.as_raw(), handler, 0);
    interrupt_every(50);
    let (began, span) = (Instant::now(), Duration::from_millis(50));
    assert_eq!(token.wait(Deadline::after(span)), Ok(false));
    interrupt_every(0);
    let took = began.elapsed();
    assert!(took >= span && took < Duration::from_secs(10), "{took:?}");
}

/// The seed's graceful termination: one word ends children and grandchildren, and none is left.
fn a_tree_ends() {
    fn branch((token, depth, mut ready): (StopToken, u32, Sender)) -> i32 {
        let context = Context::new(StartMethod::ForkServer);
        let children: Vec<_> = (0..if depth > 0 { 2 } else { 0 })
            .map(|_| {
                let ready = Parcel::pack(&ready).and_then(Parcel::unpack).expect("it travels");
                let argument = (copy(&token), depth - 1, ready);
                Process::new(branch, argument).start_in(&context).expect("start")
            })
            .collect();
        ready.send(b"ready").expect("send");
        let asked = token.wait(Deadline::FAR) == Ok(true);
        i32::from(!asked || !children.into_iter().all(is_good))
    }
    let token = StopToken::new().expect("a token");
    let (mut ready, sender) = simplex().expect("simplex");
    let context = Context::new(StartMethod::Auto);
    let process = Process::new(branch, (copy(&token), 2, sender));
    let root = process.start_in(&context).expect("start");
    for _ in 0..7 {
        assert_eq!(ready.recv().as_deref(), Ok(&b"ready"[..]));
    }
    token.stop().expect("stop");
    assert!(is_good(root));
    // All seven had it, and all are gone.
    assert_eq!(ready.recv(), Err(ipc_core::connection::RecvError::Closed));
}

fn x01_short_of_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let (limit, before) = (getrlimit(Resource::Nofile), open_fds());
    // The numbers that the two descriptors of a token would get.
    let next = [(); 2].map(|()| rustix::io::dup(std::io::stdin()).expect("dup"));
    let numbers = next.map(|fd| fd.as_raw_fd() as u64);
    for free in numbers {
        let few = Rlimit { current: Some(free), maximum: limit.maximum };
        setrlimit(Resource::Nofile, few).expect("setrlimit");
        let refused = StopToken::new().map(drop);
        setrlimit(Resource::Nofile, limit).expect("setrlimit");
        refused.expect_err("no room for two");
        assert_eq!(open_fds(), before);
    }
    drop(StopToken::new().expect("a token"));
}
