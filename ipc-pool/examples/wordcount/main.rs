//! Counts the words of every text file below a directory, in worker processes.
//!
//! ```text
//! cargo run --release --example wordcount -- [DIR] [--workers N] [--chaos] [--help]
//! ```
//!
//! Directories below DIR whose names begin with a dot are left out; DIR itself may be one. Symbolic links are not
//! followed.
//!
//! A word is a maximal run of Unicode letters, digits and `_`, in lower case. Text is what is UTF-8, whatever
//! characters it has; other files, and those that cannot be read, are counted and named.
//!
//! `--chaos` kills a random worker with SIGKILL every 100 ms, counts again in peace, and compares.
//!
//! The status is 0; 1 if chaos changed the result; 2 if nothing could be counted, with a line that says why.
//!
//! `files` divides the tree into batches, `run` hands them to the pool, and `words` is what a worker does, on the
//! blocks that `text` reads.

mod chaos;
mod files;
mod report;
mod run;
mod text;
mod words;

use core::error::Error;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Instant;

use ipc_pool::Pool;

use files::Listing;
use run::Run;

/// How often a batch is counted again because its worker was killed. A batch takes some milliseconds, and the
/// kills are 100 ms apart.
const RETRIES: u32 = 1000;

const USAGE: &str = "usage: wordcount [DIR] [--workers N] [--chaos] [--help]";

const HELP: &str = "\
Counts the words of every text file below DIR (default: the current directory) in worker processes.
Directories below DIR whose names begin with a dot are left out. Symbolic links are not followed.

  --workers N   this many worker processes; default: one for each processor
  --chaos       kills a random worker every 100 ms, counts again in peace, and compares
  --help        says this

The status is 0; 1 if chaos changed the result; 2 if nothing could be counted.";

fn main() -> ExitCode {
    match Options::parse(std::env::args_os().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever read the output has enough, as `head` has.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

struct Options {
    dir: PathBuf,
    workers: Option<usize>,
    chaos: bool,
    help: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { dir: ".".into(), workers: None, chaos: false, help: false };
        let mut has_dir = false;
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--chaos") => options.chaos = true,
                Some("--help" | "-h") => options.help = true,
                Some("--workers") => {
                    let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
                    options.workers = Some(number.ok_or("--workers needs a number")?);
                }
                Some(flag) if flag.starts_with('-') => {
                    return Err(format!("unknown option {flag}; {USAGE}").into());
                }
                _ if has_dir => return Err("more than one directory".into()),
                _ => (options.dir, has_dir) = (argument.into(), true),
            }
        }
        Ok(options)
    }
}

/// Counts and tells; whether everything came out as it must.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let mut out = BufWriter::new(io::stdout().lock());
    if options.help {
        writeln!(out, "{USAGE}\n\n{HELP}")?;
        out.flush()?;
        return Ok(true);
    }
    let listing = Listing::below(&options.dir)
        .map_err(|error| format!("{}: {error}", report::printable(options.dir.as_os_str())))?;
    let builder = Pool::builder().retries(RETRIES);
    let builder = options.workers.map_or(builder, |workers| builder.workers(workers));
    let pool = builder.build()?;

    let began = Instant::now();
    if !options.chaos {
        let run = Run::of(&pool, &listing)?;
        report::write(&mut out, &run, &pool, began.elapsed())?;
        out.flush()?;
        return Ok(true);
    }
    let (over, is_over) = mpsc::channel();
    let (run, kills) = std::thread::scope(|scope| {
        let reign = scope.spawn(|| chaos::reign(&pool, is_over));
        let run = Run::of(&pool, &listing);
        drop(over);
        (run, reign.join())
    });
    let (run, kills) = (run?, kills.map_err(|_| "chaos itself has failed")?);
    report::write(&mut out, &run, &pool, began.elapsed())?;
    writeln!(out, "chaos: {kills} kills, {} of them hit a running task", chaos::hits(&pool))?;
    out.flush()?;
    let is_same = Run::of(&pool, &listing)?.total == run.total;
    let verdict = if is_same { "identical" } else { "NOT EQUAL" };
    writeln!(out, "the result is {verdict} to that of a run without kills")?;
    out.flush()?;
    Ok(is_same)
}
