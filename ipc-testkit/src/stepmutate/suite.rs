//! The list of scenarios of a test program.

use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use super::run::play;
use super::{Report, Scenario};
use crate::stepkill::{Refusal, arch, procfs, watchdog};
use crate::sys;

/// Attacks, prints a line for each scenario, and remembers what was wrong.
#[derive(Debug)]
pub struct Suite {
    filters: Vec<String>,
    started: Instant,
    most: Most,
    passed: usize,
    failed: Vec<String>,
    controls: usize,
    sums: [usize; 4],
}

/// How much is done in a scenario at most: attacks of one change, and instructions of all runs together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) attacks: usize,
    pub(super) steps: usize,
}

/// A second or less.
const SOME: Most = Most { attacks: 160, steps: 40_000 };
/// Everything, but a minute or two.
const ALL: Most = Most { attacks: usize::MAX, steps: 10_000_000 };

/// A program takes less than this.
const LIMIT: Duration = Duration::from_secs(1800);

/// The `main` of a test that attacks.
///
/// Skipped with the reason where the instructions of the processor are not known, unless the environment variable `CI`
/// is set. With `IPC_STEPKILL=deep` every attack is made (of operations of thousands of
/// instructions as many as there is time for), else a sample.
pub fn main(scenarios: impl FnOnce(&mut Suite)) -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("0 tests, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    match prepare() {
        Ok(()) => {
            let mut suite = Suite::new();
            scenarios(&mut suite);
            suite.finish()
        }
        Err(refusal) => refusal.end("stepmutate"),
    }
}

fn prepare() -> Result<(), Refusal> {
    if !arch::SUPPORTED {
        return Err(Refusal::Unable(format!("no stepping on {}", std::env::consts::ARCH)));
    }
    let threads = procfs::threads().map_err(|e| Refusal::Unable(format!("/proc: {e}")))?;
    if threads != 1 {
        return Err(Refusal::Threads(threads));
    }
    sys::hear_children();
    Ok(())
}

impl Suite {
    fn new() -> Self {
        let deep = std::env::var_os("IPC_STEPKILL").is_some_and(|value| value == "deep");
        watchdog::start(if deep { 6 * LIMIT } else { LIMIT });
        Self {
            filters: std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect(),
            started: Instant::now(),
            most: if deep { ALL } else { SOME },
            passed: 0,
            failed: Vec::new(),
            controls: 0,
            sums: [0; 4],
        }
    }

    /// Whether the operation of `scenario` copes with everything; `None` if the arguments do not choose it.
    pub fn attack<S, R>(&mut self, scenario: &Scenario<'_, S, R>) -> Option<Report> {
        let report = self.report(scenario, |flaws| flaws.len() >= 5)?;
        let flaws = &report.flaws;
        let runs = report.runs + report.restless;
        let sums = [report.instructions, report.accesses + report.calls, report.words, runs];
        self.sums.iter_mut().zip(sums).for_each(|(sum, part)| *sum += part);
        println!("{report} ... {}", if flaws.is_empty() { "ok" } else { "FAILED" });
        for flaw in flaws {
            println!("  {flaw}");
        }
        self.passed += usize::from(flaws.is_empty());
        self.failed.extend(flaws.first().map(|flaw| format!("{}: {flaw}", scenario.name)));
        Some(report)
    }

    /// A control, which is known to be broken: at least one flaw must be found, and one that says `what`.
    pub fn must_fail<S, R>(&mut self, scenario: &Scenario<'_, S, R>, what: &str) {
        let is_it = |flaw: &String| flaw.contains(what);
        let Some(report) = self.report(scenario, |flaws| flaws.iter().any(is_it)) else { return };
        match report.flaws.iter().find(|flaw| is_it(flaw)) {
            Some(flaw) => {
                self.controls += 1;
                self.passed += 1;
                println!("{report} ... failed as it must ({flaw})");
            }
            None => {
                println!("{report} ... NOT FOUND TO BE BROKEN");
                let found = report.flaws.first().map_or("nothing", String::as_str);
                self.failed.push(format!("{} is broken, but found was {found}", scenario.name));
            }
        }
    }

    /// A case that is no scenario.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Result<String, String>) {
        if !self.chooses(name) {
            return;
        }
        match check() {
            Ok(seen) => {
                self.passed += 1;
                println!("{name}: {seen} ... ok");
            }
            Err(flaw) => {
                println!("{name}: {flaw} ... FAILED");
                self.failed.push(format!("{name}: {flaw}"));
            }
        }
    }

    /// Whether the environment asks for what takes long.
    pub fn is_deep(&self) -> bool {
        self.most.attacks == ALL.attacks
    }

    fn chooses(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    fn report<S, R>(
        &self,
        scenario: &Scenario<'_, S, R>,
        enough: impl Fn(&[String]) -> bool,
    ) -> Option<Report> {
        if !self.chooses(&scenario.name) {
            return None;
        }
        let played = play(scenario, self.most, enough);
        let mut report =
            played.unwrap_or_else(|e| panic!("{}: the harness failed: {e}", scenario.name));
        let (accesses, runs) = scenario.least;
        let missed = report.accesses < accesses || report.runs < runs.min(report.allowed);
        if report.flaws.is_empty() && missed {
            report.flaws.push(format!("expected at least {accesses} accesses, and {runs} runs"));
        }
        Some(report)
    }

    fn finish(self) -> ExitCode {
        watchdog::stop();
        let [instructions, points, words, runs] = self.sums;
        println!(
            "stepmutate: {instructions} instructions, {points} accesses and calls, {words} words attacked in {runs} runs; \
             {} controls failed as they must",
            self.controls
        );
        for failure in &self.failed {
            println!("FAILED {failure}");
        }
        let ok = self.failed.is_empty() && (self.passed > 0 || !self.filters.is_empty());
        println!(
            "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2} s",
            if ok { "ok" } else { "FAILED" },
            self.passed,
            self.failed.len(),
            self.started.elapsed().as_secs_f64()
        );
        ExitCode::from(u8::from(!ok))
    }
}
