//! The calls that wait.

use core::time::Duration;

use ipc_core::clock::Deadline;
use ipc_core::os::Until;

use super::{Consumer, PopError, PopWaitError, Producer, PushError, PushWaitError, record};
use crate::ring::Trust;
use crate::ring::waiting::repeat;

impl<M: Trust> Producer<'_, M> {
    /// As [`push`](Self::push), and waits while there is no room.
    ///
    /// It spins for some microseconds at most, and then sleeps: see [the module](crate::ring#waiting). If the consumer dies
    /// meanwhile, this is told within 64 ms after the kernel knows.
    ///
    /// # Errors
    ///
    /// [`PushWaitError`], not `TimedOut`, and nothing was pushed. While there is no consumer because none has attached
    /// yet, this waits for one.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::bytes::{PopWaitError, Ring};
    ///
    /// let ring = Ring::create(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// let letters = std::thread::spawn(move || {
    ///     let (mut buffer, mut letters) = ([0; 64], 0);
    ///     loop {
    ///         match consumer.pop_wait(&mut buffer) {
    ///             Ok((_, len)) => letters += len,
    ///             Err(PopWaitError::Disconnected) => return letters,
    ///             Err(error) => panic!("{error}"),
    ///         }
    ///     }
    /// });
    /// for _ in 0..10 {
    ///     producer.push_wait(0, b"forty bytes, and a header of eight more.")?;
    /// }
    /// drop(producer);
    /// assert_eq!(letters.join().unwrap(), 400);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_wait(&mut self, tag: u32, bytes: &[u8]) -> Result<(), PushWaitError> {
        self.push_deadline(tag, bytes, Deadline::FAR)
    }

    /// As [`push_wait`](Self::push_wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`PushWaitError::TimedOut`]. Signals neither lengthen nor shorten the wait.
    #[inline]
    pub fn push_timeout(
        &mut self,
        tag: u32,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), PushWaitError> {
        self.push_until(tag, bytes, || Deadline::after(timeout).into())
    }

    /// As [`push_timeout`](Self::push_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`push_timeout`](Self::push_timeout).
    #[inline]
    pub fn push_deadline(
        &mut self,
        tag: u32,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), PushWaitError> {
        self.push_until(tag, bytes, || deadline.into())
    }

    /// As [`push_deadline`](Self::push_deadline), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`PushWaitError::Os`] with `EINTR`, if there is still no room.
    #[inline]
    pub fn push_interruptible(
        &mut self,
        tag: u32,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), PushWaitError> {
        self.push_until(tag, bytes, || Until::interruptible(deadline))
    }

    #[inline]
    fn push_until(
        &mut self,
        tag: u32,
        bytes: &[u8],
        until: impl FnOnce() -> Until,
    ) -> Result<(), PushWaitError> {
        let answer = |this: &mut Self| match this.push(tag, bytes) {
            Err(PushError::Full) => None,
            pushed => Some(pushed),
        };
        // Who is refused for want of room is not too long.
        let words = record::words(bytes.len()) as u64;
        let pushed = match answer(self) {
            Some(pushed) => pushed,
            None => repeat(self, until(), |this, until| this.end.wait(words, until), answer)?,
        };
        pushed.map_err(PushWaitError::from)
    }
}

impl<M: Trust> Consumer<'_, M> {
    /// As [`pop`](Self::pop), and waits while the ring is empty.
    ///
    /// It spins for some microseconds at most, and then sleeps: see [the module](crate::ring#waiting). If the producer dies
    /// meanwhile, this is told within 64 ms after the kernel knows.
    ///
    /// # Errors
    ///
    /// [`PopWaitError`], not `TimedOut`. While there is no producer because none has attached yet, this waits for one.
    ///
    /// # Examples
    ///
    /// See [`push_wait`](Producer::push_wait).
    #[inline]
    pub fn pop_wait(&mut self, buffer: &mut [u8]) -> Result<(u32, usize), PopWaitError> {
        self.pop_deadline(buffer, Deadline::FAR)
    }

    /// As [`pop_wait`](Self::pop_wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`PopWaitError::TimedOut`]. Signals neither lengthen nor shorten the wait.
    #[inline]
    pub fn pop_timeout(
        &mut self,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<(u32, usize), PopWaitError> {
        self.pop_until(buffer, || Deadline::after(timeout).into())
    }

    /// As [`pop_timeout`](Self::pop_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`pop_timeout`](Self::pop_timeout).
    #[inline]
    pub fn pop_deadline(
        &mut self,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> Result<(u32, usize), PopWaitError> {
        self.pop_until(buffer, || deadline.into())
    }

    /// As [`pop_deadline`](Self::pop_deadline), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`PopWaitError::Os`] with `EINTR`, if there is still no record.
    #[inline]
    pub fn pop_interruptible(
        &mut self,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> Result<(u32, usize), PopWaitError> {
        self.pop_until(buffer, || Until::interruptible(deadline))
    }

    /// Waits until there is a record, or until `deadline`: before [`peek`](Self::peek), [`batch`](Self::batch) or `pop_vec`.
    ///
    /// # Errors
    ///
    /// As [`pop_deadline`](Self::pop_deadline).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::clock::Deadline;
    /// use ipc_shm::ring::bytes::Ring;
    ///
    /// let ring = Ring::create(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.push(7, b"seven")?;
    /// consumer.wait(Deadline::FAR)?;
    /// assert_eq!(consumer.peek()?.record().len(), 5);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait(&mut self, deadline: Deadline) -> Result<(), PopWaitError> {
        Ok(self.end.wait(1, deadline.into())?)
    }

    #[inline]
    fn pop_until(
        &mut self,
        buffer: &mut [u8],
        until: impl FnOnce() -> Until,
    ) -> Result<(u32, usize), PopWaitError> {
        let mut answer = |this: &mut Self| match this.pop(buffer) {
            Err(PopError::Empty) => None,
            popped => Some(popped),
        };
        let popped = match answer(self) {
            Some(popped) => popped,
            None => repeat(self, until(), |this, until| this.end.wait(1, until), answer)?,
        };
        popped.map_err(PopWaitError::from)
    }
}
