//! Running a scenario in every interleaving, with every kill.
//!
//! A scenario makes its shared objects, starts a few threads that each run as a process, and
//! checks what is left. [`Suite`] runs it once without a death, and then once for each victim and each of
//! its steps k, with the victim killed just before step k, until a k is beyond its last step.
//!
//! ```ignore
//! fn exclusion() {
//!     let mutex = Arc::new(Mutex::new(0));
//!     let peer = sim::spawn(1, &mutex, add_one);
//!     sim::process(0, || add_one(&mutex));
//!     peer.join().unwrap();
//! }
//!
//! fn main() {
//!     Suite::new().case("exclusion", 3, &[0, 1], exclusion).run();
//! }
//! ```
//!
//! The same scenarios run once more for every [`Fault`] that is named for them, and must then fail:
//! a check that cannot fail proves nothing.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::panic::{catch_unwind, resume_unwind};
use std::time::Instant;
use std::{eprintln, println};

use super::kernel::{self, Killed, Plan};

pub use super::kernel::Fault;
pub use loom::sync::Arc;
pub use loom::thread::JoinHandle;

/// The pid namespace of every process that is not given another.
const HOME: u32 = 1;

/// Runs `f` in the current thread as process `index`; `None` if it was killed.
///
/// `f` borrows what is shared and owns guards at most: it is unwound when killed, and loom must not
/// be called meanwhile.
pub fn process<R>(index: usize, f: impl FnOnce() -> R) -> Option<R> {
    run_as(index, index, HOME, f)
}

/// As [`process`], for thread `index` of process `process`.
pub fn thread_of<R>(process: usize, index: usize, f: impl FnOnce() -> R) -> Option<R> {
    run_as(index, process, HOME, f)
}

/// As [`process`], in another pid namespace.
pub fn foreign_process<R>(index: usize, f: impl FnOnce() -> R) -> Option<R> {
    run_as(index, index, HOME + 1, f)
}

/// As [`process`]; if it is killed, `at_death` runs before anybody can know of the death.
pub fn process_then<R>(index: usize, f: impl FnOnce() -> R, at_death: impl FnOnce()) -> Option<R> {
    run_as_then(index, index, HOME, f, at_death)
}

fn run_as<R>(index: usize, process: usize, domain: u32, f: impl FnOnce() -> R) -> Option<R> {
    run_as_then(index, process, domain, f, || {})
}

fn run_as_then<R>(
    index: usize,
    process: usize,
    domain: u32,
    f: impl FnOnce() -> R,
    at_death: impl FnOnce(),
) -> Option<R> {
    assert!(index < kernel::MAX_THREADS, "loom allows {} threads", kernel::MAX_THREADS);
    let outer = kernel::enter(index, process, domain);
    let result = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(payload) if payload.is::<Killed>() => {
            at_death();
            kernel::exit();
            None
        }
        Err(payload) => resume_unwind(payload),
    };
    kernel::leave(outer);
    result
}

/// Runs `f` in the current thread as the forked child `index` of the current process, which goes on
/// afterwards with what it had armed.
pub fn as_forked_child<R>(index: usize, f: impl FnOnce() -> R) -> Option<R> {
    process(index, f)
}

/// The current process is killed here, whatever the plan says. `held` is what it holds.
pub fn die<T>(held: T) -> ! {
    core::mem::forget(held);
    kernel::die()
}

/// Starts a thread that is no process yet.
pub fn spawn_thread<R: 'static>(f: impl FnOnce() -> R + 'static) -> JoinHandle<R> {
    loom::thread::spawn(f)
}

/// Starts a thread that runs `f` on `shared` as process `index`.
///
/// The process does not own `shared`: were it dropped by the unwinding of a killed process, loom
/// would run other threads in the middle of that.
pub fn spawn<S: 'static, R: 'static>(
    index: usize,
    shared: &Arc<S>,
    f: impl FnOnce(&S) -> R + 'static,
) -> JoinHandle<Option<R>> {
    let shared = shared.clone();
    spawn_thread(move || process(index, || f(&shared)))
}

