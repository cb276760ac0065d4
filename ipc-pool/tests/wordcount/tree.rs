//! Trees of files, and what is in them by other means than the example's.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A file that may not be read, and a directory that may not be entered.
const LOCKED: &str = "locked.txt";
const CLOSED: &str = "closed";

/// A directory that goes away with the test.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-pool-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let closed = self.0.join(CLOSED);
        if closed.exists() {
            let _ = fs::set_permissions(closed, fs::Permissions::from_mode(0o700));
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The words of a language with letters of several scripts; the same on every run.
pub(crate) fn text(seed: u64, bytes: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ka", "ze", "LO", "mi", "r", "über", "ß", "İ", "ΣΑΣ", "д", "слов", "_", "7", "漢", "né",
        "x1",
    ];
    const BETWEEN: [&str; 6] = [" ", "\n", ", ", " - ", "\u{2003}", "'"];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % bound
    };
    let mut text = String::with_capacity(bytes + 32);
    while text.len() < bytes {
        for _ in 0..=next(3) {
            text.push_str(SYLLABLES[next(16)]);
        }
        text.push_str(BETWEEN[next(6)]);
    }
    text
}

/// The first offset from `at` on where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (at..).find(|&at| text.is_char_boundary(at)).unwrap()
}

/// Files of a quarter of a megabyte; how many.
pub(crate) fn plain(dir: &Dir, megabytes: usize) -> u64 {
    // The same few megabytes over and over, cut at other places.
    let pool: Vec<String> = (1..=4).map(|seed| text(seed, 1 << 20)).collect();
    for number in 0..megabytes * 4 {
        let sub = format!("d{}/e{}", number % 7, number % 3);
        fs::create_dir_all(dir.0.join(&sub)).unwrap();
        let source = &pool[number % pool.len()];
        let start = boundary(source, (number * 9973) % (source.len() / 2));
        let end = boundary(source, start + (1 << 18));
        dir.write(&format!("{sub}/f{number}.txt"), &source[start..end]);
    }
    megabytes as u64 * 4
}

/// Files of several batches, which are cut in the middle of words and of characters; how many.
pub(crate) fn large(dir: &Dir) -> u64 {
    let source = text(5, 5 << 20);
    for shift in 0..6 {
        // Where the cuts fall differs by a byte from file to file.
        dir.write(&format!("large-{shift}.txt"), format!("{}{source}", "-".repeat(shift)));
    }
    dir.write("one-word.txt", "ß".repeat(3 << 20));
    dir.write("no-ascii.txt", "漢é、".repeat(700_000));
    dir.write("only-spaces.txt", " ".repeat(5 << 20));
    dir.write("nul.txt", format!("a\0b{}c", "\0".repeat(5 << 20)));
    dir.write("long-word.txt", format!("short {} short", "a".repeat(3 << 20)));
    6 + 5
}

/// Files that are not UTF-8, at the start, at the end, and where it is hard to see; how many.
pub(crate) fn not_utf8(dir: &Dir) -> usize {
    let source = text(6, 9 << 20);
    // In the last part of a file; and between two parts, where a byte may seem to belong to the other.
    let with = |at: usize, bytes: &[u8]| {
        let mut file = source.clone().into_bytes();
        file.splice(at..at, bytes.iter().copied());
        file
    };
    let ascii = |bytes: usize| vec![b'a'; bytes];
    let files = [
        b"words before \xff\xfe and after".to_vec(),
        b"cut at the end \xe6\xbc".to_vec(),
        b"\xc0\xafoverlong".to_vec(),
        b"\xed\xa0\x80surrogate".to_vec(),
        with(10, b"\xff"),
        with(source.len(), b"\xff"),
        with(source.len(), b"\xf0\x9f\x98"),
        with(boundary(&source, 5 << 20), b"\x80"),
        [ascii(1 << 20), b"\x80".to_vec(), ascii(3 << 20)].concat(),
        [ascii((1 << 20) - 1), b"\xe6 ".to_vec(), ascii(3 << 20)].concat(),
        [ascii((64 << 10) - 1), b"\xe6".to_vec(), ascii(64 << 10)].concat(),
        vec![0xff; 3 << 20],
    ];
    for (number, bytes) in files.iter().enumerate() {
        assert!(core::str::from_utf8(bytes).is_err(), "{number}");
        dir.write(&format!("not-utf8-{number}"), bytes);
    }
    files.len()
}

/// What is there but cannot be counted: what is refused by name, with the reasons; what is no file.
pub(crate) fn hostile(dir: &Dir) -> [String; 2] {
    dir.write(LOCKED, "words that nobody may read");
    fs::set_permissions(dir.0.join(LOCKED), fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(dir.0.join(CLOSED)).unwrap();
    dir.write("closed/inside.txt", "words that nobody may find");
    fs::set_permissions(dir.0.join(CLOSED), fs::Permissions::from_mode(0o000)).unwrap();
    symlink("nowhere", dir.0.join("dangling")).unwrap();
    symlink(".", dir.0.join("loop")).unwrap();
    mknodat(CWD, dir.0.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    drop(UnixListener::bind(dir.0.join("socket")).unwrap());
    let name = |name| format!("{}: Permission denied", dir.0.join(name).display());
    [name(LOCKED), name(CLOSED)]
}

/// Words in hidden directories, which nobody counts.
pub(crate) fn hidden(dir: &Dir) {
    for sub in [".git", "seen/.cache/deep"] {
        fs::create_dir_all(dir.0.join(sub)).unwrap();
        dir.write(&format!("{sub}/hidden.txt"), "words that nobody looks for");
    }
}

/// Text files with odd names, and an empty one; how many.
pub(crate) fn odd(dir: &Dir) -> u64 {
    dir.write("empty.txt", "");
    let names: [&[u8]; 3] = [b"\xff\xfe.txt", b"-", b"\x1b[2Jline\nfeed"];
    for name in names {
        fs::write(dir.0.join(OsStr::from_bytes(name)), "a name of bytes").unwrap();
    }
    1 + names.len() as u64
}

/// What the example should find: character by character, in this process.
pub(crate) fn expected(dir: &Path, words: &mut HashMap<String, u64>) {
    for entry in fs::read_dir(dir).unwrap() {
        let (path, kind) = entry.map(|e| (e.path(), e.file_type().unwrap())).unwrap();
        let is_hidden = path.file_name().unwrap().as_bytes().starts_with(b".");
        if kind.is_dir() && !path.ends_with(CLOSED) && !is_hidden {
            expected(&path, words);
        } else if kind.is_file() && !path.ends_with(LOCKED) {
            let Ok(text) = String::from_utf8(fs::read(path).unwrap()) else { continue };
            let mut word = String::new();
            for c in text.chars().chain([' ']) {
                if c.is_alphanumeric() || c == '_' {
                    word.push(c);
                } else if !word.is_empty() {
                    *words.entry(word.to_lowercase()).or_default() += 1;
                    word.clear();
                }
            }
        }
    }
}

/// The first lines of the example's output.
pub(crate) fn top_ten(words: &HashMap<String, u64>) -> Vec<String> {
    let mut words: Vec<_> = words.iter().collect();
    words.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    words.iter().take(10).map(|(word, count)| format!("{count:>12}  {word}")).collect()
}
