//! The calls that wait.

use core::time::Duration;

use bytemuck::Pod;
use ipc_core::clock::Deadline;
use ipc_core::os::Until;

use super::{Consumer, Producer};
use crate::ring::waiting;
use crate::ring::{PopWaitError, PushWaitError, Trust};

impl<T: Pod + Send, M: Trust> Producer<'_, T, M> {
    /// As [`push`](Self::push), and waits while the ring is full.
    ///
    /// It spins for some microseconds at most, and then sleeps: see [the module](crate::ring#waiting). If the consumer dies
    /// meanwhile, this is told within 64 ms after the kernel knows.
    ///
    /// # Errors
    ///
    /// The message comes back in a [`PushWaitError`], not with `TimedOut`. While there is no consumer because none has
    /// attached yet, this waits for one.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::indexed::Ring;
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// let sum = std::thread::spawn(move || consumer.messages().map(Result::unwrap).sum::<u64>());
    /// for number in 0..10 {
    ///     producer.push_wait(number)?;
    /// }
    /// drop(producer);
    /// assert_eq!(sum.join().unwrap(), 45);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_wait(&mut self, message: T) -> Result<(), PushWaitError<T>> {
        self.push_deadline(message, Deadline::FAR)
    }

    /// As [`push_wait`](Self::push_wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`PushWaitError::TimedOut`]. Signals neither lengthen nor shorten the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_shm::ring::{PushWaitError, indexed::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let mut producer = ring.producer()?;
    /// producer.push_timeout(1, Duration::ZERO)?;
    /// let refused = producer.push_timeout(2, Duration::from_millis(1));
    /// assert_eq!(refused, Err(PushWaitError::TimedOut(2)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push_timeout(&mut self, message: T, timeout: Duration) -> Result<(), PushWaitError<T>> {
        self.push_until(message, || Deadline::after(timeout).into())
    }

    /// As [`push_timeout`](Self::push_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`push_timeout`](Self::push_timeout).
    #[inline]
    pub fn push_deadline(
        &mut self,
        message: T,
        deadline: Deadline,
    ) -> Result<(), PushWaitError<T>> {
        self.push_until(message, || deadline.into())
    }

    /// As [`push_deadline`](Self::push_deadline), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`PushWaitError::Os`] with `EINTR`, if there is still no room.
    #[inline]
    pub fn push_interruptible(
        &mut self,
        message: T,
        deadline: Deadline,
    ) -> Result<(), PushWaitError<T>> {
        self.push_until(message, || Until::interruptible(deadline))
    }

    #[inline]
    fn push_until(
        &mut self,
        message: T,
        until: impl FnOnce() -> Until,
    ) -> Result<(), PushWaitError<T>> {
        waiting::push_wait(self, message, until, |this, until| this.end.wait(1, until), Self::push)
    }
}

impl<T: Pod + Send, M: Trust> Consumer<'_, T, M> {
    /// As [`pop`](Self::pop), and waits while the ring is empty.
    ///
    /// It spins for some microseconds at most, and then sleeps: see [the module](crate::ring#waiting). If the producer dies
    /// meanwhile, this is told within 64 ms after the kernel knows.
    ///
    /// # Errors
    ///
    /// [`PopWaitError`], not with `TimedOut`. While there is no producer because none has attached yet, this waits for
    /// one.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::process::fork_fn;
    /// use ipc_shm::ring::{PopWaitError, indexed::Ring};
    ///
    /// let ring = Ring::<u64>::create(8)?;
    /// let mut child = fork_fn(|| match ring.producer() {
    ///     Ok(mut producer) => producer.push(7).map_or(1, |()| 0),
    ///     Err(_) => 1,
    /// })?;
    /// let mut consumer = ring.consumer()?;
    /// assert_eq!(consumer.pop_wait(), Ok(7));
    /// assert_eq!(consumer.pop_wait(), Err(PopWaitError::Disconnected));
    /// child.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop_wait(&mut self) -> Result<T, PopWaitError> {
        self.pop_deadline(Deadline::FAR)
    }

    /// As [`pop_wait`](Self::pop_wait), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// Also [`PopWaitError::TimedOut`]. Signals neither lengthen nor shorten the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipc_shm::ring::{PopWaitError, indexed::Ring};
    ///
    /// let mut consumer = Ring::<u64>::create(1)?.consumer()?;
    /// let nothing = consumer.pop_timeout(Duration::from_millis(1));
    /// assert_eq!(nothing, Err(PopWaitError::TimedOut));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn pop_timeout(&mut self, timeout: Duration) -> Result<T, PopWaitError> {
        self.pop_until(|| Deadline::after(timeout).into())
    }

    /// As [`pop_timeout`](Self::pop_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`pop_timeout`](Self::pop_timeout).
    #[inline]
    pub fn pop_deadline(&mut self, deadline: Deadline) -> Result<T, PopWaitError> {
        self.pop_until(|| deadline.into())
    }

    /// As [`pop_deadline`](Self::pop_deadline), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// Also [`PopWaitError::Os`] with `EINTR`, if there is still no message.
    #[inline]
    pub fn pop_interruptible(&mut self, deadline: Deadline) -> Result<T, PopWaitError> {
        self.pop_until(|| Until::interruptible(deadline))
    }

    /// The messages as they come, until the producer is gone. It waits for each.
    ///
    /// An error that is not [`Disconnected`](PopWaitError::Disconnected) is its last item.
    ///
    /// # Examples
    ///
    /// See [`push_wait`](Producer::push_wait).
    pub fn messages(&mut self) -> impl Iterator<Item = Result<T, PopWaitError>> {
        waiting::messages(move || self.pop_wait())
    }

    #[inline]
    fn pop_until(&mut self, until: impl FnOnce() -> Until) -> Result<T, PopWaitError> {
        waiting::pop_wait(self, until, |this, until| this.end.wait(1, until), Self::pop)
    }
}
