//! What works, and what is refused by which name, where the kernel or a sandbox lacks something.
//!
//! Each missing thing meets each capability in a process of its own. What comes of it is compared with
//! `expected`, where all works but for the lines of a table: whatever comes to work, or ceases to, must
//! be written there. Nothing hangs, and nothing is left behind.

mod capabilities;
mod cells;
mod expected;
mod missing;
mod tools;

use std::process::ExitCode;

use ipc_testkit::cases as runner;

/// One case for each missing thing, by its place.
macro_rules! cases {
    ($($place:literal)*) => {{
        const _: () = assert!([$($place),*].len() == missing::ALL.len(), "a row is missing");
        [
            ("the_table_names_what_there_is", expected::names_are_known as fn()),
            ("faults_of_a_cell_are_found", cells::faults_are_found),
            $((missing::ALL[$place].name, cells::row::<$place>),)*
        ]
    }};
}
fn main() -> ExitCode {
    if std::env::var_os("IPC_ZYGOTE").is_some() {
        eprintln!("a program that was meant as a zygote has come to its main");
        return ExitCode::FAILURE;
    }
    runner::run(&cases!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19))
}
