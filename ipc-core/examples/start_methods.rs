//! The program's own start method: `cargo run --example start_methods [fork|spawn|forkserver|auto]`

use core::error::Error;

use ipc_core::connection::{self, Sender};
use ipc_core::process::{Context, Process};

fn foo(mut q: Sender) {
    q.send_value("hello").expect("the receiver waits");
}

fn main() -> Result<(), Box<dyn Error>> {
    let method = std::env::args().nth(1).unwrap_or("spawn".into()).parse()?;
    Context::set_global(Context::new(method)).expect("it is chosen once");
    let (mut receiver, q) = connection::simplex()?;
    let mut p = Process::new(foo, q).start()?;
    println!("{}", receiver.recv_value::<String>()?);
    p.wait()?;
    Ok(())
}
