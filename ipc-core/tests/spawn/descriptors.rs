//! Which descriptors reach a program, and at which numbers.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ipc_core::Errno;
use ipc_core::process::{Spawn, Stage};
use ipc_testkit::cases::doing;
use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::tools::{
    Held, await_stop, borrow, cat, close_number, error_of, fds_of, pipe, refuse_close_range,
};

/// A file that says its name in `/proc/PID/fd`.
fn named(name: &str) -> OwnedFd {
    memfd_create(name, MemfdFlags::CLOEXEC).expect("memfd")
}

fn link_of(name: &str) -> String {
    format!("/memfd:{name} (deleted)")
}

fn own_stderr() -> String {
    let link = std::fs::read_link("/proc/self/fd/2").expect("/proc");
    link.to_str().expect("text").to_owned()
}

/// F01: another thread opens and closes descriptors that `exec` would keep, all the time.
pub(crate) fn f01_only_listed() {
    static STOP: AtomicBool = AtomicBool::new(false);
    static OPENED: AtomicUsize = AtomicUsize::new(0);
    let storm = std::thread::spawn(|| {
        while !STOP.load(SeqCst) {
            let open = || open("/dev/null", OFlags::RDWR, Mode::empty()).expect("open");
            let fds: Vec<_> = (0..100).map(|_| open()).collect();
            OPENED.fetch_add(fds.len(), SeqCst);
        }
    });
    // Some that stay, too.
    let _left: Vec<_> =
        (0..50).map(|_| open("/dev/zero", OFlags::RDWR, Mode::empty()).expect("open")).collect();
    while OPENED.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    let listed = named("listed");
    for round in 0..150 {
        doing("looking at the descriptors of a program");
        let number = 3 + round % 20;
        let mut cat = cat();
        cat.fd(number, listed.as_fd());
        let held = Held::start(cat);
        let fds = held.fds();
        held.end();
        assert_eq!(fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, number], "{fds:?}");
        assert_eq!(fds[&number], link_of("listed"));
        assert!(fds[&0].starts_with("pipe:") && fds[&1].starts_with("pipe:"), "{fds:?}");
        assert_eq!(fds[&2], own_stderr());
    }
    STOP.store(true, SeqCst);
    storm.join().expect("the storm");
    println!("{} descriptors came and went", OPENED.load(SeqCst));
}

/// The same where the kernel has no `close_range`.
pub(crate) fn f01_by_the_list() {
    refuse_close_range(libc::ENOSYS);
    f01_only_listed();
}

/// Starts a program with these pairs of (index of a file, number), where number `n` is that of file
/// `n` if there is one, and looks.
fn check(files: &[OwnedFd], pairs: &[(usize, i32)]) {
    let mut cat = cat();
    let mut wanted = BTreeMap::new();
    for &(file, number) in pairs {
        cat.fd(number, files[file].as_fd());
        wanted.insert(number, link_of(&file.to_string()));
    }
    let held = Held::start(cat);
    let mut fds = held.fds();
    held.end();
    fds.retain(|number, _| *number > 1 && (*number > 2 || wanted.contains_key(&2)));
    assert_eq!(fds, wanted, "{pairs:?}");
}

/// F02: rings, chains, copies, and the same number.
pub(crate) fn f02_change_places() {
    let files: Vec<_> = (0..6).map(|number| named(&number.to_string())).collect();
    let at = |file: usize| files[file].as_raw_fd();
    for pairs in [
        // Itself.
        vec![(0, at(0))],
        // Two change places.
        vec![(0, at(1)), (1, at(0))],
        // A ring of three, both ways round.
        vec![(0, at(1)), (1, at(2)), (2, at(0))],
        vec![(0, at(2)), (2, at(1)), (1, at(0))],
        // Two rings and one that stays.
        vec![(0, at(1)), (1, at(0)), (2, at(3)), (3, at(2)), (4, at(4))],
        // A chain.
        vec![(0, at(1)), (1, at(2)), (2, at(3)), (3, 40)],
        // A ring with a tail, and a copy of one of its members.
        vec![(0, at(1)), (1, at(0)), (0, 50), (1, at(2)), (0, 2)],
        // One at many numbers, its own among them.
        vec![(0, at(0)), (0, at(1)), (0, at(2)), (0, 60), (0, 2)],
        // Over standard error.
        vec![(5, 2), (4, at(5))],
        // The later word counts.
        vec![(0, 40), (1, 40)],
    ] {
        check(&files, &pairs);
    }
    // Standard error takes the place of a file, and the file its.
    let mut cat = cat();
    cat.fd(at(0), borrow(2)).fd(2, files[0].as_fd());
    let held = Held::start(cat);
    let fds = held.fds();
    held.end();
    assert_eq!((&fds[&2], &fds[&at(0)]), (&link_of("0"), &own_stderr()));
    assert_eq!(fds.len(), 4);
}

