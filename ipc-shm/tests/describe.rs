//! `describe`: what it says of every state a region can be in, and that no bytes mislead it.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`), because some fork, and all count their
//! descriptors.

extern crate alloc;

mod headers;

use alloc::collections::VecDeque;
use core::sync::atomic::Ordering::SeqCst;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;

use headers::{Bug, FIELDS, Outcome};
use ipc_core::process::fork_fn;
use ipc_shm::describe::{DescribeError, Description, Filled, RingLayout, Sort, State};
use ipc_shm::ring::spsc::{Ring, RingPlace};
use ipc_shm::ring::{Peer, PopError, PushError, bytes, indexed};
use ipc_shm::{
    AttachError, Errno, FrozenRegion, Kind, Liveness, Plan, ProcessId, RawValue, Region, describe,
};
use ipc_testkit::cases::{self, doing};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

fn main() -> ExitCode {
    cases::run(&[
        ("a_plan", a_plan),
        ("the_whole_table", the_whole_table),
        ("messages_are_counted", messages_are_counted),
        ("positions_are_counted", positions_are_counted),
        ("rings_among_other_things", rings_among_other_things),
        ("ends", ends),
        ("a_ring_in_use", a_ring_in_use),
        ("a_damaged_ring", a_damaged_ring),
        ("not_begun", not_begun),
        ("begun_by_the_living_and_the_dead", begun_by_the_living_and_the_dead),
        ("other_versions", other_versions),
        ("other_architectures", other_architectures),
        ("another_pid_namespace", another_pid_namespace),
        ("files_that_cannot_be_attached", files_that_cannot_be_attached),
        ("other_sorts", other_sorts),
        ("what_is_no_region", what_is_no_region),
        ("the_hash_of_the_directory", the_hash_of_the_directory),
        ("a_file_without_end", a_file_without_end),
        ("h01_every_header_field", every_header_field),
        ("h01_any_changes", any_changes),
        ("corpus", corpus),
        ("a_planted_bug_is_found", a_planted_bug_is_found),
    ])
}

fn file(region: &impl AsFd) -> File {
    File::from(region.as_fd().try_clone_to_owned().expect("a descriptor"))
}

fn seen(region: impl AsFd) -> Description {
    describe(region).expect("it begins like a region")
}

