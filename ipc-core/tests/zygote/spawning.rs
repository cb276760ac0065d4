//! What a request may carry, and what comes of it.

use core::sync::atomic::Ordering::SeqCst;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ipc_core::Errno;
use ipc_core::fdpass::{MAX_FDS, send_with_fds};
use ipc_core::function::FunctionError;
use ipc_core::process::zygote::MAX_BYTES;
use ipc_core::process::{ExitStatus, Start, Zygote, ZygoteError};
use ipc_testkit::cases::{doing, open_fds, shared, skip};
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::roles::first_byte;
use crate::tools::{
    SOON, all_gone_within, as_entry, by_number, code_of, foreign_function, onto, onto_stdout,
    raw_fork, status, unread, zygote_pid,
};

pub(crate) fn thousand_by_fork() {
    thousand(&Zygote::start_by_fork().expect("start"));
}

pub(crate) fn thousand_by_exec() {
    thousand(&Zygote::start_by_exec().expect("start"));
}

fn thousand(zygote: &Zygote) {
    // The first requests fill caches of the allocator.
    for _ in 0..10 {
        assert_eq!(code_of(zygote, first_byte, &[1; 4096]), 1);
    }
    let own = std::process::id() as i32;
    // The zygote hangs up on the latest child at its leisure: the least of some looks counts.
    let look = |_| {
        std::thread::sleep(core::time::Duration::from_millis(1));
        [own, zygote_pid(zygote)].map(|pid| (fds_of(pid), maps_of(pid)))
    };
    let footprint = || (0..20).map(look).min().expect("twenty");
    let before = footprint();
    let running: Vec<_> = (0..1000)
        .map(|round| {
            doing(&format!("child {round}"));
            let bytes = vec![(round % 256) as u8; round * 4];
            (round, zygote.spawn(last_byte, &bytes, &[]).expect("spawn"))
        })
        .collect();
    for (round, child) in running {
        let expected = if round == 0 { 255 } else { (round % 256) as i32 };
        assert_eq!(status(child), ExitStatus::Exited(expected), "{round}");
    }
    assert_eq!(footprint(), before);
    let children = format!("/proc/{0}/task/{0}/children", zygote_pid(zygote));
    assert_eq!(std::fs::read_to_string(children).expect("/proc"), "", "no zombie");
}

fn last_byte(start: Start) -> i32 {
    start.bytes.last().copied().unwrap_or(255).into()
}

fn fds_of(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc").count()
}

fn maps_of(pid: i32) -> usize {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("/proc").lines().count()
}

pub(crate) fn descriptors() {
    let zygote = Zygote::start_by_exec().expect("start");
    let files: Vec<OwnedFd> = (0..=MAX_FDS as u8)
        .map(|number| {
            let file = memfd_create("numbered", MemfdFlags::CLOEXEC).expect("memfd");
            rustix::io::write(&file, &[number]).expect("write");
            file
        })
        .collect();
    let fds: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    for count in [0, 1, MAX_FDS] {
        let child = zygote.spawn(numbered, &[count as u8], &fds[..count]).expect("spawn");
        assert_eq!(status(child).code(), Some(count as i32));
    }
    assert_eq!(zygote.spawn(numbered, &[17], &fds).map(drop), Err(ZygoteError::TooManyFds));
    assert_eq!(code_of(&zygote, numbered, &[0]), 0);
}

