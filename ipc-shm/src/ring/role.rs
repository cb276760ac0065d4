//! Who is the producer and who is the consumer of a ring.
//!
//! A role is one word:
//!
//! | word | meaning | who may change it |
//! |---|---|---|
//! | 0 | vacant, nobody has ever had it | anybody: claim |
//! | a [`ProcessId`] | that process has it | that process: close; others of its domain, once it is dead: claim |
//! | [`CLOSED`] | vacant, the last owner gave it up | anybody: claim |
//!
//! A claim is one compare-exchange that names the new owner, so at every instruction at which a
//! process can be killed the role is either not yet its own or visibly a dead process's. There is
//! no generation beside the owner: an id is never given to a second process, and within one process
//! a role is claimed again only after it was closed. A handle remembers which process claimed it, and
//! only that process closes it: what a forked child does with a copy of its parent's handle closes
//! neither the parent's role nor one that the child has claimed itself.

use ipc_core::identity::{DomainCell, Identity, Liveness, ProcessId};
use ipc_core::primitive::{AtomicU64, Ordering, identity};

use super::RoleError;
use crate::layout::Roles;

/// How often a claim may find that the role has just changed hands and is free again. Processes that claim, die and
/// close do that to each other once or twice; only somebody who writes to the word for its own sake does it so often.
const ATTEMPTS: usize = 64;

const VACANT: u64 = 0;
const CLOSED: u64 = ProcessId::FREE_BIT;

/// How things stand with the other end of a ring, at the moment of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// Nobody has attached yet.
    Absent,
    /// This process has the other end, and lives.
    Alive(ProcessId),
    /// It gave its end up in order.
    Closed,
    /// It has died. Another process may take its end over.
    Dead(ProcessId),
    /// It has the other end, and the kernel does not say whether it lives: it may be in another pid
    /// namespace. Once processes of two namespaces have had ends of a ring, nobody's death can be
    /// told there any more.
    Unknown(ProcessId),
}

static_assertions::assert_impl_all!(Peer: Send, Sync);

/// One of the two who have a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Producer,
    Consumer,
}

impl Party {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }

    pub(super) const fn role(self, roles: &Roles) -> Role<'_> {
        let word = match self {
            Self::Producer => &roles.producer,
            Self::Consumer => &roles.consumer,
        };
        Role { word, domain: &roles.commons.domain }
    }
}

/// One role of a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role<'a> {
    pub(crate) word: &'a AtomicU64,
    pub(crate) domain: &'a DomainCell,
}