fn bytes(region: &impl AsFd) -> Vec<u8> {
    let file = file(region);
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A file in memory with these bytes, sealed as a region is.
fn sealed(bytes: &[u8]) -> OwnedFd {
    let fd = memfd_create(c"copy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    let file = File::from(fd);
    file.write_all_at(bytes, 0).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    file.into()
}

/// A small planned region.
fn planned() -> Region {
    let mut plan = Plan::new();
    plan.array::<RawValue<u64>>(8).unwrap();
    plan.one::<RawValue<[u16; 3]>>().unwrap();
    Region::planned(&plan).unwrap()
}

fn a_plan() {
    let region = planned();
    let before = bytes(&region);
    let seen = seen(&region);
    let me = ProcessId::current().unwrap();
    assert_eq!((seen.state, seen.version, seen.foreign), (State::Ready, (1, 0), false));
    assert_eq!((seen.length, seen.writable, seen.refused), (8192, true, None));
    let header = seen.header.unwrap();
    assert_eq!(header.kind, (2, Some(Kind::Planned)));
    assert_eq!((header.hash, header.found_hash), (region.layout_hash(), region.layout_hash()));
    assert_eq!((header.total, header.payload, header.size), (8192, 4096, region.size() as u64));
    assert_eq!((header.creator, header.creator_lives), (Some(me), Liveness::Alive));
    assert_eq!(header.entries, 2);
    let places: Vec<_> = seen.places().collect();
    assert_eq!(places.len(), 2);
    assert_eq!((places[0].offset, places[0].count, places[0].size, places[0].align), (0, 8, 8, 8));
    assert_eq!((places[1].offset, places[1].count, places[1].size), (128, 1, 6));
    assert_eq!(seen.rings().count(), 0);
    assert!(before == bytes(&region), "nothing was written");
}

fn the_whole_table() {
    let mut plan = Plan::new();
    plan.array::<RawValue<f64>>(3).unwrap();
    let place = RingPlace::<[u64; 7]>::plan(&mut plan, 16).unwrap();
    let region = Region::planned(&plan).unwrap();
    let ring = Ring::in_region(&region, place).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.push([1; 7]).unwrap();
    let text = seen(&region).to_string();
    let pid = std::process::id();
    let expected = [
        "state      ready".into(),
        "attaching  possible".into(),
        "file       8192 bytes, read and write, sealed:".into(),
        "layout     version 1.0".into(),
        "kind       2 (places of a plan)".into(),
        "made on    little-endian, 64 bits, pages of 4096 bytes, places 128 apart".into(),
        format!("made by    process {pid} (alive), {}", namespace()),
        "payload    1280 bytes from 4096 on, in 8192 bytes".into(),
        format!("hash       {:#018x}", region.layout_hash()),
        "places     3".into(),
        "place       offset        count       size  align  type".into(),
        "    0            0            3          8      8  RawValue<f64>".into(),
        "    1          128            1        128    128  Roles".into(),
        "    2          256           16         64      8  Slot<[u64; 7]>".into(),
        "ring       at place 1, stamped, 16 messages of 56 bytes".into(),
        "  filled   1".into(),
        format!("  producer process {pid} (alive)"),
        "  consumer nobody yet".into(),
    ];
    for (line, expected) in text.lines().zip(&expected) {
        // A newer kernel seals more.
        let same = line == expected || expected.ends_with("sealed:") && line.starts_with(expected);
        assert!(same, "{line:?}, expected {expected:?}");
    }
    assert_eq!(text.lines().count(), expected.len(), "{text}");
}

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").unwrap().to_str().unwrap().to_owned()
}

/// The only ring of a region.
fn ring_of(region: impl AsFd) -> ipc_shm::describe::RingDescription {
    let seen = seen(region);
    assert_eq!(seen.refused, None);
    let mut rings = seen.rings();
    let ring = *rings.next().expect("a ring");
    assert!(rings.next().is_none(), "one ring");
    ring
}

fn count<T: ipc_shm::bytemuck::Pod + Send>(ring: &Ring<'_, T>) -> Filled {
    ring_of(ring.as_fd().expect("its own region")).filled
}

fn messages_are_counted() {
    let mut looks = 0;
    for capacity in [1, 2, 3, 4, 7, 8, 100] {
        let ring = Ring::<[u8; 3]>::create(capacity).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let mut model = 0;
        let mut look = || looks += 1;
        for step in 0..20 * capacity {
            // Full and empty at times, and everything between, at every place of the ring.
            if step / capacity % 4 < 2 {
                model += u64::from(producer.push([1; 3]).is_ok());
            } else {
                model -= u64::from(consumer.pop().is_ok());
            }
            if step % 7 == 0 {
                model -= u64::from(consumer.pop().is_ok());
            }
            assert_eq!(count(&ring), Filled::Exactly(model), "{capacity}, step {step}");
            look();
        }
        let seen = ring_of(ring.as_fd().unwrap());
        assert_eq!((seen.layout, seen.capacity), (RingLayout::Stamped, capacity as u64));
        assert_eq!((seen.place, seen.message_size), (0, Some(8)));
    }
    println!("{looks} looks");
    assert_eq!(looks, 20 * 125);
}

fn positions_are_counted() {
    let ring = indexed::Ring::<[u8; 3]>::create(8).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let records = bytes::Ring::create(64).unwrap();
    let (mut writer, mut reader) = (records.producer().unwrap(), records.consumer().unwrap());
    let (mut model, mut lengths) = (0, VecDeque::new());
    for step in 0..200_usize {
        if step / 8 % 4 < 2 {
            model += u64::from(producer.push([1; 3]).is_ok());
            let record = &[7; 20][..step % 20];
            if writer.push(1, record).is_ok() {
                lengths.push_back(8 + record.len().next_multiple_of(8) as u64);
            }
        } else {
            model -= u64::from(consumer.pop().is_ok());
            if reader.pop_vec().is_ok() {
                lengths.pop_front();
            }
        }
        assert_eq!(ring_of(ring.as_fd().unwrap()).filled, Filled::Exactly(model), "step {step}");
        let seen = ring_of(records.as_fd().unwrap());
        assert_eq!(seen.filled, Filled::Exactly(lengths.iter().sum()), "step {step}");
    }
    let seen = ring_of(ring.as_fd().unwrap());
    assert_eq!((seen.layout, seen.capacity, seen.message_size), (RingLayout::Indexed, 8, Some(3)));
    let seen = ring_of(records.as_fd().unwrap());
    assert_eq!((seen.layout, seen.capacity, seen.message_size), (RingLayout::Bytes, 64, None));
    let me = Some(Peer::Alive(ProcessId::current().unwrap()));
    assert_eq!((seen.producer, seen.consumer), (me, me));
    // The producer's position, behind the consumer's or too far ahead.
    let file = file(&ring.as_fd().unwrap());
    for tail in [u64::MAX, 1 << 32] {
        file.write_all_at(&tail.to_ne_bytes(), 4096 + 128).unwrap();
        assert_eq!(ring_of(ring.as_fd().unwrap()).filled, Filled::Damaged, "{tail}");
    }
}

fn rings_among_other_things() {
    let mut plan = Plan::new();
    plan.array::<RawValue<u64>>(8).unwrap();
    let places = [5, 6].map(|capacity| RingPlace::<u32>::plan(&mut plan, capacity).unwrap());
    plan.one::<RawValue<u64>>().unwrap();
    let wide = RingPlace::<u128>::plan(&mut plan, 2).unwrap();
    indexed::RingPlace::<u16>::plan(&mut plan, 2).unwrap();
    let region = Region::planned(&plan).unwrap();
    let rings = places.map(|place| Ring::in_region(&region, place).unwrap());
    rings[1].producer().unwrap().push(7).unwrap();
    let seen = seen(&region);
    let found: Vec<_> = seen.rings().map(|r| (r.place, r.capacity, r.filled.count())).collect();
    assert_eq!(found, [(1, 5, Some(0)), (3, 6, Some(1)), (6, 2, Some(0)), (8, 2, Some(0))]);
    let sizes: Vec<_> = seen.rings().map(|ring| ring.message_size.unwrap()).collect();
    assert_eq!(sizes, [8, 8, 16, 2]);
    drop((rings, wide));
}

fn ends() {
    let ring = Ring::<u64>::create(4).unwrap();
    let fd = || ring.as_fd().unwrap();
    let me = ProcessId::current().unwrap();
    assert_eq!(ring_of(fd()).producer, Some(Peer::Absent));
    let producer = ring.producer().unwrap();
    assert_eq!(ring_of(fd()).producer, Some(Peer::Alive(me)));
    drop(producer);
    assert_eq!(ring_of(fd()).producer, Some(Peer::Closed));

    doing("waiting for a child that has both ends and dies");
    let mut child = fork_fn(|| {
        let (Ok(mut producer), Ok(_consumer)) = (ring.producer(), ring.consumer()) else {
            return 1;
        };
        i32::from(
            producer.push(1).is_err()
                || rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                )
                .is_err(),
        )
    })
    .unwrap();
    child.wait().unwrap();
    let seen = ring_of(fd());
    let (Some(Peer::Dead(producer)), Some(Peer::Dead(consumer))) = (seen.producer, seen.consumer)
    else {
        panic!("{seen:?}");
    };
    assert_eq!(producer, consumer);
    assert_ne!(producer, me);
    assert_eq!(seen.filled, Filled::Exactly(1));
    let file = file(&fd());
    file.write_all_at(&u64::MAX.to_ne_bytes(), 4096).unwrap();
    assert_eq!(ring_of(fd()).producer, None, "a word that no process has");
}

