//! Lines for loom: words of the model's kernel, which has neither sockets nor `epoll`.
//!
//! A line that rings is one step, as it is in the kernel. Who sleeps until its descriptor is readable sleeps on its
//! word, and on the process that it watches.

use alloc::sync::Arc;

use ipc_core::Errno;
use ipc_core::clock::Deadline;
use ipc_core::identity::{Liveness, ProcessId};
use ipc_core::primitive::{AtomicU32, Ordering, futex, identity};

use crate::ring::role::{Mortal, Party, Role};

/// What makes a ring pollable.
#[derive(Debug, Default)]
pub struct Sockets {
    /// The producer's.
    pub producer: Option<Line>,
    /// The consumer's.
    pub consumer: Option<Line>,
}

impl Sockets {
    /// A new pair.
    pub fn pair() -> Result<Self, Errno> {
        let [producers, consumers] = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
        let producer = Line { ours: producers.clone(), theirs: consumers.clone() };
        Ok(Self {
            producer: Some(producer),
            consumer: Some(Line { ours: consumers, theirs: producers }),
        })
    }

    pub(in crate::ring) const fn are_none(&self) -> bool {
        self.producer.is_none() && self.consumer.is_none()
    }

    pub(in crate::ring) fn line(&self, of: Party) -> Result<Option<Line>, Errno> {
        Ok(match of {
            Party::Producer => self.producer.clone(),
            Party::Consumer => self.consumer.clone(),
        })
    }
}

/// One side's socket.
#[derive(Clone, Debug)]
pub struct Line {
    /// 1 while it is readable.
    ours: Arc<AtomicU32>,
    theirs: Arc<AtomicU32>,
}

impl Line {
    pub(in crate::ring) fn ring(&self) -> bool {
        if futex::set_bit_and_wake(&*self.theirs, 0, 1).is_err() {
            // That was a fault of futexes, and this is none.
            self.theirs.fetch_or(1, Ordering::AcqRel);
            futex::wake(&*self.theirs, 1);
        }
        true
    }
}

#[derive(Debug)]
pub struct Watch {
    watched: Option<ProcessId>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ring) struct Noticed {
    pub(in crate::ring) hung_up: bool,
    pub(in crate::ring) died: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ring) enum Death {
    Told,
    Untold,
    Past,
}

impl Watch {
    pub(super) fn new(_: &Line) -> Result<Self, Errno> {
        Ok(Self { watched: None })
    }

    pub(in crate::ring) fn drain(&mut self, line: &Line) -> Result<Noticed, Errno> {
        line.ours.swap(0, Ordering::AcqRel);
        let died =
            self.watched.is_some_and(|watched| identity::liveness(watched) == Liveness::Dead);
        if died {
            self.watched = None;
        }
        Ok(Noticed { hung_up: false, died })
    }

    pub(in crate::ring) fn follow(&mut self, other: Role<'_>) -> Death {
        self.watched = None;
        match other.mortal() {
            Mortal::Nobody => Death::Told,
            Mortal::Unknown => Death::Untold,
            Mortal::Process(owner) if identity::liveness(owner) == Liveness::Dead => Death::Past,
            Mortal::Process(owner) => {
                self.watched = Some(owner);
                Death::Told
            }
        }
    }

    /// Sleeps until the descriptor is readable.
    pub(super) fn poll(&self, line: &Line) {
        let entries = [futex::Entry::new(&*line.ours, 0)];
        // Whatever ends it, what is there is looked at next.
        let _ = futex::sleep(&entries, self.watched, Deadline::FAR, false);
    }
}