/// To be called by a scenario as soon as it holds a lock, so that
/// [`Fault::BatonDroppedAfterAcquire`] can act; otherwise it is a plain kill point.
pub fn acquired() {
    kernel::step();
    kernel::acquired();
}

/// The current process's deadline, whatever it is, will have passed when it is woken from its first
/// sleep: the wake-up came in the last moment, and what it does with that is the question.
pub fn expire_when_woken() {
    kernel::expire_when_woken();
}

/// In this execution a sleep that watches nobody ends once after each death, as its slice would: for those who
/// see then, and only then, what nobody will tell them.
///
/// Not for a scenario that is to show that no wake-up is lost: a death would make up for one.
pub fn end_slices_at_deaths() {
    kernel::end_slices_at_deaths();
}

/// One scenario and how far it is explored.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    name: &'static str,
    /// How many times loom may take the processor from a thread that could go on.
    bound: usize,
    victims: &'static [usize],
    scenario: fn(),
    faults: &'static [Fault],
    borne: &'static [Fault],
}

/// The cases of one test program.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    cases: Vec<Case>,
}

/// What exploring one case covered.
#[derive(Clone, Debug, Default)]
struct Coverage {
    executions: usize,
    /// (victim, number of its steps at which it was killed).
    kills: Vec<(usize, usize)>,
}

impl Suite {
    /// An empty suite.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a scenario, explored to preemption bound `bound`, with each of `victims` killed at each
    /// of its steps.
    #[must_use]
    pub fn case(
        mut self,
        name: &'static str,
        bound: usize,
        victims: &'static [usize],
        scenario: fn(),
    ) -> Self {
        self.cases.push(Case { name, bound, victims, scenario, faults: &[], borne: &[] });
        self
    }

    /// Says which faults the scenario added last must reveal.
    #[must_use]
    pub fn reveals(mut self, faults: &'static [Fault]) -> Self {
        self.cases.last_mut().expect("a case comes first").faults = faults;
        self
    }

    /// Says which faults the scenario added last must get over, with nobody killed.
    #[must_use]
    pub fn bears(mut self, faults: &'static [Fault]) -> Self {
        self.cases.last_mut().expect("a case comes first").borne = faults;
        self
    }

    /// Runs everything and ends the program: with success only if every case passed in full
    /// and every fault was revealed by the cases that claim to.
    ///
    /// Arguments: none, or a part of the names of the cases to run; `--fault CASE FAULT` runs one
    /// fault in this very process, which then ends by the failure.
    pub fn run(self) -> ! {
        end_at_first_panic();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.as_slice() {
            [flag, case, fault] if flag == "--fault" => self.run_fault(case, fault),
            arguments => self.run_all(arguments.iter().find(|a| !a.starts_with('-'))),
        }
        std::process::exit(0)
    }

    fn run_all(&self, filter: Option<&String>) {
        let started = Instant::now();
        let chosen = |case: &&Case| filter.is_none_or(|part| case.name.contains(part.as_str()));
        let (mut passed, mut kills, mut executions, mut revealed) = (0, 0, 0, 0);
        for case in self.cases.iter().filter(chosen) {
            let began = Instant::now();
            let coverage = case.explore(None);
            for &(victim, steps) in &coverage.kills {
                assert!(steps > 0, "{}: victim {victim} was never killed", case.name);
            }
            println!(
                "loom {}: bound {}, {} executions, (victim, kill points) {:?}, {:.1} s",
                case.name,
                case.bound,
                coverage.executions,
                coverage.kills,
                began.elapsed().as_secs_f32()
            );
            passed += 1;
            executions += coverage.executions;
            kills += coverage.kills.iter().map(|&(_, steps)| steps).sum::<usize>();
            for &fault in case.borne {
                let plan = Plan { fault: Some(fault), ..Plan::default() };
                let (count, _) = case.explore_plan(plan);
                println!("loom {}: {fault:?} is borne: {count} executions", case.name);
                executions += count;
            }
            for &fault in case.faults {
                case.assert_reveals(fault);
                revealed += 1;
            }
        }
        assert!(passed > 0, "no case is called {filter:?}");
        println!("loom: {executions} executions, {kills} kill points, {revealed} faults revealed");
        println!(
            "test result: ok. {} passed; 0 failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s",
            passed + revealed,
            self.cases.len() - passed,
            started.elapsed().as_secs_f32()
        );
    }

