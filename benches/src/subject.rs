//! What is measured: families of workloads, each with subjects to compare.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A table of the report: workloads that belong together.
#[derive(Debug)]
pub struct Family {
    /// The name on the command line and of the report files.
    pub name: &'static str,
    /// The heading of the table and of the plot.
    pub title: &'static str,
    /// What is asked of the subjects.
    pub workloads: Vec<Workload>,
}

/// One task, and the subjects that do it.
///
/// Each lead is compared with each peer: a row of the report is one lead beside one peer, measured
/// in alternating slices. Ours are the leads where they exist, else the physical floor.
#[derive(Debug)]
pub struct Workload {
    /// A few words: `8 B`, `uncontended pair`.
    pub name: &'static str,
    /// How time and operations become a figure.
    pub measure: Measure,
    /// Where the two sides run.
    pub cpus: Cpus,
    /// The subjects on the left of each row.
    pub leads: Vec<Subject>,
    /// The subjects on the right of each row.
    pub peers: Vec<Subject>,
}

/// How time and operations become a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// `slice.count` messages flow from left to right; messages per second, a higher ratio is
    /// better for the lead.
    Stream,
    /// Both sides work until `slice.deadline`; operations of both per second, a higher ratio is
    /// better for the lead.
    Contended,
    /// The left side does `slice.count` round trips with the right one; time for each, a lower
    /// ratio is better for the lead.
    RoundTrip,
    /// The left side does `slice.count` operations alone; time for each, a lower ratio is better.
    Alone,
}

impl Measure {
    /// Whether the ratio of the report is a ratio of speeds (else of times).
    #[must_use]
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::Stream | Self::Contended)
    }

    /// What the figures of a side are.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Stream => "messages per second",
            Self::Contended => "operations per second, both sides together",
            Self::RoundTrip => "time for a round trip",
            Self::Alone => "time for an operation",
        }
    }
}

/// Where the two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpus {
    /// Left and right on a processor each; slices carry the label near or far.
    Two,
    /// Both on the same processor; only for subjects that sleep or yield when they wait.
    One,
    /// Each on any of the processors: wherever the scheduler puts it.
    Unpinned,
    /// Likewise, beside as many busy processes as there are processors.
    Oversubscribed,
}

/// What tells, before and after each slice, in which state the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The ping-pong between two processors.
    Line,
    /// The pulse of one.
    Pulse,
    /// Nothing: where the sides run is the scheduler's, and may be another place in the middle of a slice.
    None,
}

/// Something that can be measured: a name, and how to make its two ends.
pub struct Subject {
    /// The name in the report.
    pub name: &'static str,
    /// What stands at the right end.
    pub sides: Sides,
    /// Makes a fresh pair of ends. Runs before the fork: file descriptors and memory from
    /// [`place`](crate::sys::place) are inherited by both sides.
    pub make: Box<dyn Fn() -> Ends>,
}

impl Subject {
    /// Two processes.
    pub fn processes(name: &'static str, make: impl Fn() -> Ends + 'static) -> Self {
        Self { name, sides: Sides::Processes, make: Box::new(make) }
    }

    /// Two threads of one process, for peers that can do no more.
    pub fn threads(name: &'static str, make: impl Fn() -> Ends + 'static) -> Self {
        Self { name, sides: Sides::Threads, make: Box::new(make) }
    }
}

impl Workload {
    /// Every lead beside every peer.
    pub fn rows(&self) -> impl Iterator<Item = (&Subject, &Subject)> {
        self.leads.iter().flat_map(|lead| self.peers.iter().map(move |peer| (lead, peer)))
    }

    /// What tells in which state the machine is.
    #[must_use]
    pub fn probe(&self) -> Probe {
        match self.cpus {
            Cpus::Two if self.measure != Measure::Alone => Probe::Line,
            Cpus::Two | Cpus::One => Probe::Pulse,
            Cpus::Unpinned | Cpus::Oversubscribed => Probe::None,
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("name", &self.name)
            .field("sides", &self.sides)
            .finish_non_exhaustive()
    }
}

/// What stands at the right end of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// Another process.
    Processes,
    /// Another thread.
    Threads,
}