/// How many descriptors came, if each is the one of its place and close-on-exec.
fn numbered(start: Start) -> i32 {
    let count = start.fds.len() as i32;
    for (number, file) in start.fds.enumerate() {
        let mut byte = [0xff];
        assert_eq!(rustix::io::pread(&file, &mut byte, 0), Ok(1));
        assert_eq!(usize::from(byte[0]), number);
        let flags = rustix::io::fcntl_getfd(&file).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    count
}

pub(crate) fn bytes() {
    let zygote = Zygote::start_by_fork().expect("start");
    for len in [0, 1, 4096, MAX_BYTES] {
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        assert_eq!(code_of(&zygote, patterned, &bytes), (len / 1024) as i32);
    }
    let error = zygote.spawn(patterned, &[0; MAX_BYTES + 1], &[]).map(drop);
    assert_eq!(error, Err(ZygoteError::BytesTooLong { len: MAX_BYTES + 1 }));
    assert_eq!(code_of(&zygote, patterned, &[]), 0);
}

fn patterned(start: Start) -> i32 {
    let right = start.bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251);
    if right { (start.bytes.len() / 1024) as i32 } else { 255 }
}

/// S06: the zygote ignores SIGCHLD where the kernel keeps statuses, and they are exact all the same.
pub(crate) fn s06_statuses() {
    let zygote = Zygote::start_by_exec().expect("start");
    assert_eq!(code_of(&zygote, |_| 0, &[]), 0);
    assert_eq!(code_of(&zygote, |_| 255, &[]), 255);
    assert_eq!(code_of(&zygote, |_| panic!("on purpose"), &[]), 101);
    let child = zygote.spawn(|_| crate::tools::pause_for_ever(), &[], &[]).expect("spawn");
    child.kill().expect("kill");
    assert_eq!(status(child), ExitStatus::Signaled { signal: 9, core_dumped: false });
    let child = zygote.spawn(|_| crate::tools::pause_for_ever(), &[], &[]).expect("spawn");
    child.signal(ipc_core::process::Signal::TERM).expect("signal");
    assert_eq!(status(child), ExitStatus::Signaled { signal: 15, core_dumped: false });
}

pub(crate) fn output() {
    let text = printed(|| {
        print!("[before]");
        let zygote = Zygote::start_by_fork().expect("start");
        print!("[application");
        let child = |_| {
            print!("[child]");
            0
        };
        assert_eq!(code_of(&zygote, child, &[]), 0);
        assert_eq!(code_of(&zygote, child, &[]), 0);
        println!("]");
    });
    assert_eq!(text, "[before][child][child][application]\n");
}

/// What this process and its descendants print meanwhile. Nobody sees what it prints afterwards.
pub(crate) fn printed(what: impl FnOnce()) -> String {
    let file = memfd_create("stdout", MemfdFlags::CLOEXEC).expect("memfd");
    onto_stdout(&file);
    what();
    let text = std::fs::read_to_string(format!("/proc/self/fd/{}", file.as_raw_fd()));
    text.expect("a file")
}

pub(crate) fn several_threads() {
    let zygote = Zygote::start_by_exec().expect("start");
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let zygote = &zygote;
            scope.spawn(move || {
                for round in 0..50_u8 {
                    let byte = thread * 50 + round;
                    assert_eq!(code_of(zygote, first_byte, &[byte]), byte.into());
                }
            });
        }
    });
}

/// The pidfd does not fit: an error, the entry does not run, and the zygote serves on.
pub(crate) fn full_descriptor_table() {
    let zygote = Zygote::start_by_fork().expect("start");
    let old = getrlimit(Resource::Nofile);
    // The lowest free number is the first that is refused.
    let lowest = rustix::io::dup(std::io::stdin()).expect("dup").as_raw_fd() as u64;
    let set = |current| setrlimit(Resource::Nofile, Rlimit { current, ..old }).expect("setrlimit");
    for _ in 0..20 {
        set(Some(lowest));
        let refused = zygote.spawn(count_me, &[], &[]).map(drop);
        set(old.current);
        assert_eq!(refused, Err(ZygoteError::Os(Errno::MFILE)));
    }
    assert_eq!(code_of(&zygote, count_me, &[]), 0);
    assert_eq!(shared().words[0].load(SeqCst), 1, "entries that ran");
}

/// Needs a zygote by fork: it shares the page of this case.
pub(crate) fn count_me(_: Start) -> i32 {
    shared().words[0].fetch_add(1, SeqCst);
    0
}

