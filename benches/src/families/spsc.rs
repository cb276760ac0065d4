//! One producer, one consumer.

use crossbeam_queue::ArrayQueue;

use crate::ours::stamped;
use crate::payload::Message;
use crate::peers::channels::{Crossbeam, Kanal};
use crate::peers::mq::PosixMq;
use crate::peers::{floor, index_ring, kernel, rings};
use crate::queue::{one_way, there_and_back};
use crate::streams::slots;
use crate::subject::{Cpus, Family, Measure, Subject, Workload};
use crate::turns::Handover;

/// Streams of small messages, and round trips.
pub(super) fn family() -> Family {
    Family {
        name: "spsc",
        title: "One producer, one consumer",
        workloads: vec![
            stream::<1>("8 B", floor::slot_word_ring()),
            stream::<7>("56 B", floor::slot_flag_ring::<7>()),
            stream::<8>("64 B", floor::slot_flag_ring::<8>()),
            stream::<128>("1 KiB", floor::slot_flag_ring::<128>()),
            large::<8192>("64 KiB"),
            batches::<1>("8 B, in batches of 64"),
            batches::<7>("56 B, in batches of 64"),
            untrusted::<7>("56 B, without trust"),
            untrusted::<128>("1 KiB, without trust"),
            round_trip::<7>("round trip 56 B, polling"),
            round_trip::<8>("round trip 64 B, polling"),
        ],
    }
}

fn stream<const N: usize>(name: &'static str, by_hand: Subject) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![stamped::push_pop::<N>()],
        peers: vec![
            by_hand,
            rings::rtrb_push_pop::<N>(),
            rings::rtrb_chunks::<N>(),
            rings::ringbuf_push_pop::<N>(),
            rings::disruptor_publish::<N>(),
            rings::disruptor_batches::<N>(),
            one_way::<N, ArrayQueue<Message<N>>>(),
            one_way::<N, Crossbeam<N>>(),
            one_way::<N, Kanal<N>>(),
            kernel::pipe_stream::<N>(),
            kernel::unix_stream::<N>(),
            one_way::<N, PosixMq>(),
        ],
    }
}

/// Messages so large that it counts how often they are copied.
fn large<const N: usize>(name: &'static str) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![stamped::copied::<N>(), stamped::push_pop::<N>()],
        peers: vec![
            index_ring::one::<N>(slots::<N>()),
            rings::rtrb_push_pop::<N>(),
            kernel::pipe_stream::<N>(),
            kernel::unix_stream::<N>(),
        ],
    }
}

/// 64 messages per call.
fn batches<const N: usize>(name: &'static str) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![stamped::copied::<N>()],
        peers: vec![
            stamped::push_pop::<N>(),
            rings::rtrb_chunks::<N>(),
            rings::ringbuf_slices::<N>(),
            rings::disruptor_batches::<N>(),
        ],
    }
}

/// What it costs to believe nothing.
fn untrusted<const N: usize>(name: &'static str) -> Workload {
    Workload {
        name,
        measure: Measure::Stream,
        cpus: Cpus::Two,
        leads: vec![stamped::untrusted::<N>()],
        peers: vec![stamped::push_pop::<N>()],
    }
}

fn round_trip<const N: usize>(name: &'static str) -> Workload {
    Workload {
        name,
        measure: Measure::RoundTrip,
        cpus: Cpus::Two,
        leads: vec![stamped::there_and_back::<N>()],
        peers: vec![
            floor::two_line_ping_pong(),
            floor::slot_flag_round_trip::<N>(),
            rings::rtrb_round_trip::<N>(),
            rings::ringbuf_round_trip::<N>(),
            there_and_back::<N, ArrayQueue<Message<N>>>(Handover::AtOnce),
            there_and_back::<N, Crossbeam<N>>(Handover::AtOnce),
            there_and_back::<N, Kanal<N>>(Handover::AtOnce),
            kernel::pipe_round_trip::<N>(Handover::AtOnce),
            there_and_back::<N, PosixMq>(Handover::AtOnce),
        ],
    }
}
