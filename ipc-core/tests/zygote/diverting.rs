//! Programs that are, or are not, meant to be zygotes.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Output};

use ipc_testkit::cases::library::{BuildId, Library};
use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::skip;
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::roles::{MARKS, command};
use crate::tools::{loader, raw_fork};

const MARKER: &str = "IPC_ZYGOTE";

fn inheritable(fd: &OwnedFd) -> (i32, u64) {
    fcntl_setfd(fd, FdFlags::empty()).expect("fcntl");
    (fd.as_raw_fd(), fstat(fd).expect("fstat").st_ino)
}

fn ran_main(output: &Output) -> bool {
    output.status.success() && output.stdout == b"main ran\n"
}

fn run(marker: &str) -> Output {
    command("plain").env(MARKER, marker).output().expect("run")
}

fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("socketpair")
}

pub(crate) fn stray_markers() {
    let file = memfd_create("no socket", MemfdFlags::CLOEXEC).expect("memfd");
    let (stream, _other_end) = pair(SocketType::STREAM);
    let (packets, _another_end) = pair(SocketType::SEQPACKET);
    let [file, stream, packets] = [&file, &stream, &packets].map(inheritable);
    let named = |(number, inode): (i32, u64)| format!("{number}:{inode}");
    for marker in [
        "".into(),
        "1".into(),
        ":".into(),
        "x:1".into(),
        "-1:1".into(),
        "0:0".into(),
        "1:1".into(),
        "999:1".into(),
        "99999999999:1".into(),
        format!("{}", packets.0),
        format!("{}:", packets.0),
        format!("{}:{}", packets.0, packets.1 + 1),
        format!("{}:{} ", packets.0, packets.1),
        named(file),
        named(stream),
    ] {
        let output = run(&marker);
        assert!(ran_main(&output), "{marker:?}: {output:?}");
    }
    assert!(ran_main(&command("plain").output().expect("run")));
}

/// A complete marker whose socket was not made by the parent: neither `main` nor a zygote.
/// A program that was meant, and is kept from finding out, ends. It never comes to its `main`.
pub(crate) fn sandboxed() {
    let (packets, _other_end) = pair(SocketType::SEQPACKET);
    let (number, inode) = inheritable(&packets);
    let socket = number as u32;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    answer(libc::SYS_getsockopt, &When::Equal(0, socket), refuse);
    let output = run(&format!("{number}:{inode}"));
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

pub(crate) fn stranger() {
    let (packets, ours) = pair(SocketType::SEQPACKET);
    let (number, inode) = inheritable(&packets);
    let between = raw_fork(|| {
        let output = run(&format!("{number}:{inode}"));
        let ended = output.status.code() == Some(127);
        i32::from(!ended || !output.stdout.is_empty())
    });
    let options = rustix::process::WaitOptions::empty();
    let (_, ended) =
        rustix::process::waitpid(Some(between), options).expect("wait").expect("ended");
    assert_eq!(ended.exit_status(), Some(0));
    drop(packets);
    let silent = ipc_core::fdpass::recv_with_fds(&ours, &mut [0; 64]).map(drop);
    assert_eq!(silent, Err(ipc_core::fdpass::RecvError::Closed), "it said nothing");
}

pub(crate) fn main_runs_once() {
    assert_marks_once(&mut command("counted"));
}

/// The zygote of a program under `LD_PRELOAD` is served by the program's own code.
pub(crate) fn library_copy() {
    let Some(library) = Library::build(BuildId::Some) else {
        skip("no compiler that fits the built crate");
    };
    let output = command("preloaded").env("LD_PRELOAD", library.path()).output().expect("run");
    assert!(output.status.success(), "{output:?}");
}

/// `/proc/self/exe` is the loader, and its first argument a program that it would run.
pub(crate) fn explicit_loader() {
    let Some(loader) = loader() else {
        skip("a static program");
    };
    let program = std::env::current_exe().expect("/proc");
    let mut command = Command::new(loader);
    assert_marks_once(command.args([&program, &program]).args(["--as", "loaded"]));
}

fn assert_marks_once(command: &mut Command) {
    let marks = std::env::temp_dir().join(format!("zygote-marks-{}", std::process::id()));
    std::fs::write(&marks, b"").expect("write");
    let output = command.env(MARKS, &marks).output().expect("run");
    let marked = std::fs::read(&marks).expect("read");
    std::fs::remove_file(&marks).expect("remove");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(marked, b"m", "main ran once, in the application");
}
