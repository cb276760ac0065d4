//! What the two sides do: the left one decides and measures, the right ones answer.
//!
//! The left side owns the first processor. At the other end stands a process, a thread of the left
//! side, or one of each when a row compares two processes with two threads; only one is awake.

use std::panic;
use std::thread;

use core::array;
use core::hint::spin_loop;
use core::panic::AssertUnwindSafe;

use crate::board::{Answer, Board, Desk, Order};
use crate::probe;
use crate::runner::Plan;
use crate::stats::{self, Placement, Sample, Verdict};
use crate::subject::{Audit, Cpus, Done, Ends, Latency, Measure, Probe, Role, Sides, Slice, Wrong};
use crate::sys::{self, RunDelay};

/// How long a side spins at a meeting before it sleeps: half a millisecond, far more than the
/// other side's bookkeeping takes.
const PATIENCE: u32 = 20_000;
/// What the right side may take to wake up before a slice with a deadline begins.
const WAKE: u64 = 200_000;
/// A counted slice that took this many times its length may end early, if the subject can.
const PATIENT: u64 = 4;
/// No slice grows by more than this at once, so that one wrong guess cannot hang the run.
const GROWTH: u64 = 8;
/// A thread that was put on a processor more often than this in a slice went to sleep by itself,
/// and its waiting times are the cost of waking, not of neighbours.
const DISPATCHES: u64 = 16;

/// What both sides know of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) board: &'static Board,
    pub(crate) plan: Plan,
    pub(crate) measure: Measure,
    pub(crate) cpus: Cpus,
    pub(crate) probe: Probe,
    /// What stands at the right end of the lead and of the peer.
    pub(crate) sides: [Sides; 2],
    pub(crate) allowed: [usize; 2],
}

impl Setting {
    /// Whether a right side of this kind is needed at all.
    pub(crate) fn needs(&self, sides: Sides) -> bool {
        self.measure != Measure::Alone && self.sides.contains(&sides)
    }

    fn desk(&self, sides: Sides) -> &'static Desk {
        &self.board.desks[sides as usize]
    }

    /// Puts the calling side where it belongs: the left one on the first processor, the right one on the same or on
    /// the other.
    fn pin(&self, side: usize) {
        let cpu = match self.cpus {
            Cpus::Two => self.allowed[side],
            Cpus::One => self.allowed[0],
            Cpus::Unpinned | Cpus::Oversubscribed => return,
        };
        sys::pin(cpu).unwrap_or_else(|error| self.board.fail(&format!("pinning: {error}")));
    }

    /// Where the other side may need this processor, spinning only keeps it from running.
    fn patience(&self) -> u32 {
        match self.cpus {
            Cpus::Two | Cpus::Unpinned => PATIENCE,
            Cpus::One | Cpus::Oversubscribed => 0,
        }
    }
}

/// The right process: serves its desk until it is killed.
pub(crate) fn right_process(setting: Setting, ends: &mut [Ends; 2]) {
    let mut roles = ends.each_mut().map(|ends| &mut ends.right);
    serve(setting, Sides::Processes, &mut roles)
}

/// The left process: measures all pairs, then returns.
pub(crate) fn left_process(setting: Setting, ends: [Ends; 2]) {
    let mut lefts = Vec::new();
    let mut rights = Vec::new();
    for end in ends {
        lefts.push((end.left, end.audit));
        rights.push(end.right);
    }
    if setting.needs(Sides::Threads) {
        thread::spawn(move || {
            let served = panic::catch_unwind(AssertUnwindSafe(|| {
                let [lead, peer] = &mut rights[..] else { unreachable!("a row has two subjects") };
                serve(setting, Sides::Threads, &mut [lead, peer]);
            }));
            if served.is_err() {
                setting.board.fail("the right thread panicked");
            }
        });
    }
    setting.pin(0);
    let mut left = Left {
        setting,
        subjects: lefts,
        paces: [Pace::new(); 2],
        delay: RunDelay::of_this_thread(),
    };
    left.warm_up();
    left.measure();
}

