//! Pools whose processes are killed, stopped and orphaned.
//!
//! Each case runs in a process of its own, single-threaded at its start, and must leave no descriptor and no
//! process behind: see `ipc_testkit::cases`, which is the watchdog as well. Numbers are those of the catalogue of faults.

mod damage;
mod deadly;
mod deaths;
mod ends;
mod forks;
mod helper;
mod refused;
mod values;

use ipc_testkit::cases;

fn main() -> std::process::ExitCode {
    cases::run(&[
        ("p01_death_matrix", deaths::matrix),
        ("thousand_tickets_with_workers_killed_in_every_state", deaths::thousand_tickets),
        ("killed_worker_is_named_and_replaced", deaths::named_and_replaced),
        ("killed_task_is_run_again", deaths::run_again),
        ("killed_between_parts", deaths::between_parts),
        ("healthy_neighbour_is_untouched", deaths::healthy_neighbour),
        ("p08_all_killed_at_once_with_the_zygote", deaths::all_at_once),
        ("p08_crash_loop_ends_in_broken", deaths::crash_loop),
        ("p21_order_is_kept_under_kills", deaths::order_is_kept),
        ("p20_stopped_is_not_dead", deaths::stopped),
        ("p10_undecodable_values", values::undecodable),
        ("p11_panics", values::panics),
        ("sizes_around_every_bound", values::sizes),
        ("too_large", values::too_large),
        ("bad_input", values::bad_input),
        ("stopped_helper_keeps_nobody_waiting", helper::stopped),
        ("helper_killed_when_it_owes_a_worker", helper::killed_when_stopped),
        ("refused_thread_leaves_no_worker", refused::supervisors_thread),
        ("forked_copies_are_refused", forks::copies_are_refused),
        ("call_that_says_it_is_longer", damage::longer_than_it_is),
        ("join_before_taking_large_results", ends::join_first),
        ("p14_ends_with_a_full_queue", ends::full_queue),
        ("closed_pool_replaces_no_idle_worker", ends::closed_with_one_busy),
        ("closed_pool_runs_a_task_again", ends::run_again_after_close),
        ("broken_pool_is_joined", ends::joined_when_broken),
        ("p16_cancelled_before_it_began", ends::cancelled),
        ("p13_nested_pools", ends::nested),
        ("p19_application_killed", ends::application_killed),
        ("interrupted_group", ends::interrupted_group),
        ("fifty_pools_leave_nothing", ends::fifty_pools),
    ])
}