/// Whatever the moment, the number is one that the ring could have, and nothing looks damaged.
fn a_ring_in_use() {
    for capacity in [1, 2, 64, 4096] {
        doing("looking at a ring in use");
        let ring = Ring::<u64>::create(capacity).unwrap();
        let [stop, rounds, ..] = &cases::shared().words;
        for word in [stop, rounds] {
            word.store(0, SeqCst);
        }
        let mut child = fork_fn(|| {
            let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
            let mut number = 0_u64;
            while stop.load(SeqCst) == 0 {
                rounds.fetch_add(1, SeqCst);
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                for _ in 0..number >> 55 {
                    let _: Result<(), PushError<u64>> = producer.push(number);
                }
                for _ in 0..number << 9 >> 55 {
                    let _: Result<u64, PopError> = consumer.pop();
                }
            }
            0
        })
        .unwrap();
        let (mut exact, mut about, mut moving) = (0, 0, 0);
        let mut looks = 0;
        while looks < 1000 || rounds.load(SeqCst) < 200 {
            looks += 1;
            let seen = ring_of(ring.as_fd().unwrap());
            match seen.filled {
                Filled::Exactly(count) => exact += u32::from(count <= seen.capacity),
                Filled::About(count) => about += u32::from(count <= seen.capacity),
                Filled::Moving => moving += 1,
                other => panic!("capacity {capacity}: {other:?}"),
            }
        }
        stop.store(1, SeqCst);
        assert!(child.wait().unwrap().success());
        println!("capacity {capacity}: {exact} exact, {about} about, {moving} moving");
        assert_eq!(exact + about + moving, looks);
        assert!(matches!(count(&ring), Filled::Exactly(_)), "now it is still");
    }
}

