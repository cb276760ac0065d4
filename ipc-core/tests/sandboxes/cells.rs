//! One process for each missing thing and each capability.

use core::time::Duration;
use std::os::fd::OwnedFd;

use ipc_testkit::cases::{doing, no_children, skip};
use rustix::process::{Pid, Signal, kill_process_group, set_child_subreaper, setpgid};

use crate::capabilities::ALL as CAPABILITIES;
use crate::expected;
use crate::missing::{ALL as MISSING, Missing};
use crate::tools::{
    LONG, Outcome, all_gone_within, open_fds, pause_for_ever, raw_fork, raw_wait, readable,
};

/// What is said where a namespace cannot be had.
const NOT_HERE: &str = "not here: ";

/// All the cells of one missing thing.
pub(crate) fn row<const PLACE: usize>() {
    let missing = &MISSING[PLACE];
    let (mut right, mut wrong) = (0, Vec::new());
    for capability in &CAPABILITIES {
        doing(&format!("{} {}", capability.name, missing.name));
        let found = run(missing, capability.run);
        let expected = expected::of(missing, capability);
        println!("{:<36} {:<36} {found}", missing.name, capability.name);
        if let Some(why) = found.strip_prefix(NOT_HERE) {
            skip(why);
        }
        if found == expected {
            right += 1;
        } else {
            wrong.push(format!("{}: {found:?}, expected {expected:?}", capability.name));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", missing.name, wrong.join("\n"));
    assert_eq!(right, CAPABILITIES.len(), "a cell did not run");
}

/// What comes of it: `works`, what was said instead, or what is wrong in a process that may do anything.
fn run(missing: &Missing, capability: fn() -> Outcome) -> String {
    run_within(2 * LONG, missing, capability)
}

fn run_within(limit: Duration, missing: &Missing, capability: fn() -> Outcome) -> String {
    let (said, saying) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
    let mut saying = Some(saying);
    let cell = raw_fork(|| {
        let saying = saying.take().expect("once");
        setpgid(None, None).expect("setpgid");
        set_child_subreaper(Some(Pid::INIT)).expect("prctl");
        let say = |what: &str| {
            rustix::io::write(&saying, what.as_bytes()).expect("write");
        };
        if let Err(error) = (missing.take_away)(missing.errno) {
            say(&format!("{NOT_HERE}{error}"));
            return 0;
        }
        let before = open_fds();
        match capability() {
            Ok(()) => say("works"),
            Err(what) => say(&what),
        }
        if !no_children() && !all_gone_within(Duration::ZERO) {
            say(", and leaves a process");
        }
        if open_fds() != before {
            say(", and leaves descriptors");
        }
        0
    });
    drop(saying);
    let (text, in_time) = outcome(&said, limit);
    if !in_time {
        // With all that it has started.
        let _ = kill_process_group(Pid::from_raw(cell).expect("a process"), Signal::KILL);
    }
    let status = raw_wait(cell);
    // What was killed with it is this process's now.
    assert!(in_time || all_gone_within(LONG), "somebody has left the group");
    match status {
        _ if !in_time => format!("{text}, and hangs"),
        Some(0) => text,
        status => format!("{text}, and ends with {status:?}"),
    }
}

/// What is said until the cell and all that it started have ended, and whether they have in time.
fn outcome(said: &OwnedFd, limit: Duration) -> (String, bool) {
    let began = std::time::Instant::now();
    let mut text = String::new();
    while let Some(rest) = limit.checked_sub(began.elapsed()) {
        if !readable(said, rest) {
            break;
        }
        let mut buffer = [0; 500];
        match rustix::io::read(said, &mut buffer).expect("read") {
            0 => return (text, true),
            len => text.push_str(&String::from_utf8_lossy(&buffer[..len])),
        }
    }
    (text, false)
}
/// What the runner must see: a process that does not end, and what is left behind.
pub(crate) fn faults_are_found() {
    let nothing = &MISSING[0];
    doing("a cell that hangs");
    let limit = Duration::from_millis(300);
    assert_eq!(run_within(limit, nothing, || pause_for_ever()), ", and hangs");
    let leaves_a_process = || {
        raw_fork(|| pause_for_ever());
        Ok(())
    };
    let found = run_within(limit, nothing, leaves_a_process);
    assert_eq!(found, "works, and leaves a process, and hangs");
    let leaves_a_file = || {
        core::mem::forget(std::fs::File::open("/dev/null"));
        Err("said".into())
    };
    assert_eq!(run(nothing, leaves_a_file), "said, and leaves descriptors");
    let panics = || {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("as it must")
    };
    assert_eq!(run(nothing, panics), ", and ends with Some(25856)");
}
