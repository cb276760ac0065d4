//! The calls that wait.

use ipc_core::clock::Deadline;
use ipc_core::os::Until;

use super::{Consumer, PopError, PopWaitError, Producer, PushError, PushWaitError, record};
use crate::ring::Trust;
use crate::ring::waiting::{forms, repeat};

impl<M: Trust> Producer<'_, M> {
    forms! {
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
        push_wait(tag: u32, bytes: &[u8]) -> Result<(), PushWaitError>,
        push_timeout, push_deadline, push_interruptible: push_until,
        PushWaitError, no "room"
    }

    /// Waits until there is room for a record of `max_len` bytes, or until `deadline`: before [`reserve`](Self::reserve) or
    /// [`push_vectored`](Self::push_vectored).
    ///
    /// Room that is there by then is there in the next call as well, unless the consumer is not to be trusted.
    ///
    /// # Errors
    ///
    /// As [`push_deadline`](Self::push_deadline).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::clock::Deadline;
    /// use ipc_shm::ring::bytes::{PushWaitError, Ring};
    ///
    /// let ring = Ring::create(64)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// producer.wait(56, Deadline::FAR)?;
    /// producer.reserve(56)?.commit(7); // As long as nothing was written: 8 bytes with its header.
    /// assert_eq!(producer.wait(56, Deadline::now()), Err(PushWaitError::TimedOut));
    /// assert_eq!(producer.wait(48, Deadline::now()), Ok(()));
    /// assert_eq!(producer.wait(57, Deadline::FAR), Err(PushWaitError::TooLong { len: 57, max: 56 }));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait(&mut self, max_len: usize, deadline: Deadline) -> Result<(), PushWaitError> {
        self.ready_by(max_len, deadline.into())
    }

    /// As [`wait`](Self::wait), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// As [`push_interruptible`](Self::push_interruptible).
    pub fn wait_interruptible(
        &mut self,
        max_len: usize,
        deadline: Deadline,
    ) -> Result<(), PushWaitError> {
        self.ready_by(max_len, Until::interruptible(deadline))
    }

    fn ready_by(&mut self, len: usize, until: Until) -> Result<(), PushWaitError> {
        let words = self.words(len)?;
        Ok(self.end.ready_by(words, until)?)
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
    forms! {
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
        pop_wait(buffer: &mut [u8]) -> Result<(u32, usize), PopWaitError>,
        pop_timeout, pop_deadline, pop_interruptible: pop_until,
        PopWaitError, no "record"
    }

    /// Waits until there is a record, or until `deadline`: before [`peek`](Self::peek),
    /// [`batch`](Self::batch) or `pop_vec`.
    ///
    /// What is there by then is there in the next call as well, unless the producer is not to be trusted.
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
        Ok(self.end.ready_by(1, deadline.into())?)
    }

    /// As [`wait`](Self::wait), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// As [`pop_interruptible`](Self::pop_interruptible).
    pub fn wait_interruptible(&mut self, deadline: Deadline) -> Result<(), PopWaitError> {
        Ok(self.end.ready_by(1, Until::interruptible(deadline))?)
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
