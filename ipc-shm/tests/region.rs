//! Regions: what creating one leaves behind, and what attaching refuses.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`), because some lower its limits
//! and all count its descriptors and mappings.
//!
//! # Safety
//!
//! A lock that is forgotten while held lies in a region. Damaged headers are written through the
//! descriptor.
#![expect(unsafe_code, reason = "looks at addresses that must not be used any more")]

use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;

use ipc_core::Errno;
use ipc_core::identity::{Liveness, ProcessId};
use ipc_core::process::fork_fn;
use ipc_shm::ring::{RingError, bytes, indexed, spsc};
use ipc_shm::{
    Atomic, AttachError, CreateError, FrozenRegion, Kind, PlaceError, Plan, RawValue,
    ReadOnlyRegion, Region, Step,
};
use ipc_sync::Mutex;
use ipc_testkit::cases::{self, doing, open_fds};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::process::{Resource, Rlimit, setrlimit};

fn main() -> ExitCode {
    cases::run(&[
        ("sealed_reserved_and_zero", sealed_reserved_and_zero),
        ("attached_in_another_process", attached_in_another_process),
        ("size_is_checked_at_creation", size_is_checked_at_creation),
        ("x01_x03_failed_creation_leaves_nothing", failed_creation_leaves_nothing),
        ("size_limit_is_an_error", size_limit_is_an_error),
        ("reservation_ends_among_signals", reservation_ends_among_signals),
        ("panic_in_fill_leaves_nothing", panic_in_fill_leaves_nothing),
        ("l01_ten_thousand_cycles", ten_thousand_cycles),
        ("t04_what_is_no_region", what_is_no_region),
        ("t02_unsealed_is_refused", unsealed_is_refused),
        ("t03_smaller_than_its_header_says", smaller_than_its_header_says),
        ("t03_larger_than_its_region", larger_than_its_region),
        ("t05_read_only_is_refused", read_only_is_refused),
        ("v01_versions", versions),
        ("v02_v03_v06_layout_and_architecture", layout_and_architecture),
        ("v04_page_size_and_cache_line", page_size_and_cache_line),
        ("v07_not_ready", not_ready),
        ("h01_every_header_field", every_header_field),
        ("h01_directory_with_the_right_hash", directory_with_the_right_hash),
        ("h01_directory_that_changes_later", directory_that_changes_later),
        ("h09_punched_header", punched_header),
        ("views_are_checked", views_are_checked),
        ("places_are_checked", places_are_checked),
        ("populated_and_locked_in_memory", populated_and_locked_in_memory),
        ("t11_sealed_mapping_stays", sealed_mapping_stays),
        ("forgotten_guard_keeps_the_addresses", forgotten_guard_keeps_the_addresses),
    ])
}

/// Header fields, and their sizes: the layout of version 1.0, written down a second time.
const FIELDS: [(&str, u64, usize); 15] = [
    ("magic", 0, 8),
    ("init", 8, 8),
    ("major", 16, 2),
    ("minor", 18, 2),
    ("arch", 20, 4),
    ("hash", 24, 8),
    ("kind", 32, 4),
    ("page", 36, 4),
    ("total", 40, 8),
    ("payload", 48, 8),
    ("size", 56, 8),
    ("creator", 64, 8),
    ("domain", 72, 4),
    ("entries", 76, 4),
    ("line", 80, 4),
];

fn again(region: &impl AsFd) -> OwnedFd {
    region.as_fd().try_clone_to_owned().expect("a descriptor")
}

fn attach(region: &impl AsFd) -> Result<Region, AttachError> {
    Region::from_fd(again(region))
}

/// The file as its own attacker sees it.
fn file(region: &impl AsFd) -> File {
    File::from(again(region))
}

fn maps() -> usize {
    let mut text = String::new();
    File::open("/proc/self/maps").and_then(|mut f| f.read_to_string(&mut text)).expect("/proc");
    text.lines().filter(|line| line.contains("memfd:ipc-shm")).count()
}