/// Takes what it gets of the processors until it is killed.
pub(crate) fn busy_process() {
    loop {
        spin_loop();
    }
}

fn serve(setting: Setting, sides: Sides, roles: &mut [&mut Role; 2]) {
    let Setting { board, .. } = setting;
    setting.pin(1);
    let desk = setting.desk(sides);
    let delay = RunDelay::of_this_thread();
    let mut seen = 0;
    loop {
        match desk.next_order(&mut seen) {
            Order::Probe(rounds) => {
                desk.meet(setting.patience());
                probe::echo(&board.line.0, rounds);
            }
            Order::Slice(subject, slice) => {
                let watch = delay.start();
                desk.meet(setting.patience());
                let start = sys::now();
                let done = run(board, roles[subject], slice);
                let ended = sys::now();
                let delayed = watch.share_of(ended.saturating_sub(start));
                desk.answer(Answer { done, ended, delayed: (delayed * 1e6) as u64 });
            }
        }
        desk.meet(setting.patience());
    }
}

fn run(board: &Board, role: &mut Role, slice: Slice) -> Done {
    role(slice).unwrap_or_else(|Wrong(reason)| board.fail(&format!("wrong result: {reason}")))
}

/// The deciding side.
struct Left {
    setting: Setting,
    subjects: Vec<(Role, Audit)>,
    paces: [Pace; 2],
    delay: RunDelay,
}

/// The time of one slice.
#[derive(Clone, Copy, Debug)]
struct Timed {
    nanoseconds_each: f64,
    wall: u64,
    delayed: f64,
    latency: Latency,
}

impl Left {
    /// Runs each subject until its slices have the planned length.
    fn warm_up(&mut self) {
        let slice = self.setting.plan.slice.as_nanos() as u64;
        for subject in 0..2 {
            for _ in 0..32 {
                if self.slice(subject).wall >= slice / 2 {
                    break;
                }
            }
        }
    }

    /// Alternates until enough pairs are kept or the time of the row is over.
    fn measure(&mut self) {
        let Setting { board, plan, .. } = self.setting;
        let end = sys::now() + plan.row_limit.as_nanos() as u64;
        let mut kept = [0; Placement::ALL.len()];
        let mut before = self.probe();
        for pair in 0.. {
            while plan.seek_near && self.setting.probe == Probe::Line && before >= stats::NEAR {
                if sys::now() >= end {
                    return;
                }
                before = self.probe();
            }
            // Who goes first changes, so that a drift of the machine favours nobody.
            let first = pair % 2;
            let mut timed = [None; 2];
            timed[first] = Some(self.slice(first));
            let between = self.probe();
            timed[1 - first] = Some(self.slice(1 - first));
            let after = self.probe();
            let [Some(lead), Some(peer)] = timed else { unreachable!("both were measured") };
            let sample = Sample {
                probes: [before, between, after],
                lead: lead.nanoseconds_each,
                peer: peer.nanoseconds_each,
                delayed: lead.delayed.max(peer.delayed),
                latencies: [lead.latency, peer.latency],
            };
            before = after;
            let room = board.keep(&sample);
            if let Verdict::Kept(placement) = stats::judge(&sample, self.setting.probe) {
                kept[placement as usize] += 1;
            }
            if kept.contains(&plan.pairs) || !room || sys::now() >= end {
                return;
            }
        }
    }

    fn probe(&self) -> f64 {
        let Setting { board, .. } = self.setting;
        match self.setting.probe {
            Probe::Line => {}
            Probe::Pulse => return probe::pulse(),
            Probe::None => return 0.0,
        }
        let desk = self.setting.desk(self.setting.sides[0]);
        board.line.0.store(0, core::sync::atomic::Ordering::Relaxed);
        desk.order(Order::Probe(probe::ECHOES));
        desk.meet(self.setting.patience());
        let nanoseconds = probe::ping(&board.line.0);
        desk.meet(self.setting.patience());
        nanoseconds
    }

