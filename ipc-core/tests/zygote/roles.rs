//! This program in other roles: a case executes it with `--as ROLE`.

use std::io::Write;
use std::process::{Command, ExitCode};

use ipc_core::process::{Start, Zygote, ZygoteError};
use ipc_testkit::cases::library;

use crate::tools::{code_of, files_of_frames, sleeping_thread};

/// A command that runs this program in a role.
pub(crate) fn command(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--as", role]);
    command
}

/// Where the roles `counted` and `loaded` leave their marks.
pub(crate) const MARKS: &str = "ZYGOTE_TEST_MARKS";

pub(crate) fn play() -> Option<ExitCode> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == "--as")?;
    match arguments.next()?.as_str() {
        "plain" => {
            println!("main ran");
            Some(ExitCode::SUCCESS)
        }
        "loaded" => {
            mark();
            sleeping_thread();
            let refused = Zygote::start().map(drop);
            assert_eq!(refused, Err(ZygoteError::NoDiversion));
            Some(ExitCode::SUCCESS)
        }
        "preloaded" => {
            let zygote = Zygote::start_by_exec().expect("by exec");
            assert_eq!(code_of(&zygote, frames_of_plug, &[]), 0, "frames of the library");
            Some(ExitCode::SUCCESS)
        }
        "counted" => {
            mark();
            sleeping_thread();
            let zygote = Zygote::start().expect("by exec");
            for round in 0..3 {
                assert_eq!(code_of(&zygote, first_byte, &[round]), round.into());
            }
            zygote.restart().expect("again");
            assert_eq!(code_of(&zygote, first_byte, &[9]), 9);
            Some(ExitCode::SUCCESS)
        }
        other => panic!("no role {other}"),
    }
}

/// How many frames below this entry are a library's that was preloaded.
fn frames_of_plug(_: Start) -> i32 {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    if !maps.contains(library::NAME) {
        return 100;
    }
    let is_plug = |file: &String| file.contains(library::NAME);
    files_of_frames().iter().filter(|file| is_plug(file)).count().try_into().expect("few")
}

fn mark() {
    let marks = std::env::var_os(MARKS).expect("where to");
    let mut marks = std::fs::File::options().append(true).open(marks).expect("the file");
    marks.write_all(b"m").expect("write");
}

pub(crate) fn first_byte(start: Start) -> i32 {
    start.bytes.first().copied().unwrap_or(255).into()
}