fn sealed_reserved_and_zero() {
    let region = Region::anonymous(100_000).unwrap();
    assert_eq!((region.size(), region.kind()), (100_000, Kind::Raw));
    assert_eq!(region.creator(), ProcessId::current().unwrap());
    let memfd = file(&region);
    let seals = fcntl_get_seals(&memfd).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
    let length = memfd.metadata().unwrap().len();
    assert_eq!(memfd.set_len(length - 1).unwrap_err().raw_os_error(), Some(1));
    assert_eq!(memfd.set_len(length + 1).unwrap_err().raw_os_error(), Some(1));
    assert_eq!(fcntl_add_seals(&memfd, SealFlags::WRITE).unwrap_err(), Errno::PERM);
    // All pages are there already: blocks are of 512 bytes.
    let blocks = std::os::unix::fs::MetadataExt::blocks(&memfd.metadata().unwrap());
    assert_eq!(blocks * 512, length);
    let mut payload = vec![1; 100_000];
    memfd.read_exact_at(&mut payload, 4096).unwrap();
    assert!(payload.iter().all(|&byte| byte == 0));
    // Never executable, where the kernel knows how to.
    let mode = std::os::unix::fs::PermissionsExt::mode(&memfd.metadata().unwrap().permissions());
    assert!(mode & 0o111 == 0 || !seals.contains(SealFlags::EXEC));
}

fn attached_in_another_process() {
    let mut plan = Plan::new();
    let word = plan.one::<Atomic<AtomicU64>>().unwrap();
    let total = plan.one::<Mutex<u64>>().unwrap();
    let region = Region::planned_with(&plan, |fill| fill.locks(total, |_| 5)).unwrap();
    let fd = again(&region);
    let mut child = fork_fn(|| {
        let region = Region::from_fd_for(fd, &plan).unwrap();
        region.get(word).unwrap().store(7, Ordering::Release);
        *region.get(total).unwrap().lock().unwrap() += 1;
        assert_ne!(region.creator(), ProcessId::current().unwrap());
        i32::from(region.creator().liveness() != Liveness::Alive)
    })
    .unwrap();
    doing("waiting for the child");
    assert!(child.wait().unwrap().success());
    assert_eq!(region.get(word).unwrap().load(Ordering::Acquire), 7);
    assert_eq!(*region.get(total).unwrap().lock().unwrap(), 6);
}

fn size_is_checked_at_creation() {
    assert_eq!(Region::anonymous(0).unwrap_err(), CreateError::ZeroSize);
    assert_eq!(Region::planned(&Plan::new()).unwrap_err(), CreateError::ZeroSize);
    let most = {
        let info = rustix::system::sysinfo();
        (info.totalram as u64 + info.totalswap as u64) * u64::from(info.mem_unit)
    };
    for asked in [usize::MAX, usize::MAX - 4095, isize::MAX as usize, most as usize] {
        let error = Region::anonymous(asked).unwrap_err();
        assert_eq!(error, CreateError::TooLarge { asked, most });
    }
    assert_eq!(Region::anonymous(1).unwrap().size(), 1);
}

/// Makes a region of about so many bytes.
type Maker = fn(usize) -> Result<(), CreateError>;

const MAKERS: [(&str, Maker); 4] = [
    ("without a plan", |size| Region::anonymous(size).map(drop)),
    ("stamped", |size| of_the_region(spsc::Ring::<u64>::create(size / 16).map(drop))),
    ("indexed", |size| of_the_region(indexed::Ring::<u64>::create(size / 8).map(drop))),
    ("bytes", |size| of_the_region(bytes::Ring::create(size).map(drop))),
];

fn of_the_region(made: Result<(), RingError>) -> Result<(), CreateError> {
    made.map_err(|error| match error {
        RingError::Region(error) => error,
        error => panic!("{error}"),
    })
}

/// Each maker fails with this error, and leaves nothing.
fn all_fail(size: usize, step: Step, errno: Errno, with: impl Fn() -> Option<(Resource, Rlimit)>) {
    for (what, make) in MAKERS {
        let before = (open_fds(), maps());
        let old = with();
        let result = make(size);
        if let Some((resource, old)) = old {
            setrlimit(resource, old).unwrap();
        }
        assert_eq!(result, Err(CreateError::Os { step, errno }), "{what}");
        assert_eq!((open_fds(), maps()), before, "{what}");
    }
}

/// Lowers a limit, and says what it was.
fn limited(resource: Resource, limit: u64) -> Option<(Resource, Rlimit)> {
    let old = rustix::process::getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(limit), maximum: old.maximum }).unwrap();
    Some((resource, old))
}

