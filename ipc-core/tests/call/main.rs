//! Functions in processes of their own, under every start method.
//!
//! Each case runs in a process of its own (see `cases`), which checks at its end that nothing is left
//! behind. The numbers in the names are those of the catalogue of faults.

mod handles;
mod helpers;
mod libraries;
mod lives;
mod preloading;
mod starting;

use std::process::ExitCode;

use ipc_core::process::{Child, ExitStatus, StartMethod};
use ipc_testkit::cases;

const METHODS: [StartMethod; 4] =
    [StartMethod::Auto, StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer];

/// How many children are started in a row: 10,000 of each if the environment says `IPC_CYCLES=deep`.
fn rounds(normally: i32) -> i32 {
    let deep = std::env::var_os("IPC_CYCLES").is_some_and(|how| how == "deep");
    if deep { 10_000 } else { normally }
}

fn main() -> ExitCode {
    // A case executes this program again with a library preloaded.
    if std::env::args().skip(1).eq(["--as", "preloaded"].map(String::from)) {
        return libraries::preloaded();
    }
    cases::run(&[
        ("results_are_exit_codes", starting::results_are_exit_codes),
        ("errors_are_said", starting::errors_are_said),
        ("arguments_of_every_size", starting::arguments_of_every_size),
        ("argument_beyond_the_size_of_files", starting::beyond_the_size_of_files),
        ("argument_that_cannot_be_read", starting::argument_that_cannot_be_read),
        ("argument_that_cannot_be_written", starting::argument_that_cannot_be_written),
        ("closures_and_generic_functions", starting::closures_and_generic_functions),
        ("names_are_seen", starting::names_are_seen),
        ("copies_are_of_this_process_or_of_none", starting::copies),
        ("context_keeps_its_helper", starting::context_keeps_its_helper),
        ("f05_children_beside_busy_threads", starting::f05_children_beside_busy_threads),
        ("killed_helper_is_replaced", starting::killed_helper_is_replaced),
        ("helpers_prepare_what_children_need", preloading::helpers_prepare),
        ("failing_preload_is_an_error", preloading::failing_preload),
        ("forked_context_has_its_own_helper", starting::forked_context_has_its_own_helper),
        ("function_of_a_library_on_both_sides", libraries::on_both_sides),
        ("function_of_a_library_on_one_side", libraries::on_one_side),
        ("function_of_a_library_without_a_build_id", libraries::without_a_build_id),
        ("function_of_a_program_that_moves", libraries::of_a_program_that_moves),
        ("every_handle_under_every_method", handles::every_handle),
        ("handles_at_the_limit", handles::at_the_limit),
        ("handles_move", handles::they_move),
        ("daemons_go_with_their_parent", lives::daemons_go),
        ("others_stay", lives::others_stay),
        ("p19_who_goes_with_parent_and_helper", helpers::who_goes_with_whom),
        ("k18_helper_killed_while_several_start", helpers::k18_killed_while_several_start),
        ("status_beside_a_stopped_helper", helpers::status_beside_a_stopped_helper),
        ("terminate_graceful_under_every_method", helpers::terminate_graceful),
        ("s08_handlers_are_left_alone", helpers::s08_handlers_are_left_alone),
        ("nested_in_the_programs_own_context", lives::nested),
        ("cycles_leave_nothing", lives::cycles),
    ])
}

/// The end of a child.
fn end(mut child: Child) -> ExitStatus {
    child.wait().expect("wait")
}

fn expect(child: Child, status: ExitStatus) {
    let found = end(child);
    assert_eq!(found, status);
}
