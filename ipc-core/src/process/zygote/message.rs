//! The messages between an application and its zygote: one packet each, checked whole.
//!
//! ```text
//! request   kind u32 | length of the body u32 | sequence u64 | body
//! reply     kind u32 | detail i32             | sequence u64
//! ```
//!
//! All numbers are little-endian. A reply carries the sequence number of its request, so that one
//! which comes late is never taken for the answer to another.

use super::MAX_BYTES;
use crate::Errno;
use crate::function::{FunctionError, FunctionRef};
use alloc::vec::Vec;

const HEADER: usize = 16;

/// The longest packet: the header and the body of [`Request::Spawn`].
pub(super) const MAX_REQUEST: usize = HEADER + 2 * FunctionRef::LEN + MAX_BYTES;

/// A function's name. An entry may have another function to call, which must be there as well; one
/// that has not is named twice.
pub(super) type Name = [u8; FunctionRef::LEN];

/// What the application says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// The first message: its descriptor is the application's pidfd. The names of the functions to call
    /// first stand one behind the other.
    Hello { preloads: &'a [u8] },
    /// Make a child that calls `entry` with `bytes` and the descriptors beside them.
    Spawn { entry: &'a Name, calls: &'a Name, bytes: &'a [u8] },
    /// Be that child yourself.
    Become { entry: &'a Name, calls: &'a Name, bytes: &'a [u8] },
    /// To the new child: the application holds its pidfd, go.
    Go,
    /// To the new child: the application could not take its pidfd, end.
    Stop,
}

impl<'a> Request<'a> {
    pub(super) fn encode(&self, sequence: u64) -> Vec<u8> {
        let (kind, body): (u32, [&[u8]; 3]) = match *self {
            Self::Hello { preloads } => (1, [preloads, &[], &[]]),
            Self::Spawn { entry, calls, bytes } => (2, [entry, calls, bytes]),
            Self::Go => (3, [&[]; 3]),
            Self::Stop => (4, [&[]; 3]),
            Self::Become { entry, calls, bytes } => (5, [entry, calls, bytes]),
        };
        let len: usize = body.iter().map(|part| part.len()).sum();
        let mut packet = Vec::with_capacity(HEADER + len);
        packet.extend_from_slice(&kind.to_le_bytes());
        // The caller keeps `bytes` below `MAX_BYTES`.
        packet.extend_from_slice(&(len as u32).to_le_bytes());
        packet.extend_from_slice(&sequence.to_le_bytes());
        body.iter().for_each(|part| packet.extend_from_slice(part));
        packet
    }

    /// The request and its sequence number, or `None` if any byte is not as it should be.
    pub(super) fn decode(packet: &'a [u8]) -> Option<(u64, Self)> {
        let (header, body) = packet.split_first_chunk::<HEADER>()?;
        let [kind, len] = [word(header, 0), word(header, 4)];
        if len as usize != body.len() {
            return None;
        }
        let request = match (kind, body) {
            (1, preloads) if preloads.len() % FunctionRef::LEN == 0 => Self::Hello { preloads },
            (2 | 5, body) => {
                let (entry, body) = body.split_first_chunk()?;
                let (calls, bytes) = body.split_first_chunk()?;
                match kind {
                    2 => Self::Spawn { entry, calls, bytes },
                    _ => Self::Become { entry, calls, bytes },
                }
            }
            (3, []) => Self::Go,
            (4, []) => Self::Stop,
            _ => return None,
        };
        Some((sequence(packet), request))
    }
}

/// The sequence number in the header of a packet, however broken the rest; zero if that is missing.
pub(super) fn sequence(packet: &[u8]) -> u64 {
    packet.get(8..16).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// What the zygote, or the new child itself, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The zygote serves.
    Ready,
    /// The zygote has threads.
    HasThreads,
    /// The zygote cannot count its threads.
    ThreadsUnknown(Errno),
    /// The zygote cannot get ready.
    Setup(Errno),
    /// The zygote calls the function of this index now, before it serves.
    Preloading(i32),
    /// The function that it called panicked.
    Panicked,
    /// Said by the child: it has this process id and waits for [`Request::Go`]. Its pidfd comes along.
    Started(i32),
    /// No child: the zygote met this.
    Fork(Errno),
    /// No child: the name of the entry, or of what it calls, stands for no function.
    Function(FunctionError),
    /// The request was not understood.
    Malformed,
}

impl Reply {
    pub(super) const LEN: usize = HEADER;

    pub(super) fn encode(self, sequence: u64) -> [u8; Self::LEN] {
        let (kind, detail): (u32, i32) = match self {
            Self::Ready => (1, 0),
            Self::HasThreads => (2, 0),
            Self::ThreadsUnknown(errno) => (3, errno.raw_os_error()),
            Self::Started(pid) => (4, pid),
            Self::Fork(errno) => (5, errno.raw_os_error()),
            Self::Function(FunctionError::Os(errno)) => (6, errno.raw_os_error()),
            Self::Function(FunctionError::UnknownModule) => (7, 0),
            Self::Function(FunctionError::Ambiguous) => (7, 1),
            Self::Function(FunctionError::NotExecutable) => (7, 2),
            // The others belong to the side that names the function.
            Self::Function(_) => (7, 3),
            Self::Malformed => (8, 0),
            Self::Setup(errno) => (9, errno.raw_os_error()),
            Self::Preloading(index) => (10, index),
            Self::Panicked => (11, 0),
        };
        let mut packet = [0; Self::LEN];
        packet[..4].copy_from_slice(&kind.to_le_bytes());
        packet[4..8].copy_from_slice(&detail.to_le_bytes());
        packet[8..].copy_from_slice(&sequence.to_le_bytes());
        packet
    }

    pub(super) fn decode(packet: &[u8]) -> Option<(u64, Self)> {
        let header: &[u8; HEADER] = packet.try_into().ok()?;
        let detail = i32::from_le_bytes(word(header, 4).to_le_bytes());
        // Only ever asked for a number that is one.
        let errno = || Errno::from_raw_os_error(detail);
        let reply = match (word(header, 0), detail) {
            (1, 0) => Self::Ready,
            (2, 0) => Self::HasThreads,
            (3, 1..=4095) => Self::ThreadsUnknown(errno()),
            (4, 1..) => Self::Started(detail),
            (5, 1..=4095) => Self::Fork(errno()),
            (6, 1..=4095) => Self::Function(FunctionError::Os(errno())),
            (7, 0) => Self::Function(FunctionError::UnknownModule),
            (7, 1) => Self::Function(FunctionError::Ambiguous),
            (7, 2) => Self::Function(FunctionError::NotExecutable),
            (7, 3) => Self::Function(FunctionError::Malformed),
            (8, 0) => Self::Malformed,
            (9, 1..=4095) => Self::Setup(errno()),
            (10, 0..) => Self::Preloading(detail),
            (11, 0) => Self::Panicked,
            _ => return None,
        };
        Some((sequence(packet), reply))
    }
}

fn word(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Name = [7; FunctionRef::LEN];
    const CALLED: Name = [8; FunctionRef::LEN];

    #[test]
    fn requests_come_back() {
        for request in [
            Request::Hello { preloads: &[] },
            Request::Hello { preloads: &[3; 2 * FunctionRef::LEN] },
            Request::Spawn { entry: &ENTRY, calls: &ENTRY, bytes: b"" },
            Request::Spawn { entry: &ENTRY, calls: &CALLED, bytes: b"some" },
            Request::Become { entry: &ENTRY, calls: &CALLED, bytes: b"some" },
            Request::Go,
            Request::Stop,
        ] {
            let packet = request.encode(77);
            assert_eq!(Request::decode(&packet), Some((77, request)));
        }
    }

    #[test]
    fn broken_requests_are_refused() {
        let whole = Request::Spawn { entry: &ENTRY, calls: &CALLED, bytes: b"some" }.encode(1);
        for len in 0..whole.len() {
            assert_eq!(Request::decode(&whole[..len]), None, "{len}");
        }
        for request in [Request::Hello { preloads: &[] }, Request::Go, Request::Stop] {
            let mut longer = request.encode(1);
            longer.push(0);
            assert_eq!(Request::decode(&longer), None, "a byte too many");
            longer[4] = 1;
            assert_eq!(Request::decode(&longer), None, "a body where none belongs");
        }
        for kind in [0_u32, 6, 0x0200_0000, u32::MAX] {
            let mut other = whole.clone();
            other[..4].copy_from_slice(&kind.to_le_bytes());
            assert_eq!(Request::decode(&other), None, "{kind}");
        }
        let mut short = Request::Hello { preloads: &[] }.encode(1);
        short[0] = 2;
        assert_eq!(Request::decode(&short), None, "no room for the entry");
    }

    #[test]
    fn replies_come_back() {
        for reply in [
            Reply::Ready,
            Reply::HasThreads,
            Reply::ThreadsUnknown(Errno::ACCESS),
            Reply::Setup(Errno::MFILE),
            Reply::Preloading(0),
            Reply::Preloading(7),
            Reply::Panicked,
            Reply::Started(4_194_304),
            Reply::Fork(Errno::AGAIN),
            Reply::Function(FunctionError::Os(Errno::NOENT)),
            Reply::Function(FunctionError::UnknownModule),
            Reply::Function(FunctionError::Ambiguous),
            Reply::Function(FunctionError::NotExecutable),
            Reply::Function(FunctionError::Malformed),
            Reply::Malformed,
        ] {
            let packet = reply.encode(5);
            assert_eq!(Reply::decode(&packet), Some((5, reply)));
            assert_eq!(Reply::decode(&packet[..Reply::LEN - 1]), None);
        }
        for (kind, detail) in [
            (0_u32, 0_i32),
            (1, 1),
            (3, 0),
            (3, 4096),
            (4, 0),
            (4, -1),
            (9, 0),
            (10, -1),
            (11, 1),
            (12, 0),
        ] {
            let mut packet = [0; Reply::LEN];
            packet[..4].copy_from_slice(&kind.to_le_bytes());
            packet[4..8].copy_from_slice(&detail.to_le_bytes());
            assert_eq!(Reply::decode(&packet), None, "{kind} {detail}");
        }
    }
}
