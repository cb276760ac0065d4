//! Sums of all that stands to the left, by a process for each place: `cargo run --example barrier`
//!
//! In each step everybody adds what stands so many places to the left: one, two, four. Nobody may write before all have
//! read, and nobody may read on before all have written: two turns of one barrier a step. The last to have written shows
//! the row while the others still wait.

use core::error::Error;

use ipc_core::process::fork_fn;
use ipc_shm::{Plan, Region};
use ipc_sync::{Barrier, Mutex};

const PLACES: usize = 8;

/// What the process at place `me` does.
fn work(me: usize, row: &Mutex<[u64; PLACES]>, step: &Barrier<PLACES>) -> Result<(), String> {
    let text = |error: &dyn Error| error.to_string();
    let mut member = step.join().map_err(|error| text(&error))?;
    for distance in [1, 2, 4] {
        let left = me
            .checked_sub(distance)
            .map_or(Ok(0), |left| row.lock().map(|row| row[left]).map_err(|error| text(&error)))?;
        member.wait().map_err(|error| text(&error))?;
        row.lock().map_err(|error| text(&error))?[me] += left;
        let show = || {
            if let Ok(row) = row.lock() {
                println!("{distance}: {:?}", *row);
            }
        };
        member.wait_with(show).map_err(|error| text(&error))?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut plan = Plan::new();
    let (row, step) = (plan.one::<Mutex<[u64; PLACES]>>()?, plan.one::<Barrier<PLACES>>()?);
    let region = Region::planned_with(&plan, |fill| fill.locks(row, |_| [1; PLACES]))?;
    let (row, step) = (region.get(row)?, region.get(step)?);

    let mut children = Vec::new();
    for me in 1..PLACES {
        let run = || match work(me, row, step) {
            Ok(()) => 0,
            Err(reason) => {
                eprintln!("process {me}: {reason}");
                1
            }
        };
        children.push(fork_fn(run)?);
    }
    work(0, row, step)?;
    for mut child in children {
        if !child.wait()?.success() {
            return Err("a process has failed".into());
        }
    }
    Ok(())
}
