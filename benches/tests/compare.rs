//! The program `compare` over planted families: what it must refuse, catch, name and end.
//!
//! A wrong result, a subject that hangs and a target out of reach cannot come from the real
//! families, so this binary is the program too: called again with the first argument `planted`, it
//! runs the command line over families that misbehave on purpose. That forks, so this binary has no
//! test harness. Each case has a watchdog.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use ipc_benches::cli::Program;
use ipc_benches::payload::{Received, Sent};
use ipc_benches::peers::floor::SlotRing;
use ipc_benches::report::Report;
use ipc_benches::subject::{Cpus, Done, Ends, Family, Measure, Subject, Workload, Wrong};
use ipc_benches::sys;
use ipc_benches::targets::{Bound, Target};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

/// Nothing here measures for longer.
const WATCHDOG: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "planted") {
        let status = planted().run(arguments.into_iter().skip(1));
        let left = wait(WaitOptions::NOHANG);
        assert_eq!(left.err(), Some(Errno::CHILD), "every side is killed and reaped by the end");
        return status;
    }
    let cases: [(&str, fn()); 13] = [
        ("every_real_subject_is_right", every_real_subject_is_right),
        ("missed_target_exits_1_and_names_its_row", missed_target_exits_1_and_names_its_row),
        ("met_and_absent_targets_exit_0", met_and_absent_targets_exit_0),
        ("report_files_hold_the_run_and_no_path", report_files_hold_the_run_and_no_path),
        ("readme_wants_the_files_first", readme_wants_the_files_first),
        ("wrong_checksum_aborts", wrong_checksum_aborts),
        ("changed_message_aborts", changed_message_aborts),
        ("lost_count_aborts", lost_count_aborts),
        ("panics_abort_and_name_the_side", panics_abort_and_name_the_side),
        ("killed_side_aborts", killed_side_aborts),
        ("hang_is_named_and_leaves_no_process", hang_is_named_and_leaves_no_process),
        ("sides_die_with_the_program", sides_die_with_the_program),
        ("bad_arguments_exit_2_in_one_line", bad_arguments_exit_2_in_one_line),
    ];
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let start = Instant::now();
    let (mut passed, mut left_out) = (0, 0);
    for (name, case) in cases {
        if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
            left_out += 1;
            continue;
        }
        // A case that fails panics, and that ends the run: the message says what was expected.
        print!("test {name} ... ");
        case();
        println!("ok");
        passed += 1;
    }
    println!(
        "\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; {left_out} filtered \
         out; finished in {:.2}s",
        start.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

// The planted families.

fn planted() -> Program {
    let folder = PathBuf::from(env::var_os("PLANTED_FOLDER").expect("a folder for the files"));
    Program {
        families: vec![
            alone("steady"),
            family("checksum", || {
                let (left, right) = stream(|_| {}, |done| done.checksum ^= 1);
                Ends::agreeing(left, right)
            }),
            family("changed", || {
                let (left, right) = stream(|message| message[6] ^= 1 << 63, |_| {});
                Ends::agreeing(left, right)
            }),
            family("lost", || {
                let (left, right) = stream(|_| {}, |done| done.operations -= 1);
                Ends::agreeing(left, right)
            }),
            family("panics left", || {
                Ends::agreeing(|_| panic!("planted"), |_| Ok(Done::default()))
            }),
            family("panics right", || {
                Ends::agreeing(|_| Ok(Done::default()), |_| panic!("planted"))
            }),
            family("panics thread", || {
                Ends::agreeing(|_| Ok(Done::default()), |_| panic!("planted"))
            }),
            family("exits", || Ends::agreeing(|_| Ok(Done::default()), |_| process::exit(7))),
            family("hangs", || Ends::agreeing(hang, |_| Ok(Done::default()))),
            family("hangs right", || Ends::agreeing(|_| Ok(Done::default()), hang)),
        ],
        targets: TARGETS,
        readme: folder.join("README.md"),
        folder,
    }
}

const fn target(lead: &'static str, peer: &'static str, bound: Bound) -> Target {
    Target { family: "steady", workload: "work", lead, peer, bound, sentence: "planted" }
}

static TARGETS: &[Target] = &[
    // The lead does the same as the peer, so it can be slower, but not a hundred times faster.
    target("subject", "same", Bound::AtMost(0.01)),
    target("subject", "slower", Bound::AtMost(0.9)),
    target("subject", "not there", Bound::AtMost(1.0)),
];

/// Work on one processor: nothing about it depends on where the processors are.
fn alone(name: &'static str) -> Family {
    let work = move |name: &'static str, steps: u64| {
        Subject::processes(name, move || {
            Ends::alone(
                move |slice| {
                    for _ in 0..slice.count {
                        for step in 0..steps {
                            std::hint::black_box(step);
                        }
                    }
                    Ok(Done { operations: slice.count, ..Done::default() })
                },
                |_, _| Ok(()),
            )
        })
    };
    Family {
        name,
        title: "Planted",
        workloads: vec![Workload {
            name: "work",
            measure: Measure::Alone,
            cpus: Cpus::One,
            leads: vec![work("subject", 100)],
            peers: vec![work("same", 100), work("slower", 1000)],
        }],
    }
}

