//! The specification of a ring of bytes: a `VecDeque` of records, and a count of the words that they take.
//!
//! A list of bytes is a list of operations. The ring and the queue both carry them out, and every answer must be the
//! same. Used by `tests/bytes`, with fixed seeds and with a corpus, and by the fuzz target `ring_bytes`.

#![allow(dead_code, reason = "each program that includes this file uses its part of it")]

use alloc::collections::VecDeque;

use ipc_shm::ring::bytes::{Consumer, PopError, Producer, PushError, Ring};
use ipc_shm::ring::{RoleError, Trust, Trusted, Untrusted};

/// A mistake that the ring under test is made to have, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// None.
    Nothing,
    /// Of a record whose length leaves 7 bytes of padding, the last byte is that of the padding, if another record
    /// is behind it.
    CopiesWordsOnly,
    /// A batch of three releases a record more.
    ReleasesOneOfThree,
}

/// How often each thing came to pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Covered {
    counts: [usize; Self::NAMES.len()],
}

impl Covered {
    const NAMES: [&str; 12] = [
        "attached",
        "pushed",
        "vectored",
        "reserved",
        "full",
        "too long",
        "popped",
        "too small",
        "peeked",
        "batches",
        "empty",
        "gone",
    ];

    fn note(&mut self, name: &str) {
        let index =
            Self::NAMES.iter().position(|known| *known == name).expect("a name of the list");
        self.counts[index] += 1;
    }

    /// What two runs had.
    pub fn add(&mut self, other: Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
    }

    /// Everything came often; `unless` it cannot.
    pub fn assert_enough(&self, unless: &[&str]) {
        let least = if cfg!(miri) { 0 } else { 100 };
        for (name, count) in Self::NAMES.iter().zip(self.counts) {
            assert!(count >= least || unless.contains(name), "{name}: {count} in {self:?}");
        }
    }
}

/// Carries out the operations that `bytes` stand for; `Err` says where ring and model differ.
pub fn run(bytes: &[u8], bug: Bug) -> Result<Covered, String> {
    let Some((&first, operations)) = bytes.split_first() else { return Ok(Covered::default()) };
    let capacity = [8, 16, 32, 64, 128, 4096][usize::from(first) % 6];
    let words = capacity as u64 / 8;
    let starts = [0, (1 << 32) - 2, (1 << 63) - 2, u64::MAX - words];
    let start = starts[usize::from(first / 6) % 4];
    // From a page on, and from the beginning on, also as a contiguous one.
    let ring = if capacity == 4096 && start == 0 {
        Ring::create(capacity)
    } else {
        Ring::boxed_at(capacity, start)
    };
    let ring = ring.map_err(|error| error.to_string())?;
    let wary = first >= 128;
    let result = if wary {
        Pair::new(ring, bug, Ring::untrusted_producer, Ring::untrusted_consumer)
            .carry_out_all(operations, untrusted)
    } else {
        Pair::new(ring, bug, Ring::producer, Ring::consumer).carry_out_all(operations, trusted)
    };
    result.map_err(|what| format!("capacity {capacity}, from {start}, wary: {wary}: {what}"))
}

