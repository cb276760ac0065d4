//! Boost.Interprocess's message queue.
//!
//! # Safety
//! A queue is made once, under a name that is removed at once, in memory that children forked later share, and never destroyed.
#![expect(unsafe_code, reason = "a C interface")]

use core::ffi::{c_char, c_void};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::ffi::CString;
use std::sync::Arc;

use ipc_benches::payload::Message;
use ipc_benches::queue::{Idle, Queue, both, crews, one_way};
use ipc_benches::subject::{Sides, Subject};

/// The subjects that a workload of the family `mpmc` gets.
pub(crate) fn peers(workload: &str) -> Vec<Subject> {
    match workload {
        "1p1c 56 B" => vec![one_way::<7, MessageQueue>()],
        "1p1c 64 B" => vec![one_way::<8, MessageQueue>()],
        "2p2c 64 B, each does both" => vec![both::<8, MessageQueue>()],
        "2p2c 64 B, two on a processor" => vec![crews::<8, MessageQueue>(2)],
        "4p4c 64 B, unpinned" => vec![crews::<8, MessageQueue>(4)],
        _ => Vec::new(),
    }
}

unsafe extern "C" {
    fn ipc_boost_queue(name: *const c_char, most: usize, size: usize) -> *mut c_void;
    fn ipc_boost_queue_send(queue: *mut c_void, message: *const c_void, size: usize);
    fn ipc_boost_queue_receive(queue: *mut c_void, message: *mut c_void, size: usize) -> usize;
}

/// `message_queue`, which blocks.
#[derive(Clone, Copy, Debug)]
struct MessageQueue(NonNull<c_void>);

// SAFETY: any thread may call a queue.
unsafe impl Send for MessageQueue {}
// SAFETY: any thread may call a queue.
unsafe impl Sync for MessageQueue {}

impl<const N: usize> Queue<N> for MessageQueue {
    const NAME: &'static str = "Boost message_queue";
    const SIDES: Sides = Sides::Processes;
    type Pusher = Self;
    type Popper = Self;

    fn of(capacity: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ipc-benches-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let name = CString::new(name).expect("no zero in it");
        // SAFETY: the name is a C string.
        let queue = unsafe { ipc_boost_queue(name.as_ptr(), capacity, size_of::<Message<N>>()) };
        Self(NonNull::new(queue).expect("a queue"))
    }

    fn pusher(queue: &Arc<Self>) -> Self {
        **queue
    }

    fn popper(queue: &Arc<Self>) -> Self {
        **queue
    }

    fn push(end: &mut Self, message: Message<N>, _: Idle) {
        // SAFETY: the message is readable, and has the size of the queue's.
        unsafe {
            ipc_boost_queue_send(end.0.as_ptr(), message.as_ptr().cast(), size_of_val(&message));
        }
    }

    fn pop(end: &mut Self, _: Idle) -> Message<N> {
        let mut message = [0; N];
        let (to, size) = (message.as_mut_ptr().cast(), size_of_val(&message));
        // SAFETY: the message is writable, and has the size of the queue's.
        let received = unsafe { ipc_boost_queue_receive(end.0.as_ptr(), to, size) };
        assert_eq!(received, size, "a message");
        message
    }
}
