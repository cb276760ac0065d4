//! A signal every 50 µs changes nothing, and ends what is called `_interruptible`.
//!
//! Every call that may wait is made while a timer interrupts its thread without end, with and without
//! `SA_RESTART`: see `ipc_testkit::cases::storm`.
//!
//! Each case runs in a process of its own (see `cases`), which also limits its time.

mod children;
mod messages;
mod passing;
mod starting;

use std::process::ExitCode;

use ipc_core::process::Child;
use ipc_testkit::cases;

fn succeeds(mut child: Child) {
    assert!(child.wait().expect("wait").success());
}

fn main() -> ExitCode {
    cases::run(&[
        ("s01_sleep_ends", children::sleep_ends),
        ("s01_children_are_waited_for", children::waited_for),
        ("s01_children_are_waited_for_in_time", children::in_time),
        ("s01_children_are_terminated", children::terminated),
        ("s01_interruptible_wait_for_a_child", children::interruptible),
        ("s01_interruptible_wait_among_stops", children::stopped_and_continued),
        ("s01_messages_are_received", messages::received),
        ("s01_messages_are_sent", messages::sent),
        ("s01_messages_in_time", messages::in_time),
        ("s01_interruptible_messages", messages::interruptible),
        ("s01_interruptible_messages_in_the_middle", messages::in_the_middle),
        ("s01_interruptible_wait_for_several", messages::several),
        ("s01_descriptors_are_passed", passing::both_ways),
        ("s01_processes_are_started", starting::programs_and_forks),
        ("s01_functions_are_started", starting::functions),
        ("s01_zygotes_are_waited_for", starting::zygotes),
    ])
}
