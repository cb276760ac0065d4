//! [`Line`]: by what one side of a ring tells the other one, and [`Watch`]: by what it is told.

use core::mem::MaybeUninit;

use ipc_core::Errno;
use ipc_core::identity::{Liveness, ProcessId};
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use crate::ring::role::{Mortal, Party, Role};

/// What makes a ring [pollable](super): two sockets that are connected to each other, one for each side.
///
/// They go wherever the ring goes. A ring in a parcel brings them along, a forked child has them; otherwise they are sent beside
/// the ring's own descriptor. From the first attempt on to take an end of it, a ring is either pollable, or not, for ever.
///
/// A process needs the socket of the end that it takes, and not the other one. Among processes that trust each other all may
/// have both. Where they do not, whoever makes the ring keeps one, and gives the other one away:
///
/// ```
/// use ipc_shm::ring::bytes::Ring;
/// use ipc_shm::ring::pollable::{Pollable, Sockets};
///
/// let Sockets { producer: theirs, consumer: ours } = Sockets::pair()?;
/// let ring = Ring::create(4096)?;
/// let memory = ring.as_fd().expect("a region of its own").try_clone_to_owned()?; // And `theirs`: to be sent to the plugin.
/// let ring = ring.with_sockets(Sockets { producer: None, consumer: ours });
/// let mut from_plugin = Pollable::new(ring.untrusted_consumer()?)?;
///
/// // In the plugin.
/// let ring = Ring::from_fd(memory)?.with_sockets(Sockets { producer: theirs, consumer: None });
/// ring.producer()?.push(1, b"draw")?;
/// # assert_eq!(from_plugin.pop_vec()?, (1, b"draw".to_vec()));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Sockets {
    /// The producer's.
    pub producer: Option<OwnedFd>,
    /// The consumer's.
    pub consumer: Option<OwnedFd>,
}

static_assertions::assert_impl_all!(Sockets: Send, Sync);

impl Sockets {
    /// A new pair.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn pair() -> Result<Self, Errno> {
        let (producer, consumer) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { producer: Some(producer), consumer: Some(consumer) })
    }

    /// The same once more.
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn try_clone(&self) -> Result<Self, Errno> {
        let copy = |socket: &Option<OwnedFd>| socket.as_ref().map(again).transpose();
        Ok(Self { producer: copy(&self.producer)?, consumer: copy(&self.consumer)? })
    }

    /// Whether there are none.
    pub(in crate::ring) const fn are_none(&self) -> bool {
        self.producer.is_none() && self.consumer.is_none()
    }

    /// The line of one side's end; `None` if this has no socket for it.
    pub(in crate::ring) fn line(&self, of: Party) -> Result<Option<Line>, Errno> {
        let socket = match of {
            Party::Producer => &self.producer,
            Party::Consumer => &self.consumer,
        };
        socket.as_ref().map(|socket| again(socket).map(Line)).transpose()
    }
}

fn again(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(socket, 0)
}

/// One side's socket. What is sent by it wakes the other side; what comes wakes this one.
#[derive(Debug)]
pub struct Line(OwnedFd);

impl Line {
    /// Makes the other side's descriptor readable. Never waits. `false`: there was no memory for that.
    #[cold]
    #[inline(never)]
    pub(in crate::ring) fn ring(&self) -> bool {
        // A socket that is full is readable at the other end already; and if nobody has that, nobody need be told.
        let sent = send(&self.0, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        !matches!(sent, Err(Errno::NOBUFS | Errno::NOMEM))
    }
}

/// What an end in an event loop is told by: its line, and the death of the process that has the other end.
#[derive(Debug)]
pub struct Watch {
    epoll: OwnedFd,
    watched: Option<(ProcessId, OwnedFd)>,
}

const LINE: u64 = 0;
const DEATH: u64 = 1;

/// What a look at the descriptors said.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ring) struct Noticed {
    /// Nobody has the other socket any more.
    pub(in crate::ring) hung_up: bool,
    /// The process that was watched is dead.
    pub(in crate::ring) died: bool,
}

/// What will be told of the other side's death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring) enum Death {
    /// All that there is to be told.
    Told,
    /// Nothing.
    Untold,
    /// It is dead.
    Past,
}

impl Watch {
    pub(super) fn new(line: &Line) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &line.0, epoll::EventData::new_u64(LINE), epoll::EventFlags::IN)?;
        Ok(Self { epoll, watched: None })
    }

    /// Takes what there is, so that the descriptor is not readable any more.
    pub(in crate::ring) fn drain(&mut self, line: &Line) -> Result<Noticed, Errno> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = [MaybeUninit::uninit(); 2];
        let (events, _) = epoll::wait(&self.epoll, &mut events, Some(&now))?;
        let mut noticed = Noticed::default();
        for event in events {
            match event.data.u64() {
                DEATH => {
                    noticed.died = true;
                    // It stays readable for ever; what there is to know is known now.
                    unwatch(&self.epoll, &mut self.watched);
                }
                // More than a few bytes come only from somebody who means to. Then it is told again.
                _ => match recv(&line.0, &mut [0; 64], RecvFlags::DONTWAIT) {
                    Ok((_, 0)) | Err(Errno::CONNRESET) => noticed.hung_up = true,
                    Ok(_) | Err(Errno::AGAIN) => {}
                    Err(errno) => return Err(errno),
                },
            }
        }
        Ok(noticed)
    }

    /// Watches whoever has the other end now.
    pub(in crate::ring) fn follow(&mut self, other: Role<'_>) -> Death {
        let owner = match other.mortal() {
            Mortal::Process(owner) => owner,
            vacant => {
                unwatch(&self.epoll, &mut self.watched);
                return if vacant == Mortal::Nobody { Death::Told } else { Death::Untold };
            }
        };
        if matches!(self.watched, Some((watched, _)) if watched == owner) {
            return Death::Told;
        }
        unwatch(&self.epoll, &mut self.watched);
        let pidfd = match owner.pidfd() {
            Ok(pidfd) => pidfd,
            Err(Liveness::Dead) => return Death::Past,
            Err(_) => return Death::Untold,
        };
        let (data, flags) = (epoll::EventData::new_u64(DEATH), epoll::EventFlags::IN);
        if epoll::add(&self.epoll, &pidfd, data, flags).is_err() {
            return Death::Untold;
        }
        self.watched = Some((owner, pidfd));
        Death::Told
    }
}

fn unwatch(epoll: &OwnedFd, watched: &mut Option<(ProcessId, OwnedFd)>) {
    if let Some((_, pidfd)) = watched.take() {
        // It is there. (To close it is not enough, where a forked child has a copy.)
        let _ = epoll::delete(epoll, &pidfd);
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}
