//! The specification of a ring for one producer and one consumer: a `VecDeque`.
//!
//! A list of bytes is a list of operations. The ring and the queue both carry them out, and every
//! answer must be the same. Used by `tests/spsc.rs`, with fixed seeds and with a corpus, and by the
//! fuzz target `ring_spsc`.

use alloc::collections::VecDeque;

use ipc_shm::ring::spsc::{Consumer, Producer, Ring};
use ipc_shm::ring::{PopError, PushError};

/// A mistake that the ring under test is made to have, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// None.
    Nothing,
    /// When the consumer re-attaches after the ring was full on a lap divisible by 5, a message
    /// goes missing.
    ForgetsARoundTrip,
}

/// Carries out the operations that `bytes` stand for; `Err` says where ring and model differ.
#[allow(dead_code, reason = "each user of this file calls one of the two")]
pub fn run(bytes: &[u8]) -> Result<(), String> {
    run_with(bytes, Bug::Nothing)
}

/// As [`run`], on a ring that has `bug`.
#[allow(dead_code, reason = "each user of this file calls one of the two")]
pub fn run_with(bytes: &[u8], bug: Bug) -> Result<(), String> {
    let Some((&first, operations)) = bytes.split_first() else { return Ok(()) };
    let capacity = usize::from(first % 9) + 1;
    let laps = match first / 9 % 3 {
        0 => 0,
        1 => (1 << 31) - 1,
        _ => (1 << 63) - 2,
    };
    let mut pair = Pair::new(Ring::boxed_at(capacity, laps).map_err(|e| e.to_string())?, bug);
    for (step, &byte) in operations.iter().enumerate() {
        pair.carry_out(byte).map_err(|what| {
            format!("step {step} (byte {byte:#04x}), capacity {capacity}, from lap {laps}: {what}")
        })?;
    }
    Ok(())
}

/// A ring and its model.
struct Pair {
    ring: Ring<'static, [u64; 3]>,
    producer: Option<Producer<'static, [u64; 3]>>,
    consumer: Option<Consumer<'static, [u64; 3]>>,
    /// Whether an end was ever attached: before that, its absence is no disconnection.
    producer_came: bool,
    consumer_came: bool,
    model: VecDeque<u64>,
    next: u64,
    bug: Bug,
    was_full: bool,
}

impl Pair {
    fn new(ring: Ring<'static, [u64; 3]>, bug: Bug) -> Self {
        Self {
            ring,
            producer: None,
            consumer: None,
            producer_came: false,
            consumer_came: false,
            model: VecDeque::new(),
            next: 1,
            bug,
            was_full: false,
        }
    }

    /// Pushes and pops are common, in runs whose direction is the byte's top bit; attaching and
    /// closing are rare.
    fn carry_out(&mut self, byte: u8) -> Result<(), String> {
        match byte & 0x1f {
            0 => self.toggle_producer(),
            1 => self.toggle_consumer(),
            2..=8 => self.push(),
            9..=15 => self.pop(),
            _ if byte & 0x80 != 0 => self.push(),
            _ => self.pop(),
        }
    }

    fn toggle_producer(&mut self) -> Result<(), String> {
        if self.producer.take().is_none() {
            self.producer = Some(self.ring.producer().map_err(|e| e.to_string())?);
            self.producer_came = true;
            same(self.ring.producer().is_err(), true)?;
        }
        Ok(())
    }

    fn toggle_consumer(&mut self) -> Result<(), String> {
        if self.consumer.take().is_none() {
            let mut consumer = self.ring.consumer().map_err(|e| e.to_string())?;
            let planted = self.bug == Bug::ForgetsARoundTrip && self.was_full && self.next % 5 == 0;
            if planted {
                // Whatever comes of it: a lost message is the bug.
                let _ = consumer.pop();
            }
            self.consumer = Some(consumer);
            self.consumer_came = true;
            same(self.ring.consumer().is_err(), true)?;
        }
        Ok(())
    }

    fn push(&mut self) -> Result<(), String> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let message = [self.next, !self.next, self.next.rotate_left(17)];
        let expected = if self.model.len() < self.ring.capacity() {
            self.model.push_back(self.next);
            Ok(())
        } else if self.consumer_came && self.consumer.is_none() {
            Err(PushError::Disconnected(message))
        } else {
            self.was_full = true;
            Err(PushError::Full(message))
        };
        let found = producer.push(message);
        self.next += u64::from(found.is_ok());
        same(found, expected)
    }

    fn pop(&mut self) -> Result<(), String> {
        let Some(consumer) = &mut self.consumer else { return Ok(()) };
        let expected = match self.model.pop_front() {
            Some(number) => Ok([number, !number, number.rotate_left(17)]),
            None if self.producer_came && self.producer.is_none() => Err(PopError::Disconnected),
            None => Err(PopError::Empty),
        };
        same(consumer.pop(), expected)
    }
}

fn same<T: PartialEq + core::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
}
