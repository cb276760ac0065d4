//! The ring of many producers and many consumers between processes, of which some are killed.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`) and forks from there. The kills at every single instruction
//! are in `stepkill_mpmc.rs`; what all rings have in common is in `all_rings.rs`.
//!
//! # Safety
//!
//! One case makes a pid namespace for its children.
#![expect(unsafe_code, reason = "a pid namespace for children")]

mod deaths;
#[allow(unreachable_pub, reason = "shared with the other programs")]
#[path = "../rings/mod.rs"]
mod rings;
mod soak;

use std::process::ExitCode;

use ipc_testkit::cases;

fn main() -> ExitCode {
    cases::run(&[
        ("messages_through_eight_processes", soak::messages_through_eight_processes),
        ("k25_pops_while_everybody_is_killed", soak::pops_while_everybody_is_killed),
        ("k25_leases_while_everybody_is_killed", soak::leases_while_everybody_is_killed),
        ("k07_every_slot_is_a_dead_writers", deaths::every_slot_is_a_dead_writers),
        ("k07_every_slot_is_a_dead_readers", deaths::every_slot_is_a_dead_readers),
        ("k20_pid_in_use_again_is_somebody_else", deaths::pid_in_use_again),
        ("k21_zombies_are_dead", deaths::zombies_are_dead),
        ("k24_stopped_holder_keeps_its_message", deaths::stopped_holder_keeps_its_message),
        ("k23_stranger_takes_nothing", deaths::stranger_takes_nothing),
        ("places_of_the_dead_are_taken_again", deaths::places_of_the_dead_are_taken_again),
    ])
}

type Message = [u64; 7];

/// Every word follows from the number, so a torn message shows.
fn message(number: u64) -> Message {
    core::array::from_fn(|i| number.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i as u64)))
}

/// The number of a message that is whole.
fn number(found: Message) -> u64 {
    assert_eq!(found, message(found[0]), "torn");
    found[0]
}

/// Whether somebody has asked for the long form, by `IPC_SOAK=deep`.
fn is_deep() -> bool {
    std::env::var_os("IPC_SOAK").is_some_and(|how| how == "deep")
}
