//! The crates link and run without `std` and without an allocator.
//!
//! Builds the package `tests/no_std_proof` in release mode, in a target folder of its own, and runs
//! it.

use std::path::Path;
use std::process::{Command, Output};

use ipc_shm::ring::{bytes, indexed, spsc};
use ipc_shm::{Plan, Region};
use ipc_sync::Mutex;

/// Runs a program that must end within `seconds`.
fn run(seconds: u32, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &seconds.to_string(), program]).args(arguments);
    // The flags of this build are not those of that one.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.output().expect("timeout(1) of the coreutils")
}

#[test]
fn v05_links_and_runs_beside_another_build() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/no_std_proof");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_std_proof");
    let (manifest, target) = (package.join("Cargo.toml"), target.to_str().unwrap());
    let manifest = manifest.to_str().unwrap();
    let build =
        ["build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target];
    let built = run(600, env!("CARGO"), &build);
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{}: {said}", built.status);

    let program = format!("{target}/release/no-std-proof");
    let output = run(60, &program, &[]);
    assert_eq!(output.status.code(), Some(0), "124 means that it hung");
    let output = run(60, &program, &["break an assertion"]);
    assert_eq!(output.status.code(), Some(101), "a broken assertion shows");

    of_another_build(&program);
}

/// V05: a region that was made with all features is used by a program that was built with none.
fn of_another_build(program: &str) {
    let mut plan = Plan::new();
    let total = plan.one::<Mutex<u64>>().unwrap();
    let fixed = plan.one::<spsc::FixedRing<[u64; 7], 8>>().unwrap();
    let stamped = spsc::RingPlace::<u64>::plan(&mut plan, 3).unwrap();
    let indexed = indexed::RingPlace::<u64>::plan(&mut plan, 4).unwrap();
    let bytes = bytes::RingPlace::plan(&mut plan, 64).unwrap();
    let text = format!("ipc-no-std-{}", std::process::id());
    let name = Region::named(&text).unwrap();
    let region = name.create_new_with(&plan, |fill| fill.locks(total, |_| 41)).unwrap();
    region.get(fixed).unwrap().ring().producer().unwrap().push([5; 7]).unwrap();
    let output = run(60, program, &["another build", &text]);
    name.remove().unwrap();
    assert_eq!(output.status.code(), Some(0), "101: it found something else");

    assert_eq!(*region.get(total).unwrap().lock().unwrap(), 42);
    let stamped = spsc::Ring::in_region(&region, stamped).unwrap();
    assert_eq!(stamped.consumer().unwrap().pop(), Ok(6));
    let indexed = indexed::Ring::in_region(&region, indexed).unwrap();
    assert_eq!(indexed.consumer().unwrap().pop(), Ok(7));
    let bytes = bytes::Ring::in_region(&region, bytes).unwrap();
    let mut text = [0; 9];
    assert_eq!(bytes.consumer().unwrap().pop(&mut text), Ok((7, 9)));
    assert_eq!(&text, b"first + 3");
}
