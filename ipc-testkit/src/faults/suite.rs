//! All cases of a test binary: plays their rounds, prints a line for each, and says whether all is well.

use core::fmt;
use core::sync::atomic::Ordering::SeqCst;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::ExitCode;
use std::time::Instant;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::case::Case;
use super::errnos;
use super::inside::{self, Board, Ended};
use super::tree::{self, Fault, Point, Reach, Round};
use crate::shared::Shared;
use crate::stepkill::Refusal;
use crate::stepkill::suite::prepare;
use crate::sys::Change;

/// Plays cases and keeps the sums.
#[derive(Debug)]
pub struct Suite {
    board: Shared<Board>,
    stderr: File,
    filters: Vec<String>,
    started: Instant,
    passed: usize,
    failed: Vec<String>,
    calls: usize,
    faults: usize,
    leaks: usize,
    hangs: usize,
}

/// What may be wrong after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A descriptor, a process or a mapping is left.
    Leak,
    /// The operation does not come back.
    Hang,
    /// It says that it succeeded, and has not done what it should.
    Swallowed,
    /// It panicked, or a process crashed.
    Crash,
    /// An interruption made it fail.
    Interrupted,
    /// It does not work without a fault, before or after one.
    Broken,
}

#[derive(Debug)]
struct Finding {
    kind: Kind,
    fault: Option<Fault>,
    what: String,
}

/// What came of a case.
#[derive(Debug, Default)]
struct Report {
    calls: usize,
    faults: usize,
    /// Points that were not come by again.
    missed: usize,
    findings: Vec<Finding>,
}

/// How many findings of a case are printed.
const PRINTED: usize = 40;

/// A case that hangs so often is given up.
const MANY_HANGS: usize = 3;

/// The `main` of a test of faults: opens a suite, lets `cases` run in it, and fails if fewer than `at_least` faults
/// were injected in all.
///
/// Arguments choose cases by parts of their names; then fewer faults are enough.
pub fn main(at_least: usize, cases: impl FnOnce(&mut Suite)) -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("0 tests, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    match Suite::open() {
        Ok(mut suite) => {
            cases(&mut suite);
            suite.finish(at_least)
        }
        Err(refusal) => refusal.end("faults"),
    }
}

impl Suite {
    fn open() -> Result<Self, Refusal> {
        prepare()?;
        let unable = |error| Refusal::Unable(format!("no memory to share: {error}"));
        let stderr = memfd_create("stderr", MemfdFlags::CLOEXEC);
        Ok(Self {
            board: Shared::new(Board::new()).map_err(unable)?,
            stderr: stderr.map_err(|errno| unable(errno.into()))?.into(),
            filters: std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect(),
            started: Instant::now(),
            passed: 0,
            failed: Vec::new(),
            calls: 0,
            faults: 0,
            leaks: 0,
            hangs: 0,
        })
    }

    /// Makes every system call of the case's operation fail; whatever is found fails the suite.
    pub fn everywhere(&mut self, case: &Case) {
        let Some(report) = self.play(case) else { return };
        self.calls += report.calls;
        self.faults += report.faults;
        self.leaks += report.count(Kind::Leak);
        self.hangs += report.count(Kind::Hang);
        for finding in report.findings.iter().take(PRINTED) {
            println!("  {finding}");
        }
        self.line(case, &report, report.findings.is_empty());
    }

    /// Plays a case that is known to do something wrong, and succeeds if that is found.
    pub fn must_find(&mut self, case: &Case, kind: Kind) {
        let Some(report) = self.play(case) else { return };
        let is_meant = |finding: &&Finding| finding.kind == kind && finding.fault.is_some();
        let found = report.findings.iter().find(is_meant);
        match found {
            Some(finding) => println!("  as it should: {finding}"),
            None => println!("  {kind:?} was not found, but {} others", report.findings.len()),
        }
        self.line(case, &report, found.is_some());
    }

    fn line(&mut self, case: &Case, report: &Report, is_well: bool) {
        let Report { calls, faults, missed, findings } = report;
        println!(
            "test {} ... {} ({calls} calls, {faults} faults, {missed} missed, {} findings)",
            case.name,
            if is_well { "ok" } else { "FAILED" },
            findings.len()
        );
        if is_well {
            self.passed += 1;
        } else {
            self.failed.push(case.name.into());
        }
    }

    fn play(&mut self, case: &Case) -> Option<Report> {
        let is_chosen = self.filters.is_empty()
            || self.filters.iter().any(|filter| case.name.contains(filter.as_str()));
        is_chosen.then(|| self.every_fault(case))
    }

    fn every_fault(&mut self, case: &Case) -> Report {
        println!("test {} ...", case.name);
        let mut report = Report::default();
        let Some(round) = self.round(case, None, &mut report) else { return report };
        self.judge(case, &round, None, 0, &mut report);
        let mapped = self.board.mapped.load(SeqCst);
        if !report.findings.is_empty() {
            return report;
        }
        report.calls = round.points.len();
        for fault in faults(&round.points, &mut report) {
            let Some(round) = self.round(case, Some(&fault), &mut report) else { continue };
            // A process may take another way without a fault: a point is not there then.
            let happened = usize::from(round.injected > 0);
            report.faults += happened;
            report.missed += 1 - happened;
            self.judge(case, &round, Some(&fault), mapped, &mut report);
            if report.count(Kind::Hang) == MANY_HANGS {
                break;
            }
        }
        if report.faults == 0 && report.findings.is_empty() {
            report.find(Kind::Broken, None, "no call could be made to fail".into());
        }
        report
    }

