//! Functions that a zygote calls before it serves.

use core::sync::atomic::{AtomicI32, Ordering::SeqCst};
use core::time::Duration;
use std::sync::OnceLock;
use std::time::Instant;

use ipc_core::function::FunctionError;
use ipc_core::process::{
    ExitStatus, Pid, PreloadError, Signal, Start, Zygote, ZygoteBuilder, ZygoteError,
};
use ipc_testkit::cases::signals::on_signal;
use ipc_testkit::cases::{doing, no_children, open_fds, shared, skip};
use rustix::process::{getpid, kill_process};

use crate::roles::first_byte;
use crate::seeing::count_descriptors;
use crate::spawning::printed;
use crate::tools::{
    SOON, all_gone_within, as_entry, as_function, code_of, foreign_function, open_foreign_library,
    pause_for_ever, raw_fork, raw_wait, readable, sleeping_thread, zygote_pid,
};

type Way = fn(&ZygoteBuilder) -> Result<Zygote, ZygoteError>;

const WAYS: [Way; 2] = [ZygoteBuilder::start_by_fork, ZygoteBuilder::start_by_exec];

/// What the functions prepare.
static TABLE: OnceLock<Vec<i32>> = OnceLock::new();
/// Who called them.
static CALLER: AtomicI32 = AtomicI32::new(0);
/// How often they were called, in this process and those that it is a copy of.
static CALLS: AtomicI32 = AtomicI32::new(0);

const WORK: Duration = Duration::from_millis(300);

fn build_table() {
    CALLS.fetch_add(1, SeqCst);
    CALLER.store(getpid().as_raw_nonzero().get(), SeqCst);
    std::thread::sleep(WORK);
    TABLE.set((0..100).map(|x| x * 2).collect()).expect("it is called once");
}

/// An entry of the table, if its builder was the process that the other bytes name, once.
fn look_up(start: Start) -> i32 {
    let [index, zygote @ ..]: [u8; 5] = start.bytes.try_into().expect("five bytes");
    assert_eq!(CALLER.load(SeqCst), i32::from_le_bytes(zygote), "called in the zygote");
    assert_eq!(CALLS.load(SeqCst), 1, "called once");
    TABLE.get().expect("a table")[usize::from(index)]
}

fn assert_prepared(zygote: &Zygote) {
    for index in 0..20 {
        let mut bytes = vec![index];
        bytes.extend(zygote_pid(zygote).to_le_bytes());
        assert_eq!(code_of(zygote, look_up, &bytes), i32::from(index) * 2);
    }
}

/// Every child finds what was prepared; the time is paid once; a restart does it again.
pub(crate) fn children_find_it_prepared() {
    for start in WAYS {
        let began = Instant::now();
        let zygote = start(&Zygote::builder().preload(build_table)).expect("start");
        assert!(began.elapsed() >= WORK, "it serves when it is prepared");
        assert!(TABLE.get().is_none() && CALLS.load(SeqCst) == 0, "nothing happens here");
        let began = Instant::now();
        assert_prepared(&zygote);
        assert!(began.elapsed() < WORK * 10, "20 children, each of them paid");
        let first = zygote.id();
        zygote.restart().expect("restart");
        assert_ne!(zygote.id(), first);
        assert_prepared(&zygote);

        doing("replacing a zygote that was killed");
        kill_process(zygote.id().expect("it runs"), Signal::KILL).expect("kill");
        assert_eq!(zygote.spawn(first_byte, &[1], &[]).map(drop), Err(ZygoteError::Died));
        zygote.restart().expect("restart");
        assert_prepared(&zygote);
    }
}

/// One after the other, in their order.
pub(crate) fn several_in_order() {
    fn digit(digit: i32) {
        CALLS.store(CALLS.load(SeqCst) * 10 + digit, SeqCst);
    }
    for start in WAYS {
        let builder = Zygote::builder().preload(|| digit(1)).preload(|| digit(2));
        let zygote = start(&builder.preload(|| digit(3))).expect("start");
        assert_eq!(code_of(&zygote, |_| CALLS.load(SeqCst), &[]), 123);
    }
}

/// More than the 5 s that a zygote has for its first word.
pub(crate) fn longer_than_the_handshake() {
    let builder = Zygote::builder().preload(|| std::thread::sleep(Duration::from_millis(5_300)));
    let zygote = builder.start_by_exec().expect("start");
    assert_eq!(code_of(&zygote, first_byte, &[4]), 4);
}

/// Every way in which a function can fail is an error with its name, and leaves nothing.
pub(crate) fn failures() {
    fn fine() {}
    fn hang() {
        pause_for_ever()
    }
    let signaled = |signal| ExitStatus::Signaled { signal, core_dumped: false };
    let own_kill = || {
        kill_process(getpid(), Signal::KILL).expect("kill");
    };
    rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    )
    .expect("setrlimit");
    let cases: [(&str, fn(), PreloadError); 7] = [
        ("panic", || panic!("on purpose"), PreloadError::Panicked),
        ("payload", || std::panic::panic_any(Grenade), PreloadError::Panicked),
        ("exit", || std::process::exit(3), PreloadError::Ended(ExitStatus::Exited(3))),
        ("abort", || std::process::abort(), PreloadError::Ended(signaled(6))),
        ("kill", own_kill, PreloadError::Ended(signaled(9))),
        ("thread", sleeping_thread, PreloadError::LeftThreads),
        ("hang", hang, PreloadError::TimedOut),
    ];
    let fds = open_fds();
    for start in WAYS {
        for (name, function, error) in cases {
            doing(name);
            let limit = Duration::from_secs(if error == PreloadError::TimedOut { 1 } else { 20 });
            let began = Instant::now();
            let builder = Zygote::builder().preload(fine).preload(function).preload_limit(limit);
            let failed = start(&builder).map(drop);
            assert_eq!(failed, Err(ZygoteError::Preload { which: 1, error }), "{name}");
            assert!(began.elapsed() < Duration::from_secs(10), "{name}");
            assert!(no_children(), "{name}: a process is left");
            assert_eq!(open_fds(), fds, "{name}: descriptors are left");
        }
    }
}

