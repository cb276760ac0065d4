//! [`Producer`]: the writing end.
//!
//! # Safety
//!
//! A payload is written only if the message that was there before has been released, and before the
//! new one is published: in between, nobody else looks at it. There is one producer: the role word
//! names this process, and the handle is borrowed alone.
#![expect(unsafe_code, reason = "writes payloads that the slot's word makes ours")]

use core::fmt;

use bytemuck::Pod;
use ipc_core::primitive::{Ordering, killed};

use super::cursor::Cursor;
use super::slots::{Keep, RawRing};
use crate::layout::RingHeader;
use crate::ring::role::{Misses, Role};
use crate::ring::{Peer, PushError, RoleError};

/// The writing end of a [`Ring`](super::Ring).
///
/// Dropping it closes the end: the consumer is told once it has popped what is in the ring, and
/// another producer may attach. If this process dies, the same happens as soon as somebody asks the
/// kernel.
pub struct Producer<'r, T: Pod + Send> {
    cursor: Cursor<'r, T>,
    /// The position at which the ring was full when the consumer was last looked at.
    limit: u64,
    /// The ring was found damaged. `limit` is the position from then on.
    corrupt: bool,
    misses: Misses,
}

static_assertions::assert_impl_all!(Producer<'static, u64>: Send, Sync);

impl<'r, T: Pod + Send> Producer<'r, T> {
    pub(super) fn claim(ring: RawRing<T>, keep: Keep<'r, T>) -> Result<Self, RoleError> {
        own(ring.header()).claim()?;
        let Some(published) = ring.published() else {
            own(ring.header()).close();
            return Err(RoleError::Corrupt);
        };
        let cursor = Cursor::new(ring, keep, published);
        Ok(Self { cursor, limit: published, corrupt: false, misses: Misses::default() })
    }

    /// Copies `message` into the next slot, if that is free. Never waits.
    ///
    /// # Errors
    ///
    /// The message comes back in a [`PushError`]. Whether the consumer is gone is only looked at
    /// when the ring is full, and whether it is *dead* only when the ring has been full for a
    /// thousand tries: see [`peer`](Self::peer) for a caller that sleeps between its tries.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::{PushError, spsc::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let mut producer = ring.producer()?;
    /// producer.push(1)?;
    /// assert_eq!(producer.push(2), Err(PushError::Full(2)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn push(&mut self, message: T) -> Result<(), PushError<T>> {
        if self.cursor.position() == self.limit {
            match self.refill() {
                Ok(()) => {}
                Err(Refused::Full) => return Err(PushError::Full(message)),
                Err(Refused::Disconnected) => return Err(PushError::Disconnected(message)),
                Err(Refused::Corrupt) => return Err(PushError::Corrupt(message)),
            }
        }
        let (slot, number) = self.cursor.next();
        self.cursor.advance();
        // SAFETY: the cursor keeps its slots alive.
        let slot = unsafe { slot.as_ref() };
        // SAFETY: below the limit, so the last message here has been released and the payload is
        // ours.
        slot.payload.with_mut(|payload| unsafe { payload.write(message) });
        // SYNC: message published (Acquire in `Consumer::pop`).
        slot.sequence.store(number, Ordering::Release);
        Ok(())
    }

    /// How things stand with the consumer. Asks the kernel, about 5 µs.
    ///
    /// It may change at any moment, except that what is dead stays dead until another
    /// process attaches.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::ProcessId;
    /// use ipc_shm::ring::{Peer, spsc::Ring};
    ///
    /// let ring = Ring::<u64>::create(1)?;
    /// let producer = ring.producer()?;
    /// assert_eq!(producer.peer(), Peer::Absent);
    /// let consumer = ring.consumer()?;
    /// assert_eq!(producer.peer(), Peer::Alive(ProcessId::current()?));
    /// drop(consumer);
    /// assert_eq!(producer.peer(), Peer::Closed);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn peer(&self) -> Peer {
        other(self.cursor.header()).peer()
    }

    /// How many messages the ring can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cursor.capacity() as usize
    }

    /// The limit is reached: looks how far the consumer is by now.
    #[cold]
    fn refill(&mut self) -> Result<(), Refused> {
        if self.corrupt {
            return Err(Refused::Corrupt);
        }
        let (published, capacity) = (self.cursor.position(), self.cursor.capacity());
        // SYNC: message released (Release in `Consumer::pop`).
        let released = self.cursor.header().head.load(Ordering::Acquire);
        let held = published.wrapping_sub(released);
        if held < capacity {
            self.limit = released.wrapping_add(capacity);
            return Ok(());
        }
        if held > capacity {
            self.corrupt = true;
            return Err(Refused::Corrupt);
        }
        let role = other(self.cursor.header());
        let gone = self.misses.peer_is_gone(published, role);
        Err(if gone { Refused::Disconnected } else { Refused::Full })
    }
}

/// Why there is no room.
enum Refused {
    Full,
    Disconnected,
    Corrupt,
}

fn own(header: &RingHeader) -> Role<'_> {
    Role { word: &header.roles.producer, domain: &header.roles.domain }
}

fn other(header: &RingHeader) -> Role<'_> {
    Role { word: &header.roles.consumer, domain: &header.roles.domain }
}

impl<T: Pod + Send> Drop for Producer<'_, T> {
    fn drop(&mut self) {
        if !killed() {
            own(self.cursor.header()).close();
        }
    }
}

impl<T: Pod + Send> fmt::Debug for Producer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
