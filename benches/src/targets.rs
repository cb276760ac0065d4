//! What ours must reach: one table, one sentence each.
//!
//! A target speaks of the median of the pairwise ratios in the near placement (or on one processor,
//! where only one takes part). `compare --check` judges them. A target whose subject is not in its
//! family is *not in this run*, which is neither a failure nor a success: some peers are in a package
//! of their own, and some need a program that is not on every machine.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::report::{Row, row_name};
use crate::subject::Family;

/// Ours, in the family `spsc`: one message at a time.
pub const RING: &str = "ipc-shm push/pop";
/// Ours, in the family `spsc`: many messages per call.
pub const RING_SLICES: &str = "ipc-shm slices of 64";
/// Ours, in the family `spsc`: one large message per call, not by value.
pub const RING_SLICE: &str = "ipc-shm push_slice/pop_slice";
/// Ours, in the family `spsc`: between two that do not trust each other.
pub const RING_UNTRUSTED: &str = "ipc-shm push/pop, untrusted";
/// Ours, in the family `indexed`: one message at a time.
pub const INDEXED: &str = "ipc-shm indexed push/pop";
/// Ours, in the family `indexed`: many messages per call, copied.
pub const INDEXED_SLICES: &str = "ipc-shm indexed slices of 64";
/// Ours, in the family `indexed`: one large message per call, not by value.
pub const INDEXED_SLICE: &str = "ipc-shm indexed push_slice/pop_slice";
/// Ours, in the family `indexed`: written and read where they lie.
pub const INDEXED_LOAN: &str = "ipc-shm indexed reserve/peek";
/// Ours, in the family `indexed`: between two that do not trust each other.
pub const INDEXED_UNTRUSTED: &str = "ipc-shm indexed push/pop, untrusted";
/// Ours, in the family `bytes`: records, written and read where they lie.
pub const BYTES: &str = "ipc-shm bytes";
/// Ours, in the family `bytes`: copied in, and read where they lie, as many as there are.
pub const BYTES_BATCHES: &str = "ipc-shm bytes, batches";
/// Ours, in the family `bytes`: copied in and out.
pub const BYTES_COPIED: &str = "ipc-shm bytes, copied";
/// Ours, in the family `bytes`: copied in and out, between two that do not trust each other.
pub const BYTES_UNTRUSTED: &str = "ipc-shm bytes, copied, untrusted";
/// Ours, in the family `waiting`: the ring with a stamp in every slot.
pub const RING_WAITS: &str = "ipc-shm push_wait/pop_wait";
/// Ours, in the family `waiting`: the indexed ring.
pub const INDEXED_WAITS: &str = "ipc-shm indexed push_wait/pop_wait";
/// Ours, in the family `waiting`: the ring of bytes.
pub const BYTES_WAITS: &str = "ipc-shm bytes push_wait/pop_wait";
/// Ours, in the family `mpmc`: one message at a time.
pub const MPMC: &str = "ipc-shm mpmc push/pop";
/// Ours, in the family `mpmc`: the same, beside many that do nothing.
pub const MPMC_CROWDED: &str = "ipc-shm mpmc push/pop, crowded";
/// Ours, in the family `mpmc`: the calls that wait.
pub const MPMC_WAITS: &str = "ipc-shm mpmc push_wait/pop_wait";
/// Ours, in the family `mutex`.
pub const MUTEX: &str = "ipc-sync Mutex";
/// Ours, in the family `rwlock`.
pub const RWLOCK: &str = "ipc-sync RwLock";
/// Ours, in the family `semaphore`.
pub const SEMAPHORE: &str = "ipc-sync Semaphore";
/// Ours, in the family `spawn`: a program, described anew each time.
pub const SPAWN: &str = "ipc-core Spawn";
/// Ours, in the family `spawn`: a program that was described once.
pub const PREPARED: &str = "ipc-core Spawn, prepared";
/// Ours, in the family `spawn`: a function in a child of a helper.
pub const FORKSERVER: &str = "ipc-core Process, forkserver";
/// Ours, in the family `spawn`: messages.
pub const CONNECTION: &str = "ipc-core connection";

/// Fewer pairs than this decide nothing.
pub const ENOUGH: usize = 9;

/// Something to reach.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The family's name.
    pub family: &'static str,
    /// The workload's name.
    pub workload: &'static str,
    /// The subject that must reach it.
    pub lead: &'static str,
    /// The subject it is compared with.
    pub peer: &'static str,
    /// What the ratio must be.
    pub bound: Bound,
    /// What that means, in words.
    pub sentence: &'static str,
}

