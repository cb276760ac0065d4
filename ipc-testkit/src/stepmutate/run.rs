//! The runs of one scenario, in a child, and what the parent learns of them.
//!
//! # Safety
//!
//! The hook of a child's panics knows the log by a pointer. The log is mapped for as long as the parent waits for the child.
#![expect(unsafe_code, reason = "a panic hook outlives what it borrows")]

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::io;
use std::time::Instant;

use super::plan::{Attack, Change, Random, Value, attacks, restless};
use super::stepper::{self, Go, Hook, Registers};
use super::suite::Most;
use super::{Answer, Arena, Report, Scenario};
use crate::shared::Shared;
use crate::stepkill::{procfs, watchdog};
use crate::sys;

/// What a child says, in memory that it shares with its parent.
struct Log {
    /// Points of the operation when nobody disturbs it: instruction number, offset and kind, and program counter.
    points: [[AtomicU64; 3]; MOST_POINTS],
    used: AtomicU64,
    instructions: AtomicU64,
    /// Instructions of an operation that does nothing.
    empty: AtomicU64,
    /// The run that is under way.
    run: AtomicU64,
    longest: AtomicU64,
    answers: [AtomicU64; 3],
    /// Where an access went that is not allowed, and the instruction.
    crash: [AtomicU64; 2],
    /// What was wrong.
    said: [AtomicU8; 300],
    length: AtomicU32,
}

const MOST_POINTS: usize = 4096;

/// An instruction at which the memory can be seen.
#[derive(Clone, Copy, Debug)]
struct Point {
    count: usize,
    seen: Seen,
    pc: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Access(usize),
    SystemCall,
}

/// A run takes less of a processor's time than this, and so much for each instruction that it may take, or it never ends.
const PATIENCE: Duration = Duration::from_millis(300);
const PATIENCE_PER_STEP: Duration = Duration::from_micros(20);
/// It takes less time than this, or it sleeps for ever. Others may be busy on this machine.
const LONG_PATIENCE: Duration = Duration::from_secs(40);

/// Exit codes of a child.
const DONE: i32 = 0;
const FLAW: i32 = 3;

/// Surveys the operation and attacks it, until there is `most` of that, or the flaws are `enough`.
pub(super) fn play<S, R>(
    scenario: &Scenario<'_, S, R>,
    most: Most,
    enough: impl Fn(&[String]) -> bool,
) -> io::Result<Report> {
    let start = Instant::now();
    let log = Shared::new(Log::new())?;
    let mut report = Report { name: scenario.name.clone(), ..Report::default() };
    if let Some(flaw) = child(scenario, &log, || survey(scenario, &log))? {
        report.flaws.push(format!("undisturbed: {flaw}"));
        return Ok(report);
    }
    let points = log.points();
    let values = Value::all(scenario.capacity, &scenario.values, &mut Random::new(7));
    let mut plan = attacks(points.len(), &scenario.words, &values);
    let instructions = log.instructions.load(Ordering::Relaxed) as usize;
    report.possible = plan.len();
    report.allowed = most.attacks.min(most.steps / instructions.max(1));
    thin_out(&mut plan, &points, report.allowed);
    let storms = scenario.storms.min(report.allowed / 4);
    let restless = restless(&scenario.words);
    let runs = Runs {
        scenario,
        points: &points,
        values: &values,
        plan: &plan,
        storms,
        restless,
        log: &log,
    };
    let mut next = 0;
    while next < runs.len() && !enough(&report.flaws) {
        let Some(flaw) = child(scenario, &log, || runs.from(next))? else {
            break;
        };
        let run = log.run.load(Ordering::Relaxed) as usize;
        report.flaws.push(format!("{}: {flaw}", runs.name(run)));
        next = run + 1;
    }
    report.instructions = instructions;
    report.accesses = points.iter().filter(|p| p.seen != Seen::SystemCall).count();
    report.calls = points.len() - report.accesses;
    report.words = scenario.words.len();
    report.runs = plan.len() + storms;
    report.restless = runs.restless.len();
    report.longest = log.longest.load(Ordering::Relaxed) as usize;
    report.answers = core::array::from_fn(|i| log.answers[i].load(Ordering::Relaxed) as usize);
    report.elapsed = start.elapsed();
    Ok(report)
}

/// Leaves `most` of the attacks, from everywhere among them: three quarters of those that change the very word that is
/// accessed next, as far as there are so many, for the others seldom change anything.
fn thin_out(plan: &mut Vec<Attack>, points: &[Point], most: usize) {
    if plan.len() <= most {
        return;
    }
    let (mut sharp, mut others): (Vec<_>, Vec<_>) = plan.iter().copied().partition(|attack| {
        matches!(points[attack.point].seen, Seen::Access(at) if attack.change.covers(at / 8 * 8))
    });
    pick(&mut sharp, most * 3 / 4);
    pick(&mut others, most - sharp.len());
    sharp.extend(others);
    *plan = sharp;
}

