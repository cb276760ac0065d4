//! The crates link and run without `std` and without an allocator.
//!
//! Builds the package `tests/no_std_proof` in release mode, in a target folder of its own, and runs
//! it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs a program that must end within `seconds`.
fn run(seconds: u32, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &seconds.to_string(), program]).args(arguments);
    // The flags of this build are not those of that one.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.output().expect("timeout(1) of the coreutils")
}

#[test]
fn links_and_runs() {
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
}