    fn round(&mut self, case: &Case, fault: Option<&Fault>, report: &mut Report) -> Option<Round> {
        match self.try_round(case, fault) {
            Ok(round) => Some(round),
            Err(error) => {
                report.find(Kind::Broken, fault, format!("the harness: {error}"));
                None
            }
        }
    }

    fn try_round(&mut self, case: &Case, fault: Option<&Fault>) -> io::Result<Round> {
        self.board.clear();
        self.stderr.rewind()?;
        ftruncate(&self.stderr, 0)?;
        let (board, stderr) = (&*self.board, &self.stderr);
        let reach = Reach { helpers: case.helpers, programs: case.programs };
        tree::play(|| inside::run(case, board, stderr), fault, reach, case.limit)
    }

    /// Finds what is wrong after a round.
    fn judge(
        &mut self,
        case: &Case,
        round: &Round,
        fault: Option<&Fault>,
        mapped: u64,
        report: &mut Report,
    ) {
        let before = report.findings.len();
        let [first, second] = &self.board.ends;
        let left = self.board.left.read(str::to_owned);
        let said = |end: &inside::End| end.text.read(str::to_owned);
        let reaped: Vec<_> = self
            .board
            .reaped
            .iter()
            .map(|slot| slot.load(SeqCst))
            .filter(|pid| *pid != 0)
            .collect();
        if !left.is_empty() {
            report.find(Kind::Leak, fault, left);
        } else if let Some(pid) = reaped.iter().find(|pid| round.own_children.contains(pid)) {
            report.find(Kind::Leak, fault, format!("nobody waited for process {pid}"));
        } else if round.end.is_none() {
            let limit = case.limit;
            report.find(Kind::Hang, fault, format!("not over after {limit:?}: {}", round.places));
        }
        if let Some((name, signal)) = &round.crash {
            report.find(Kind::Crash, fault, format!("{name} ended by signal {signal}"));
        }
        match first.get() {
            Ended::Wrong => report.find(Kind::Swallowed, fault, said(first)),
            Ended::Panicked => report.find(Kind::Crash, fault, said(first)),
            Ended::Refused if fault.is_none() => report.find(Kind::Broken, None, said(first)),
            // The loader of a program takes an interruption for an error.
            Ended::Refused
                if fault
                    .is_some_and(|fault| fault.errno == libc::EINTR && !fault.point.in_program) =>
            {
                report.find(Kind::Interrupted, fault, said(first));
            }
            Ended::Not | Ended::Done | Ended::Refused => {}
        }
        if report.findings.len() > before {
            self.quote_stderr(report);
            return;
        }
        let now = self.board.mapped.load(SeqCst);
        match (round.end, second.get()) {
            (Some(Change::Exited(0)), Ended::Done) if fault.is_some() && now > mapped => {
                report.find(
                    Kind::Leak,
                    fault,
                    format!("{now} bytes more are mapped, and not at most {mapped}"),
                );
            }
            (Some(Change::Exited(0)), Ended::Done) => {}
            (end, ended) => {
                let what = format!("{ended:?} without a fault: {} ({end:?})", said(second));
                report.find(Kind::Broken, fault, what);
                self.quote_stderr(report);
            }
        }
    }

    /// Adds what the processes said to the last finding.
    fn quote_stderr(&mut self, report: &mut Report) {
        let mut text = String::new();
        let read = self.stderr.rewind().and_then(|()| self.stderr.read_to_string(&mut text));
        if let (Ok(1..), Some(finding)) = (read, report.findings.last_mut()) {
            let line: String = text.trim().replace('\n', " | ").chars().take(300).collect();
            finding.what += &format!(" [{line}]");
        }
    }

    fn finish(&self, at_least: usize) -> ExitCode {
        let Self { calls, faults, leaks, hangs, passed, .. } = self;
        println!(
            "\nfaults: {calls} system calls, {faults} faults injected, {leaks} leaks, {hangs} hangs"
        );
        let is_enough = !self.filters.is_empty() || *faults >= at_least;
        if !is_enough {
            println!("faults: {at_least} were expected at least");
        }
        let is_well = self.failed.is_empty() && is_enough;
        println!(
            "\ntest result: {}. {passed} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2} s",
            if is_well { "ok" } else { "FAILED" },
            self.failed.len(),
            self.started.elapsed().as_secs_f32()
        );
        if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Every fault that may meet these calls.
fn faults(points: &[Point], report: &mut Report) -> Vec<Fault> {
    let mut faults = Vec::new();
    for point in points {
        let Some(errnos) = point.call.errnos() else {
            report.find(Kind::Broken, None, format!("call {} has no errors to try", point.call));
            continue;
        };
        for errno in errnos {
            for persists in [false, true] {
                if !persists || point.call.may_persist(errno) {
                    faults.push(Fault { point: point.clone(), errno, persists });
                }
            }
        }
    }
    faults
}

impl Report {
    fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }

    fn find(&mut self, kind: Kind, fault: Option<&Fault>, what: String) {
        self.findings.push(Finding { kind, fault: fault.cloned(), what });
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, fault, what } = self;
        write!(f, "{kind:?}: ")?;
        if let Some(Fault { point, errno, persists }) = fault {
            let name = errnos::name(*errno);
            let often = if *persists { "from then on" } else { "once" };
            write!(f, "call {} ({}) of {}, {name} {often}: ", point.at, point.call, point.process)?;
        }
        f.write_str(what)
    }
}
