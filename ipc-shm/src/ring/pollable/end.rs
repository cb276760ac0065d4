//! [`Pollable`]: an end as a descriptor.
//!
//! # Safety
//!
//! An end keeps the roles of its ring alive, as [`Paired::roles`] promises.
#![expect(unsafe_code, reason = "an end is borrowed beside the roles that it keeps alive")]

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

use ipc_core::Errno;
use ipc_core::primitive::{Ordering, fence};
#[cfg(not(loom))]
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::line::{Death, Line, Watch};
use crate::ring::error::Refused;
use crate::ring::waiting::{Paired, order};
use crate::ring::{Trust, bytes};

/// An end of a ring as a descriptor for an event loop: see [the module](super).
///
/// `E` is a producer or a consumer of any of the rings, and this can be used as such. The descriptor is of interest when it
/// is readable, and after [`arm`](Self::arm). It is no use to anybody else: do not read it, and do not send it to other
/// processes. It is that of this end: two ends that change places (`mem::swap`) are not told of what happens.
pub struct Pollable<E> {
    end: E,
    watch: Watch,
}

static_assertions::assert_impl_all!(Pollable<bytes::Producer<'static>>: Send, Sync);

impl<E: End> Pollable<E> {
    /// The end with a descriptor.
    ///
    /// # Errors
    ///
    /// [`PollableError`]; then the end is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::pollable::{Pollable, PollableError, Sockets};
    /// use ipc_shm::ring::spsc::Ring;
    ///
    /// let error = Pollable::new(Ring::<u64>::create(8)?.consumer()?).unwrap_err();
    /// assert_eq!(error, PollableError::NoSocket);
    ///
    /// let ring = Ring::<u64>::create(8)?.with_sockets(Sockets::pair()?);
    /// let consumer = Pollable::new(ring.consumer()?)?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn new(end: E) -> Result<Self, PollableError> {
        let line = end.line().ok_or(PollableError::NoSocket)?;
        let watch = Watch::new(line).map_err(PollableError::Os)?;
        Ok(Self { end, watch })
    }

    /// Prepares for a sleep, and says whether, and how, to sleep.
    ///
    /// Call it when [`pop`](crate::ring::spsc::Consumer::pop) has said `Empty`, or `push` has said `Full`, and just before the descriptor is
    /// polled. It holds for one sleep: after that, and after anything else that was done with the end, arm again.
    ///
    /// It takes four system calls, and two or three more when another process has got the other end.
    ///
    /// # Errors
    ///
    /// [`ArmError`]; the descriptor tells nothing then.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::pollable::{Armed, Pollable, Sockets};
    /// use ipc_shm::ring::spsc::Ring;
    ///
    /// let ring = Ring::<u64>::create(1)?.with_sockets(Sockets::pair()?);
    /// let mut producer = Pollable::new(ring.producer()?)?;
    /// let mut consumer = Pollable::new(ring.consumer()?)?;
    /// producer.push(1)?;
    /// assert_eq!(consumer.arm(), Ok(Armed::Ready));
    /// assert!(producer.arm() != Ok(Armed::Ready), "it is full");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn arm(&mut self) -> Result<Armed, ArmError> {
        self.end.arm(1, &mut self.watch)
    }

    /// The end without its descriptor.
    pub fn into_inner(self) -> E {
        self.end
    }

    /// For models: sleeps until the descriptor is readable.
    #[cfg(loom)]
    #[doc(hidden)]
    pub fn poll(&self) {
        self.watch.poll(self.end.line().expect("checked when it was made"));
    }
}

impl<M: Trust> Pollable<bytes::Producer<'_, M>> {
    /// As [`arm`](Self::arm), for room for a record of `len` bytes. (`arm` itself waits for any room, of which there may be too
    /// little.)
    ///
    /// # Errors
    ///
    /// As [`arm`](Self::arm).
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_shm::ring::bytes::Ring;
    /// use ipc_shm::ring::pollable::{Armed, Pollable, Sockets};
    ///
    /// let ring = Ring::create(64)?.with_sockets(Sockets::pair()?);
    /// let mut producer = Pollable::new(ring.producer()?)?;
    /// producer.push(1, b"forty bytes, and a header of eight more.")?;
    /// assert_eq!(producer.arm_for(8), Ok(Armed::Ready));
    /// assert!(producer.arm_for(9) != Ok(Armed::Ready), "there are not 9 bytes left beside their header");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn arm_for(&mut self, len: usize) -> Result<Armed, ArmError> {
        match self.end.words(len).ok() {
            Some(words) => self.end.arm(words, &mut self.watch),
            // It never fits, as the push will say.
            None => Ok(Armed::Ready),
        }
    }
}

impl<E> Deref for Pollable<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.end
    }
}

impl<E> DerefMut for Pollable<E> {
    fn deref_mut(&mut self) -> &mut E {
        &mut self.end
    }
}

