//! A cook, two waiters, and a table for three dishes: `cargo run --example condvar [fork|spawn|forkserver|auto]`

use core::error::Error;

use bytemuck::{Pod, Zeroable};
use ipc_core::process::{Context, Process};
use ipc_shm::Shared;
use ipc_shm::ipc_sync::{Condvar, Mutex};

const DISHES: u32 = 1000;
const PLACES: u32 = 3;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Table {
    dishes: u32,
    /// The most that ever stood there.
    most: u32,
    cooked: u32,
    carried: u32,
}

type Kitchen = (Shared<Mutex<Table>>, Shared<Condvar>);

fn cook((table, changed): Kitchen) {
    for _ in 0..DISHES {
        let table = table.lock().expect("nobody dies here");
        let mut table =
            changed.wait_while(table, |table| table.dishes == PLACES).expect("as before");
        table.dishes += 1;
        table.cooked += 1;
        table.most = table.most.max(table.dishes);
        changed.notify_all();
    }
}

fn carry((table, changed): Kitchen) {
    loop {
        let table = table.lock().expect("nobody dies here");
        let idle = |table: &mut Table| table.dishes == 0 && table.cooked < DISHES;
        let mut table = changed.wait_while(table, idle).expect("as before");
        if table.dishes == 0 {
            return; // The cook has gone home.
        }
        table.dishes -= 1;
        table.carried += 1;
        changed.notify_all();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let context = Context::new(std::env::args().nth(1).unwrap_or("auto".into()).parse()?);
    let table = Shared::<Mutex<Table>>::in_region(Table::zeroed())?;
    let changed = Shared::new(Condvar::new())?;
    let mut people = Vec::new();
    for work in [cook, carry, carry] {
        let kitchen = (table.try_clone()?, changed.try_clone()?);
        people.push(Process::new(work, kitchen).start_in(&context)?);
    }
    for mut person in people {
        assert!(person.wait()?.success());
    }
    let table = table.lock().map_err(|error| error.to_string())?;
    let within = table.most <= PLACES;
    println!(
        "{} cooked, {} carried, never more than {PLACES}: {within}",
        table.cooked, table.carried
    );
    Ok(())
}
