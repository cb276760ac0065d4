//! `docs/LAYOUT.md` says what this crate does: its tables of numbers are compared with the structures.

extern crate std;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::any::type_name;
use core::mem::offset_of;

use ipc_core::identity::{Admitted, ProcessId};

use super::*;
use crate::plan::Fnv;
use crate::{Kind, Plan};

/// The rows of the table whose first line is `heads` under the heading `title`, without its first two lines.
fn table(title: &str, heads: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/LAYOUT.md");
    let text = std::fs::read_to_string(path).expect("the repository has the document");
    let under = text.lines().skip_while(|line| line.trim_start_matches('#').trim() != title);
    let section = under.skip(1).take_while(|line| !line.starts_with('#'));
    let from = section.skip_while(|line| *line != heads).skip(2);
    let rows: Vec<Vec<String>> = from
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().into()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {heads:?} under {title:?}");
    rows
}

/// Compares the fields of a structure: all of them, in order.
fn fields(title: &str, last: &str, expected: &[(&str, usize, Option<usize>)]) {
    let heads = std::format!("| offset | size | field | {last} |");
    let found = table(title, &heads);
    let found: Vec<_> = found
        .iter()
        .map(|row| (row[2].as_str(), row[0].parse().unwrap(), row[1].parse().ok()))
        .collect();
    assert_eq!(found, expected, "{title}");
}

/// `(name, offset, size)` of fields of a structure.
macro_rules! of {
    ($structure:ty: $($name:literal $field:ident: $type:ty),* $(,)?) => {
        [$(($name, offset_of!($structure, $field), Some(size_of::<$type>()))),*]
    };
}

#[test]
fn headers() {
    let expected = of!(Header:
        "magic" magic: u64, "init" init: u64, "major" major: u16, "minor" minor: u16,
        "arch" arch: u32, "hash" hash: u64, "kind" kind: u32, "page" page: u32,
        "total" total: u64, "payload" payload: u64, "size" size: u64, "creator" creator: u64,
        "domain" domain: u32, "entries" entries: u32, "line" line: u32);
    // And what is reserved.
    let named = expected.iter().filter_map(|field| field.2).sum::<usize>();
    assert_eq!(named, offset_of!(Header, reserved));
    assert_eq!(named + size_of::<u32>(), size_of::<Header>());
    fields("Header", "what it says", &expected);
    let expected = of!(Entry:
        "offset" offset: u64, "count" count: u64, "size" size: u32, "align" align: u32,
        "type" type_hash: u64);
    assert_eq!(expected.iter().filter_map(|field| field.2).sum::<usize>(), size_of::<Entry>());
    fields("Directory entry", "what it says", &expected);
}

#[test]
fn rings() {
    let who = "who writes it";
    let mut commons = of!(Commons:
        "domain" domain: DomainCell, "waiting" waiting: AtomicU32,
        "not_empty" not_empty: EventCount, "not_full" not_full: EventCount);
    commons.iter_mut().for_each(|field| field.1 += offset_of!(Roles, commons));
    let ends = of!(Roles: "producer" producer: AtomicU64, "consumer" consumer: AtomicU64);
    fields("Roles", who, &[&ends[..], &commons].concat());
    let slot = table("Stamped ring", &std::format!("| offset | size | field | {who} |"));
    let slot: Vec<_> = slot.iter().map(|row| [&*row[2], &*row[0], &*row[1]]).collect();
    assert_eq!(slot, [["payload", "0", "-"], ["sequence", "`size - align`", "8"]]);
    assert_eq!(offset_of!(Slot<[u8; 9]>, payload), 0);
    let indexes = of!(Indexes: "roles" roles: Roles, "tail" tail: u64, "head" head: u64);
    fields("Indexed ring", who, &indexes);
    // The text says how large the structures are.
    assert_eq!((size_of::<Roles>(), size_of::<Indexes>()), (128, 384));
    // Where the sequence is: for each alignment, so much before the end.
    assert_eq!(offset_of!(Slot<[u8; 9]>, sequence), size_of::<Slot<[u8; 9]>>() - 8);
    assert_eq!(offset_of!(Slot<[u64; 7]>, sequence), size_of::<Slot<[u64; 7]>>() - 8);
    assert_eq!(offset_of!(Slot<u128>, sequence), size_of::<Slot<u128>>() - align_of::<u128>());
    assert_eq!(size_of::<Payload<[u8; 3]>>(), 3);
    let record = [("size", 0, Some(4)), ("tag", 4, Some(4)), ("bytes", 8, None)];
    fields("Ring of bytes", "what it says", &record);

    // And a record of a real ring is like that.
    let ring = crate::ring::bytes::Ring::create(64).unwrap();
    ring.producer().unwrap().push(0x0102_0304, b"abc").unwrap();
    let fd = ring.as_fd().unwrap();
    let seen = crate::describe(fd).unwrap();
    let words = seen.places().nth(1).unwrap().offset;
    let mut bytes = [0xff; 16];
    rustix::io::pread(fd, &mut bytes, PAYLOAD as u64 + words).unwrap();
    let expected = [&11_u32.to_ne_bytes()[..], &0x0102_0304_u32.to_ne_bytes(), b"abc\0\0\0\0\0"];
    assert_eq!(bytes, *expected.concat());
}

