//! The calls that wait, as users see them: the same names on every ring, and the same words about them.
//!
//! A ring has one call that waits until some time. The forms of it differ in what that time is.

/// The four forms of the call `$by`, which waits while there is no `$missing`. The docs of the first come with it; those of
/// the second may end with an example.
macro_rules! forms {
    (
        $(#[$docs:meta])*
        $wait:ident($($argument:ident: $type:ty),*) -> $result:ty,
        $(#[$example:meta])*
        $timeout:ident, $deadline:ident, $interruptible:ident: $by:ident,
        $error:ident, no $missing:literal
    ) => {
        $(#[$docs])*
        #[inline]
        pub fn $wait(&mut self, $($argument: $type),*) -> $result {
            self.$deadline($($argument,)* ipc_core::clock::Deadline::FAR)
        }

        #[doc = concat!("As [`", stringify!($wait), "`](Self::", stringify!($wait), "), for at most `timeout`.")]
        ///
        /// # Errors
        ///
        #[doc = concat!("Also [`", stringify!($error), "::TimedOut`]. Signals neither lengthen nor shorten the wait.")]
        $(#[$example])*
        #[inline]
        pub fn $timeout(
            &mut self,
            $($argument: $type,)*
            timeout: core::time::Duration,
        ) -> $result {
            self.$by($($argument,)* || ipc_core::clock::Deadline::after(timeout).into())
        }

        #[doc = concat!("As [`", stringify!($timeout), "`](Self::", stringify!($timeout), "), until `deadline`.")]
        ///
        /// # Errors
        ///
        #[doc = concat!("As [`", stringify!($timeout), "`](Self::", stringify!($timeout), ").")]
        #[inline]
        pub fn $deadline(
            &mut self,
            $($argument: $type,)*
            deadline: ipc_core::clock::Deadline,
        ) -> $result {
            self.$by($($argument,)* || deadline.into())
        }

        #[doc = concat!("As [`", stringify!($deadline), "`](Self::", stringify!($deadline), "), and")]
        /// [a signal](ipc_sync#signals) ends it, too.
        ///
        /// # Errors
        ///
        #[doc = concat!("Also [`", stringify!($error), "::Os`] with `EINTR`, if there is still no ", $missing, ".")]
        #[inline]
        pub fn $interruptible(
            &mut self,
            $($argument: $type,)*
            deadline: ipc_core::clock::Deadline,
        ) -> $result {
            self.$by($($argument,)* || ipc_core::os::Until::interruptible(deadline))
        }
    };
}

/// The calls that wait of the ring of slots in module `$ring`. `$sleep` is what an end does that has found nothing to do.
macro_rules! slot_forms {
    ($ring:ident, $sleep:expr) => {
        impl<T: Pod + Send, M: Trust> Producer<'_, T, M> {
            forms! {
                /// As [`push`](Self::push), and waits while the ring is full.
                ///
                /// It spins for some microseconds at most, and then sleeps: see [the module](crate::ring#waiting). If the
                /// consumer dies meanwhile, this is told within 64 ms after the kernel knows.
                ///
                /// # Errors
                ///
                /// The message comes back in a [`PushWaitError`], not with `TimedOut`. While there is no consumer because
                /// none has attached yet, this waits for one.
                ///
                /// # Examples
                ///
                /// ```
                #[doc = concat!("use ipc_shm::ring::", stringify!($ring), "::Ring;")]
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
                push_wait(message: T) -> Result<(), PushWaitError<T>>,
                ///
                /// # Examples
                ///
                /// ```
                /// use std::time::Duration;
                #[doc = concat!("use ipc_shm::ring::{PushWaitError, ", stringify!($ring), "::Ring};")]
                ///
                /// let ring = Ring::<u64>::create(1)?;
                /// let mut producer = ring.producer()?;
                /// producer.push_timeout(1, Duration::ZERO)?;
                /// let refused = producer.push_timeout(2, Duration::from_millis(1));
                /// assert_eq!(refused, Err(PushWaitError::TimedOut(2)));
                /// # Ok::<(), Box<dyn core::error::Error>>(())
                /// ```
                push_timeout, push_deadline, push_interruptible: push_until,
                PushWaitError, no "room"
            }

            #[inline]
            fn push_until(
                &mut self,
                message: T,
                until: impl FnOnce() -> Until,
            ) -> Result<(), PushWaitError<T>> {
                waiting::push_wait(self, message, until, $sleep, Self::push)
            }
        }

        impl<T: Pod + Send, M: Trust> Consumer<'_, T, M> {
            forms! {
                /// As [`pop`](Self::pop), and waits while the ring is empty.
                ///
                /// It spins for some microseconds at most, and then sleeps: see [the module](crate::ring#waiting). If the
                /// producer dies meanwhile, this is told within 64 ms after the kernel knows.
                ///
                /// # Errors
                ///
                /// [`PopWaitError`], not with `TimedOut`. While there is no producer because none has attached yet, this
                /// waits for one.
                ///
                /// # Examples
                ///
                /// ```
                /// use ipc_core::process::fork_fn;
                #[doc = concat!("use ipc_shm::ring::{PopWaitError, ", stringify!($ring), "::Ring};")]
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
                pop_wait() -> Result<T, PopWaitError>,
                ///
                /// # Examples
                ///
                /// ```
                /// use std::time::Duration;
                #[doc = concat!("use ipc_shm::ring::{PopWaitError, ", stringify!($ring), "::Ring};")]
                ///
                /// let mut consumer = Ring::<u64>::create(1)?.consumer()?;
                /// let nothing = consumer.pop_timeout(Duration::from_millis(1));
                /// assert_eq!(nothing, Err(PopWaitError::TimedOut));
                /// # Ok::<(), Box<dyn core::error::Error>>(())
                /// ```
                pop_timeout, pop_deadline, pop_interruptible: pop_until,
                PopWaitError, no "message"
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
                waiting::pop_wait(self, until, $sleep, Self::pop)
            }
        }
    };
}

pub(in crate::ring) use {forms, slot_forms};
