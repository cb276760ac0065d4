//! What a region with a name is, from its creation to its removal.

use core::sync::atomic::{AtomicU64, Ordering, Ordering::SeqCst};
use core::time::Duration;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::Instant;

use ipc_core::identity::ProcessId;
use ipc_core::parcel::{Parcel, ParcelError};
use ipc_core::process::{ExitStatus, fork_fn};
use ipc_shm::ring::spsc::{Ring, RingPlace};
use ipc_shm::ring::{PopError, RoleError};
use ipc_shm::{
    Atomic, AttachError, CreateError, NamedError, Plan, RawValue, Region, RegionName, Shared,
};
use ipc_testkit::cases::events::await_sleep;
use ipc_testkit::cases::{doing, open_fds, shared};
use rustix::fs::Mode;

use crate::{create_filled, end, entries, file, name, number_in, plan};

pub(crate) fn appears_whole_and_private() {
    let (name, path) = name();
    for umask in [0, 0o022, 0o777] {
        doing("creating under a umask");
        rustix::process::umask(Mode::from_raw_mode(umask));
        let region = create_filled(&name, 7).unwrap();
        assert!(!region.is_sealed());
        assert_eq!(region.creator(), ProcessId::current().unwrap());
        let found = path.metadata().unwrap();
        assert_eq!((found.mode() & 0o7777, found.nlink()), (0o600, 1));
        assert_eq!(found.blocks() * 512, found.len(), "every page is there");
        assert_eq!(number_in(&region), 7);
        // By its descriptor it is refused: anybody of this user could cut it short.
        let fd = region.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(Region::from_fd(fd), Err(AttachError::NotSealed { .. })));
        name.remove().unwrap();
        assert!(!path.exists());
        assert_eq!(number_in(&region), 7);
    }
    assert!(Region::anonymous(1).unwrap().is_sealed());
}

pub(crate) fn found_by_another_process() {
    let (name, _) = name();
    let mut plan = Plan::new();
    let word = plan.one::<Atomic<AtomicU64>>().unwrap();
    let region = name.create_new(&plan).unwrap();
    let child = fork_fn(|| {
        let same = name.open_for(&plan).unwrap();
        same.get(word).unwrap().store(5, Ordering::Release);
        assert_eq!(name.create_new(&plan).unwrap_err(), taken(&region));
        let mut other = Plan::new();
        other.one::<Atomic<AtomicU64>>().unwrap();
        other.one::<RawValue<u8>>().unwrap();
        let error = name.open_for(&other).unwrap_err();
        assert!(matches!(error, NamedError::Attach(AttachError::Layout { .. })), "{error}");
        0
    });
    doing("waiting for the child");
    end(child.unwrap());
    assert_eq!(region.get(word).unwrap().load(Ordering::Acquire), 5);
    assert_eq!(name.create_new(&plan).unwrap_err(), taken(&region));
    name.remove().unwrap();
    assert_eq!(name.open().unwrap_err(), NamedError::NotFound);
    assert_eq!(name.remove().unwrap_err(), NamedError::NotFound);
}

fn taken(region: &Region) -> NamedError {
    NamedError::Taken { creator: Some(region.creator()) }
}

/// All that is not written is zero, in regions of every sort.
pub(crate) fn nothing_of_private_memory() {
    // What was freed a moment ago, on the heap and on the stack, is full of this.
    let canary = vec![0xa5_u8; 1 << 20];
    core::hint::black_box(&canary);
    drop(canary);
    let mut plan = Plan::new();
    plan.one::<RawValue<u8>>().unwrap();
    plan.array::<RawValue<u32>>(3).unwrap();
    let (name, _) = name();
    let named = name.create_new(&plan).unwrap();
    name.remove().unwrap();
    for region in [named, Region::planned(&plan).unwrap(), Region::anonymous(5000).unwrap()] {
        let places = region.place::<RawValue<u32>>(1).map_or(0, |_| 2);
        let mut bytes = vec![1; file(&region).metadata().unwrap().len() as usize];
        file(&region).read_exact_at(&mut bytes, 0).unwrap();
        let reserved = &bytes[84..1024];
        let rest = &bytes[1024 + places * 32..];
        assert!(reserved.iter().chain(rest).all(|&byte| byte == 0));
        assert!(!bytes.windows(4).any(|four| four == [0xa5; 4]));
    }
}

