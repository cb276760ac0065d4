//! How a zygote starts.

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Mutex;
use std::time::Instant;

use ipc_core::process::{Child, Signal, Start, Zygote, ZygoteError, fork_fn};
use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::{doing, no_children};
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, kill_process, setrlimit, waitpid};

use crate::roles::first_byte;
use crate::tools::{
    LONG, SOON, all_gone_within, close_number, code_of, is_open, pause_for_ever, raw_fork,
    raw_wait, readable, sleeping_thread, status,
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
    // The zygote cannot put anything in place of this.
    let _pipe = rustix::pipe::pipe().expect("pipe");
    answer(libc::SYS_dup3, &When::NotEqual(0, u32::MAX), refusal(libc::EPERM));
    for _ in 0..100 {
        doing("starting a zygote that must refuse");
        let refused = Zygote::start_by_fork().map(drop);
        assert_eq!(refused, Err(ZygoteError::Setup(ipc_core::Errno::PERM)));
    }
    assert!(no_children());
}

const fn refusal(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// An object of the application that owns a descriptor with a high number, in a static.
static HIGH: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// A descriptor that was there before somebody lowered the limit: the soft one, both, and where this
/// process may not raise it again.
pub(crate) fn descriptors_beyond_the_limit() {
    const NUMBER: i32 = 1000;
    // Whether this process may raise the hard one is not known.
    for (hard, may_raise) in [(false, Some(true)), (true, None), (false, Some(false))] {
        let case = || {
            let (reader, writer) = rustix::pipe::pipe().expect("pipe");
            let high = rustix::io::fcntl_dupfd_cloexec(&writer, NUMBER).expect("dup");
            *HIGH.lock().unwrap() = Some(high);
            drop(writer);
            let old = getrlimit(Resource::Nofile);
            let maximum = if hard { Some(100) } else { old.maximum };
            let limit = Rlimit { current: Some(50), maximum };
            setrlimit(Resource::Nofile, limit).expect("setrlimit");
            if may_raise == Some(false) {
                // Its third argument is the new limit.
                answer(libc::SYS_prlimit64, &When::NotEqual(2, 0), refusal(libc::EPERM));
            }
            let zygote = Zygote::start_by_fork().expect("start");
            let taken = match code_of(&zygote, use_high, &[]) {
                0 => false,
                1 => true,
                other => panic!("the child ended with {other}"),
            };
            assert!(may_raise.is_none_or(|may_raise| taken == may_raise));
            drop(HIGH.lock().unwrap().take());
            assert!(readable(&reader), "the zygote has a copy");
            assert_eq!(rustix::io::read(&reader, &mut [0]), Ok(0));
            0
        };
        assert_eq!(raw_wait(raw_fork(case)), 0, "hard {hard}, may raise {may_raise:?}");
    }
}

/// Whether the number of the high descriptor, which is good for nothing, is taken.
fn use_high(_: Start) -> i32 {
    let mut high = HIGH.lock().unwrap();
    let owned = high.as_ref().expect("it was set before");
    assert_eq!(rustix::io::write(owned, b"lost"), Err(rustix::io::Errno::BADF));
    assert_eq!(getrlimit(Resource::Nofile).current, Some(50), "the application's limit");
    let is_taken = is_open(owned.as_raw_fd());
    if !is_taken {
        // Its destructor must not run.
        core::mem::forget(high.take());
    }
    i32::from(is_taken)
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
