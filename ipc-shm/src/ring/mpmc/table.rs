//! [`Table`]: who takes part, as producers or as consumers, and who of them is dead.
//!
//! | owner of a record | generation | is |
//! |---|---|---|
//! | 0 | 0 | never used, and no record behind it is |
//! | a process | its own | that of a handle of this process |
//! | a process | an earlier one's | being taken over |
//! | closed | an earlier one's | free |
//!
//! A record is taken by one compare-exchange that names the process, and then given another generation, before anything else
//! names it. So the owner of a slot, a number and a generation, is dead when the record is closed, or of another
//! generation, or a dead process's; and that is final: nobody comes back with the same generation (not until 512 others have had
//! the record; then the slot waits for the last of them).
//!
//! Records are taken from the first one on, so that a look at all of them ends at the first that was never used.

use ipc_core::identity::{DomainCell, ProcessId};
use ipc_core::primitive::Ordering;

use super::word::Owner;
use crate::layout::Record;
use crate::ring::role::Role;
use crate::ring::{Peer, RoleError};

/// In a generation: whoever had the record, and closed it or died, may have left a message behind that it had claimed.
const LEFT: u64 = 1 << 63;

/// All records of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    records: &'a [Record],
    domain: &'a DomainCell,
}

/// A record that is the caller's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    pub(super) owner: Owner,
    pub(super) process: ProcessId,
}

/// See [`Table::look_at`].
#[derive(Debug)]
pub(super) struct Look<'a> {
    record: Option<&'a Record>,
    /// The generation, as it was before the look.
    seen: u64,
}

impl Look<'_> {
    /// There was nothing, so nobody need look there again; unless somebody has had the record since.
    pub(super) fn found_nothing(self) {
        let Self { record: Some(record), seen } = self else { return };
        if seen & LEFT != 0 {
            let orders = (Ordering::Relaxed, Ordering::Relaxed);
            // If it fails, somebody has it now.
            let _ = record.generation.compare_exchange(seen, seen & !LEFT, orders.0, orders.1);
        }
    }
}

/// How things stand with all who are on the other side of a ring, at the moment of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peers {
    /// Nobody has ever come.
    Absent,
    /// Somebody is there, or may be: of a process in another pid namespace nobody can tell.
    Present,
    /// All have closed their ends, or died.
    Gone,
}

static_assertions::assert_impl_all!(Peers: Send, Sync);

impl<'a> Table<'a> {
    pub(super) const fn new(records: &'a [Record], domain: &'a DomainCell) -> Self {
        Self { records, domain }
    }

