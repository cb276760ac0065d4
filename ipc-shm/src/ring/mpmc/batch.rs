//! Slices of messages, one after the other.

use bytemuck::Pod;

use super::{Consumer, Producer};
use crate::ring::{PopError, PushError, Trust};

impl<T: Pod + Send, M: Trust> Producer<'_, T, M> {
    /// Copies as many of `messages` as there is room for, from the first on, and says how many. Never waits.
    ///
    /// Each is published by itself, and other producers' may come between: consumers may have the first before the last is
    /// written, and if this process is killed meanwhile, they get some of them, from the first on.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), if not even the first was pushed. No messages are always pushed.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PushError, mpmc::Ring};
    ///
    /// let ring = Ring::<u64>::create(4)?;
    /// let mut producer = ring.producer()?;
    /// assert_eq!(producer.push_slice(&[1, 2, 3])?, 3);
    /// assert_eq!(producer.push_slice(&[4, 5])?, 1);
    /// assert_eq!(producer.push_slice(&[5]), Err(PushError::Full(())));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_slice(&mut self, messages: &[T]) -> Result<usize, PushError<()>> {
        for (pushed, &message) in messages.iter().enumerate() {
            match self.push(message) {
                Ok(()) => {}
                Err(error) if pushed == 0 => return Err(error.without_message()),
                // What is wrong with the next one is said when it comes first.
                Err(_) => return Ok(pushed),
            }
        }
        Ok(messages.len())
    }
}

impl<T: Pod + Send, M: Trust> Consumer<'_, T, M> {
    /// Copies as many messages out as there are and `messages` has room for, and says how many. Never waits.
    ///
    /// Each is released by itself: if this process is killed meanwhile, those that it has copied, from the first on,
    /// are gone with it, and other consumers get the rest.
    ///
    /// # Errors
    ///
    /// As [`pop`](Self::pop), if there is no message at all. Into no room, none are popped.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PopError, mpmc::Ring};
    ///
    /// let ring = Ring::<u64>::create(4)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push_slice(&[1, 2, 3])?;
    /// let mut messages = [0; 2];
    /// assert_eq!((consumer.pop_slice(&mut messages)?, messages), (2, [1, 2]));
    /// assert_eq!((consumer.pop_slice(&mut messages)?, messages[0]), (1, 3));
    /// assert_eq!(consumer.pop_slice(&mut messages), Err(PopError::Empty));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop_slice(&mut self, messages: &mut [T]) -> Result<usize, PopError> {
        for (popped, place) in messages.iter_mut().enumerate() {
            match self.pop() {
                Ok(message) => *place = message,
                Err(error) if popped == 0 => return Err(error),
                Err(_) => return Ok(popped),
            }
        }
        Ok(messages.len())
    }
}
