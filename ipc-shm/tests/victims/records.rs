//! The ring of bytes, with one record for each message.

use core::marker::PhantomData;

use ipc_shm::bytemuck;
use ipc_shm::ring::bytes::{Consumer, FixedRing, PopError, Producer, PushError};
use ipc_testkit::battery::rings::{self, Shape};
use ipc_testkit::oracle::Message;

use super::claimed;

/// The words of the ring, and how many records of 64 bytes that is.
pub const WORDS: usize = 32;
pub const RECORDS: usize = WORDS / 9;

/// How records are written and read.
pub trait Way: Sync + 'static {
    fn push(producer: &mut Producer<'_>, bytes: &[u8]) -> Result<(), PushError>;
    fn pop(consumer: &mut Consumer<'_>, bytes: &mut [u8]) -> Result<usize, PopError>;
}

pub struct Copied;

impl Way for Copied {
    fn push(producer: &mut Producer<'_>, bytes: &[u8]) -> Result<(), PushError> {
        producer.push(TAG, bytes)
    }

    fn pop(consumer: &mut Consumer<'_>, bytes: &mut [u8]) -> Result<usize, PopError> {
        let (tag, len) = consumer.pop(bytes)?;
        assert_eq!(tag, TAG);
        Ok(len)
    }
}

pub struct InPlace;

impl Way for InPlace {
    fn push(producer: &mut Producer<'_>, bytes: &[u8]) -> Result<(), PushError> {
        // More than is needed in the end; there is room for it.
        let mut room = producer.reserve(bytes.len() + 4)?;
        let (first, second) = bytes.split_at(5);
        room.write(first).expect("reserved");
        room.write(second).expect("reserved");
        room.commit(TAG);
        Ok(())
    }

    fn pop(consumer: &mut Consumer<'_>, bytes: &mut [u8]) -> Result<usize, PopError> {
        let peek = consumer.peek()?;
        let record = peek.record();
        let (first, second) = record.as_slices();
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..record.len()].copy_from_slice(second);
        let len = record.len();
        assert_eq!(record.tag(), TAG);
        peek.release();
        Ok(len)
    }
}

pub const TAG: u32 = 0xfeed_beef;

/// A ring in the harness's memory.
pub struct Records<W> {
    pub ring: FixedRing<WORDS>,
    way: PhantomData<W>,
}

impl<W: Way> Records<W> {
    pub fn producer(&self) -> Option<Producer<'_>> {
        claimed(self.ring.ring().producer())
    }

    pub fn consumer(&self) -> Option<Consumer<'_>> {
        claimed(self.ring.ring().consumer())
    }
}

impl<W: Way> rings::Ring for Records<W> {
    const SHAPE: Shape = Shape::OneToOne;
    const CAPACITY: usize = RECORDS;

    fn new() -> Self {
        Self { ring: FixedRing::new(), way: PhantomData }
    }

    fn push(&self, message: &Message) -> bool {
        let Some(mut producer) = self.producer() else { return false };
        match W::push(&mut producer, bytemuck::bytes_of(&message.to_words())) {
            Ok(()) => true,
            Err(PushError::Full | PushError::Disconnected) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn pop(&self) -> Option<Message> {
        let mut consumer = self.consumer()?;
        let mut words = [0_u64; 8];
        match W::pop(&mut consumer, bytemuck::bytes_of_mut(&mut words)) {
            Ok(64) => Some(Message::from_words(words)),
            Ok(len) => panic!("a record of {len} bytes"),
            Err(PopError::Empty | PopError::Disconnected) => None,
            Err(error) => panic!("{error}"),
        }
    }
}
