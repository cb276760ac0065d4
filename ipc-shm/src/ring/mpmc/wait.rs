//! The calls that wait.

use bytemuck::Pod;
use ipc_core::os::Until;

use super::{Consumer, Lease, Producer};
use crate::ring::error::Refused;
use crate::ring::waiting::{self, forms, slot_forms};
use crate::ring::{PopWaitError, PushWaitError, Trust};

slot_forms!(mpmc, waiting::wait);

impl<'r, T: Pod + Send> Consumer<'r, T> {
    forms! {
        /// As [`lease`](Self::lease), and waits while there is no message.
        ///
        /// # Errors
        ///
        /// As [`pop_wait`](Self::pop_wait).
        ///
        /// # Examples
        ///
        /// A worker may be killed at any instruction, and no task is lost with it:
        ///
        /// ```
        /// use ipc_core::process::fork_fn;
        /// use ipc_shm::ring::mpmc::Ring;
        ///
        /// let ring = Ring::<u64>::create(8)?;
        /// ring.producer()?.push(7)?;
        /// let mut child = fork_fn(|| {
        ///     let mut consumer = ring.consumer().expect("a place");
        ///     let _task = consumer.lease_wait().expect("a task");
        ///     std::process::abort()
        /// })?;
        /// child.wait()?;
        /// let mut consumer = ring.consumer()?;
        /// let task = consumer.lease_wait()?;
        /// assert_eq!(*task, 7);
        /// task.release();
        /// # Ok::<(), Box<dyn core::error::Error>>(())
        /// ```
        lease_wait() -> Result<Lease<'_, 'r, T>, PopWaitError>,
        ///
        /// # Examples
        ///
        /// See [`pop_timeout`](Self::pop_timeout).
        lease_timeout, lease_deadline, lease_interruptible: lease_until,
        PopWaitError, no "message"
    }

    #[inline]
    fn lease_until(
        &mut self,
        until: impl FnOnce() -> Until,
    ) -> Result<Lease<'_, 'r, T>, PopWaitError> {
        let claim = |consumer: &mut Self| consumer.claim().map_err(Refused::pop);
        let position = waiting::pop_wait(self, until, waiting::wait, claim)?;
        Ok(self.lend(position))
    }
}