    fn slice(&mut self, subject: usize) -> Timed {
        let Setting { board, plan, measure, sides, .. } = self.setting;
        let length = plan.slice.as_nanos() as u64;
        board.progress.start(subject);
        let slice = match measure {
            Measure::Contended => Slice { count: 0, deadline: sys::now() + WAKE + length },
            _ => Slice {
                count: self.paces[subject].count(length),
                deadline: sys::now() + WAKE + PATIENT * length,
            },
        };
        let desk = (measure != Measure::Alone).then(|| self.setting.desk(sides[subject]));
        let patience = self.setting.patience();
        if let Some(desk) = desk {
            desk.order(Order::Slice(subject, slice));
        }
        let watch = self.delay.start();
        if let Some(desk) = desk {
            desk.meet(patience);
        }
        let (role, audit) = &mut self.subjects[subject];
        let start = sys::now();
        let left = run(board, role, slice);
        let ended = sys::now();
        let mut delayed = watch.share_of(ended - start);
        let right = desk.map_or_else(Answer::default, |desk| {
            desk.meet(patience);
            desk.answered()
        });
        delayed = delayed.max(right.delayed as f64 / 1e6);
        if let Err(Wrong(reason)) = audit(left, right.done) {
            board.fail(&format!("wrong result: {reason}"));
        }
        let wall = match measure {
            Measure::Stream | Measure::Contended => ended.max(right.ended) - start,
            Measure::RoundTrip | Measure::Alone => ended - start,
        };
        let operations = match measure {
            Measure::Contended => left.operations + right.done.operations,
            _ => left.operations,
        };
        self.paces[subject].learn(wall, left.operations);
        let counted = [left.nanoseconds, right.done.nanoseconds];
        let counted = counted.into_iter().flatten().reduce(|a, b| a + b).unwrap_or(wall);
        let nanoseconds_each = counted as f64 / operations as f64;
        Timed { nanoseconds_each, wall, delayed, latency: left.latency.unwrap_or_default() }
    }
}

/// How many operations fill a slice, learnt from the slice before.
#[derive(Clone, Copy, Debug)]
struct Pace {
    last: u64,
    nanoseconds_each: Option<f64>,
}

impl Pace {
    const fn new() -> Self {
        Self { last: Slice::GRAIN, nanoseconds_each: None }
    }

    fn count(&mut self, length: u64) -> u64 {
        let wanted = self.nanoseconds_each.map_or(self.last, |each| (length as f64 / each) as u64);
        let count = wanted.min(self.last.saturating_mul(GROWTH)).max(Slice::GRAIN);
        self.last = count - count % Slice::GRAIN;
        self.last
    }

    fn learn(&mut self, wall: u64, operations: u64) {
        self.nanoseconds_each = Some((wall.max(1)) as f64 / operations.max(1) as f64);
    }
}

impl RunDelay {
    fn start(&self) -> Watch<'_> {
        Watch { delay: self, before: self.total() }
    }
}

/// Counts how long a thread waited for its processor during a slice.
struct Watch<'a> {
    delay: &'a RunDelay,
    before: [u64; 2],
}

impl Watch<'_> {
    fn share_of(&self, wall: u64) -> f64 {
        let after = self.delay.total();
        let [waited, dispatched] = array::from_fn(|i| after[i].saturating_sub(self.before[i]));
        if dispatched > DISPATCHES { 0.0 } else { waited as f64 / wall.max(1) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_reaches_the_length_and_follows_the_machine() {
        let mut pace = Pace::new();
        let count = |pace: &mut Pace, each: u64| {
            let count = pace.count(16_000_000);
            pace.learn(count * each, count);
            count
        };
        let first = count(&mut pace, 10);
        assert_eq!(first, Slice::GRAIN);
        assert_eq!(count(&mut pace, 10), GROWTH * first, "one step is bounded");
        for _ in 0..8 {
            count(&mut pace, 10);
        }
        let settled = count(&mut pace, 10);
        assert_eq!(settled, 1_600_000);
        assert_eq!(count(&mut pace, 40), settled, "slow only after it was seen");
        assert_eq!(count(&mut pace, 40), 400_000);
        assert_eq!(count(&mut pace, 40) % Slice::GRAIN, 0);
    }
}
