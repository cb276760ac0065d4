//! Permits.

use ipc_sync::Semaphore;

use crate::peers::floor;
use crate::peers::permits::{alone, to_and_fro};
use crate::peers::posix::PosixSemaphore;
use crate::subject::{Cpus, Family, Measure, Workload};
use crate::turns::Handover;

/// Pairs alone, and a permit that goes to and fro, awake and asleep.
pub(super) fn family() -> Family {
    Family {
        name: "semaphore",
        title: "Permits",
        workloads: vec![
            Workload {
                name: "uncontended pair",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: vec![alone::<Semaphore>()],
                peers: vec![alone::<PosixSemaphore>()],
            },
            relay("to and fro, awake", Cpus::Two, Handover::AtOnce),
            relay("to and fro, asleep", Cpus::Two, Handover::Asleep),
            relay("to and fro, one cpu", Cpus::One, Handover::AtOnce),
        ],
    }
}

fn relay(name: &'static str, cpus: Cpus, handover: Handover) -> Workload {
    let awake = cpus == Cpus::Two && handover == Handover::AtOnce;
    let floor = if awake { floor::two_line_ping_pong() } else { floor::bare_futex(handover) };
    Workload {
        name,
        measure: Measure::RoundTrip,
        cpus,
        leads: vec![to_and_fro::<Semaphore>(handover)],
        peers: vec![floor, to_and_fro::<PosixSemaphore>(handover)],
    }
}
