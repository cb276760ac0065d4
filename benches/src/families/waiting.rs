//! The calls of the rings that wait: what they cost where nobody has to, and where both sides sleep.

use crate::ours::{bytes, indexed, stamped, waiting};
use crate::peers::channels::Crossbeam;
use crate::peers::mq::PosixMq;
use crate::peers::{floor, kernel, rings};
use crate::queue::{one_way, there_and_back};
use crate::streams::slots;
use crate::subject::{Cpus, Family, Measure, Subject, Workload};
use crate::turns::Handover;

/// Streams beside those that poll; round trips awake, asleep and on one processor; and both where the scheduler decides.
pub(super) fn family() -> Family {
    Family {
        name: "waiting",
        title: "Waiting",
        workloads: vec![
            price("56 B", one_way::<7, waiting::Stamped<7>>(), stamped::push_pop::<7>()),
            price(
                "64 B, contiguous slots",
                one_way::<8, waiting::Indexed<8>>(),
                indexed::push_pop::<8>(slots::<8>()),
            ),
            price("64 B, records", one_way::<8, waiting::Bytes>(), bytes::copied::<8>()),
            Workload {
                name: "round trip 64 B, awake",
                measure: Measure::RoundTrip,
                cpus: Cpus::Two,
                leads: waiting::round_trips::<8>(Handover::AtOnce),
                peers: vec![
                    floor::two_line_ping_pong(),
                    stamped::there_and_back::<8>(),
                    there_and_back::<8, Crossbeam<8>>(Handover::AtOnce),
                    kernel::pipe_round_trip::<8>(Handover::AtOnce),
                    kernel::eventfd_round_trip::<8>(Handover::AtOnce),
                ],
            },
            asleep("round trip 64 B, asleep", Cpus::Two, Handover::Asleep),
            asleep("round trip 64 B, one cpu", Cpus::One, Handover::AtOnce),
            stream("56 B, unpinned", Cpus::Unpinned),
            round_trip("round trip 64 B, unpinned", Cpus::Unpinned),
            stream("56 B, oversubscribed", Cpus::Oversubscribed),
            round_trip("round trip 64 B, oversubscribed", Cpus::Oversubscribed),
        ],
    }
}

/// What it costs to be ready to wait, while nobody does.
fn price(name: &'static str, waits: Subject, polls: Subject) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![waits],
        peers: vec![polls],
    }
}

/// Each hop wakes a sleeper.
fn asleep(name: &'static str, cpus: Cpus, handover: Handover) -> Workload {
    Workload {
        name,
        measure: Measure::RoundTrip,
        cpus,
        leads: waiting::round_trips::<8>(handover),
        peers: vec![
            floor::bare_futex(handover),
            floor::bare_futex_and_barrier(handover),
            kernel::eventfd_round_trip::<8>(handover),
            kernel::pipe_round_trip::<8>(handover),
            there_and_back::<8, PosixMq>(handover),
        ],
    }
}

fn stream(name: &'static str, cpus: Cpus) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus,
        leads: vec![one_way::<7, waiting::Stamped<7>>(), stamped::push_pop::<7>()],
        peers: vec![
            rings::rtrb_push_pop::<7>(),
            one_way::<7, Crossbeam<7>>(),
            kernel::pipe_stream::<7>(),
        ],
    }
}

/// Who polls here keeps the other side from running; one such peer shows it.
fn round_trip(name: &'static str, cpus: Cpus) -> Workload {
    let handover = Handover::AtOnce;
    Workload {
        name,
        measure: Measure::RoundTrip,
        cpus,
        leads: vec![there_and_back::<8, waiting::Stamped<8>>(handover)],
        peers: vec![
            rings::rtrb_round_trip::<8>(),
            there_and_back::<8, Crossbeam<8>>(handover),
            kernel::pipe_round_trip::<8>(handover),
        ],
    }
}
