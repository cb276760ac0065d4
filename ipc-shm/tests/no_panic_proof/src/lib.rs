//! Operations of untrusting ends, as functions of a library. Built, and read as machine code, by `ipc-shm/tests/no_panic.rs`.
#![no_std]

use core::panic::PanicInfo;

use ipc_shm::ring::{PopError, PushError, Untrusted, bytes, indexed, mpmc, spsc};

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    loop {}
}

fn pushed<T>(result: Result<(), PushError<T>>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(PushError::Full(_)) => 1,
        Err(PushError::Disconnected(_)) => 2,
        Err(PushError::Corrupt(_)) => 3,
    }
}

fn failed(error: &PopError) -> i32 {
    match error {
        PopError::Empty => 1,
        PopError::Disconnected => 2,
        PopError::Corrupt => 3,
    }
}

macro_rules! slots {
    ($ring:ident, $message:ty, $push:ident, $pop:ident, $push_slice:ident, $pop_slice:ident) => {
        #[unsafe(no_mangle)]
        fn $push(
            producer: &mut $ring::Producer<'_, $message, Untrusted>,
            message: $message,
        ) -> i32 {
            pushed(producer.push(message))
        }

        #[unsafe(no_mangle)]
        fn $pop(
            consumer: &mut $ring::Consumer<'_, $message, Untrusted>,
            message: &mut $message,
        ) -> i32 {
            match consumer.pop() {
                Ok(popped) => {
                    *message = popped;
                    0
                }
                Err(error) => failed(&error),
            }
        }

        #[unsafe(no_mangle)]
        fn $push_slice(
            producer: &mut $ring::Producer<'_, $message, Untrusted>,
            messages: &[$message],
        ) -> usize {
            producer.push_slice(messages).unwrap_or(0)
        }

        #[unsafe(no_mangle)]
        fn $pop_slice(
            consumer: &mut $ring::Consumer<'_, $message, Untrusted>,
            messages: &mut [$message],
        ) -> usize {
            consumer.pop_slice(messages).unwrap_or(0)
        }
    };
}

slots!(spsc, u64, spsc_push, spsc_pop, spsc_push_slice, spsc_pop_slice);
slots!(spsc, [u8; 5], spsc_push_5, spsc_pop_5, spsc_push_slice_5, spsc_pop_slice_5);
slots!(spsc, [u64; 7], spsc_push_56, spsc_pop_56, spsc_push_slice_56, spsc_pop_slice_56);
slots!(indexed, u64, indexed_push, indexed_pop, indexed_push_slice, indexed_pop_slice);
slots!(indexed, [u8; 5], indexed_push_5, indexed_pop_5, indexed_push_slice_5, indexed_pop_slice_5);
slots!(
    indexed,
    [u64; 7],
    indexed_push_56,
    indexed_pop_56,
    indexed_push_slice_56,
    indexed_pop_slice_56
);
slots!(mpmc, u64, mpmc_push, mpmc_pop, mpmc_push_slice, mpmc_pop_slice);
slots!(mpmc, [u8; 5], mpmc_push_5, mpmc_pop_5, mpmc_push_slice_5, mpmc_pop_slice_5);
slots!(mpmc, [u64; 7], mpmc_push_56, mpmc_pop_56, mpmc_push_slice_56, mpmc_pop_slice_56);

#[unsafe(no_mangle)]
fn bytes_push(producer: &mut bytes::Producer<'_, Untrusted>, tag: u32, record: &[u8]) -> i32 {
    match producer.push(tag, record) {
        Ok(()) => 0,
        Err(bytes::PushError::Full) => 1,
        Err(bytes::PushError::Disconnected) => 2,
        Err(bytes::PushError::Corrupt) => 3,
        Err(_) => 4,
    }
}

#[unsafe(no_mangle)]
fn bytes_pop(consumer: &mut bytes::Consumer<'_, Untrusted>, buffer: &mut [u8]) -> isize {
    consumer.pop(buffer).map_or(-1, |(_, len)| len as isize)
}

#[unsafe(no_mangle)]
fn bytes_batch(consumer: &mut bytes::Consumer<'_, Untrusted>, buffer: &mut [u8]) -> usize {
    let Ok(mut batch) = consumer.batch() else { return 0 };
    while let Ok(Some(_)) = batch.copy_next(buffer) {}
    let count = batch.count();
    batch.release();
    count
}

/// The control: what the other side has written decides where a private array is read.
#[unsafe(no_mangle)]
fn control_that_panics(
    consumer: &mut spsc::Consumer<'_, u64, Untrusted>,
    numbers: &[u64; 8],
) -> u64 {
    consumer.pop().map_or(0, |index| numbers[index as usize])
}
