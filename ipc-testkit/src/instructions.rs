//! Counts the machine instructions of an operation, by executing them one at a time.
//!
//! The count is exact and the same in each run, whatever else the machine does: where a clock says that a fast path
//! became slower by a tenth or that the neighbours are busy, this says what was added. It knows nothing of caches, and
//! one instruction is not as long as another. Like [`stepkill`](crate::stepkill) it wants the build that is used.
//!
//! A test binary of its own (`harness = false`), because it forks and therefore must have one thread:
//!
//! ```no_run
//! use core::hint::black_box;
//! use core::sync::atomic::{AtomicU64, Ordering};
//! use ipc_testkit::instructions;
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     instructions::main(|counter| {
//!         counter.at_most("add", 4, || AtomicU64::new(0), |sum| {
//!             sum.fetch_add(black_box(1), Ordering::Relaxed);
//!         });
//!     })
//! }
//! ```

use core::time::Duration;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use crate::stepkill::Refusal;
use crate::stepkill::arch::Instruction;
use crate::stepkill::control::Role;
use crate::stepkill::suite::prepare;
use crate::stepkill::trace::{Step, Tracee, marker};

/// Counts, prints a line for each operation, and remembers which was too long.
#[derive(Debug)]
pub struct Counter {
    started: Instant,
    /// What was counted, name by name.
    counts: Vec<String>,
    passed: usize,
    failed: Vec<String>,
}

/// What comes before an operation takes no longer.
const PREPARATION: Duration = Duration::from_secs(10);

/// An operation of more instructions does not end.
const ENDLESS: u64 = 100_000;

/// The `main` of a test that counts instructions.
///
/// Skipped with the reason where a process cannot be traced, unless the environment variable `CI` is set; a debug build
/// is always an error.
pub fn main(operations: impl FnOnce(&mut Counter)) -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("0 tests, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    let prepared = if cfg!(debug_assertions) { Err(Refusal::DebugBuild) } else { prepare() };
    match prepared {
        Ok(()) => {
            let (counts, failed) = (Vec::new(), Vec::new());
            let mut counter = Counter { started: Instant::now(), counts, passed: 0, failed };
            operations(&mut counter);
            counter.finish()
        }
        Err(refusal) => refusal.end("instructions"),
    }
}

impl Counter {
    /// The instructions of `operation` on what `prepare` has made; more than `most` are a failure.
    ///
    /// What an operation does for the first time only, `prepare` does before. An operation that enters the kernel, or that
    /// does not end, has no count and is a failure as well.
    pub fn at_most<T>(
        &mut self,
        name: &str,
        most: u64,
        prepare: impl FnOnce() -> T,
        operation: impl FnOnce(&mut T),
    ) -> Option<u64> {
        let counted = count(prepare, operation);
        let flaw = match &counted {
            Ok(count) if *count <= most => None,
            Ok(count) => Some(format!("{count} instructions, more than {most}")),
            Err(error) => Some(error.to_string()),
        };
        self.counts.extend(counted.as_ref().ok().map(|count| format!("{name} {count}")));
        if let Some(flaw) = flaw {
            println!("test {name} ... FAILED ({flaw})");
            self.failed.push(format!("{name}: {flaw}"));
        } else {
            println!("test {name} ... ok (at most {most} instructions)");
            self.passed += 1;
        }
        counted.ok()
    }

    fn finish(self) -> ExitCode {
        println!("instructions: {}", self.counts.join(", "));
        for failure in &self.failed {
            println!("failed: {failure}");
        }
        let word = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {word}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2} s",
            self.passed,
            self.failed.len(),
            self.started.elapsed().as_secs_f64()
        );
        ExitCode::from(u8::from(!self.failed.is_empty() || self.passed == 0))
    }
}

fn count<T>(prepare: impl FnOnce() -> T, operation: impl FnOnce(&mut T)) -> io::Result<u64> {
    let mut process = Tracee::spawn(Role::Victim, PREPARATION, || {
        let mut state = prepare();
        marker();
        operation(&mut state);
        marker();
        0
    })?;
    for count in 0..ENDLESS {
        let call = process.next()? == Instruction::SystemCall;
        match process.step()? {
            Step::AtMarker => return Ok(count),
            Step::Done if !call => {}
            Step::Done | Step::Asleep => return Err(io::Error::other("it enters the kernel")),
            Step::Lost(change) => return Err(io::Error::other(format!("it ends by {change:?}"))),
        }
    }
    Err(io::Error::other("it does not end"))
}