    fn role(self, number: usize) -> Option<Role<'a>> {
        let record = self.records.get(number)?;
        Some(Role { word: &record.owner, domain: self.domain })
    }

    /// Takes a record: the first that is free, or that of a dead process.
    pub(super) fn join(self) -> Result<Joined, RoleError> {
        for (number, record) in self.records.iter().enumerate() {
            let role = Role { word: &record.owner, domain: self.domain };
            match role.claim() {
                Ok(me) => {
                    let generation =
                        (record.generation.load(Ordering::Relaxed) & !LEFT).wrapping_add(1);
                    // SYNC: record renewed (Acquire in `is_dead`): what its last owner had claimed is a dead one's.
                    record.generation.store(generation & !LEFT, Ordering::Release);
                    return Ok(Joined { owner: Owner::new(number, generation), process: me.id });
                }
                Err(RoleError::Taken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RoleError::Crowded { participants: self.records.len() })
    }

    /// Gives up the record that this process has; whether it did. `has_left`: and with it a message that it had claimed.
    pub(super) fn leave(self, me: Joined, has_left: bool) -> bool {
        let Some(role) = self.role(me.owner.number()) else { return false };
        if has_left && role.is_of(me.process) {
            let generation = &self.records[me.owner.number()].generation;
            // SYNC: something left (Acquire in `generation`): where the trail ends is known by then.
            generation.store(generation.load(Ordering::Relaxed) | LEFT, Ordering::Release);
        }
        role.close(me.process)
    }

    /// Whether the owner of a slot is dead. It `asks` the kernel, if that is what it takes to know, and says it to all.
    pub(super) fn is_dead(self, owner: Owner, asks: bool) -> bool {
        let number = owner.number();
        let Some(role) = self.role(number) else { return false };
        let peer = if asks { role.peer() } else { role.peer_unasked() };
        if let Peer::Dead(process) = peer {
            self.bury(number, process);
        }
        // Afterwards: if that was an heir, it lives, and the generation is the next one, or will be.
        // SYNC: record renewed (Release in `join`).
        let generation = self.records[number].generation.load(Ordering::Acquire);
        Owner::new(number, generation) != owner || matches!(peer, Peer::Closed | Peer::Dead(_))
    }

    /// How things stand with all of them, at some moment of the call. It `asks` the kernel whether they live, until one does.
    pub(super) fn peers(self, asks: bool) -> Peers {
        let (peers, generations) = self.peers_one_by_one(asks);
        // While one after the other is looked at, one may come and another one go. If all are still gone, and nobody has come in
        // between, then all were gone at the same time.
        match peers {
            Peers::Gone if !self.are_still_gone(generations) => Peers::Present,
            peers => peers,
        }
    }

    /// And the sum of the generations, each as it was before its owner was looked at.
    fn peers_one_by_one(self, asks: bool) -> (Peers, u64) {
        let (mut peers, mut generations) = (Peers::Absent, 0_u64);
        for number in 0..self.records.len() {
            let Some(role) = self.role(number) else { break };
            let generation = self.generation(number) & !LEFT;
            match if asks { role.peer() } else { role.peer_unasked() } {
                Peer::Absent => break,
                Peer::Closed => {}
                Peer::Dead(owner) => self.bury(number, owner),
                Peer::Alive(_) | Peer::Unknown(_) => return (Peers::Present, 0),
            }
            peers = Peers::Gone;
            generations = generations.wrapping_add(generation);
        }
        (peers, generations)
    }

    /// Whether all who were gone, and had these generations, are as they were.
    fn are_still_gone(self, generations: u64) -> bool {
        let mut now = 0_u64;
        for number in 0..self.records.len() {
            match self.role(number).map(Role::peer_unasked) {
                Some(Peer::Closed) => {}
                Some(Peer::Absent) | None => break,
                Some(_) => return false,
            }
            // Afterwards: whoever has come and closed it since the first look has given it another one before.
            now = now.wrapping_add(self.generation(number) & !LEFT);
        }
        now == generations
    }

    /// The generation of a record, and whether its owner has left something behind.
    fn generation(self, number: usize) -> u64 {
        // SYNC: something left (Release in `leave` and `bury`); record renewed (Release in `join`).
        self.records.get(number).map_or(0, |record| record.generation.load(Ordering::Acquire))
    }

    /// Says to all that the `owner` of a record is dead, and where to look for what it had claimed: so it is asked after once,
    /// and not by everybody for each of its slots.
    fn bury(self, number: usize, owner: ProcessId) {
        let Some(role) = self.role(number) else { return };
        let generation = &self.records[number].generation;
        // Before the look at the owner: while that is the dead one's, so was this.
        let seen = generation.load(Ordering::Acquire);
        if role.is_still(owner) {
            // If it fails, an heir has it by now, or it is said.
            // SYNC: something left (Acquire in `generation`).
            let orders = (Ordering::Release, Ordering::Relaxed);
            let _ = generation.compare_exchange(seen, seen | LEFT, orders.0, orders.1);
            let _is_ours = role.bury(owner);
        }
    }

    /// Before a look at what a record's owner may have left behind.
    pub(super) fn look_at(self, number: usize) -> Look<'a> {
        Look { record: self.records.get(number), seen: self.generation(number) }
    }

    /// The numbers of all records that were ever used; or only of those whose owner closed them and left a message.
    pub(super) fn numbers(self, only_left: bool) -> impl Iterator<Item = usize> + use<'a> {
        let used = move |&number: &usize| {
            self.role(number).is_some_and(|role| role.peer_unasked() != Peer::Absent)
        };
        let has_left = |record: &Record| record.generation.load(Ordering::Relaxed) & LEFT != 0;
        let is_wanted =
            move |&number: &usize| !only_left || self.records.get(number).is_some_and(has_left);
        (0..self.records.len()).take_while(used).filter(is_wanted)
    }
}
