//! The calls that wait.

use bytemuck::Pod;
use ipc_core::clock::Deadline;
use ipc_core::os::Until;

use super::{Consumer, Producer};
use crate::ring::waiting::{self, forms, slot_forms};
use crate::ring::{PopWaitError, PushWaitError, Trust};

slot_forms!(indexed, |this, until| this.end.wait(1, until));

impl<T: Pod + Send, M: Trust> Producer<'_, T, M> {
    /// Waits until a slot is free, or until `deadline`: before [`reserve`](Self::reserve) or [`push_slice`](Self::push_slice).
    ///
    /// One that is free by then is free in the next call as well, unless the consumer is not to be trusted.
    ///
    /// # Errors
    ///
    /// As [`push_deadline`](Self::push_deadline).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::clock::Deadline;
    /// use ipc_shm::ring::indexed::Ring;
    ///
    /// let ring = Ring::<u64>::create(2)?;
    /// let (mut producer, mut consumer) = (ring.producer()?, ring.consumer()?);
    /// let received = std::thread::spawn(move || {
    ///     let mut received = vec![];
    ///     while consumer.wait(Deadline::FAR).is_ok() {
    ///         let messages = consumer.peek(2).unwrap();
    ///         let (first, second) = messages.as_slices();
    ///         received.extend([first, second].concat());
    ///         let count = messages.len();
    ///         messages.release(count);
    ///     }
    ///     received
    /// });
    /// for number in 0..100 {
    ///     producer.wait(Deadline::FAR)?;
    ///     let mut slots = producer.reserve(1)?;
    ///     slots.set(0, number);
    ///     slots.commit(1);
    /// }
    /// drop(producer);
    /// assert!(received.join().unwrap().into_iter().eq(0..100));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn wait(&mut self, deadline: Deadline) -> Result<(), PushWaitError<()>> {
        self.ready_by(deadline.into())
    }

    /// As [`wait`](Self::wait), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// As [`push_interruptible`](Self::push_interruptible).
    pub fn wait_interruptible(&mut self, deadline: Deadline) -> Result<(), PushWaitError<()>> {
        self.ready_by(Until::interruptible(deadline))
    }

    fn ready_by(&mut self, until: Until) -> Result<(), PushWaitError<()>> {
        self.end.ready_by(1, until).map_err(|reason| PushWaitError::of(reason, ()))
    }
}

impl<T: Pod + Send, M: Trust> Consumer<'_, T, M> {
    /// Waits until there is a message, or until `deadline`: before [`peek`](Self::peek) or [`pop_slice`](Self::pop_slice).
    ///
    /// What is there by then is there in the next call as well, unless the producer is not to be trusted.
    ///
    /// # Errors
    ///
    /// As [`pop_deadline`](Self::pop_deadline).
    ///
    /// # Examples
    ///
    /// See [`Producer::wait`].
    pub fn wait(&mut self, deadline: Deadline) -> Result<(), PopWaitError> {
        self.end.ready_by(1, deadline.into())
    }

    /// As [`wait`](Self::wait), and [a signal](ipc_sync#signals) ends it, too.
    ///
    /// # Errors
    ///
    /// As [`pop_interruptible`](Self::pop_interruptible).
    pub fn wait_interruptible(&mut self, deadline: Deadline) -> Result<(), PopWaitError> {
        self.end.ready_by(1, Until::interruptible(deadline))
    }
}
