//! The command line of `compare`, over any list of families.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use core::fmt;
use core::time::Duration;

use crate::plot;
use crate::readme;
use crate::report::Report;
use crate::runner::Plan;
use crate::subject::Family;
use crate::sys;
use crate::table;
use crate::targets::{Judged, State, Target};

const USAGE: &str = "\
usage: compare [--quick] [--check] [--only TEXT] [--visits COUNT] [--watchdog SECONDS] FAMILY...
       compare --list
       compare --readme [FAMILY...]

Measures each lead of a family beside each peer, in alternating slices, and prints the medians of
the pairwise ratios. Writes FAMILY.json and FAMILY.svg to the folder `compare` of the target folder.

  --quick               few short slices: shows that everything runs, not how fast; writes nothing
  --check               exits with status 1 and names each target that is missed or not measured
  --only TEXT           only rows whose name `workload: lead beside peer` contains TEXT; writes nothing
  --visits COUNT        how often to come back to rows that lack pairs of the near placement (6)
  --watchdog SECONDS    a slice that takes longer hangs, and ends the run (10)
  --list                families, workloads, subjects and targets
  --readme              regenerates the tables of benches/README.md from the files: those of the
                        families that are named, or all
";

/// What `compare` works on.
#[derive(Debug)]
pub struct Program {
    /// Everything that can be measured.
    pub families: Vec<Family>,
    /// What must be reached.
    pub targets: &'static [Target],
    /// The page with the generated tables.
    pub readme: PathBuf,
    /// The folder of the report files.
    pub folder: PathBuf,
}

impl Program {
    /// The families of this package, its page, and the usual target folder.
    #[must_use]
    pub fn new() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            families: crate::families::all(),
            targets: crate::targets::TARGETS,
            readme: package.join("README.md"),
            folder: report_folder(&package.join("../target")),
        }
    }

    /// Does what `arguments` (without the program's name) say.
    ///
    /// The calling process must have one thread only: measuring forks.
    ///
    /// Exits with 0, with 1 after a missed target, a wrong result or a refusal of the operating
    /// system, and with 2 after arguments that mean nothing.
    #[must_use]
    pub fn run(&self, arguments: impl IntoIterator<Item = String>) -> ExitCode {
        let command = match Command::parse(arguments, &self.families) {
            Ok(command) => command,
            Err(BadArguments(reason)) => {
                eprintln!("compare: {reason}; see `compare --help`");
                return ExitCode::from(2);
            }
        };
        let done = match command {
            Command::Help => print(USAGE).map(|()| true),
            Command::List => print(&self.list()).map(|()| true),
            Command::Readme(families) => self.regenerate(&families).map(|()| true),
            Command::Measure(measure) => self.measure(&measure),
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("compare: {error}");
                ExitCode::FAILURE
            }
        }
    }

    /// Measures and prints; whether the check, if asked for, passes.
    fn measure(&self, measure: &Measure) -> io::Result<bool> {
        sys::raise_priority();
        let mut passes = true;
        for name in &measure.families {
            let family = self.families.iter().find(|family| family.name == name);
            let Some(family) = family else { unreachable!("the parser knows the families") };
            let wanted = |row: &str| measure.only.as_ref().is_none_or(|text| row.contains(text));
            let progress = |row: &str| eprintln!("measuring {row}");
            let report = Report::measure(family, self.targets, measure.plan, wanted, progress)
                .map_err(|(row, error)| io::Error::other(format!("{row}: {error}")))?;
            if report.rows.is_empty() && report.targets.is_empty() {
                return Err(io::Error::other(format!("{name}: no row is named like that")));
            }
            print(&table::text(&report))?;
            if !measure.quick && measure.only.is_none() {
                self.write(&report)?;
            }
            if measure.check {
                print(&verdicts(&report))?;
                passes &= report.targets.iter().all(|target| target.state.passes());
            }
        }
        Ok(passes)
    }

    fn write(&self, report: &Report) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        report.write(&self.file(&report.family, "json"))?;
        fs::write(self.file(&report.family, "svg"), plot::svg(report))
    }

    fn file(&self, family: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{family}.{kind}"))
    }

    /// Of the families that are named, or of all.
    fn regenerate(&self, named: &[String]) -> io::Result<()> {
        let mut page = fs::read_to_string(&self.readme)?;
        let is_named = |name: &str| named.is_empty() || named.iter().any(|named| named == name);
        for family in self.families.iter().filter(|family| is_named(family.name)) {
            let report = Report::read(&self.file(family.name, "json")).map_err(|error| {
                io::Error::other(format!("{0}: {error}; run `compare {0}` first", family.name))
            })?;
            if report.machine.debug {
                let reason = "measured with debug assertions; use `--profile bench`";
                return Err(io::Error::other(format!("{}: {reason}", family.name)));
            }
            page = readme::with_table(&page, family.name, &table::markdown(&report))
                .map_err(io::Error::other)?;
        }
        fs::write(&self.readme, page)
    }

    fn list(&self) -> String {
        let mut out = String::new();
        for family in &self.families {
            out.push_str(&format!("{}: {}\n", family.name, family.title));
            for workload in &family.workloads {
                out.push_str(&format!("  {}: {}\n", workload.name, workload.measure.unit()));
                for (word, subjects) in [("lead", &workload.leads), ("peer", &workload.peers)] {
                    for subject in subjects {
                        out.push_str(&format!("    {word} {}\n", subject.name));
                    }
                }
            }
            for target in self.targets.iter().filter(|target| target.family == family.name) {
                let Target { workload, lead, peer, bound, sentence, .. } = target;
                out.push_str(&format!(
                    "  target {bound} {workload}: {lead} beside {peer}: {sentence}\n"
                ));
            }
        }
        out
    }
}

