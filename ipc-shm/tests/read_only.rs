//! Regions that others can read and not write: with a single writer, and frozen.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`). What the kernel must refuse is tried.
//!
//! # Safety
//!
//! Cases map what they were given in every way that the kernel might allow.
#![expect(unsafe_code, reason = "tries to write where nobody may")]

use core::ptr::null_mut;
use core::sync::atomic::{AtomicI8, AtomicU32, AtomicU64, Ordering};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;

use ipc_core::Errno;
use ipc_core::parcel::{Handle, Parcel, ParcelError};
use ipc_core::process::{Context, Process, StartMethod, fork_fn};
use ipc_shm::{
    Atomic, AttachError, CreateError, FrozenRegion, Place, PlaceError, Plan, RawValue,
    ReadOnlyRegion, Region, Step,
};
use ipc_testkit::cases::{self, doing, open_fds, seccomp, shared};
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals,
    memfd_create,
};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    cases::run(&[
        ("readers_see_what_is_written", readers_see_what_is_written),
        ("every_type_is_loaded", every_type_is_loaded),
        ("what_is_not_there_is_an_error", what_is_not_there_is_an_error),
        ("nobody_else_can_write", nobody_else_can_write),
        ("nobody_can_write_to_the_frozen", nobody_can_write_to_the_frozen),
        ("t02_t05_seals_and_access", seals_and_access),
        ("h01_every_header_field", every_header_field),
        ("h02_hostile_writer", hostile_writer),
        ("values_outlive_their_writer", values_outlive_their_writer),
        ("frozen_beside_a_fork", frozen_beside_a_fork),
        ("they_travel", they_travel),
        ("x01_x03_failed_creation_leaves_nothing", failed_creation_leaves_nothing),
        ("l01_cycles_leave_nothing", cycles_leave_nothing),
    ])
}

const SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

struct World {
    plan: Plan,
    turn: Place<Atomic<AtomicU64>>,
    values: Place<RawValue<[u32; 3]>>,
    table: Place<u64>,
}

fn world() -> World {
    let mut plan = Plan::new();
    let turn = plan.one().unwrap();
    let values = plan.array(50).unwrap();
    let table = plan.array(1000).unwrap();
    World { plan, turn, values, table }
}

fn frozen(world: &World) -> FrozenRegion {
    FrozenRegion::new(&world.plan, |fill| fill.values(world.table, |i| i as u64 * 3)).unwrap()
}

fn again(region: &impl AsFd) -> OwnedFd {
    region.as_fd().try_clone_to_owned().expect("a descriptor")
}

fn readers_see_what_is_written() {
    let world = world();
    let writer = Region::single_writer_with(&world.plan, |fill| {
        fill.values(world.table, |i| i as u64);
    })
    .unwrap();
    assert!(writer.is_sealed());
    let reader = writer.reader().unwrap();
    let rounds = 1000_u32;
    let child = fork_fn(|| {
        let reader = ReadOnlyRegion::from_fd_for(again(&reader), &world.plan).unwrap();
        assert_eq!(reader.creator(), writer.creator());
        let mut last = 0;
        while last < u64::from(rounds) {
            let turn = reader.load(world.turn).unwrap();
            assert!(turn >= last);
            last = turn;
            // What was written before the turn is there; it may be of a later turn already.
            for number in 0..50 {
                let value = reader.load_at(world.values, number).unwrap();
                assert!(value.iter().all(|&word| u64::from(word) >= turn), "{value:?} of {turn}");
            }
        }
        0
    });
    for round in 1..=rounds {
        for value in writer.slice(world.values).unwrap() {
            value.set([round; 3]);
        }
        writer.get(world.turn).unwrap().store(round.into(), Ordering::Release);
    }
    doing("waiting for the reader");
    assert!(child.unwrap().wait().unwrap().success());
    let mut all = [[0; 3]; 50];
    reader.load_slice(world.values, 0, &mut all).unwrap();
    assert_eq!(all, [[rounds; 3]; 50]);
}

