//! One process prints at a time: `cargo run --example lock [fork|spawn|forkserver|auto]`

use core::error::Error;
use std::io::{Write, stdout};

use ipc_core::process::{Context, Process};
use ipc_shm::{Shared, ipc_sync::Mutex};

fn f((lock, number): (Shared<Mutex<()>>, i32)) {
    let _held = lock.lock().expect("nobody dies with it");
    // In pieces, between which another process would print if it could.
    for piece in ["hello", " ", "world", " ", &number.to_string(), "\n"] {
        print!("{piece}");
        stdout().flush().expect("somebody reads");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let context = Context::new(std::env::args().nth(1).unwrap_or("auto".into()).parse()?);
    let lock = Shared::<Mutex<()>>::in_region(())?;
    let mut children = Vec::new();
    for number in 0..10 {
        children.push(Process::new(f, (lock.try_clone()?, number)).start_in(&context)?);
    }
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}
