//! Counting the words of some files: what a worker does.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What some files contain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) words: HashMap<String, u64>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Files that were not counted, and why.
    pub(crate) refused: Vec<(PathBuf, String)>,
    /// The worker that counted them.
    pub(crate) worker: Option<usize>,
}

impl Count {
    /// Counts the files in `paths`: in a worker, or anywhere else.
    pub(crate) fn of(paths: Vec<PathBuf>) -> Self {
        let mut count = Self { worker: ipc_pool::current_worker(), ..Self::default() };
        for path in paths {
            match read(&path) {
                Ok(text) => {
                    count.files += 1;
                    count.bytes += text.len() as u64;
                    count_words(&text, &mut count.words);
                }
                Err(why) => count.refused.push((path, why)),
            }
        }
        count
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.refused.extend(other.refused);
        for (word, count) in other.words {
            *self.words.entry(word).or_default() += count;
        }
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

/// Adds the words of `text`: maximal runs of letters, digits and `_`, in lower case.
pub(crate) fn count_words(text: &str, words: &mut HashMap<String, u64>) {
    let mut lower = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_word) {
        rest = &rest[start..];
        // Most text is ASCII, and its bytes need no decoding.
        let ascii =
            rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let end = match rest.as_bytes().get(ascii) {
            Some(byte) if !byte.is_ascii() => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            _ => ascii,
        };
        let (word, after) = rest.split_at(end);
        rest = after;
        lower.clear();
        if end == ascii {
            lower.push_str(word);
            lower.make_ascii_lowercase();
        } else {
            // Of the whole word: how a capital sigma is written depends on its place.
            lower.push_str(&word.to_lowercase());
        }
        match words.get_mut(&lower) {
            Some(count) => *count += 1,
            None => {
                words.insert(lower.clone(), 1);
            }
        }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