/// Explodes when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// A restart that fails leaves no zygote, and the next one may succeed.
pub(crate) fn restart_that_fails() {
    fn fail_if_told() {
        assert_eq!(shared().words[0].load(SeqCst), 0, "told to fail");
    }
    let zygote = Zygote::builder().preload(fail_if_told).start_by_fork().expect("start");
    shared().words[0].store(1, SeqCst);
    let error = ZygoteError::Preload { which: 0, error: PreloadError::Panicked };
    assert_eq!(zygote.restart(), Err(error));
    assert_eq!(zygote.spawn(first_byte, &[1], &[]).map(drop), Err(ZygoteError::Died));
    shared().words[0].store(0, SeqCst);
    zygote.restart().expect("restart");
    assert_eq!(code_of(&zygote, first_byte, &[5]), 5);
}

/// Threads that have ended, processes, handlers, output: nothing of it disturbs the children.
pub(crate) fn whatever_it_does() {
    extern "C" fn handler(_: i32) {}
    fn do_much() {
        std::thread::spawn(|| CALLS.store(7, SeqCst)).join().expect("no panic");
        let ended = std::process::Command::new("/bin/true").status().expect("run");
        assert!(ended.success(), "a process of a preload is waited for like any other");
        let handler = handler as extern "C" fn(i32) as libc::sighandler_t;
        on_signal(libc::SIGUSR1, handler, 0);
        on_signal(libc::SIGCHLD, handler, 0);
        print!("[once]");
    }
    fn look(_: Start) -> i32 {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            u64::from_str_radix(line.trim(), 16).expect("a mask")
        };
        assert_eq!(mask("SigBlk:"), 0);
        assert_eq!(mask("SigCgt:") & (1 << (libc::SIGUSR1 - 1) | 1 << (libc::SIGCHLD - 1)), 0);
        CALLS.load(SeqCst)
    }
    for start in WAYS {
        let text = printed(|| {
            let count = |zygote: &Zygote| code_of(zygote, count_descriptors, &[]);
            let without = count(&start(&Zygote::builder()).expect("start"));
            let zygote = start(&Zygote::builder().preload(do_much)).expect("start");
            for _ in 0..3 {
                assert_eq!(code_of(&zygote, look, &[]), 7);
            }
            assert_eq!(count(&zygote), without, "descriptors in a child");
        });
        assert_eq!(text, "[once]");
    }
}

/// A library that a function opens is there in the children, and the code in it has a name for them.
pub(crate) fn libraries() {
    let Some(address) = foreign_function() else {
        skip("no library to open");
    };
    let builder = Zygote::builder().preload(|| assert!(open_foreign_library()));
    let without = Zygote::start_by_exec().expect("start");
    let error = without.begin_spawn(as_entry(address), &[], &[]).expect("request").wait_until(FAR);
    assert_eq!(error.map(drop), Err(ZygoteError::Function(FunctionError::UnknownModule)));
    let zygote = builder.start_by_exec().expect("start");
    // It exists there, and is never told to go: it takes other arguments.
    let spawning = zygote.begin_spawn(as_entry(address), &[], &[]).expect("request");
    assert!(readable(&spawning));
    drop(spawning);
    // The library is not there before somebody opens it.
    let error = Zygote::builder().preload(as_function(address)).start_by_exec().map(drop);
    assert_eq!(error, Err(ZygoteError::Function(FunctionError::UnknownModule)));
}

const FAR: ipc_core::clock::Deadline = ipc_core::clock::Deadline::FAR;

pub(crate) fn too_many() {
    let builder = (0..2000).fold(Zygote::builder(), |builder, _| builder.preload(|| ()));
    assert_eq!(builder.start_by_fork().map(drop), Err(ZygoteError::TooManyPreloads));
}

/// The application is killed while a function runs that never returns.
pub(crate) fn application_killed_meanwhile() {
    fn hang() {
        // By fork this is the page of the case.
        shared().words[1].store(getpid().as_raw_nonzero().get(), SeqCst);
        pause_for_ever()
    }
    let application = raw_fork(|| {
        let failed = Zygote::builder().preload(hang).start_by_fork();
        panic!("it does not start, nor fail before this process dies: {failed:?}");
    });
    while shared().words[1].load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    let zygote = Pid::from_raw(shared().words[1].load(SeqCst)).expect("a pid");
    kill_process(application, Signal::KILL).expect("kill");
    assert_eq!(raw_wait(application), 9);
    doing("waiting for the zygote to be killed");
    let gone = all_gone_within(SOON);
    let _ = kill_process(zygote, Signal::KILL);
    assert!(gone, "the zygote outlived the application");
}

/// The thread that started the zygote may end: it was only while it waited that its death counted.
pub(crate) fn starter_thread_ends() {
    let start = || Zygote::builder().preload(|| CALLS.store(3, SeqCst)).start_by_exec();
    let zygote = std::thread::spawn(start).join().expect("no panic").expect("start");
    // Joined is not yet gone.
    while std::fs::read_dir("/proc/self/task").expect("/proc").count() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(code_of(&zygote, |_| CALLS.load(SeqCst), &[]), 3);
}
