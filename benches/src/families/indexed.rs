//! Contiguous slots and two positions: batches, and messages written and read where they lie.

use crate::ours::{indexed, stamped};
use crate::peers::{index_ring, kernel, rings};
use crate::streams::slots;
use crate::subject::{Cpus, Family, Measure, Subject, Workload};

/// Streams of four sizes, and rings of several.
pub(super) fn family() -> Family {
    Family {
        name: "indexed",
        title: "One producer, one consumer, in batches and in place",
        workloads: vec![
            stream("8 B", of_small::<1>()),
            stream("64 B", of_small::<8>()),
            stream("1 KiB", of_small::<128>()),
            stream("64 KiB", of_large::<8192>()),
            of_ring::<8>("64 B, ring of 16 KiB", 256),
            of_ring::<8>("64 B, ring of 1 MiB", 16_384),
            of_ring::<8192>("64 KiB, ring of 1 MiB", 16),
            of_ring::<8192>("64 KiB, ring of 16 MiB", 256),
            untrusted::<8>("64 B, without trust"),
            untrusted::<128>("1 KiB, without trust"),
        ],
    }
}

/// Leads and peers.
type Sides = (Vec<Subject>, Vec<Subject>);

fn stream(name: &'static str, (leads, peers): Sides) -> Workload {
    Workload { name, measure: Measure::Stream, cpus: Cpus::Two, leads, peers }
}

fn of_small<const N: usize>() -> Sides {
    let slots = slots::<N>();
    let leads = vec![
        indexed::push_pop::<N>(slots),
        indexed::copied::<N>(slots),
        indexed::in_place::<N>(slots),
    ];
    let peers = vec![
        index_ring::one::<N>(slots),
        index_ring::batches::<N>(slots),
        stamped::push_pop::<N>(),
        rings::rtrb_push_pop::<N>(),
        rings::rtrb_chunks::<N>(),
    ];
    (leads, peers)
}

/// Messages so large that nobody copies them for fun.
fn of_large<const N: usize>() -> Sides {
    let slots = slots::<N>();
    let leads = vec![
        indexed::push_pop::<N>(slots),
        indexed::copied::<N>(slots),
        indexed::in_place::<N>(slots),
    ];
    let peers = vec![
        index_ring::one::<N>(slots),
        stamped::copied::<N>(),
        kernel::pipe_stream::<N>(),
        kernel::unix_stream::<N>(),
    ];
    (leads, peers)
}

fn of_ring<const N: usize>(name: &'static str, slots: usize) -> Workload {
    let by_hand =
        if N > 128 { index_ring::one::<N>(slots) } else { index_ring::batches::<N>(slots) };
    stream(name, (vec![indexed::in_place::<N>(slots)], vec![by_hand]))
}

/// What it costs to believe nothing.
fn untrusted<const N: usize>(name: &'static str) -> Workload {
    let slots = slots::<N>();
    stream(name, (vec![indexed::untrusted::<N>(slots)], vec![indexed::push_pop::<N>(slots)]))
}
