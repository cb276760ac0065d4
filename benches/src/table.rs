//! Reports as text: columns for a terminal, Markdown for a page.

use core::fmt::Write as _;

use crate::format::{figure, three_digits};
use crate::report::{Report, Row};
use crate::stats::{Placement, Summary};
use crate::subject::{Latency, Sides};

/// The cells of one row, in both forms.
struct Cells {
    lead: String,
    peer: String,
    ratio: String,
    quartiles: String,
    lead_figure: String,
    peer_figure: String,
    /// The median and the 99th percentile of the lead's single round trips, and the peer's; in tables in which any row
    /// has them.
    latencies: [String; 2],
    pairs: String,
    far: String,
    target: String,
}

/// A column: its heading, how Markdown aligns it, and whether a terminal does so to the right.
type Column = (&'static str, &'static str, bool);

const COLUMNS: [Column; 11] = [
    ("lead", "---", false),
    ("peer", "---", false),
    ("ratio", "--:", true),
    ("quartiles", ":-:", true),
    ("lead", "--:", true),
    ("peer", "--:", true),
    ("lead p50 / p99", "--:", true),
    ("peer p50 / p99", "--:", true),
    ("pairs", "--:", true),
    ("far", "--:", true),
    ("target", "---", false),
];

/// A workload's lines, one cell for each column: the latencies only where there are any.
fn table(report: &Report, rows: &[Row]) -> (Vec<Column>, Vec<Vec<String>>) {
    let lines: Vec<_> = rows.iter().map(|row| Cells::of(report, row).array()).collect();
    let has_latencies = lines.iter().any(|line| !line[6].is_empty());
    let shown = |column: &usize| has_latencies || !(6..8).contains(column);
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(shown).collect();
    let columns = shown.iter().map(|&column| COLUMNS[column]).collect();
    let line = |cells: &[String; COLUMNS.len()]| {
        shown.iter().map(|&column| cells[column].clone()).collect()
    };
    (columns, lines.iter().map(line).collect())
}

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
            latencies: [0, 1].map(|side| {
                let latency = headline.and_then(|summary| summary.latencies);
                latency.map_or_else(String::new, |sides| {
                    let Latency { p50, p99 } = sides[side];
                    let time = |nanoseconds: u64| figure(nanoseconds as f64, row.measure);
                    format!("{} / {}", time(p50), time(p99))
                })
            }),
            pairs: headline.map_or(0, |summary| summary.pairs).to_string(),
            far,
            target,
        }
    }

    fn array(self) -> [String; COLUMNS.len()] {
        let [lead_latency, peer_latency] = self.latencies;
        [
            self.lead,
            self.peer,
            self.ratio,
            self.quartiles,
            self.lead_figure,
            self.peer_figure,
            lead_latency,
            peer_latency,
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
    let kept = shares.near + shares.far + shares.alone + shares.scheduled;
    let total = kept + shares.moved + shares.crowded;
    format!(
        "{total} pairs of {} ms slices: {} near, {} far, {} on one processor, {} as scheduled; dropped: {} \
         because the machine moved, {} because other work took a share.",
        report.slice_ms,
        shares.near,
        shares.far,
        shares.alone,
        shares.scheduled,
        shares.moved,
        shares.crowded
    )
}

/// For a terminal.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = format!("{}: {}\n", report.family, report.title);
    for rows in workloads(report) {
        let _infallible = writeln!(out, "\n{}: {}", rows[0].workload, reading(&rows[0]));
        let (columns, mut lines) = table(report, rows);
        lines.insert(0, columns.iter().map(|(heading, ..)| (*heading).to_owned()).collect());
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..columns.len()).map(|c| width(c).unwrap_or(0)).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).zip(&columns);
            let cells = cells.map(|((cell, &width), &(.., to_the_right))| {
                if to_the_right { format!("{cell:>width$}") } else { format!("{cell:width$}") }
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
        let (columns, lines) = table(report, rows);
        let headings: Vec<_> = columns.iter().map(|(heading, ..)| *heading).collect();
        let rulers: Vec<_> = columns.iter().map(|(_, ruler, _)| *ruler).collect();
        let _infallible = writeln!(out, "| {} |\n|{}|", headings.join(" | "), rulers.join("|"));
        for line in lines {
            let cells: Vec<_> = line.iter().map(|cell| escaped(cell)).collect();
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
    fn latencies_have_columns_where_there_are_any() {
        let mut report = report("ours", "theirs", 2.5);
        assert!(!text(&report).contains("p99") && !markdown(&report).contains("p99"));
        let row = &mut report.rows[0];
        row.measure = crate::subject::Measure::RoundTrip;
        let latencies = [Latency { p50: 220, p99: 1400 }, Latency { p50: 61_000, p99: 90_000 }];
        row.outcome.summaries[0].latencies = Some(latencies);
        for form in [text(&report), markdown(&report)] {
            for part in ["p99", "220 ns / 1.40 µs", "61.0 µs / 90.0 µs"] {
                assert!(form.contains(part), "{part} in {form}");
            }
            let table: Vec<&str> = form.lines().filter(|line| line.starts_with("| ")).collect();
            let cells = |line: &str| line.matches('|').count();
            assert!(table.windows(2).all(|two| cells(two[0]) == cells(two[1])), "{form}");
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
