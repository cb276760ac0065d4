//! The header of each packet.
//!
//! ```text
//! kind u8 | descriptors u8 | zero u16 | number u32 | sender u64 | length u64 | payload
//! ```
//!
//! A message is one packet of kind 1, whose length is that of the whole message, and as many packets
//! of kind 2 as it needs, whose length is their place in it. The sender's identity and the number of
//! the message tell the parts of different messages apart when several processes send on one end;
//! they are zero in a message of one packet, which nothing can tear. All numbers are little-endian.

/// Bytes of a header.
pub(super) const HEADER: usize = 24;

/// The most payload of a first packet, and so of a message that is whole or not there.
pub(super) const WHOLE: usize = 4096;

/// The most payload of a further packet. The usual socket buffer takes three, so that one side writes
/// while the other reads.
pub(super) const PART: usize = 64 << 10;

/// Which message a packet belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageId {
    pub(super) sender: u64,
    pub(super) number: u32,
}

/// What a packet says about its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The message has `total` bytes and begins with these; so many descriptors come with them.
    First { id: MessageId, total: u64, fds: u8 },
    /// These are the message's bytes from `offset` on.
    Next { id: MessageId, offset: u64 },
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER] {
        let (kind, fds, id, length) = match self {
            Self::First { id, total, fds } => (1, fds, id, total),
            Self::Next { id, offset } => (2, 0, id, offset),
        };
        let mut bytes = [0; HEADER];
        [bytes[0], bytes[1]] = [kind, fds];
        bytes[4..8].copy_from_slice(&id.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&id.sender.to_le_bytes());
        bytes[16..].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    /// `None` if [`encode`](Self::encode) never writes this.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        // The upper half of the first word is the number.
        let id = MessageId { sender: word(8), number: (word(0) >> 32) as u32 };
        match (bytes[0], bytes[1], &bytes[2..4]) {
            (1, fds, [0, 0]) => Some(Self::First { id, total: word(16), fds }),
            (2, 0, [0, 0]) => Some(Self::Next { id, offset: word(16) }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_arrive_as_they_were_sent() {
        let id = MessageId { sender: u64::MAX - 7, number: 0x8000_0001 };
        for header in [
            Header::First { id, total: u64::MAX - 1, fds: 16 },
            Header::Next { id, offset: 1 << 40 },
        ] {
            let bytes = header.encode();
            assert_eq!(Header::decode(&bytes), Some(header));
            // Nothing but what was written is a header.
            for at in [0, 2, 3] {
                for bit in 0..8 {
                    let mut changed = bytes;
                    changed[at] ^= 1 << bit;
                    assert_ne!(Header::decode(&changed), Some(header));
                    assert!(at == 0 || Header::decode(&changed).is_none());
                }
            }
        }
        assert_eq!(Header::decode(&[0; HEADER]), None);
    }
}
