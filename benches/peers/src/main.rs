//! `compare` with the peers that take long to compile; see `benches/README.md`.

use std::process::ExitCode;

use ipc_benches::cli::Program;

fn main() -> ExitCode {
    let program = Program { families: ipc_benches_peers::families(), ..Program::new() };
    program.run(std::env::args().skip(1))
}
