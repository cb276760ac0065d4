//! Messages that prove themselves: every word follows from the sequence number.

use crate::subject::{Done, Wrong};

/// A message of `N` words; [`Writer`] and [`Reader`] touch all of them.
///
/// Word `i` of message `s` is `s + i * STEP`, so a lost, repeated, reordered or torn message shows
/// as a wrong word. The first word is the sequence number itself and is never zero.
pub type Message<const N: usize> = [u64; N];

/// The bits from here on say whose a message is, where several send.
const PRODUCER: u32 = 48;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Message number `sequence`.
#[inline]
#[must_use]
pub fn numbered<const N: usize>(sequence: u64) -> Message<N> {
    core::array::from_fn(|i| sequence.wrapping_add(STEP.wrapping_mul(i as u64)))
}

/// The sum of all words, which both sides keep independently.
#[inline]
#[must_use]
pub fn sum<const N: usize>(message: &Message<N>) -> u64 {
    message.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// The sending side of a stream: numbers the messages and sums what it wrote.
#[derive(Debug)]
pub struct Sent {
    next: u64,
}

impl Sent {
    /// The first message has number 1.
    #[must_use]
    pub const fn new() -> Self {
        Self::of(0)
    }

    /// The stream of one of several producers, to be told from theirs by [`Mixed`].
    #[must_use]
    pub const fn of(producer: usize) -> Self {
        Self { next: ((producer as u64) << PRODUCER) + 1 }
    }

    /// Sends `count` messages through `push`, which returns once the message is accepted.
    #[inline]
    pub fn each<const N: usize>(&mut self, count: u64, mut push: impl FnMut(Message<N>)) -> Done {
        self.with(|writer| {
            for _ in 0..count {
                push(writer.message());
            }
        })
    }

    /// Lets `work` make as many messages as it wants.
    #[inline]
    pub fn with(&mut self, work: impl FnOnce(&mut Writer)) -> Done {
        // A local variable, so that its words stay in registers between the messages.
        let mut writer = Writer { next: self.next, checksum: 0 };
        work(&mut writer);
        let operations = writer.next - self.next;
        self.next = writer.next;
        Done { operations, checksum: writer.checksum, ..Done::default() }
    }
}

impl Default for Sent {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes the next messages of a stream.
#[derive(Debug)]
pub struct Writer {
    next: u64,
    checksum: u64,
}

impl Writer {
    /// The next message, by value.
    #[inline]
    pub fn message<const N: usize>(&mut self) -> Message<N> {
        let message = numbered(self.next);
        self.next += 1;
        self.checksum = self.checksum.wrapping_add(sum(&message));
        message
    }

    /// The next message, in its place.
    #[inline]
    pub fn write(&mut self, place: &mut [u64]) {
        for (i, word) in place.iter_mut().enumerate() {
            *word = self.next.wrapping_add(STEP.wrapping_mul(i as u64));
            self.checksum = self.checksum.wrapping_add(*word);
        }
        self.next += 1;
    }
}

/// The receiving side of a stream: checks every word of every message and sums what it read.
#[derive(Debug)]
pub struct Received {
    next: u64,
}

impl Received {
    /// Expects number 1 first.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 1 }
    }

    /// Takes `count` messages from `pop`, which returns once a message is there.
    ///
    /// # Errors
    /// Says where the stream stood when any word of any message was not the one sent.
    #[inline]
    pub fn each<const N: usize>(
        &mut self,
        count: u64,
        mut pop: impl FnMut() -> Message<N>,
    ) -> Result<Done, Wrong> {
        self.with(|reader| {
            for _ in 0..count {
                reader.read(&pop());
            }
        })
    }

    /// Lets `work` check as many messages as it has.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    #[inline]
    pub fn with(&mut self, work: impl FnOnce(&mut Reader)) -> Result<Done, Wrong> {
        let first = self.next;
        // A local variable, so that its words stay in registers between the messages.
        let mut reader = Reader { next: first, checksum: 0, wrong: 0 };
        work(&mut reader);
        let Reader { next, checksum, wrong } = reader;
        self.next = next;
        if wrong != 0 {
            return Err(Wrong(format!(
                "a message between number {first} and {} was lost, repeated or changed",
                next - 1
            )));
        }
        Ok(Done { operations: next - first, checksum, ..Done::default() })
    }
}

impl Default for Received {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks the next messages of a stream.
#[derive(Debug)]
pub struct Reader {
    next: u64,
    checksum: u64,
    wrong: u64,
}

impl Reader {
    /// Compares all words of the next message with those that were sent.
    #[inline]
    pub fn read(&mut self, message: &[u64]) {
        for (i, &word) in message.iter().enumerate() {
            self.wrong |= word ^ self.next.wrapping_add(STEP.wrapping_mul(i as u64));
            self.checksum = self.checksum.wrapping_add(word);
        }
        self.next += 1;
    }
}

/// One of several receivers: it gets any messages of each of several streams, those of one in their order.
#[derive(Debug)]
pub struct Mixed {
    /// The number of the last message of each producer.
    last: Vec<u64>,
}

impl Mixed {
    /// Expects messages of so many producers.
    #[must_use]
    pub fn new(producers: usize) -> Self {
        Self { last: (0..producers).map(|producer| (producer as u64) << PRODUCER).collect() }
    }

    /// Lets `work` check as many messages as it has.
    ///
    /// # Errors
    /// Says so if a message was torn, is none of any producer's, or came after a later one of the same.
    #[inline]
    pub fn with(&mut self, work: impl FnOnce(&mut MixedReader<'_>)) -> Result<Done, Wrong> {
        let mut reader =
            MixedReader { last: &mut self.last, operations: 0, checksum: 0, wrong: false };
        work(&mut reader);
        let MixedReader { operations, checksum, wrong, .. } = reader;
        if wrong {
            return Err(Wrong("a message was repeated, overtaken or changed".to_owned()));
        }
        Ok(Done { operations, checksum, ..Done::default() })
    }
}

/// Checks the messages that one of several receivers gets.
#[derive(Debug)]
pub struct MixedReader<'a> {
    last: &'a mut [u64],
    operations: u64,
    checksum: u64,
    wrong: bool,
}

impl MixedReader<'_> {
    /// Compares all words of a message with those that were sent with its number.
    #[inline]
    pub fn read<const N: usize>(&mut self, message: &Message<N>) {
        let number = message[0];
        self.operations += 1;
        self.checksum = self.checksum.wrapping_add(sum(message));
        self.wrong |= *message != numbered(number);
        match self.last.get_mut((number >> PRODUCER) as usize) {
            Some(last) if *last < number => *last = number,
            _ => self.wrong = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_of_several_streams_see_every_kind_of_damage() {
        let of = |producer, count| {
            let mut messages: Vec<Message<7>> = Vec::new();
            let _ = Sent::of(producer).each(count, |message| messages.push(message));
            messages
        };
        let read = |messages: &[Message<7>]| {
            Mixed::new(2).with(|reader| messages.iter().for_each(|message| reader.read(message)))
        };
        let (one, other, stranger) = (of(0, 3), of(1, 3), of(2, 1)[0]);
        assert!(read(&[other[0], one[0], one[2], other[2]]).is_ok(), "others have the rest");
        assert!(read(&[one[1], one[1]]).is_err(), "twice");
        assert!(read(&[one[1], one[0]]).is_err(), "overtaken");
        assert!(read(&[stranger]).is_err(), "nobody's");
        let mut torn = one[0];
        torn[6] ^= 1;
        assert!(read(&[torn]).is_err(), "torn");
    }

    fn pass(messages: Vec<Message<7>>) -> Result<Done, Wrong> {
        let count = messages.len() as u64;
        let mut messages = messages.into_iter();
        Received::new().each(count, || messages.next().unwrap_or([0; 7]))
    }

    fn sent(count: u64) -> (Done, Vec<Message<7>>) {
        let mut messages = Vec::new();
        (Sent::new().each(count, |message| messages.push(message)), messages)
    }

    #[test]
    fn sides_agree_on_an_intact_stream() {
        let (done, messages) = sent(100);
        assert_eq!(pass(messages), Ok(done));
    }

    #[test]
    fn every_kind_of_damage_is_seen() {
        let damage: [fn(&mut Vec<Message<7>>); 4] = [
            |m| m.swap(3, 4),
            |m| m[50] = m[49],
            |m| m[50][6] ^= 1 << 63,
            |m| m[50][3] = numbered::<7>(40)[3],
        ];
        for damage in damage {
            let (_, mut messages) = sent(100);
            damage(&mut messages);
            assert!(pass(messages).is_err());
        }
    }

    #[test]
    fn messages_in_place_are_those_by_value() {
        let mut place = [0; 7];
        let (mut by_value, mut in_place) = (Sent::new(), Sent::new());
        for _ in 0..3 {
            let mut message = [0; 7];
            let left = by_value.each(1, |made| message = made);
            assert_eq!(in_place.with(|writer| writer.write(&mut place)), left);
            assert_eq!(place, message);
        }
    }

    #[test]
    fn numbers_go_on_from_slice_to_slice() {
        let mut sent = Sent::new();
        let mut received = Received::new();
        for _ in 0..3 {
            let mut queue = std::collections::VecDeque::new();
            let left = sent.each(64, |message: Message<1>| queue.push_back(message));
            assert_eq!(received.each(64, || queue.pop_front().unwrap()), Ok(left));
        }
        assert!(received.each(1, || numbered::<1>(1)).is_err(), "an old message is not accepted");
    }
}
