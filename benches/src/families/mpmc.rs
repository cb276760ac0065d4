//! Many producers, many consumers.

use crossbeam_queue::ArrayQueue;

use crate::ours::mpmc::Polled;
use crate::ours::waiting::Many;
use crate::payload::Message;
use crate::peers::channels::{Crossbeam, Flume, Kanal};
use crate::peers::mq::PosixMq;
use crate::peers::vyukov::Vyukov;
use crate::queue::{Queue, both, crews, one_way, one_way_in};
use crate::subject::{Cpus, Family, Measure, Subject, Workload};

/// Streams between two, four and eight; the number of those who only attend; small and large rings.
pub(super) fn family() -> Family {
    Family {
        name: "mpmc",
        title: "Many producers, many consumers",
        workloads: vec![
            stream::<7>("1p1c 56 B"),
            stream::<8>("1p1c 64 B"),
            Workload {
                name: "2p2c 64 B, each does both",
                measure: Measure::Contended,
                cpus: Cpus::Two,
                leads: vec![both::<8, Polled<8>>()],
                peers: peers::<8>(Both),
            },
            crowd("2p2c 64 B, two on a processor", Cpus::Two, 2),
            crowd("4p4c 64 B, unpinned", Cpus::Unpinned, 4),
            Workload {
                name: "1p1c 64 B, 62 of each attend",
                measure: Measure::Stream,
                cpus: Cpus::Two,
                leads: vec![one_way::<8, Polled<8, 62>>()],
                peers: vec![one_way::<8, Polled<8>>()],
            },
            capacity("1p1c 64 B, 2 slots", 2),
            capacity("1p1c 64 B, 64 slots", 64),
            capacity("1p1c 64 B, 2^15 slots", 1 << 15),
            capacity("1p1c 64 B, 2^20 slots", 1 << 20),
        ],
    }
}

/// What is done with each peer.
trait Task {
    fn of<const N: usize, Q: Queue<N>>(&self) -> Subject;
}

/// One pushes, one pops.
struct OneWay;

/// Each pushes one and pops one.
struct Both;

/// So many push, and as many pop.
struct Crews(usize);

impl Task for OneWay {
    fn of<const N: usize, Q: Queue<N>>(&self) -> Subject {
        one_way::<N, Q>()
    }
}

impl Task for Both {
    fn of<const N: usize, Q: Queue<N>>(&self) -> Subject {
        both::<N, Q>()
    }
}

impl Task for Crews {
    fn of<const N: usize, Q: Queue<N>>(&self) -> Subject {
        crews::<N, Q>(self.0)
    }
}

fn peers<const N: usize>(task: impl Task) -> Vec<Subject> {
    vec![
        task.of::<N, Vyukov<N, false>>(),
        task.of::<N, Vyukov<N, true>>(),
        task.of::<N, ArrayQueue<Message<N>>>(),
        task.of::<N, Crossbeam<N>>(),
        task.of::<N, Kanal<N>>(),
        task.of::<N, Flume<N>>(),
        task.of::<N, PosixMq>(),
    ]
}

fn stream<const N: usize>(name: &'static str) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![one_way::<N, Polled<N>>()],
        peers: peers::<N>(OneWay),
    }
}

/// So many on each side that they take turns on their processors.
fn crowd(name: &'static str, cpus: Cpus, each: usize) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus,
        leads: vec![crews::<8, Polled<8>>(each), crews::<8, Many<8>>(each)],
        peers: peers::<8>(Crews(each)),
    }
}

fn capacity(name: &'static str, slots: usize) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![one_way_in::<8, Polled<8>>(slots)],
        peers: vec![
            one_way_in::<8, Vyukov<8, false>>(slots),
            one_way_in::<8, ArrayQueue<Message<8>>>(slots),
        ],
    }
}
