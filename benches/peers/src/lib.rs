//! The benchmarks' peers that take long to compile; see `benches/README.md`.

#[cfg(feature = "boost")]
mod boost;
mod channel;
mod iceoryx;
#[cfg(feature = "boost")]
mod message_queue;
mod shmem;

use ipc_benches::peers::python;
use ipc_benches::subject::{Family, Subject};

/// The families of rings, and with Boost those of locks, with these peers beside the others.
#[must_use]
pub fn families() -> Vec<Family> {
    let mut families = ipc_benches::families::all();
    let locks = ["mutex", "rwlock", "semaphore"].iter().filter(|_| cfg!(feature = "boost"));
    let names: Vec<_> = ["spsc", "indexed", "bytes", "mpmc"].iter().chain(locks).collect();
    families.retain(|family| names.contains(&&family.name));
    for family in &mut families {
        // What copies through the kernel stands beside the ring of records; in place it has no match.
        let all = family.name != "indexed";
        for workload in &mut family.workloads {
            workload.peers.extend(peers(workload.name, all));
            #[cfg(feature = "boost")]
            workload.peers.extend(match family.name {
                "mpmc" => message_queue::peers(workload.name),
                name => boost::peers(name, workload.name),
            });
        }
    }
    families
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