/// F02, at random: each of eight numbers gets any of eight files, or none.
pub(crate) fn f02_any_map() {
    let files: Vec<_> = (0..8).map(|number| named(&number.to_string())).collect();
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below) as usize
    };
    for _ in 0..150 {
        doing("a random map");
        let mut pairs = Vec::new();
        for file in &files {
            let source = random(9);
            if source < files.len() {
                pairs.push((source, file.as_raw_fd()));
            }
        }
        // The order in which they are said does not matter.
        for place in (1..pairs.len()).rev() {
            pairs.swap(place, random(place as u64 + 1));
        }
        check(&files, &pairs);
    }
}

/// A ring needs one free number in the child.
pub(crate) fn f02_ring_in_a_full_table() {
    let (one, other) = (named("one"), named("other"));
    // The parent needs one for the pidfd, so the child has one; that is taken by a third
    // descriptor.
    let full = 1 + one.as_raw_fd().max(other.as_raw_fd());
    let mut program = Spawn::new("/bin/true");
    program.fd(one.as_raw_fd(), other.as_fd()).fd(other.as_raw_fd(), one.as_fd());
    let third = full as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(third + 1), maximum }).expect("setrlimit");
    assert!(program.spawn().expect("room for one").wait().expect("wait").success());
    program.fd(full, one.as_fd());
    let error = error_of(&program);
    assert_eq!((error.stage, error.errno), (Stage::Dup, Errno::MFILE));
}

/// F04: what is closed here is closed there, and nothing of ours takes its place.
pub(crate) fn f04_closed_streams() {
    let program = || {
        let mut program = Spawn::new("/bin/sh");
        // The shell stops itself, so that it can be looked at. It opens nothing for that.
        program.args(["-c", "kill -STOP $$"]);
        program
    };
    close_number(0);
    close_number(1);
    let listed = {
        // The lowest free number is 0, and stays so.
        let file = named("listed");
        assert_eq!(file.as_raw_fd(), 0);
        file
    };
    let look = |program: &Spawn<'_>| {
        let mut child = program.spawn().expect("spawn");
        await_stop(&child);
        let fds = fds_of(child.id().as_raw_nonzero().get());
        child.kill().expect("kill");
        child.wait().expect("wait");
        fds
    };
    // Close-on-exec, and so not there.
    assert_eq!(look(&program()).into_keys().collect::<Vec<_>>(), [2]);
    let mut other = program();
    other.fd(1, listed.as_fd()).fd(7, listed.as_fd());
    assert_eq!(look(&other).into_keys().collect::<Vec<_>>(), [1, 2, 7]);
    // At its own number, which is that of a stream.
    let mut same = program();
    same.pass(listed.as_fd());
    assert_eq!(look(&same).into_keys().collect::<Vec<_>>(), [0, 2]);
    drop(listed);
    // As the runner counts.
    for number in [0, 1] {
        let null = File::options().read(true).write(true).open("/dev/null").expect("open");
        assert_eq!(null.as_raw_fd(), number);
        core::mem::forget(null);
    }
}

/// Two ends of one pipe at 0 and 1, given the wrong way round.
pub(crate) fn f04_numbers_of_streams() {
    let ((stdin, to), (from, stdout)) = (pipe(), pipe());
    for number in [0, 1] {
        close_number(number);
    }
    let out = rustix::io::dup(&stdout).expect("dup");
    let inn = rustix::io::dup(&stdin).expect("dup");
    assert_eq!((out.as_raw_fd(), inn.as_raw_fd()), (0, 1));
    drop((stdin, stdout));
    let mut child =
        Spawn::new("/bin/cat").stdin(inn.as_fd()).stdout(out.as_fd()).spawn().expect("spawn");
    core::mem::forget((inn, out));
    for number in [0, 1] {
        close_number(number);
    }
    rustix::io::write(&to, b"through").expect("write");
    drop(to);
    let mut said = [0; 16];
    assert_eq!(rustix::io::read(&from, &mut said), Ok(7));
    assert!(child.wait().expect("wait").success());
    for number in [0, 1] {
        let null = File::options().read(true).write(true).open("/dev/null").expect("open");
        assert_eq!(null.as_raw_fd(), number);
        core::mem::forget(null);
    }
}