#[cfg(not(loom))]
impl<E> AsFd for Pollable<E> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

#[cfg(not(loom))]
impl<E> AsRawFd for Pollable<E> {
    fn as_raw_fd(&self) -> RawFd {
        self.watch.as_raw_fd()
    }
}

impl<E: fmt::Debug> fmt::Debug for Pollable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pollable").field(&self.end).finish()
    }
}

/// What to do after [`Pollable::arm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "whoever does not look may sleep for ever"]
pub enum Armed {
    /// Do not sleep: there is something to do, or to be told by `push` or `pop`.
    Ready,
    /// Sleep: the descriptor becomes readable when there is.
    Sleep,
    /// Sleep for 64 ms at most, and arm again: not everything [is told](super#what-is-not-told).
    SleepBriefly,
}

impl Armed {
    /// How long to poll the descriptor; `None` is for ever.
    ///
    /// # Examples
    ///
    /// See [the module](super).
    #[must_use]
    pub const fn timeout(self) -> Option<Duration> {
        match self {
            Self::Ready => Some(Duration::ZERO),
            Self::Sleep => None,
            // As long as the slices of those who sleep on a futex.
            Self::SleepBriefly => Some(Duration::from_millis(64)),
        }
    }
}

/// Why an end could not be armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArmError {
    /// Nobody has the other side's socket any more, so nobody can ever tell anything. There is nothing left to do.
    HungUp,
    /// The kernel refuses a look at the descriptors.
    Os(Errno),
}

static_assertions::assert_impl_all!(ArmError: Send, Sync);

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HungUp => f.write_str("nobody has the socket of the ring's other side any more"),
            Self::Os(errno) => write!(f, "cannot look at the descriptors of a ring's end: {errno}"),
        }
    }
}

impl core::error::Error for ArmError {}

/// Why an end has no descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollableError {
    /// Its ring has no [sockets](super::Sockets).
    NoSocket,
    /// There is no `epoll` to be had: no memory, or no descriptors.
    Os(Errno),
}

static_assertions::assert_impl_all!(PollableError: Send, Sync);

impl fmt::Display for PollableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket => f.write_str("a ring without sockets cannot be polled"),
            Self::Os(errno) => write!(f, "no descriptor for a ring's end: {errno}"),
        }
    }
}

impl core::error::Error for PollableError {}

/// An end of a ring: a producer or a consumer of any of them, trusting or not.
///
/// For functions of yours that take any. Nobody else can implement it.
pub trait End: Arms {}

impl<E: Arms> End for E {}

/// What an end does for [`Pollable`].
pub trait Arms {
    /// Its line, if the ring has any.
    fn line(&self) -> Option<&Line>;

    /// See [`arm`]; what there must be is `least` slots.
    fn arm(&mut self, least: u64, watch: &mut Watch) -> Result<Armed, ArmError>;
}

/// Prepares `end` to sleep until `watch` is readable.
pub(in crate::ring) fn arm<W: Paired>(end: &mut W, watch: &mut Watch) -> Result<Armed, ArmError> {
    let roles = end.roles();
    // SAFETY: the end keeps them alive, and is borrowed until this returns.
    let roles = unsafe { roles.as_ref() };
    let commons = &roles.commons;
    let line = end.line().ok_or(ArmError::HungUp)?;
    // First, so that what comes from now on is seen by the looks, or told once more.
    let noticed = watch.drain(line).map_err(ArmError::Os)?;
    if end.look(noticed.died || noticed.hung_up) != Err(Refused::NotYet) {
        return Ok(Armed::Ready);
    }
    if noticed.hung_up {
        return Err(ArmError::HungUp);
    }
    let mut is_ordered = false;
    commons.waiting.fetch_or(W::ME.armed(), Ordering::AcqRel);
    // SYNC: armed (the fence in `Bell::tell_by_line`): the bit comes before the announcement.
    fence(Ordering::SeqCst);
    // If there is no announcement, nothing is ordered either. It stands when the key is gone.
    let _key = W::ME.count(commons).try_prepare_by(|| is_ordered = order(commons));
    for _ in 0..CHANGES {
        let death = watch.follow(W::ME.other().role(roles));
        match (end.look(death == Death::Past), death) {
            // Dead a moment ago, and replaced since.
            (Err(Refused::NotYet), Death::Past) => {}
            (Err(Refused::NotYet), Death::Told) if is_ordered => return Ok(Armed::Sleep),
            (Err(Refused::NotYet), _) => return Ok(Armed::SleepBriefly),
            _ => {
                // Nobody need send a byte for this.
                commons.waiting.fetch_and(!W::ME.armed(), Ordering::Relaxed);
                return Ok(Armed::Ready);
            }
        }
    }
    Ok(Armed::SleepBriefly)
}

/// How often the other end may be found dead and replaced. Only somebody who writes to the word for its own sake does it
/// so often.
const CHANGES: usize = 64;