/// Leaves `most` of `attacks`: a random one of each stretch, so that neither points nor words nor values are left out in
/// a pattern.
fn pick(attacks: &mut Vec<Attack>, most: usize) {
    let all = attacks.len();
    if all > most {
        let mut random = Random::new(all as u64);
        let one = |i: usize| {
            let (first, end) = (i * all / most, (i + 1) * all / most);
            attacks[first + random.below(end - first)]
        };
        *attacks = (0..most).map(one).collect();
    }
}

/// Runs `work` in a child; what was wrong, if anything was.
fn child<S, R>(
    scenario: &Scenario<'_, S, R>,
    log: &Log,
    work: impl FnOnce() -> Result<(), String>,
) -> io::Result<Option<String>> {
    log.length.store(0, Ordering::Relaxed);
    log.crash[1].store(0, Ordering::Relaxed);
    let pid = sys::fork(|| {
        let panicked = Panicked(log);
        std::panic::set_hook(Box::new(move |panic| {
            panicked.exit(&format!("it panicked: {panic}"))
        }));
        match stepper::install().map_err(|e| e.to_string()).and_then(|()| work()) {
            Ok(()) => DONE,
            Err(what) => {
                log.say(&what);
                FLAW
            }
        }
    })?;
    let steps = u32::try_from(scenario.within).unwrap_or(u32::MAX);
    let patience = PATIENCE + PATIENCE_PER_STEP.saturating_mul(steps);
    let (mut run, mut since, mut used) = (u64::MAX, Instant::now(), Duration::ZERO);
    loop {
        match sys::poll_child(pid)? {
            Some(sys::Change::Exited(DONE)) => return Ok(None),
            Some(sys::Change::Exited(FLAW)) => return Ok(Some(log.heard())),
            Some(end) => return Ok(Some(format!("{end:?}; {}", log.heard()))),
            None => {}
        }
        let now = log.run.load(Ordering::Relaxed);
        if now != run {
            (run, since, used) = (now, Instant::now(), sys::processor_time(pid));
            watchdog::doing(&scenario.name);
        } else if since.elapsed() > LONG_PATIENCE
            || sys::processor_time(pid).saturating_sub(used) > patience
        {
            sys::kill(pid, libc::SIGKILL);
            sys::wait(pid)?;
            return Ok(Some(format!("it did not end; {}", log.heard())));
        }
        sys::wait_any_child(Duration::from_millis(20));
    }
}

/// Where a child says that it has panicked. The parent keeps the log mapped for as long as there are children.
struct Panicked(*const Log);

// SAFETY: a log is made of atomics.
unsafe impl Send for Panicked {}
// SAFETY: as above.
unsafe impl Sync for Panicked {}

impl Panicked {
    fn exit(&self, what: &str) -> ! {
        // SAFETY: mapped until the parent has seen this child's end.
        unsafe { &*self.0 }.say(what);
        sys::exit(FLAW)
    }
}

/// One undisturbed run, in which every access is caught by its fault.
fn survey<S, R>(scenario: &Scenario<'_, S, R>, log: &Log) -> Result<(), String> {
    let (_, empty) = stepper::step(&Nothing, || ());
    log.empty.store(empty as u64, Ordering::Relaxed);
    scenario.arena.restore();
    let mut state = (scenario.prepare)();
    scenario.arena.look_for_views().map_err(|e| e.to_string())?;
    let surveyor =
        Surveyor { arena: scenario.arena, log, locked: Cell::new(false), call: Cell::new(None) };
    let (result, count) = stepper::step(&surveyor, || (scenario.operation)(&mut state));
    scenario.arena.lock(false);
    log.instructions.store(count.saturating_sub(empty) as u64, Ordering::Relaxed);
    log.run.store(1, Ordering::Relaxed);
    (scenario.judge)(state, result, scenario.arena).map(drop)
}

struct Nothing;

impl Hook for Nothing {
    fn before(&self, _: usize, _: &Registers) -> Go {
        Go::On
    }

    fn fault(&self, _: usize, _: usize, _: u64) -> bool {
        false
    }
}

struct Surveyor<'a> {
    arena: &'a Arena,
    log: &'a Log,
    locked: Cell<bool>,
    /// The system call that is about to be made.
    call: Cell<Option<Registers>>,
}

