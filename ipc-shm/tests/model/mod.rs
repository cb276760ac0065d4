//! The specification of a ring for one producer and one consumer: a `VecDeque`.
//!
//! A list of bytes is a list of operations. The ring and the queue both carry them out, and every
//! answer must be the same. Used by `tests/all_rings.rs`, with fixed seeds and with a corpus, and by the
//! fuzz targets `ring_*`.

#![allow(dead_code, reason = "each program that includes this file uses its part of it")]

use alloc::collections::VecDeque;
use core::ops::AddAssign;

use ipc_shm::ring::{PopError, PushError};

use crate::rings::{self, TestRing};

type Message = [u64; 3];

/// A mistake that the ring under test is made to have, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// None.
    Nothing,
    /// When the consumer re-attaches after the ring was full on a lap divisible by 5, a message
    /// goes missing.
    ForgetsARoundTrip,
    /// When five messages are popped as a slice, another one goes missing.
    ForgetsOneOfFive,
}

/// How often each thing was tried with success.
#[derive(Clone, Copy, Debug, Default)]
pub struct Covered {
    attached: usize,
    pushed: usize,
    popped: usize,
    slices_pushed: usize,
    slices_popped: usize,
    written_in_place: usize,
    read_in_place: usize,
    refused: usize,
    offered_in_place: bool,
}

impl AddAssign for Covered {
    fn add_assign(&mut self, other: Self) {
        self.attached += other.attached;
        self.pushed += other.pushed;
        self.popped += other.popped;
        self.slices_pushed += other.slices_pushed;
        self.slices_popped += other.slices_popped;
        self.written_in_place += other.written_in_place;
        self.read_in_place += other.read_in_place;
        self.refused += other.refused;
        self.offered_in_place |= other.offered_in_place;
    }
}

impl Covered {
    /// Everything that the ring offers came often.
    pub fn assert_enough(&self) {
        let least = if cfg!(miri) { 1 } else { 1000 };
        let always = [self.attached, self.pushed, self.popped, self.slices_pushed];
        let always = always.into_iter().chain([self.slices_popped, self.refused]);
        let in_place = [self.written_in_place, self.read_in_place];
        let in_place = in_place.into_iter().filter(|_| self.offered_in_place);
        assert!(always.chain(in_place).all(|count| count >= least), "{self:?}");
    }
}

/// Carries out the operations that `bytes` stand for; `Err` says where ring and model differ.
pub fn run<R: TestRing>(bytes: &[u8]) -> Result<Covered, String> {
    run_with::<R>(bytes, Bug::Nothing)
}

/// As [`run`], on a ring that has `bug`.
pub fn run_with<R: TestRing>(bytes: &[u8], bug: Bug) -> Result<Covered, String> {
    let Some((&first, operations)) = bytes.split_first() else { return Ok(Covered::default()) };
    let mut capacity = usize::from(first % 9) + 1;
    if R::refusal(capacity).is_some() {
        capacity = capacity.next_power_of_two();
    }
    let start = rings::starts(capacity)[usize::from(first / 9) % 4];
    let ring = R::boxed_at(capacity, start).map_err(|error| error.to_string())?;
    let mut pair = Pair::<R>::new(ring, bug);
    for (step, &byte) in operations.iter().enumerate() {
        pair.carry_out(byte).map_err(|what| {
            format!("step {step} (byte {byte:#04x}), capacity {capacity}, from {start}: {what}")
        })?;
    }
    Ok(pair.covered)
}

/// A ring and its model.
struct Pair<R: TestRing> {
    ring: R::Ring<Message>,
    producer: Option<R::Producer<Message>>,
    consumer: Option<R::Consumer<Message>>,
    /// Whether an end was ever attached: before that, its absence is no disconnection.
    producer_came: bool,
    consumer_came: bool,
    model: VecDeque<u64>,
    next: u64,
    bug: Bug,
    was_full: bool,
    covered: Covered,
}

/// The ways of pushing and popping.
enum Way {
    Single,
    Slice,
    InPlace,
    /// In place, but only the first half of it.
    Half,
}