/// A plan that cannot be made does not cost a dead creator's region its name.
pub(crate) fn failed_plan_takes_nothing_away() {
    let (name, path) = name();
    end(fork_fn(|| i32::from(create_filled(&name, 1).is_err())).unwrap());
    let before = path.metadata().unwrap().ino();
    let error = name.create_or_replace(&Plan::new()).unwrap_err();
    assert_eq!(error, NamedError::Create(CreateError::ZeroSize));
    assert_eq!(path.metadata().unwrap().ino(), before);
    name.remove().unwrap();
}

/// `rm -rf /dev/shm/*`, or a service manager's clean-up.
pub(crate) fn removed_under_its_users() {
    let (name, path) = name();
    let region = create_filled(&name, 1).unwrap();
    let same = name.open().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(name.open().unwrap_err(), NamedError::NotFound);
    assert_eq!(name.remove().unwrap_err(), NamedError::NotFound);
    let next = create_filled(&name, 2).unwrap();
    assert_eq!([&region, &same, &next].map(number_in), [1, 1, 2]);
    assert_eq!(number_in(&name.open().unwrap()), 2);
    name.remove().unwrap();
}

/// What a process of the same user can do, and what it leads to, as the documentation says.
pub(crate) fn cut_short() {
    const SIGBUS: i32 = 7;
    let (name, path) = name();
    let (plan, place) = plan();
    let region = create_filled(&name, 1).unwrap();
    let total = path.metadata().unwrap().len();
    let cut = std::fs::File::options().write(true).open(&path).unwrap();
    cut.set_len(4096).unwrap();
    doing("touching memory that is not there");
    let mut child = fork_fn(|| region.get(place).unwrap().get() as i32).unwrap();
    let status = child.wait().unwrap();
    assert!(matches!(status, ExitStatus::Signaled { signal: SIGBUS, .. }), "{status:?}");
    for length in [0, 4095, 4096, 4097, total - 1] {
        cut.set_len(length).unwrap();
        let error = name.open_for(&plan).unwrap_err();
        assert!(matches!(error, NamedError::Attach(_)), "{length}: {error}");
    }
    // A longer file has all that the header says; but what was cut off is zero.
    cut.set_len(total).unwrap();
    drop(region);
    std::fs::remove_file(&path).unwrap();
}

/// Whoever sleeps on a word that is no more ends as if it had looked at it, and does not sleep for ever.
pub(crate) fn cut_short_under_a_sleeper() {
    const SIGBUS: i32 = 7;
    let (name, path) = name();
    let mut plan = Plan::new();
    let place = RingPlace::<u64>::plan(&mut plan, 4).unwrap();
    let region = name.create_new(&plan).unwrap();
    let ring = Ring::in_region(&region, place).unwrap();
    let producer = ring.producer().unwrap();
    let mut child =
        fork_fn(|| ring.consumer().unwrap().pop_wait().map_or(1, |number| number as i32)).unwrap();
    await_sleep(child.id());
    std::fs::File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
    let cut = Instant::now();
    doing("waiting for a process that slept on memory that is not there");
    let status = child.wait().unwrap();
    assert!(matches!(status, ExitStatus::Signaled { signal: SIGBUS, .. }), "{status:?}");
    assert!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
    // Its drop would look there, too.
    core::mem::forget(producer);
    std::fs::remove_file(&path).unwrap();
}