impl Role<'_> {
    /// Takes the role if nobody has it, or if the kernel says that its owner is dead.
    pub(super) fn claim(self) -> Result<Identity, RoleError> {
        let me = identity::current().map_err(RoleError::NoIdentity)?;
        // Acquire: the owner's admission to the domain comes with its claim.
        let mut seen = self.word.load(Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            if let Some(owner) = owner(seen)? {
                if self.look(owner, me) != Liveness::Dead {
                    return Err(RoleError::Taken { owner });
                }
            }
            // Not before: a process of another domain makes every later death unknowable by its
            // admission, and it may well be refused.
            self.domain.admit(me.domain);
            // SYNC: what the last owner left (Release in `close`; a death is seen through the
            // kernel). Release: our admission comes with our claim.
            let orders = (Ordering::AcqRel, Ordering::Acquire);
            match self.word.compare_exchange(seen, me.id.to_bits(), orders.0, orders.1) {
                Ok(_) => return Ok(me),
                Err(found) => seen = found,
            }
        }
        Err(RoleError::Corrupt)
    }

    /// Gives up the role that process `claimant` claimed, if that is the calling one; whether it was.
    pub(super) fn close(self, claimant: ProcessId) -> bool {
        // In a forked child the handle is a copy, and the role may be the child's by another handle.
        if identity::current().map(|me| me.id) != Ok(claimant) {
            return false;
        }
        // SYNC: role closed (Acquire in `peer_is_gone` and `claim`). It fails only where the word
        // was damaged.
        let (ours, order) = (claimant.to_bits(), Ordering::Release);
        self.word.compare_exchange(ours, CLOSED, order, Ordering::Relaxed).is_ok()
    }

    /// Whether the calling process is `process`, and has the role.
    pub(super) fn is_of(self, process: ProcessId) -> bool {
        identity::known_as(process).is_some() && self.is_still(process)
    }

    /// Whether `owner`, of whichever process, has the role.
    pub(super) fn is_still(self, owner: ProcessId) -> bool {
        self.word.load(Ordering::Relaxed) == owner.to_bits()
    }

    /// Gives the role of `owner`, which is dead, up in its stead; whether it was still that one's.
    pub(super) fn bury(self, owner: ProcessId) -> bool {
        let (theirs, orders) = (owner.to_bits(), (Ordering::AcqRel, Ordering::Relaxed));
        self.word.compare_exchange(theirs, CLOSED, orders.0, orders.1).is_ok()
    }

    /// As [`peer`](Self::peer), without the kernel: of whoever has the role nothing more is said.
    pub(super) fn peer_unasked(self) -> Peer {
        // SYNC: role closed (Release in `close`).
        match self.word.load(Ordering::Acquire) {
            VACANT => Peer::Absent,
            word => match owner(word) {
                Ok(Some(owner)) => Peer::Unknown(owner),
                Ok(None) | Err(_) => Peer::Closed,
            },
        }
    }

    pub(super) fn peer(self) -> Peer {
        self.peer_by(self.word.load(Ordering::Acquire))
    }

    /// The same for a stranger to the ring; `None` if the word is none that a role has.
    #[cfg(not(loom))]
    pub(crate) fn described(self) -> Option<Peer> {
        let word = self.word.load(Ordering::Acquire);
        owner(word).is_ok().then(|| self.peer_by(word))
    }

    /// The peer that the role word names, which was read with Acquire.
    fn peer_by(self, word: u64) -> Peer {
        let owner = match word {
            VACANT => return Peer::Absent,
            word => match owner(word) {
                Ok(Some(owner)) => owner,
                // An impossible word is nobody who could answer.
                Ok(None) | Err(_) => return Peer::Closed,
            },
        };
        let me = identity::current();
        match me.map_or(Liveness::Unknown, |me| self.look(owner, me)) {
            Liveness::Alive => Peer::Alive(owner),
            Liveness::Dead => Peer::Dead(owner),
            Liveness::Unknown => Peer::Unknown(owner),
        }
    }

    /// Whose death this process could be told by the kernel, if anybody's is of interest.
    pub(super) fn mortal(self) -> Mortal {
        // Acquire: the owner's admission to the domain comes with its claim.
        match (owner(self.word.load(Ordering::Acquire)), identity::current()) {
            // An impossible word is nobody who could die; and nobody sees his own death.
            (Ok(None) | Err(_), _) => Mortal::Nobody,
            (Ok(Some(owner)), Ok(me)) if owner == me.id => Mortal::Nobody,
            (Ok(Some(owner)), Ok(me)) if self.domain.judges(me.domain) => Mortal::Process(owner),
            (Ok(Some(_)), _) => Mortal::Unknown,
        }
    }

    fn look(self, owner: ProcessId, me: Identity) -> Liveness {
        if owner == me.id {
            Liveness::Alive
        } else if self.domain.judges(me.domain) {
            identity::liveness(owner)
        } else {
            Liveness::Unknown
        }
    }
}

/// Who has a role and could die in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mortal {
    /// The role is vacant, or this very process has it.
    Nobody,
    /// This process.
    Process(ProcessId),
    /// A process of which this one can learn nothing.
    Unknown,
}

fn owner(word: u64) -> Result<Option<ProcessId>, RoleError> {
    match word {
        VACANT | CLOSED => Ok(None),
        _ => ProcessId::from_bits(word).map(Some).ok_or(RoleError::Corrupt),
    }
}

