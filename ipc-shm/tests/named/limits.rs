//! Too little of something: a named error, and nothing is left.

use std::fs;
use std::os::fd::AsRawFd as _;

use ipc_core::Errno;
use ipc_core::identity::ProcessId;
use ipc_shm::{AttachError, CreateError, NamedError, Plan, RawValue, RegionName, Step};
use ipc_testkit::cases::{doing, open_fds};
use rustix::fs::statvfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{create_filled, entries, name, number_in, private_mounts, private_shm};

fn os(step: Step, errno: Errno) -> NamedError {
    NamedError::Create(CreateError::Os { step, errno })
}

fn plan_of(bytes: usize) -> Plan {
    let mut plan = Plan::new();
    plan.array::<RawValue<u8>>(bytes).unwrap();
    plan
}

/// What this process and the directory have.
fn state() -> (usize, usize, std::collections::HashSet<std::ffi::OsString>) {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    (open_fds(), maps.lines().filter(|line| line.contains("/dev/shm")).count(), entries())
}

/// Both ways to create fail with this error, and leave nothing.
fn fails(name: &RegionName, plan: &Plan, with: impl Fn() -> Undo, expected: NamedError) {
    fail(name, plan, with, [expected; 2]);
}

/// As [`fails`], with the error of either way.
fn fail(name: &RegionName, plan: &Plan, with: impl Fn() -> Undo, expected: [NamedError; 2]) {
    ProcessId::current().expect("asked for before there is a limit");
    let before = state();
    let ways = [RegionName::create_new, RegionName::create_or_replace];
    for (create, expected) in ways.into_iter().zip(expected) {
        let undo = with();
        let result = create(name, plan);
        drop(undo);
        assert_eq!(result.unwrap_err(), expected);
        assert_eq!(state(), before);
    }
}

/// The number that the next descriptor gets: below a limit of that there are none.
fn first_free() -> u64 {
    let file = fs::File::open("/dev/null").expect("a file");
    u64::try_from(file.as_raw_fd()).expect("a descriptor")
}

/// Gives a limit back.
struct Undo(Option<(Resource, Rlimit)>);

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((resource, old)) = self.0.take() {
            setrlimit(resource, old).expect("the old limit");
        }
    }
}

fn limited(resource: Resource, limit: u64) -> Undo {
    let old = getrlimit(resource);
    let new = Rlimit { current: Some(limit), maximum: old.maximum };
    setrlimit(resource, new).expect("a lower limit");
    Undo(Some((resource, old)))
}

pub(crate) fn full_tmpfs() {
    private_shm(c"size=1m,nr_inodes=5");
    let (name, path) = name();
    let free = || {
        let found = statvfs("/dev/shm").unwrap();
        (found.f_bfree, found.f_ffree)
    };
    let before = free();
    fails(&name, &plan_of(1 << 20), || Undo(None), os(Step::Reserve, Errno::NOSPC));
    assert_eq!(free(), before, "not a page is left");
    drop(name.create_new(&plan_of((1 << 20) - 4096)).expect("just fits"));
    assert_eq!(free().0, 0);
    name.remove().unwrap();
    assert_eq!(free(), before);
    // No more files.
    let full: Vec<_> = (0..before.1).map(|n| path.with_extension(n.to_string())).collect();
    full.iter().for_each(|path| drop(fs::File::create(path).unwrap()));
    fails(&name, &plan_of(1), || Undo(None), os(Step::Open, Errno::NOSPC));
    full.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(free(), before);
}

pub(crate) fn failed_creation_leaves_nothing() {
    let (name, _) = name();
    let (first, small) = (first_free(), plan_of(1 << 16));
    doing("creating without descriptors");
    let none = NamedError::NoDirectory(Errno::MFILE);
    fails(&name, &small, || limited(Resource::Nofile, first), none);
    // To replace is to look first.
    let one = [os(Step::Open, Errno::MFILE), NamedError::Os(Errno::MFILE)];
    fail(&name, &small, || limited(Resource::Nofile, first + 1), one);
    doing("creating beyond the size of files");
    let large = os(Step::Resize, Errno::FBIG);
    fails(&name, &small, || limited(Resource::Fsize, 1 << 16), large);
    doing("creating without address space");
    let space = os(Step::Map, Errno::NOMEM);
    fails(&name, &plan_of(64 << 20), || limited(Resource::As, 1 << 20), space);
    drop(name.create_new(&small).expect("afterwards it works"));
    name.remove().unwrap();
}

pub(crate) fn failed_opening_leaves_nothing() {
    let (name, _) = name();
    let region = create_filled(&name, 1).unwrap();
    let (first, before) = (first_free(), state());
    for (resource, limit, expected) in [
        (Resource::Nofile, first, NamedError::NoDirectory(Errno::MFILE)),
        (Resource::Nofile, first + 1, NamedError::Os(Errno::MFILE)),
        (Resource::As, 1 << 20, NamedError::Attach(AttachError::Os(Errno::NOMEM))),
    ] {
        let undo = limited(resource, limit);
        let result = name.open();
        drop(undo);
        assert_eq!(result.unwrap_err(), expected);
        assert_eq!(state(), before);
    }
    assert_eq!(number_in(&name.open().unwrap()), number_in(&region));
    name.remove().unwrap();
}

/// Before Linux 6.10 a process without privileges needs `/proc` to give a file its name. Where neither is to be had
/// the error says so.
pub(crate) fn without_proc() {
    const LINKAT: i64 = if cfg!(target_arch = "x86_64") { 265 } else { 37 };
    const ERRNO: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
    use ipc_testkit::cases::seccomp::{When, answer};
    let (name, _) = name();
    ProcessId::current().unwrap();
    private_mounts();
    // As such a kernel answers to AT_EMPTY_PATH.
    answer(LINKAT, &When::Equal(4, 0x1000), ERRNO | Errno::NOENT.raw_os_error() as u32);
    drop(create_filled(&name, 1).expect("by /proc"));
    name.remove().unwrap();
    mount(c"tmpfs", c"/proc", c"tmpfs", MountFlags::empty(), c"").unwrap();
    let result = create_filled(&name, 1);
    unmount("/proc", UnmountFlags::empty()).unwrap();
    assert_eq!(result.unwrap_err(), os(Step::Link, Errno::NOENT));
    assert_eq!(name.open().unwrap_err(), NamedError::NotFound);
}
