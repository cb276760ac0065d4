//! A program in Python attaches to regions by what `docs/LAYOUT.md` says, and takes part in rings with this one.
//!
//! It is `tests/python/attach.py`, which needs Python 3.10 and an x86-64. Where there is none, every case is skipped,
//! and says so; with `IPC_PYTHON=required` in the environment, as `ci/test.sh` has it, that is a failure.

use core::sync::atomic::{AtomicU64, Ordering};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::OnceLock;

use ipc_core::process::fork_fn;
use ipc_shm::ring::{Peer, PopError, RoleError, bytes, indexed, spsc};
use ipc_shm::{Atomic, Place, Plan, RawValue, Region};
use ipc_testkit::cases::{self, doing};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

fn main() -> ExitCode {
    // Once, before there is a process for each case.
    interpreter();
    cases::run(&[
        ("checks_and_values", checks_and_values),
        ("checks_in_this_order", checks_in_this_order),
        ("by_its_name", by_its_name),
        ("stamped_from_python", stamped_from_python),
        ("stamped_to_python", stamped_to_python),
        ("position_at_every_slot", position_at_every_slot),
        ("indexed_both_ways", indexed_both_ways),
        ("records_both_ways", records_both_ways),
        ("an_end_that_is_taken", an_end_that_is_taken),
        ("killed_python_is_replaced", killed_python_is_replaced),
        ("python_replaces_the_killed", python_replaces_the_killed),
        ("damaged_rings", damaged_rings),
    ])
}

/// Where Python is, if it is there and new enough.
fn interpreter() -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let program = "import sys; print(sys.executable if sys.version_info >= (3, 10) else '')";
        let output = Command::new("python3").args(["-c", program]).output().ok()?;
        let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !path.is_empty() && cfg!(target_arch = "x86_64"))
            .then_some(path)
    });
    found.as_deref()
}

/// The program, on a region that becomes its standard input.
fn attach(region: impl AsFd, arguments: &[&str]) -> Command {
    let mut command = program("0", arguments);
    command.stdin(Stdio::from(again(&region)));
    command
}