    fn run_fault(&self, case: &str, fault: &str) {
        let case = self.cases.iter().find(|c| c.name == case).expect("a case of this suite");
        let mut faults = Fault::ALL.into_iter();
        let fault = faults.find(|f| format!("{f:?}") == fault).expect("a fault of the model");
        case.explore(Some(fault));
        println!("{}: {fault:?} changed nothing", case.name);
    }
}

impl Case {
    fn explore(&self, fault: Option<Fault>) -> Coverage {
        let mut coverage = Coverage::default();
        coverage.executions += self.explore_plan(Plan { fault, ..Plan::default() }).0;
        for &victim in self.victims {
            let mut kill_at = 0;
            loop {
                let plan = Plan { victim: Some(victim), kill_at, fault };
                let (executions, was_killed) = self.explore_plan(plan);
                coverage.executions += executions;
                if !was_killed {
                    break;
                }
                kill_at += 1;
            }
            coverage.kills.push((victim, kill_at));
        }
        coverage
    }

    /// All interleavings of one plan: how many there were, and whether the victim died in any.
    fn explore_plan(&self, plan: Plan) -> (usize, bool) {
        let executions = alloc::sync::Arc::new(AtomicUsize::new(0));
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(self.bound);
        builder.max_branches = 100_000;
        let (count, scenario) = (executions.clone(), self.scenario);
        let tracing = std::env::var_os("IPC_SIM_TRACE").is_some();
        let was_killed = alloc::sync::Arc::new(AtomicUsize::new(0));
        let killed = was_killed.clone();
        RUNNING.set((self.name, plan));
        builder.check(move || {
            count.fetch_add(1, Ordering::Relaxed);
            kernel::boot(plan, tracing);
            scenario();
            kernel::shut_down();
            killed.fetch_or(usize::from(kernel::take_was_killed()), Ordering::Relaxed);
        });
        (executions.load(Ordering::Relaxed), was_killed.load(Ordering::Relaxed) != 0)
    }

    /// Runs the case with `fault` in a process of its own, which must fail.
    fn assert_reveals(&self, fault: Fault) {
        let limit = Duration::from_secs(300);
        let began = Instant::now();
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = std::process::Command::new(program)
            .args(["--fault", self.name, &format!("{fault:?}")])
            .stderr(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starting this program again");
        let mut said = String::new();
        let stderr = child.stderr.as_mut().expect("a pipe");
        std::io::Read::read_to_string(stderr, &mut said).expect("what the child says");
        let status = child.wait().expect("a child of ours");
        assert!(began.elapsed() < limit, "{}: {fault:?} takes too long", self.name);
        let how = said.lines().find(|line| line.starts_with("FAILED")).map(ToString::to_string);
        let Some(how) = how.filter(|_| !status.success()) else {
            panic!("{}: {fault:?} is not revealed: {status}, {said}", self.name);
        };
        println!("loom {}: {fault:?} is revealed: {how}", self.name);
    }
}

std::thread_local! {
    /// The case and the plan that are being explored.
    static RUNNING: Cell<(&'static str, Plan)> =
        const { Cell::new(("", Plan { victim: None, kill_at: 0, fault: None })) };
}

/// A failed model panics again while loom drops its objects, which would hide the reason: the
/// first panic says everything and ends the program.
///
/// To be called once, before the first model: loom then puts a hook of its own before this one,
/// for the panics by which its threads end.
fn end_at_first_panic() {
    std::panic::set_hook(Box::new(|info| {
        for line in kernel::take_trace() {
            eprintln!("    {line}");
        }
        let (case, plan) = RUNNING.get();
        let reason: String = info.to_string().replace('\n', " ").chars().take(300).collect();
        eprintln!("FAILED {case} {plan:?}: {reason}");
        std::process::exit(101);
    }));
}
