//! The diversion by `process::init` in `main`, as without the feature `pre-main`:
//! `cargo test -p ipc-core --no-default-features --features std --test zygote_init`.

use core::time::Duration;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use ipc_core::process::{ExitStatus, Start, Zygote, ZygoteError, init};
use ipc_testkit::cases;

/// The role in which this program was executed by a case.
const ROLE: &str = "ZYGOTE_INIT_ROLE";

/// The file in which each `main` leaves a byte.
const MARKS: &str = "ZYGOTE_INIT_MARKS";

fn main() -> ExitCode {
    let Some(role) = std::env::var_os(ROLE) else {
        return cases::run(&[
            ("init_diverts", init_diverts),
            ("without_a_diversion_nothing_is_executed", without),
            ("a_main_that_does_not_divert_is_killed", undiverted),
        ]);
    };
    let marks = PathBuf::from(std::env::var_os(MARKS).expect("where to"));
    let mut mains = std::fs::read(&marks).expect("marks");
    mains.push(b'm');
    std::fs::write(&marks, &mains).expect("marks");
    // `liar` calls it in the application and not in what is executed.
    if role == "honest" || (role == "liar" && mains.len() == 1) {
        init();
    }
    if mains.len() > 1 {
        // A `main` that goes on where it must not.
        std::thread::sleep(Duration::from_secs(100));
    }
    let began = Instant::now();
    let code = match Zygote::start_by_exec() {
        Ok(zygote) => {
            let mut child = zygote.spawn(|_: Start| 6, &[], &[]).expect("spawn");
            match child.wait().expect("wait") {
                ExitStatus::Exited(6) => 0,
                _ => 1,
            }
        }
        Err(ZygoteError::NoDiversion) => of_functions().unwrap_or(2),
        Err(ZygoteError::Unresponsive) if began.elapsed() < Duration::from_secs(9) => 3,
        Err(_) => 4,
    };
    ExitCode::from(code)
}

/// The same for functions: what would execute the program says why it does not, and what forks works.
/// A number says what is not so.
#[cfg(feature = "serde")]
fn of_functions() -> Option<u8> {
    use ipc_core::process::{Context, Process, StartError, StartMethod};

    let start = |context: &Context| Process::new(|n: i32| n + 1, 5).start_in(context);
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let refused = start(&Context::new(method)).map(drop);
        if refused != Err(StartError::Zygote(ZygoteError::NoDiversion)) {
            return Some(5);
        }
    }
    let forked = start(&Context::new(StartMethod::Fork)).ok().map(|mut child| child.wait());
    if forked != Some(Ok(ExitStatus::Exited(6))) {
        return Some(6);
    }
    // The helper is a fork as long as there is one thread, and would be executed else.
    let context = Context::new(StartMethod::Auto);
    // The helper lives until its child has ended: else that would be left to whoever adopts it.
    let by_helper = start(&context).ok().map(|mut child| child.wait());
    if !matches!(by_helper, Some(Ok(ExitStatus::Exited(6) | ExitStatus::Unknown))) {
        return Some(7);
    }
    let (_stop, stopped) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || stopped.recv());
    let refused = start(&Context::new(StartMethod::Auto)).map(drop);
    let is_named = refused == Err(StartError::Zygote(ZygoteError::NoDiversion));
    if is_named { None } else { Some(8) }
}

#[cfg(not(feature = "serde"))]
fn of_functions() -> Option<u8> {
    None
}

/// The exit code of the role, and how many times its `main` began.
fn play(role: &str) -> (Option<i32>, usize) {
    let marks = std::env::temp_dir().join(format!("zygote-init-{}", std::process::id()));
    std::fs::write(&marks, b"").expect("marks");
    let ended = Command::new("/proc/self/exe").env(ROLE, role).env(MARKS, &marks).status();
    let mains = std::fs::read(&marks).expect("marks").len();
    std::fs::remove_file(&marks).expect("marks");
    (ended.expect("run").code(), mains)
}

const BEFORE_MAIN: bool = cfg!(feature = "pre-main");

fn init_diverts() {
    assert_eq!(play("honest"), (Some(0), if BEFORE_MAIN { 1 } else { 2 }));
}

fn without() {
    assert_eq!(play("neither"), (Some(if BEFORE_MAIN { 0 } else { 2 }), 1));
}

fn undiverted() {
    let expected = if BEFORE_MAIN { (Some(0), 1) } else { (Some(3), 2) };
    assert_eq!(play("liar"), expected);
}
