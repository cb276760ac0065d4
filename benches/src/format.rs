//! Numbers as people read them: three digits and a unit.

use crate::subject::Measure;

/// Three significant digits, as a ratio or a figure is worth here.
#[must_use]
pub fn three_digits(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        size if size >= 0.099_95 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// Nanoseconds per operation, as the figure that the measure speaks of.
#[must_use]
pub fn figure(nanoseconds: f64, measure: Measure) -> String {
    if measure.is_rate() {
        let per_second = 1e9 / nanoseconds;
        match per_second {
            rate if rate >= 0.9995e9 => format!("{} G/s", three_digits(rate / 1e9)),
            rate if rate >= 0.9995e6 => format!("{} M/s", three_digits(rate / 1e6)),
            rate => format!("{} k/s", three_digits(rate / 1e3)),
        }
    } else {
        match nanoseconds {
            time if time >= 0.9995e6 => format!("{} ms", three_digits(time / 1e6)),
            time if time >= 0.9995e3 => format!("{} µs", three_digits(time / 1e3)),
            time => format!("{} ns", three_digits(time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        let cases = [(0.0028, "0.0028"), (0.65, "0.650"), (2.784, "2.78"), (21.57, "21.6")];
        for (value, text) in cases {
            assert_eq!(three_digits(value), text);
        }
        assert_eq!(three_digits(255.78), "256");
        assert_eq!(three_digits(99.96), "100");
        assert_eq!(three_digits(f64::NAN), "–");
    }

    #[test]
    fn figures() {
        assert_eq!(figure(5.0, Measure::Stream), "200 M/s");
        assert_eq!(figure(1400.0, Measure::Stream), "714 k/s");
        assert_eq!(figure(0.5, Measure::Contended), "2.00 G/s");
        assert_eq!(figure(4.6, Measure::Alone), "4.60 ns");
        assert_eq!(figure(33_821.0, Measure::RoundTrip), "33.8 µs");
        assert_eq!(figure(2.5e6, Measure::RoundTrip), "2.50 ms");
    }
}
