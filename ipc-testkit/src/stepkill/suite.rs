//! All scenarios of a test binary: runs them, prints a line for each, and says whether all is well.

use core::fmt;
use core::time::Duration;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use super::arch;
use super::control::{Control, Role};
use super::passes::{beside_frozen, everywhere, hostile, images, is_deep, pairs, woken};
use super::procfs;
use super::report::Report;
use super::scenario::Scenario;
use super::stage::Stage;
use super::trace::{self, Step, Tracee};
use super::watchdog;
use crate::shared::Shared;
use crate::sys;

/// Runs scenarios and keeps the sums.
///
/// A method runs one pass over one scenario, prints its report and returns it, or `None` if the arguments did not choose
/// it. Findings do not stop the suite; they make [`finish`](Self::finish) fail.
#[derive(Debug)]
pub struct Suite {
    filters: Vec<String>,
    started: Instant,
    passed: usize,
    failed: Vec<String>,
    kill_points: usize,
    planted: usize,
    accesses: usize,
    wedges: usize,
    worst_recovery: Duration,
    controls: usize,
}

/// Why a suite cannot run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// Built without optimisation: the instructions would not be those that users run.
    DebugBuild,
    /// Forks of a process with threads are not complete copies.
    Threads(usize),
    /// Not possible on this machine, with the reason.
    Unable(String),
}

/// Recovery must be shorter.
pub(super) const RECOVERY_LIMIT: Duration = Duration::from_millis(200);

/// Of so many kill points one may have to be struck again because recovery took longer: a machine that is busy
/// with other things stops anybody for that long now and then. What a death leaves is the same each time, and so
/// what is slow because of that is slow each time.
const SLOW_ONE_IN: usize = 1_000;

/// A suite that is not over by then hangs. Deep ones may take six times as long.
const SUITE_LIMIT: Duration = Duration::from_secs(1800);

/// The `main` of a stepkill test: opens a suite, lets `scenarios` run in it, and finishes it.
///
/// A suite that cannot run here is skipped with the reason, unless the environment variable `CI` is set; a debug build
/// is always an error.
pub fn main(scenarios: impl FnOnce(&mut Suite)) -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        // What libtest's own `--list` would print is not known before the scenarios are made.
        println!("0 tests, 0 benchmarks");
        return ExitCode::SUCCESS;
    }
    match Suite::open() {
        Ok(mut suite) => {
            scenarios(&mut suite);
            suite.finish()
        }
        Err(refusal) => refusal.end("stepkill"),
    }
}

