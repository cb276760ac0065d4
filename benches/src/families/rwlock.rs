//! Many readers, or one writer.

use crate::peers::posix::PosixRwLock;
use crate::peers::readers::{both_reading, reading, writing};
use crate::subject::{Cpus, Family, Measure, Subject, Workload};

type Ours = ipc_sync::RwLock<u64, 16>;
type Std = std::sync::RwLock<u64>;
type ParkingLot = parking_lot::RwLock<u64>;

/// Pairs alone, and two who read at once.
pub(super) fn family() -> Family {
    let alone = |name, lead, peers| Workload {
        name,
        measure: Measure::Alone,
        cpus: Cpus::One,
        leads: vec![lead],
        peers,
    };
    let peers = |subjects: [Subject; 3]| subjects.into_iter().collect();
    Family {
        name: "rwlock",
        title: "Readers and writers",
        workloads: vec![
            alone(
                "uncontended read pair",
                reading::<Ours>(),
                peers([reading::<PosixRwLock>(), reading::<Std>(), reading::<ParkingLot>()]),
            ),
            alone(
                "uncontended write pair",
                writing::<Ours>(),
                peers([writing::<PosixRwLock>(), writing::<Std>(), writing::<ParkingLot>()]),
            ),
            Workload {
                name: "two read",
                measure: Measure::Contended,
                cpus: Cpus::Two,
                leads: vec![both_reading::<Ours>()],
                peers: vec![
                    both_reading::<PosixRwLock>(),
                    both_reading::<Std>(),
                    both_reading::<ParkingLot>(),
                ],
            },
        ],
    }
}