/// Two honest peers around a lead that is not.
fn family(name: &'static str, lead: fn() -> Ends) -> Family {
    let honest = || {
        let (left, right) = stream(|_| {}, |_| {});
        Ends::agreeing(left, right)
    };
    let lead = if name.ends_with("thread") {
        Subject::threads("culprit", lead)
    } else {
        Subject::processes("culprit", lead)
    };
    Family {
        name,
        title: "Planted",
        workloads: vec![Workload {
            name: "work",
            measure: Measure::Stream,
            cpus: Cpus::Two,
            leads: vec![lead],
            peers: vec![Subject::processes("honest", honest)],
        }],
    }
}

type Side = Box<dyn FnMut(ipc_benches::subject::Slice) -> Result<Done, Wrong> + Send>;

/// A ring that spoils message number 1000 and the answer of the right side.
fn stream(spoil: fn(&mut [u64; 7]), lie: fn(&mut Done)) -> (Side, Side) {
    let (mut producer, mut consumer) = SlotRing::<7>::ends();
    let (mut sent, mut received) = (Sent::new(), Received::new());
    let left: Side = Box::new(move |slice| {
        Ok(sent.each(slice.count, |mut message| {
            if message[0] == 1000 {
                spoil(&mut message);
            }
            producer.push(message);
        }))
    });
    let right: Side = Box::new(move |slice| {
        let mut done = received.each(slice.count, || consumer.pop())?;
        lie(&mut done);
        Ok(done)
    });
    (left, right)
}

fn hang(_: ipc_benches::subject::Slice) -> Result<Done, Wrong> {
    loop {
        thread::park();
    }
}

// The cases.

fn every_real_subject_is_right() {
    let folder = Folder::new();
    let mut command = command(env!("CARGO_BIN_EXE_compare").as_ref(), &folder);
    let families: Vec<_> = Program::new().families.iter().map(|family| family.name).collect();
    command.arg("--quick").args(&families);
    let run = Run::watched(command);
    assert_eq!(run.status, Some(0), "{run:?}");
    for family in families {
        assert!(run.out.contains(&format!("{family}: ")), "{family}: {run:?}");
    }
}

fn missed_target_exits_1_and_names_its_row() {
    let run = Run::of(&["--check", "steady"]);
    assert_eq!(run.status, Some(1), "{run:?}");
    assert_eq!(run.out.matches("\nmissed ").count(), 1, "{run:?}");
    let line = run.line_with("missed  ");
    assert!(line.contains("steady, work: subject beside same: is "), "{line}");
    assert!(line.contains("must be ≤ 0.01 (planted)"), "{line}");
    assert!(run.out.contains("1 met, 1 missed, 0 not measured, 1 not in this run"), "{run:?}");
}

