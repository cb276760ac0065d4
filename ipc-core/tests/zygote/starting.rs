//! How a zygote starts.

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use core::time::Duration;
use std::os::fd::AsFd;
use std::time::Instant;

use ipc_core::process::{Child, Signal, Start, Zygote, ZygoteError, fork_fn};
use ipc_testkit::cases::{doing, no_children};
use rustix::process::{WaitOptions, kill_process, waitpid};

use crate::roles::first_byte;
use crate::tools::{
    LONG, SOON, all_gone_within, close_number, code_of, pause_for_ever, raw_fork, sleeping_thread,
    status,
};

/// 7 where `main`, and the case in it, ran before.
static MOMENT: AtomicI32 = AtomicI32::new(1);

fn moment(_: Start) -> i32 {
    MOMENT.load(SeqCst)
}

pub(crate) fn by_fork() {
    MOMENT.store(7, SeqCst);
    let zygote = Zygote::start_by_fork().expect("start");
    MOMENT.store(8, SeqCst);
    assert_eq!(code_of(&zygote, moment, &[]), 7);
}

pub(crate) fn by_exec() {
    MOMENT.store(7, SeqCst);
    let zygote = Zygote::start_by_exec().expect("start");
    assert_eq!(code_of(&zygote, moment, &[]), 1);
}

pub(crate) fn auto() {
    MOMENT.store(7, SeqCst);
    let zygote = Zygote::start().expect("start");
    assert_eq!(code_of(&zygote, moment, &[]), 7, "forked");
    sleeping_thread();
    zygote.restart().expect("restart");
    assert_eq!(code_of(&zygote, moment, &[]), 1, "executed, as there are threads by now");
    drop(zygote);
    let zygote = Zygote::start().expect("start");
    assert_eq!(code_of(&zygote, moment, &[]), 1, "executed");
}

pub(crate) fn fork_with_threads() {
    sleeping_thread();
    assert_eq!(Zygote::start_by_fork().map(drop), Err(ZygoteError::ManyThreads));
    assert!(no_children());
}

/// A zygote that cannot serve says why before it ends, also with a message of ours unread.
pub(crate) fn refusal_is_heard() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // A descriptor that no other can be put in place of.
    let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
    let high = rustix::io::fcntl_dupfd_cloexec(&reader, 100).expect("dup");
    let old = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(50), ..old }).expect("setrlimit");
    for _ in 0..100 {
        doing("starting a zygote that must refuse");
        let refused = Zygote::start_by_fork().map(drop);
        assert_eq!(refused, Err(ZygoteError::ThreadsUnknown(ipc_core::Errno::BADF)));
    }
    setrlimit(Resource::Nofile, old).expect("setrlimit");
    drop(high);
    assert!(no_children());
}

/// The zygote was forked in the middle of a restart, which holds a lock.
pub(crate) fn id_in_a_child() {
    static ZYGOTE: std::sync::OnceLock<Zygote> = std::sync::OnceLock::new();
    fn ask(_: Start) -> i32 {
        i32::from(ZYGOTE.get().expect("it is there").id().is_some())
    }
    // In a process of its own, since a static zygote stays to the end.
    let inner = || {
        let zygote = ZYGOTE.get_or_init(|| Zygote::start_by_fork().expect("start"));
        zygote.restart().expect("restart");
        doing("asking for an id in a child");
        code_of(zygote, ask, &[]) + i32::from(zygote.id().is_none())
    };
    let ended = status(fork_fn(inner).expect("fork"));
    assert!(ended.success(), "{ended}");
    assert!(all_gone_within(SOON), "the zygote stayed");
}

/// F05: threads that allocate and print all the time do not matter.
pub(crate) fn f05_eight_busy_threads() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let busy: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                while !STOP.load(SeqCst) {
                    let text = format!("{number} {}", "x".repeat(200));
                    print!("{}", if text.is_empty() { "never" } else { "" });
                    drop(vec![text; 20]);
                }
            })
        })
        .collect();
    doing("starting by exec beside eight threads");
    let zygote = Zygote::start().expect("start");
    doing("200 children");
    for round in 0..200 {
        let code = code_of(&zygote, allocate_and_print, &[round]);
        assert_eq!(code, round.into());
    }
    doing("20 restarts");
    for _ in 0..20 {
        zygote.restart().expect("restart");
    }
    STOP.store(true, SeqCst);
    busy.into_iter().for_each(|thread| thread.join().expect("a busy thread"));
}

fn allocate_and_print(start: Start) -> i32 {
    let text = format!("{:?}", vec![start.bytes.clone(); 10]);
    print!("{}", if text.is_empty() { "never" } else { "" });
    first_byte(start)
}

/// F04: with the standard streams closed, none of ours takes their numbers.
pub(crate) fn f04_closed_standard_streams() {
    // In a process of its own: this one must still be able to say what went wrong.
    let inner = || {
        (0..3).for_each(close_number);
        for start in [Zygote::start_by_fork, Zygote::start_by_exec] {
            let zygote = start().expect("start");
            if code_of(&zygote, standard_streams, &[]) != 3 {
                return 1;
            }
        }
        0
    };
    let mut child: Child = fork_fn(inner).expect("fork");
    let ended = child.wait_timeout(LONG).expect("wait").expect("in time");
    assert!(ended.success(), "{ended}");
}

/// How many of the standard streams are `/dev/null`.
fn standard_streams(_: Start) -> i32 {
    let null = |number: &i32| {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
        link.is_ok_and(|link| link.as_os_str() == "/dev/null")
    };
    (0..3).filter(null).count() as i32
}

pub(crate) fn dropping() {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let zygote = Zygote::start_by_exec().expect("start");
    let child = zygote.spawn(wait_for_byte, &[], &[reader.as_fd()]).expect("spawn");
    drop(zygote);
    // The orphan is this process's now. The zygote is gone.
    rustix::io::write(&writer, &[5]).expect("write");
    assert_eq!(status(child).code(), Some(5));
    assert!(no_children(), "the handle reaped the adopted child");
}

/// A fork of the application holds a copy of its socket, so that no end of file comes.
pub(crate) fn dropping_beside_a_copy() {
    let zygote = Zygote::start_by_fork().expect("start");
    let copy = raw_fork(|| pause_for_ever());
    let began = Instant::now();
    drop(zygote);
    // A zygote that must be killed is first given a second.
    let took = began.elapsed();
    kill_process(copy, Signal::KILL).expect("kill");
    waitpid(Some(copy), WaitOptions::empty()).expect("wait");
    assert!(took < Duration::from_millis(900), "{took:?}");
}

pub(crate) fn wait_for_byte(mut start: Start) -> i32 {
    let reader = start.fds.next().expect("a pipe");
    let mut byte = [0];
    match rustix::io::read(&reader, &mut byte) {
        Ok(1) => byte[0].into(),
        _ => 1,
    }
}