fn every_type_is_loaded() {
    let mut plan = Plan::new();
    let small = plan.array::<Atomic<AtomicI8>>(3).unwrap();
    let middle = plan.one::<Atomic<AtomicU32>>().unwrap();
    let bytes = plan.array::<RawValue<[u8; 5]>>(2).unwrap();
    let wide = plan.one::<RawValue<u128>>().unwrap();
    let writer = Region::single_writer(&plan).unwrap();
    writer.slice(small).unwrap()[2].store(-5, Ordering::Relaxed);
    writer.get(middle).unwrap().store(u32::MAX, Ordering::Relaxed);
    writer.slice(bytes).unwrap()[1].set(*b"hello");
    writer.get(wide).unwrap().set(u128::MAX - 1);
    let reader = writer.reader().unwrap();
    assert_eq!(reader.load_at(small, 2), Ok(-5));
    assert_eq!(reader.load(middle), Ok(u32::MAX));
    assert_eq!(reader.load_at(bytes, 1), Ok(*b"hello"));
    assert_eq!(reader.load(wide), Ok(u128::MAX - 1));
    assert_eq!(reader.place::<RawValue<[u8; 5]>>(2).unwrap().count(), 2);
    assert_eq!((reader.size(), reader.kind()), (writer.size(), writer.kind()));
    assert_eq!(reader.layout_hash(), writer.layout_hash());
}

fn what_is_not_there_is_an_error() {
    let world = world();
    let reader = Region::single_writer(&world.plan).unwrap().reader().unwrap();
    for index in [50, 51, usize::MAX] {
        assert_eq!(reader.load_at(world.values, index), Err(PlaceError::OutOfBounds));
    }
    for (start, count) in [(0, 51), (50, 1), (1, 50), (usize::MAX, 1), (usize::MAX, 2)] {
        let mut to = vec![[7; 3]; count];
        let result = reader.load_slice(world.values, start, &mut to);
        assert_eq!(result, Err(PlaceError::OutOfBounds));
        assert!(to.iter().all(|value| *value == [7; 3]));
    }
    let mut rest = [[7; 3]; 49];
    assert_eq!(reader.load_slice(world.values, 1, &mut rest), Ok(()));
    assert_eq!(reader.load_slice(world.values, 50, &mut []), Ok(()));
    let mut other = Plan::new();
    let place = other.one::<RawValue<u8>>().unwrap();
    assert_eq!(reader.load(place), Err(PlaceError::NotHere));
    let error = ReadOnlyRegion::from_fd_for(again(&reader), &other).unwrap_err();
    assert!(matches!(error, AttachError::Layout { .. }));
    let region = frozen(&world);
    let word = other.one::<u64>().unwrap();
    assert_eq!(region.get(word), Err(PlaceError::NotHere));
    let error = FrozenRegion::from_fd_for(again(&region), &other).unwrap_err();
    assert!(matches!(error, AttachError::Layout { .. }));
}

