//! From pairs of slices to one ratio.

use serde::{Deserialize, Serialize};

use crate::subject::{Latency, Measure, Probe};

/// Two slices measured one after the other, and the probes around them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Before the first slice, between the two, and after the second, in nanoseconds.
    pub probes: [f64; 3],
    /// Nanoseconds per operation of the lead.
    pub lead: f64,
    /// Nanoseconds per operation of the peer.
    pub peer: f64,
    /// The larger share of either slice in which something else had one of the processors.
    pub delayed: f64,
    /// The single round trips of the lead's slice, and of the peer's; zeros where none was timed.
    pub latencies: [Latency; 2],
}

impl Sample {
    pub(crate) const WORDS: usize = 10;

    pub(crate) fn to_words(self) -> [u64; Self::WORDS] {
        let [a, b, c] = self.probes.map(f64::to_bits);
        let [lead, peer, delayed] = [self.lead, self.peer, self.delayed].map(f64::to_bits);
        let [left, right] = self.latencies;
        [a, b, c, lead, peer, delayed, left.p50, left.p99, right.p50, right.p99]
    }

    pub(crate) fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [a, b, c, lead, peer, delayed, times @ ..] = words;
        let [a, b, c, lead, peer, delayed] = [a, b, c, lead, peer, delayed].map(f64::from_bits);
        let [left, right] = [[times[0], times[1]], [times[2], times[3]]];
        let latencies = [left, right].map(|[p50, p99]| Latency { p50, p99 });
        Self { probes: [a, b, c], lead, peer, delayed, latencies }
    }
}

/// Where the processors were during a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// They share a cache: a line goes there and back in less than [`NEAR`].
    Near,
    /// They do not.
    Far,
    /// Only one processor takes part.
    Alone,
    /// Wherever the scheduler put them.
    Scheduled,
}

impl Placement {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Near, Self::Far, Self::Alone, Self::Scheduled];

    /// The word of the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
            Self::Alone => "one cpu",
            Self::Scheduled => "as scheduled",
        }
    }
}

/// A round trip of the probe below this many nanoseconds is near.
pub const NEAR: f64 = 150.0;
/// Probes agree when the slowest takes at most this many times the fastest.
pub const AGREE: f64 = 1.5;
/// A pair is crowded when something else had a processor for more than this share of a slice.
pub const CROWDED: f64 = 0.1;

/// What a pair is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ratio counts, under this label.
    Kept(Placement),
    /// The probes disagree: the machine changed under the pair.
    Moved,
    /// Other work on the machine took a share of the time.
    Crowded,
}

/// Judges one pair, of which `probe` made the probes. Without one there is nothing to judge by but the times: other
/// work is a part of what is measured then.
#[must_use]
pub fn judge(sample: &Sample, probe: Probe) -> Verdict {
    let timed = |time: f64| time.is_finite() && time > 0.0;
    let both_timed = timed(sample.lead) && timed(sample.peer);
    if probe == Probe::None {
        return if both_timed { Verdict::Kept(Placement::Scheduled) } else { Verdict::Crowded };
    }
    let probes_line = probe == Probe::Line;
    let slowest = sample.probes.iter().copied().fold(0.0, f64::max);
    let fastest = sample.probes.iter().copied().fold(f64::INFINITY, f64::min);
    let on_both_sides = probes_line && fastest < NEAR && slowest >= NEAR;
    let sound =
        sample.probes.into_iter().all(timed) && slowest <= fastest * AGREE && !on_both_sides;
    if !sound {
        Verdict::Moved
    } else if sample.delayed > CROWDED || !both_timed {
        Verdict::Crowded
    } else if !probes_line {
        Verdict::Kept(Placement::Alone)
    } else if slowest < NEAR {
        Verdict::Kept(Placement::Near)
    } else {
        Verdict::Kept(Placement::Far)
    }
}

/// Five points of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// 5 % are smaller.
    pub low: f64,
    /// The first quartile.
    pub first: f64,
    /// The median.
    pub median: f64,
    /// The third quartile.
    pub third: f64,
    /// 5 % are larger.
    pub high: f64,
}

impl Quantiles {
    /// Of at least one value.
    ///
    /// # Panics
    /// Panics when `values` is empty.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        // Between two neighbours the quantile is interpolated, as R and NumPy do by default.
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, part) = (place.floor() as usize, place.fract());
            let above = (below + 1).min(values.len() - 1);
            values[below] + part * (values[above] - values[below])
        };
        Self { low: at(0.05), first: at(0.25), median: at(0.5), third: at(0.75), high: at(0.95) }
    }
}

/// The pairs of one placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Where the processors were.
    pub placement: Placement,
    /// How many pairs were kept.
    pub pairs: usize,
    /// Lead over peer, pair by pair: of rates where the measure is a rate, else of times.
    pub ratio: Quantiles,
    /// Median nanoseconds per operation of the lead.
    pub lead: f64,
    /// Median nanoseconds per operation of the peer.
    pub peer: f64,
    /// Median of the probes, in nanoseconds.
    pub probe: f64,
    /// Of the slices' own medians and 99th percentiles, the medians: the lead's and the peer's. `None` where single round
    /// trips are not what is measured.
    #[serde(default)]
    pub latencies: Option<[Latency; 2]>,
}

