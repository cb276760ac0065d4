//! Records of bytes.

use crate::ours::bytes;
use crate::peers::mq::PosixMq;
use crate::peers::{index_ring, kernel, rings};
use crate::queue::one_way;
use crate::streams::slots;
use crate::subject::{Cpus, Family, Measure, Subject, Workload};

/// Streams of records of three sizes.
pub(super) fn family() -> Family {
    Family {
        name: "bytes",
        title: "Records of bytes",
        workloads: vec![
            stream::<8>("64 B", small::<8>()),
            stream::<128>("1 KiB", small::<128>()),
            stream::<8192>("64 KiB", Vec::new()),
            untrusted::<8>("64 B, without trust"),
            untrusted::<8192>("64 KiB, without trust"),
        ],
    }
}

fn stream<const N: usize>(name: &'static str, more: Vec<Subject>) -> Workload {
    let mut peers = vec![index_ring::one::<N>(slots::<N>())];
    peers.extend(more);
    peers.extend([kernel::pipe_stream::<N>(), kernel::unix_stream::<N>()]);
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![bytes::in_place::<N>(), bytes::batches::<N>(), bytes::copied::<N>()],
        peers,
    }
}

/// What nobody does with messages of 64 KiB.
fn small<const N: usize>() -> Vec<Subject> {
    vec![index_ring::batches::<N>(slots::<N>()), rings::rtrb_chunks::<N>(), one_way::<N, PosixMq>()]
}

/// What it costs to believe nothing.
fn untrusted<const N: usize>(name: &'static str) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![bytes::untrusted::<N>()],
        peers: vec![bytes::copied::<N>()],
    }
}
