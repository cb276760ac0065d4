//! Numbers go to another process and come back squared, through rings in two event loops of tokio's:
//! `cargo run --example event_loop [fork|spawn|forkserver|auto]`
//!
//! # Safety
//!
//! A descriptor that is registered stays open as long as it is: a [`Pollable`] keeps its own until it is dropped.
#![expect(unsafe_code, reason = "tokio wants a promise of whoever registers a descriptor")]

use core::error::Error;

use ipc_core::process::{Context, Process};
use ipc_shm::ring::pollable::{End, Pollable, Sockets};
use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
use ipc_shm::ring::{PopError, PushError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime;
use tokio::time::timeout;

const NUMBERS: u64 = 3000;

/// Any end of any ring, registered with tokio's reactor.
type Registered<E> = AsyncFd<Pollable<E>>;

fn register<E: End + 'static>(end: E) -> Result<Registered<E>, Box<dyn Error>> {
    let end = Pollable::new(end)?;
    // SAFETY: the descriptor is the end's, which is dropped after it was deregistered.
    Ok(unsafe { AsyncFd::register_with_interest(end, Interest::READABLE) }?)
}

/// Sleeps until it is worth trying again, while the loop does what else there is to do.
async fn sleep<E: End>(end: &mut Registered<E>) -> Result<(), Box<dyn Error>> {
    let armed = end.get_mut().arm()?;
    let readable = async { end.readable_mut().await.map(|mut guard| guard.clear_ready()) };
    match armed.timeout() {
        None => readable.await?,
        // There is something by now; or not everything can be told.
        Some(limit) => timeout(limit, readable).await.unwrap_or(Ok(()))?,
    }
    Ok(())
}

/// `None` once the producer is gone and the ring is empty.
async fn pop(end: &mut Registered<Consumer<'_, u64>>) -> Result<Option<u64>, Box<dyn Error>> {
    loop {
        match end.get_mut().pop() {
            Ok(number) => return Ok(Some(number)),
            Err(PopError::Empty) => sleep(end).await?,
            Err(PopError::Disconnected) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn push(end: &mut Registered<Producer<'_, u64>>, number: u64) -> Result<(), Box<dyn Error>> {
    loop {
        match end.get_mut().push(number) {
            Err(PushError::Full(_)) => sleep(end).await?,
            pushed => return Ok(pushed?),
        }
    }
}

type Rings = (Ring<'static, u64>, Ring<'static, u64>);

/// The other process.
fn square((there, back): Rings) {
    let squares = async {
        let (mut there, mut back) = (register(there.consumer()?)?, register(back.producer()?)?);
        while let Some(number) = pop(&mut there).await? {
            push(&mut back, number * number).await?;
        }
        Ok::<_, Box<dyn Error>>(())
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(squares).expect("the parent lives");
}

async fn there_and_back((there, back): &Rings) -> Result<u64, Box<dyn Error>> {
    let (mut producer, mut consumer) = (register(there.producer()?)?, register(back.consumer()?)?);
    let send = async move {
        for number in 0..NUMBERS {
            push(&mut producer, number).await?;
        }
        Ok::<_, Box<dyn Error>>(()) // The end is closed here, and the other process told.
    };
    let receive = async {
        for number in 0..NUMBERS {
            let square = pop(&mut consumer).await?;
            if square != Some(number * number) {
                return Err(format!("{square:?} came back for {number}").into());
            }
        }
        // It closes its end in turn.
        match pop(&mut consumer).await? {
            None => Ok(NUMBERS),
            Some(_) => Err("more came back than was sent".into()),
        }
    };
    let (sent, received) = tokio::join!(send, receive);
    sent.and(received)
}

fn main() -> Result<(), Box<dyn Error>> {
    let context = Context::new(std::env::args().nth(1).unwrap_or("auto".into()).parse()?);
    let ring = || -> Result<Ring<'static, u64>, Box<dyn Error>> {
        Ok(Ring::create(16)?.with_sockets(Sockets::pair()?))
    };
    let rings = (ring()?, ring()?);
    // The rings are sent with their sockets; this process keeps its own.
    let theirs = (copy(&rings.0)?, copy(&rings.1)?);
    let mut process = Process::new(square, theirs).start_in(&context)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let squares = runtime.block_on(there_and_back(&rings))?;
    assert!(process.wait()?.success());
    println!("{squares} numbers went there and came back");
    Ok(())
}

/// The same ring once more.
fn copy(ring: &Ring<'static, u64>) -> Result<Ring<'static, u64>, Box<dyn Error>> {
    let memory = ring.as_fd().ok_or("it has a region of its own")?.try_clone_to_owned()?;
    Ok(Ring::from_fd(memory)?.with_sockets(ring.sockets().try_clone()?))
}