/// Tries all that could change what lies behind a descriptor.
fn try_to_write(fd: impl AsFd) {
    let fd = fd.as_fd();
    let length = rustix::fs::fstat(fd).unwrap().st_size as usize;
    let reopened =
        File::options().read(true).write(true).open(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let files = [Some(File::from(fd.try_clone_to_owned().unwrap())), reopened.ok()];
    for file in files.into_iter().flatten() {
        doing("writing");
        assert_eq!(file.write_all_at(&[1], 5000).unwrap_err().raw_os_error(), Some(1));
        doing("changing the size");
        assert!(file.set_len(length as u64 - 4096).is_err());
        assert!(file.set_len(length as u64 + 4096).is_err());
        doing("punching a hole");
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert_eq!(fallocate(&file, hole, 4096, 4096), Err(Errno::PERM));
        let zeros = fallocate(&file, FallocateFlags::ZERO_RANGE, 4096, 4096);
        assert!(zeros.is_err());
        doing("mapping");
        let both = ProtFlags::READ | ProtFlags::WRITE;
        for access in [ProtFlags::WRITE, both] {
            // SAFETY: the kernel chooses the address.
            let map = unsafe { mmap(null_mut(), length, access, MapFlags::SHARED, &file, 0) };
            assert_eq!(map.unwrap_err(), Errno::PERM);
        }
        doing("making a mapping writable");
        let read = ProtFlags::READ;
        // SAFETY: the kernel chooses the address.
        let map = unsafe { mmap(null_mut(), length, read, MapFlags::SHARED, &file, 0) }.unwrap();
        let writable = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: our own mapping, which nothing points into.
        assert_eq!(unsafe { mprotect(map, length, writable) }, Err(Errno::ACCESS));
        // SAFETY: as above.
        let removed = unsafe { madvise(map, length, Advice::LinuxRemove) };
        assert!(removed.is_err());
        doing("writing past the protection");
        let memory = File::options().write(true).open("/proc/self/mem").unwrap();
        assert!(memory.write_all_at(&[1], map.addr() as u64 + 5000).is_err());
        // SAFETY: as above.
        unsafe { munmap(map, length) }.unwrap();
        // Whatever a private mapping changes is its own.
        let own = MapFlags::PRIVATE;
        // SAFETY: the kernel chooses the address.
        let map = unsafe { mmap(null_mut(), length, both, own, &file, 0) }.unwrap();
        // SAFETY: inside of the mapping.
        let byte = unsafe { map.cast::<u8>().add(5000) };
        // SAFETY: the mapping is ours alone.
        unsafe { byte.write(1) };
        // SAFETY: as above.
        unsafe { munmap(map, length) }.unwrap();
    }
    assert_eq!(fcntl_add_seals(fd, SealFlags::WRITE), Err(Errno::PERM));
}

fn nobody_else_can_write() {
    let world = world();
    let writer = Region::single_writer(&world.plan).unwrap();
    let found = fcntl_get_seals(&writer).unwrap();
    assert!(found.contains(SIZE | SealFlags::FUTURE_WRITE | SealFlags::SEAL));
    assert!(!found.contains(SealFlags::WRITE));
    let reader = writer.reader().unwrap();
    assert_eq!(Region::from_fd(again(&reader)).unwrap_err(), AttachError::ReadOnly);
    let child = fork_fn(|| {
        drop(writer.reader().unwrap());
        try_to_write(&reader);
        0
    });
    assert!(child.unwrap().wait().unwrap().success());
    let mut bytes = vec![1; writer.size()];
    File::from(again(&writer)).read_exact_at(&mut bytes, 4096).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0), "nothing has changed");
    // The writer itself can, until it gives its mapping away, and then nobody.
    writer.get(world.turn).unwrap().store(1, Ordering::Relaxed);
    assert_eq!(reader.load(world.turn), Ok(1));
    let fd = OwnedFd::from(writer);
    assert_eq!(Region::from_fd(fd).unwrap_err(), AttachError::ReadOnly);
    assert_eq!(reader.load(world.turn), Ok(1));
}

fn nobody_can_write_to_the_frozen() {
    let world = world();
    let region = frozen(&world);
    let found = fcntl_get_seals(&region).unwrap();
    assert!(found.contains(SIZE | SealFlags::WRITE | SealFlags::SEAL));
    try_to_write(&region);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ours: Vec<_> = maps.lines().filter(|line| line.contains("memfd:ipc-shm")).collect();
    assert!(ours.len() == 1 && ours[0].contains(" r--p "), "{ours:?}");
    let all = region.slice(world.table).unwrap();
    assert!(all.len() == 1000 && all.iter().zip(0..).all(|(&value, i)| value == i * 3));
    assert_eq!(region.get(world.table), Ok(&0));
    assert_eq!(Region::from_fd(again(&region)).unwrap_err(), AttachError::ReadOnly);
}