pub(crate) fn broken_requests() {
    let zygote = Zygote::start_by_exec().expect("start");
    let link = link_number();
    let stdin = std::io::stdin();
    let mut long = vec![2_u8; MAX_BYTES * 2];
    long[1..4].fill(0);
    for packet in [&b"x"[..], &[0; 16], &[0xff; 100], &long] {
        for fds in [&[][..], &[stdin.as_fd(); MAX_FDS]] {
            send_with_fds(by_number(link), packet, fds).expect("send");
            // The answer carries no number of ours, and is passed over.
            assert_eq!(code_of(&zygote, first_byte, &[3]), 3);
        }
    }
    let pid = zygote.id();
    assert_eq!(code_of(&zygote, crate::seeing::count_descriptors, &[]), 4, "0, 1, 2, application");
    assert_eq!(zygote.id(), pid);
}

/// A child that cannot be told its word must not be left to read the next request.
pub(crate) fn unspoken_word() {
    let zygote = Zygote::start_by_fork().expect("start");
    let pid = zygote.id().expect("it runs");
    let link = link_number();
    let dead = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("open");
    kill_process(pid, Signal::STOP).expect("stop");
    let refused = std::thread::scope(|scope| {
        let spawning = scope.spawn(|| zygote.spawn(count_me, &[], &[]).map(drop));
        while unread(link) == 0 {
            std::thread::yield_now();
        }
        // The request is on its way; from here on every use of this end fails.
        onto(&dead, link);
        kill_process(pid, Signal::CONT).expect("continue");
        spawning.join().expect("no panic")
    });
    assert_eq!(refused, Err(ZygoteError::Os(Errno::BADF)));
    assert_eq!(zygote.spawn(count_me, &[], &[]).map(drop), Err(ZygoteError::Died));
    assert!(all_gone_within(SOON), "the zygote and its child end with the connection");
    assert_eq!(shared().words[0].load(SeqCst), 0, "entries that ran");
}

/// The only socket of this process.
fn link_number() -> i32 {
    let is_socket = |number: &i32| {
        let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
        link.is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
    };
    open_numbers().into_iter().find(is_socket).expect("the socket")
}

fn open_numbers() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc");
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

pub(crate) fn unknown_module() {
    let zygote = Zygote::start_by_exec().expect("start");
    let Some(address) = foreign_function() else {
        skip("no library to open");
    };
    let error = zygote.spawn(as_entry(address), &[], &[]).map(drop);
    assert_eq!(error, Err(ZygoteError::Function(FunctionError::UnknownModule)));
    let error = zygote.spawn(as_entry((&raw const DATA).cast()), &[], &[]).map(drop);
    assert_eq!(error, Err(ZygoteError::Function(FunctionError::NotInAModule)));
    assert_eq!(code_of(&zygote, first_byte, &[3]), 3);
}

static DATA: [u8; 64] = [0xc3; 64];

pub(crate) fn forked_copy() {
    let zygote = Zygote::start_by_exec().expect("start");
    let fds = open_fds();
    let copy = raw_fork(|| {
        let refused = zygote.spawn(first_byte, &[1], &[]).map(drop);
        let restarted = zygote.restart();
        let expected = Err(ZygoteError::ForeignProcess);
        i32::from(refused != expected || restarted != expected)
    });
    let (_, ended) = rustix::process::waitpid(Some(copy), rustix::process::WaitOptions::empty())
        .unwrap()
        .unwrap();
    assert_eq!(ended.exit_status(), Some(0));

    // A copy that is dropped leaves the zygote to its owner.
    let mut slot = Some(zygote);
    let copy = raw_fork(|| {
        drop(slot.take());
        0
    });
    rustix::process::waitpid(Some(copy), rustix::process::WaitOptions::empty()).unwrap();
    assert_eq!(code_of(slot.as_ref().expect("ours"), first_byte, &[6]), 6);
    assert_eq!(open_fds(), fds);
}