/// A row in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// One entry for each placement in which a pair was kept.
    pub summaries: Vec<Summary>,
    /// Pairs dropped because the machine moved.
    pub moved: usize,
    /// Pairs dropped because other work took a share.
    pub crowded: usize,
}

impl Outcome {
    /// Sorts the pairs by placement and takes the median of their ratios.
    #[must_use]
    pub fn of(samples: &[Sample], measure: Measure, probe: Probe) -> Self {
        let verdicts: Vec<_> = samples.iter().map(|sample| judge(sample, probe)).collect();
        let count = |verdict| verdicts.iter().filter(|&&other| other == verdict).count();
        let summaries = Placement::ALL
            .into_iter()
            .filter_map(|placement| {
                let kept: Vec<&Sample> = samples
                    .iter()
                    .zip(&verdicts)
                    .filter(|&(_, &verdict)| verdict == Verdict::Kept(placement))
                    .map(|(sample, _)| sample)
                    .collect();
                (!kept.is_empty()).then(|| summarise(placement, &kept, measure))
            })
            .collect();
        Self { summaries, moved: count(Verdict::Moved), crowded: count(Verdict::Crowded) }
    }

    /// The summary of one placement.
    #[must_use]
    pub fn at(&self, placement: Placement) -> Option<&Summary> {
        self.summaries.iter().find(|summary| summary.placement == placement)
    }

    /// The summary that targets speak of: near, or the only one there can be.
    #[must_use]
    pub fn headline(&self) -> Option<&Summary> {
        [Placement::Near, Placement::Alone, Placement::Scheduled]
            .into_iter()
            .find_map(|placement| self.at(placement))
    }
}

fn summarise(placement: Placement, kept: &[&Sample], measure: Measure) -> Summary {
    let all = |value: fn(&Sample) -> f64| Quantiles::of(kept.iter().map(|s| value(s)).collect());
    let ratio =
        if measure.is_rate() { |s: &Sample| s.peer / s.lead } else { |s: &Sample| s.lead / s.peer };
    Summary {
        placement,
        pairs: kept.len(),
        ratio: all(ratio),
        lead: all(|s| s.lead).median,
        peer: all(|s| s.peer).median,
        probe: all(|s| s.probes[1]).median,
        latencies: latencies(kept),
    }
}

