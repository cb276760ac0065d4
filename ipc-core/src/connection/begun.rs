//! Packets, and the putting together of a message from several of them.

use std::os::fd::OwnedFd;

use rustix::event::PollFlags;
use rustix::io::IoSliceMut;
use rustix::net::{RecvFlags, recv};

use super::packet::{HEADER, Header, MessageId, PART, WHOLE};
use super::{Message, RecvError, wait};
use crate::fdpass::{self, Fds, Received, recv_parts};
use crate::os::Until;
use crate::{Errno, Result};

/// A message that came in part.
pub(super) struct Begun {
    id: MessageId,
    pub(super) total: u64,
    pub(super) message: Message,
}

/// What the next packet did to a message that came in part.
pub(super) enum Step {
    /// It brought more, or had nothing to do with it.
    Taken,
    /// The message will not come to its end.
    Torn,
    /// The same, because another one has begun, and is taken already.
    Other(Begun),
}

impl Begun {
    pub(super) fn new(id: MessageId, total: u64, payload: &[u8], fds: Fds) -> Self {
        Self { id, total, message: Message { bytes: payload.to_vec(), fds } }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.message.bytes.len() as u64 == self.total
    }

    pub(super) fn recv(&mut self, socket: &OwnedFd, until: Until) -> Result<Step, RecvError> {
        // Another message stays in the socket, so that whoever waits for the descriptor wakes for it.
        // A second receiver on this end may take it first: then what comes is judged below.
        if is_first(socket, until)? {
            return Ok(Step::Torn);
        }
        let bytes = &mut self.message.bytes;
        let had = bytes.len();
        // Room for what is awaited, and for the first packet of another message.
        let room = (self.total - had as u64).min(PART as u64).max(WHOLE as u64) as usize;
        bytes.try_reserve(room).map_err(|_| RecvError::Os(Errno::NOMEM))?;
        bytes.resize(had + room, 0);
        let mut header = [0; HEADER];
        let mut bufs = [IoSliceMut::new(&mut header), IoSliceMut::new(&mut bytes[had..])];
        let received = recv_packet(socket, &mut bufs, until);
        let came = received.as_ref().map_or(0, |packet| packet.len);
        bytes.truncate(had + came.saturating_sub(HEADER));
        let step = match received {
            Ok(packet) if packet.len >= HEADER => self.step(&header, had, packet),
            Ok(_) => Err(RecvError::Malformed),
            // The sender has gone in the middle of it.
            Err(RecvError::Closed) => Ok(Step::Torn),
            Err(error) => Err(error),
        };
        if !matches!(step, Ok(Step::Taken)) {
            self.message.bytes.truncate(had);
        }
        step
    }

    /// Judges the packet whose payload was put behind the first `had` bytes.
    fn step(
        &mut self,
        header: &[u8; HEADER],
        had: usize,
        packet: Packet,
    ) -> Result<Step, RecvError> {
        let Packet { fds, is_cut, .. } = packet;
        let bytes = &mut self.message.bytes;
        match Header::decode(header).ok_or(RecvError::Malformed)? {
            Header::First { id, total, fds: count } if !is_cut => {
                let payload = &bytes[had..];
                check_first(total, payload, count, &fds)?;
                Ok(Step::Other(Self::new(id, total, payload, fds)))
            }
            Header::Next { .. } if !fds.is_empty() => Err(RecvError::Malformed),
            Header::Next { id, offset } if id == self.id => {
                if is_cut || bytes.len() == had || bytes.len() as u64 > self.total {
                    return Err(RecvError::Malformed);
                }
                // If not, a part has gone to another receiver.
                Ok(if offset == had as u64 { Step::Taken } else { Step::Torn })
            }
            // A part of another message, whose beginning was not seen here or was given up.
            Header::Next { .. } => {
                bytes.truncate(had);
                Ok(Step::Taken)
            }
            Header::First { .. } => Err(RecvError::Malformed),
        }
    }
}

/// Whether a first packet is one that a sender sends.
pub(super) fn check_first(
    total: u64,
    payload: &[u8],
    count: u8,
    fds: &Fds,
) -> Result<(), RecvError> {
    let right = payload.len() as u64 == total.min(WHOLE as u64) && usize::from(count) == fds.len();
    if right { Ok(()) } else { Err(RecvError::Malformed) }
}

/// A packet as it came.
pub(super) struct Packet {
    /// How many bytes of the buffers it filled, its header included.
    pub(super) len: usize,
    pub(super) fds: Fds,
    /// It was longer than the buffers.
    pub(super) is_cut: bool,
}

/// Receives one packet.
pub(super) fn recv_packet(
    socket: &OwnedFd,
    bufs: &mut [IoSliceMut<'_>],
    until: Until,
) -> Result<Packet, RecvError> {
    retry(socket, until, |flags| match recv_parts(socket, bufs, flags) {
        Ok(Received { len, fds }) => Ok(Packet { len, fds, is_cut: false }),
        Err(fdpass::RecvError::Truncated) => {
            let len = bufs.iter().map(|buf| buf.len()).sum();
            Ok(Packet { len, fds: Fds::default(), is_cut: true })
        }
        Err(error) => Err(error),
    })
}

/// Whether the next packet is the first of a message. It stays where it is, and so do its descriptors.
fn is_first(socket: &OwnedFd, until: Until) -> Result<bool, RecvError> {
    let mut header = [0; HEADER];
    let mut peek =
        |flags| recv(socket, &mut header, flags | RecvFlags::PEEK).map_err(fdpass::RecvError::Os);
    let (mut len, _) = retry(socket, until, &mut peek)?;
    if len == 0 {
        // The end, before which there may be a packet all the same: see `recv_parts`.
        (len, _) = retry(socket, until, &mut peek)?;
    }
    Ok(len == HEADER && matches!(Header::decode(&header), Some(Header::First { .. })))
}

/// Repeats `call` until it has something, or as long as `until` says.
fn retry<T>(
    socket: &OwnedFd,
    until: Until,
    mut call: impl FnMut(RecvFlags) -> Result<T, fdpass::RecvError>,
) -> Result<T, RecvError> {
    let flags = if until.is_endless() { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    loop {
        match call(flags) {
            Ok(came) => return Ok(came),
            Err(fdpass::RecvError::Os(Errno::AGAIN)) => {
                if !wait::until_ready(socket, PollFlags::IN, until)? {
                    return Err(RecvError::TimedOut);
                }
            }
            // The peer closed with messages of ours unread. It is said once, before what it sent.
            Err(fdpass::RecvError::Os(Errno::CONNRESET | Errno::INTR)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
