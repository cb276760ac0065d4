//! Keeps the books of messages through a queue: nothing torn, nothing doubled, nothing invented, each producer's order
//! kept, and no more lost than a death may cost.

use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::ensure;
use crate::stepkill::Verdict;

/// A message of 64 bytes that shows whether it is whole and where it comes from.
///
/// The last word depends on all others, and the filling differs from message to message, so that no mixture of two
/// messages is valid. All-zero bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Message {
    /// 1 + the producer's number in the ledger.
    producer: u64,
    sequence: u64,
    filling: [u64; 5],
    checksum: u64,
}

/// The books, in shared memory. All-zero bytes are an empty ledger.
#[derive(Debug)]
#[repr(C)]
pub struct Ledger {
    /// Next sequence number of each producer.
    next: [AtomicU64; Self::PRODUCERS],
    /// 1 + the last sequence number that each consumer had of each producer.
    last: [[AtomicU64; Self::PRODUCERS]; Self::CONSUMERS],
    /// What became of each message: [`ACCEPTED`] and the number of times it came out.
    fate: [[AtomicU8; Self::SEQUENCES]; Self::PRODUCERS],
    /// How many came to a consumer after a later one of their producer.
    late: AtomicUsize,
}

/// The queue took the message.
const ACCEPTED: u8 = 0x80;

impl Message {
    /// The message number `sequence` of `producer`.
    pub fn new(producer: usize, sequence: u64) -> Self {
        let producer = producer as u64 + 1;
        let seed = producer.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ sequence.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let filling =
            core::array::from_fn(|i| seed.rotate_left(11 * i as u32 + 7).wrapping_add(i as u64));
        let mut message = Self { producer, sequence, filling, checksum: 0 };
        message.checksum = message.sum();
        message
    }

    /// A message of zeros, which is not [whole](Self::is_whole): a place for one to come.
    pub const fn blank() -> Self {
        Self { producer: 0, sequence: 0, filling: [0; 5], checksum: 0 }
    }

    /// Whether it is, byte for byte, a message that [`new`](Self::new) made.
    pub fn is_whole(&self) -> bool {
        self.producer != 0 && *self == Self::new(self.producer as usize - 1, self.sequence)
    }

    /// The words, for a queue that moves plain data.
    pub fn to_words(self) -> [u64; 8] {
        let [a, b, c, d, e] = self.filling;
        [self.producer, self.sequence, a, b, c, d, e, self.checksum]
    }

    /// What [`to_words`](Self::to_words) gave, or anything else.
    pub fn from_words(words: [u64; 8]) -> Self {
        let [producer, sequence, a, b, c, d, e, checksum] = words;
        Self { producer, sequence, filling: [a, b, c, d, e], checksum }
    }

    fn sum(&self) -> u64 {
        let start = self.producer.rotate_left(32) ^ self.sequence ^ 0x5a5a_5a5a_a5a5_a5a5;
        self.filling.iter().fold(start, |sum, word| sum.wrapping_mul(0x0000_0100_0000_01b3) ^ word)
    }
}

impl Ledger {
    /// How many producers there is room for.
    pub const PRODUCERS: usize = 24;
    /// How many consumers there is room for.
    pub const CONSUMERS: usize = 24;
    /// How many messages of each producer there is room for.
    pub const SEQUENCES: usize = 512;

    /// An empty ledger.
    pub const fn new() -> Self {
        Self {
            next: [const { AtomicU64::new(0) }; Self::PRODUCERS],
            last: [const { [const { AtomicU64::new(0) }; Self::PRODUCERS] }; Self::CONSUMERS],
            fate: [const { [const { AtomicU8::new(0) }; Self::SEQUENCES] }; Self::PRODUCERS],
            late: AtomicUsize::new(0),
        }
    }

    /// The next message of `producer`, to be offered to the queue until it takes it.
    ///
    /// # Panics
    ///
    /// If there is no room for the producer or for more messages of it.
    pub fn next(&self, producer: usize) -> Message {
        let sequence = self.next[producer].fetch_add(1, Ordering::Relaxed);
        assert!(
            (sequence as usize) < Self::SEQUENCES,
            "the ledger has no more room for producer {producer}"
        );
        Message::new(producer, sequence)
    }

    /// The queue took `message`.
    pub fn pushed(&self, message: &Message) {
        self.fate(message).fetch_or(ACCEPTED, Ordering::Relaxed);
    }

    /// `message` came out of the queue, to `consumer`.
    ///
    /// # Errors
    ///
    /// If it is torn, was never offered, came out before, or came to this consumer after a later one of its producer.
    pub fn popped(&self, consumer: usize, message: &Message) -> Verdict {
        self.popped_with_late(consumer, message, 0)
    }