fn met_and_absent_targets_exit_0() {
    let run = Run::of(&["--check", "--only", "slower", "steady"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.line_with("met  ").contains("subject beside slower"), "{run:?}");
    let run = Run::of(&["--check", "--only", "not there", "steady"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(run.line_with("not in this run").contains("subject beside not there"), "{run:?}");
    assert!(run.out.contains("0 met, 0 missed, 0 not measured, 1 not in this run"), "{run:?}");
}

fn report_files_hold_the_run_and_no_path() {
    let folder = Folder::new();
    let run = Run::within(&folder, &["steady"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    let report = Report::read(&folder.0.join("steady.json")).expect("a readable report");
    let ratio = report.rows[1].outcome.headline().expect("pairs on one processor").ratio;
    assert!(ratio.median < 0.5 && ratio.first <= ratio.median, "{ratio:?}");
    let svg = fs::read_to_string(folder.0.join("steady.svg")).expect("a plot");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    let json = fs::read_to_string(folder.0.join("steady.json")).expect("a report");
    let package = env!("CARGO_MANIFEST_DIR");
    assert!(!json.contains(package) && !svg.contains(package));
    let quick = Folder::new();
    let run = Run::within(&quick, &["--quick", "steady"]);
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(fs::read_dir(&quick.0).expect("the folder").count(), 0, "quick writes nothing");
}

fn readme_wants_the_files_first() {
    let folder = Folder::new();
    let page = folder.0.join("README.md");
    fs::write(&page, "no markers").expect("a page");
    let run = Run::within(&folder, &["--readme"]);
    assert_eq!(run.status, Some(1), "{run:?}");
    assert!(run.err.contains("run `compare steady` first"), "{run:?}");
    assert_eq!(fs::read_to_string(&page).expect("the page"), "no markers");
}

fn wrong_checksum_aborts() {
    Run::of(&["--quick", "checksum"]).aborted_with("wrong result: checksum 0x");
}

fn changed_message_aborts() {
    Run::of(&["--quick", "changed"]).aborted_with("wrong result: a message between number ");
}

fn lost_count_aborts() {
    Run::of(&["--quick", "lost"]).aborted_with("wrong result: the left side did 64 operations");
}

fn panics_abort_and_name_the_side() {
    for (family, said) in [
        ("panics left", "the left side panicked"),
        ("panics right", "the right side panicked"),
        ("panics thread", "the right thread panicked"),
    ] {
        let run = Run::of(&["--quick", family]);
        run.aborted_with(said);
        assert!(run.err.contains("planted"), "the panic's own message is shown: {run:?}");
    }
}

fn killed_side_aborts() {
    Run::of(&["--quick", "exits"]).aborted_with("the right side ended early: Some(7)");
}

fn hang_is_named_and_leaves_no_process() {
    for family in ["hangs", "hangs right"] {
        let run = Run::of(&["--quick", "--watchdog", "1", family]);
        run.aborted_with("hung, a slice took more than 1s");
        assert!(run.took < Duration::from_secs(20), "{run:?}");
        assert_eq!(processes_of_group(run.group), 0, "{run:?}");
    }
}

fn sides_die_with_the_program() {
    let folder = Folder::new();
    let mut program = program(&folder, &["--quick", "--watchdog", "60", "hangs"]);
    let mut program = program.spawn().expect("the program starts");
    let group = program.id();
    let start = Instant::now();
    while processes_of_group(group) < 3 {
        assert!(start.elapsed() < WATCHDOG, "the sides were never forked");
        thread::yield_now();
    }
    program.kill().expect("the program is killed");
    program.wait().expect("the program is reaped");
    while processes_of_group(group) > 0 {
        assert!(start.elapsed() < WATCHDOG, "the sides outlive the program");
        thread::yield_now();
    }
}

fn bad_arguments_exit_2_in_one_line() {
    for arguments in [&["no such"][..], &[], &["--fast"], &["--quick", "--check", "steady"]] {
        let run = Run::of(arguments);
        assert_eq!((run.status, run.err.lines().count()), (Some(2), 1), "{run:?}");
        assert!(run.err.starts_with("compare: ") && run.out.is_empty(), "{run:?}");
    }
}

// The tools.

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("ipc-benches-{}-{}", process::id(), sys::now());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder for the files");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of a temporary folder harms nobody.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// What one call of the program said and did.
#[derive(Debug)]
struct Run {
    status: Option<i32>,
    out: String,
    err: String,
    took: Duration,
    group: u32,
}

/// This program as the one under test.
fn program(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = command(&env::current_exe().expect("this program has a path"), folder);
    command.arg("planted").args(arguments);
    command
}

fn command(program: &Path, folder: &Folder) -> Command {
    let mut command = Command::new(program);
    command
        .env("PLANTED_FOLDER", &folder.0)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that whatever it leaves behind can be found.
        .process_group(0);
    command
}

impl Run {
    fn of(arguments: &[&str]) -> Self {
        Self::within(&Folder::new(), arguments)
    }

    fn within(folder: &Folder, arguments: &[&str]) -> Self {
        Self::watched(program(folder, arguments))
    }

    fn watched(mut command: Command) -> Self {
        let start = Instant::now();
        let child = command.spawn().expect("the program starts");
        let group = child.id();
        let (done, ended) = mpsc::channel::<()>();
        let watchdog = thread::spawn(move || {
            let hung = ended.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout);
            if hung {
                kill_group(group);
            }
            hung
        });
        let output = child.wait_with_output().expect("the program is reaped");
        drop(done);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("readable output");
        let run = Self {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
            took: start.elapsed(),
            group,
        };
        let hung = watchdog.join().expect("the watchdog ends");
        assert!(!hung, "{command:?} hung: {run:?}");
        run
    }

    fn aborted_with(&self, reason: &str) {
        assert_eq!(self.status, Some(1), "{self:?}");
        let line = self.err.lines().last().unwrap_or_default();
        assert!(line.contains("work: culprit beside honest: culprit: "), "{self:?}");
        assert!(line.contains(reason), "{self:?}");
        assert!(self.out.is_empty(), "no figure is printed: {self:?}");
    }

    fn line_with(&self, start: &str) -> &str {
        let line = self.out.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no line starts with `{start}`: {self:?}"))
    }
}

/// Ends a program that hangs, and whatever it forked.
fn kill_group(group: u32) {
    let group = i32::try_from(group).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process_group(group, Signal::KILL).expect("the hung program is killed");
}

/// Processes whose group is `group`, zombies left out.
fn processes_of_group(group: u32) -> usize {
    let processes = fs::read_dir("/proc").expect("a process list");
    processes
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| {
            // After the name in parentheses: state, parent, group.
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            let state = fields.next();
            state != Some("Z") && fields.nth(1).and_then(|g| g.parse().ok()) == Some(group)
        })
        .count()
}
