//! A plot of the ratios: one line for each row, on a logarithmic axis.
//!
//! The bar is the middle half of the pairs, the whisker 5 % to 95 %, the dot the median. Far pairs
//! are drawn in grey below. A target is a tick with a triangle on the side where the dot belongs.

use core::fmt::Write as _;

use crate::format::three_digits;
use crate::report::{Report, Row};
use crate::stats::{Placement, Summary};
use crate::table;
use crate::targets::Bound;

const WIDTH: f64 = 1000.0;
/// Where the axis begins and ends.
const LEFT: f64 = 420.0;
const RIGHT: f64 = 940.0;
/// Height of the title, of a workload's heading, and of a row.
const TOP: f64 = 64.0;
const HEADING: f64 = 30.0;
const LINE: f64 = 26.0;
const BOTTOM: f64 = 90.0;

const INK: &str = "#222";
const FAINT: &str = "#767676";
const GRID: &str = "#ddd";
const NEAR: &str = "#0a5fa5";
const FAR: &str = "#a9a9a9";
const TARGET: &str = "#b3261e";

/// The plot as an SVG document.
#[must_use]
pub fn svg(report: &Report) -> String {
    let axis = Axis::of(report);
    let mut body = String::new();
    let mut y = TOP;
    for rows in report.rows.chunk_by(|a, b| a.workload == b.workload) {
        y += HEADING;
        let better = if rows[0].measure.is_rate() { "→ better" } else { "← better" };
        text(&mut body, 16.0, y - 8.0, "start", INK, "bold", &rows[0].workload);
        text(&mut body, RIGHT, y - 8.0, "end", FAINT, "normal", better);
        for row in rows {
            y += LINE;
            draw(&mut body, report, row, &axis, y - LINE / 2.0);
        }
    }
    let end = y + 8.0;
    let height = end + BOTTOM;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    text(&mut out, 16.0, 26.0, "start", INK, "bold", &report.title);
    let caption = "ratio lead : peer; dot median, bar quartiles, line 5 – 95 %; blue near, one \
                   processor or unpinned, grey far, red target";
    text(&mut out, 16.0, 46.0, "start", FAINT, "normal", caption);
    for tick in axis.ticks() {
        let x = axis.x(tick);
        let stroke = if tick == 1.0 { INK } else { GRID };
        line(&mut out, x, TOP, x, end, stroke, 1.0);
        text(&mut out, x, end + 18.0, "middle", INK, "normal", &plain(tick));
    }
    out.push_str(&body);
    let [machine, program] = report.machine.sentences();
    for (at, note) in [table::shares(report), machine, program].iter().enumerate() {
        let _infallible = writeln!(
            out,
            "<text x=\"16\" y=\"{}\" font-size=\"10\" fill=\"{FAINT}\">{}</text>",
            end + 42.0 + 16.0 * at as f64,
            escaped(note)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, report: &Report, row: &Row, axis: &Axis, y: f64) {
    let label = format!("{} : {}", row.lead, row.peer);
    text(out, LEFT - 16.0, y + 4.0, "end", INK, "normal", &label);
    let headline = row.outcome.headline();
    if let Some(far) = row.outcome.at(Placement::Far) {
        mark(out, axis, far, if headline.is_some() { y + 7.0 } else { y }, FAR, 2.5);
    }
    if let Some(target) = report.targets.iter().find(|target| target.name() == row.name()) {
        let (bound, side) = match target.bound {
            Bound::AtLeast(bound) => (bound, 6.0),
            Bound::AtMost(bound) => (bound, -6.0),
        };
        let x = axis.x(bound);
        line(out, x, y - 10.0, x, y + 10.0, TARGET, 2.0);
        let tip = x + side;
        let _infallible = writeln!(
            out,
            "<path d=\"M{x:.1} {:.1} L{tip:.1} {:.1} L{x:.1} {:.1} Z\" fill=\"{TARGET}\"/>",
            y - 10.0,
            y - 7.0,
            y - 4.0
        );
    }
    if let Some(summary) = headline {
        mark(out, axis, summary, y, NEAR, 4.0);
    }
    let shown = headline.or_else(|| row.outcome.at(Placement::Far));
    let (ratio, ink) = shown.map_or_else(
        || ("–".to_owned(), FAINT),
        |s| (three_digits(s.ratio.median), if headline.is_some() { NEAR } else { FAINT }),
    );
    text(out, WIDTH - 8.0, y + 4.0, "end", ink, "normal", &ratio);
}

fn mark(out: &mut String, axis: &Axis, summary: &Summary, y: f64, ink: &str, radius: f64) {
    let ratio = summary.ratio;
    line(out, axis.x(ratio.low), y, axis.x(ratio.high), y, ink, 1.2);
    line(out, axis.x(ratio.first), y, axis.x(ratio.third), y, ink, radius * 1.2);
    let _infallible = writeln!(
        out,
        "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{ink}\" stroke=\"white\"/>",
        axis.x(ratio.median)
    );
}

/// Ratios on a logarithmic scale.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// Holds every whisker, every target, and 1.
    fn of(report: &Report) -> Self {
        let bounds = report.targets.iter().filter(|t| t.ratio.is_some()).map(|t| match t.bound {
            Bound::AtLeast(bound) | Bound::AtMost(bound) => bound,
        });
        let ratios = report.rows.iter().flat_map(|row| &row.outcome.summaries);
        let shown: Vec<f64> = ratios
            .flat_map(|summary| [summary.ratio.low, summary.ratio.high])
            .chain(bounds)
            .chain([0.8, 1.25])
            .filter(|value| value.is_finite() && *value > 0.0)
            .collect();
        let low = shown.iter().copied().fold(f64::INFINITY, f64::min);
        let high = shown.iter().copied().fold(0.0, f64::max);
        Self { low: low / 1.1, high: high * 1.1 }
    }

    fn x(&self, ratio: f64) -> f64 {
        let share = (ratio / self.low).ln() / (self.high / self.low).ln();
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    /// 1, 2, 5 and their decades; only decades where the axis is long.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let steps: &[f64] = if self.high / self.low > 500.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let Self { low, high } = *self;
        (-9..10)
            .flat_map(|decade| steps.iter().map(move |step| (step, decade)))
            .map(|(step, decade)| format!("{step}e{decade}").parse().unwrap_or(1.0))
            .filter(move |tick| (low..=high).contains(tick))
    }
}

/// A tick without digits that say nothing.
fn plain(tick: f64) -> String {
    format!("{tick}")
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, ink: &str, weight: &str, text: &str) {
    let _infallible = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{ink}\" \
         font-weight=\"{weight}\">{}</text>",
        escaped(text)
    );
}

fn line(out: &mut String, x1: f64, y1: f64, x2: f64, y2: f64, ink: &str, width: f64) {
    let _infallible = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{ink}\" \
         stroke-width=\"{width:.1}\"/>"
    );
}

/// Text as XML wants it.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, char| {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to write the other control characters.
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn names_are_escaped() {
        let svg = svg(&report("<lead> & \"co\"\u{7}", "peer", 2.0));
        assert!(svg.contains("&lt;lead&gt; &amp; &quot;co&quot;\u{fffd}"), "{svg}");
        assert!(!svg.contains("<lead>"));
    }

    #[test]
    fn axis_holds_every_ratio_and_the_one() {
        for ratio in [0.003, 0.9, 1.0, 7.0, 12_000.0] {
            let axis = Axis::of(&report("a", "b", ratio));
            let (one, here) = (axis.x(1.0), axis.x(ratio));
            assert!(LEFT < one && one < RIGHT && LEFT < here && here < RIGHT, "{ratio}");
            assert_eq!(ratio > 1.0, here > one);
            assert!(axis.ticks().any(|tick| tick == 1.0));
        }
    }
}