/// A limit for a ratio: rates must be high, times must be low.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The ratio of rates is this or more.
    AtLeast(f64),
    /// The ratio of times is this or less.
    AtMost(f64),
}

impl Bound {
    /// Whether `ratio` is within.
    #[must_use]
    pub fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The workload's name.
    pub workload: String,
    /// The subject that must reach it.
    pub lead: String,
    /// The subject it is compared with.
    pub peer: String,
    /// What the ratio must be.
    pub bound: Bound,
    /// What that means, in words.
    pub sentence: String,
    /// Whether it was reached.
    pub state: State,
    /// The ratio, where there is one.
    pub ratio: Option<f64>,
}

impl Judged {
    /// `workload: lead beside peer`.
    #[must_use]
    pub fn name(&self) -> String {
        row_name(&self.workload, &self.lead, &self.peer)
    }
}

/// Whether a target was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Yes.
    Met,
    /// No.
    Missed,
    /// The row exists, but fewer than [`ENOUGH`] pairs of the placement that counts were kept.
    NotMeasured,
    /// The lead or the peer is not in the family.
    Absent,
}

impl State {
    /// Whether a check may pass.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Met | Self::Absent)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
            Self::Absent => "not in this run",
        })
    }
}

/// Judges the targets of `family` whose row `wanted` accepts.
#[must_use]
pub fn judge(
    targets: &[Target],
    family: &Family,
    rows: &[Row],
    wanted: impl Fn(&str) -> bool,
) -> Vec<Judged> {
    targets
        .iter()
        .filter(|target| target.family == family.name)
        .filter(|target| wanted(&row_name(target.workload, target.lead, target.peer)))
        .map(|target| {
            let row = rows.iter().find(|row| {
                (&*row.workload, &*row.lead, &*row.peer)
                    == (target.workload, target.lead, target.peer)
            });
            let headline = row.and_then(|row| row.outcome.headline());
            let ratio = headline.filter(|s| s.pairs >= ENOUGH).map(|s| s.ratio.median);
            let state = match (row, ratio) {
                (None, _) => State::Absent,
                (Some(_), None) => State::NotMeasured,
                (Some(_), Some(ratio)) if target.bound.holds(ratio) => State::Met,
                (Some(_), Some(_)) => State::Missed,
            };
            Judged {
                workload: target.workload.to_owned(),
                lead: target.lead.to_owned(),
                peer: target.peer.to_owned(),
                bound: target.bound,
                sentence: target.sentence.to_owned(),
                state,
                ratio,
            }
        })
        .collect()
}

/// Short for the table below.
const fn target(
    family: &'static str,
    workload: &'static str,
    lead: &'static str,
    peer: &'static str,
    bound: Bound,
    sentence: &'static str,
) -> Target {
    Target { family, workload, lead, peer, bound, sentence }
}

use Bound::{AtLeast, AtMost};

