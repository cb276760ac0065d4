//! Counting words: what a worker does.

use std::ffi::OsString;
use std::io;

use serde::{Deserialize, Serialize};

use crate::text::{Part, Text};

/// What some files contain, while it is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) words: Words,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Files that were not counted, and why.
    pub(crate) refused: Vec<(OsString, String)>,
}

/// How often each word occurs.
pub(crate) type Words = foldhash::HashMap<String, u64>;

/// A [`Count`] that travels: to add it up needs no memory for words that are known already.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Packed {
    /// Each word, and a space behind it.
    words: String,
    /// How often each word occurs.
    times: Vec<u64>,
    pub(crate) files: u64,
    bytes: u64,
    pub(crate) refused: Vec<(OsString, String)>,
    /// The worker that counted it.
    pub(crate) worker: Option<usize>,
}

impl Count {
    /// Counts some parts of files: in a worker, or anywhere else.
    pub(crate) fn of(parts: Vec<Part>) -> Packed {
        let mut count = Self::default();
        for part in parts {
            if let Err(why) = count.add_part(&part) {
                count.refused.push((part.path, why.to_string()));
            }
        }
        count.pack()
    }

    fn add_part(&mut self, part: &Part) -> io::Result<()> {
        let mut text = Text::open(part)?;
        let mut before_last = Self::default();
        while text.advance()? {
            // Until the last block is there a fault may turn up, and then nothing of the file may count.
            let count = if text.is_last() { &mut *self } else { &mut before_last };
            count.bytes += text.block().len() as u64;
            count.add_words(text.block());
        }
        // A file is counted where its start is.
        before_last.files = u64::from(part.start == 0);
        self.add(&before_last.pack());
        Ok(())
    }

    /// Adds the words of `text`: maximal runs of letters, digits and `_`, in lower case.
    fn add_words(&mut self, text: &str) {
        let mut lower = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(is_of_word) {
            rest = &rest[start..];
            // Most text is ASCII, and its bytes need no decoding.
            let is_of_word_too = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let ascii = rest.bytes().take_while(is_of_word_too).count();
            let is_all = rest.as_bytes().get(ascii).is_none_or(u8::is_ascii);
            lower.clear();
            if is_all {
                lower.push_str(&rest[..ascii]);
                lower.make_ascii_lowercase();
                rest = &rest[ascii..];
            } else {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                // Of the whole word: how a capital sigma is written depends on its place.
                lower.push_str(&rest[..end].to_lowercase());
                rest = &rest[end..];
            }
            self.add_word(&lower, 1);
        }
    }

    fn add_word(&mut self, word: &str, times: u64) {
        match self.words.get_mut(word) {
            Some(count) => *count += times,
            None => {
                self.words.insert(word.to_owned(), times);
            }
        }
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: &Packed) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.refused.extend_from_slice(&other.refused);
        for (word, &times) in other.words.split_terminator(' ').zip(&other.times) {
            self.add_word(word, times);
        }
    }

    pub(crate) fn pack(self) -> Packed {
        let mut words = String::with_capacity(16 * self.words.len());
        let mut times = Vec::with_capacity(self.words.len());
        for (word, count) in &self.words {
            words.push_str(word);
            words.push(' ');
            times.push(*count);
        }
        let Self { files, bytes, refused, .. } = self;
        Packed { words, times, files, bytes, refused, worker: ipc_pool::current_worker() }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