impl Default for Program {
    fn default() -> Self {
        Self::new()
    }
}

/// The folder of the report files: in `CARGO_TARGET_DIR`, or else in `usual`.
fn report_folder(usual: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| usual.to_owned(), PathBuf::from).join("compare")
}

/// One line for each target, and one that counts them.
fn verdicts(report: &Report) -> String {
    let mut out = String::new();
    for target in &report.targets {
        let Judged { state, bound, sentence, .. } = target;
        let ratio = target.ratio.map_or_else(String::new, |ratio| {
            format!(" is {},", crate::format::three_digits(ratio))
        });
        out.push_str(&format!(
            "{state:13}  {}, {}:{ratio} must be {bound} ({sentence})\n",
            report.family,
            target.name()
        ));
    }
    let count = |state| report.targets.iter().filter(|target| target.state == state).count();
    let counts = [State::Met, State::Missed, State::NotMeasured, State::Absent]
        .map(|state| format!("{} {state}", count(state)));
    out.push_str(&format!("{} targets: {}\n", report.family, counts.join(", ")));
    out
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What the arguments ask for.
#[derive(Debug)]
enum Command {
    Help,
    List,
    Readme(Vec<String>),
    Measure(Measure),
}

#[derive(Debug)]
struct Measure {
    families: Vec<String>,
    plan: Plan,
    quick: bool,
    check: bool,
    only: Option<String>,
}

/// Arguments that mean nothing, and why.
#[derive(Debug, PartialEq, Eq)]
struct BadArguments(String);

impl fmt::Display for BadArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Command {
    fn parse(
        arguments: impl IntoIterator<Item = String>,
        known: &[Family],
    ) -> Result<Self, BadArguments> {
        let bad = |reason: String| Err(BadArguments(reason));
        let mut families: Vec<String> = Vec::new();
        let (mut quick, mut check, mut only, mut watchdog) = (false, false, None, None);
        let mut visits = None;
        let (mut alone, mut regenerates) = (None, false);
        let mut count = 0;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            count += 1;
            let mut value = || match arguments.next() {
                Some(value) => Ok(value),
                None => Err(BadArguments(format!("{argument} wants a value"))),
            };
            match &*argument {
                "--help" | "-h" => alone = Some(Self::Help),
                "--list" => alone = Some(Self::List),
                "--readme" => regenerates = true,
                "--quick" => quick = true,
                "--check" => check = true,
                "--only" => only = Some(value()?),
                "--visits" => match value()?.parse() {
                    Ok(count @ 1..=1000) => visits = Some(count),
                    _ => return bad("--visits wants 1 to 1000".to_owned()),
                },
                "--watchdog" => match value()?.parse() {
                    Ok(seconds @ 1..=3600) => watchdog = Some(Duration::from_secs(seconds)),
                    _ => return bad("--watchdog wants 1 to 3600 seconds".to_owned()),
                },
                flag if flag.starts_with('-') => return bad(format!("no option `{flag}`")),
                name if known.iter().any(|family| family.name == name) => {
                    families.push(argument);
                }
                name => {
                    let names: Vec<_> = known.iter().map(|family| family.name).collect();
                    return bad(format!("no family `{name}`, there are: {}", names.join(", ")));
                }
            }
        }
        if let Some(command) = alone {
            return if count == 1 {
                Ok(command)
            } else {
                bad("that option stands alone".to_owned())
            };
        }
        if regenerates {
            return if count == 1 + families.len() {
                Ok(Self::Readme(families))
            } else {
                bad("--readme takes families only".to_owned())
            };
        }
        if families.is_empty() {
            return bad("name at least one family".to_owned());
        }
        if quick && check {
            return bad("--quick measures too little for --check".to_owned());
        }
        let mut plan = if quick { Plan::QUICK } else { Plan::FULL };
        plan.visits = visits.unwrap_or(plan.visits);
        plan.watchdog = watchdog.unwrap_or(plan.watchdog);
        Ok(Self::Measure(Measure { families, plan, quick, check, only }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, BadArguments> {
        let known = Family { name: "spsc", title: "", workloads: Vec::new() };
        Command::parse(line.split_ascii_whitespace().map(str::to_owned), &[known])
    }

    #[test]
    fn bad_arguments_are_refused_with_a_reason() {
        for (line, reason) in [
            ("", "name at least one family"),
            ("spcs", "no family `spcs`, there are: spsc"),
            ("--fast spsc", "no option `--fast`"),
            ("--only", "--only wants a value"),
            ("--visits 0 spsc", "1 to 1000"),
            ("--watchdog 0 spsc", "1 to 3600"),
            ("--watchdog soon spsc", "1 to 3600"),
            ("--list spsc", "stands alone"),
            ("--quick --check spsc", "too little"),
            ("--readme --quick spsc", "families only"),
        ] {
            let Err(BadArguments(said)) = parse(line) else { panic!("`{line}` was accepted") };
            assert!(said.contains(reason), "`{line}`: {said}");
        }
    }

    #[test]
    fn page_takes_its_tables_from_the_files() {
        let folder = env::temp_dir().join(format!("ipc-benches-cli-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = Program {
            families: vec![Family { name: "planted", title: "", workloads: Vec::new() }],
            targets: &[],
            readme: folder.join("README.md"),
            folder: folder.clone(),
        };
        let page = "<!-- compare planted: generated -->\n<!-- compare planted: end -->\n";
        let now = || fs::read_to_string(&program.readme).unwrap();
        fs::write(&program.readme, page).unwrap();
        assert!(program.regenerate(&[]).unwrap_err().to_string().contains("run `compare planted`"));
        program.regenerate(&["another".to_owned()]).unwrap();
        assert_eq!(now(), page, "it was not named");

        let mut report = crate::report::tests::report("ours", "theirs", 2.5);
        report.machine.debug = true;
        program.write(&report).unwrap();
        assert!(program.regenerate(&[]).unwrap_err().to_string().contains("debug assertions"));
        assert_eq!(now(), page, "a refusal leaves the page alone");

        report.machine.debug = false;
        program.write(&report).unwrap();
        program.regenerate(&[]).unwrap();
        assert!(now().contains("| ours | theirs (threads) | 2.50 |"), "{}", now());
        fs::remove_dir_all(&folder).unwrap();
    }

    /// A family without its markers would keep all others from the page, too.
    #[test]
    fn the_page_has_a_place_for_every_family() {
        let program = Program::new();
        let page = fs::read_to_string(&program.readme).unwrap();
        for family in &program.families {
            if let Err(error) = readme::with_table(&page, family.name, "a table") {
                panic!("{error}");
            }
        }
    }

    #[test]
    fn good_arguments_are_understood() {
        assert!(matches!(parse("--list"), Ok(Command::List)));
        assert!(matches!(parse("--readme"), Ok(Command::Readme(families)) if families.is_empty()));
        assert!(matches!(parse("--readme spsc"), Ok(Command::Readme(named)) if named == ["spsc"]));
        let Ok(Command::Measure(measure)) = parse("--check spsc --only 8 --watchdog 3 --visits 2")
        else {
            panic!("a good line was refused")
        };
        assert!(measure.check && !measure.quick);
        assert_eq!(measure.only.as_deref(), Some("8"));
        assert_eq!((measure.plan.watchdog, measure.plan.visits), (Duration::from_secs(3), 2));
    }
}