fn a_damaged_ring() {
    let ring = Ring::<u64>::create(4).unwrap();
    let file = file(&ring.as_fd().unwrap());
    let put = |slot: u64, word: u64| {
        file.write_all_at(&word.to_ne_bytes(), 4096 + 128 + slot * 16 + 8).unwrap();
        count(&ring)
    };
    for (slot, word) in [(0, 5), (3, 2), (3, 1 << 63), (0, u64::MAX)] {
        assert_eq!(put(slot, word), Filled::Damaged, "slot {slot} = {word:#x}");
        assert_eq!(put(slot, 0), Filled::Exactly(0));
    }
}

fn not_begun() {
    let memfd = || memfd_create(c"ipc-shm", MemfdFlags::CLOEXEC).unwrap();
    for length in [0, 1, 80, 8192] {
        let file = File::from(memfd());
        file.set_len(length).unwrap();
        let seen = seen(&file);
        assert_eq!((seen.state, seen.version, seen.length), (State::NotBegun, (0, 0), length));
        assert!(seen.header.is_none() && seen.refused.is_some() && seen.places().next().is_none());
        assert!(seen.to_string().starts_with("state      not begun\n"));
    }
}

fn begun_by_the_living_and_the_dead() {
    let me = ProcessId::current().unwrap();
    let region = planned();
    let good = bytes(&region);
    let begun = |by: ProcessId, magic: bool| {
        let mut bytes = good.clone();
        bytes[8..16].copy_from_slice(&by.to_bits().to_ne_bytes());
        if !magic {
            // The domain is there although the magic is not: the order of plain stores is nobody's promise.
            bytes[..8].fill(0);
        }
        let seen = seen(sealed(&bytes));
        assert!(seen.refused.is_some(), "not to be used");
        seen.state
    };
    for magic in [true, false] {
        assert_eq!(begun(me, magic), State::Begun(me, Liveness::Alive));
    }
    doing("waiting for a child that tells who it is");
    let told = &cases::shared().words;
    let mut child = fork_fn(|| {
        let id = ProcessId::current().expect("an identity").to_bits();
        told[0].store(id as i32, SeqCst);
        told[1].store((id >> 32) as i32, SeqCst);
        0
    })
    .unwrap();
    assert!(child.wait().unwrap().success());
    let [low, high] = [0, 1].map(|i: usize| told[i].load(SeqCst) as u32);
    let dead = ProcessId::from_bits(u64::from(high) << 32 | u64::from(low)).unwrap();
    for magic in [true, false] {
        assert_eq!(begun(dead, magic), State::Begun(dead, Liveness::Dead));
    }
    // Nobody wrote in which namespace it is, so nobody knows.
    let mut bytes = good.clone();
    bytes[8..16].copy_from_slice(&dead.to_bits().to_ne_bytes());
    bytes[72..76].fill(0);
    assert_eq!(seen(sealed(&bytes)).state, State::Begun(dead, Liveness::Unknown));
    bytes[8..16].copy_from_slice(&(READY | 5).to_ne_bytes());
    assert_eq!(seen(sealed(&bytes)).state, State::Damaged(READY | 5));
}

