//! What came of the attacks on one operation.

use core::fmt;
use core::time::Duration;

/// What was attacked, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub(super) name: String,
    /// Instructions of the operation when nobody disturbs it.
    pub instructions: usize,
    /// Its accesses to the memory under attack.
    pub accesses: usize,
    /// Its system calls.
    pub calls: usize,
    /// Words that were attacked.
    pub words: usize,
    /// Attacks of one change that there are.
    pub possible: usize,
    /// How many of them there was time for.
    pub(super) allowed: usize,
    /// Runs of the operation, each under another attack: of one change, or a storm.
    pub runs: usize,
    /// Beside these, runs with a word that is never at rest.
    pub restless: usize,
    /// The most instructions that it took.
    pub longest: usize,
    /// How many runs ended in a value, in nothing, and in the answer that the memory is damaged.
    pub answers: [usize; 3],
    /// What was wrong, attack by attack.
    pub flaws: Vec<String>,
    pub(super) elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [values, nothing, corrupt] = self.answers;
        write!(
            f,
            "{}: {} instructions, {} accesses and {} calls x {} words, {} runs (of {} with one change) and {} with no rest, \
             at most {} instructions; {values} values, {nothing} nothing, {corrupt} corrupt; {:.2} s",
            self.name,
            self.instructions,
            self.accesses,
            self.calls,
            self.words,
            self.runs,
            self.possible,
            self.restless,
            self.longest,
            self.elapsed.as_secs_f64(),
        )
    }
}