/// The program, on a descriptor of this number, or on the region of this name.
fn program(region: &str, arguments: &[&str]) -> Command {
    let Some(python) = interpreter() else {
        let required = std::env::var("IPC_PYTHON").is_ok_and(|word| word == "required");
        assert!(!required, "no Python 3.10 on an x86-64");
        cases::skip("no Python 3.10 on an x86-64")
    };
    doing(&format!("waiting for attach.py {region} {arguments:?}"));
    let mut command = Command::new(python);
    // Without what is installed beside it.
    command.args(["-I", "-S", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/attach.py")]);
    command.arg(region).args(arguments).stdout(Stdio::piped());
    command
}

fn again(region: &impl AsFd) -> OwnedFd {
    region.as_fd().try_clone_to_owned().expect("a descriptor")
}

/// The lines that the program writes, if it ends well.
fn said(output: Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}: {text}", output.status);
    text.lines().map(str::to_owned).collect()
}

fn run(region: impl AsFd, arguments: &[&str]) -> Vec<String> {
    said(attach(region, arguments).output().expect("it starts"))
}

/// Why the program refuses.
fn refused(region: impl AsFd, arguments: &[&str]) -> String {
    let output = attach(region, arguments).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim_end().strip_prefix("refused: ").expect("a reason").to_owned()
}

fn bytes_of(region: impl AsFd) -> Vec<u8> {
    let file = File::from(again(&region));
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A file with these bytes, sealed like this.
fn sealed(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create(c"copy", flags).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

const BOTH: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

type Value = RawValue<[f64; 3]>;
type Word = Atomic<AtomicU64>;

fn planned() -> (Region, Place<Value>, Place<Word>) {
    let mut plan = Plan::new();
    let value = plan.one().unwrap();
    let word = plan.array(4).unwrap();
    (Region::planned(&plan).unwrap(), value, word)
}

fn checks_and_values() {
    let (region, value, word) = planned();
    region.get(value).unwrap().set([1.5, -2.0, 1e300]);
    region.slice(word).unwrap()[0].store(40, Ordering::Release);
    let lines = run(&region, &["check"]);
    let (size, hash, pid) = (region.size(), region.layout_hash(), std::process::id());
    assert_eq!(lines[0], format!("kind 2 size {size} hash {hash:#018x} by {pid}"));
    let seen = ipc_shm::describe(&region).unwrap();
    let places: Vec<_> = seen
        .places()
        .map(|p| format!("{} {} {} {} {:#018x}", p.offset, p.count, p.size, p.align, p.type_hash))
        .collect();
    assert_eq!(lines[1..], places);
    assert_eq!(run(&region, &["value", "0"]), ["1.5 -2.0 1e+300"]);
    assert_eq!(run(&region, &["add", "1", "2"]), ["40"]);
    assert_eq!(region.slice(word).unwrap()[0].load(Ordering::Acquire), 42);
    assert!(refused(&region, &["value", "1"]).contains("place 1 is no"));
}

/// Each copy has one fault more than the one before, and an earlier check speaks first.
fn checks_in_this_order() {
    let (region, ..) = planned();
    let mut bytes = bytes_of(&region);
    let faults: [(usize, &[u8], &str); 11] = [
        (24, &[0], "another hash"),
        (1024, &[4], "corrupt directory"),
        (72, &[0; 4], "corrupt"),
        (40, &[0xff; 8], "too small"),
        (80, &64_u32.to_ne_bytes(), "another distance of places"),
        (36, &1_u32.to_ne_bytes(), "another page size"),
        (20, &32_u32.to_ne_bytes(), "another architecture"),
        (18, &[9, 0], "version 1.9"),
        (8, &[7; 8], "not ready"),
        (0, b"\0mhs-cpi", "the other byte order"),
        (0, b"ipc-sync", "not a region"),
    ];
    for (offset, fault, expected) in faults {
        bytes[offset..offset + fault.len()].copy_from_slice(fault);
        assert_eq!(refused(sealed(&bytes, BOTH), &["check"]), expected);
    }
    assert_eq!(refused(sealed(&bytes[..4096], BOTH), &["check"]), "too small");
    let future = BOTH | SealFlags::FUTURE_WRITE;
    assert_eq!(refused(sealed(&bytes, future), &["check"]), "read only");
    assert_eq!(refused(sealed(&bytes, SealFlags::SHRINK), &["check"]), "not sealed");
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(refused(reader, &["check"]), "not a file in memory");
}

/// How many messages go through each ring.
const COUNT: u64 = 3000;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn message(number: u64) -> [u64; 3] {
    [number; 3]
}

fn slot_hex(number: u64) -> String {
    hex(ipc_shm::bytemuck::bytes_of(&message(number)))
}

/// Pops what a producer in Python pushes, until it closes its end.
fn everything<T>(mut pop: impl FnMut() -> Result<T, PopError>) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        match pop() {
            Ok(message) => all.push(message),
            Err(PopError::Empty) => std::thread::yield_now(),
            Err(PopError::Disconnected) => return all,
            Err(PopError::Corrupt) => panic!("corrupt after {}", all.len()),
        }
    }
}

fn by_its_name() {
    let mut plan = Plan::new();
    let word = plan.one::<Word>().unwrap();
    let text = format!("ipc-shm-python-{}", std::process::id());
    let name = Region::named(&text).unwrap();
    let region = name.create_new(&plan).unwrap();
    region.get(word).unwrap().store(5, Ordering::Release);
    let run = |arguments| program(&text, arguments).output().unwrap();
    assert_eq!(said(run(&["add", "0", "7"])), ["5"]);
    assert_eq!(region.get(word).unwrap().load(Ordering::Acquire), 12);
    // Somebody else could open it.
    let path = format!("/dev/shm/{text}");
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path, rights).unwrap();
    let output = run(&["check"]);
    assert_eq!(output.stdout, b"refused: not a file of ours\n");
    name.remove().unwrap_err();
    std::fs::remove_file(format!("/dev/shm/{text}")).unwrap();
}

