//! Children: exact statuses, exact waits, and nothing left behind.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`), since most of them change what a process
//! has only one of: the disposition of SIGCHLD, limits, a seccomp filter. The numbers in the comments
//! are those of the catalogue of faults.

mod barrier;
mod forking;
mod status;
mod tools;
mod waiting;

use ipc_testkit::cases;

fn main() -> std::process::ExitCode {
    cases::run(&[
        ("exit_code_is_exact", status::exit_code_is_exact),
        ("signal_and_core_flag_are_exact", status::signal_and_core_flag_are_exact),
        ("s06_sigchld_ignored", status::s06_sigchld_ignored),
        ("s06_sigchld_ignored_after_the_fork", status::s06_sigchld_ignored_after_the_fork),
        ("s07_another_thread_reaps_every_child", status::s07_another_thread_reaps_every_child),
        ("status_in_a_process_that_is_not_the_parent", status::in_a_process_not_the_parent),
        ("status_in_the_middle_of_a_reap", status::in_the_middle_of_a_reap),
        ("status_of_a_living_child_elsewhere", status::living_child_of_another_process),
        ("unreaped_by_its_parent_is_unknown", status::unreaped_by_its_parent_is_unknown),
        ("answer_is_kept", status::answer_is_kept),
        ("wait_timeout_zero_short_long", waiting::zero_short_long),
        ("tracer_holding_the_child_does_not_spin_us", waiting::held_by_a_tracer),
        ("pidfd_is_pollable", waiting::pidfd_is_pollable),
        ("terminate_graceful_tries_both_signals", waiting::terminate_graceful),
        ("terminate_graceful_without_permission", waiting::terminate_without_permission),
        ("terminate_graceful_of_a_group", waiting::terminate_group),
        ("terminate_graceful_of_a_group_by_number", waiting::terminate_group_by_number),
        ("k20_signal_never_reaches_a_recycled_pid", forking::k20_recycled_pid_is_not_signalled),
        ("drop_reaps_the_dead", forking::drop_reaps_the_dead),
        ("drop_leaves_the_living", forking::drop_leaves_the_living),
        ("f15_child_outlives_the_thread_that_forked_it", forking::f15_forking_thread_ends),
        ("fork_without_descriptors_fails_clean", forking::no_descriptors),
        ("child_has_the_descriptors_of_its_parent", forking::child_has_its_parents_descriptors),
        ("ten_thousand_forks_leave_nothing", forking::ten_thousand),
        ("fork_fn_needs_one_thread", forking::fork_fn_needs_one_thread),
        ("fork_fn_without_proc_is_refused", forking::fork_fn_without_proc),
        ("fork_fn_contains_a_panic", forking::fork_fn_contains_a_panic),
        ("fork_fn_prints_once", forking::fork_fn_prints_once),
        ("refused_pidfd_dismisses_the_child", barrier::refused_pidfd),
        ("child_killed_in_the_barrier", barrier::child_killed),
        ("child_killed_and_reaped_in_the_barrier", barrier::child_killed_and_reaped),
        ("k20_pid_recycled_in_the_barrier", barrier::k20_pid_recycled),
        ("k17_parent_killed_in_the_barrier", barrier::k17_parent_killed),
        ("k17_parent_killed_beside_a_copy_of_the_barrier", barrier::k17_parent_killed_with_copy),
        ("k17_parent_killed_at_any_moment", barrier::k17_parent_killed_at_any_moment),
    ])
}