/// A copy of a region's bytes in a file of our own, sealed as told.
fn copy(region: &impl AsFd, seals: SealFlags) -> OwnedFd {
    let source = File::from(again(region));
    let mut bytes = vec![0; source.metadata().unwrap().len() as usize];
    source.read_exact_at(&mut bytes, 0).unwrap();
    let fd = memfd_create(c"copy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let target = File::from(fd);
    target.write_all_at(&bytes, 0).unwrap();
    fcntl_add_seals(&target, seals).unwrap();
    target.into()
}

/// Each way to attach asks for exactly the seals that make it safe.
fn seals_and_access() {
    let world = world();
    let region = frozen(&world);
    let (once, future) = (SealFlags::WRITE, SealFlags::FUTURE_WRITE);
    for bits in 0..16_u32 {
        let pick = |bit: u32, seal| if bits & bit != 0 { seal } else { SealFlags::empty() };
        let seals =
            pick(1, SealFlags::SHRINK) | pick(2, SealFlags::GROW) | pick(4, once) | pick(8, future);
        let fd = copy(&region, seals);
        let expect = |needed: SealFlags, refused: SealFlags| {
            let unsealed = AttachError::NotSealed { found: seals.bits(), expected: needed.bits() };
            if !seals.contains(needed) {
                Err(unsealed)
            } else if seals.intersects(refused) {
                Err(AttachError::ReadOnly)
            } else {
                Ok(())
            }
        };
        let none = SealFlags::empty();
        assert_eq!(Region::from_fd(again(&fd)).map(drop), expect(SIZE, once | future));
        assert_eq!(ReadOnlyRegion::from_fd(again(&fd)).map(drop), expect(SIZE | future, none));
        assert_eq!(FrozenRegion::from_fd(again(&fd)).map(drop), expect(SIZE | once, none));
    }
    let writer = Region::single_writer(&world.plan).unwrap();
    let path = |fd: &dyn AsFd| format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let open = |fd: &dyn AsFd, read, write| -> OwnedFd {
        File::options().read(read).write(write).open(path(fd)).unwrap().into()
    };
    assert!(ReadOnlyRegion::from_fd(open(&writer, true, false)).is_ok());
    assert!(FrozenRegion::from_fd(open(&region, true, false)).is_ok());
    let error = ReadOnlyRegion::from_fd(open(&writer, false, true)).unwrap_err();
    assert_eq!(error, AttachError::WriteOnly);
    let error = FrozenRegion::from_fd(open(&region, false, true)).unwrap_err();
    assert_eq!(error, AttachError::WriteOnly);
    for fd in [File::open("/dev/zero").unwrap().into(), rustix::pipe::pipe().unwrap().0] {
        assert_eq!(FrozenRegion::from_fd(again(&fd)).unwrap_err(), AttachError::NotARegion);
        assert_eq!(ReadOnlyRegion::from_fd(fd).unwrap_err(), AttachError::NotARegion);
    }
}

/// A file that anybody has made and sealed: each field is refused by name, or harmless.
fn every_header_field() {
    let world = world();
    let source = File::from(again(&frozen(&world)));
    let mut good = vec![0; source.metadata().unwrap().len() as usize];
    source.read_exact_at(&mut good, 0).unwrap();
    let (mut refused, mut accepted) = (0, 0);
    let numbers = [0, 1, 2, 4095, 4096, 4097, 1 << 31, u64::MAX / 8, u64::MAX - 1, u64::MAX];
    for (offset, number) in
        (0..88).chain(1024..1120).step_by(4).flat_map(|at| numbers.map(|number| (at, number)))
    {
        let mut bytes = good.clone();
        bytes[offset..offset + 4].copy_from_slice(&number.to_ne_bytes()[..4]);
        if bytes == good {
            continue;
        }
        let fd = memfd_create(c"made", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        File::from(fd.try_clone().unwrap()).write_all_at(&bytes, 0).unwrap();
        fcntl_add_seals(&fd, SIZE | SealFlags::WRITE).unwrap();
        match FrozenRegion::from_fd(fd) {
            Err(error) => {
                assert!(!matches!(error, AttachError::Os(_)), "at {offset}: {error}");
                refused += 1;
            }
            Ok(region) => {
                // The creator, its domain, a total that is smaller, and what nobody reads.
                assert!([40, 64, 68, 72, 84].contains(&offset), "at {offset}: {number:#x}");
                assert_eq!(region.slice(world.table).unwrap()[999], 2997);
                accepted += 1;
            }
        }
    }
    println!("{refused} headers refused, {accepted} harmless");
    assert!(refused > 350 && accepted > 10);
}

/// What the writer does to the directory behind a reader's back leads to no place outside.
fn hostile_writer() {
    let world = world();
    // A writer that does not keep to the rules: its own memfd, and a mapping of its own.
    let source = Region::single_writer(&world.plan).unwrap();
    let fd = copy(&source, SIZE);
    let length = rustix::fs::fstat(&fd).unwrap().st_size as usize;
    let both = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address.
    let map = unsafe { mmap(null_mut(), length, both, MapFlags::SHARED, &fd, 0) }.unwrap();
    fcntl_add_seals(&fd, SealFlags::FUTURE_WRITE).unwrap();
    let reader = ReadOnlyRegion::from_fd_for(fd, &world.plan).unwrap();
    let mut attacked = 0;
    for offset in (0..4096).step_by(8) {
        // SAFETY: inside the mapping.
        let word = unsafe { map.cast::<AtomicU64>().byte_add(offset) };
        // SAFETY: aligned, and only used as atomics.
        let word = unsafe { &*word };
        let good = word.load(Ordering::Relaxed);
        for bad in [0, 1, 8, 1 << 40, u64::MAX, u64::MAX - 7, good ^ 1, good.wrapping_add(1)] {
            word.store(bad, Ordering::Relaxed);
            for index in [0, 1, 2, 95, 96, usize::MAX] {
                if let Ok(place) = reader.place::<RawValue<[u32; 3]>>(index) {
                    // So much of it as there is.
                    let last = place.count() - 1;
                    let found = reader.load_at(place, last);
                    assert!(found.is_ok() || bad != good, "{found:?}");
                }
            }
            let found = reader.load_at(world.values, 49);
            assert!(matches!(found, Ok([0, 0, 0]) | Err(PlaceError::NotHere)), "{found:?}");
            attacked += 1;
        }
        word.store(good, Ordering::Relaxed);
    }
    println!("{attacked} words changed behind a reader");
    assert_eq!(attacked, 512 * 8);
    assert_eq!(reader.load_at(world.values, 49), Ok([0, 0, 0]));
    // SAFETY: our own mapping, to which nothing points any more.
    unsafe { munmap(map, length) }.unwrap();
}

fn values_outlive_their_writer() {
    let world = world();
    let (mut ours, mut theirs) = ipc_core::connection::pair().unwrap();
    let mut child = fork_fn(|| {
        let writer = Region::single_writer(&world.plan).unwrap();
        writer.get(world.turn).unwrap().store(9, Ordering::Release);
        theirs.send_value(&writer.reader().unwrap()).unwrap();
        loop {
            std::thread::yield_now();
        }
    })
    .unwrap();
    let reader: ReadOnlyRegion = ours.recv_value().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(reader.load(world.turn), Ok(9));
    try_to_write(&reader);
    assert_eq!(reader.load(world.turn), Ok(9));
}

/// A child that is forked while a region is filled has no mapping of it, by which it could write later.
fn frozen_beside_a_fork() {
    let world = world();
    let mut child = None;
    let region = FrozenRegion::new(&world.plan, |fill| {
        let forked = fork_fn(|| {
            shared().words[0].store(1, Ordering::SeqCst);
            while shared().words[1].load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            0
        });
        child = Some(forked.unwrap());
        while shared().words[0].load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        fill.values(world.table, |i| i as u64);
    })
    .expect("sealed while the child lives");
    assert_eq!(region.slice(world.table).unwrap()[5], 5);
    shared().words[1].store(1, Ordering::SeqCst);
    assert!(child.unwrap().wait().unwrap().success());
}

fn they_travel() {
    fn look((reader, frozen): (ReadOnlyRegion, FrozenRegion)) {
        let world = world();
        assert_eq!(reader.load_at(world.values, 49), Ok([5, 6, 7]));
        assert_eq!(frozen.slice(world.table).unwrap()[999], 2997);
        try_to_write(&reader);
        try_to_write(&frozen);
    }
    let world = world();
    let writer = Region::single_writer(&world.plan).unwrap();
    writer.slice(world.values).unwrap()[49].set([5, 6, 7]);
    let region = frozen(&world);
    for method in [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer] {
        doing("passing regions");
        let both = (writer.reader().unwrap(), FrozenRegion::from_fd(again(&region)).unwrap());
        let mut child = Process::new(look, both).start_in(&Context::new(method)).unwrap();
        let status = child.wait().unwrap();
        assert!(!matches!(status.code(), Some(1..)), "{status:?}");
    }
    // One sort is not the other.
    let fd = |region: &dyn AsFd| Handle::from(region.as_fd().try_clone_to_owned().unwrap());
    let wrong = Parcel::pack(&fd(&writer)).and_then(Parcel::unpack::<FrozenRegion>).map(drop);
    assert!(matches!(wrong, Err(ParcelError::Refused(_))));
    let wrong = Parcel::pack(&fd(&region)).and_then(Parcel::unpack::<ReadOnlyRegion>).map(drop);
    assert!(matches!(wrong, Err(ParcelError::Refused(_))));
    let wrong = Parcel::pack(&writer).and_then(Parcel::unpack::<Region>).map(drop);
    assert!(matches!(wrong, Err(ParcelError::Refused(_))));
}

fn maps() -> usize {
    let text = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    text.lines().filter(|line| line.contains("memfd:ipc-shm")).count()
}

fn failed_creation_leaves_nothing() {
    const FCNTL: i64 = if cfg!(target_arch = "x86_64") { 72 } else { 25 };
    const ERRNO: u32 = 0x0005_0000; // SECCOMP_RET_ERRNO
    ipc_core::identity::ProcessId::current().unwrap();
    let mut large = Plan::new();
    large.array::<RawValue<u8>>(64 << 20).unwrap();
    fn writer(plan: &Plan) -> Result<(), CreateError> {
        Region::single_writer(plan).map(drop)
    }
    fn frozen(plan: &Plan) -> Result<(), CreateError> {
        FrozenRegion::new(plan, |_| {}).map(drop)
    }
    let create = [writer, frozen];
    let fails = |plan: &Plan, step, errno| {
        for create in create {
            let before = (open_fds(), maps());
            assert_eq!(create(plan), Err(CreateError::Os { step, errno }));
            assert_eq!((open_fds(), maps()), before);
        }
    };
    let limited = |resource, limit, check: &dyn Fn()| {
        let old = getrlimit(resource);
        setrlimit(resource, Rlimit { current: Some(limit), maximum: old.maximum }).unwrap();
        check();
        setrlimit(resource, old).unwrap();
    };
    limited(Resource::Fsize, 1 << 16, &|| fails(&large, Step::Resize, Errno::FBIG));
    limited(Resource::As, 1 << 20, &|| {
        for create in create {
            let result = create(&large);
            assert_eq!(result, Err(CreateError::Os { step: Step::Map, errno: Errno::NOMEM }));
        }
    });
    assert_eq!(maps(), 0);
    // F_ADD_SEALS as kernels before 5.1 answer to what they do not know.
    let small = world().plan;
    seccomp::answer(
        FCNTL,
        &seccomp::When::Equal(1, 1033),
        ERRNO | Errno::INVAL.raw_os_error() as u32,
    );
    fails(&small, Step::Seal, Errno::INVAL);
}

fn cycles_leave_nothing() {
    let cycles = if std::env::var_os("IPC_CYCLES").is_some() { 10_000 } else { 1_000 };
    let world = world();
    let state = || {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("/proc");
        (open_fds(), maps(), pages.split(' ').next().map(str::to_owned))
    };
    let cycle = || {
        let writer = Region::single_writer(&world.plan).unwrap();
        let reader = writer.reader().unwrap();
        writer.get(world.turn).unwrap().store(3, Ordering::Release);
        drop(writer);
        assert_eq!(reader.load(world.turn), Ok(3));
        let region = frozen(&world);
        let same = FrozenRegion::from_fd(OwnedFd::from(region)).unwrap();
        assert_eq!(same.slice(world.table).unwrap()[1], 3);
    };
    (0..20).for_each(|_| cycle());
    let before = state();
    (0..cycles).for_each(|_| cycle());
    assert_eq!(state(), before);
    println!("{cycles} cycles");
}