fn failed_creation_leaves_nothing() {
    use ipc_testkit::cases::seccomp::{When, answer};
    ProcessId::current().unwrap();
    doing("creating without descriptors");
    // Descriptors 0 to 2 are open.
    all_fail(4096, Step::Open, Errno::MFILE, || limited(Resource::Nofile, 3));
    doing("creating without address space");
    all_fail(64 << 20, Step::Map, Errno::NOMEM, || limited(Resource::As, 1 << 20));
    doing("creating beyond the size of files");
    all_fail(1 << 20, Step::Resize, Errno::FBIG, || limited(Resource::Fsize, 1 << 16));
    for (what, make) in MAKERS {
        assert_eq!(make(1 << 16), Ok(()), "{what}: afterwards it works");
    }
    doing("creating without memory");
    answer(FALLOCATE, &When::Always, ERRNO | Errno::NOSPC.raw_os_error() as u32);
    all_fail(1 << 20, Step::Reserve, Errno::NOSPC, || None);
}

/// The kernel would end this process by SIGXFSZ.
fn size_limit_is_an_error() {
    let (resource, old) = limited(Resource::Fsize, 1 << 16).expect("a limit");
    let expected = CreateError::Os { step: Step::Resize, errno: Errno::FBIG };
    assert_eq!(Region::anonymous(1 << 16).unwrap_err(), expected);
    assert!(Region::anonymous((1 << 16) - 4096).is_ok(), "exactly the limit");
    setrlimit(resource, old).unwrap();
}

const FALLOCATE: i64 = if cfg!(target_arch = "x86_64") { 285 } else { 47 };
/// `SECCOMP_RET_ERRNO`.
const ERRNO: u32 = 0x0005_0000;

/// A kernel that gives up at every signal, and a process that gets them faster than all its pages
/// can be reserved at once.
fn reservation_ends_among_signals() {
    use ipc_testkit::cases::seccomp::{When, answer};
    for calls in 1..=3_u32 {
        // The whole, the half of it, and so on.
        let length = (8 << 20) >> (calls - 1);
        answer(FALLOCATE, &When::Equal(3, length), ERRNO | Errno::INTR.raw_os_error() as u32);
        let region = Region::anonymous((8 << 20) - 4096).unwrap();
        let blocks = std::os::unix::fs::MetadataExt::blocks(&file(&region).metadata().unwrap());
        assert_eq!(blocks * 512, 8 << 20, "every page is there");
    }
}

fn panic_in_fill_leaves_nothing() {
    let (fds, before) = (open_fds(), maps());
    let mut plan = Plan::new();
    let ours = plan.one::<RawValue<u64>>().unwrap();
    let mut other = Plan::new();
    other.array::<RawValue<u64>>(2).unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(|| {
        Region::planned_with(&other, |fill| fill.values(ours, |_| RawValue::new(1)))
    });
    drop(std::panic::take_hook());
    assert!(result.is_err(), "a place of another plan");
    assert_eq!((open_fds(), maps()), (fds, before));
}

fn ten_thousand_cycles() {
    let (fds, before) = (open_fds(), maps());
    for cycle in 0..10_000 {
        let region = Region::anonymous(1 + cycle % 9000).unwrap();
        let same = attach(&region).unwrap();
        assert_eq!(same.size(), region.size());
        if cycle % 2 == 0 {
            drop(region);
        }
        drop(OwnedFd::from(same));
    }
    assert_eq!((open_fds(), maps()), (fds, before));
}

