//! Streams and round trips over anything that takes messages at one end and gives them at the other.
//!
//! An end that belongs to the process that makes it is made by the side that uses it, in its first
//! slice: hence the two closures that make two closures.

use core::hint::spin_loop;

use crate::payload::{Message, Reader, Received, Sent, Writer};
use crate::queue::Idle;
use crate::subject::{Done, Ends, Slice, Wrong};
use crate::turns::{Handover, Turns};

/// Messages per call of interfaces that take many.
pub const CHUNK: usize = Slice::GRAIN as usize;

/// How many messages of `N` words go through one call: [`CHUNK`], or one where they are so large that nobody collects
/// them.
#[must_use]
pub const fn batch<const N: usize>() -> usize {
    if N > 128 { 1 } else { CHUNK }
}

/// How many messages of `N` words a ring has room for: 1024, and at most 4 MiB of them.
#[must_use]
pub const fn slots<const N: usize>() -> usize {
    let most = (4 << 20) / size_of::<Message<N>>();
    if most < 1024 { most } else { 1024 }
}

/// A stream whose sides write and check the messages of a slice as they like.
pub fn stream<L, R>(
    left: impl FnOnce() -> L + Send + 'static,
    right: impl FnOnce() -> R + Send + 'static,
) -> Ends
where
    L: FnMut(u64, &mut Writer) + Send + 'static,
    R: FnMut(u64, &mut Reader) + Send + 'static,
{
    let (mut left, mut right) = (once(left), once(right));
    let (mut sent, mut received) = (Sent::new(), Received::new());
    let (mut write, mut read) = (None, None);
    Ends::agreeing(
        move |slice| {
            let write = write.get_or_insert_with(&mut left);
            Ok(sent.with(|writer| write(slice.count, writer)))
        },
        move |slice| {
            let read = read.get_or_insert_with(&mut right);
            received.with(|reader| read(slice.count, reader))
        },
    )
}

/// One message at a time, by value. Both closures return when it is done.
pub fn singles<const N: usize, P, C>(
    left: impl FnOnce() -> P + Send + 'static,
    right: impl FnOnce() -> C + Send + 'static,
) -> Ends
where
    P: FnMut(Message<N>) + Send + 'static,
    C: FnMut() -> Message<N> + Send + 'static,
{
    stream(
        || {
            let mut push = left();
            move |count, writer: &mut Writer| {
                for _ in 0..count {
                    push(writer.message());
                }
            }
        },
        || {
            let mut pop = right();
            move |count, reader: &mut Reader| {
                for _ in 0..count {
                    reader.read(&pop());
                }
            }
        },
    )
}

/// A [`batch`] of messages at a time, from an array and to an array. The closures say how many they took
/// or gave.
pub fn slices<const N: usize, P, C>(
    left: impl FnOnce() -> P + Send + 'static,
    right: impl FnOnce() -> C + Send + 'static,
) -> Ends
where
    P: FnMut(&[Message<N>]) -> usize + Send + 'static,
    C: FnMut(&mut [Message<N>]) -> usize + Send + 'static,
{
    stream(
        || {
            let (mut push, mut messages) = (left(), vec![[0; N]; batch::<N>()]);
            move |count, writer: &mut Writer| {
                for _ in 0..count / batch::<N>() as u64 {
                    messages.iter_mut().for_each(|message| writer.write(message));
                    let mut rest = &messages[..];
                    while !rest.is_empty() {
                        rest = &rest[progress(push(rest))..];
                    }
                }
            }
        },
        || {
            let (mut pop, mut messages) = (right(), vec![[0; N]; batch::<N>()]);
            move |count, reader: &mut Reader| {
                let mut rest = count as usize;
                while rest > 0 {
                    let most = rest.min(batch::<N>());
                    let popped = progress(pop(&mut messages[..most]));
                    messages[..popped].iter().for_each(|message| reader.read(message));
                    rest -= popped;
                }
            }
        },
    )
}

/// The two sides of a round trip over any pair of one-way queues; both check every message.
pub fn round_trip<const N: usize>(
    handover: Handover,
    mut ask: impl FnMut(Message<N>) + Send + 'static,
    mut answer: impl FnMut() -> Message<N> + Send + 'static,
    mut request: impl FnMut() -> Message<N> + Send + 'static,
    mut reply: impl FnMut(Message<N>) + Send + 'static,
) -> Ends {
    let (mut sent, mut answered) = (Sent::new(), Received::new());
    let (mut received, mut replied) = (Received::new(), Sent::new());
    let [mut left, mut right] = Turns::both(handover);
    let once = |done: Result<Done, Wrong>, checksum: &mut u64| {
        done.map(|done| *checksum = checksum.wrapping_add(done.checksum))
    };
    Ends::agreeing(
        move |slice| {
            let mut checksum = 0;
            left.begin(slice.count);
            for _ in 0..slice.count {
                left.give();
                sent.each(1, &mut ask);
                let answer = answered.each(1, &mut answer);
                left.taken();
                once(answer, &mut checksum)?;
            }
            Ok(left.done(slice.count, checksum))
        },
        move |slice| {
            let mut checksum = 0;
            right.begin(slice.count);
            for _ in 0..slice.count {
                let request = received.each(1, &mut request);
                right.taken();
                once(request, &mut checksum)?;
                right.give();
                replied.each(1, &mut reply);
            }
            Ok(right.done(slice.count, checksum))
        },
    )
}

/// Asks until there is an answer.
#[inline]
pub fn spin_until<T>(attempt: impl FnMut() -> Option<T>) -> T {
    Idle::Spins.until(attempt)
}

/// Waits a moment after a call that moved nothing.
#[inline]
fn progress(moved: usize) -> usize {
    if moved == 0 {
        spin_loop();
    }
    moved
}

/// A closure that can be called once, in the form that `get_or_insert_with` takes again and again.
fn once<T>(make: impl FnOnce() -> T) -> impl FnMut() -> T {
    let mut make = Some(make);
    move || make.take().expect("called once")()
}
