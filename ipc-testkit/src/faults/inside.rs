//! The process in which a case is attempted: once with the fault, once without, and what is left behind.

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::collections::HashMap;
use std::fs::{self, File};
use std::panic::catch_unwind;

use rustix::io::retry_on_intr;
use rustix::process::{WaitOptions, waitpid};

use super::case::{Attempt, Case, Trouble};
use crate::stepkill::arch::marker;
use crate::stepkill::control::SharedText;
use crate::sys;

/// What the process says to the harness.
#[derive(Debug)]
pub(crate) struct Board {
    /// How the attempt with the fault ended, and the one after it.
    pub(crate) ends: [End; 2],
    /// What was left behind, if anything.
    pub(crate) left: SharedText,
    /// Processes that were reaped at the end because nobody had done it; zeros behind.
    pub(crate) reaped: [AtomicI32; 64],
    /// How many more bytes are mapped at the end than at the beginning, without heap and stack.
    pub(crate) mapped: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct End {
    code: AtomicU32,
    pub(crate) text: SharedText,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Not at all.
    Not,
    Done,
    Refused,
    Wrong,
    Panicked,
}

impl Board {
    pub(crate) const fn new() -> Self {
        Self {
            ends: [End::new(), End::new()],
            left: SharedText::new(),
            reaped: [const { AtomicI32::new(0) }; 64],
            mapped: AtomicU64::new(0),
        }
    }

    pub(crate) fn clear(&self) {
        for end in &self.ends {
            end.set(Ended::Not, "");
        }
        self.left.write("");
        self.reaped.iter().for_each(|slot| slot.store(0, SeqCst));
        self.mapped.store(0, SeqCst);
    }
}

impl End {
    const fn new() -> Self {
        Self { code: AtomicU32::new(Ended::Not as u32), text: SharedText::new() }
    }

    fn set(&self, ended: Ended, text: &str) {
        self.text.write(text);
        self.code.store(ended as u32, SeqCst);
    }

    pub(crate) fn get(&self) -> Ended {
        let all = [Ended::Done, Ended::Refused, Ended::Wrong, Ended::Panicked];
        all.into_iter().find(|ended| *ended as u32 == self.code.load(SeqCst)).unwrap_or(Ended::Not)
    }
}

/// Runs the case; the first marker is for the harness, which sets its options there.
pub(crate) fn run(case: &Case, board: &Board, stderr: &File) -> i32 {
    marker();
    sys::keep_malloc_in_the_heap();
    sys::replace_stderr(stderr);
    if sys::adopt_orphans().is_err() {
        return 1;
    }
    let mapped_before = mapped();
    for end in &board.ends {
        let before = descriptors();
        let result = catch_unwind(AssertUnwindSafe(|| (case.attempt)(&Attempt(()))));
        match result {
            Ok(Ok(())) => end.set(Ended::Done, ""),
            Ok(Err(Trouble::Refused(why))) => end.set(Ended::Refused, why.as_str()),
            Ok(Err(Trouble::Wrong(why))) => end.set(Ended::Wrong, why.as_str()),
            Err(panic) => {
                let what = panic.downcast_ref::<String>().map(String::as_str);
                let what = what.or_else(|| panic.downcast_ref::<&str>().copied());
                end.set(Ended::Panicked, what.unwrap_or("a panic"));
            }
        }
        reap_all(board);
        if let Some(left) = left_descriptors(&before) {
            board.left.write(&left);
            return 0;
        }
    }
    // The harness's own mappings, which it keeps for its lists, are here too.
    board.mapped.store(mapped().saturating_sub(mapped_before), SeqCst);
    0
}

/// The open descriptors and what they are.
fn descriptors() -> HashMap<u32, String> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc");
    let named = entries.map_while(Result::ok).filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let link = fs::read_link(entry.path()).ok()?;
        // The list itself is open while it is read.
        (!link.ends_with("fd")).then(|| (number, link.display().to_string()))
    });
    named.collect()
}

fn left_descriptors(before: &HashMap<u32, String>) -> Option<String> {
    let after = descriptors();
    let new: Vec<_> = after.iter().filter(|(number, _)| !before.contains_key(number)).collect();
    let gone: Vec<_> = before.iter().filter(|(number, _)| !after.contains_key(number)).collect();
    match (new.as_slice(), gone.as_slice()) {
        ([], []) => None,
        (new, []) => Some(format!("descriptors are left: {new:?}")),
        (_, gone) => Some(format!("descriptors of others were closed: {gone:?}")),
    }
}

/// Waits for the end of all that runs below this process. If that does not come, the harness finds what is written
/// here.
///
/// A child of this very process that nobody waited for is a leak, dead or alive, and the harness knows which those
/// are. An orphan is not: it ends, and whoever adopts it reaps it.
fn reap_all(board: &Board) {
    let mut slots = board.reaped.iter();
    board.left.write("a process that still runs is left");
    while let Ok(Some((pid, _))) = retry_on_intr(|| waitpid(None, WaitOptions::empty())) {
        let Some(slot) = slots.next() else { return board.left.write("too many processes") };
        slot.store(pid.as_raw_nonzero().get(), SeqCst);
    }
    board.left.write("");
}

/// How many bytes are mapped, without the heap and the stack, whose sizes depend on what was done before.
fn mapped() -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    let sizes = maps.lines().filter(|line| !line.ends_with("[heap]") && !line.ends_with("[stack]"));
    sizes.filter_map(size).sum()
}

fn size(line: &str) -> Option<u64> {
    let (from, to) = line.split_once(' ')?.0.split_once('-')?;
    let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).ok());
    Some(to? - from?)
}
