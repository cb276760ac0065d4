//! The wordcount example of ipc-pool with one worker and with two, on a tree of text.
//!
//! ```text
//! cargo bench -p ipc-benches --bench wordcount
//! ```
//!
//! Status 1 if two workers are not faster than one, or if any two runs differ. With `--test` the tree is small,
//! nothing is measured, and the result is compared with that of code without a pool.

mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use ipc_benches::machine::Machine;
use ipc_benches::stats::Quantiles;
use rustix::process::{Pid, Signal, kill_process};

/// At least this is in the tree that is measured, and in the one that is not.
const MEGABYTES: usize = 256;
const MEGABYTES_IN_TEST: usize = 12;
/// How many times one worker and two are set against each other.
const PAIRS: usize = 5;
/// No run takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let result = if env::args().any(|argument| argument == "--test") { test() } else { measure() };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("wordcount: {why}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = core::result::Result<T, Box<dyn core::error::Error>>;

/// That one worker, two, two under chaos, and none at all come to the same.
fn test() -> Result<()> {
    let program = Program::build()?;
    let tree = tree::of(&program.target, MEGABYTES_IN_TEST)?;
    let mut words = HashMap::new();
    count(&tree, &mut words)?;
    let mut top: Vec<_> = words.into_iter().collect();
    top.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let expected: Vec<String> =
        top.iter().take(10).map(|(word, count)| format!("{count:>12}  {word}")).collect();
    for arguments in [&["--workers", "1"][..], &["--workers", "2"], &["--workers", "2", "--chaos"]]
    {
        let run = program.run(&tree, arguments)?;
        if run.top != expected {
            return Err(format!("{arguments:?} found {:#?}, not {expected:#?}", run.top).into());
        }
        println!("{}: as without a pool", arguments.join(" "));
    }
    Ok(())
}

fn measure() -> Result<()> {
    if thread::available_parallelism()?.get() < 2 {
        return Err("two workers need two processors".into());
    }
    let program = Program::build()?;
    let tree = tree::of(&program.target, MEGABYTES)?;
    let (files, bytes) = size(&tree)?;
    let megabytes = bytes as f64 / 1e6;
    println!("{files} files, {megabytes:.0} MB");
    // Brings the tree into the page cache as well.
    let expected = program.run(&tree, &["--workers", "2"])?.top;
    let rate = |workers: &str| -> Result<f64> {
        let run = program.run(&tree, &["--workers", workers])?;
        if run.top != expected {
            return Err(format!("{workers} workers found {:#?}, not {expected:#?}", run.top).into());
        }
        Ok(megabytes / run.elapsed.as_secs_f64())
    };
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let (one, two) = if pair % 2 == 0 {
            let one = rate("1")?;
            (one, rate("2")?)
        } else {
            let two = rate("2")?;
            (rate("1")?, two)
        };
        println!("1 worker {one:.1} MB/s, 2 workers {two:.1} MB/s: {:.2}", two / one);
        ratios.push(two / one);
    }
    let chaos = program.run(&tree, &["--workers", "2", "--chaos"])?;
    println!(
        "{}",
        chaos.said.lines().filter(|line| line.contains("kill")).collect::<Vec<_>>().join("; ")
    );
    let ratio = Quantiles::of(ratios);
    println!(
        "2 workers are {:.2} times as fast as 1 (median of {PAIRS} pairs, quartiles {:.2} and {:.2})",
        ratio.median, ratio.first, ratio.third
    );
    println!("{}", Machine::here().sentences().join(" "));
    if chaos.top != expected {
        return Err("chaos has changed the result".into());
    }
    if ratio.median > 1.0 { Ok(()) } else { Err("2 workers are not faster than 1".into()) }
}

/// The example, as a user builds it.
struct Program {
    path: PathBuf,
    /// The target folder that this program lies in.
    target: PathBuf,
}

struct Run {
    elapsed: Duration,
    said: String,
    top: Vec<String>,
}

impl Program {
    fn build() -> Result<Self> {
        let this = env::current_exe()?;
        let target = this.ancestors().nth(3).ok_or("no target folder")?.to_owned();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--example", "wordcount", "--target-dir"])
            .arg(&target)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .status()?;
        if !status.success() {
            return Err("the example does not build".into());
        }
        Ok(Self { path: target.join("release/examples/wordcount"), target })
    }

    fn run(&self, tree: &Path, arguments: &[&str]) -> Result<Run> {
        let began = Instant::now();
        let child =
            Command::new(&self.path).arg(tree).args(arguments).stdout(Stdio::piped()).spawn()?;
        let pid = Pid::from_child(&child);
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(child.wait_with_output()));
        let Ok(output) = end.recv_timeout(PATIENCE) else {
            // Its thread still waits for it, so the number is its own.
            kill_process(pid, Signal::KILL)?;
            return Err(format!("{arguments:?} hung for {PATIENCE:?}").into());
        };
        let elapsed = began.elapsed();
        let output = output?;
        let said = String::from_utf8(output.stdout)?;
        if !output.status.success() {
            return Err(format!("{arguments:?}: {}\n{said}", output.status).into());
        }
        let top = said.lines().take(10).map(str::to_owned).collect();
        Ok(Run { elapsed, said, top })
    }
}

/// Calls `each` with every file below `dir`.
fn walk(dir: &Path, each: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, each)? } else { each(&path)? }
    }
    Ok(())
}

/// How many files and bytes are below `dir`.
fn size(dir: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    walk(dir, &mut |path| {
        files += 1;
        bytes += fs::metadata(path)?.len();
        Ok(())
    })?;
    Ok((files, bytes))
}

/// What the example does, in the fewest words.
fn count(dir: &Path, words: &mut HashMap<String, u64>) -> io::Result<()> {
    walk(dir, &mut |path| {
        let text = fs::read_to_string(path)?;
        for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
            if !word.is_empty() {
                *words.entry(word.to_lowercase()).or_default() += 1;
            }
        }
        Ok(())
    })
}
