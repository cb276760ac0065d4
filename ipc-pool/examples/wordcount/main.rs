//! Counts the words of every text file below a directory, in worker processes.
//!
//! ```text
//! cargo run --release --example wordcount -- [DIR] [--workers N] [--chaos]
//! ```
//!
//! A word is a maximal run of Unicode letters, digits and `_`, in lower case. Files that cannot be read or
//! are not UTF-8 are counted and named.
//!
//! `--chaos` kills a random worker with SIGKILL every 100 ms, counts again in peace, and compares.

mod chaos;
mod files;
mod words;

extern crate alloc;

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ipc_pool::{Pool, Ticket};

use files::Listing;
use words::Count;

/// How many words are shown.
const SHOWN: usize = 10;
/// How often a batch is counted again because its worker was killed. A batch takes some milliseconds, and the
/// kills are 100 ms apart.
const RETRIES: u32 = 1000;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("wordcount: {message}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    dir: PathBuf,
    workers: Option<usize>,
    chaos: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { dir: ".".into(), workers: None, chaos: false };
        let mut has_dir = false;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--chaos" => options.chaos = true,
                "--workers" => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    options.workers = Some(number.ok_or("--workers needs a number")?);
                }
                flag if flag.starts_with("--") => return Err(format!("unknown option {flag}")),
                dir if !has_dir => (options.dir, has_dir) = (dir.into(), true),
                _ => return Err("more than one directory".into()),
            }
        }
        Ok(options)
    }
}

/// Counts and tells; whether everything came out as it must.
fn run(options: &Options) -> Result<bool, String> {
    let listing = files::below(&options.dir)?;
    let builder = Pool::builder().retries(RETRIES);
    let builder = options.workers.map_or(builder, |workers| builder.workers(workers));
    let pool = builder.build().map_err(|error| error.to_string())?;

    if !options.chaos {
        let began = Instant::now();
        let run = count(&pool, &listing)?;
        report(&pool, &run, began.elapsed());
        return Ok(true);
    }
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let (run, kills) = std::thread::scope(|scope| {
        let reign = scope.spawn(|| chaos::reign(&pool, &over));
        let run = count(&pool, &listing);
        over.store(true, Ordering::Release);
        reign.thread().unpark();
        (run, reign.join().unwrap_or(0))
    });
    let run = run?;
    report(&pool, &run, began.elapsed());
    println!("chaos: {kills} kills, {} of them hit a running task", chaos::hits(&pool));
    let calm = count(&pool, &listing)?;
    let same = calm.total == run.total;
    println!(
        "the result is {} to that of a run without kills",
        if same { "identical" } else { "NOT EQUAL" }
    );
    Ok(same)
}

/// What a run has counted.
struct Run {
    total: Count,
    /// Files by worker.
    files: Vec<u64>,
}

fn count(pool: &Pool, listing: &Listing) -> Result<Run, String> {
    let bar = progress(listing.bytes);
    let total = Count { refused: listing.refused.clone(), ..Count::default() };
    let mut run = Run { total, files: vec![0; pool.stats().len()] };
    let mut tickets: VecDeque<(Ticket<Count>, u64)> = VecDeque::new();
    let mut finish = |(ticket, bytes): (Ticket<Count>, u64)| {
        let count = ticket.wait().map_err(|error| error.to_string())?;
        if let Some(files) = count.worker.and_then(|worker| run.files.get_mut(worker)) {
            *files += count.files;
        }
        run.total.add(count);
        bar.inc(bytes);
        Ok::<_, String>(())
    };
    // As many batches as keep the workers busy: results come in while the later ones are counted.
    let ahead = 4 * pool.stats().len();
    for batch in &listing.batches {
        if tickets.len() == ahead {
            tickets.pop_front().map_or(Ok(()), &mut finish)?;
        }
        let ticket = pool.submit(Count::of, batch.paths.clone());
        tickets.push_back((ticket.map_err(|error| error.to_string())?, batch.bytes));
    }
    tickets.into_iter().try_for_each(&mut finish)?;
    bar.finish_and_clear();
    run.total.refused.sort();
    Ok(run)
}

fn progress(bytes: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style =
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    // Without the style it would be a plain bar.
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

fn report(pool: &Pool, run: &Run, elapsed: Duration) {
    let Run { total, files } = run;
    let mut words: Vec<(&String, &u64)> = total.words.iter().collect();
    words.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (word, count) in words.iter().take(SHOWN) {
        println!("{count:>12}  {word}");
    }
    for (path, why) in &total.refused {
        println!("not counted: {}: {why}", path.display());
    }
    let seconds = elapsed.as_secs_f64().max(1e-9);
    println!(
        "{} files, {} words ({} different), {} not counted, {:.1} MB in {seconds:.2} s: {:.0} files/s, {:.1} MB/s",
        total.files,
        total.words.values().sum::<u64>(),
        total.words.len(),
        total.refused.len(),
        total.bytes as f64 / 1e6,
        total.files as f64 / seconds,
        total.bytes as f64 / 1e6 / seconds,
    );
    for (index, (worker, files)) in pool.stats().iter().zip(files).enumerate() {
        let (busy, restarts) = (worker.busy.as_secs_f64(), worker.restarts);
        println!("worker {index}: {files} files, busy {busy:.2} s, {restarts} restarts");
    }
}
