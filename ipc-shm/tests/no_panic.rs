//! H16: whatever the other side writes, the compiler has found no way from an operation of an untrusting end to a panic.
//!
//! Builds the package `tests/no_panic_proof`, in which each operation is a function of its own, with all that it calls compiled
//! together, and follows the calls in the machine code. They must not come to a panic, but for one way: through the functions
//! that ask the kernel who lives, or tell it to wake somebody. What is checked there is what the kernel says, and our own
//! descriptors, which are nothing that a peer writes.

extern crate alloc;

use alloc::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// They are not followed: they look at nothing that lies in shared memory.
const OF_THE_KERNEL: [&str; 4] = [
    "ipc_core::identity::",
    "ipc_core::primitive::real::identity::",
    "ipc_shm::ring::pollable::line::Line::ring",
    "rustix::",
];

/// Whom each function calls, or jumps to, or takes the address of.
type Calls = BTreeMap<String, BTreeSet<String>>;

#[test]
fn h16_no_way_to_a_panic() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: it reads the machine code of x86-64");
        return;
    }
    let calls = disassembled();
    let is_operation = |name: &&String| {
        ["spsc_", "indexed_", "bytes_", "mpmc_"].iter().any(|start| name.starts_with(start))
    };
    let operations: Vec<_> = calls.keys().filter(is_operation).collect();
    assert_eq!(operations.len(), 39, "{operations:?}");
    let mut seen = BTreeSet::new();
    for operation in operations {
        if let Some(way) = way_to_a_panic(&calls, operation, &mut seen) {
            panic!("{operation} can panic: {}", way.join(", "));
        }
    }
    let way = way_to_a_panic(&calls, "control_that_panics", &mut BTreeSet::new());
    assert!(way.is_some(), "a bounds check that is not seen");
    println!("no panic: 39 operations, {} functions followed", seen.len());
    assert!(seen.len() >= 39 + 5, "{seen:?}");
}

/// The functions through which `from` comes to a panic.
fn way_to_a_panic(calls: &Calls, from: &str, seen: &mut BTreeSet<String>) -> Option<Vec<String>> {
    if from.starts_with("core::panicking::")
        || from.contains("unwrap_failed")
        || from.contains("_fail")
    {
        return Some(vec![from.into()]);
    }
    if is_of_the_kernel(from) || !seen.insert(from.into()) {
        return None;
    }
    let mut way = calls.get(from)?.iter().find_map(|to| way_to_a_panic(calls, to, seen))?;
    way.insert(0, from.into());
    Some(way)
}

fn disassembled() -> Calls {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/no_panic_proof");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_panic_proof");
    let mut build = Command::new("timeout");
    build.args(["--kill-after=5", "600", env!("CARGO"), "build", "--release", "--locked"]);
    build.arg("--manifest-path").arg(package.join("Cargo.toml")).arg("--target-dir").arg(&target);
    // The flags of this build are not those of that one.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    said(&mut build);
    let library = target.join("release/libno_panic_proof.so");
    let mut objdump = Command::new("objdump");
    let code = said(objdump.args(["-d", "-C", "--no-show-raw-insn", "-j", ".text"]).arg(library));
    let mut calls = Calls::new();
    let mut function = String::new();
    for line in code.lines() {
        // `0000000000001234 <name>:` begins a function; `    1238:  call  1250 <other>` is in one.
        let name = line.split_once('<').and_then(|(_, name)| name.rsplit_once('>'));
        match name {
            Some((name, ":")) => {
                function = name.into();
                calls.entry(function.clone()).or_default();
            }
            Some((name, "")) if !name.starts_with(&format!("{function}+")) => {
                calls.entry(function.clone()).or_default().insert(name.into());
            }
            _ => {
                let is_anywhere = line.contains("call") && line.contains(" *%");
                assert!(!is_anywhere || is_of_the_kernel(&function), "{function}: {line}");
            }
        }
    }
    calls
}

fn is_of_the_kernel(function: &str) -> bool {
    OF_THE_KERNEL.iter().any(|start| function.contains(start))
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("names are UTF-8")
}