pub(crate) fn versions() {
    let (name, path) = name();
    let (plan, _) = plan();
    let mine = (1_u16, 0_u16);
    for found in [(0, 0), (2, 0), (1, 1), (u16::MAX, u16::MAX)] {
        let child = fork_fn(|| {
            let region = create_filled(&name, 1).unwrap();
            let bytes = [found.0.to_ne_bytes(), found.1.to_ne_bytes()].concat();
            file(&region).write_all_at(&bytes, 16).unwrap();
            0
        });
        end(child.unwrap());
        let expected = NamedError::Attach(AttachError::Version { found, expected: mine });
        assert_eq!(name.open().unwrap_err(), expected);
        assert_eq!(name.open_for(&plan).unwrap_err(), expected);
        // Its creator is dead. But who knows where another version keeps that?
        assert_eq!(name.create_or_replace(&plan).unwrap_err(), expected);
        assert_eq!(name.create_new(&plan).unwrap_err(), NamedError::Taken { creator: None });
        assert!(path.exists());
        name.remove().unwrap();
    }
}

pub(crate) fn name_travels_and_region_does_not() {
    let (name, _) = name();
    let region = create_filled(&name, 1).unwrap();
    let copy: RegionName = Parcel::pack(&name).and_then(Parcel::unpack).unwrap();
    assert_eq!(copy, name);
    assert_eq!(number_in(&copy.open().unwrap()), 1);
    assert!(matches!(Parcel::pack(&region), Err(ParcelError::Pack(_))));
    let no_name = Parcel::pack(&b"a/b"[..]).unwrap().unpack::<RegionName>();
    assert!(matches!(no_name, Err(ParcelError::Unpack(_))), "{no_name:?}");
    // A value in a named region is not one that could be sent either.
    let fd = region.as_fd().try_clone_to_owned().unwrap();
    assert!(Shared::<RawValue<u64>>::from_fd(fd).is_err());
    name.remove().unwrap();
}

/// A ring with a name: a killed producer is followed by one that finds it by that. Whoever trusts nobody refuses it.
pub(crate) fn ring_is_found_by_name() {
    let (name, _) = name();
    let mut plan = Plan::new();
    let place = RingPlace::<u64>::plan(&mut plan, 8).unwrap();
    let region = name.create_new(&plan).unwrap();
    let ring = Ring::in_region(&region, place).unwrap();
    let mut consumer = ring.consumer().unwrap();
    assert_eq!(ring.untrusted_producer().map(drop), Err(RoleError::NotSealed));
    for round in 0..3 {
        let mut child = fork_fn(|| {
            let region = name.open_for(&plan).unwrap();
            let ring = Ring::in_region(&region, place).unwrap();
            assert_eq!(ring.untrusted_consumer().map(drop), Err(RoleError::NotSealed));
            let mut producer = ring.producer().unwrap();
            producer.push(round).unwrap();
            shared().words[0].store(1, SeqCst);
            loop {
                std::thread::yield_now();
            }
        })
        .unwrap();
        doing("waiting for a producer");
        while shared().words[0].swap(0, SeqCst) == 0 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(consumer.pop(), Ok(round));
        let end =
            core::iter::repeat_with(|| consumer.pop()).find(|end| *end != Err(PopError::Empty));
        assert_eq!(end, Some(Err(PopError::Disconnected)));
    }
    name.remove().unwrap();
    let sealed = Region::planned(&plan).unwrap();
    assert!(Ring::in_region(&sealed, place).unwrap().untrusted_producer().is_ok());
}

pub(crate) fn cycles_leave_nothing() {
    let cycles = if std::env::var_os("IPC_CYCLES").is_some() { 10_000 } else { 1_000 };
    let (name, _) = name();
    let (plan, _) = plan();
    let state = || {
        let text = std::fs::read_to_string("/proc/self/maps").expect("/proc");
        let mapped = std::fs::read_to_string("/proc/self/statm").expect("/proc");
        let pages = mapped.split(' ').next().expect("a number").to_owned();
        (open_fds(), text.lines().count(), pages, entries())
    };
    let cycle = |number| {
        let region = create_filled(&name, number).unwrap();
        let same = name.open_for(&plan).unwrap();
        assert!(name.create_or_replace(&plan).is_err(), "we live");
        assert_eq!(number_in(&same), number);
        name.remove().unwrap();
        drop(region);
    };
    (0..20).for_each(cycle);
    let before = state();
    (0..cycles).for_each(cycle);
    assert_eq!(state(), before);
    println!("{cycles} cycles");
    std::io::stdout().flush().expect("stdout");
}