const READY: u64 = 1 << 63;

fn other_versions() {
    let good = bytes(&planned());
    for version in [(0, 0), (2, 0), (1, 1), (0, 9), (u16::MAX, u16::MAX)] {
        let mut bytes = good.clone();
        bytes[16..18].copy_from_slice(&u16::to_ne_bytes(version.0));
        bytes[18..20].copy_from_slice(&u16::to_ne_bytes(version.1));
        let seen = seen(sealed(&bytes));
        assert_eq!((seen.version, seen.state), (version, State::Ready));
        let expected = AttachError::Version { found: version, expected: (1, 0) };
        assert_eq!(seen.refused, Some(expected));
        // A greater minor version has added something; of another major one nothing is known.
        assert_eq!(seen.header.is_some(), version.0 == 1);
        assert_eq!(seen.places().count(), if version.0 == 1 { 2 } else { 0 });
    }
}

fn other_architectures() {
    let region = planned();
    let mut bytes = bytes(&region);
    bytes[20..24].copy_from_slice(&0x4c45_0020_u32.to_ne_bytes());
    let narrow = seen(sealed(&bytes));
    assert!(matches!(narrow.refused, Some(AttachError::Architecture { .. })));
    assert_eq!(narrow.header.unwrap().arch.to_string(), "little-endian, 32 bits");

    let mut bytes = self::bytes(&region);
    for (offset, size) in FIELDS {
        bytes[offset..offset + size].reverse();
    }
    for entry in 0..2 {
        for (offset, size) in [(0, 8), (8, 8), (16, 4), (20, 4), (24, 8)] {
            bytes[1024 + entry * 32 + offset..][..size].reverse();
        }
    }
    let seen = seen(sealed(&bytes));
    assert!(seen.foreign && matches!(seen.refused, Some(AttachError::Architecture { .. })));
    assert_eq!((seen.state, seen.version), (State::Ready, (1, 0)));
    let header = seen.header.unwrap();
    assert_eq!((header.hash, header.size), (region.layout_hash(), region.size() as u64));
    assert_eq!(header.creator, Some(ProcessId::current().unwrap()));
    assert_eq!(header.creator_lives, Liveness::Unknown, "on another machine");
    assert_eq!(seen.places().map(|place| place.size).collect::<Vec<_>>(), [8, 6]);
}

/// A process number of another namespace says nothing here.
fn another_pid_namespace() {
    let mut bytes = bytes(&planned());
    let word: [u8; 4] = bytes[72..76].try_into().unwrap();
    bytes[72..76].copy_from_slice(&(u32::from_ne_bytes(word) ^ 1).to_ne_bytes());
    // Not ourselves: of that much everybody is sure.
    let other = ProcessId::from_bits(1 << 22 | 1).unwrap();
    bytes[64..72].copy_from_slice(&other.to_bits().to_ne_bytes());
    let header = seen(sealed(&bytes)).header.unwrap();
    assert_eq!((header.creator, header.creator_lives), (Some(other), Liveness::Unknown));
    bytes[72..76].copy_from_slice(&word);
    let header = seen(sealed(&bytes)).header.unwrap();
    assert_eq!(header.creator_lives, Liveness::Dead, "an inode that nobody of this number has");
}

