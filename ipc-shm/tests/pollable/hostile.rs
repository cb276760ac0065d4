//! Peers that do with their socket, and with the ring's memory, what they like.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ipc_core::Errno;
use ipc_shm::ring::bytes::Ring;
use ipc_shm::ring::pollable::{ArmError, Armed, Pollable, Sockets};
use ipc_shm::ring::{Untrusted, bytes};
use ipc_testkit::cases::doing;
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::net::{SendFlags, Shutdown, send};

use crate::is_readable;

/// A ring whose producer is ours, and whose consumer and socket a stranger has.
fn produced() -> (Pollable<bytes::Producer<'static, Untrusted>>, OwnedFd, OwnedFd) {
    let Sockets { producer, consumer } = Sockets::pair().unwrap();
    let ring = Ring::create(1 << 16).unwrap();
    let memory = ring.as_fd().unwrap().try_clone_to_owned().unwrap();
    let ring = ring.with_sockets(Sockets { producer, consumer: None });
    let end = Pollable::new(ring.untrusted_producer().unwrap()).unwrap();
    (end, memory, consumer.unwrap())
}

/// Offsets of the words of a ring of bytes, in its file.
const WAITING: usize = 4096 + 20;
const NOT_EMPTY: usize = 4096 + 24;
const CONSUMER_ARMED: u32 = 16;
const PRODUCER_ARMED: u32 = 8;

/// A word of the ring, as a stranger has it.
fn word(memory: &OwnedFd, offset: usize) -> &'static AtomicU32 {
    let flags = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping, which nobody takes away; the file is longer than a page.
    let page = unsafe { mmap(core::ptr::null_mut(), 8192, flags.0, flags.1, memory, 0) }.unwrap();
    let word = page.cast::<u8>().wrapping_add(offset).cast();
    // SAFETY: inside of the mapping, aligned, and accessed as an atomic by everybody.
    unsafe { AtomicU32::from_ptr(word) }
}

/// It never reads, says that each call may wait, and that it wants to be told of everything.
pub(crate) fn full_socket() {
    let (mut producer, memory, theirs) = produced();
    let flags = fcntl_getfl(&theirs).unwrap();
    fcntl_setfl(&theirs, flags - OFlags::NONBLOCK).unwrap();
    let (waiting, awaited) = (word(&memory, WAITING), word(&memory, NOT_EMPTY));
    let mut pushed = 0;
    doing("pushing into a ring whose consumer never reads its socket");
    // As many as a socket has room for are a few hundred.
    while producer.push(1, b"").is_ok() {
        waiting.fetch_or(CONSUMER_ARMED, Relaxed);
        awaited.store(0, Relaxed);
        pushed += 1;
    }
    println!("{pushed} pushes");
    assert_eq!(pushed, (1 << 16) / 8);
    let mut bytes = vec![0; 1 << 16];
    let (_, read) =
        rustix::net::recv(&theirs, &mut bytes[..], rustix::net::RecvFlags::DONTWAIT).unwrap();
    println!("{read} of them were told");
    assert!(read > 100 && read < pushed, "{read}: the socket was never full");
}

/// It sends as much as it can, and changes the bits.
pub(crate) fn bytes_and_bits() {
    let (mut producer, memory, theirs) = produced();
    while producer.push(1, b"").is_ok() {}
    let fill = || while send(&theirs, &[7], SendFlags::DONTWAIT).is_ok() {};
    fill();
    doing("arming, with a full socket");
    let mut armed = 0;
    while is_readable(&producer) {
        assert!(producer.arm() != Ok(Armed::Ready), "there is no room");
        armed += 1;
    }
    println!("armed {armed} times until the socket was empty");
    assert!(armed > 1, "a few hundred bytes are more than one look takes");
    // Bits that are taken away, or set by somebody else, are no room either.
    let waiting = word(&memory, WAITING);
    for bits in [0, u32::MAX, CONSUMER_ARMED, PRODUCER_ARMED] {
        waiting.store(bits, Relaxed);
        assert!(producer.arm() != Ok(Armed::Ready));
        assert!(!is_readable(&producer));
    }
}

/// It gives up its socket, in one way or another.
pub(crate) fn shutdown() {
    for how in [None, Some(Shutdown::Read), Some(Shutdown::Write), Some(Shutdown::Both)] {
        let (mut producer, memory, theirs) = produced();
        assert!(producer.arm() == Ok(Armed::Ready));
        while producer.push(1, b"").is_ok() {}
        // Without an answer it closes it.
        let _theirs = how.map(|how| {
            rustix::net::shutdown(&theirs, how).unwrap();
            theirs
        });
        // What cannot be sent any more is no signal, and no error.
        word(&memory, WAITING).fetch_or(CONSUMER_ARMED, Relaxed);
        word(&memory, NOT_EMPTY).store(0, Relaxed);
        assert_eq!(producer.push(1, b""), Err(bytes::PushError::Full));
        match how {
            // It reads no more, and may still tell.
            Some(Shutdown::Read) => assert_eq!(producer.arm(), Ok(Armed::Sleep)),
            _ => {
                assert!(is_readable(&producer));
                assert_eq!(producer.arm(), Err(ArmError::HungUp));
            }
        }
    }
}

/// What came as a socket is none.
pub(crate) fn descriptors() {
    for fd in [std::fs::File::open("/dev/null").unwrap().into(), rustix::pipe::pipe().unwrap().0] {
        let sockets = Sockets { producer: None, consumer: Some(fd) };
        let ring = Ring::create(64).unwrap().with_sockets(sockets);
        let end = Pollable::new(ring.untrusted_consumer().unwrap());
        match end {
            // Such a file cannot be polled.
            Err(error) => {
                assert_eq!(error, ipc_shm::ring::pollable::PollableError::Os(Errno::PERM))
            }
            Ok(mut end) => assert_eq!(end.arm(), Ok(Armed::Sleep)),
        }
    }
}