impl Hook for Surveyor<'_> {
    fn before(&self, count: usize, at: &Registers) -> Go {
        // What the last instruction was a call for, if it was one.
        if let Some(made) = self.call.take() {
            self.arena.note_call(made.result, made.second, made.fifth as i32, at.result);
        }
        // The kernel does not fault: it would say EFAULT.
        let call = stepper::is_system_call(at.pc);
        if call {
            self.log.add(count, Seen::SystemCall, at.pc);
            self.call.set(Some(*at));
        }
        if self.locked.get() == call {
            self.locked.set(!call);
            self.arena.lock(!call);
        }
        Go::On
    }

    fn fault(&self, count: usize, address: usize, pc: u64) -> bool {
        let Some(offset) = self.arena.offset_of(address).filter(|_| self.locked.get()) else {
            return self.log.crash(address, pc);
        };
        self.log.add(count, Seen::Access(offset), pc);
        self.locked.set(false);
        self.arena.lock(false);
        true
    }
}

/// The attacks, one after the other: those of one change, the storms, and the words that are never at rest.
struct Runs<'a, 's, S, R> {
    scenario: &'a Scenario<'s, S, R>,
    points: &'a [Point],
    values: &'a [Value],
    plan: &'a [Attack],
    storms: usize,
    restless: Vec<Change>,
    log: &'a Log,
}

impl<S, R> Runs<'_, '_, S, R> {
    fn len(&self) -> usize {
        self.plan.len() + self.storms + self.restless.len()
    }

    /// The change that run number `run` makes before every instruction, if it is one of those.
    fn restless(&self, run: usize) -> Option<Change> {
        self.restless.get(run.checked_sub(self.plan.len() + self.storms)?).copied()
    }

    fn name(&self, run: usize) -> String {
        match (self.plan.get(run), self.restless(run)) {
            (Some(attack), _) => {
                let back = if attack.back { ", and back again" } else { "" };
                format!("{}{back}, before {}", attack.change, self.points[attack.point])
            }
            (None, Some(change)) => format!("{change}, before every instruction"),
            (None, None) => format!("storm {}", run - self.plan.len()),
        }
    }

    fn from(&self, first: usize) -> Result<(), String> {
        for run in first..self.len() {
            self.log.run.store(run as u64, Ordering::Relaxed);
            match (self.plan.get(run), self.restless(run)) {
                (Some(attack), _) => {
                    let peer = Peer {
                        arena: self.scenario.arena,
                        log: self.log,
                        at: self.points[attack.point].count,
                        until: self.points.get(attack.point + 1).map(|p| p.count),
                        attack: *attack,
                        old: Cell::new(0),
                        within: self.scenario.within,
                        over: Cell::new(false),
                    };
                    self.one(&peer, &peer.over, |offset| attack.change.covers(offset))?;
                }
                (None, Some(change)) => {
                    let restless = Restless {
                        arena: self.scenario.arena,
                        log: self.log,
                        change,
                        within: self.scenario.within,
                        over: Cell::new(false),
                    };
                    self.one(&restless, &restless.over, |offset| change.covers(offset))?;
                }
                (None, None) => {
                    let storm = Storm {
                        arena: self.scenario.arena,
                        log: self.log,
                        words: &self.scenario.words,
                        values: self.values,
                        random: RefCell::new(Random::new(run as u64)),
                        within: self.scenario.within,
                        over: Cell::new(false),
                    };
                    self.one(&storm, &storm.over, |offset| self.scenario.words.contains(&offset))?;
                }
            }
        }
        Ok(())
    }

    fn one(
        &self,
        hook: &dyn Hook,
        over: &Cell<bool>,
        changed: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let scenario = self.scenario;
        scenario.arena.restore();
        let mut state = (scenario.prepare)();
        let (result, count) = stepper::step(hook, || (scenario.operation)(&mut state));
        if over.get() {
            return Err(format!("it took more than {} instructions", scenario.within));
        }
        let count = count as u64 - self.log.empty.load(Ordering::Relaxed).min(count as u64);
        self.log.longest.fetch_max(count, Ordering::Relaxed);
        let allowed = |offset: usize| scenario.writes.iter().any(|range| range.contains(&offset));
        if let Some(offset) = scenario.arena.changed(|at| changed(at) || allowed(at)) {
            return Err(format!("it wrote at offset {offset:#x}"));
        }
        let answer = (scenario.judge)(state, result, scenario.arena)?;
        self.log.answers[answer as usize].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A peer that makes one change at one point.
struct Peer<'a> {
    arena: &'a Arena,
    log: &'a Log,
    attack: Attack,
    at: usize,
    until: Option<usize>,
    old: Cell<u64>,
    within: usize,
    over: Cell<bool>,
}

impl Hook for Peer<'_> {
    fn before(&self, count: usize, _: &Registers) -> Go {
        if count == self.at {
            self.old.set(self.attack.change.make(self.arena));
        } else if self.attack.back && Some(count) == self.until {
            self.attack.change.undo(self.arena, self.old.get());
        }
        go(count, self.within, &self.over)
    }

