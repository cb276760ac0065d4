//! Measures the ipc crates beside their peers; see `benches/README.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ipc_benches::cli::Program::new().run(std::env::args().skip(1))
}