fn number(text: &str) -> u64 {
    let text = text.trim_matches('`');
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

#[test]
fn constants_and_kinds() {
    let found: BTreeMap<String, u64> = table("Constants", "| name | value | meaning |")
        .iter()
        .map(|row| (row[0].replace('`', ""), number(&row[1])))
        .collect();
    let arch = 0x4c45_0040;
    let expected = [
        ("MAGIC", MAGIC),
        ("MAJOR", MAJOR.into()),
        ("MINOR", MINOR.into()),
        ("ARCH, little-endian, 64 bits", arch),
        ("READY", READY),
        ("CLOSED", ProcessId::FREE_BIT),
        ("PAYLOAD", PAYLOAD as u64),
        ("DIRECTORY", DIRECTORY as u64),
        ("ENTRIES", ENTRIES as u64),
        ("LAP", LAP),
        ("FULL", FULL),
        ("LINE", LINE as u64),
    ];
    assert_eq!(found, expected.map(|(name, value)| (name.to_string(), value)).into());
    let ours = cfg!(all(target_endian = "little", target_pointer_width = "64"));
    assert_eq!(ours, u64::from(ARCH) == arch);

    let found: Vec<_> = table("Waiting", "| bit | name | set by | says |")
        .iter()
        .map(|row| (row[1].replace('`', ""), 1 << number(&row[0])))
        .collect();
    let expected = [
        ("MUST_FENCE", MUST_FENCE),
        ("PLAIN", PLAIN),
        ("POLLABLE", POLLABLE),
        ("PRODUCER_ARMED", PRODUCER_ARMED),
        ("CONSUMER_ARMED", CONSUMER_ARMED),
    ];
    assert_eq!(found, expected.map(|(name, bit)| (name.to_string(), bit)));

    let kinds = table("Kinds", "| kind | number | places |");
    for row in &kinds {
        let kind = Kind::from_bits(number(&row[1]) as u32).expect("a kind");
        assert_eq!(std::format!("`{kind:?}`"), row[0]);
    }
    assert_eq!(kinds.len(), 6);
    assert_eq!(Kind::from_bits(7), None, "and there are no more");
}

#[test]
fn hashes() {
    let mut plan = Plan::of_kind(Kind::Spsc);
    plan.one::<Roles>().unwrap();
    plan.array::<Slot<u64>>(4).unwrap();
    let rows = table("Hashes", "| bytes | hash |");
    for row in &rows {
        let expected = match row[0].as_str() {
            "none" => Fnv::new().0,
            "header and directory of a stamped ring of four `u64`" => plan.hash(),
            text => Fnv::new().bytes(text.trim_matches('`').as_bytes()).0,
        };
        assert_eq!(number(&row[1]), expected, "{}", row[0]);
    }
    let names = [
        type_name::<Roles>(),
        type_name::<Indexes>(),
        type_name::<Slot<u64>>(),
        type_name::<Payload<u64>>(),
    ];
    for name in names {
        assert!(rows.iter().any(|row| row[0].trim_matches('`') == name), "{name}");
    }
    assert_eq!(rows.len(), 7);
}

/// The bits of the fields of a word, lowest first, which leave none out.
fn bits(title: &str, last: u32) -> BTreeMap<String, u64> {
    let mut free = 0;
    let rows = table(title, "| bits | field | what it says |").into_iter().map(|row| {
        let (low, high) = row[0].split_once('-').unwrap_or((&row[0], &row[0]));
        let (low, high): (u32, u32) = (low.parse().unwrap(), high.parse().unwrap());
        assert_eq!(low, free, "{title}: {}", row[1]);
        free = high + 1;
        (row[1].clone(), u64::MAX >> (63 - (high - low)) << low)
    });
    let found = rows.collect();
    assert_eq!(free, last + 1, "{title}");
    found
}

#[test]
fn process_words() {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    let found = bits("Process word", 63);
    let [pid, incarnation, source, free] =
        ["pid", "incarnation", "source", "free"].map(|field| found[field]);
    assert_eq!(free, ProcessId::FREE_BIT);
    // A word without any of the pid's bits is none, and with any of them it is one.
    assert_eq!(ProcessId::from_bits(!pid & !free), None);
    for bit in (0..64).map(|bit| 1 << bit).filter(|bit| pid & bit != 0) {
        assert!(ProcessId::from_bits(bit).is_some(), "{bit:#x}");
    }
    let all = ProcessId::from_bits(1 | incarnation).unwrap();
    let largest = incarnation >> incarnation.trailing_zeros();
    assert_eq!(std::format!("{all:?}"), std::format!("ProcessId(1, inode {largest})"));
    let ticks = ProcessId::from_bits(1 | source).unwrap();
    assert_eq!(std::format!("{ticks:?}"), "ProcessId(1, start 0)");
    // And what they are for this very process.
    let me = ProcessId::current().unwrap().to_bits();
    assert_eq!(me & pid, u64::from(std::process::id()));
    if me & source == 0 {
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let inode = rustix::fs::fstat(pidfd).unwrap().st_ino;
        assert_eq!((me & incarnation) >> incarnation.trailing_zeros(), inode & largest);
    }
}

#[test]
fn domain_words() {
    let found = bits("Domains", 31);
    let domain = found["domain"];
    let seen = |word: u64| DomainCell::from_bits(word as u32).seen();
    assert_eq!(seen(domain), Admitted::Mixed);
    assert_eq!((seen(0), seen(!domain)), (Admitted::Nobody, Admitted::Nobody));
    for bit in (0..32).map(|bit| 1 << bit).filter(|bit| domain & bit != 0) {
        assert!(matches!(seen(domain ^ bit), Admitted::One(_)), "{bit:#x}");
    }
    let me = ipc_core::identity::Identity::current().unwrap();
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&namespace);
    assert_eq!(u64::from(me.domain.to_bits()), inode & domain);
    assert!(!DomainCell::from_bits(found["reserved"] as u32).is_resident());
    assert!(DomainCell::from_bits(found["resident"] as u32).is_resident());
}