    fn fault(&self, _: usize, address: usize, pc: u64) -> bool {
        self.log.crash(address, pc)
    }
}

/// A peer that writes anything, all the time.
struct Storm<'a> {
    arena: &'a Arena,
    log: &'a Log,
    words: &'a [usize],
    values: &'a [Value],
    random: RefCell<Random>,
    within: usize,
    over: Cell<bool>,
}

impl Hook for Storm<'_> {
    fn before(&self, count: usize, _: &Registers) -> Go {
        let mut random = self.random.borrow_mut();
        // Before every other instruction or so.
        if random.next() >> 63 == 1 {
            let word = self.words[random.below(self.words.len())];
            let value = self.values[random.below(self.values.len())];
            Change::Word(word, value).make(self.arena);
        }
        go(count, self.within, &self.over)
    }

    fn fault(&self, _: usize, address: usize, pc: u64) -> bool {
        self.log.crash(address, pc)
    }
}

/// A peer that makes the same change before every instruction: whoever compares and exchanges never finds what he has read.
struct Restless<'a> {
    arena: &'a Arena,
    log: &'a Log,
    change: Change,
    within: usize,
    over: Cell<bool>,
}

impl Hook for Restless<'_> {
    fn before(&self, count: usize, _: &Registers) -> Go {
        self.change.make(self.arena);
        go(count, self.within, &self.over)
    }

    fn fault(&self, _: usize, address: usize, pc: u64) -> bool {
        self.log.crash(address, pc)
    }
}

fn go(count: usize, within: usize, over: &Cell<bool>) -> Go {
    if count > within {
        // It runs from here on: to its end, a panic that says what is wrong, or for ever.
        over.set(true);
        Go::Run
    } else {
        Go::On
    }
}

impl Log {
    fn new() -> Self {
        Self {
            points: [const { [const { AtomicU64::new(0) }; 3] }; MOST_POINTS],
            used: AtomicU64::new(0),
            instructions: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            run: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            answers: [const { AtomicU64::new(0) }; 3],
            crash: [const { AtomicU64::new(0) }; 2],
            said: [const { AtomicU8::new(0) }; 300],
            length: AtomicU32::new(0),
        }
    }

    fn add(&self, count: usize, seen: Seen, pc: u64) {
        let index = self.used.fetch_add(1, Ordering::Relaxed) as usize;
        let Some(point) = self.points.get(index) else { return };
        let seen = match seen {
            Seen::Access(offset) => offset as u64,
            Seen::SystemCall => u64::MAX,
        };
        for (word, value) in point.iter().zip([count as u64, seen, pc]) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn points(&self) -> Vec<Point> {
        let used = self.used.load(Ordering::Relaxed) as usize;
        assert!(used <= MOST_POINTS, "{used} points, more than there is room for");
        let read = |point: &[AtomicU64; 3]| {
            let [count, seen, pc] = [0, 1, 2].map(|i| point[i].load(Ordering::Relaxed));
            let seen = match seen {
                u64::MAX => Seen::SystemCall,
                offset => Seen::Access(offset as usize),
            };
            Point { count: count as usize, seen, pc }
        };
        self.points[..used].iter().map(read).collect()
    }

    /// Notes an access that is not allowed, from a signal handler; `false`.
    fn crash(&self, address: usize, pc: u64) -> bool {
        self.crash[0].store(address as u64, Ordering::Relaxed);
        self.crash[1].store(pc, Ordering::Relaxed);
        false
    }

    fn say(&self, what: &str) {
        for (to, from) in self.said.iter().zip(what.bytes()) {
            to.store(from, Ordering::Relaxed);
        }
        self.length.store(what.len().min(self.said.len()) as u32, Ordering::Relaxed);
    }

    fn heard(&self) -> String {
        let length = self.length.load(Ordering::Relaxed) as usize;
        let bytes: Vec<_> = self.said[..length].iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let said = String::from_utf8_lossy(&bytes).into_owned();
        let [address, pc] = [0, 1].map(|i| self.crash[i].load(Ordering::Relaxed));
        if pc == 0 {
            said
        } else {
            format!("{said}it accessed {address:#x}, at {}", procfs::place(pc))
        }
    }
}

impl core::fmt::Display for Point {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let place = procfs::place(self.pc);
        match self.seen {
            Seen::Access(offset) => {
                write!(f, "instruction {} (offset {offset:#x}, {place})", self.count)
            }
            Seen::SystemCall => write!(f, "instruction {} (a system call, {place})", self.count),
        }
    }
}

const _: () = assert!(Answer::Value as usize == 0 && Answer::Corrupt as usize == 2);
