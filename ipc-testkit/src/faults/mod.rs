//! Makes every system call of an operation fail, in every way in which it plausibly may.
//!
//! A first round lists the system calls that the operation makes, in the caller and in the processes that it makes.
//! Then, for each call and each error that this call may give, a process of its own repeats the operation with that
//! one call made to fail: once, and then again with every later call of the kind failing too. Each time the operation must
//! succeed by another way or report an error; nothing may be left behind, be it a descriptor, a process or a
//! mapping; and the same operation without a fault must then succeed. An interruption (`EINTR`) alone must change
//! nothing at all.
//!
//! Nothing is listed by hand but the errors of each call: a call without an entry in that table is a finding.
//!
//! ```no_run
//! use ipc_testkit::faults::{self, Case, check};
//! use std::io::{Read, Write};
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     faults::main(10, |suite| {
//!         suite.everywhere(&Case::new("pipe", |me| {
//!             // Prepared without faults.
//!             let message = b"hello";
//!             let (mut reader, mut writer) = me.operation(std::io::pipe)?;
//!             // Judged without faults.
//!             writer.write_all(message)?;
//!             let mut buffer = [0; 5];
//!             reader.read_exact(&mut buffer)?;
//!             check(buffer == *message, "another message")
//!         }));
//!     })
//! }
//! ```
//!
//! # How
//!
//! The harness traces the process and all its descendants (`PTRACE_SYSCALL`). A call that shall fail is given a
//! number that no call has, and its answer is replaced behind it; `close` is carried out all the same, as the kernel
//! does when it reports an error. A call is known by the descent of its process and by its place among that
//! process's calls, which are the same in each round, however the processes are scheduled.
//!
//! A process that the operation makes may run code of the test. That says [`unharmed`] first, or its calls would fail too,
//! if the operation is not over yet.
//!
//! # Limits
//!
//! - x86-64 only; elsewhere a suite prints `SKIPPED`.
//! - Failed allocations of memory end a Rust program, so `brk` never fails here, and malloc is kept from `mmap`.
//! - Errors that contradict the world are not tried: no `ECHILD` while there is a child, no failing `munmap`.

mod case;
mod errnos;
mod inside;
mod suite;
mod tree;

pub use case::{Attempt, Case, Trouble, check, unharmed};
pub use suite::{Kind, Suite, main};