impl Refusal {
    /// How a test ends that is refused: skipped where it cannot run, unless it must.
    pub(crate) fn end(&self, who: &str) -> ExitCode {
        match self {
            Self::Unable(why) if std::env::var_os("CI").is_none() => {
                println!("SKIPPED: {why}");
                ExitCode::SUCCESS
            }
            refusal => {
                eprintln!("{who}: {refusal}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Whether this process can fork children and trace them; it hears of them from then on.
pub(crate) fn prepare() -> Result<(), Refusal> {
    if !arch::SUPPORTED {
        return Err(Refusal::Unable(format!("no tracing on {}", std::env::consts::ARCH)));
    }
    let threads = procfs::threads().map_err(|e| Refusal::Unable(format!("/proc: {e}")))?;
    if threads != 1 {
        return Err(Refusal::Threads(threads));
    }
    sys::hear_children();
    probe().map_err(|e| Refusal::Unable(format!("a child cannot be traced: {e}")))
}

impl Suite {
    /// A suite for this process, whose arguments choose the scenarios by parts of their names.
    ///
    /// # Errors
    ///
    /// In a debug build, in a process with threads, or where a process cannot be traced.
    pub fn open() -> Result<Self, Refusal> {
        if cfg!(debug_assertions) {
            return Err(Refusal::DebugBuild);
        }
        prepare()?;
        watchdog::start(if is_deep() { 6 * SUITE_LIMIT } else { SUITE_LIMIT });
        Ok(Self {
            filters: std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect(),
            started: Instant::now(),
            passed: 0,
            failed: Vec::new(),
            kill_points: 0,
            planted: 0,
            accesses: 0,
            wedges: 0,
            worst_recovery: Duration::ZERO,
            controls: 0,
        })
    }

    /// Kills the victim at every instruction, and inside every system call in which it sleeps.
    pub fn everywhere<T: Sync>(&mut self, scenario: &Scenario<T>) -> Option<Report> {
        self.expect_clean(scenario, everywhere::NAME, everywhere::run)
    }

    /// Kills the victim once in each distinct image of the shared bytes, and at both ends of each system call.
    pub fn images<T: Sync>(&mut self, scenario: &Scenario<T>) -> Option<Report> {
        self.expect_clean(scenario, images::NAME, images::run)
    }

    /// Whether the environment asks for what takes long: `IPC_STEPKILL=deep`.
    pub fn is_deep(&self) -> bool {
        is_deep()
    }

    /// As [`everywhere`](Self::everywhere) if it [is deep](Self::is_deep), else as [`images`](Self::images): for the many
    /// variants of one operation.
    pub fn everywhere_if_deep<T: Sync>(&mut self, scenario: &Scenario<T>) -> Option<Report> {
        if self.is_deep() { self.everywhere(scenario) } else { self.images(scenario) }
    }

    /// Kills one victim in each image of its operation, and then another one in each image of its own.
    pub fn pairs<T: Sync>(&mut self, scenario: &Scenario<T>) -> Option<Report> {
        self.expect_clean(scenario, pairs::NAME, pairs::run)
    }

    /// Freezes one process, alive, in each image of its operation, and kills another one at every instruction.
    pub fn beside_frozen<T: Sync>(&mut self, scenario: &Scenario<T>) -> Option<Report> {
        self.expect_clean(scenario, beside_frozen::NAME, beside_frozen::run)
    }

    /// Kills a woken waiter at every instruction from its wake-up on, after a newcomer was faster.
    pub fn woken<T: Sync>(&mut self, scenario: &Scenario<T>) -> Option<Report> {
        self.expect_clean(scenario, woken::NAME, woken::run)
    }

    /// Writes special values into each shared word just before the operation accesses it; it must end without a signal or
    /// panic, and soon. Nobody is killed.
    pub fn hostile<T: Sync>(&mut self, scenario: &Scenario<T>) -> Option<Report> {
        self.expect_clean(scenario, hostile::NAME, hostile::run)
    }

    /// Runs a control, which is known to be broken: `pass` must find fault with it at `at_least` kill points or more.
    ///
    /// The harness is only worth something if this succeeds.
    pub fn must_fail<T: Sync>(&mut self, pass: Pass, scenario: &Scenario<T>, at_least: usize) {
        let (name, run) = pass.parts();
        let Some(report) = self.report(scenario, name, run) else { return };
        let found = report.faulty_points();
        if found >= at_least {
            self.controls += 1;
            self.passed += 1;
            println!("{report} ... failed as it must");
        } else {
            self.failed.push(format!(
                "{} [{name}] is broken, but only {found} of at least {at_least} faulty kill points were found",
                scenario.name
            ));
            println!("{report} ... NOT FOUND TO BE BROKEN");
        }
    }

    fn expect_clean<T: Sync>(
        &mut self,
        scenario: &Scenario<T>,
        name: &'static str,
        run: Run<T>,
    ) -> Option<Report> {
        let report = self.report(scenario, name, run)?;
        self.kill_points += report.kill_points;
        self.planted += report.planted;
        self.accesses += report.accesses;
        self.wedges += report.wedged_points();
        self.worst_recovery = self.worst_recovery.max(report.worst_recovery);
        let faults = self.failed.len();
        if !report.is_clean() {
            self.failed.push(format!(
                "{} [{name}]: {} wedges, {} other failures",
                scenario.name,
                report.wedges.len(),
                report.failures.len()
            ));
        }
        let rounds = report.kill_points + report.planted;
        if rounds < scenario.at_least {
            self.failed.push(format!(
                "{} [{name}]: {rounds} kill points, expected at least {}",
                scenario.name, scenario.at_least
            ));
        }
        let most = 2 + report.kill_points / SLOW_ONE_IN;
        if report.slow_rounds > most {
            self.failed.push(format!(
                "{} [{name}]: recovery took longer than {RECOVERY_LIMIT:?} in {} rounds, of which {most} may",
                scenario.name, report.slow_rounds
            ));
        }
        if report.worst_recovery >= RECOVERY_LIMIT {
            self.failed.push(format!(
                "{} [{name}]: recovery took {:?}, the limit is {RECOVERY_LIMIT:?}",
                scenario.name, report.worst_recovery
            ));
        }
        let ok = self.failed.len() == faults;
        self.passed += usize::from(ok);
        println!("{report} ... {}", if ok { "ok" } else { "FAILED" });
        Some(report)
    }

    fn report<T: Sync>(
        &self,
        scenario: &Scenario<T>,
        name: &'static str,
        run: Run<T>,
    ) -> Option<Report> {
        let full = format!("{} [{name}]", scenario.name);
        if !self.filters.is_empty() && !self.filters.iter().any(|f| full.contains(f.as_str())) {
            return None;
        }
        let start = Instant::now();
        let played = play(scenario, name, run);
        let mut report =
            played.unwrap_or_else(|e| panic!("{full}: a system call of the harness failed: {e}"));
        report.elapsed = start.elapsed();
        Some(report)
    }

    /// Prints the sums; success if nothing was found in a scenario, and everything in the controls.
    pub fn finish(self) -> ExitCode {
        watchdog::stop();
        for failure in &self.failed {
            println!("FAILED {failure}");
        }
        // Nothing to do is a mistake, unless the arguments chose nothing here.
        let ok = self.failed.is_empty() && (self.passed > 0 || !self.filters.is_empty());
        println!(
            "test result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            if ok { "ok" } else { "FAILED" },
            self.passed,
            self.failed.len(),
            self.started.elapsed().as_secs_f64(),
        );
        if self.accesses > 0 {
            println!(
                "hostile peers: {} values planted before {} accesses",
                self.planted, self.accesses
            );
        }
        println!(
            "stepkill: {} kill points, {} wedges, worst recovery {:.1} ms, {} controls failed as they must",
            self.kill_points,
            self.wedges,
            self.worst_recovery.as_secs_f64() * 1e3,
            self.controls,
        );
        if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A pass by name, for [`Suite::must_fail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// [`Suite::everywhere`].
    Everywhere,
    /// [`Suite::images`].
    Images,
    /// [`Suite::pairs`].
    Pairs,
    /// [`Suite::beside_frozen`].
    BesideFrozen,
    /// [`Suite::woken`].
    Woken,
    /// [`Suite::hostile`].
    Hostile,
}

type Run<T> = fn(&mut Stage<'_, T>) -> io::Result<()>;

impl Pass {
    fn parts<T: Sync>(self) -> (&'static str, Run<T>) {
        match self {
            Self::Everywhere => (everywhere::NAME, everywhere::run),
            Self::Images => (images::NAME, images::run),
            Self::Pairs => (pairs::NAME, pairs::run),
            Self::BesideFrozen => (beside_frozen::NAME, beside_frozen::run),
            Self::Woken => (woken::NAME, woken::run),
            Self::Hostile => (hostile::NAME, hostile::run),
        }
    }
}

fn play<T: Sync>(scenario: &Scenario<T>, name: &'static str, run: Run<T>) -> io::Result<Report> {
    assert!(scenario.victim.is_some(), "{}: a scenario has a victim", scenario.name);
    assert!(scenario.survivor.is_some(), "{}: a scenario has survivors", scenario.name);
    let control = Shared::new(Control::new())?;
    let mut stage = Stage::new(scenario, &control, name)?;
    run(&mut stage)?;
    Ok(core::mem::take(&mut stage.report))
}

/// Steps a child through three instructions.
fn probe() -> io::Result<()> {
    let mut child = Tracee::spawn(Role::Victim, Duration::from_secs(10), || {
        trace::marker();
        core::hint::black_box(0)
    })?;
    for _ in 0..3 {
        match child.step()? {
            Step::Done => {}
            other => return Err(io::Error::other(format!("a step ended as {other:?}"))),
        }
    }
    Ok(())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DebugBuild => f.write_str(
                "this is a debug build, whose instructions nobody runs; test with --release",
            ),
            Self::Threads(n) => {
                write!(f, "{n} threads, but only a process with one can be forked and stepped")
            }
            Self::Unable(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Refusal {}
