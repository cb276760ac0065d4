//! The results of a family: measuring it, and the file that keeps them.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::runner::{self, Plan, RunError};
use crate::stats::{Outcome, Placement};
use crate::subject::{Family, Measure, Probe, Sides};
use crate::targets::{self, Judged, Target};

/// Everything that one run of a family found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The family's name.
    pub family: String,
    /// Its heading.
    pub title: String,
    /// Where and with what it was measured.
    pub machine: Machine,
    /// The length of a slice in milliseconds.
    pub slice_ms: f64,
    /// One entry for each lead beside each peer.
    pub rows: Vec<Row>,
    /// What became of the family's targets.
    pub targets: Vec<Judged>,
}

/// One lead beside one peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The workload's name.
    pub workload: String,
    /// How its figures are made.
    pub measure: Measure,
    /// The subject on the left.
    pub lead: String,
    /// What stands at its right end.
    pub lead_sides: Sides,
    /// The subject on the right.
    pub peer: String,
    /// What stands at its right end.
    pub peer_sides: Sides,
    /// The figures.
    pub outcome: Outcome,
}

impl Row {
    /// `workload: lead beside peer`.
    #[must_use]
    pub fn name(&self) -> String {
        row_name(&self.workload, &self.lead, &self.peer)
    }
}

/// `workload: lead beside peer`.
#[must_use]
pub fn row_name(workload: &str, lead: &str, peer: &str) -> String {
    format!("{workload}: {lead} beside {peer}")
}

impl Report {
    /// Measures the rows of `family` whose name `wanted` accepts.
    ///
    /// Rows whose placement did not turn up are visited again after all others, because the host
    /// moves the processors every few seconds.
    ///
    /// # Errors
    /// Ends at the first row that cannot be measured or has a wrong result, and names it.
    pub fn measure(
        family: &Family,
        all_targets: &[Target],
        plan: Plan,
        wanted: impl Fn(&str) -> bool,
        mut progress: impl FnMut(&str),
    ) -> Result<Self, (String, RunError)> {
        let planned: Vec<_> = family
            .workloads
            .iter()
            .flat_map(|workload| workload.rows().map(move |(lead, peer)| (workload, lead, peer)))
            .map(|row @ (workload, lead, peer)| {
                (row, row_name(workload.name, lead.name, peer.name))
            })
            .filter(|(_, name)| wanted(name))
            .collect();
        let mut samples = vec![Vec::new(); planned.len()];
        for visit in 0..plan.visits {
            for (((workload, lead, peer), name), samples) in planned.iter().zip(&mut samples) {
                let outcome = Outcome::of(samples, workload.measure, workload.probe());
                let kept = outcome.headline().map_or(0, |summary| summary.pairs);
                // Where the scheduler decides, no visit waits for a better moment.
                let placed = workload.probe() != Probe::None;
                let enough = if placed { plan.pairs / 2 } else { targets::ENOUGH };
                if visit > 0 && kept >= enough {
                    continue;
                }
                progress(&format!("{}, {name}", family.name));
                // The first visit takes what comes; the others wait for what is missing.
                let plan = Plan { seek_near: visit > 0, ..plan };
                let more = runner::run(workload, lead, peer, plan)
                    .map_err(|error| (format!("{}, {name}", family.name), error))?;
                samples.extend(more);
            }
        }
        let rows: Vec<Row> = planned
            .iter()
            .zip(&samples)
            .map(|(((workload, lead, peer), _), samples)| Row {
                workload: workload.name.to_owned(),
                measure: workload.measure,
                lead: lead.name.to_owned(),
                lead_sides: lead.sides,
                peer: peer.name.to_owned(),
                peer_sides: peer.sides,
                outcome: Outcome::of(samples, workload.measure, workload.probe()),
            })
            .collect();
        let targets = targets::judge(all_targets, family, &rows, wanted);
        Ok(Self {
            family: family.name.to_owned(),
            title: family.title.to_owned(),
            machine: Machine::here(),
            slice_ms: plan.slice.as_secs_f64() * 1e3,
            rows,
            targets,
        })
    }

    /// Pairs kept near, far, on one processor, and as scheduled; then those dropped.
    #[must_use]
    pub fn shares(&self) -> Shares {
        let kept = |placement| {
            let pairs = |row: &Row| row.outcome.at(placement).map_or(0, |summary| summary.pairs);
            self.rows.iter().map(pairs).sum()
        };
        Shares {
            near: kept(Placement::Near),
            far: kept(Placement::Far),
            alone: kept(Placement::Alone),
            scheduled: kept(Placement::Scheduled),
            moved: self.rows.iter().map(|row| row.outcome.moved).sum(),
            crowded: self.rows.iter().map(|row| row.outcome.crowded).sum(),
        }
    }

    /// Reads a report file.
    ///
    /// # Errors
    /// Passes on what the operating system or the format says.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
    }

    /// Writes a report file.
    ///
    /// # Errors
    /// Passes on what the operating system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text)
    }
}

/// How many pairs of a report were good for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Kept, near.
    pub near: usize,
    /// Kept, far.
    pub far: usize,
    /// Kept, on one processor.
    pub alone: usize,
    /// Kept, wherever the scheduler put the sides.
    pub scheduled: usize,
    /// Dropped: the machine changed.
    pub moved: usize,
    /// Dropped: other work took a share.
    pub crowded: usize,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stats::Sample;
    use crate::subject::Latency;

    /// A report with one stream row that says `lead` is `ratio` times as fast as `peer`.
    pub(crate) fn report(lead: &str, peer: &str, ratio: f64) -> Report {
        let sample = Sample {
            probes: [55.0; 3],
            lead: 10.0,
            peer: 10.0 * ratio,
            delayed: 0.0,
            latencies: [Latency::default(); 2],
        };
        Report {
            family: "planted".to_owned(),
            title: "A planted family".to_owned(),
            machine: Machine::unknown(),
            slice_ms: 16.0,
            rows: vec![Row {
                workload: "8 B".to_owned(),
                measure: Measure::Stream,
                lead: lead.to_owned(),
                lead_sides: Sides::Processes,
                peer: peer.to_owned(),
                peer_sides: Sides::Threads,
                outcome: Outcome::of(&[sample; targets::ENOUGH], Measure::Stream, Probe::Line),
            }],
            targets: Vec::new(),
        }
    }

    #[test]
    fn file_gives_back_what_was_written_whatever_the_names_hold() {
        let folder = std::env::temp_dir().join(format!("ipc-benches-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("report.json");
        let written = report("quote \" slash \\ line \n tab \t bell \u{7}", "<&'ü€𝄞>", 2.5);
        written.write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), written);
        assert!(!fs::read_to_string(&path).unwrap().contains('\u{7}'), "control characters escape");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn broken_file_is_an_error() {
        let path = std::env::temp_dir().join(format!("ipc-benches-{}.json", std::process::id()));
        fs::write(&path, "{\"family\":").unwrap();
        assert!(Report::read(&path).is_err());
        fs::remove_file(&path).unwrap();
    }
}
