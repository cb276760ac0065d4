//! A request to stop reaches everybody, whoever makes it and wherever it is killed.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::sync::OnceLock;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::connection::{Sender, simplex, wait_any};
use ipc_core::parcel::Parcel;
use ipc_core::process::{Child, Context, ExitStatus, Process, StartMethod, fork_fn};
use ipc_shm::StopToken;
use ipc_testkit::cases::signals::on_signal;
use ipc_testkit::cases::storm::{HANDLERS, again_and_again, in_vain, until_done, with_peer};
use ipc_testkit::cases::{self, doing, open_fds};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::process::{Signal, getppid, kill_process};

fn main() -> ExitCode {
    cases::run(&[
        ("everybody_is_asked", everybody_is_asked),
        ("stopper_killed_half_way", stopper_killed_half_way),
        ("who_comes_later_is_asked", who_comes_later),
        ("stop_is_said_once", said_once),
        ("stop_that_fails_stops_nobody", failed_stop),
        ("word_counts_without_the_event", word_counts),
        ("descriptors_are_not_inherited", not_inherited),
        ("s01_signals_change_nothing", s01_signals_change_nothing),
        ("s01_interruptible_wait", s01_interruptible),
        ("signal_handler_may_stop", signal_handler_may_stop),
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

/// The event comes first: whoever only looks is never asked when those who wait are not.
fn failed_stop() {
    let [memory, _] = StopToken::new().expect("a token").into_fds();
    let no_event = File::open("/dev/null").expect("open");
    let token = StopToken::from_fds([memory, no_event.into()]).expect("a token");
    assert_eq!(token.stop(), Err(Errno::BADF));
    assert!(!token.is_stopped());
}

/// A process that reads the event away, which nobody should, does not take the request back.
fn word_counts() {
    let token = StopToken::new().expect("a token");
    token.stop().expect("stop");
    assert_eq!(rustix::io::read(token.as_fd(), &mut [0; 8]), Ok(8));
    assert_eq!(wait_any(&[&token], Deadline::now()), Ok(vec![]));
    assert_eq!(token.wait(Deadline::now()), Ok(true));
    assert_eq!(token.wait_interruptible(Deadline::now()), Ok(true));
}

fn not_inherited() {
    let made = StopToken::new().expect("a token");
    for token in [copy(&made), made] {
        for fd in token.into_fds() {
            assert_eq!(fcntl_getfd(fd), Ok(FdFlags::CLOEXEC));
        }
    }
}

fn s01_signals_change_nothing() {
    for flags in HANDLERS {
        let token = StopToken::new().expect("a token");
        in_vain("StopToken::wait in vain", flags, |span| {
            assert_eq!(token.wait(Deadline::after(span)), Ok(false));
        });
        let stop = || token.stop().expect("stop");
        let stopped = with_peer("StopToken::wait", flags, stop, || token.wait(Deadline::FAR));
        assert_eq!(stopped, Ok(true));
        again_and_again("StopToken::stop", flags, || assert_eq!(token.stop(), Ok(())));
    }
}

fn s01_interruptible() {
    for flags in HANDLERS {
        let token = StopToken::new().expect("a token");
        let stop = || token.stop().expect("stop");
        let stopped = until_done("StopToken::wait_interruptible", flags, stop, || {
            match token.wait_interruptible(Deadline::FAR) {
                Err(Errno::INTR) => None,
                other => Some(other),
            }
        });
        assert_eq!(stopped, Ok(true));
        // What is known is said, whatever comes.
        again_and_again("StopToken::wait_interruptible of a stopped one", flags, || {
            assert_eq!(token.wait_interruptible(Deadline::FAR), Ok(true));
        });
    }
}

/// A wait goes on after the handler, and finds what it did, also if it ran just before the sleep.
fn signal_handler_may_stop() {
    static TOKEN: OnceLock<StopToken> = OnceLock::new();
    extern "C" fn stop(_: i32) {
        let _ = TOKEN.get().is_some_and(|token| token.stop().is_ok());
    }
    let status = fork_fn(|| {
        let token = TOKEN.get_or_init(|| StopToken::new().expect("a token"));
        on_signal(Signal::INT.as_raw(), stop as extern "C" fn(i32) as usize, 0);
        let mut child = fork_fn(|| {
            let parent = getppid().expect("a parent");
            kill_process(parent, Signal::INT).map_or(1, |()| 0)
        })
        .expect("fork");
        let stopped = token.wait(Deadline::FAR) == Ok(true);
        i32::from(!stopped || !child.wait().is_ok_and(ExitStatus::success))
    });
    assert!(is_good(status.expect("fork")));
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