/// Tag and bytes.
type Record = (u32, Vec<u8>);
type Claim<E> = fn(&Ring<'static>) -> Result<E, RoleError>;

/// A ring and its model.
struct Pair<M: Trust> {
    ring: Ring<'static>,
    claims: (Claim<Producer<'static, M>>, Claim<Consumer<'static, M>>),
    producer: Option<Producer<'static, M>>,
    consumer: Option<Consumer<'static, M>>,
    /// Whether an end was ever attached: before that, its absence is no disconnection.
    came: (bool, bool),
    model: VecDeque<Record>,
    next: u32,
    bug: Bug,
    covered: Covered,
}

type Write<M> = fn(&mut Producer<'static, M>, u32, &[u8], usize) -> Option<Result<(), PushError>>;
type Read<M> = fn(&mut Consumer<'static, M>, bool) -> Option<Result<Record, PopError>>;

/// What only an end that trusts can do: to write in place, and to peek.
struct InPlace<M: Trust> {
    write: Write<M>,
    read: Read<M>,
}

fn untrusted() -> InPlace<Untrusted> {
    InPlace { write: |_, _, _, _| None, read: |_, _| None }
}

fn trusted() -> InPlace<Trusted> {
    InPlace {
        write: |producer, tag, bytes, more| {
            Some(producer.reserve(bytes.len() + more).map(|mut room| {
                let (half, other) = bytes.split_at(bytes.len() / 2);
                room.write(half).expect("reserved");
                let (first, second) = room.as_mut_slices();
                assert_eq!(first.len() + second.len(), other.len() + more);
                let (a, b) = other.split_at(first.len().min(other.len()));
                first[..a.len()].copy_from_slice(a);
                second[..b.len()].copy_from_slice(b);
                room.advance(other.len()).expect("reserved");
                room.commit(tag);
            }))
        },
        read: |consumer, release| {
            Some(consumer.peek().map(|peek| {
                let found = (peek.record().tag(), peek.record().to_vec());
                if release {
                    peek.release();
                }
                found
            }))
        },
    }
}

impl<M: Trust> Pair<M> {
    fn new(
        ring: Ring<'static>,
        bug: Bug,
        producer: Claim<Producer<'static, M>>,
        consumer: Claim<Consumer<'static, M>>,
    ) -> Self {
        Self {
            ring,
            claims: (producer, consumer),
            producer: None,
            consumer: None,
            came: (false, false),
            model: VecDeque::new(),
            next: 1,
            bug,
            covered: Covered::default(),
        }
    }

    fn carry_out_all(
        mut self,
        operations: &[u8],
        in_place: fn() -> InPlace<M>,
    ) -> Result<Covered, String> {
        let mut bytes = operations.iter().copied();
        let mut step = 0;
        while let Some(byte) = bytes.next() {
            // A second byte, if there is one, for how long or how many.
            let much = if byte & 0x1f > 1 { bytes.next().unwrap_or(0) } else { 0 };
            self.carry_out(byte, much, &in_place())
                .map_err(|what| format!("step {step} ({byte:#04x}, {much}): {what}"))?;
            step += 1;
        }
        Ok(self.covered)
    }

    /// Pushes and pops are common, in runs whose direction is the byte's top bit; attaching and closing are rare.
    fn carry_out(&mut self, byte: u8, much: u8, in_place: &InPlace<M>) -> Result<(), String> {
        match byte & 0x1f {
            0 => self.toggle_producer(),
            1 => self.toggle_consumer(),
            2..=8 => self.push(byte >> 5 & 3, much, in_place),
            9..=15 => self.pop(byte >> 5 & 3, much, in_place),
            _ if byte & 0x80 != 0 => self.push(byte >> 5 & 3, much, in_place),
            _ => self.pop(byte >> 5 & 3, much, in_place),
        }
    }

    fn toggle_producer(&mut self) -> Result<(), String> {
        if self.producer.take().is_none() {
            self.producer = Some((self.claims.0)(&self.ring).map_err(|error| error.to_string())?);
            self.came.0 = true;
            self.covered.note("attached");
            same(self.ring.producer().is_err(), true)?;
        }
        Ok(())
    }

    fn toggle_consumer(&mut self) -> Result<(), String> {
        if self.consumer.take().is_none() {
            self.consumer = Some((self.claims.1)(&self.ring).map_err(|error| error.to_string())?);
            self.came.1 = true;
            self.covered.note("attached");
            same(self.ring.consumer().is_err(), true)?;
        }
        Ok(())
    }

    fn words_inside(&self) -> usize {
        self.model.iter().map(|(_, bytes)| words(bytes.len())).sum()
    }

    fn push(&mut self, way: u8, much: u8, in_place: &InPlace<M>) -> Result<(), String> {
        let (inside, capacity) = (self.words_inside(), self.ring.capacity() / 8);
        let gone = self.came.1 && self.consumer.is_none();
        let Some(producer) = &mut self.producer else { return Ok(()) };
        let max = producer.max_record();
        // Now and then about the longest.
        let len =
            if much >= 248 { (max + 252).saturating_sub(much.into()) } else { usize::from(much) };
        let (tag, bytes) = (self.next, record(self.next, len));
        // A reservation asks for a little more than is written.
        let asked = if way == 2 { len + usize::from(much % 3) } else { len };
        let expected = if asked > max {
            self.covered.note("too long");
            Err(PushError::TooLong { len: asked, max })
        } else if inside + words(asked) <= capacity {
            Ok(())
        } else if gone {
            self.covered.note("gone");
            Err(PushError::Disconnected)
        } else {
            self.covered.note("full");
            Err(PushError::Full)
        };
        let found = match way {
            0 | 3 => {
                self.covered.note("pushed");
                producer.push(tag, &bytes)
            }
            1 => {
                let (first, rest) = bytes.split_at(len / 3);
                let (second, third) = rest.split_at(len / 5);
                self.covered.note("vectored");
                producer.push_vectored(tag, &[first, &[], second, third])
            }
            _ => match (in_place.write)(producer, tag, &bytes, asked - len) {
                Some(found) => {
                    self.covered.note("reserved");
                    found
                }
                None => return Ok(()),
            },
        };
        same(found, expected)?;
        if found.is_ok() {
            self.model.push_back((tag, bytes));
            self.next += 1;
        }
        Ok(())
    }

    fn pop(&mut self, way: u8, much: u8, in_place: &InPlace<M>) -> Result<(), String> {
        let gone = self.came.0 && self.producer.is_none();
        let Some(consumer) = &mut self.consumer else { return Ok(()) };
        let refused = if gone { PopError::Disconnected } else { PopError::Empty };
        let there = self.model.front().cloned();
        if there.is_none() {
            self.covered.note(if gone { "gone" } else { "empty" });
        }
        let expected = there.ok_or(refused);
        match way {
            0 => {
                // A buffer that is too small now and then.
                let mut buffer =
                    vec![0xaa; if much < 64 { much.into() } else { self.ring.max_record() }];
                let found =
                    consumer.pop(&mut buffer).map(|(tag, len)| (tag, buffer[..len].to_vec()));
                let found = self.bug.applied(found, self.model.len());
                if let Ok((_, bytes)) = &expected {
                    let len = bytes.len();
                    if len > buffer.len() {
                        self.covered.note("too small");
                        same(buffer.iter().all(|&byte| byte == 0xaa), true)?;
                        return same(found, Err(PopError::BufferTooSmall { len }));
                    }
                }
                same(found, expected)?;
                self.covered.note("popped");
                self.model.pop_front();
            }
            1 => {
                same(self.bug.applied(consumer.pop_vec(), self.model.len()), expected)?;
                self.covered.note("popped");
                self.model.pop_front();
            }
            2 => {
                let release = much % 4 != 0;
                let Some(found) = (in_place.read)(consumer, release) else { return Ok(()) };
                same(found, expected)?;
                self.covered.note("peeked");
                if release {
                    self.model.pop_front();
                }
            }
            _ => {
                let mut batch = match consumer.batch() {
                    Ok(batch) => batch,
                    Err(error) => return same(Err(error), expected),
                };
                let (most, release) = (usize::from(much / 8), much % 4 != 0);
                let mut buffer = vec![0; self.ring.max_record()];
                for index in 0..most {
                    let found = batch.copy_next(&mut buffer);
                    let found =
                        found.map(|next| next.map(|(tag, len)| (tag, buffer[..len].to_vec())));
                    same(&found, &Ok(self.model.get(index).cloned()))?;
                    if found == Ok(None) {
                        break;
                    }
                }
                let count = batch.count();
                same(count, most.min(self.model.len()))?;
                self.covered.note("batches");
                if release {
                    if self.bug == Bug::ReleasesOneOfThree && count == 3 {
                        // Whatever comes of it: a lost record is the bug.
                        let _ = batch.copy_next(&mut buffer);
                    }
                    batch.release();
                    self.model.drain(..count);
                }
            }
        }
        Ok(())
    }
}

impl Bug {
    /// What a consumer gives that has the bug.
    fn applied(self, found: Result<Record, PopError>, inside: usize) -> Result<Record, PopError> {
        let Ok((tag, mut bytes)) = found else { return found };
        if self == Self::CopiesWordsOnly && inside > 1 && bytes.len() % 8 == 1 {
            *bytes.last_mut().expect("one at least") = 0;
        }
        Ok((tag, bytes))
    }
}

/// How many words a record of `len` bytes takes.
fn words(len: usize) -> usize {
    1 + len.div_ceil(8)
}

/// The bytes of record `number`; none is 0.
fn record(number: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (number.wrapping_mul(0x9e37_79b9).wrapping_add(i * 37) >> 7) as u8 | 1)
        .collect()
}

fn same<T: PartialEq + core::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}, expected {expected:?}")) }
}
