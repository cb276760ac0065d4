//! The owner word: who holds something, and in what state it is.
//!
//! ```text
//!  63   62 ............................. 22   21 ............ 0
//! +---+--------------------------------------+------------------+
//! | D | incarnation                          | pid              |
//! +---+--------------------------------------+------------------+
//!   0                 0                                0           free
//!   1                 0                                0           free, but what it guards is inconsistent
//!   D           the owner's `ProcessId`                            held
//!   1       only bit 62 set                            0           unrecoverable, for ever
//! ```
//!
//! The claim names its owner in the same compare-exchange that makes it, and the release is a compare-exchange
//! from *me*. So nobody can hold the lock without being named, a survivor can take it over from
//! a dead owner in one step, and a forked child that drops a copy of its parent's guard changes
//! nothing (if it holds the lock itself, a [`Holder`](super::holder::Holder) sees to that). The low half of a held word is
//! never 0, so it always differs from that of a free one.

use ipc_core::identity::ProcessId;

/// Nobody holds it. Zeroed memory is free.
pub(crate) const FREE: u64 = 0;
/// What is guarded may be half changed: its last owner died or panicked, and nobody has repaired it.
pub(crate) const INCONSISTENT: u64 = ProcessId::FREE_BIT;
/// An owner has said that it cannot be repaired. No process id has a pid of 0.
pub(crate) const UNRECOVERABLE: u64 = INCONSISTENT | 1 << 62;

/// What an owner word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Held(ProcessId),
    Unrecoverable,
    Corrupt,
}

pub(crate) fn state(word: u64) -> State {
    match word {
        FREE | INCONSISTENT => State::Free,
        UNRECOVERABLE => State::Unrecoverable,
        _ => ProcessId::from_bits(word & !INCONSISTENT).map_or(State::Corrupt, State::Held),
    }
}
