//! What a child sees of descriptors, signals, environment and random state.

use core::hash::BuildHasher;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Mutex;

use ipc_core::process::{Start, Zygote};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::tools::{LONG, code_of, is_open, status};

/// Whether the kernel keeps the exit status of a reaped process (Linux 6.15).
pub(crate) fn kernel_keeps_status() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// How many descriptors are open beside the one that counts.
pub(crate) fn count_descriptors(_: Start) -> i32 {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() as i32 - 1
}

/// An object of the application that owns a descriptor, in a static.
static OWNED: Mutex<Option<OwnedFd>> = Mutex::new(None);

pub(crate) fn by_fork() {
    *OWNED.lock().unwrap() = Some(memfd_create("owned", MemfdFlags::CLOEXEC).expect("memfd"));
    set_up_signals();
    // The zygote has its own use for this one; a child must find what the application had.
    crate::tools::ignore(libc::SIGCHLD);
    let zygote = Zygote::start_by_fork().expect("start");
    see(&zygote);
    // The number is taken by a descriptor that is good for nothing: whatever the child opens or
    // receives cannot be mistaken for the static's.
    let stale = |mut start: Start| {
        let owned = OWNED.lock().unwrap();
        let owned = owned.as_ref().expect("it was set before");
        let received = start.fds.next().expect("one");
        assert!(is_open(owned.as_raw_fd()) && received.as_raw_fd() != owned.as_raw_fd());
        assert_eq!(rustix::io::write(owned, b"lost"), Err(rustix::io::Errno::BADF));
        assert_eq!(rustix::io::read(owned, &mut [0]), Err(rustix::io::Errno::BADF));
        0
    };
    let owned = OWNED.lock().unwrap().take().expect("set above");
    let child = zygote.spawn(stale, &[], &[owned.as_fd()]).expect("spawn");
    assert_eq!(status(child).code(), Some(0));
    // Nobody but this process holds what it had open: the end of a pipe comes.
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    zygote.restart().expect("restart");
    drop(writer);
    assert!(crate::tools::readable(&reader), "the zygote has no copy");
    assert_eq!(rustix::io::read(&reader, &mut [0]), Ok(0));
}

pub(crate) fn by_exec() {
    let leaky = memfd_create("inheritable", MemfdFlags::empty()).expect("memfd");
    set_up_signals();
    let zygote = Zygote::start_by_exec().expect("start");
    see(&zygote);
    assert_eq!(code_of(&zygote, count_descriptors, &[]), 4, "0, 1, 2, the application");
    drop(leaky);
}

/// A handler, an ignored signal and a mask that children must or must not see.
fn set_up_signals() {
    extern "C" fn handler(_: i32) {}
    ipc_testkit::cases::signals::on_signal(
        libc::SIGUSR1,
        handler as extern "C" fn(i32) as libc::sighandler_t,
        0,
    );
    crate::tools::ignore(libc::SIGUSR2);
}

fn see(zygote: &Zygote) {
    let report = memfd_create("report", MemfdFlags::CLOEXEC).expect("memfd");
    let child = zygote.spawn(tell, b"", &[report.as_fd()]).expect("spawn");
    assert_eq!(status(child).code(), Some(0));
    let mut file = File::from(report);
    file.rewind().expect("rewind");
    let mut seen = String::new();
    file.read_to_string(&mut seen).expect("read");
    let field = |name: &str| {
        let line = seen.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().to_owned()
    };
    let mask = |name| u64::from_str_radix(&field(name), 16).expect("a mask");
    let bit = |signal: i32| 1_u64 << (signal - 1);
    assert_eq!(mask("SigBlk:"), 0, "nothing is blocked");
    let own = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let ignored = own.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a line");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
    assert_eq!(mask("SigIgn:"), ignored, "ignored is what the application ignores");
    assert_eq!(ignored & bit(libc::SIGUSR2), bit(libc::SIGUSR2));
    assert_eq!(mask("SigCgt:") & bit(libc::SIGUSR1), 0, "no handler of the application");
    assert_eq!(field("Threads:"), "1");
    assert_eq!(field("marker:"), "None");
    assert_eq!(field("parent alive:"), "Ok(true)");
    let own_name = std::fs::read_to_string("/proc/self/comm").expect("/proc");
    let name = field("Name:");
    // A zygote by exec is called by the file that is executed.
    assert!(name == own_name.trim() || name == "exe", "{name}");
}

fn tell(mut start: Start) -> i32 {
    let mut report = File::from(start.fds.next().expect("one"));
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let marker = std::env::var_os("IPC_ZYGOTE");
    let alive = start.parent.is_alive();
    write!(report, "{status}marker: {marker:?}\nparent alive: {alive:?}\n").expect("write");
    0
}

pub(crate) fn random_by_fork() {
    // The application has drawn its seeds before, and a zygote is a copy.
    RandomState::new().hash_one(1);
    let [first, second] = two_hashes(&Zygote::start_by_fork().expect("start"));
    assert_eq!(first, second, "a copy of that moment");
}

pub(crate) fn random_by_exec() {
    let [first, second] = two_hashes(&Zygote::start_by_exec().expect("start"));
    assert_ne!(first, second, "each draws its own");
}

fn two_hashes(zygote: &Zygote) -> [[u8; 8]; 2] {
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    [0, 1].map(|_| {
        let child = zygote.spawn(hash, &[], &[writer.as_fd()]).expect("spawn");
        let mut hash = [0; 8];
        assert_eq!(rustix::io::read(&reader, &mut hash), Ok(8), "within {LONG:?}");
        assert_eq!(status(child).code(), Some(0));
        hash
    })
}

fn hash(mut start: Start) -> i32 {
    let hash = RandomState::new().hash_one(1).to_le_bytes();
    let pipe = start.fds.next().expect("one");
    assert_eq!(rustix::io::write(&pipe, &hash), Ok(8));
    0
}
