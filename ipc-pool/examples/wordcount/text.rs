//! Parts of files as text, a block at a time: memory stays small, however large the file is.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// How much is read and checked at once: what is read of a file that is not text.
pub(crate) const STEP: usize = 64 << 10;
/// A block is larger than this, unless it is the last.
pub(crate) const BLOCK: usize = 1 << 20;

/// A file from one cut to another.
///
/// A cut is the first ASCII character, at or after an offset, that is of no word. No word goes across it, and no
/// character of several bytes does. So the parts of a file hold each of its words once, and the file is UTF-8
/// if all of its parts are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Not a `PathBuf`: serde refuses to send one that is not UTF-8.
    pub(crate) path: OsString,
    /// The offset whose cut is the start; 0 is the start of the file.
    pub(crate) start: u64,
    /// The offset whose cut is the end; without one, the end of the file.
    pub(crate) end: Option<u64>,
}

/// What stands in a [`Part`].
#[derive(Debug)]
pub(crate) struct Text {
    file: File,
    /// Where in the file `read` ends, and the part.
    at: u64,
    end: Option<u64>,
    /// Read, and no more than the beginning of a character.
    begun: Vec<u8>,
    /// Read and checked: the present block first, which is `block` bytes long.
    read: String,
    block: usize,
    /// The last cut in `read`.
    cut: usize,
    /// Whether all of the part is in `read`.
    complete: bool,
}

impl Text {
    pub(crate) fn open(part: &Part) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            // What was a file when it was listed may be a pipe by now, and a pipe makes its reader wait.
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY).bits() as i32)
            .open(&part.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("no longer a regular file"));
        }
        if part.start != 0 {
            file.seek(SeekFrom::Start(part.start))?;
        }
        let mut text = Self {
            file,
            at: part.start,
            end: part.end,
            begun: Vec::new(),
            read: String::new(),
            block: 0,
            cut: 0,
            complete: false,
        };
        if part.start != 0 {
            text.skip_to_cut()?;
        }
        Ok(text)
    }

    /// Goes to the next block; whether there is one.
    ///
    /// # Errors
    ///
    /// `InvalidData` when it is not UTF-8, else why it cannot be read.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        self.read.drain(..self.block);
        self.cut -= self.block;
        while !self.complete && (self.cut == 0 || self.read.len() <= BLOCK) {
            self.read_on()?;
        }
        self.block = if self.complete { self.read.len() } else { self.cut };
        self.cut = self.block;
        Ok(self.block > 0)
    }

    pub(crate) fn block(&self) -> &str {
        &self.read[..self.block]
    }

    /// Whether the present block is the last: [`advance`](Self::advance) will find none, and no fault.
    pub(crate) fn is_last(&self) -> bool {
        self.complete
    }

    /// Skips what belongs to the part before: all of this one, if there is no cut in it.
    fn skip_to_cut(&mut self) -> io::Result<()> {
        while !self.complete {
            let mut bytes = self.fetch()?;
            if let Some(cut) = bytes.iter().position(is_cut) {
                // Still to be checked, even if the file ends with it.
                self.begun = bytes.split_off(cut);
                self.complete = false;
                break;
            }
            self.complete |= self.end.is_some_and(|end| self.at >= end);
        }
        Ok(())
    }

    /// Reads and checks one step more.
    fn read_on(&mut self) -> io::Result<()> {
        let mut bytes = self.fetch()?;
        // At the end of the file there is nothing to come that could make it whole.
        let whole = bytes.len() - if self.complete { 0 } else { begun(&bytes) };
        let old = self.read.len();
        match core::str::from_utf8(&bytes[..whole]) {
            Ok(text) => self.read.push_str(text),
            Err(_) => return Err(io::Error::new(ErrorKind::InvalidData, "not UTF-8")),
        }
        self.begun = bytes.split_off(whole);

        let new = &self.read.as_bytes()[old..];
        if let Some(cut) = new.iter().rposition(is_cut) {
            self.cut = old + cut;
        }
        let base = self.at - (self.begun.len() + new.len()) as u64;
        if let Some(end) = self.end.filter(|&end| end < base + new.len() as u64) {
            let from = end.saturating_sub(base) as usize;
            if let Some(cut) = new[from..].iter().position(is_cut) {
                self.read.truncate(old + from + cut);
                self.complete = true;
            }
        }
        Ok(())
    }

    /// What was begun and one step more; with less than that the file is at its end.
    fn fetch(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = core::mem::take(&mut self.begun);
        let count = (&self.file).take(STEP as u64).read_to_end(&mut bytes)?;
        self.at += count as u64;
        self.complete = count < STEP;
        Ok(bytes)
    }
}

/// An ASCII character that is of no word.
fn is_cut(byte: &u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'_'
}

/// How many bytes at the end of `bytes` announce a character of more bytes than there are.
fn begun(bytes: &[u8]) -> usize {
    let is_begun = |&n: &usize| bytes[bytes.len() - n].leading_ones() as usize > n;
    (1..=bytes.len().min(3)).rev().find(is_begun).unwrap_or(0)
}
