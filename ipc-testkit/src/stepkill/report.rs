//! What came of a pass over a scenario.

use core::fmt;
use core::time::Duration;
use std::collections::HashSet;

use super::control::Role;

/// The result of one pass over one scenario; shown as one line.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// What the pass did, such as `every instruction`.
    pub pass: &'static str,
    /// Instructions of the operation in the round in which nobody was killed.
    pub instructions: usize,
    /// Rounds in which a victim was killed.
    pub kill_points: usize,
    /// Those of them in which it slept inside a system call.
    pub blocked_points: usize,
    /// Accesses to shared words that were attacked, if it was a hostile pass.
    pub accesses: usize,
    /// Rounds in which a value was planted before an access.
    pub planted: usize,
    /// Attempts that did not bring about the situation that the pass is for, and were made again.
    pub uncounted: usize,
    /// Kill points that a victim at full speed did not come by, and that were stepped to.
    pub detours: usize,
    /// Somebody who did not come back.
    pub wedges: Vec<Finding>,
    /// Verdicts that were not good, processes that ended as they must not, and scenarios that could not be played.
    pub failures: Vec<Finding>,
    /// Rounds in which recovery took too long, and which were played again.
    pub slow_rounds: usize,
    /// The longest that a waiter or survivor took to its first success, from the moment the kernel reported the death; of
    /// a kill point that was struck again, the shortest of those.
    pub worst_recovery: Duration,
    /// How long the pass took.
    pub elapsed: Duration,
}

/// One thing that went wrong, and after which kill.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Where the victim was killed; `None` for the round in which nobody was.
    pub point: Option<Point>,
    /// Whom it happened to.
    pub who: Role,
    /// What happened.
    pub what: String,
}

/// A kill point.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Point {
    /// Whether the victim was killed there, or a value was planted.
    pub killed: bool,
    /// Instructions of the operation that the victim had executed; if it was asleep, the sleeps that it had had.
    pub instruction: usize,
    /// Whether it slept inside a system call.
    pub asleep: bool,
    /// Its next instruction, as `file+offset`.
    pub place: String,
    /// What else was so in this pass, such as where the first victim was killed.
    pub given: String,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.wedges.is_empty() && self.failures.is_empty()
    }

    /// How many different kill points had a wedge.
    pub fn wedged_points(&self) -> usize {
        distinct(self.wedges.iter())
    }

    /// How many different kill points had a wedge or another failure.
    pub fn faulty_points(&self) -> usize {
        distinct(self.wedges.iter().chain(&self.failures))
    }
}

fn distinct<'a>(findings: impl Iterator<Item = &'a Finding>) -> usize {
    let points: HashSet<_> = findings.map(|finding| &finding.point).collect();
    points.len()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.accesses > 0 {
            return write!(
                f,
                "{} [{}]: {} values planted before {} accesses, {} wedges, {} other failures, {} instructions, {:.2} s",
                self.scenario,
                self.pass,
                self.planted,
                self.accesses,
                self.wedges.len(),
                self.failures.len(),
                self.instructions,
                self.elapsed.as_secs_f64(),
            );
        }
        write!(
            f,
            "{} [{}]: {} of {} kill points wedge, {} inside a call, {} detours, {} struck again, {} other failures, {} instructions, worst recovery {:.1} ms, {:.2} s",
            self.scenario,
            self.pass,
            self.wedged_points(),
            self.kill_points,
            self.blocked_points,
            self.detours,
            self.slow_rounds,
            self.failures.len(),
            self.instructions,
            self.worst_recovery.as_secs_f64() * 1e3,
            self.elapsed.as_secs_f64(),
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.point {
            Some(point) => write!(f, "{point}: {} {}", self.who, self.what),
            None => write!(f, "nobody killed: {} {}", self.who, self.what),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.killed { "killed" } else { "attacked" };
        let place = if self.asleep { "in sleep" } else { "at instruction" };
        write!(f, "{what} {place} {} ({}){}", self.instruction, self.place, self.given)
    }
}