fn files_that_cannot_be_attached() {
    let ring = Ring::<u64>::create(4).unwrap();
    ring.producer().unwrap().push(1).unwrap();
    let good = bytes(&ring.as_fd().unwrap());
    let messages = |seen: &Description| seen.rings().next().map(|ring| ring.filled);
    let one = Some(Filled::Exactly(1));

    let unsealed = memfd_create(c"copy", MemfdFlags::CLOEXEC).unwrap();
    let unsealed = File::from(unsealed);
    unsealed.write_all_at(&good, 0).unwrap();
    let seen = self::seen(&unsealed);
    assert!(matches!(seen.refused, Some(AttachError::NotSealed { .. })));
    assert_eq!(messages(&seen), one);

    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&ring.as_fd().unwrap()));
    let reader = File::open(path).unwrap();
    let seen = self::seen(&reader);
    assert_eq!((seen.refused, seen.writable), (Some(AttachError::ReadOnly), false));
    assert_eq!(messages(&seen), one);

    // A copy that somebody kept on a disk, to look at it later.
    let path = std::env::temp_dir().join(format!("ipc-shm-describe-{}", std::process::id()));
    std::fs::write(&path, &good).unwrap();
    let copy = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let seen = self::seen(&copy);
    assert_eq!((seen.state, seen.sort), (State::Ready, Sort::Unlinked));
    assert_eq!(messages(&seen), one);

    for length in [24, 79, 88, 1024, 1100, 4096] {
        let seen = self::seen(sealed(&good[..length]));
        assert!(matches!(seen.refused, Some(AttachError::TooSmall { .. })), "{:?}", seen.refused);
        assert_eq!((seen.state, seen.header.is_some()), (State::Ready, length >= 88));
        assert_eq!(seen.rings().count(), 0);
        assert!(seen.to_string().contains("refused"));
    }
}

fn other_sorts() {
    let mut plan = Plan::new();
    plan.array::<RawValue<u64>>(8).unwrap();
    let single = Region::single_writer(&plan).unwrap();
    let frozen = FrozenRegion::new(&plan, |_| {}).unwrap();
    let name = Region::named(format!("ipc-shm-describe-{}", std::process::id())).unwrap();
    let named = name.create_new(&plan).unwrap();
    let reader = single.reader().unwrap();
    let found = [
        (seen(planned()), Sort::Shared, "possible\n"),
        (seen(&reader), Sort::SingleWriter, "possible to read: one process writes\n"),
        (seen(&frozen), Sort::Frozen, "possible to read: nobody writes any more\n"),
        (seen(&named), Sort::Named, "possible by its name\n"),
    ];
    for (seen, sort, text) in found {
        assert_eq!((seen.sort, seen.refused, seen.state), (sort, None, State::Ready));
        assert!(seen.to_string().contains(&format!("attaching  {text}")), "{seen}");
    }
    name.remove().unwrap();
    let without = seen(&named);
    assert_eq!((without.sort, without.state), (Sort::Unlinked, State::Ready));
    assert!(matches!(without.refused, Some(AttachError::NotSealed { .. })), "it has no name");
    assert!(without.to_string().contains("a file without a name, and no memfd\n"), "{without}");
    // A memfd whose creator has not come to its seals is not one of these.
    let early = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let early = File::from(memfd_create(c"early", early).unwrap());
    early.write_all_at(&bytes(&planned()), 0).unwrap();
    assert_eq!(seen(&early).sort, Sort::Shared);
}

