//! What is printed.

extern crate alloc;

use alloc::collections::BTreeMap;
use core::time::Duration;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use ipc_pool::Pool;

use crate::run::Run;

/// How many words are shown.
const WORDS: usize = 10;
/// Beyond how many workers one line stands for all.
const WORKERS: usize = 8;
/// How many files are named that were not counted, for each reason.
const NAMES: usize = 10;

/// Tells what `run` has counted in `elapsed`, and what each worker of `pool` did.
pub(crate) fn write(
    out: &mut impl Write,
    run: &Run,
    pool: &Pool,
    elapsed: Duration,
) -> io::Result<()> {
    let total = &run.total;
    let mut words: Vec<(&String, &u64)> = total.words.iter().collect();
    words.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (word, count) in words.iter().take(WORDS) {
        writeln!(out, "{count:>12}  {word}")?;
    }
    refused(out, &total.refused)?;
    let (seconds, megabytes) = (elapsed.as_secs_f64().max(1e-9), total.bytes as f64 / 1e6);
    writeln!(
        out,
        "{} files, {} words ({} different), {} not counted, {megabytes:.1} MB in {seconds:.2} s: {:.0} files/s, {:.1} MB/s",
        total.files,
        total.words.values().sum::<u64>(),
        total.words.len(),
        total.refused.len(),
        total.files as f64 / seconds,
        megabytes / seconds,
    )?;
    if run.files.len() > WORKERS {
        return summary(out, run, pool);
    }
    for (index, (worker, files)) in pool.stats().iter().zip(&run.files).enumerate() {
        let (busy, restarts) = (worker.busy.as_secs_f64(), worker.restarts);
        writeln!(out, "worker {index}: {files} files, busy {busy:.2} s, {restarts} restarts")?;
    }
    Ok(())
}

/// All workers in one line.
fn summary(out: &mut impl Write, run: &Run, pool: &Pool) -> io::Result<()> {
    let stats = pool.stats();
    let (most, least) = (run.files.iter().max(), run.files.iter().min());
    let busy: Duration = stats.iter().map(|worker| worker.busy).sum();
    let restarts: u64 = stats.iter().map(|worker| worker.restarts).sum();
    writeln!(
        out,
        "{} workers: {} to {} files each, busy {:.2} s in all, {restarts} restarts",
        stats.len(),
        least.unwrap_or(&0),
        most.unwrap_or(&0),
        busy.as_secs_f64(),
    )
}

fn refused(out: &mut impl Write, refused: &[(OsString, String)]) -> io::Result<()> {
    let mut by_reason = BTreeMap::<&str, Vec<&OsStr>>::new();
    for (path, why) in refused {
        by_reason.entry(why).or_default().push(path);
    }
    for (why, paths) in by_reason {
        for path in paths.iter().take(NAMES) {
            writeln!(out, "not counted: {}: {why}", printable(path))?;
        }
        if let Some(more @ 1..) = paths.len().checked_sub(NAMES) {
            writeln!(out, "not counted: ... and {more} more: {why}")?;
        }
    }
    Ok(())
}

/// A name may have been chosen to command the terminal.
pub(crate) fn printable(path: &OsStr) -> String {
    let name = Path::new(path).display().to_string();
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
