//! POSIX message queues: one message per call, blocking, at most 8 KiB as the system comes.
//!
//! # Safety
//! A queue is opened under a name that has this process's number in it, and the name is removed at once.
//! Its descriptor stays open as long as the process.
#![expect(unsafe_code, reason = "a C interface")]

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::payload::Message;
use crate::queue::{Idle, Queue};
use crate::subject::Sides;

/// The most messages that a queue holds without privileges.
const MESSAGES: i64 = 10;

/// A queue of 10 messages.
#[derive(Clone, Copy, Debug)]
pub struct PosixMq(libc::mqd_t);

impl<const N: usize> Queue<N> for PosixMq {
    const NAME: &'static str = "POSIX mq";
    const SIDES: Sides = Sides::Processes;
    type Pusher = Self;
    type Popper = Self;

    fn of(_: usize) -> Self {
        Self::new::<N>()
    }

    fn pusher(queue: &Arc<Self>) -> Self {
        **queue
    }

    fn popper(queue: &Arc<Self>) -> Self {
        **queue
    }

    fn push(end: &mut Self, message: Message<N>, _: Idle) {
        end.send(&message);
    }

    fn pop(end: &mut Self, _: Idle) -> Message<N> {
        end.receive()
    }
}

impl PosixMq {
    fn new<const N: usize>() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("/ipc-benches-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let name = CString::new(name).expect("no zero in it");
        // SAFETY: integers, for which zeros are values.
        let mut attributes: libc::mq_attr = unsafe { MaybeUninit::zeroed().assume_init() };
        attributes.mq_maxmsg = MESSAGES;
        attributes.mq_msgsize = size_of::<Message<N>>() as i64;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
        // SAFETY: the name is a C string, and the attributes live until the call returns.
        let queue =
            unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, ptr::from_ref(&attributes)) };
        assert!(queue != -1, "a message queue: {}", io::Error::last_os_error());
        // SAFETY: the name is a C string.
        let unlinked = unsafe { libc::mq_unlink(name.as_ptr()) };
        assert_eq!(unlinked, 0, "its name: {}", io::Error::last_os_error());
        Self(queue)
    }

    fn send<const N: usize>(self, message: &Message<N>) {
        let bytes: &[u8] = bytemuck::bytes_of(message);
        // SAFETY: the bytes are readable, and the queue is open.
        let sent = unsafe { libc::mq_send(self.0, bytes.as_ptr().cast(), bytes.len(), 0) };
        assert_eq!(sent, 0, "a message sent: {}", io::Error::last_os_error());
    }

    fn receive<const N: usize>(self) -> Message<N> {
        let mut message = [0; N];
        let bytes: &mut [u8] = bytemuck::bytes_of_mut(&mut message);
        let (to, len, no_priority) = (bytes.as_mut_ptr().cast(), bytes.len(), ptr::null_mut());
        // SAFETY: the bytes are writable, and the queue is open.
        let received = unsafe { libc::mq_receive(self.0, to, len, no_priority) };
        assert_eq!(received, len as isize, "a message: {}", io::Error::last_os_error());
        message
    }
}
