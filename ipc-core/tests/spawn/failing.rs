//! Every failure says its stage and errno, and leaves neither descriptor nor process.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use ipc_core::Errno;
use ipc_core::process::{ExitStatus, Resource, Rlimit, Signal, SignalSet, Spawn, Stage};
use ipc_testkit::cases::{doing, no_children, open_fds};
use rustix::process::{getrlimit, setrlimit};

use crate::tools::{Place, become_nobody, error_of, pipe};

/// Fails again and again, always in the same way.
fn fails(program: &Spawn<'_>, stage: Stage, errno: Errno) {
    doing("a program that cannot be started");
    let fds = open_fds();
    for _ in 0..20 {
        let error = error_of(program);
        assert_eq!((error.stage, error.errno), (stage, errno), "{program:?}");
        assert!(no_children(), "a child is left");
    }
    assert_eq!(open_fds(), fds, "descriptors are left");
}

pub(crate) fn exec() {
    let place = Place::new();
    let fails = |program: &Spawn<'_>, errno| fails(program, Stage::Exec, errno);
    let path = |name: &str| place.path().join(name);
    fails(&Spawn::new(path("missing")), Errno::NOENT);
    fails(&Spawn::new(""), Errno::NOENT);
    fails(&Spawn::new("no-such-program-anywhere"), Errno::NOENT);
    fails(&Spawn::new(place.file("data", b"#!/bin/sh\n", 0o644)), Errno::ACCESS);
    fails(&Spawn::new(place.path()), Errno::ACCESS);
    fails(&Spawn::new(place.file("plain", b"", 0o755).join("below")), Errno::NOTDIR);
    // Scripts: no first line, an interpreter that is not there, one that is a directory.
    fails(&Spawn::new(place.file("bare", b"exit 0\n", 0o755)), Errno::NOEXEC);
    fails(&Spawn::new(place.file("lost", b"#!/no/such/shell\n", 0o755)), Errno::NOENT);
    fails(&Spawn::new(place.file("dir", b"#!/\n", 0o755)), Errno::ACCESS);
    // An ELF file that ends within its header.
    let program = std::fs::read("/bin/true").expect("read");
    fails(&Spawn::new(place.file("short", &program[..40], 0o755)), Errno::NOEXEC);
    // Open for writing.
    let busy = place.file("busy", &program, 0o755);
    let writer = File::options().append(true).open(&busy).expect("open");
    fails(&Spawn::new(&busy), Errno::TXTBSY);
    drop(writer);
    symlink("round", path("round")).expect("symlink");
    fails(&Spawn::new(path("round")), Errno::LOOP);
    fails(&Spawn::new(format!("/{}", "a".repeat(300))), Errno::NAMETOOLONG);
    // One argument that is longer than the kernel takes.
    fails(Spawn::new("/bin/true").arg("a".repeat(3 << 20)), Errno::TOOBIG);
    fails(Spawn::new("/bin/true").env("A", "a".repeat(3 << 20)), Errno::TOOBIG);
}

pub(crate) fn stages() {
    let mut program = Spawn::new("/bin/true");
    fails(program.clone().current_dir("/no/such/directory"), Stage::Chdir, Errno::NOENT);
    fails(program.clone().current_dir("/bin/true"), Stage::Chdir, Errno::NOTDIR);
    fails(program.clone().new_session().new_process_group(), Stage::Group, Errno::PERM);
    let nobody = rustix::process::Pid::from_raw(i32::MAX).expect("a number");
    fails(program.clone().process_group(nobody), Stage::Group, Errno::PERM);
    fails(program.clone().cpu_affinity([]), Stage::Affinity, Errno::INVAL);
    fails(program.clone().cpu_affinity([60_000]), Stage::Affinity, Errno::INVAL);
    let upside_down = Rlimit { current: Some(2), maximum: Some(1) };
    fails(program.clone().rlimit(Resource::Core, upside_down), Stage::Rlimit, Errno::INVAL);
    let kill = SignalSet::from(Signal::KILL);
    fails(program.clone().ignore_signals(kill), Stage::Signals, Errno::INVAL);
    let (reader, _writer) = pipe();
    fails(program.clone().fd(1 << 30, reader.as_fd()), Stage::Dup, Errno::BADF);
    // The first that fails is named.
    fails(
        program.current_dir("/no/such/directory").rlimit(Resource::Core, upside_down),
        Stage::Chdir,
        Errno::NOENT,
    );
    become_nobody();
    fails(Spawn::new("/bin/true").nice(-5), Stage::Nice, Errno::ACCESS);
    let more = Rlimit { current: None, maximum: None };
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).expect("setrlimit");
    fails(Spawn::new("/bin/true").rlimit(Resource::Core, more), Stage::Rlimit, Errno::PERM);
}

pub(crate) fn strings() {
    let fails = |program: &Spawn<'_>, errno| fails(program, Stage::Prepare, errno);
    fails(&Spawn::new("/bin/tr\0ue"), Errno::INVAL);
    fails(&Spawn::new("tr\0ue"), Errno::INVAL);
    fails(Spawn::new("/bin/true").arg("\0"), Errno::INVAL);
    fails(Spawn::new("/bin/true").arg0("\0"), Errno::INVAL);
    fails(Spawn::new("/bin/true").env("A", "\0"), Errno::INVAL);
    fails(Spawn::new("/bin/true").env("\0", ""), Errno::INVAL);
    fails(Spawn::new("/bin/true").env("", "a"), Errno::INVAL);
    fails(Spawn::new("/bin/true").env("A=B", "a"), Errno::INVAL);
    fails(Spawn::new("/bin/true").current_dir("/\0"), Errno::INVAL);
    fails(Spawn::new("/bin/true").cpu_affinity([1 << 40]), Errno::INVAL);
    let (reader, _writer) = pipe();
    // What was wrong first is said.
    fails(Spawn::new("/bin/true").fd(-1, reader.as_fd()).env("", "a"), Errno::BADF);
}

/// The kernel finds out too late to say so: the file ends where its code should be.
pub(crate) fn broken_program() {
    let place = Place::new();
    let program = std::fs::read("/bin/true").expect("read");
    let half = place.file("half", &program[..4096], 0o755);
    let status = Spawn::new(half).spawn().expect("spawn").wait().expect("wait");
    assert!(matches!(status, ExitStatus::Signaled { .. }), "{status}");
}

pub(crate) fn limit_of_processes() {
    setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum: Some(0) }).expect("setrlimit");
    become_nobody();
    fails(&Spawn::new("/bin/true"), Stage::Clone, Errno::AGAIN);
}

pub(crate) fn limit_of_descriptors() {
    // The lowest free number, and thus all that are open without a gap.
    let (reader, writer) = pipe();
    let free = std::os::fd::AsRawFd::as_raw_fd(&writer) as u64 + 1;
    let limit = |current| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(current), maximum };
        setrlimit(Resource::Nofile, limit).expect("setrlimit");
    };
    limit(free);
    for _ in 0..20 {
        let error = error_of(&Spawn::new("/bin/true"));
        assert_eq!((error.stage, error.errno), (Stage::Clone, Errno::MFILE));
    }
    // One is enough, also for the program, which opens its libraries.
    limit(free + 1);
    assert!(crate::tools::succeeds(&Spawn::new("/bin/true")));
    drop((reader, writer));
}