/// The work of one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Operations to do, a multiple of [`Slice::GRAIN`]; zero where only the deadline counts.
    pub count: u64,
    /// Monotonic nanoseconds at which to stop where there is no count. Where there is one, a
    /// subject whose speed may drop a hundredfold from slice to slice may stop here.
    pub deadline: u64,
}

impl Slice {
    /// Counts are multiples of this, so that chunked interfaces never end in a part of a chunk.
    pub const GRAIN: u64 = 64;
}

/// What one side did in a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Operations done.
    pub operations: u64,
    /// The sum over everything that this side wrote or read.
    pub checksum: u64,
    /// The nanoseconds that count, where it is not the whole slice.
    pub nanoseconds: Option<u64>,
    /// What single round trips took, where the left side has timed some.
    pub latency: Option<Latency>,
}

/// Two points of the distribution of single round trips, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// One in a hundred is longer.
    pub p99: u64,
}

impl Latency {
    /// Of the given times, whose order changes; `None` if there is none.
    #[must_use]
    pub fn of(times: &mut [u64]) -> Option<Self> {
        let last = times.len().checked_sub(1)?;
        let mut at = |hundredths: usize| *times.select_nth_unstable(last * hundredths / 100).1;
        Some(Self { p50: at(50), p99: at(99) })
    }
}

/// A wrong result: the run ends here, whatever the figures were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Wrong {}

/// One side of a subject; called once per slice and keeps its state from slice to slice.
pub type Role = Box<dyn FnMut(Slice) -> Result<Done, Wrong> + Send>;

/// Judges a slice after both sides have ended; runs on the left side.
pub type Audit = Box<dyn FnMut(Done, Done) -> Result<(), Wrong> + Send>;

/// The two sides of a subject, and the check between them.
pub struct Ends {
    /// The side that starts the clock.
    pub left: Role,
    /// The other side; never called where the measure is [`Measure::Alone`].
    pub right: Role,
    /// The check after each slice.
    pub audit: Audit,
}

impl Ends {
    /// Two sides whose counts and checksums must agree: what was sent is what was received.
    pub fn agreeing(
        left: impl FnMut(Slice) -> Result<Done, Wrong> + Send + 'static,
        right: impl FnMut(Slice) -> Result<Done, Wrong> + Send + 'static,
    ) -> Self {
        Self { left: Box::new(left), right: Box::new(right), audit: Box::new(agree) }
    }

    /// A left side only.
    pub fn alone(
        left: impl FnMut(Slice) -> Result<Done, Wrong> + Send + 'static,
        audit: impl FnMut(Done, Done) -> Result<(), Wrong> + Send + 'static,
    ) -> Self {
        Self {
            left: Box::new(left),
            right: Box::new(|_| Err(Wrong("this subject has no right side".to_owned()))),
            audit: Box::new(audit),
        }
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

fn agree(left: Done, right: Done) -> Result<(), Wrong> {
    if left.operations != right.operations {
        return Err(Wrong(format!(
            "the left side did {} operations, the right side {}",
            left.operations, right.operations
        )));
    }
    if left.checksum != right.checksum {
        return Err(Wrong(format!(
            "checksum {:#x} on the left, {:#x} on the right",
            left.checksum, right.checksum
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_of_single_times() {
        assert_eq!(Latency::of(&mut []), None);
        assert_eq!(Latency::of(&mut [5]), Some(Latency { p50: 5, p99: 5 }));
        let mut times: Vec<u64> = (0..=100).rev().collect();
        assert_eq!(Latency::of(&mut times), Some(Latency { p50: 50, p99: 99 }));
    }

    #[test]
    fn audit_tells_lost_messages_and_changed_ones() {
        let sent = Done { operations: 64, checksum: 7, ..Done::default() };
        assert_eq!(agree(sent, sent), Ok(()));
        assert!(agree(sent, Done { operations: 63, ..sent }).unwrap_err().0.contains("63"));
        assert!(agree(sent, Done { checksum: 8, ..sent }).unwrap_err().0.contains("0x8"));
    }
}
