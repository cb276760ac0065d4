//! The kill harness of the ipc crates, and the oracles that their tests share. Not published.
//!
//! | module | what it is |
//! |--------|------------|
//! | [`stepkill`] | single-steps a process through one operation of the release build and kills it at every instruction |
//! | [`stepmutate`] | steps through an operation and lets a hostile peer write before every access to shared memory |
//! | [`instructions`] | counts the machine instructions of an operation |
//! | [`explore`] | goes through all interleavings of a protocol that is described step by step, with all deaths |
//! | [`faults`] | lists the system calls of an operation and makes each of them fail in every plausible way |
//! | [`oracle`] | what must hold afterwards: a mutual-exclusion canary for locks, a ledger of messages for rings |
//! | [`cases`] | runs each test case in a process of its own, and looks at what it left behind |
//! | [`battery`] | ready-made scenarios for anything that is a lock or a ring |
//! | [`controls`] | structures that are known to break when a process dies; the harness must find them broken |
//! | [`watchdog`] | ends a libtest program that hangs |
//! | [`shared`] | memory that all forked processes see at the same address |
//!
//! Used from `tests/` only, never from `#[cfg(test)]`: a unit test would link a second copy of the crate under test.
//! The harness calls libc itself and depends on none of the crates that it judges.

pub mod battery;
pub mod cases;
pub mod controls;
pub mod example;
pub mod explore;
pub mod faults;
pub mod instructions;
pub mod oracle;
pub mod shared;
pub mod stepkill;
pub mod stepmutate;
mod sys;
pub mod watchdog;