/// Every target.
#[rustfmt::skip]
pub static TARGETS: &[Target] = &[
    target("spsc", "8 B", RING, "rtrb push/pop", AtLeast(2.0),
        "twice the rate of the fastest ring between threads, one message at a time"),
    target("spsc", "8 B", RING, "rtrb chunks of 64", AtLeast(0.8),
        "single messages at four fifths of that ring's rate in chunks"),
    target("spsc", "8 B", RING, "iceoryx2", AtLeast(100.0),
        "a hundred times the rate of iceoryx2"),
    target("spsc", "8 B", RING, "pipe", AtLeast(100.0),
        "a hundred times the rate of a pipe"),
    target("spsc", "56 B", RING, "rtrb push/pop", AtLeast(2.0),
        "twice the rate of the fastest ring between threads, one message at a time"),
    target("spsc", "56 B", RING, "iceoryx2", AtLeast(30.0),
        "thirty times the rate of iceoryx2"),
    target("spsc", "56 B", RING, "pipe", AtLeast(30.0),
        "thirty times the rate of a pipe"),
    target("spsc", "56 B", RING, "ipc-channel", AtLeast(100.0),
        "a hundred times the rate of ipc-channel"),
    target("spsc", "56 B", RING, "Python Queue", AtLeast(500.0),
        "five hundred times the rate of Python's multiprocessing.Queue"),
    target("spsc", "round trip 64 B, polling", RING, "two-line ping-pong (floor)", AtMost(1.15),
        "a round trip costs what two cache lines cost, and at most 15 % more"),
    target("spsc", "round trip 64 B, polling", RING, "iceoryx2", AtMost(0.2),
        "a fifth of the time of a polling iceoryx2 round trip"),

    target("indexed", "8 B", INDEXED_SLICES, "rtrb chunks of 64", AtLeast(0.8),
        "four fifths of the rate of the fastest ring between threads in chunks"),
    target("indexed", "64 B", INDEXED_LOAN, "index ring, batches of 64 (by hand)", AtLeast(0.8),
        "four fifths of the rate of a ring that promises nothing"),
    target("indexed", "64 KiB", INDEXED_LOAN, "index ring (by hand)", AtLeast(0.8),
        "four fifths of the rate of a ring that promises nothing"),

    target("bytes", "1 KiB", BYTES, "iceoryx2", AtLeast(2.5),
        "two and a half times the rate of iceoryx2, payload touched"),
    target("bytes", "1 KiB", BYTES, "rtrb chunks of 64", AtLeast(0.8),
        "four fifths of the rate of a chunked ring between threads"),
    target("bytes", "64 KiB", BYTES, "iceoryx2", AtLeast(3.0),
        "three times the rate of iceoryx2, payload touched"),
    target("bytes", "64 KiB", BYTES, "index ring (by hand)", AtLeast(0.8),
        "four fifths of the rate of the best hand-written ring of the same bytes"),

    target("mpmc", "1p1c 64 B", MPMC, "crossbeam ArrayQueue", AtLeast(1.0),
        "as fast as the queue between threads that no death is allowed to touch"),
    target("mpmc", "1p1c 64 B", MPMC, "Boost message_queue", AtLeast(10.0),
        "ten times the rate of Boost's queue between processes"),
    target("mpmc", "1p1c 64 B", MPMC, "POSIX mq", AtLeast(40.0),
        "forty times the rate of the kernel's queue"),
    target("mpmc", "2p2c 64 B, each does both", MPMC, "crossbeam ArrayQueue", AtLeast(1.0),
        "as fast as the queue between threads that no death is allowed to touch"),
    target("mpmc", "2p2c 64 B, each does both", MPMC, "Boost message_queue", AtLeast(10.0),
        "ten times the rate of Boost's queue between processes"),
    target("mpmc", "2p2c 64 B, each does both", MPMC, "POSIX mq", AtLeast(40.0),
        "forty times the rate of the kernel's queue"),

    target("waiting", "round trip 64 B, awake", RING_WAITS, "pipe", AtMost(0.005),
        "two hundred times faster than what always sleeps"),
    target("waiting", "round trip 64 B, asleep", RING_WAITS, "bare futex (floor)", AtMost(1.15),
        "waking a sleeper costs what the kernel's futex costs, and at most 15 % more"),
    target("waiting", "round trip 64 B, one cpu", RING_WAITS, "bare futex (floor)", AtMost(1.3),
        "on one processor a hop costs a bare futex and at most 30 % more"),

    target("mutex", "uncontended pair", MUTEX, "std Mutex", AtMost(1.1),
        "a lock that survives its holder's death costs 10 % more than one that does not, at most"),
    target("mutex", "uncontended pair", MUTEX, "pthread normal", AtMost(0.85),
        "cheaper than the C library's process-shared mutex, which does not survive a death"),
    target("mutex", "uncontended pair", MUTEX, "pthread robust", AtMost(0.6),
        "much cheaper than the C library's robust mutex"),
    target("mutex", "contended, empty section", MUTEX, "pthread robust", AtLeast(1.5),
        "half again as many sections as the C library's robust mutex"),
    target("mutex", "contended, empty section", MUTEX, "pthread normal", AtLeast(1.0),
        "as many sections as the C library's normal mutex"),
    target("mutex", "hand-over, awake", MUTEX, "two-line ping-pong (floor)", AtMost(1.2),
        "handing over to a spinning waiter costs what two cache lines cost, and at most 20 % more"),
    target("mutex", "hand-over, asleep", MUTEX, "bare futex (floor)", AtMost(1.15),
        "waking a sleeper costs what the kernel's futex costs, and at most 15 % more"),
    target("mutex", "hand-over, one cpu", MUTEX, "bare futex (floor)", AtMost(1.3),
        "on one processor a hand-over costs a bare futex and at most 30 % more"),

    target("rwlock", "uncontended read pair", RWLOCK, "pthread_rwlock", AtMost(0.8),
        "four fifths of the time of the C library's lock, which a dead reader holds for ever"),

    target("semaphore", "uncontended pair", SEMAPHORE, "sem_t", AtMost(1.0),
        "no dearer than POSIX's semaphore, which loses wake-ups when a process dies"),
    target("semaphore", "to and fro, asleep", SEMAPHORE, "bare futex (floor)", AtMost(1.15),
        "waking a sleeper costs what the kernel's futex costs, and at most 15 % more"),
    target("semaphore", "to and fro, one cpu", SEMAPHORE, "bare futex (floor)", AtMost(1.3),
        "on one processor a permit's way costs a bare futex and at most 30 % more"),

    target("spawn", "program, until the call returns", SPAWN, "posix_spawn", AtMost(0.65),
        "two thirds of the C library's time, at most"),
    target("spawn", "program, until the call returns", PREPARED, "posix_spawn", AtMost(0.65),
        "two thirds of the C library's time, at most"),
    target("spawn", "program, until it has ended", SPAWN, "std Command", AtMost(0.98),
        "a program's whole life costs less than std's, most of which is the kernel's"),
    target("spawn", "program, from a parent of 1 GiB", SPAWN, "ipc-core Spawn, small parent",
        AtMost(1.2), "a large parent pays what a small one pays, and at most a fifth more"),
    target("spawn", "program with attributes, from a parent of 1 GiB", SPAWN,
        "std Command, pre_exec", AtMost(1.0 / 40.0),
        "forty times faster than std's Command, which copies the parent's page tables"),
    target("spawn", "function in a process, until it has ended", FORKSERVER, "Python forkserver",
        AtMost(0.2), "a fifth of the time of Python's helper"),
    target("spawn", "function in a process, until it has ended", FORKSERVER, "Python fork",
        AtMost(0.5), "half of the time of Python's fork"),
    target("spawn", "round trip 64 B, two cpus", CONNECTION, "bare socket (floor)", AtMost(1.1),
        "a message costs what the kernel's socket costs, and at most 10 % more"),
    target("spawn", "round trip 64 B, one cpu", CONNECTION, "bare socket (floor)", AtMost(1.1),
        "a message costs what the kernel's socket costs, and at most 10 % more"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    const PLANTED: &[Target] =
        &[target("planted", "8 B", "ours", "theirs", AtLeast(2.0), "twice theirs")];

    fn family() -> Family {
        Family { name: "planted", title: "", workloads: Vec::new() }
    }

    fn judged(rows: &[Row]) -> State {
        let [judged] = judge(PLANTED, &family(), rows, |_| true).try_into().unwrap();
        judged.state
    }

    #[test]
    fn states() {
        assert_eq!(judged(&report("ours", "theirs", 2.1).rows), State::Met);
        assert_eq!(judged(&report("ours", "theirs", 1.9).rows), State::Missed);
        assert_eq!(judged(&report("somebody", "theirs", 9.0).rows), State::Absent);
        assert_eq!(judged(&report("ours", "nobody", 9.0).rows), State::Absent);
        let mut unmeasured = report("ours", "theirs", 9.0).rows;
        unmeasured[0].outcome.summaries.clear();
        assert_eq!(judged(&unmeasured), State::NotMeasured);
        let mut few = report("ours", "theirs", 9.0).rows;
        few[0].outcome.summaries[0].pairs = ENOUGH - 1;
        assert_eq!(judged(&few), State::NotMeasured);
    }

    #[test]
    fn bounds_include_themselves_and_refuse_what_is_no_number() {
        assert!(AtLeast(2.0).holds(2.0) && !AtLeast(2.0).holds(1.99));
        assert!(AtMost(1.1).holds(1.1) && !AtMost(1.1).holds(1.11));
        assert!(!AtLeast(0.0).holds(f64::NAN) && !AtMost(9.0).holds(f64::NAN));
    }

    /// A typing mistake in a name would make a target "not in this run" for ever.
    #[test]
    fn every_name_in_the_table_exists_or_is_known_to_be_missing() {
        let families = crate::families::all();
        // Python is not on every machine.
        let missing_peers = [
            "iceoryx2",
            "ipc-channel",
            "Boost message_queue",
            "Python Queue",
            "Python forkserver",
            "Python fork",
        ];
        for target in TARGETS {
            let family = families.iter().find(|family| family.name == target.family);
            let family = family.unwrap_or_else(|| panic!("{target:?}"));
            let workload = family.workloads.iter().find(|w| w.name == target.workload);
            let workload = workload.unwrap_or_else(|| panic!("{target:?}"));
            let peers = workload.leads.iter().chain(&workload.peers).map(|subject| subject.name);
            assert!(
                missing_peers.contains(&target.peer)
                    || peers.clone().any(|name| name == target.peer),
                "{target:?}"
            );
            let leads = workload.leads.iter().any(|lead| lead.name == target.lead);
            assert!(leads, "{target:?}: ours are never missing");
            let fast = workload.measure.is_rate();
            assert_eq!(fast, matches!(target.bound, AtLeast(_)), "{target:?}: rates are high");
        }
    }
}
