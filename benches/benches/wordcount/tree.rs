//! A tree of text that is the same on every machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many different words there are.
const VOCABULARY: usize = 40_000;
/// Files have 2 to the power of `SMALLEST` to `LARGEST` bytes, as many of each power: half of all bytes are
/// in the files of the last.
const SMALLEST: f64 = 8.0;
const LARGEST: f64 = 22.0;

/// Makes a tree of at least `megabytes` below `parent`, unless it is there already; where it is.
///
/// # Errors
///
/// What the file system says.
pub fn of(parent: &Path, megabytes: usize) -> io::Result<PathBuf> {
    // A change of what is in it is a change of its name.
    let dir = parent.join(format!("wordcount-tree-1-{megabytes}"));
    if dir.exists() {
        return Ok(dir);
    }
    // It has its name only when it is whole.
    let draft = parent.join(format!("wordcount-tree-{}.draft", std::process::id()));
    write(&draft, megabytes * 1_000_000)?;
    match fs::rename(&draft, &dir) {
        // Another run was faster.
        Err(_) if dir.exists() => fs::remove_dir_all(&draft)?,
        renamed => renamed?,
    }
    Ok(dir)
}

fn write(dir: &Path, bytes: usize) -> io::Result<()> {
    let mut random = Random(1);
    let words: Vec<String> = (0..VOCABULARY).map(|_| word(&mut random)).collect();
    let (mut written, mut files) = (0, 0);
    while written < bytes {
        let size = (SMALLEST + random.unit() * (LARGEST - SMALLEST)).exp2();
        let folder = dir.join(format!("{}/{}", files % 16, files % 5));
        fs::create_dir_all(&folder)?;
        let text = text(&words, size as usize, &mut random);
        fs::write(folder.join(format!("{files}.txt")), &text)?;
        written += text.len();
        files += 1;
    }
    Ok(())
}

/// Text in which the word of rank `n` has a share of about `1 / n`, as in a language (Zipf's law).
fn text(words: &[String], bytes: usize, random: &mut Random) -> String {
    let mut text = String::with_capacity(bytes + 64);
    while text.len() < bytes {
        // The inverse of the distribution, in which the rank's logarithm is uniform.
        let rank = (words.len() as f64).powf(random.unit()) as usize - 1;
        let word = &words[rank.min(words.len() - 1)];
        match random.below(12) {
            // The beginning of a sentence.
            0 => {
                text.push_str(". ");
                let mut letters = word.chars();
                text.extend(letters.next().into_iter().flat_map(char::to_uppercase));
                text.push_str(letters.as_str());
                continue;
            }
            1 => text.push('\n'),
            2 => text.push_str(", "),
            _ => text.push(' '),
        }
        text.push_str(word);
    }
    text.push('\n');
    text
}

/// A word: four in five are of Latin letters, the others of a script of their own, or numbers.
fn word(random: &mut Random) -> String {
    const LATIN: &str = "eeeeetttaaaooiinnsshhrrddlucmfwypvbgkjqxz";
    const OTHERS: [&str; 4] =
        ["äöüßéèñçåø", "абвгдежзиклмнопрстуя", "αβγδεζηθικλμνοπρστυω", "0123456789_"];
    let letters: Vec<char> = match random.below(20) {
        other @ 0..4 => OTHERS[other].chars().collect(),
        _ => LATIN.chars().collect(),
    };
    (0..2 + random.below(5) + random.below(5))
        .map(|_| letters[random.below(letters.len())])
        .collect()
}

/// Steele, Lea and Flood's SplitMix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// From 0 up to and without 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
