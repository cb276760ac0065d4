//! A peer that writes what it likes between any two instructions of an operation on shared memory.
//!
//! [`stepkill`](crate::stepkill) kills; this mutates. One undisturbed run of the operation, instruction by instruction,
//! finds out which of them access the memory under attack (each such access is caught by its page fault) or enter the
//! kernel. Then, before each of these, each word of the structure becomes each of some twenty values, for good or only
//! until the next access, or its page becomes zeros; and the operation goes on, counted. Whatever was planted:
//!
//! - it ends within so many instructions, without a signal and without a panic,
//! - it has written nowhere but where it may (beside the mapping are pages that nobody may access),
//! - and its [`Answer`] passes the scenario's own judgement: after `Corrupt` everything is `Corrupt`.
//!
//! # Why that is complete
//!
//! What another processor writes between two instructions that do not look at the memory comes to the same as what it
//! writes right before the one that looks next. So for *one* change of *one* word to *these* values there is no other
//! moment; a compiler that reads twice what was written to be read once has two such instructions, and is found.
//! Several changes in one run are sampled: [`Scenario::storms`] changes random words before every other instruction; and
//! in four runs for each word a half of it counts, or turns a bit, before every single one, so that no compare-exchange of it ever
//! succeeds: whoever repeats that without a bound is found.
//!
//! # Limits
//!
//! x86-64 only, and a process with one thread. Stores of other sizes than eight bytes, and at other addresses than
//! multiples of eight, are not tried.
//!
//! # Examples
//!
//! ```no_run
//! use core::sync::atomic::{AtomicU64, Ordering};
//! use ipc_testkit::stepmutate::{self, Answer, Arena, Scenario};
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     stepmutate::main(|suite| {
//!         let (arena, word) = Arena::place(AtomicU64::new(3)).expect("memory");
//!         let load = Scenario::new(
//!             "load",
//!             &arena,
//!             || (),
//!             |()| word.load(Ordering::Relaxed),
//!             |(), _, _| Ok(Answer::Value),
//!         );
//!         suite.attack(&load.words(0..8).at_least(1, 1));
//!     })
//! }
//! ```

mod arena;
mod plan;
mod report;
mod run;
mod stepper;
mod suite;

use core::ops::Range;

pub use arena::{Arena, make_room};
pub use report::Report;
pub use suite::{Suite, main};

/// What an operation under attack came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A value, which may be any.
    Value,
    /// That there is nothing, or no room, or nobody.
    Nothing,
    /// That the memory is damaged.
    Corrupt,
}

/// One operation, and the memory that is attacked while it runs.
///
/// `S` is what the operation works with, made anew for each run, and `R` what it returns.
pub struct Scenario<'a, S, R> {
    name: String,
    arena: &'a Arena,
    prepare: Box<dyn Fn() -> S + 'a>,
    operation: Box<dyn Fn(&mut S) -> R + 'a>,
    judge: Box<Judge<'a, S, R>>,
    words: Vec<usize>,
    writes: Vec<Range<usize>>,
    values: Vec<u64>,
    capacity: u64,
    within: usize,
    storms: usize,
    least: (usize, usize),
}

/// Whether the environment says that the compiler has put instructions of its own around every access.
fn is_instrumented() -> bool {
    std::env::var_os("IPC_INSTRUMENTED").is_some()
}

type Judge<'a, S, R> = dyn Fn(S, R, &Arena) -> Result<Answer, String> + 'a;

impl<'a, S, R> Scenario<'a, S, R> {
    /// An operation on what is in `arena`, which is as it was at the last [`save`](Arena::save) when `prepare` is called.
    ///
    /// `judge` gets the state and the result of the operation, and `Err` is what is wrong with it. It may do to the
    /// memory what it likes.
    pub fn new(
        name: impl Into<String>,
        arena: &'a Arena,
        prepare: impl Fn() -> S + 'a,
        operation: impl Fn(&mut S) -> R + 'a,
        judge: impl Fn(S, R, &Arena) -> Result<Answer, String> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            arena,
            prepare: Box::new(prepare),
            operation: Box::new(operation),
            judge: Box::new(judge),
            words: Vec::new(),
            writes: Vec::new(),
            values: Vec::new(),
            capacity: 4,
            within: 2000,
            storms: 2000,
            least: (1, 1),
        }
    }

    /// Attacks the words at these offsets; the operation may write there, too. Can be called several times.
    #[must_use]
    pub fn words(mut self, bytes: Range<usize>) -> Self {
        self.words.extend(bytes.clone().step_by(8));
        self.writes.push(bytes);
        self
    }

    /// Attacks the words at these offsets, which the operation may not write to.
    #[must_use]
    pub fn read_only_words(mut self, bytes: Range<usize>) -> Self {
        self.words.extend(bytes.step_by(8));
        self
    }

    /// The operation may write to these bytes, which are or are not attacked.
    #[must_use]
    pub fn may_write(mut self, bytes: Range<usize>) -> Self {
        self.writes.push(bytes);
        self
    }

    /// Plants these values as well.
    #[must_use]
    pub fn values(mut self, values: impl IntoIterator<Item = u64>) -> Self {
        self.values.extend(values);
        self
    }

    /// How many places the structure has, for values around that number.
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity as u64;
        self
    }

    /// How many instructions the operation may take, whatever is written. With `IPC_INSTRUMENTED` in the environment, which
    /// is for builds with a sanitizer, sixteen times as many.
    #[must_use]
    pub fn within(mut self, instructions: usize) -> Self {
        self.within = if is_instrumented() { 16 * instructions } else { instructions };
        self
    }

    /// How many runs there are in which random words change all the time.
    #[must_use]
    pub fn storms(mut self, storms: usize) -> Self {
        self.storms = storms;
        self
    }

    /// How many accesses there are at least, and how many runs: fewer, and something was not attacked.
    #[must_use]
    pub fn at_least(mut self, accesses: usize, runs: usize) -> Self {
        self.least = (accesses, runs);
        self
    }
}

impl<S, R> core::fmt::Debug for Scenario<'_, S, R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}
