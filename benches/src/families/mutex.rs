//! Mutual exclusion.

use std::sync::Mutex;

use crate::peers::floor;
use crate::peers::locks::{Section, alone, contended, handed_over};
use crate::peers::pthread::{INHERIT, NORMAL, PthreadMutex, ROBUST};
use crate::peers::{kernel, python};
use crate::subject::{Cpus, Family, Measure, Workload};
use crate::turns::Handover;

type Ours = ipc_sync::Mutex<u64>;
type Std = Mutex<u64>;
type ParkingLot = parking_lot::Mutex<u64>;
type Normal = PthreadMutex<NORMAL>;
type Robust = PthreadMutex<ROBUST>;
type Inherit = PthreadMutex<INHERIT>;

/// Pairs alone, contention, and hand-over awake and asleep.
pub(super) fn family() -> Family {
    Family {
        name: "mutex",
        title: "Mutual exclusion",
        workloads: vec![
            Workload {
                name: "uncontended pair",
                measure: Measure::Alone,
                cpus: Cpus::One,
                leads: vec![alone::<Ours>()],
                peers: vec![
                    alone::<Std>(),
                    alone::<ParkingLot>(),
                    alone::<Normal>(),
                    alone::<Robust>(),
                    alone::<Inherit>(),
                    kernel::flock(),
                ]
                .into_iter()
                .chain(python::lock())
                .collect(),
            },
            crowd("contended, empty section", Section { inside: 0, outside: 0 }),
            crowd("contended, 100 ns in, 400 ns out", Section { inside: 100, outside: 400 }),
            relay("hand-over, awake", Cpus::Two, Handover::AtOnce),
            relay("hand-over, asleep", Cpus::Two, Handover::Asleep),
            relay("hand-over, one cpu", Cpus::One, Handover::AtOnce),
        ],
    }
}

fn crowd(name: &'static str, section: Section) -> Workload {
    Workload {
        name,
        measure: Measure::Contended,
        cpus: Cpus::Two,
        leads: vec![contended::<Ours>(section)],
        peers: vec![
            contended::<Std>(section),
            contended::<ParkingLot>(section),
            contended::<Normal>(section),
            contended::<Robust>(section),
            contended::<Inherit>(section),
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
        leads: vec![handed_over::<Ours>(handover)],
        peers: vec![
            floor,
            handed_over::<Std>(handover),
            handed_over::<ParkingLot>(handover),
            handed_over::<Normal>(handover),
            handed_over::<Robust>(handover),
        ],
    }
}
