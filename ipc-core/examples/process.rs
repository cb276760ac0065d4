//! A function in a process of its own: `cargo run --example process [fork|spawn|forkserver|auto]`

use core::error::Error;
use std::os::unix::process::parent_id;

use ipc_core::process::{Context, Process};

fn info(title: &str) {
    println!("{title}");
    println!("module name: {}", module_path!());
    println!("parent process: {}", parent_id());
    println!("process id: {}", std::process::id());
}

fn f(name: String) {
    info("function f");
    println!("hello {name}");
}

fn main() -> Result<(), Box<dyn Error>> {
    let method = std::env::args().nth(1).unwrap_or("auto".into()).parse()?;
    info("main line");
    let mut p = Process::new(f, "bob".into()).start_in(&Context::new(method))?;
    p.wait()?;
    Ok(())
}
