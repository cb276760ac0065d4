//! One producer, one consumer.

use crate::ours;
use crate::peers::{floor, kernel, rings};
use crate::subject::{Cpus, Family, Measure, Subject, Workload};

/// Streams of small messages, and round trips.
pub(super) fn family() -> Family {
    Family {
        name: "spsc",
        title: "One producer, one consumer",
        workloads: vec![
            stream::<1>("8 B", floor::slot_word_ring()),
            stream::<7>("56 B", floor::slot_flag_ring::<7>()),
            stream::<8>("64 B", floor::slot_flag_ring::<8>()),
            round_trip::<7>("round trip 56 B, polling"),
            round_trip::<8>("round trip 64 B, polling"),
        ],
    }
}

fn stream<const N: usize>(name: &'static str, by_hand: Subject) -> Workload
where
    [u64; N]: bytemuck::Pod,
{
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![ours::ring::<N>()],
        peers: vec![
            by_hand,
            rings::rtrb_push_pop::<N>(),
            rings::rtrb_chunks::<N>(),
            rings::array_queue::<N>(),
            rings::crossbeam_channel::<N>(),
            kernel::pipe_stream::<N>(),
            kernel::unix_stream::<N>(),
        ],
    }
}

fn round_trip<const N: usize>(name: &'static str) -> Workload
where
    [u64; N]: bytemuck::Pod,
{
    Workload {
        name,
        measure: Measure::RoundTrip,
        cpus: Cpus::Two,
        leads: vec![ours::ring_round_trip::<N>()],
        peers: vec![
            floor::two_line_ping_pong(),
            rings::rtrb_round_trip::<N>(),
            rings::array_queue_round_trip::<N>(),
            rings::crossbeam_channel_round_trip::<N>(),
            kernel::pipe_round_trip::<N>(),
        ],
    }
}