fn stamped_from_python() {
    let ring = spsc::Ring::<[u64; 3]>::create(7).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let child = attach(ring.as_fd().unwrap(), &["push", "0", "3000"]).spawn().unwrap();
    let all = everything(|| consumer.pop());
    assert_eq!(said(child.wait_with_output().unwrap()), [""; 0]);
    assert!(all.into_iter().eq((0..COUNT).map(message)));
}

fn stamped_to_python() {
    let ring = spsc::Ring::<[u64; 3]>::create(7).unwrap();
    let mut producer = ring.producer().unwrap();
    let child = attach(ring.as_fd().unwrap(), &["pop", "3000"]).spawn().unwrap();
    for number in 0..COUNT {
        while producer.push(message(number)).is_err() {
            std::thread::yield_now();
        }
    }
    let lines = said(child.wait_with_output().unwrap());
    assert!(lines.into_iter().eq((0..COUNT).map(slot_hex)));
    assert_eq!(producer.peer(), Peer::Closed);
}

/// Wherever the last owners have stopped, the next one goes on, in Python or in Rust.
fn position_at_every_slot() {
    for done in 0..5 {
        let ring = spsc::Ring::<[u64; 3]>::create(3).unwrap();
        let fd = ring.as_fd().unwrap();
        for number in 0..done {
            ring.producer().unwrap().push(message(number)).unwrap();
            assert_eq!(ring.consumer().unwrap().pop(), Ok(message(number)));
        }
        assert_eq!(run(fd, &["push", "100", "102"]), [""; 0]);
        assert_eq!(ring.consumer().unwrap().pop(), Ok(message(100)));
        ring.producer().unwrap().push(message(102)).unwrap();
        assert_eq!(run(fd, &["pop", "2"]), [slot_hex(101), slot_hex(102)]);
        assert_eq!(ring.consumer().unwrap().pop(), Err(PopError::Disconnected));
    }
}

fn indexed_both_ways() {
    let ring = indexed::Ring::<[u64; 3]>::create(8).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let child = attach(ring.as_fd().unwrap(), &["push", "0", "3000"]).spawn().unwrap();
    let all = everything(|| consumer.pop());
    assert_eq!(said(child.wait_with_output().unwrap()), [""; 0]);
    assert!(all.into_iter().eq((0..COUNT).map(message)));
    drop(consumer);

    let mut producer = ring.producer().unwrap();
    let child = attach(ring.as_fd().unwrap(), &["pop", "3000"]).spawn().unwrap();
    for number in 0..COUNT {
        while producer.push(message(number)).is_err() {
            std::thread::yield_now();
        }
    }
    let lines = said(child.wait_with_output().unwrap());
    assert!(lines.into_iter().eq((0..COUNT).map(slot_hex)));
}

/// Tag and bytes of a record.
fn record(number: u64) -> (u32, Vec<u8>) {
    (number as u32, vec![number as u8; number as usize % 50])
}

fn records_both_ways() {
    let ring = bytes::Ring::create(128).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let child = attach(ring.as_fd().unwrap(), &["push", "0", "3000"]).spawn().unwrap();
    let mut all = Vec::new();
    loop {
        match consumer.pop_vec() {
            Ok(record) => all.push(record),
            Err(bytes::PopError::Empty) => std::thread::yield_now(),
            Err(bytes::PopError::Disconnected) => break,
            Err(error) => panic!("{error} after {}", all.len()),
        }
    }
    assert_eq!(said(child.wait_with_output().unwrap()), [""; 0]);
    assert!(all.into_iter().eq((0..COUNT).map(record)));
    drop(consumer);

    let mut producer = ring.producer().unwrap();
    let child = attach(ring.as_fd().unwrap(), &["pop", "3000"]).spawn().unwrap();
    for number in 0..COUNT {
        let (tag, bytes) = record(number);
        while producer.push(tag, &bytes).is_err() {
            std::thread::yield_now();
        }
    }
    let lines = said(child.wait_with_output().unwrap());
    let expected = (0..COUNT).map(|number| {
        let (tag, bytes) = record(number);
        hex(&[&tag.to_ne_bytes()[..], &bytes].concat())
    });
    assert!(lines.into_iter().eq(expected));
}