fn what_is_no_region() {
    let memfd = memfd_create(c"other", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    File::from(memfd.try_clone().unwrap()).write_all(&[7; 9000]).unwrap();
    fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    let path = {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    };
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let socket = std::os::unix::net::UnixStream::pair().unwrap().0;
    let files = [
        ("a sealed memfd with something else in it", memfd),
        ("a path", path),
        ("a pipe", reader),
        ("a socket", socket.into()),
        ("a device", File::open("/dev/zero").unwrap().into()),
        ("a directory", File::open("/proc/self").unwrap().into()),
        ("a program", File::open("/proc/self/exe").unwrap().into()),
    ];
    for (what, fd) in files {
        doing(what);
        assert_eq!(Region::from_fd(fd).unwrap_err(), AttachError::NotARegion, "{what}");
    }
}

/// A copy of a region's bytes in a file of our own, sealed as told.
fn copy(region: &impl AsFd, length: Option<usize>, seals: SealFlags) -> OwnedFd {
    let mut bytes = Vec::new();
    let source = file(region);
    bytes.resize(source.metadata().unwrap().len() as usize, 0);
    source.read_exact_at(&mut bytes, 0).unwrap();
    bytes.truncate(length.unwrap_or(bytes.len()));
    let fd = memfd_create(c"copy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let target = File::from(fd);
    target.write_all_at(&bytes, 0).unwrap();
    fcntl_add_seals(&target, seals).unwrap();
    target.into()
}

fn unsealed_is_refused() {
    let region = Region::anonymous(10).unwrap();
    let needed = SealFlags::SHRINK | SealFlags::GROW;
    for seals in [SealFlags::empty(), SealFlags::SHRINK, SealFlags::GROW | SealFlags::SEAL] {
        let error = Region::from_fd(copy(&region, None, seals)).unwrap_err();
        let expected = AttachError::NotSealed { found: seals.bits(), expected: needed.bits() };
        assert_eq!(error, expected);
    }
    assert_eq!(Region::from_fd(copy(&region, None, needed)).unwrap().size(), 10);
}

fn smaller_than_its_header_says() {
    let region = Region::anonymous(10_000).unwrap();
    let seals = SealFlags::SHRINK | SealFlags::GROW;
    let total = file(&region).metadata().unwrap().len();
    for length in [0, 79, 4096] {
        let error = Region::from_fd(copy(&region, Some(length), seals)).unwrap_err();
        assert_eq!(error, AttachError::TooSmall { found: length as u64, expected: 4097 });
    }
    for length in [4097, total - 1] {
        let error = Region::from_fd(copy(&region, Some(length as usize), seals)).unwrap_err();
        assert_eq!(error, AttachError::TooSmall { found: length, expected: total });
    }
    let longer = copy(&region, None, SealFlags::empty());
    File::from(longer.try_clone().unwrap()).set_len(total * 2).unwrap();
    fcntl_add_seals(&longer, seals).unwrap();
    assert_eq!(Region::from_fd(longer).unwrap().size(), 10_000);
}

/// Bytes of address space that this process has mapped of files made by [`copy`].
fn mapped() -> usize {
    let text = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let ranges = text.lines().filter(|line| line.contains("memfd:copy"));
    let lengths = ranges.map(|line| {
        let (start, rest) = line.split_once('-').expect("a range");
        let end = rest.split_once(' ').expect("a range").0;
        let number = |text| usize::from_str_radix(text, 16).expect("an address");
        number(end) - number(start)
    });
    lengths.sum()
}

/// Whoever makes the file says how large it is: it must not cost who attaches its address space.
fn larger_than_its_region() {
    const SIZE: u64 = 1 << 30;
    let page = rustix::param::page_size();
    let needed = |payload: usize| (4096 + payload).next_multiple_of(page);
    let enlarged = |region: &dyn Fn() -> OwnedFd, seals| {
        let file = File::from(region());
        file.set_len(SIZE).unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | seals).unwrap();
        OwnedFd::from(file)
    };
    let mut plan = Plan::new();
    let (place, value) = (plan.array::<u64>(1000).unwrap(), plan.one::<RawValue<u64>>().unwrap());
    let planned = || copy(&Region::planned(&plan).unwrap(), None, SealFlags::empty());
    let all = needed(plan.size());
    assert!(all < 1 << 16);

    let region = Region::from_fd(enlarged(&planned, SealFlags::empty())).unwrap();
    assert_eq!(
        (mapped(), region.size(), file(&region).metadata().unwrap().len()),
        (all, plan.size(), SIZE)
    );
    assert_eq!(region.slice(place).unwrap().len(), 1000);
    drop(region);
    let reader = ReadOnlyRegion::from_fd(enlarged(&planned, SealFlags::FUTURE_WRITE)).unwrap();
    assert_eq!((mapped(), reader.load(value)), (all, Ok(0)));
    drop(reader);
    let frozen = FrozenRegion::from_fd(enlarged(&planned, SealFlags::WRITE)).unwrap();
    assert_eq!((mapped(), frozen.slice(place).unwrap()[999]), (all, 0));
    drop(frozen);

    // The handles of a ring have mappings of their own, in which a ring of bytes has its words twice.
    let source = bytes::Ring::create(1 << 16).unwrap();
    let ring = || copy(&source.as_fd().expect("a region"), None, SealFlags::empty());
    let small = needed(source.capacity() + (1 << 13));
    let ring = bytes::Ring::from_fd(enlarged(&ring, SealFlags::empty())).unwrap();
    let of_the_ring = mapped();
    assert!(of_the_ring <= small, "{of_the_ring} bytes for a ring of {small}");
    let ends = (ring.producer().unwrap(), ring.consumer().unwrap());
    let of_the_ends = mapped() - of_the_ring;
    assert!(of_the_ends <= 4 * small, "{of_the_ends} bytes for the ends of a ring of {small}");
    drop((ends, ring));
    assert_eq!(mapped(), 0);
}

fn read_only_is_refused() {
    let region = Region::anonymous(10).unwrap();
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&region.as_fd()));
    let reader = File::open(path).unwrap();
    assert_eq!(Region::from_fd(reader.into()).unwrap_err(), AttachError::ReadOnly);
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE;
    assert_eq!(Region::from_fd(copy(&region, None, seals)).unwrap_err(), AttachError::ReadOnly);
}

