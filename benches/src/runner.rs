//! Runs one row: makes the subjects, forks the sides, watches over them, and collects the pairs.
//!
//! The supervisor has one thread, sleeps while the sides measure, and is their parent: they die
//! with it. A side that ends early, or a slice that does not end, ends the run with the subject's
//! name.

use std::io;

use core::fmt;
use core::time::Duration;

use crate::board::Board;
use crate::sides::{self, Setting};
use crate::stats::Sample;
use crate::subject::{Cpus, Subject, Workload};
use crate::sys::{self, Child};

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The length of one slice.
    pub slice: Duration,
    /// A visit to a row ends when so many pairs of one placement were kept.
    pub pairs: usize,
    /// A visit to a row ends after this time, whatever was kept.
    pub row_limit: Duration,
    /// How often the rows are visited that still lack pairs of the placement that counts.
    pub visits: usize,
    /// Whether to measure only while the processors are near; until then only the probe runs.
    pub seek_near: bool,
    /// A slice that takes longer than this hangs.
    pub watchdog: Duration,
}

impl Plan {
    /// What the report is made of.
    pub const FULL: Self = Self {
        slice: Duration::from_millis(16),
        pairs: 61,
        row_limit: Duration::from_secs(6),
        visits: 6,
        seek_near: false,
        watchdog: Duration::from_secs(10),
    };

    /// Enough to see that everything runs; the figures mean little.
    pub const QUICK: Self = Self {
        slice: Duration::from_millis(2),
        pairs: 3,
        row_limit: Duration::from_millis(100),
        visits: 1,
        seek_near: false,
        watchdog: Duration::from_secs(10),
    };

    /// With slices that are long beside the turns of some milliseconds that the scheduler gives to each of too many; and
    /// patience, for what sleeps and polls by turns may take a thousand times as long as expected.
    fn for_turns_of_the_scheduler(self) -> Self {
        Self {
            slice: self.slice * 5,
            row_limit: self.row_limit * 2,
            watchdog: self.watchdog * 6,
            ..self
        }
    }
}

/// Why a run ended without a result.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The operating system refused something.
    Os(io::Error),
    /// A side reported a wrong result, panicked or was killed.
    Side {
        /// The subject whose slice it was.
        subject: &'static str,
        /// What the side said, or how it ended.
        reason: String,
    },
    /// A slice did not end.
    Hung {
        /// The subject whose slice it was.
        subject: &'static str,
        /// How long the watchdog waited.
        limit: Duration,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(error) => write!(f, "{error}"),
            Self::Side { subject, reason } => write!(f, "{subject}: {reason}"),
            Self::Hung { subject, limit } => {
                write!(f, "{subject}: hung, a slice took more than {limit:?}")
            }
        }
    }
}

impl core::error::Error for RunError {}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

/// Measures `lead` beside `peer`.
///
/// The calling process must have one thread only: it forks.
///
/// # Errors
/// Ends at the first wrong result, at a side that dies, and at a slice that hangs.
pub fn run(
    workload: &Workload,
    lead: &Subject,
    peer: &Subject,
    plan: Plan,
) -> Result<Vec<Sample>, RunError> {
    let oversubscribed = workload.cpus == Cpus::Oversubscribed;
    let plan = match workload.cpus {
        Cpus::Two | Cpus::One => plan,
        Cpus::Unpinned | Cpus::Oversubscribed => plan.for_turns_of_the_scheduler(),
    };
    let setting = Setting {
        board: sys::place(Board::new()),
        plan,
        measure: workload.measure,
        cpus: workload.cpus,
        probe: workload.probe(),
        sides: [lead.sides, peer.sides],
        allowed: sys::two_cpus()?,
    };
    // Both sides inherit both ends; the supervisor keeps its copies until the sides are gone,
    // because dropping an end may say goodbye in shared memory.
    let mut ends = Some([(lead.make)(), (peer.make)()]);
    let right = setting
        .needs(crate::subject::Sides::Processes)
        .then(|| {
            Child::fork(|| {
                if let Some(ends) = &mut ends {
                    sides::right_process(setting, ends);
                }
            })
        })
        .transpose()?;
    // They are killed as these values are dropped.
    let _busy: Vec<Child> = (0..if oversubscribed { setting.allowed.len() } else { 0 })
        .map(|_| Child::fork(sides::busy_process))
        .collect::<io::Result<_>>()?;
    let left = Child::fork(|| {
        if let Some(ends) = ends.take() {
            sides::left_process(setting, ends);
        }
    })?;
    let ended = watch(&setting, left, right, [lead.name, peer.name]);
    drop(ends);
    ended.map(|()| setting.board.samples())
}

/// Returns when the left side has measured everything; kills and reaps both in any case.
fn watch(
    setting: &Setting,
    left: Child,
    right: Option<Child>,
    names: [&'static str; 2],
) -> Result<(), RunError> {
    let Setting { board, plan, .. } = *setting;
    let subject = || board.progress.current().map_or("warm-up", |(subject, _)| names[subject]);
    loop {
        let children: Vec<&Child> = [Some(&left), right.as_ref()].into_iter().flatten().collect();
        if let Some(which) =
            Child::wait_any(&children, plan.watchdog.min(Duration::from_millis(250)))?
        {
            let side = ["left", "right"][which];
            let status =
                if which == 0 { left.wait()? } else { right.map_or(Ok(None), Child::wait)? };
            return match (which, status, board.failure()) {
                (0, Some(0), None) => Ok(()),
                (_, _, Some(reason)) => Err(RunError::Side { subject: subject(), reason }),
                (_, Some(101), None) => Err(RunError::Side {
                    subject: subject(),
                    reason: format!("the {side} side panicked"),
                }),
                (_, status, None) => Err(RunError::Side {
                    subject: subject(),
                    reason: format!("the {side} side ended early: {status:?}"),
                }),
            };
        }
        if let Some((subject, since)) = board.progress.current() {
            if sys::now().saturating_sub(since) > plan.watchdog.as_nanos() as u64 {
                return Err(RunError::Hung { subject: names[subject], limit: plan.watchdog });
            }
        }
    }
}
