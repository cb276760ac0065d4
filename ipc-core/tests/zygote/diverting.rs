//! Programs that are, or are not, meant to be zygotes.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::skip;
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::roles::{MARKS, PLUG, command};
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

/// The source of a library whose constructor, which runs before the program's, diverts if it may.
const PLUG_SOURCE: &str = r#"
    extern "C" fn constructor() { ipc_core::process::init() }
    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn() = constructor;
"#;

/// The zygote of a program under `LD_PRELOAD` is served by the program's own code.
pub(crate) fn library_copy() {
    let program = std::env::current_exe().expect("/proc");
    let beside = program.parent().expect("a folder");
    let directory = std::env::temp_dir().join(format!("{PLUG}-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("create");
    let (source, library) = (directory.join("plug.rs"), directory.join("plug.so"));
    std::fs::write(&source, PLUG_SOURCE).expect("write");
    let built = newest_rlib(beside).is_some_and(|rlib| {
        let mut compiler = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        compiler.args(["--edition=2024", "--crate-type=cdylib", "-Awarnings", "-L"]).arg(beside);
        compiler.arg("--extern").arg(format!("ipc_core={}", rlib.display()));
        compiler.arg(&source).arg("-o").arg(&library);
        compiler.output().is_ok_and(|output| output.status.success())
    });
    let output = built.then(|| command("preloaded").env("LD_PRELOAD", &library).output());
    std::fs::remove_dir_all(&directory).expect("remove");
    match output {
        Some(output) => {
            let output = output.expect("run");
            assert!(output.status.success(), "{output:?}");
        }
        None => skip("no compiler that fits the built crate"),
    }
}

/// This crate as it was built for the test.
fn newest_rlib(directory: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libipc_core-") && name.ends_with(".rlib")
    };
    files.filter(is_ours).max_by_key(|path| path.metadata().and_then(|file| file.modified()).ok())
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