/// The error after `bytes` were written at `offset` of a good region.
fn damaged(offset: u64, bytes: &[u8]) -> AttachError {
    let mut plan = Plan::new();
    plan.array::<RawValue<u64>>(8).unwrap();
    let region = Region::planned(&plan).unwrap();
    attach(&region).unwrap();
    file(&region).write_all_at(bytes, offset).unwrap();
    attach(&region).unwrap_err()
}

fn versions() {
    for found in [(0, 0), (2, 0), (1, 1), (0, 9), (u16::MAX, u16::MAX)] {
        let bytes = [found.0.to_ne_bytes(), found.1.to_ne_bytes()].concat();
        let error = damaged(16, &bytes);
        assert_eq!(error, AttachError::Version { found, expected: (1, 0) });
        // An older program says so whatever else has changed.
        let error = damaged(16, &[bytes, vec![0xff; 4080 - 16]].concat());
        assert!(matches!(error, AttachError::Version { .. }), "{error}");
    }
}

fn layout_and_architecture() {
    let plans = [1, 2].map(|count| {
        let mut plan = Plan::new();
        plan.array::<RawValue<u64>>(count).unwrap();
        plan
    });
    let region = Region::planned(&plans[0]).unwrap();
    let error = Region::from_fd_for(again(&region), &plans[1]).unwrap_err();
    let expected = Region::planned(&plans[1]).unwrap().layout_hash();
    assert_eq!(error, AttachError::Layout { found: region.layout_hash(), expected });
    let error = damaged(20, &32_u32.to_ne_bytes());
    assert!(matches!(error, AttachError::Architecture { found: 32, .. }), "{error}");
    // A region of a machine with the other byte order.
    let mut magic = *b"ipc-shm\0";
    if cfg!(target_endian = "little") {
        magic.reverse();
    }
    let error = damaged(0, &magic);
    assert!(matches!(error, AttachError::Architecture { .. }), "{error}");
}

/// Both are in the header, and a region of a machine or a crate with others is refused by name.
fn page_size_and_cache_line() {
    let here = rustix::param::page_size() as u32;
    let region = Region::anonymous(10).unwrap();
    let recorded = |offset| {
        let mut bytes = [0; 4];
        file(&region).read_exact_at(&mut bytes, offset).unwrap();
        u32::from_ne_bytes(bytes)
    };
    assert_eq!((recorded(36), recorded(80)), (here, 128));
    for found in [0, here / 2, here * 2, here - 1, 65536, u32::MAX] {
        let error = damaged(36, &found.to_ne_bytes());
        assert_eq!(error, AttachError::PageSize { found, expected: here });
    }
    for found in [0, 32, 64, 127, 256, u32::MAX] {
        let error = damaged(80, &found.to_ne_bytes());
        assert_eq!(error, AttachError::CacheLine { found, expected: 128 });
    }
}

fn not_ready() {
    let me = ProcessId::current().unwrap();
    let error = damaged(8, &me.to_bits().to_ne_bytes());
    assert_eq!(error, AttachError::NotReady { creator: Some(me) });
    // Killed with only the first words written.
    let error = damaged(8, &[me.to_bits().to_ne_bytes().to_vec(), vec![0; 4080 - 8]].concat());
    assert_eq!(error, AttachError::NotReady { creator: Some(me) });
    assert_eq!(damaged(8, &[0; 8]), AttachError::NotReady { creator: None });
}

