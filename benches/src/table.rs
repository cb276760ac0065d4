//! Reports as text: columns for a terminal, Markdown for a page.

use core::fmt::Write as _;

use crate::format::{figure, three_digits};
use crate::report::{Report, Row};
use crate::stats::{Placement, Summary};
use crate::subject::Sides;

/// The cells of one row, in both forms.
struct Cells {
    lead: String,
    peer: String,
    ratio: String,
    quartiles: String,
    lead_figure: String,
    peer_figure: String,
    pairs: String,
    far: String,
    target: String,
}

const HEADINGS: [&str; 9] =
    ["lead", "peer", "ratio", "quartiles", "lead", "peer", "pairs", "far", "target"];

impl Cells {
    fn of(report: &Report, row: &Row) -> Self {
        let headline = row.outcome.headline();
        let shown = |cell: fn(&Summary, &Row) -> String| {
            headline.map_or_else(|| "–".to_owned(), |summary| cell(summary, row))
        };
        let target = report
            .targets
            .iter()
            .find(|target| target.name() == row.name())
            .map_or_else(String::new, |target| format!("{} {}", target.bound, target.state));
        let far = row.outcome.at(Placement::Far).map_or_else(
            || "–".to_owned(),
            |far| format!("{} ({})", three_digits(far.ratio.median), far.pairs),
        );
        Self {
            lead: with_sides(&row.lead, row.lead_sides),
            peer: with_sides(&row.peer, row.peer_sides),
            ratio: shown(|summary, _| three_digits(summary.ratio.median)),
            quartiles: shown(|summary, _| {
                let Summary { ratio, .. } = summary;
                format!("{} – {}", three_digits(ratio.first), three_digits(ratio.third))
            }),
            lead_figure: shown(|summary, row| figure(summary.lead, row.measure)),
            peer_figure: shown(|summary, row| figure(summary.peer, row.measure)),
            pairs: headline.map_or(0, |summary| summary.pairs).to_string(),
            far,
            target,
        }
    }

    fn array(self) -> [String; HEADINGS.len()] {
        [
            self.lead,
            self.peer,
            self.ratio,
            self.quartiles,
            self.lead_figure,
            self.peer_figure,
            self.pairs,
            self.far,
            self.target,
        ]
    }
}

/// The name, and where the subject cannot leave its process, that.
fn with_sides(name: &str, sides: Sides) -> String {
    match sides {
        Sides::Processes => name.to_owned(),
        Sides::Threads => format!("{name} (threads)"),
    }
}

/// The rows of each workload, in order.
fn workloads(report: &Report) -> impl Iterator<Item = &[Row]> {
    report.rows.chunk_by(|a, b| a.workload == b.workload)
}

/// How the ratio of a workload is to be read.
fn reading(row: &Row) -> String {
    let better = if row.measure.is_rate() { "higher" } else { "lower" };
    format!("{}; ratio lead to peer, {better} is better for the lead", row.measure.unit())
}

/// What was kept and dropped, as a sentence.
#[must_use]
pub fn shares(report: &Report) -> String {
    let shares = report.shares();
    let total = shares.near + shares.far + shares.alone + shares.moved + shares.crowded;
    format!(
        "{total} pairs of {} ms slices: {} near, {} far, {} on one processor; dropped: {} because \
         the machine moved, {} because other work took a share.",
        report.slice_ms, shares.near, shares.far, shares.alone, shares.moved, shares.crowded
    )
}

/// For a terminal.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = format!("{}: {}\n", report.family, report.title);
    for rows in workloads(report) {
        let _infallible = writeln!(out, "\n{}: {}", rows[0].workload, reading(&rows[0]));
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        lines.extend(rows.iter().map(|row| Cells::of(report, row).array()));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: [usize; HEADINGS.len()] =
            core::array::from_fn(|column| width(column).unwrap_or(0));
        for line in &lines {
            let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
                if column < 2 || column == 8 {
                    format!("{cell:width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let joined = cells.collect::<Vec<_>>().join("  ");
            let _infallible = writeln!(out, "  {}", joined.trim_end());
        }
    }
    let _infallible =
        writeln!(out, "\n{}\n{}", shares(report), report.machine.sentences().join("\n"));
    out
}

/// For a page; ends with a line feed.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    for rows in workloads(report) {
        let _infallible =
            writeln!(out, "**{}**: {}.\n", escaped(&rows[0].workload), reading(&rows[0]));
        let _infallible = writeln!(out, "| {} |", HEADINGS.join(" | "));
        let _infallible = writeln!(out, "|---|---|--:|:-:|--:|--:|--:|--:|---|");
        for row in rows {
            let cells = Cells::of(report, row).array().map(|cell| escaped(&cell));
            let _infallible = writeln!(out, "| {} |", cells.join(" | "));
        }
        out.push('\n');
    }
    if !report.targets.is_empty() {
        out.push_str("| target | bound | ratio | state |\n|---|---|--:|---|\n");
        for target in &report.targets {
            let ratio = target.ratio.map_or_else(|| "–".to_owned(), three_digits);
            let _infallible = writeln!(
                out,
                "| {}: {} | {} | {ratio} | {} |",
                escaped(&target.name()),
                escaped(&target.sentence),
                target.bound,
                target.state
            );
        }
        out.push('\n');
    }
    let _infallible =
        writeln!(out, "{} {}", shares(report), escaped(&report.machine.sentences().join(" ")));
    out
}

/// Keeps a name from ending its cell.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn both_forms_show_the_figures() {
        let report = report("ours", "theirs", 2.5);
        for form in [text(&report), markdown(&report)] {
            for part in ["8 B", "ours", "theirs (threads)", "2.50", "100 M/s", "40.0 M/s", "9 near"]
            {
                assert!(form.contains(part), "{part} in {form}");
            }
        }
    }

    #[test]
    fn row_without_a_near_pair_shows_no_figure() {
        let mut report = report("ours", "theirs", 2.5);
        report.rows[0].outcome.summaries.clear();
        let text = text(&report);
        assert!(!text.contains("2.50") && text.contains('–'), "{text}");
    }

    #[test]
    fn cell_cannot_end_its_row() {
        assert!(markdown(&report("a|b", "c", 1.0)).contains("a\\|b"));
    }
}