    /// As [`popped`](Self::popped), but so many in all `may_be_late`, and come to a consumer after a later one of their producer:
    /// what the dead had claimed comes later.
    ///
    /// # Errors
    ///
    /// As [`popped`](Self::popped), or if more are late.
    pub fn popped_with_late(
        &self,
        consumer: usize,
        message: &Message,
        may_be_late: usize,
    ) -> Verdict {
        ensure!(message.is_whole(), "torn: {:?}", message.to_words());
        let (producer, sequence) = (message.producer as usize - 1, message.sequence);
        ensure!(producer < Self::PRODUCERS, "message {sequence} of an unknown producer {producer}");
        let offered = self.next[producer].load(Ordering::Relaxed);
        ensure!(
            sequence < offered,
            "message {sequence} of producer {producer}, who offered {offered}"
        );
        let times = self.fate(message).fetch_add(1, Ordering::Relaxed) & !ACCEPTED;
        ensure!(
            times == 0,
            "message {sequence} of producer {producer} came out {} times",
            times + 1
        );
        let last = self.last[consumer][producer].fetch_max(sequence + 1, Ordering::Relaxed);
        let is_late = last > sequence;
        ensure!(
            !is_late || self.late.fetch_add(1, Ordering::Relaxed) < may_be_late,
            "producer {producer}: {sequence} came after {} to consumer {consumer}",
            last - 1
        );
        Ok(())
    }

    /// To be called when the queue is drained: at most `may_be_lost` of the accepted messages have not come out.
    ///
    /// A victim killed in a push has not said [`pushed`](Self::pushed), so its message may be lost or not; one killed in
    /// a pop may have taken one message with it.
    ///
    /// # Errors
    ///
    /// If more are missing.
    pub fn audit(&self, may_be_lost: usize) -> Verdict {
        let mut lost = 0;
        let mut example = (0, 0);
        for (producer, fates) in self.fate.iter().enumerate() {
            for (sequence, fate) in fates.iter().enumerate() {
                if fate.load(Ordering::Relaxed) == ACCEPTED {
                    lost += 1;
                    example = (producer, sequence);
                }
            }
        }
        let (producer, sequence) = example;
        ensure!(
            lost <= may_be_lost,
            "{lost} messages lost, such as {sequence} of producer {producer}"
        );
        Ok(())
    }

    /// How many messages came out although nobody said [`pushed`](Self::pushed): those of a push that was killed.
    pub fn unaccepted(&self) -> usize {
        let fates = self.fate.iter().flatten().map(|fate| fate.load(Ordering::Relaxed));
        fates.filter(|fate| *fate != 0 && fate & ACCEPTED == 0).count()
    }

    fn fate(&self, message: &Message) -> &AtomicU8 {
        &self.fate[message.producer as usize - 1][message.sequence as usize]
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mixture_of_two_messages_is_whole() {
        let (old, new) = (Message::new(3, 7).to_words(), Message::new(4, 8).to_words());
        for cut in 1..8 {
            let mut torn = old;
            torn[..cut].copy_from_slice(&new[..cut]);
            assert!(!Message::from_words(torn).is_whole(), "{cut} words of the new one");
        }
        assert!(Message::from_words(new).is_whole());
        assert!(!Message::blank().is_whole());
    }

    #[test]
    fn a_good_run_is_clean() {
        let ledger = Ledger::new();
        for _ in 0..3 {
            let message = ledger.next(0);
            ledger.pushed(&message);
            assert!(ledger.popped(1, &message).is_ok());
        }
        assert!(ledger.audit(0).is_ok());
    }

    #[test]
    fn what_the_dead_had_comes_later_and_no_more() {
        let ledger = Ledger::new();
        let messages = [(); 4].map(|()| ledger.next(0));
        messages.iter().for_each(|message| ledger.pushed(message));
        let popped = |which: usize| ledger.popped_with_late(0, &messages[which], 1);
        assert!(popped(2).is_ok() && popped(0).is_ok());
        assert!(popped(1).is_err(), "the second one that is late");
        assert!(popped(3).is_ok() && popped(0).is_err(), "and never twice");
    }

    #[test]
    fn finds_doubles_disorder_inventions_and_losses() {
        let ledger = Ledger::new();
        let messages = [ledger.next(0), ledger.next(0), ledger.next(0)];
        messages.iter().for_each(|m| ledger.pushed(m));
        assert!(ledger.popped(0, &Message::new(0, 3)).is_err(), "never offered");
        assert!(ledger.popped(0, &messages[1]).is_ok());
        assert!(ledger.popped(1, &messages[1]).is_err(), "came out twice");
        assert!(ledger.popped(0, &messages[0]).is_err(), "after a later one");
        assert!(ledger.audit(0).is_err(), "the third is missing");
        assert!(ledger.audit(1).is_ok());
        assert_eq!(ledger.unaccepted(), 0);
        assert!(ledger.popped(0, &ledger.next(1)).is_ok());
        assert_eq!(ledger.unaccepted(), 1);
    }
}
