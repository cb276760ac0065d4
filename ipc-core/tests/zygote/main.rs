//! Zygotes: how they start, what their children see, and who survives whom.
//!
//! Each case runs in a process of its own (see `ipc_testkit::cases`). Zygotes made by `exec` are this
//! very program, turned aside before the `main` below. The numbers in the comments are those of the
//! catalogue of faults.

mod diverting;
mod dying;
mod preloading;
mod roles;
mod seeing;
mod spawning;
mod starting;
mod statuses;
mod tools;

use ipc_testkit::cases;

use self::statuses::before_6_15;

fn main() -> std::process::ExitCode {
    if let Some(code) = roles::play() {
        return code;
    }
    cases::run(&[
        ("by_fork_is_a_copy_of_the_moment", starting::by_fork),
        ("by_exec_is_clean", starting::by_exec),
        ("auto_forks_one_thread_and_executes_for_many", starting::auto),
        ("refusal_of_the_first_word_is_heard", starting::refusal_is_heard),
        ("descriptors_beyond_the_limit", starting::descriptors_beyond_the_limit),
        ("children_of_a_second_zygote_ask_for_its_id", starting::id_in_a_child),
        ("fork_with_threads_is_refused", starting::fork_with_threads),
        ("f05_eight_busy_threads", starting::f05_eight_busy_threads),
        ("f04_closed_standard_streams", starting::f04_closed_standard_streams),
        ("dropping_ends_the_zygote_alone", starting::dropping),
        ("dropping_beside_a_copy_of_the_socket", starting::dropping_beside_a_copy),
        ("thousand_children_by_fork", spawning::thousand_by_fork),
        ("thousand_children_by_exec", spawning::thousand_by_exec),
        ("descriptors_arrive_in_order", spawning::descriptors),
        ("bytes_arrive_up_to_the_limit", spawning::bytes),
        ("s06_statuses_are_exact", spawning::s06_statuses),
        ("output_is_printed_once", spawning::output),
        ("several_threads_spawn", spawning::several_threads),
        ("full_descriptor_table", spawning::full_descriptor_table),
        ("broken_requests_are_answered", spawning::broken_requests),
        ("function_of_an_unknown_module", spawning::unknown_module),
        ("child_without_its_word_ends_with_the_connection", spawning::unspoken_word),
        ("forked_copy_of_the_handle_is_refused", spawning::forked_copy),
        ("what_children_see_by_fork", seeing::by_fork),
        ("what_children_see_by_exec", seeing::by_exec),
        ("random_state_by_fork_is_shared", seeing::random_by_fork),
        ("random_state_by_exec_is_each_childs_own", seeing::random_by_exec),
        ("signals_before_the_entry_are_kept", dying::early_signals),
        ("interrupt_of_the_group_spares_the_zygote", dying::interrupted_group),
        ("k18_zygote_killed", dying::k18_zygote_killed),
        ("k18_zygote_killed_at_any_moment", dying::k18_at_any_moment),
        ("orphans_of_a_killed_zygote_are_reaped", dying::orphans_are_reaped),
        ("unwanted_children_are_reaped", dying::unwanted_children_are_reaped),
        ("orphans_are_reaped_before_6_15", || before_6_15(dying::orphans_are_reaped)),
        ("unwanted_children_are_reaped_before_6_15", || {
            before_6_15(dying::unwanted_children_are_reaped);
        }),
        ("k17_application_killed_at_any_moment", dying::k17_at_any_moment),
        ("p19_application_killed_by_fork", dying::p19_by_fork),
        ("p19_application_killed_by_exec", dying::p19_by_exec),
        ("p19_application_and_zygote_killed", dying::p19_both),
        ("p19_application_killed_beside_a_copy_of_the_socket", dying::p19_copy),
        ("p19_application_killed_beside_a_stopped_worker", dying::p19_stopped),
        ("statuses_before_6_15_are_exact", statuses::exact),
        ("core_flag_before_6_15", || before_6_15(statuses::core_flag)),
        ("every_way_to_wait", statuses::every_way_to_wait),
        ("every_way_to_wait_before_6_15", || before_6_15(statuses::every_way_to_wait)),
        ("waiting_in_a_storm_of_signals_before_6_15", || before_6_15(statuses::interrupted)),
        ("copied_handle_before_6_15", || before_6_15(statuses::copied_handle)),
        ("zygote_killed_after_its_child_before_6_15", || {
            before_6_15(statuses::zygote_killed_after)
        }),
        ("zygote_killed_before_its_child_before_6_15", || {
            before_6_15(statuses::zygote_killed_before);
        }),
        ("zygote_replaced_before_6_15", || before_6_15(statuses::zygote_replaced)),
        ("zygote_stopped_before_6_15", || before_6_15(statuses::zygote_stopped)),
        ("reaped_beside_a_slow_request_before_6_15", || {
            before_6_15(statuses::reaped_beside_a_slow_request);
        }),
        ("many_at_once_before_6_15", || before_6_15(statuses::many_at_once)),
        ("dropped_handles_before_6_15", || before_6_15(statuses::dropped_handles)),
        ("zygote_short_of_descriptors_before_6_15", || {
            before_6_15(statuses::zygote_short_of_descriptors);
        }),
        ("becoming_a_child_before_6_15", || before_6_15(statuses::becoming_a_child)),
        ("ten_thousand_cycles_before_6_15", || before_6_15(statuses::cycles)),
        ("thousand_children_before_6_15", || before_6_15(spawning::thousand_by_fork)),
        ("what_children_see_before_6_15", || before_6_15(seeing::by_fork)),
        ("early_signals_before_6_15", || before_6_15(dying::early_signals)),
        ("k18_before_6_15", || before_6_15(dying::k18_at_any_moment)),
        ("k17_before_6_15", || before_6_15(dying::k17_at_any_moment)),
        ("children_find_it_prepared", preloading::children_find_it_prepared),
        ("children_find_it_prepared_before_6_15", || {
            before_6_15(preloading::children_find_it_prepared);
        }),
        ("several_preloads_in_order", preloading::several_in_order),
        ("preload_longer_than_the_handshake", preloading::longer_than_the_handshake),
        ("failures_of_preloads_have_names", preloading::failures),
        ("restart_whose_preload_fails", preloading::restart_that_fails),
        ("whatever_a_preload_does", preloading::whatever_it_does),
        ("whatever_a_preload_does_before_6_15", || before_6_15(preloading::whatever_it_does)),
        ("preload_opens_a_library", preloading::libraries),
        ("too_many_preloads", preloading::too_many),
        ("application_killed_in_a_preload", preloading::application_killed_meanwhile),
        ("thread_that_started_the_zygote_ends", preloading::starter_thread_ends),
        ("stray_markers_do_nothing", diverting::stray_markers),
        ("stranger_cannot_make_a_zygote", diverting::stranger),
        ("program_that_may_not_ask_ends", diverting::sandboxed),
        ("main_runs_once", diverting::main_runs_once),
        ("a_librarys_copy_of_the_crate_does_not_divert", diverting::library_copy),
        ("explicit_loader_is_not_executed", diverting::explicit_loader),
    ])
}
