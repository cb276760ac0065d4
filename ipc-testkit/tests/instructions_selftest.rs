//! The counter of instructions on trial: it counts exactly, and says what has no count.
//!
//! One process, one thread. What must fail runs in a process of its own, which is this binary again.

#![expect(unsafe_code, reason = "counted instructions")]

use core::hint::spin_loop;
use std::process::{Command, ExitCode, abort};

use ipc_testkit::instructions::{self, Counter};

/// Asks this binary for an operation of [`MUST_FAIL`].
const INNER: &str = "INSTRUCTIONS_SELFTEST_INNER";

/// Operations that the counter must refuse, and what it says.
const MUST_FAIL: [(&str, fn(), &str); 4] = [
    ("too many", ten, "instructions, more than 9"),
    ("a system call", || drop(std::env::current_dir()), "it enters the kernel"),
    (
        "an endless loop",
        || loop {
            spin_loop()
        },
        "it does not end",
    ),
    ("a crash", crash, "it ends by Stopped(4)"),
];

fn main() -> ExitCode {
    if let Ok(inner) = std::env::var(INNER) {
        let found = MUST_FAIL.iter().find(|(name, ..)| *name == inner);
        let (name, operation, _) = found.unwrap_or_else(|| abort());
        return instructions::main(|counter| {
            let _failed = counter.at_most(name, 9, || (), |()| operation());
        });
    }
    instructions::main(|counter| {
        counts_exactly(counter);
        for (name, _, complaint) in MUST_FAIL {
            must_fail(name, complaint);
        }
    })
}

fn counts_exactly(counter: &mut Counter) {
    assert_eq!(counter.at_most("nothing", 0, || (), |()| ()), Some(0));
    assert_eq!(counter.at_most("ten", 10, || (), |()| ten()), Some(10));
    // What is prepared does not count, and is there.
    let prepared = || std::env::args().collect::<Vec<_>>();
    let counted = counter.at_most("prepared", 100, prepared, |arguments| {
        if arguments.is_empty() {
            abort();
        }
        ten();
    });
    assert!(counted.is_some_and(|count| count > 10), "{counted:?}");
}

#[inline(always)]
fn ten() {
    // SAFETY: ten instructions that do nothing.
    unsafe { core::arch::asm!("nop; nop; nop; nop; nop; nop; nop; nop; nop; nop") }
}

fn crash() {
    // SAFETY: the instruction that is none ends the process.
    unsafe { core::arch::asm!("ud2") }
}

fn must_fail(name: &str, complaint: &str) {
    let mut command = Command::new(std::env::current_exe().expect("the path of this binary"));
    let output = command.env(INNER, name).output().expect("run this binary again");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{name} must fail:\n{said}");
    assert!(said.contains(complaint), "{name} must say {complaint:?}:\n{said}");
    println!("{name} ... failed as it must");
}
