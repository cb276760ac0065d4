//! A connection between two processes: `cargo run --example pipe [fork|spawn|forkserver|auto]`

use core::error::Error;

use ipc_core::connection::{self, Connection};
use ipc_core::process::{Context, Process};

fn f(mut conn: Connection) {
    conn.send_value(&(42, None::<u8>, "hello")).expect("the parent listens");
}

fn main() -> Result<(), Box<dyn Error>> {
    let method = std::env::args().nth(1).unwrap_or("auto".into()).parse()?;
    let (mut parent_conn, child_conn) = connection::pair()?;
    let mut p = Process::new(f, child_conn).start_in(&Context::new(method))?;
    // prints (42, None, "hello")
    println!("{:?}", parent_conn.recv_value::<(i32, Option<u8>, String)>()?);
    p.wait()?;
    Ok(())
}
