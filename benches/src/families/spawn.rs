//! Processes, and messages between them.

use crate::peers::{python, spawners};
use crate::subject::{Cpus, Family, Measure, Workload};

/// Programs, functions in processes of their own, and connections.
pub(super) fn family() -> Family {
    Family {
        name: "spawn",
        title: "Processes and connections",
        workloads: vec![
            Workload {
                name: "program, until the call returns",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: spawners::ours(spawners::Until::Return),
                peers: vec![spawners::posix_spawn(spawners::Until::Return)],
            },
            Workload {
                name: "program, until it has ended",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: spawners::ours(spawners::Until::End),
                peers: vec![
                    spawners::command(spawners::Until::End),
                    spawners::posix_spawn(spawners::Until::End),
                ],
            },
            Workload {
                name: "function in a process, until it has ended",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: spawners::functions(),
                peers: python::processes(),
            },
            round_trip("round trip 64 B, two cpus", Cpus::Two),
            round_trip("round trip 64 B, one cpu", Cpus::One),
        ],
    }
}

fn round_trip(name: &'static str, cpus: Cpus) -> Workload {
    Workload {
        name,
        measure: Measure::RoundTrip,
        cpus,
        leads: vec![spawners::connection_round_trip()],
        peers: vec![spawners::socket_round_trip()],
    }
}