fn what_is_no_region() {
    let zeros = std::env::temp_dir().join(format!("ipc-shm-zeros-{}", std::process::id()));
    std::fs::write(&zeros, [0; 8192]).unwrap();
    let on_disk = File::open(&zeros).unwrap();
    std::fs::remove_file(&zeros).unwrap();
    let in_memory = rustix::fs::fcntl_get_seals(&on_disk).is_ok();
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let socket = std::os::unix::net::UnixStream::pair().unwrap().0;
    let mut files: Vec<(&str, OwnedFd)> = vec![
        ("a sealed memfd with something else in it", sealed(&[7; 9000])),
        ("one with half a magic", sealed(b"ipc-shm")),
        ("one with nothing but the magic", sealed(b"ipc-shm\0")),
        ("a pipe", reader),
        ("a socket", socket.into()),
        ("a device", File::open("/dev/zero").unwrap().into()),
        ("a directory", File::open("/proc/self").unwrap().into()),
        ("a program", File::open("/proc/self/exe").unwrap().into()),
    ];
    if !in_memory {
        files.push(("zeros on a disk", on_disk.into()));
    }
    for (what, fd) in files {
        doing(what);
        assert_eq!(describe(&fd).unwrap_err(), DescribeError::NotARegion, "{what}");
    }
    let writer = {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        openat(CWD, "/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
    };
    assert_eq!(describe(writer.unwrap()).unwrap_err(), DescribeError::Os(Errno::BADF));
}

fn the_hash_of_the_directory() {
    let mut bytes = bytes(&planned());
    let hash = seen(sealed(&bytes)).header.unwrap().hash;
    bytes[1024 + 8] ^= 1;
    let seen = seen(sealed(&bytes));
    assert!(matches!(seen.refused, Some(AttachError::Layout { .. })));
    let header = seen.header.unwrap();
    assert!(header.hash == hash && header.found_hash != hash);
    assert!(seen.to_string().contains("but the directory has"));
}

/// A ring of 2^56 slots in a file of 2^62 bytes: nobody reads them one by one.
fn a_file_without_end() {
    let mut input = vec![2, 1 | 6 << 4];
    // The total, the size and the count of the slots grow by one bit each.
    for (field, bit) in [(8, 61), (10, 60), (14 + 8 + 1, 56)] {
        input.extend([field, 2, bit, 0]);
    }
    let began = std::time::Instant::now();
    let damaged = headers::run(&input, Bug::Nothing);
    assert_eq!(damaged, Ok(Outcome::Taken { sound: 0, damaged: 1 }), "one lap is done by 2 slots");
    for slot in 0..4 {
        input.extend([46 + 17 + 2 * slot, 0, 0, 0]);
    }
    let sound = headers::run(&input, Bug::Nothing);
    assert_eq!(sound, Ok(Outcome::Taken { sound: 1, damaged: 0 }));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

fn every_header_field() {
    let (mut refused, mut taken, mut nothing) = (0, 0, 0);
    for base in 0..6 {
        for target in (0..14).chain([255]).chain(14..38).chain([46, 47, 48, 62, 64, 66, 68]) {
            let bits = (0..8).chain([15, 16, 31, 32, 47, 61, 62, 63]);
            for (how, a) in (0..12).map(|a| (0, a)).chain(bits.map(|a| (2, a))).chain([
                (1, 1),
                (1, 255),
                (1, 7),
                (3, 9),
                (4, 0),
            ]) {
                // The hash covers three fields of the header and the directory; it is put right, or left.
                let flags: &[u8] = match target {
                    0..14 | 255 => &[0, 1],
                    14..38 => &[1],
                    _ => &[0],
                };
                for &flags in flags {
                    let input = [base, flags, target, how, a, 3];
                    match headers::run(&input, Bug::Nothing) {
                        Ok(Outcome::Nothing) => nothing += 1,
                        Ok(Outcome::Refused(_)) => refused += 1,
                        Ok(Outcome::Taken { .. }) => taken += 1,
                        Err(what) => panic!("{input:?}: {what}"),
                    }
                }
            }
        }
    }
    println!("{nothing} do not begin like a region, {refused} refused, {taken} taken");
    assert!(nothing > 200 && refused > 5_000 && taken > 3_000);
}

/// Xorshift: the same numbers on every machine.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed + 1);
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 16
    }
}

fn any_input(seed: u64) -> Vec<u8> {
    let mut next = random(seed);
    let changes = next() % 6;
    (0..2 + changes * 4).map(|_| next() as u8).collect()
}

fn any_changes() {
    let (mut refused, mut taken, mut damaged) = (0, 0, 0);
    for seed in 0..5_000 {
        let input = any_input(seed);
        match headers::run(&input, Bug::Nothing) {
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Refused(_)) => refused += 1,
            Ok(Outcome::Taken { damaged: 0, .. }) => taken += 1,
            Ok(Outcome::Taken { .. }) => damaged += 1,
            Err(what) => panic!("seed {seed}, {input:?}: {what}"),
        }
    }
    println!("{refused} refused, {taken} taken, {damaged} with a damaged ring");
    assert!(refused > 2_000 && taken > 1_000 && damaged > 10);
}

fn corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/attach");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let input = std::fs::read(&path).unwrap();
        headers::run(&input, Bug::Nothing).unwrap_or_else(|what| panic!("{path:?}: {what}"));
        files += 1;
    }
    assert!(files >= 5, "the corpus is committed");
}

fn a_planted_bug_is_found() {
    // The second place of the second base, moved to the first one, with the right hash.
    let overlap = [1, 1, 14 + 8, 0, 0, 0];
    assert!(headers::run(&overlap, Bug::Nothing).is_ok());
    assert!(headers::run(&overlap, Bug::ForgetsTheOverlap).is_err());
}