fn an_end_that_is_taken() {
    let ring = spsc::Ring::<[u64; 3]>::create(4).unwrap();
    let mut producer = ring.producer().unwrap();
    let expected = format!("taken by process {}", std::process::id());
    assert_eq!(refused(ring.as_fd().unwrap(), &["push", "0", "1"]), expected);

    // And the other way round: while a consumer in Python waits for a second message, it has the end.
    producer.push(message(1)).unwrap();
    let mut child = attach(ring.as_fd().unwrap(), &["pop", "2"]).spawn().unwrap();
    while !matches!(producer.peer(), Peer::Alive(_)) {
        assert_eq!(child.try_wait().unwrap(), None, "it waits for another message");
        std::thread::yield_now();
    }
    let Err(RoleError::Taken { owner }) = ring.consumer().map(drop) else { panic!("it is taken") };
    assert_eq!(owner.pid().as_raw_nonzero().get() as u32, child.id());
    producer.push(message(2)).unwrap();
    assert_eq!(said(child.wait_with_output().unwrap()), [slot_hex(1), slot_hex(2)]);
}

fn killed_python_is_replaced() {
    let ring = spsc::Ring::<[u64; 3]>::create(4).unwrap();
    let mut producer = ring.producer().unwrap();
    (0..4).for_each(|number| producer.push(message(number)).unwrap());
    let output = attach(ring.as_fd().unwrap(), &["pop-and-die", "2"]).output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9));
    assert!(matches!(producer.peer(), Peer::Dead(_)), "{:?}", producer.peer());
    let mut consumer = ring.consumer().unwrap();
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(message(2)), Ok(message(3))));
}

fn python_replaces_the_killed() {
    let ring = spsc::Ring::<[u64; 3]>::create(4).unwrap();
    let mut child = fork_fn(|| {
        let (Ok(mut producer), Ok(consumer)) = (ring.producer(), ring.consumer()) else { return 1 };
        let pushed = producer.push(message(7)).is_ok();
        // Neither end is closed.
        core::mem::forget((producer, consumer));
        i32::from(!pushed)
    })
    .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(run(ring.as_fd().unwrap(), &["pop", "1"]), [slot_hex(7)]);
    assert_eq!(run(ring.as_fd().unwrap(), &["push", "8", "9"]), [""; 0]);
    assert_eq!(ring.consumer().unwrap().pop(), Ok(message(8)));
}

fn damaged_rings() {
    let ring = spsc::Ring::<[u64; 3]>::create(4).unwrap();
    let file = File::from(again(&ring.as_fd().unwrap()));
    file.write_all_at(&9_u64.to_ne_bytes(), 4096 + 128 + 32 + 24).unwrap();
    assert_eq!(refused(&file, &["pop", "1"]), "damaged ring");
    assert!(matches!(ring.consumer().map(drop), Err(RoleError::Corrupt)));
    file.write_all_at(&u64::MAX.to_ne_bytes(), 4096).unwrap();
    assert_eq!(refused(&file, &["push", "1", "2"]), "damaged role");
    let ring = indexed::Ring::<[u64; 3]>::create(4).unwrap();
    let file = File::from(again(&ring.as_fd().unwrap()));
    file.write_all_at(&5_u64.to_ne_bytes(), 4096 + 128).unwrap();
    assert_eq!(refused(&file, &["pop", "1"]), "damaged ring");
    let ring = bytes::Ring::create(64).unwrap();
    let file = File::from(again(&ring.as_fd().unwrap()));
    file.write_all_at(&1_u64.to_ne_bytes(), 4096 + 128).unwrap();
    assert_eq!(refused(&file, &["pop", "1"]), "damaged ring", "a word of zeros is no record");
}