/// How often a side that finds nothing to do asks whether its peer lives.
///
/// A closed role is a load, and is seen at every miss. Death is a question to the kernel of about
/// 5 µs. It is asked at miss 1024 in a row, 2048, 4096 and so on to 65,536, and then at every
/// 65,536th: a side that polls in a tight loop learns of a death after at most as long again as it
/// had waited anyway, and the question costs it at most 5 ns per miss.
#[derive(Debug, Default)]
pub(super) struct Misses {
    /// The position at which the misses in a row were.
    at: (usize, u64),
    count: u32,
    /// The miss at which to ask again.
    look_at: u32,
    /// The role word of a peer that is dead: dead for ever.
    dead: u64,
}

/// Under loom every miss asks: no model lives long enough to come to the thousandth.
const FIRST_LOOK: u32 = if cfg!(loom) { 1 } else { 1024 };
const LONGEST: u32 = if cfg!(loom) { 1 } else { 1 << 16 };

impl Misses {
    /// A miss at position `at`: whether it is one of those at which to ask.
    pub(super) fn is_due(&mut self, at: (usize, u64)) -> bool {
        if at != self.at || self.look_at == 0 {
            *self = Self { at, count: 0, look_at: FIRST_LOOK, dead: self.dead };
        }
        self.count = self.count.wrapping_add(1);
        let is_due = self.count == self.look_at;
        if is_due {
            self.look_at = self.count.wrapping_add(self.count.clamp(1, LONGEST));
        }
        is_due
    }

    /// A miss at position `at`: whether the peer is closed or known to be dead. Whoever `asks`
    /// does so now, however many misses there were.
    pub(super) fn peer_is_gone(&mut self, at: (usize, u64), role: Role<'_>, asks: bool) -> bool {
        let is_due = self.is_due(at);
        // SYNC: role closed (Release in `close`).
        let word = role.word.load(Ordering::Acquire);
        match word {
            VACANT => false,
            CLOSED => true,
            _ if word == self.dead => true,
            _ => {
                if is_due || asks {
                    // This very word: the role may have changed hands since.
                    if matches!(role.peer_by(word), Peer::Dead(_)) {
                        self.dead = word;
                    }
                }
                word == self.dead
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn roles() -> (AtomicU64, DomainCell) {
        (AtomicU64::new(VACANT), DomainCell::new(false))
    }

    #[test]
    fn a_role_is_claimed_once_and_again_after_it_was_closed() {
        let (word, domain) = roles();
        let role = Role { word: &word, domain: &domain };
        let me = role.claim().unwrap().id;
        assert_eq!(role.claim().unwrap_err(), RoleError::Taken { owner: me });
        assert_eq!(role.peer(), Peer::Alive(me));
        assert!(role.close(me));
        assert_eq!(role.peer(), Peer::Closed);
        role.claim().unwrap();
    }

    #[test]
    fn a_word_that_nobody_has_is_corrupt() {
        let (word, domain) = roles();
        word.store(CLOSED | 5, Ordering::Relaxed);
        let role = Role { word: &word, domain: &domain };
        assert_eq!(role.claim().unwrap_err(), RoleError::Corrupt);
    }

    #[test]
    fn what_is_not_ours_is_not_closed() {
        let (word, domain) = roles();
        let other = ProcessId::from_bits(1).unwrap();
        word.store(other.to_bits(), Ordering::Relaxed);
        let role = Role { word: &word, domain: &domain };
        assert!(!role.close(identity::current().unwrap().id));
        assert_eq!(word.load(Ordering::Relaxed), other.to_bits());
        assert!(!role.close(other));
        assert_eq!(word.load(Ordering::Relaxed), other.to_bits());
        // Nobody has been admitted, so nobody may judge.
        assert_eq!(role.peer(), Peer::Unknown(other));
    }

    #[test]
    fn the_kernel_is_asked_ever_less_often() {
        let (word, domain) = roles();
        let role = Role { word: &word, domain: &domain };
        role.claim().unwrap();
        let mut misses = Misses::default();
        let mut looks = alloc::vec::Vec::new();
        for miss in 1..=300_000_u32 {
            let before = misses.look_at;
            assert!(!misses.peer_is_gone((7, 0), role, false));
            if before != 0 && misses.look_at != before {
                looks.push(miss);
            }
        }
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 192, 256].map(|k| k * 1024);
        assert_eq!(looks, expected);
    }
}
