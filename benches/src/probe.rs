//! How fast this machine is at the moment: what a slice is labelled with.
//!
//! On a virtual machine two runs of one binary can differ fivefold, because the host moved the two
//! processors apart, and twofold, because a neighbour shares one of them. The probe tells both
//! states before and after each slice; pairs in which it changed are dropped.

use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicU64, Ordering::*};

use crate::sys;

/// Batches per probe; the median of the batches is reported, so that a timer tick does not count.
const BATCHES: u64 = 5;
/// Round trips in a batch.
const ROUNDS: u64 = 250;
/// Steps of arithmetic in a batch.
const STEPS: u64 = 40_000;

/// Round trips that the echoing side answers in one probe.
pub(crate) const ECHOES: u64 = BATCHES * ROUNDS;

/// The left side of a ping-pong on one line: nanoseconds for a round trip.
///
/// The line holds 0 before, and [`echo`] runs on the other processor.
pub(crate) fn ping(line: &AtomicU64) -> f64 {
    let mut token = 0;
    median_of(ROUNDS as f64, || {
        for _ in 0..ROUNDS {
            token += 2;
            line.store(token - 1, Release);
            while line.load(Acquire) != token {
                spin_loop();
            }
        }
    })
}

/// The right side of [`ping`].
pub(crate) fn echo(line: &AtomicU64, rounds: u64) {
    for round in 1..=rounds {
        while line.load(Acquire) != 2 * round - 1 {
            spin_loop();
        }
        line.store(2 * round, Release);
    }
}

/// Nanoseconds for a thousand dependent multiplications: the speed of one processor.
pub(crate) fn pulse() -> f64 {
    let mut value = black_box(3_u64);
    let nanoseconds = median_of(STEPS as f64 / 1000.0, || {
        for step in 0..STEPS {
            value = (value ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        value = black_box(value);
    });
    black_box(value);
    nanoseconds
}

fn median_of(units: f64, mut batch: impl FnMut()) -> f64 {
    let mut times: [u64; BATCHES as usize] = core::array::from_fn(|_| {
        let start = sys::now();
        batch();
        sys::now() - start
    });
    times.sort_unstable();
    times[times.len() / 2] as f64 / units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ping_is_echoed() {
        let line = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| echo(&line, ECHOES));
            assert!(ping(&line) > 0.0);
        });
        assert_eq!(line.load(Relaxed), 2 * ECHOES);
    }

    #[test]
    fn pulse_takes_time() {
        assert!(pulse() > 0.0);
    }
}
