//! Values whose bytes are anybody's: how deep they lie, how long they say that they are.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt::Debug;
use core::time::Duration;
use std::collections::HashMap;
use std::time::Instant;

use ipc_core::connection::{RecvError, pair};
use ipc_core::parcel::{MAX_DEPTH, MAX_EMPTY, Parcel, ParcelError, take_from_bytes};
use ipc_core::process::{ExitStatus, fork_fn};
use ipc_testkit::cases::doing;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::tools::{child_without, expect_ok};

/// How soon an answer must come, of whatever a peer says.
const SOON: Duration = Duration::from_secs(5);

/// Values that hold one of their own kind, each in a way of its own.
#[derive(Debug, Serialize, Deserialize)]
enum List {
    Nil,
    Cons(Box<List>),
}

#[derive(Debug, Serialize, Deserialize)]
enum Tupled {
    Nil,
    Cons(u8, Box<Tupled>),
}

#[derive(Debug, Serialize, Deserialize)]
enum Fields {
    Nil,
    Cons { next: Box<Fields> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Linked {
    number: u8,
    next: Option<Box<Linked>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

#[derive(Debug, Serialize, Deserialize)]
struct Values(BTreeMap<u8, Values>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Keys(BTreeMap<Keys, ()>);

#[derive(Debug, Serialize, Deserialize)]
struct Mixed([(Box<Choice>,); 1]);

#[derive(Debug, Serialize, Deserialize)]
enum Choice {
    None,
    Map(HashMap<u8, Option<Vec<Mixed>>>),
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParcelError> {
    Parcel { bytes: bytes.to_vec(), fds: Vec::new() }.unpack()
}

/// `more` for each level beyond the first, and then `end`.
fn nested(more: &[u8], end: &[u8], levels: usize) -> Vec<u8> {
    [&more.repeat(levels - 1), end].concat()
}

fn bound<T: DeserializeOwned + Serialize + Debug>(more: &[u8], end: &[u8], each: usize) {
    let most = MAX_DEPTH as usize / each;
    for levels in [1, 2, most - 1, most] {
        let bytes = nested(more, end, levels);
        let value = unpack::<T>(&bytes).unwrap_or_else(|error| panic!("{levels}: {error}"));
        assert_eq!(Parcel::pack(&value).expect("pack").bytes, bytes, "that was the value");
        assert!(take_from_bytes::<T>(&bytes).is_ok_and(|(_, rest)| rest.is_empty()));
    }
    for levels in [most + 1, most + 2, 10 * most] {
        let bytes = nested(more, end, levels);
        assert_eq!(unpack::<T>(&bytes).expect_err("too deep"), ParcelError::TooDeep, "{levels}");
        assert_eq!(take_from_bytes::<T>(&bytes).expect_err("too deep"), ParcelError::TooDeep);
    }
}

pub(crate) fn depth() {
    bound::<List>(&[1], &[0], 1);
    bound::<Tupled>(&[1, 9], &[0], 1);
    bound::<Fields>(&[1], &[0], 1);
    bound::<Linked>(&[7, 1], &[7, 0], 1);
    bound::<Nested>(&[1], &[0], 1);
    bound::<Values>(&[1, 5], &[0], 1);
    bound::<Keys>(&[1], &[0], 1);
    // An enum, a map, an option and a list; the last one is an enum alone.
    let levels = MAX_DEPTH as usize / 4;
    let mixed = |levels| nested(&[1, 1, 3, 1, 1], &[0], levels);
    assert!(unpack::<Mixed>(&mixed(levels)).is_ok());
    assert_eq!(unpack::<Mixed>(&mixed(levels + 1)).expect_err("too deep"), ParcelError::TooDeep);
    // What lies side by side is not deep.
    let wide: Vec<Option<Vec<u8>>> = vec![Some(vec![1]); 10_000];
    let bytes = Parcel::pack(&wide).expect("pack").bytes;
    assert_eq!(unpack::<Vec<Option<Vec<u8>>>>(&bytes), Ok(wide));
}

/// The deepest value fits into the smallest stack that a thread is usually given.
pub(crate) fn small_stack() {
    fn unpack_deep<T: DeserializeOwned>(more: &[u8], end: &[u8], levels: usize) {
        let bytes = nested(more, end, levels);
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        let thread = thread.spawn(move || unpack::<T>(&bytes).is_ok()).expect("a thread");
        assert_eq!(thread.join().ok(), Some(true));
    }
    let most = MAX_DEPTH as usize;
    unpack_deep::<Fields>(&[1], &[0], most);
    unpack_deep::<Keys>(&[1], &[0], most);
    unpack_deep::<Mixed>(&[1, 1, 3, 1, 1], &[0], most / 4);
}

/// Without a bound these overflow the stack, which ends a process by SIGSEGV: so each in its own.
pub(crate) fn hostile_depth() {
    fn is_refused<T: DeserializeOwned + Debug>(more: &[u8], end: &[u8]) {
        doing(&format!("a deep {}", core::any::type_name::<T>()));
        let bytes = nested(more, end, 1_000_000);
        let began = Instant::now();
        let child = fork_fn(|| i32::from(unpack::<T>(&bytes).err() != Some(ParcelError::TooDeep)));
        let status = child.expect("fork").wait_timeout(SOON).expect("wait");
        assert_eq!(status, Some(ExitStatus::Exited(0)), "after {:?}", began.elapsed());
    }
    is_refused::<List>(&[1], &[0]);
    is_refused::<Tupled>(&[1, 9], &[0]);
    is_refused::<Fields>(&[1], &[0]);
    is_refused::<Linked>(&[7, 1], &[7, 0]);
    is_refused::<Nested>(&[1], &[0]);
    is_refused::<Values>(&[1, 5], &[0]);
    is_refused::<Keys>(&[1], &[0]);
    is_refused::<Mixed>(&[1, 1, 3, 1, 1], &[0]);

    // Over a connection, which goes on.
    let (mut ours, mut theirs) = pair().expect("pair");
    let child = child_without(&theirs, || {
        ours.send(&nested(&[1], &[0], 1_000_000)).expect("send");
        ours.send_value(&List::Cons(Box::new(List::Nil))).expect("send");
    });
    drop(ours);
    let refused = theirs.recv_value::<List>().expect_err("too deep");
    assert_eq!(refused, RecvError::Parcel(ParcelError::TooDeep));
    let next = theirs.recv_value::<List>();
    assert!(matches!(next, Ok(List::Cons(next)) if matches!(*next, List::Nil)));
    expect_ok(child);
}

/// A number of seven bits in each byte, as lengths are written.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The most memory that this process has had at once.
pub(crate) fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim_end_matches("kB").trim().parse::<usize>().expect("a number") << 10
}

pub(crate) fn hostile_lengths() {
    fn is_refused<T: DeserializeOwned + Debug>(prefix: &[u8], is_named: fn(&ParcelError) -> bool) {
        for len in [1 << 31, 1 << 60, u64::MAX] {
            for rest in [0, 3, 1000] {
                doing(&format!("{len} elements of {}", core::any::type_name::<T>()));
                let bytes = [prefix, &varint(len), &vec![0; rest]].concat();
                let (before, began) = (peak(), Instant::now());
                let error = unpack::<T>(&bytes).expect_err("so many do not fit");
                assert!(is_named(&error), "{error:?}");
                assert!(began.elapsed() < SOON);
                let more = peak() - before;
                assert!(more < 4 << 20, "{more} bytes of memory on a peer's word");
            }
        }
    }
    let ended = |error: &ParcelError| matches!(error, ParcelError::Unpack(_));
    let too_many = |error: &ParcelError| *error == ParcelError::TooMany;
    is_refused::<String>(&[], ended);
    is_refused::<Vec<u8>>(&[], ended);
    is_refused::<Vec<[u64; 32]>>(&[], ended);
    is_refused::<Vec<String>>(&[], ended);
    is_refused::<(u8, Option<Vec<Vec<u16>>>)>(&[1, 1], ended);
    is_refused::<BTreeMap<u8, String>>(&[], too_many);
    is_refused::<HashMap<u64, u64>>(&[], too_many);
    // Of these any number fits into no bytes.
    is_refused::<Vec<()>>(&[], too_many);
    is_refused::<Vec<[(); 4]>>(&[], too_many);
    is_refused::<BTreeSet<()>>(&[], too_many);
    is_refused::<HashMap<(), ()>>(&[], too_many);
    is_refused::<Vec<Vec<()>>>(&[1], too_many);
}

pub(crate) fn empty_elements() {
    let most = MAX_EMPTY as usize;
    let bytes = |count: usize| varint(count as u64);
    for count in [0, 1, most] {
        assert_eq!(unpack::<Vec<()>>(&bytes(count)).map(|list| list.len()), Ok(count));
    }
    // The bytes of the length are spare, too.
    assert_eq!(unpack::<Vec<()>>(&bytes(most + 4)), Err(ParcelError::TooMany));
    // In all of a value, wherever they are.
    let halves = [varint(2), bytes(most / 2), bytes(most / 2)].concat();
    assert!(unpack::<Vec<Vec<()>>>(&halves).is_ok());
    let halves = [varint(2), bytes(most / 2 + 8), bytes(most / 2 + 8)].concat();
    assert_eq!(unpack::<Vec<Vec<()>>>(&halves), Err(ParcelError::TooMany));
    // Lists of many short lists, which say what would take a minute to count.
    let long = [varint(10_000), [0xff, 0xff, 3].repeat(10_000)].concat();
    let began = Instant::now();
    assert_eq!(unpack::<Vec<Vec<()>>>(&long), Err(ParcelError::TooMany));
    assert!(began.elapsed() < SOON);
    // What has bytes is not bounded but by them.
    let full = vec![7_u64; 10 * most];
    let parcel = Parcel::pack(&(full.clone(), vec![(); most])).expect("pack");
    assert!(parcel.unpack::<(Vec<u64>, Vec<()>)>().is_ok_and(|(list, _)| list == full));
}