/// Whatever stands in a field of the header, attaching ends with an error of its own, or the region
/// works.
fn every_header_field() {
    let mut plan = Plan::new();
    let place = plan.array::<Atomic<AtomicU64>>(512).unwrap();
    plan.one::<RawValue<[u16; 3]>>().unwrap();
    let region = Region::planned(&plan).unwrap();
    let memfd = file(&region);
    let mut good = [0; 4096];
    memfd.read_exact_at(&mut good, 0).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let directory = (0..8).map(|word| ("directory", 1024 + word * 8, 8));
    let (mut refused, mut accepted) = (0, 0);
    for (name, offset, size) in FIELDS.into_iter().chain(directory) {
        doing(name);
        let mut original = [0; 8];
        original[..size].copy_from_slice(&good[offset as usize..][..size]);
        let original = u64::from_ne_bytes(original);
        let length = memfd.metadata().unwrap().len();
        let special = [0, 1, 2, u64::MAX, u64::MAX - 1, length - 1, length, length + 1, 4095, 4097];
        let near = [original.wrapping_sub(1), original.wrapping_add(1), original ^ (1 << 7)];
        let values = special.into_iter().chain(near).chain((0..1000).map(|_| next()));
        for value in values.collect::<Vec<_>>() {
            let bytes = &value.to_ne_bytes()[..size];
            if *bytes == good[offset as usize..][..size] {
                continue;
            }
            memfd.write_all_at(bytes, offset).unwrap();
            match attach(&region) {
                Err(error) => {
                    assert!(!matches!(error, AttachError::Os(_)), "{name} = {value:#x}: {error}");
                    refused += 1;
                }
                Ok(attached) => {
                    // Only what nothing depends on may differ.
                    let harmless = ["creator", "domain", "total"].contains(&name);
                    assert!(harmless, "{name} = {value:#x} is accepted");
                    attached.slice(place).unwrap()[511].fetch_add(1, Ordering::Relaxed);
                    accepted += 1;
                }
            }
            memfd.write_all_at(&good, 0).unwrap();
        }
    }
    println!("{refused} headers refused, {accepted} harmless");
    assert!(refused > 15_000 && accepted > 0);
    assert!(attach(&region).is_ok());
}

