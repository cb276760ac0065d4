//! `compare` with the peers that take long to compile; see `benches/README.md`.

#[cfg(feature = "boost")]
mod boost;
mod channel;
mod iceoryx;
mod shmem;

use std::process::ExitCode;

use ipc_benches::cli::Program;
use ipc_benches::peers::python;
use ipc_benches::subject::Subject;

fn main() -> ExitCode {
    let mut program = Program::new();
    let locks = ["mutex", "rwlock", "semaphore"].iter().filter(|_| cfg!(feature = "boost"));
    let names: Vec<_> = ["spsc", "indexed", "bytes"].iter().chain(locks).collect();
    program.families.retain(|family| names.contains(&&family.name));
    for family in &mut program.families {
        // What copies through the kernel stands beside the ring of records; in place it has no match.
        let all = family.name != "indexed";
        for workload in &mut family.workloads {
            workload.peers.extend(peers(workload.name, all));
            #[cfg(feature = "boost")]
            workload.peers.extend(boost::peers(family.name, workload.name));
        }
    }
    program.run(std::env::args().skip(1))
}

/// The peers that a workload gets beside those it has.
fn peers(workload: &str, all: bool) -> Vec<Subject> {
    match workload {
        "8 B" => stream::<1>(all),
        "56 B" => stream::<7>(all),
        "64 B" => stream::<8>(all),
        "1 KiB" => stream::<128>(all),
        "64 KiB" => stream::<8192>(all),
        "round trip 56 B, polling" => round_trip::<7>(),
        "round trip 64 B, polling" => round_trip::<8>(),
        _ => Vec::new(),
    }
}

fn stream<const N: usize>(all: bool) -> Vec<Subject> {
    let mut peers =
        vec![iceoryx::publish_subscribe::<N>(), shmem::one::<N>(), shmem::batches::<N>()];
    if all {
        peers.push(channel::bytes::<N>());
        peers.extend(python::streams(8 * N));
    }
    peers
}

fn round_trip<const N: usize>() -> Vec<Subject> {
    vec![iceoryx::round_trip::<N>(), channel::round_trip::<N>()]
}
