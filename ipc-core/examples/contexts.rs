//! Several start methods in one program: `cargo run --example contexts [fork|spawn|forkserver|auto]...`
//!
//! What was made in one context works in every other: here two processes, started in two ways, hold
//! the ends of one connection.

use core::error::Error;

use ipc_core::connection::{self, Receiver, Sender};
use ipc_core::process::{Context, Process, StartMethod};

fn foo(mut q: Sender) {
    q.send_value("hello").expect("the receiver waits");
}

fn bar(mut q: Receiver) {
    println!("{}", q.recv_value::<String>().expect("a message"));
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut methods = std::env::args().skip(1).map(|name| name.parse());
    let ctx = Context::new(methods.next().unwrap_or(Ok(StartMethod::Spawn))?);
    let other = Context::new(methods.next().unwrap_or(Ok(StartMethod::ForkServer))?);
    let (receiver, q) = connection::simplex()?;
    let mut p = Process::new(foo, q).start_in(&ctx)?;
    let mut r = Process::new(bar, receiver).start_in(&other)?;
    p.wait()?;
    r.wait()?;
    Ok(())
}
