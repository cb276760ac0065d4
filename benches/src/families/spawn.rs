//! Processes, and messages between them.

use crate::peers::parents::in_parent;
use crate::peers::spawners::Until;
use crate::peers::{attributes, python, spawners};
use crate::subject::{Cpus, Family, Measure, Workload};
use crate::targets;

/// What a large parent has touched.
const GIB: usize = 1 << 30;

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
                leads: spawners::ours(Until::Return)
                    .into_iter()
                    .chain([spawners::spawn_beside_a_thread(Until::Return)])
                    .collect(),
                peers: vec![spawners::posix_spawn(Until::Return)],
            },
            Workload {
                name: "program, until it has ended",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: spawners::ours(Until::End),
                peers: vec![spawners::command(Until::End), spawners::posix_spawn(Until::End)],
            },
            Workload {
                name: "program, from a parent of 1 GiB",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: vec![in_parent(GIB, spawners::spawn(targets::SPAWN, Until::Return))],
                peers: vec![in_parent(
                    0,
                    spawners::spawn("ipc-core Spawn, small parent", Until::Return),
                )],
            },
            Workload {
                name: "program with attributes, from a parent of 1 GiB",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: vec![in_parent(GIB, attributes::ours())],
                peers: vec![in_parent(GIB, attributes::command())],
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
