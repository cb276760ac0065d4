//! The wordcount example against code that knows no pool.

// What a worker does, for the file that has grown since it was listed.
#[path = "../../examples/wordcount/text.rs"]
mod text;
#[path = "../../examples/wordcount/words.rs"]
mod words;

mod tree;

use core::time::Duration;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Instant;

use ipc_testkit::example::Example;
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use tree::Dir;

/// What no run takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(100);

static PROGRAM: LazyLock<Example> =
    LazyLock::new(|| Example::build(env!("CARGO_MANIFEST_DIR"), "wordcount"));

/// The example with `arguments`.
fn wordcount(arguments: &[&str]) -> Command {
    // Root may read every file: the program that is started from this thread may not.
    for capability in [CapabilitySet::DAC_OVERRIDE, CapabilitySet::DAC_READ_SEARCH] {
        // Whoever is not root need not give it up.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let mut command = Command::new(&PROGRAM.path);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `command`, and ends it when it hangs.
fn run(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    // What would otherwise keep the ends of pipes and terminals open.
    drop(command);
    let pid = Pid::from_child(&child);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    end.recv_timeout(PATIENCE).map(Result::unwrap).unwrap_or_else(|_| {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("wordcount hung for {PATIENCE:?}");
    })
}

fn stdout(output: &Output) -> String {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Everything that the example says of `dir` is what it should be.
fn assert_equal(dir: &Dir, files: u64, refused: usize, arguments: &[&str]) -> String {
    let mut words = HashMap::new();
    tree::expected(&dir.0, &mut words);
    let said = stdout(&run(wordcount(&[&[dir.path()], arguments].concat())));
    let found: Vec<_> = said.lines().filter(|line| line.starts_with(' ')).collect();
    // The output names words of megabytes, too.
    assert!(found == tree::top_ten(&words), "{found:.200?}");
    let total: u64 = words.values().sum();
    let summary =
        format!("{files} files, {total} words ({} different), {refused} not counted", words.len());
    assert!(said.contains(&summary), "{summary}\n{said:.9999}");
    said
}

#[test]
fn equals_code_without_a_pool() {
    let dir = Dir::new("calm");
    let files = tree::plain(&dir, 8) + tree::odd(&dir);
    let refused = tree::hostile(&dir);
    for workers in ["1", "3"] {
        let said = assert_equal(&dir, files, refused.len(), &["--workers", workers]);
        for refused in &refused {
            assert!(said.contains(&format!("not counted: {refused}")), "{said}");
        }
        let lines = said.lines().filter(|line| line.starts_with("worker "));
        assert_eq!(lines.count(), workers.parse().unwrap(), "{said}");
    }
}

#[test]
fn leaves_out_hidden_directories_below_the_one_that_is_named() {
    let dir = Dir::new("hidden");
    dir.write("seen.txt", "seen");
    dir.write(".seen.txt", "a hidden file is a file");
    tree::hidden(&dir);
    assert_equal(&dir, 2, 0, &["--workers", "1"]);
    // Who names it wants it.
    let said = stdout(&run(wordcount(&[dir.0.join(".git").to_str().unwrap()])));
    assert!(said.contains("1 files, 5 words"), "{said}");
}

#[test]
fn many_workers_are_told_in_one_line() {
    let dir = Dir::new("many");
    let files = tree::plain(&dir, 1);
    let said = assert_equal(&dir, files, 0, &["--workers", "9"]);
    let of_workers: Vec<_> = said.lines().filter(|line| line.contains("worker")).collect();
    assert_eq!(of_workers.len(), 1, "{said}");
    assert!(of_workers[0].starts_with("9 workers: ") && of_workers[0].ends_with(" 0 restarts"));
}

#[test]
fn help_is_no_failure() {
    for flag in ["--help", "-h"] {
        let said = stdout(&run(wordcount(&[flag])));
        assert!(said.starts_with("usage: wordcount [DIR]"), "{said}");
        for word in ["--workers N", "--chaos", "begin with a dot"] {
            assert!(said.contains(word), "{said}");
        }
    }
}

#[test]
fn cuts_no_word_of_a_large_file() {
    let dir = Dir::new("large");
    let files = tree::large(&dir);
    assert_equal(&dir, files, 0, &["--workers", "2"]);
}

#[test]
fn refuses_all_of_what_is_not_utf8_and_names_ten() {
    let dir = Dir::new("bytes");
    dir.write("good", "the only words");
    let refused = tree::not_utf8(&dir);
    let said = assert_equal(&dir, 1, refused, &["--workers", "2"]);
    let named = said.lines().filter(|l| l.contains("/not-utf8-") && l.ends_with(": not UTF-8"));
    assert_eq!(named.count(), 10, "{said}");
    assert!(said.contains(&format!("... and {} more: not UTF-8\n", refused - 10)), "{said}");
}

#[test]
fn reads_no_more_of_a_file_than_shows_that_it_is_not_utf8() {
    let dir = Dir::new("sparse");
    dir.write("huge", b"\xff");
    // All of it would take minutes.
    let huge = OpenOptions::new().write(true).open(dir.0.join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let began = Instant::now();
    let said = stdout(&run(wordcount(&[dir.path(), "--workers", "2"])));
    assert!(said.contains("0 files, 0 words (0 different), 1 not counted"), "{said}");
    println!("refused a file of a TiB in {:?}", began.elapsed());
}

#[test]
fn reads_files_that_say_they_are_empty() {
    // Of the kernel: each has a number in it, and the size 0.
    let dir = Path::new("/proc/sys/fs/inotify");
    let (files, mut words) = (fs::read_dir(dir).unwrap().count(), HashMap::new());
    tree::expected(dir, &mut words);
    assert!(!words.is_empty());
    let said = stdout(&run(wordcount(&[dir.to_str().unwrap()])));
    assert!(said.contains(&format!("{files} files, {files} words ({} ", words.len())), "{said}");
}

#[test]
fn counts_all_or_nothing_of_a_file_that_has_grown() {
    let dir = Dir::new("grown");
    let mut expected = HashMap::new();
    let good = tree::text(7, 5 << 20);
    dir.write("good", &good);
    tree::expected(&dir.0, &mut expected);
    dir.write("bad", [good.as_bytes(), b"\xff"].concat());
    // As if both had been small.
    let part = |name| text::Part { path: dir.0.join(name).into(), start: 0, end: None };
    let mut count = words::Count::default();
    count.add(&words::Count::of(vec![part("bad"), part("good"), part("gone")]));
    assert!(count.words.into_iter().collect::<HashMap<_, _>>() == expected);
    assert_eq!((count.files, count.bytes), (1, good.len() as u64));
    let why: Vec<&str> = count.refused.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(why, ["not UTF-8", "No such file or directory (os error 2)"]);
}

#[test]
fn refuses_what_became_a_pipe_without_waiting() {
    let dir = Dir::new("pipe");
    tree::hostile(&dir);
    let part = text::Part { path: dir.0.join("pipe").into(), start: 0, end: None };
    let (done, end) = mpsc::channel();
    std::thread::spawn(move || done.send(words::Count::of(vec![part])));
    let count = end.recv_timeout(PATIENCE).expect("nobody writes into the pipe");
    assert_eq!(count.refused[0].1, "no longer a regular file");
}

#[test]
fn chaos_changes_nothing() {
    const ENOUGH: u64 = 20;
    let began = Instant::now();
    let (original, dir) = (Dir::new("original"), Dir::new("chaos"));
    tree::plain(&original, 16);
    let (mut copies, mut wanted) = (0, 4);
    loop {
        while copies < wanted {
            copies += 1;
            link_all(&original.0, &dir.0.join(format!("copy-{copies}")));
        }
        let said = stdout(&run(wordcount(&[dir.path(), "--workers", "2", "--chaos"])));
        assert!(said.contains("the result is identical"), "{said}");
        let line = said.lines().find(|line| line.starts_with("chaos: ")).unwrap();
        let hits = line.split(", ").nth(1).unwrap().split(' ').next().unwrap();
        println!("{line}, in {} MB", 16 * copies);
        if hits.parse::<u64>().unwrap() >= ENOUGH {
            break;
        }
        // A fast machine needs more to do.
        wanted *= 2;
        assert!(began.elapsed() < 3 * PATIENCE, "fewer than {ENOUGH} hits: {line}");
    }
}

/// Links every file below `from` to the same place below `to`, which costs no room.
fn link_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_all(&entry.path(), &to);
        } else {
            fs::hard_link(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn bar_is_drawn_on_a_terminal_only_and_cleared() {
    let dir = Dir::new("bar");
    tree::plain(&dir, 16);
    let mut command = wordcount(&[dir.path(), "--workers", "2"]);
    let piped = run(wordcount(&[dir.path(), "--workers", "2"]));
    assert!(piped.status.success() && piped.stderr.is_empty(), "{piped:?}");

    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = ptsname(&ours, Vec::new()).unwrap();
    let theirs = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits() as i32)
        .open(std::ffi::OsStr::from_bytes(theirs.to_bytes()))
        .unwrap();
    command.env("TERM", "xterm").stderr(theirs);
    let reader = std::thread::spawn(move || {
        let (mut ours, mut drawn) = (File::from(ours), Vec::new());
        // It ends with an error, because the other side is gone.
        let _ = ours.read_to_end(&mut drawn);
        String::from_utf8(drawn).unwrap()
    });
    assert!(run(command).status.success());
    let drawn = reader.join().unwrap();

    // Each drawing begins at the start of the line, and has `done/all` bytes in it.
    let frames: Vec<&str> = drawn.split('\r').collect();
    let mut done: Vec<&str> =
        frames.iter().filter_map(|f| f.split_once('/')).map(|f| f.0).collect();
    done.dedup();
    assert!(done.len() > 2 && done[0].ends_with("0 B"), "{drawn:?}");
    assert!(frames.last().unwrap().ends_with("\u{1b}[2K"), "{drawn:?}");
}

#[test]
fn reader_that_has_enough_ends_it_quietly() {
    let dir = Dir::new("head");
    dir.write("words", "some words");
    for chaos in [&[][..], &["--chaos"]] {
        let (writer, reader) = UnixStream::pair().unwrap();
        drop(reader);
        let mut command = wordcount(&[&[dir.path()], chaos].concat());
        command.stdout(OwnedFd::from(writer));
        let output = run(command);
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    }
}

#[test]
fn failure_is_one_line_and_code_2() {
    let dir = Dir::new("failure");
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let cases: [(&[&str], Stdio, &str); 8] = [
        (&["/nonexistent/dir"], Stdio::piped(), "/nonexistent/dir: No such file or directory"),
        (&["/dev/null"], Stdio::piped(), "/dev/null: Not a directory"),
        (&["--frobnicate"], Stdio::piped(), "unknown option --frobnicate"),
        (&["--workers", "many"], Stdio::piped(), "--workers needs a number"),
        (&["--workers", "0"], Stdio::piped(), "a pool needs"),
        (&["--workers", "100000"], Stdio::piped(), "100000 workers asked for"),
        (&["one", "two"], Stdio::piped(), "more than one directory"),
        (&[dir.path()], full(), "No space left on device"),
    ];
    for (arguments, stdout, why) in cases {
        let mut command = wordcount(arguments);
        command.stdout(stdout);
        let output = run(command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("wordcount: {why}")), "{said}");
        let (lines, code) = (said.lines().count(), output.status.code());
        assert_eq!((lines, output.stdout.len(), code), (1, 0, Some(2)), "{said}");
    }
}
