//! The wordcount example against code that knows no pool.

use core::time::Duration;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ipc-pool-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that may not be read.
const LOCKED: &str = "locked.txt";

/// The words of a language with letters of several scripts; the same on every run.
fn text(seed: u64, bytes: usize) -> String {
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

/// A tree of text, with a file that is not UTF-8 and one that may not be read; how many text files it has.
fn tree(dir: &Path, megabytes: usize) -> u64 {
    // The same few megabytes over and over, cut at other places.
    let pool: Vec<String> = (1..=4).map(|seed| text(seed, 1 << 20)).collect();
    let mut files = 0;
    for number in 0..megabytes * 4 {
        let sub = dir.join(format!("d{}/e{}", number % 7, number % 3));
        fs::create_dir_all(&sub).unwrap();
        let source = &pool[number % pool.len()];
        let mut cut = (number * 9973) % (source.len() / 2);
        while !source.is_char_boundary(cut) {
            cut += 1;
        }
        let mut end = cut + (1 << 18);
        while !source.is_char_boundary(end) {
            end += 1;
        }
        fs::write(sub.join(format!("f{number}.txt")), &source[cut..end]).unwrap();
        files += 1;
    }
    fs::write(dir.join("empty.txt"), "").unwrap();
    fs::write(dir.join("not-utf8.bin"), b"words before \xff\xfe and after").unwrap();
    let locked = dir.join(LOCKED);
    fs::write(&locked, "words that nobody may read").unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("dangling")).unwrap();
    files + 1
}

/// What the example should find, by other means: character by character, in this process.
fn expected(dir: &Path, words: &mut HashMap<String, u64>) {
    for entry in fs::read_dir(dir).unwrap() {
        let (path, kind) = entry.map(|e| (e.path(), e.file_type().unwrap())).unwrap();
        if kind.is_dir() {
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
fn top_ten(words: &HashMap<String, u64>) -> Vec<String> {
    let mut words: Vec<_> = words.iter().collect();
    words.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    words.iter().take(10).map(|(word, count)| format!("{count:>12}  {word}")).collect()
}

fn wordcount(arguments: &[&str]) -> Output {
    // Root may read every file: the program that is started from this thread may not.
    for capability in [CapabilitySet::DAC_OVERRIDE, CapabilitySet::DAC_READ_SEARCH] {
        // Whoever is not root need not give it up.
        let _ = remove_capability_from_bounding_set(capability);
    }
    // Beside the folder that this test program lies in.
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().parent().unwrap().join("examples/wordcount");
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example, which cargo builds with the tests");
    let pid = child.id();
    let began = Instant::now();
    let (done, over) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if over.recv_timeout(Duration::from_secs(100))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            eprintln!("wordcount (process {pid}) hung for {:?}", began.elapsed());
            std::process::exit(99);
        }
    });
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    drop(done);
    watchdog.join().unwrap();
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn equals_code_without_a_pool() {
    let dir = Dir::new("calm");
    let files = tree(&dir.0, 8);
    let mut words = HashMap::new();
    expected(&dir.0, &mut words);
    let path = dir.0.to_str().unwrap();
    for workers in ["1", "3"] {
        let output = wordcount(&[path, "--workers", workers]);
        let said = stdout(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.lines().take(10).collect::<Vec<_>>(), top_ten(&words), "{said}");
        let total: u64 = words.values().sum();
        let summary =
            format!("{files} files, {total} words ({} different), 2 not counted", words.len());
        assert!(said.contains(&summary), "{summary}\n{said}");
        assert!(said.contains("not-utf8.bin: not UTF-8"), "{said}");
        assert!(said.contains("locked.txt: Permission denied"), "{said}");
        assert_eq!(
            said.lines().filter(|l| l.starts_with("worker ")).count(),
            workers.parse().unwrap()
        );
    }
}

#[test]
fn chaos_changes_nothing() {
    let dir = Dir::new("chaos");
    tree(&dir.0, 100);
    let output = wordcount(&[dir.0.to_str().unwrap(), "--workers", "2", "--chaos"]);
    let said = stdout(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the result is identical"), "{said}");
    let line = said.lines().find(|line| line.starts_with("chaos: ")).expect("the line about kills");
    let hits: u64 = line.split(", ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    println!("{line}");
    assert!(hits >= 20, "{line}");
}

#[test]
fn no_directory_is_one_line_and_code_2() {
    for bad in ["/nonexistent/dir", "/dev/null"] {
        let output = wordcount(&[bad]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("wordcount: {bad}: ")), "{said}");
        assert_eq!((said.lines().count(), output.stdout.len()), (1, 0), "{said}");
    }
}