/// A directory that its own hash confirms is still not believed.
fn directory_with_the_right_hash() {
    /// The hash of the header: FNV-1a of major version, kind, size and directory, written down a second
    /// time.
    fn hash(kind: u32, size: u64, directory: &[u64]) -> u64 {
        let numbers = [1, u64::from(kind), size];
        let bytes = numbers.iter().flat_map(|n| n.to_le_bytes());
        let bytes = bytes.chain(directory.iter().flat_map(|n| n.to_ne_bytes()));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
    let mut plan = Plan::new();
    plan.array::<RawValue<u64>>(4).unwrap();
    plan.array::<RawValue<u64>>(4).unwrap();
    let region = Region::planned(&plan).unwrap();
    let memfd = file(&region);
    let mut good = [0; 64];
    memfd.read_exact_at(&mut good, 1024).unwrap();
    let word = |i: usize| u64::from_ne_bytes(good[i * 8..][..8].try_into().unwrap());
    let good: [u64; 8] = core::array::from_fn(word);
    let put = |directory: &[u64; 8]| {
        let hash = hash(2, region.size() as u64, directory);
        memfd.write_all_at(&hash.to_ne_bytes(), 24).unwrap();
        let bytes: Vec<u8> = directory.iter().flat_map(|n| n.to_ne_bytes()).collect();
        memfd.write_all_at(&bytes, 1024).unwrap();
        attach(&region).map(drop)
    };
    assert_eq!(put(&good), Ok(()), "our hash is theirs");
    // Words of the second entry: offset, count, size and alignment.
    let bad = [
        (4, 0),
        (4, 24),
        (4, u64::MAX - 7),
        (4, 132),
        (5, 0),
        (5, 5),
        (5, u64::MAX / 8 + 1),
        (6, 0),
        (6, 9 | 8 << 32),
        (6, 8 | 3 << 32),
        (6, 8),
    ];
    for (index, value) in bad {
        let mut directory = good;
        directory[index] = value;
        assert_eq!(put(&directory), Err(AttachError::Corrupt), "word {index} = {value:#x}");
    }
}

/// What a peer writes into the directory after it was checked leads to no place outside.
fn directory_that_changes_later() {
    let mut plan = Plan::new();
    plan.array::<RawValue<u64>>(4).unwrap();
    let region = Region::planned(&plan).unwrap();
    let attached = attach(&region).unwrap();
    let memfd = file(&region);
    let bad = [
        (0, u64::MAX - 7, PlaceError::OutOfBounds),
        (0, 1 << 40, PlaceError::OutOfBounds),
        (0, 4, PlaceError::Misaligned),
        (0, 8, PlaceError::OutOfBounds),
        (8, 5, PlaceError::OutOfBounds),
        (8, 1 << 40, PlaceError::OutOfBounds),
        (8, u64::MAX, PlaceError::OutOfBounds),
        (8, 0, PlaceError::NotHere),
        (16, 9 | 8 << 32, PlaceError::NotHere),
    ];
    for (word, value, expected) in bad {
        let mut good = [0; 8];
        memfd.read_exact_at(&mut good, 1024 + word).unwrap();
        memfd.write_all_at(&u64::to_ne_bytes(value), 1024 + word).unwrap();
        let found = attached.place::<RawValue<u64>>(0).map(drop);
        // The last bytes of a place at offset 4 are outside as well.
        assert!(found.is_err(), "word {word} = {value:#x} leads outside");
        assert!(found == Err(expected) || value == 4, "word {word} = {value:#x}: {found:?}");
        memfd.write_all_at(&good, 1024 + word).unwrap();
    }
    assert_eq!(attached.place::<RawValue<u64>>(0).map(|place| place.count()), Ok(4));
}

fn punched_header() {
    use rustix::fs::{FallocateFlags, fallocate};
    let region = Region::anonymous(10_000).unwrap();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // The seals do not forbid this to a writer.
    fallocate(region.as_fd(), flags, 0, 4096).unwrap();
    assert_eq!(attach(&region).unwrap_err(), AttachError::NotARegion);
}

fn views_are_checked() {
    let region = Region::anonymous(100).unwrap();
    let view = |offset| {
        // SAFETY: nobody uses this region as anything else.
        unsafe { region.view::<Atomic<AtomicU64>>(offset) }.map(drop)
    };
    assert_eq!(view(0), Ok(()));
    assert_eq!(view(88), Ok(()));
    assert_eq!(view(4), Err(PlaceError::Misaligned));
    for offset in [96, 100, 101, usize::MAX, usize::MAX - 7] {
        assert_eq!(view(offset), Err(PlaceError::OutOfBounds));
    }
    for (offset, count) in [(0, 13), (8, 12), (0, usize::MAX), (8, usize::MAX / 8)] {
        // SAFETY: as above.
        let slice = unsafe { region.view_slice::<Atomic<AtomicU64>>(offset, count) };
        assert_eq!(slice.unwrap_err(), PlaceError::OutOfBounds);
    }
    // SAFETY: as above.
    let all = unsafe { region.view_slice::<Atomic<AtomicU64>>(0, 12) }.unwrap();
    assert!(all.iter().all(|word| word.load(Ordering::Relaxed) == 0));
}

fn places_are_checked() {
    let mut plan = Plan::new();
    let words = plan.array::<Atomic<AtomicU64>>(4).unwrap();
    let region = Region::planned(&plan).unwrap();
    assert_eq!(region.slice(words).unwrap().len(), 4);

    let mut other = Plan::new();
    let longer = other.array::<Atomic<AtomicU64>>(5).unwrap();
    let second = other.one::<Atomic<AtomicU64>>().unwrap();
    let mut third = Plan::new();
    let locks = third.array::<RawValue<u64>>(4).unwrap();
    assert_eq!(region.slice(longer).unwrap_err(), PlaceError::NotHere);
    assert_eq!(region.get(second).unwrap_err(), PlaceError::NotHere);
    assert_eq!(region.slice(locks).unwrap_err(), PlaceError::NotHere);
    assert_eq!(Region::anonymous(64).unwrap().slice(words).unwrap_err(), PlaceError::NotHere);
    assert!(region.place::<Atomic<AtomicU64>>(1).is_err());
    assert_eq!(region.place::<Atomic<AtomicU64>>(0).unwrap().count(), 4);
}

/// The number of this process's pages that `/proc/self/smaps` counts under `key`, in mappings of regions.
fn pages(key: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps").expect("/proc");
    let (mut inside, mut sum) = (false, 0);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default() {
            range if range.contains('-') => inside = line.contains("memfd:ipc-shm"),
            found if found == key && inside => {
                sum += words.next().expect("a size").parse::<usize>().expect("a number");
            }
            _ => {}
        }
    }
    sum * 1024 / rustix::param::page_size()
}