fn latencies(kept: &[&Sample]) -> Option<[Latency; 2]> {
    let timed = |sample: &&&Sample| sample.latencies.iter().all(|latency| latency.p99 > 0);
    let timed: Vec<_> = kept.iter().filter(timed).map(|sample| sample.latencies).collect();
    let median = |side: usize, value: fn(Latency) -> u64| {
        let mut values: Vec<u64> = timed.iter().map(|sides| value(sides[side])).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    };
    (!timed.is_empty()).then(|| {
        [0, 1].map(|side| Latency {
            p50: median(side, |latency| latency.p50),
            p99: median(side, |latency| latency.p99),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(lead: f64, peer: f64) -> Sample {
        Sample {
            probes: [53.0, 55.0, 54.0],
            lead,
            peer,
            delayed: 0.0,
            latencies: [Latency::default(); 2],
        }
    }

    #[test]
    fn ratio_is_the_median_of_pairs_not_the_ratio_of_medians() {
        // The machine slows down threefold after the first pair; each pair still says 2.
        let samples = [near(1.0, 2.0), near(3.0, 6.0), near(3.0, 6.0), near(1.0, 9.0)];
        let outcome = Outcome::of(&samples, Measure::Stream, Probe::Line);
        let summary = outcome.at(Placement::Near).unwrap();
        assert_eq!((summary.pairs, summary.ratio.median), (4, 2.0));
        assert_eq!((summary.lead, summary.peer), (2.0, 6.0), "medians of the sides say 3");
    }

    #[test]
    fn rates_and_times_are_each_others_inverse() {
        let samples = [near(2.0, 8.0)];
        let of = |measure| Outcome::of(&samples, measure, Probe::Line).summaries[0].ratio.median;
        assert_eq!(of(Measure::Stream), 4.0);
        assert_eq!(of(Measure::Contended), 4.0);
        assert_eq!(of(Measure::RoundTrip), 0.25);
        assert_eq!(of(Measure::Alone), 0.25);
    }

    #[test]
    fn pairs_whose_probes_disagree_are_dropped() {
        let probes = |probes| Sample { probes, ..near(1.0, 2.0) };
        let judged = |sample| judge(&sample, Probe::Line);
        assert_eq!(judged(near(1.0, 2.0)), Verdict::Kept(Placement::Near));
        assert_eq!(judged(probes([330.0, 340.0, 320.0])), Verdict::Kept(Placement::Far));
        assert_eq!(judged(probes([53.0, 54.0, 330.0])), Verdict::Moved);
        assert_eq!(judged(probes([53.0, 330.0, 53.0])), Verdict::Moved);
        assert_eq!(judged(probes([330.0, 54.0, 53.0])), Verdict::Moved);
        assert_eq!(judged(probes([330.0, 700.0, 700.0])), Verdict::Moved);
        assert_eq!(judged(probes([140.0, 155.0, 140.0])), Verdict::Moved, "across the border");
        assert_eq!(judged(probes([f64::NAN; 3])), Verdict::Moved);
        // The pulse knows no border, only agreement.
        let pulse = |sample| judge(&sample, Probe::Pulse);
        assert_eq!(pulse(probes([140.0, 155.0, 140.0])), Verdict::Kept(Placement::Alone));
        assert_eq!(pulse(probes([60.0, 121.0, 121.0])), Verdict::Moved);
    }

    #[test]
    fn crowded_and_untimed_pairs_are_dropped() {
        let judged = |sample| judge(&sample, Probe::Line);
        assert_eq!(judged(Sample { delayed: 0.11, ..near(1.0, 2.0) }), Verdict::Crowded);
        assert_eq!(judged(near(f64::INFINITY, 2.0)), Verdict::Crowded);
        assert_eq!(judged(near(1.0, 0.0)), Verdict::Crowded);
    }

    #[test]
    fn without_a_probe_every_timed_pair_counts() {
        let judged = |sample| judge(&sample, Probe::None);
        let scheduled = Verdict::Kept(Placement::Scheduled);
        assert_eq!(judged(Sample { probes: [0.0; 3], ..near(1.0, 2.0) }), scheduled);
        assert_eq!(judged(Sample { delayed: 0.9, ..near(1.0, 2.0) }), scheduled);
        assert_eq!(judged(near(0.0, 2.0)), Verdict::Crowded);
        let outcome = Outcome::of(&[near(1.0, 2.0)], Measure::Stream, Probe::None);
        assert_eq!(outcome.headline().unwrap().placement, Placement::Scheduled);
    }

    #[test]
    fn latencies_are_medians_of_the_slices_that_timed_some() {
        let sample = |p50, p99| Sample {
            latencies: [Latency { p50, p99 }, Latency { p50: 2 * p50, p99: 3 * p99 }],
            ..near(1.0, 2.0)
        };
        let samples = [sample(5, 9), near(1.0, 2.0), sample(7, 30), sample(6, 12)];
        let outcome = Outcome::of(&samples, Measure::RoundTrip, Probe::Line);
        let expected = [Latency { p50: 6, p99: 12 }, Latency { p50: 12, p99: 36 }];
        assert_eq!(outcome.summaries[0].latencies, Some(expected));
        let outcome = Outcome::of(&samples[1..2], Measure::RoundTrip, Probe::Line);
        assert_eq!(outcome.summaries[0].latencies, None);
    }

    #[test]
    fn outcome_counts_what_it_drops() {
        let moved = Sample { probes: [53.0, 330.0, 330.0], ..near(1.0, 100.0) };
        let crowded = Sample { delayed: 0.5, ..near(1.0, 100.0) };
        let far = Sample { probes: [320.0, 340.0, 330.0], ..near(4.0, 4.0) };
        let samples = [near(1.0, 2.0), moved, far, crowded, moved, near(1.0, 2.0)];
        let outcome = Outcome::of(&samples, Measure::Stream, Probe::Line);
        assert_eq!((outcome.moved, outcome.crowded), (2, 1));
        assert_eq!(outcome.headline().unwrap().ratio.median, 2.0);
        assert_eq!(outcome.at(Placement::Far).unwrap().pairs, 1);
        assert_eq!(outcome.at(Placement::Alone), None);
    }

    #[test]
    fn no_headline_without_a_near_pair() {
        let far = Sample { probes: [330.0; 3], ..near(1.0, 2.0) };
        assert_eq!(Outcome::of(&[far], Measure::Stream, Probe::Line).headline(), None);
    }

    #[test]
    fn quantiles_interpolate() {
        let of = |values: &[f64]| Quantiles::of(values.to_vec());
        let quantiles = of(&[4.0, 1.0, 3.0, 2.0, 5.0]);
        assert_eq!((quantiles.first, quantiles.median, quantiles.third), (2.0, 3.0, 4.0));
        assert_eq!(of(&[1.0, 2.0]).median, 1.5);
        assert_eq!(
            of(&[7.0]),
            Quantiles { low: 7.0, first: 7.0, median: 7.0, third: 7.0, high: 7.0 }
        );
    }

    #[test]
    fn words_round_trip() {
        let latencies = [Latency { p50: 7, p99: 8 }, Latency { p50: 9, p99: 10 }];
        let sample =
            Sample { probes: [1.0, 2.0, 3.0], lead: 4.0, peer: 5.0, delayed: 6.0, latencies };
        assert_eq!(Sample::from_words(sample.to_words()), sample);
    }
}