impl<R: TestRing> Pair<R> {
    fn new(ring: R::Ring<Message>, bug: Bug) -> Self {
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
            covered: Covered::default(),
        }
    }

    /// Pushes and pops are common, in runs whose direction is the byte's top bit; attaching and
    /// closing are rare.
    fn carry_out(&mut self, byte: u8) -> Result<(), String> {
        let way = match byte >> 5 & 3 {
            0 => Way::Single,
            1 => Way::Slice,
            2 => Way::InPlace,
            _ => Way::Half,
        };
        match byte & 0x1f {
            0 => self.toggle_producer(),
            1 => self.toggle_consumer(),
            count @ 2..=8 => self.push(way, count - 1),
            count @ 9..=15 => self.pop(way, count - 8),
            count if byte & 0x80 != 0 => self.push(way, count - 15),
            count => self.pop(way, count - 15),
        }
    }

    fn toggle_producer(&mut self) -> Result<(), String> {
        if self.producer.take().is_none() {
            self.producer = Some(R::producer(&self.ring).map_err(|e| e.to_string())?);
            self.producer_came = true;
            self.covered.attached += 1;
            same(R::producer(&self.ring).is_err(), !R::OF_MANY)?;
        }
        Ok(())
    }

    fn toggle_consumer(&mut self) -> Result<(), String> {
        if self.consumer.take().is_none() {
            let mut consumer = R::consumer(&self.ring).map_err(|e| e.to_string())?;
            let planted = self.bug == Bug::ForgetsARoundTrip && self.was_full && self.next % 5 == 0;
            if planted {
                // Whatever comes of it: a lost message is the bug.
                let _ = R::pop(&mut consumer);
            }
            self.consumer = Some(consumer);
            self.consumer_came = true;
            self.covered.attached += 1;
            same(R::consumer(&self.ring).is_err(), !R::OF_MANY)?;
        }
        Ok(())
    }

    /// Pushes `count` messages this way, or one.
    fn push(&mut self, way: Way, count: u8) -> Result<(), String> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let gone = self.consumer_came && self.consumer.is_none();
        let room = R::capacity(&self.ring) - self.model.len();
        self.was_full |= room == 0 && !gone;
        self.covered.refused += usize::from(room == 0);
        let refused = if gone { PushError::Disconnected(()) } else { PushError::Full(()) };
        let messages: Vec<Message> = (self.next..).take(count.into()).map(rings::message).collect();
        let fitting = messages.len().min(room);
        let expected = if room == 0 { Err(refused) } else { Ok(fitting) };
        let committed = match way {
            Way::Single => {
                let found = R::push(producer, messages[0]);
                let expected = expected.map(drop).map_err(|refused| match refused {
                    PushError::Disconnected(()) => PushError::Disconnected(messages[0]),
                    _ => PushError::Full(messages[0]),
                });
                same(found, expected)?;
                self.covered.pushed += 1;
                1
            }
            Way::Slice => {
                same(R::push_slice(producer, &messages), expected)?;
                self.covered.slices_pushed += 1;
                fitting
            }
            Way::InPlace | Way::Half => {
                let commit = if matches!(way, Way::Half) { count / 2 } else { count };
                let Some(found) = R::write_in_place(producer, &messages, commit.into()) else {
                    return Ok(());
                };
                same(found, expected)?;
                self.covered.offered_in_place = true;
                self.covered.written_in_place += 1;
                fitting.min(commit.into())
            }
        };
        let committed = if room == 0 { 0 } else { committed as u64 };
        self.model.extend(self.next..self.next + committed);
        self.next += committed;
        Ok(())
    }

    /// Pops up to `count` messages this way, or one.
    fn pop(&mut self, way: Way, count: u8) -> Result<(), String> {
        let Some(consumer) = &mut self.consumer else { return Ok(()) };
        let gone = self.producer_came && self.producer.is_none();
        let refused = if gone { PopError::Disconnected } else { PopError::Empty };
        let most = usize::from(count);
        let there: Vec<Message> =
            self.model.iter().take(most).copied().map(rings::message).collect();
        self.covered.refused += usize::from(there.is_empty());
        let expected = if there.is_empty() { Err(refused) } else { Ok(there.clone()) };
        let released = match way {
            Way::Single => {
                same(R::pop(consumer), expected.map(|there| there[0]))?;
                self.covered.popped += 1;
                1
            }
            Way::Slice => {
                let mut out = vec![[0; 3]; most];
                let found = R::pop_slice(consumer, &mut out);
                let found = found.map(|found| out[..found].to_vec());
                if self.bug == Bug::ForgetsOneOfFive && found.as_ref().is_ok_and(|f| f.len() == 5) {
                    let _ = R::pop(consumer);
                }
                same(found, expected)?;
                self.covered.slices_popped += 1;
                there.len()
            }
            Way::InPlace | Way::Half => {
                let release = if matches!(way, Way::Half) { most / 2 } else { most };
                let Some(found) = R::read_in_place(consumer, most, release) else {
                    return Ok(());
                };
                same(found, expected)?;
                self.covered.offered_in_place = true;
                self.covered.read_in_place += 1;
                there.len().min(release)
            }
        };
        self.model.drain(..released.min(there.len()));
        Ok(())
    }
}

fn same<T: PartialEq + core::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
}