fn populated_and_locked_in_memory() {
    let region = Region::anonymous((1 << 20) - 4096).unwrap();
    let all = (1 << 20) / rustix::param::page_size();
    assert!(pages("Rss:") < all && pages("Locked:") == 0);
    region.populate().unwrap();
    assert_eq!((pages("Rss:"), pages("Locked:")), (all, 0));
    drop(region);
    let region = Region::anonymous((1 << 20) - 4096).unwrap();
    region.lock_in_memory().unwrap();
    assert_eq!((pages("Rss:"), pages("Locked:")), (all, all));
    // A user who may lock nothing.
    let user = rustix::process::Uid::from_raw(1000);
    if rustix::thread::set_thread_res_uid(user, user, user).is_err() {
        cases::skip("only root can become somebody else");
    }
    let old = rustix::process::getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: Some(0), maximum: old.maximum }).unwrap();
    let other = Region::anonymous(1).unwrap();
    assert_eq!(other.lock_in_memory(), Err(Errno::PERM));
    assert_eq!(pages("Locked:"), all);
    other.populate().unwrap();
}

/// A mapping that somebody has sealed cannot be undone: it stays, and nothing else does.
fn sealed_mapping_stays() {
    let before = (open_fds(), maps());
    let region = Region::anonymous(100_000).unwrap();
    // SAFETY: nobody uses the bytes as anything.
    let first = unsafe { region.view::<Atomic<AtomicU64>>(0).unwrap() };
    let start = (&raw const *first).addr() - 4096;
    match ipc_testkit::cases::mappings::seal(start, (4096 + 100_000_usize).next_multiple_of(4096)) {
        Ok(()) => {}
        Err(Errno::NOSYS | Errno::PERM) => cases::skip("mseal is of Linux 6.10"),
        Err(errno) => panic!("mseal: {errno}"),
    }
    drop(region);
    assert_eq!((open_fds(), maps()), (before.0, before.1 + 1));
    drop(Region::anonymous(100_000).unwrap());
    assert_eq!((open_fds(), maps()), (before.0, before.1 + 1), "others go as ever");
}

/// Whether something can be mapped at `address` without replacing what is there.
fn is_unused(address: usize) -> bool {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: the flag keeps the kernel from replacing anything.
    let mapped = unsafe {
        mmap_anonymous(core::ptr::without_provenance_mut(address), 4096, ProtFlags::empty(), flags)
    };
    match mapped {
        Ok(mapped) => {
            // SAFETY: mapped a moment ago by ourselves.
            unsafe { munmap(mapped, 4096) }.unwrap();
            true
        }
        Err(Errno::EXIST) => false,
        Err(errno) => panic!("{errno}"),
    }
}

fn forgotten_guard_keeps_the_addresses() {
    let mut plan = Plan::new();
    let lock = plan.one::<Mutex<u64>>().unwrap();
    let address =
        |region: &Region| core::ptr::from_ref(region.get(lock).unwrap()).addr() / 4096 * 4096;
    let new = || Region::planned_with(&plan, |fill| fill.locks(lock, |_| 0)).unwrap();

    let region = new();
    drop(region.get(lock).unwrap().lock().unwrap());
    let released = address(&region);
    drop(region);
    assert!(is_unused(released), "nothing was armed, so everything is given back");

    let region = new();
    mem::forget(region.get(lock).unwrap().lock().unwrap());
    let (kept, fds) = (address(&region), open_fds());
    drop(region);
    assert!(!is_unused(kept), "the kernel still knows an address in here");
    assert_eq!((open_fds(), maps()), (fds - 1, 0), "the memory itself is given back");
    // The thread ends with the address known to the kernel, which finds no memory there.
}
