//! X00: every system call of every public operation fails, once and for good, in each plausible way.
//!
//! See `ipc_testkit::faults` for what is checked after each fault: the operation succeeds by another way or
//! reports an error, leaves nothing behind, and works without the fault. The first cases are wrong on purpose and must
//! be found so.

mod controls;
mod messages;
mod processes;
mod programs;
mod zygotes;

use std::process::ExitCode;

use ipc_testkit::faults;

fn main() -> ExitCode {
    if std::env::var_os("IPC_ZYGOTE").is_some() {
        // Executed to be a zygote, and a fault kept it from seeing that.
        eprintln!("the program has come to its main");
        return ExitCode::FAILURE;
    }
    faults::main(2000, |suite| {
        controls::all(suite);
        processes::all(suite);
        messages::all(suite);
        programs::all(suite);
        zygotes::all(suite);
    })
}
