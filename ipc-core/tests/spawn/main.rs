//! Executed programs: exactly what they were given, or a named error and nothing left.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`), since most of them change
//! what a process has only one of: limits, dispositions, a seccomp filter. The numbers in the names
//! and comments are those of the catalogue of faults.

extern crate alloc;

mod descriptors;
mod dying;
mod failing;
mod finding;
mod kernels;
mod masses;
mod seeing;
mod tools;

use ipc_testkit::cases;

fn main() -> std::process::ExitCode {
    cases::run(&[
        ("f01_only_listed_descriptors_pass", descriptors::f01_only_listed),
        ("f01_only_listed_descriptors_pass_by_the_list", descriptors::f01_by_the_list),
        ("f02_descriptors_change_places", descriptors::f02_change_places),
        ("f02_any_map_of_descriptors", descriptors::f02_any_map),
        ("f02_ring_in_a_full_table", descriptors::f02_ring_in_a_full_table),
        ("f04_closed_standard_streams_stay_closed", descriptors::f04_closed_streams),
        ("f04_descriptors_at_the_numbers_of_streams", descriptors::f04_numbers_of_streams),
        ("failed_exec_is_named", failing::exec),
        ("failed_stage_is_named", failing::stages),
        ("failed_strings_are_named", failing::strings),
        ("broken_program_is_a_child_that_was_killed", failing::broken_program),
        ("limit_of_processes_is_named", failing::limit_of_processes),
        ("limit_of_descriptors_is_named", failing::limit_of_descriptors),
        ("name_is_looked_up_for_the_child", finding::name),
        ("path_is_taken_from_the_childs_directory", finding::path_of_program),
        ("signals_are_as_promised", seeing::signals),
        ("attributes_are_as_asked", seeing::attributes),
        ("environment_and_arguments_are_as_asked", seeing::strings),
        ("environment_is_whole_beside_changes", seeing::strings_beside_changes),
        ("nothing_reaches_the_parent", seeing::nothing_reaches_the_parent),
        ("clone3_missing_or_refused", kernels::clone3_missing),
        ("clone_refused", kernels::clone_refused),
        ("f03_close_range_missing_or_refused", kernels::f03_close_range_missing),
        ("f03_no_way_to_keep_descriptors", kernels::f03_no_way),
        ("pidfd_unknown_to_the_kernel", kernels::pidfd_unknown),
        ("parent_death_reaches_the_child", dying::parent_death),
        ("parent_death_needs_the_main_thread", dying::needs_the_main_thread),
        ("f14_parent_killed_before_the_child_was_bound", dying::f14_before),
        ("f15_child_outlives_the_thread_that_spawned_it", dying::f15_thread_ends),
        ("s06_sigchld_ignored", dying::s06_sigchld_ignored),
        ("signals_every_50_microseconds", masses::signals),
        ("f09_no_handler_runs_in_the_child", masses::f09_handlers),
        ("f09_no_handler_runs_in_the_child_of_clone", masses::f09_handlers_of_clone),
        ("f05_eight_threads_that_allocate", masses::f05_allocating_threads),
        ("ten_thousand_spawns_leave_nothing", masses::ten_thousand),
        ("large_parent_is_not_copied", masses::large_parent),
    ])
}
