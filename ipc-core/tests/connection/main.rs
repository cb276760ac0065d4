//! Messages arrive whole or are named as torn, whoever is killed, and leave nothing behind.
//!
//! Each case runs in a process of its own (see `cases`), which checks at its end that the number of
//! open descriptors is what it was. The numbers in the names are those of the catalogue of faults.

extern crate alloc;

mod anything;
mod bounds;
mod dying;
mod hostile;
mod messages;
#[path = "../model/mod.rs"]
mod model;
mod parcels;
mod tools;

use std::process::ExitCode;

use ipc_testkit::cases;

fn main() -> ExitCode {
    cases::run(&[
        ("messages_of_every_length", messages::every_length),
        ("last_message_comes_before_the_end", messages::last_message_before_the_end),
        ("message_of_100_mib", messages::a_hundred_mib),
        ("descriptors_arrive_in_order", messages::descriptors),
        ("memory_is_used_again", messages::memory_is_used_again),
        ("time_out_keeps_what_has_come", messages::time_out_keeps_what_has_come),
        ("time_out_of_a_sender", messages::time_out_of_a_sender),
        ("small_socket_buffers", messages::small_buffers),
        ("non_blocking_ends_wait_all_the_same", messages::non_blocking_ends),
        ("s01_signals_change_nothing", messages::s01_signals),
        ("several_senders_and_receivers", messages::several_of_both),
        ("long_messages_of_two_senders_are_not_mixed", messages::two_long_senders),
        ("wait_any_finds_each", messages::wait_any_finds_each),
        ("ten_thousand_connections_leave_nothing", messages::ten_thousand),
        ("s09_sender_to_nobody", dying::s09_sender_to_nobody),
        ("what_the_dead_said_is_received", dying::what_the_dead_said),
        ("sender_killed_everywhere_in_a_message", dying::sender_killed),
        ("sender_killed_beside_another", dying::sender_killed_beside_another),
        ("event_loop_wakes_behind_a_torn_message", dying::event_loop_behind_a_torn_message),
        ("receiver_killed_in_a_message", dying::receiver_killed),
        ("packets_cut_at_every_byte", hostile::cut_at_every_byte),
        ("length_of_two_gib", hostile::two_gib),
        ("every_header_bit_changed", hostile::header_bits),
        ("f11_receiver_short_of_descriptors", hostile::f11_short_of_descriptors),
        ("f10_descriptors_where_none_belong", hostile::f10_misplaced_descriptors),
        ("descriptors_that_are_no_end_are_refused", hostile::no_end),
        ("packets_of_no_message_without_end", hostile::endless_strays),
        ("nonsense_behind_descriptors", hostile::nonsense_behind_descriptors),
        ("halves_of_two_connections", parcels::swapped_halves),
        ("end_with_a_message_in_part_does_not_travel", parcels::received_in_part),
        ("handles_travel_over_a_connection", parcels::handles_travel),
        ("f12_connection_over_itself", parcels::f12_connection_over_itself),
        ("a_place_is_taken_once", parcels::a_place_is_taken_once),
        ("handle_outside_of_a_parcel", parcels::outside),
        ("f11_packing_short_of_descriptors", parcels::f11_short_of_descriptors),
        ("parcel_inside_a_parcel", parcels::nested),
        ("panic_while_packing", parcels::panicking),
        ("depth_is_bounded_in_every_shape", bounds::depth),
        ("depth_fits_into_a_small_stack", bounds::small_stack),
        ("deep_values_of_a_hostile_peer", bounds::hostile_depth),
        ("lengths_of_a_hostile_peer", bounds::hostile_lengths),
        ("empty_elements_are_counted", bounds::empty_elements),
        ("parcels_of_anything", anything::corpus),
        ("parcels_near_to_it", anything::fixed_seeds),
        ("planted_bug_in_a_parcel_is_found", anything::planted_bug),
    ])
}
