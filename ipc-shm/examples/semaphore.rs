//! Two places for six guests: `cargo run --example semaphore [fork|spawn|forkserver|auto]`

use core::error::Error;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};

use ipc_core::process::{Context, Process};
use ipc_shm::{Atomic, Shared, ipc_sync::Semaphore};

const PLACES: u32 = 2;

type Table = (Shared<Semaphore>, Shared<Atomic<AtomicU32>>, Shared<Atomic<AtomicU32>>);

fn dine((places, seated, most): Table) {
    for _ in 0..1000 {
        places.acquire().expect("nobody ends the wait");
        most.fetch_max(seated.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::yield_now(); // Let others try.
        seated.fetch_sub(1, SeqCst);
        places.release().expect("no more than were taken");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let context = Context::new(std::env::args().nth(1).unwrap_or("auto".into()).parse()?);
    let places = Shared::new(Semaphore::new(PLACES))?;
    let zero = || Shared::new(Atomic::new(AtomicU32::new(0)));
    let (seated, most) = (zero()?, zero()?);
    let mut guests = Vec::new();
    for _ in 0..6 {
        let table = (places.try_clone()?, seated.try_clone()?, most.try_clone()?);
        guests.push(Process::new(dine, table).start_in(&context)?);
    }
    for mut guest in guests {
        assert!(guest.wait()?.success());
    }
    let most = most.load(SeqCst);
    println!("more than {PLACES} at a time: {}, free now: {}", most > PLACES, places.available());
    Ok(())
}
