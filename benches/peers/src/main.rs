//! `compare` with the peers that take long to compile; see `benches/README.md`.

mod channel;
mod iceoryx;
mod shmem;

use std::process::ExitCode;

use ipc_benches::cli::Program;
use ipc_benches::peers::python;
use ipc_benches::subject::{Subject, Workload};

fn main() -> ExitCode {
    let mut program = Program::new();
    program.families.retain(|family| ["spsc", "indexed", "bytes"].contains(&family.name));
    for workload in program.families.iter_mut().flat_map(|family| &mut family.workloads) {
        let more = peers(workload);
        workload.peers.extend(more);
    }
    program.run(std::env::args().skip(1))
}

/// The peers that a workload gets beside those it has.
fn peers(workload: &Workload) -> Vec<Subject> {
    match workload.name {
        "8 B" => stream::<1>(),
        "56 B" => stream::<7>(),
        "64 B" => stream::<8>(),
        "1 KiB" => stream::<128>(),
        "64 KiB" => stream::<8192>(),
        "round trip 56 B, polling" => round_trip::<7>(),
        "round trip 64 B, polling" => round_trip::<8>(),
        _ => Vec::new(),
    }
}

fn stream<const N: usize>() -> Vec<Subject> {
    let mut peers = vec![
        iceoryx::publish_subscribe::<N>(),
        shmem::one::<N>(),
        shmem::batches::<N>(),
        channel::bytes::<N>(),
    ];
    peers.extend(python::streams(8 * N));
    peers
}

fn round_trip<const N: usize>() -> Vec<Subject> {
    vec![iceoryx::round_trip::<N>(), channel::round_trip::<N>()]
}
