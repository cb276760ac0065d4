//! A storm: signals that interrupt this thread without end, and calls that are made in it.
//!
//! What a call waits for happens when it has been interrupted often enough, and not before, so no case
//! passes because nothing came. Each call prints how many signals came in it.
//!
//! # Safety
//!
//! The handler touches atomics, and writes to a descriptor that outlives the storm.
#![expect(unsafe_code, reason = "a signal handler knows its descriptor by number")]

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use core::time::Duration;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::panic::catch_unwind;
use std::time::Instant;

use super::doing;
use super::signals::{interrupt_every, on_signal};
use crate::sys::{self, Change};

/// A handler that lets system calls be interrupted, and one that lets them be restarted.
pub const HANDLERS: [i32; 2] = [0, libc::SA_RESTART];

/// More than anything takes.
pub const LONG: Duration = Duration::from_secs(50);

/// How long a call may have to wait in vain.
const SPAN: Duration = Duration::from_millis(50);

/// How often it is given a chance to end in time.
const TRIES: usize = 10;

/// How many signals are enough to show something.
const ENOUGH: usize = 100;

/// How many signals have come to this process.
static CAME: AtomicUsize = AtomicUsize::new(0);
/// Which one of them says *go*.
static LAST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Where to.
static GO: AtomicI32 = AtomicI32::new(-1);

extern "C" fn handler(_: i32) {
    if CAME.fetch_add(1, SeqCst) + 1 == LAST.load(SeqCst) {
        // SAFETY: `Go` outlives the storm that it was given to.
        let go = unsafe { BorrowedFd::borrow_raw(GO.load(SeqCst)) };
        // Should it fail, somebody waits for it, and the case runs out of time.
        let _ = rustix::io::write(go, b"g");
    }
}

/// The event that a storm gives when a call has been interrupted often enough.
#[derive(Debug)]
pub struct Go {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Go {
    /// Nobody has said it.
    #[expect(
        clippy::new_without_default,
        reason = "it has descriptors, which nobody makes unasked"
    )]
    pub fn new() -> Self {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        Self { reader, writer }
    }

    /// Says it without a storm.
    pub fn say(&self) {
        assert_eq!(rustix::io::write(&self.writer, b"g"), Ok(1));
    }

    /// What another process waits for, which the storm does not reach.
    pub fn wait(&self) {
        assert_eq!(rustix::io::read(&self.reader, &mut [0; 1]), Ok(1));
    }
}

/// Makes a call in a storm, which says *go* when enough signals have come.
pub fn storm<T>(what: &str, flags: i32, go: &Go, call: impl FnOnce() -> T) -> T {
    doing(what);
    on_signal(libc::SIGALRM, handler as extern "C" fn(i32) as libc::sighandler_t, flags);
    GO.store(go.writer.as_raw_fd(), SeqCst);
    let before = CAME.load(SeqCst);
    LAST.store(before + ENOUGH, SeqCst);
    let began = Instant::now();
    interrupt_every(50);
    let result = call();
    let came = CAME.load(SeqCst) - before;
    interrupt_every(0);
    let restart = if flags == 0 { "" } else { ", with SA_RESTART" };
    println!("  {what}{restart}: {came} signals in {:?}", began.elapsed());
    assert!(came > 0, "{what} was never interrupted");
    result
}

/// The same, of a call that waits for what another process does when it hears *go*.
pub fn with_peer<T>(what: &str, flags: i32, peer: impl FnOnce(), call: impl FnOnce() -> T) -> T {
    let go = Go::new();
    let peer = AssertUnwindSafe(|| {
        go.wait();
        peer();
    });
    let peer = sys::fork(|| if catch_unwind(peer).is_ok() { 0 } else { 101 }).expect("fork");
    let result = storm(what, flags, &go, call);
    doing("waiting for the peer of a call in a storm");
    assert_eq!(sys::wait(peer).expect("wait"), Change::Exited(0));
    result
}

/// The same, of a call that interruptions end, which is `None`, until it comes to its result.
pub fn until_done<T>(
    what: &str,
    flags: i32,
    peer: impl FnOnce(),
    mut call: impl FnMut() -> Option<T>,
) -> T {
    let mut ended = 0;
    let result = with_peer(what, flags, peer, || {
        loop {
            match call() {
                Some(result) => return result,
                None => ended += 1,
            }
        }
    });
    println!("    {ended} of them ended the call");
    assert!(ended > 0, "{what} is not interruptible");
    result
}

/// A call that waits in vain does so exactly for the time that it is given.
///
/// A loaded machine may delay some runs. A wait that interruptions lengthen is late each time, or hangs.
pub fn in_vain(what: &str, flags: i32, mut call: impl FnMut(Duration)) {
    in_vain_with(what, flags, || (), |(), span| call(span));
}

/// The same, of a call that uses up what was made for it.
pub fn in_vain_with<T>(
    what: &str,
    flags: i32,
    mut make: impl FnMut() -> T,
    mut call: impl FnMut(T, Duration),
) {
    let in_time = (0..TRIES).any(|_| {
        let made = make();
        let took = storm(what, flags, &Go::new(), || {
            let began = Instant::now();
            call(made, SPAN);
            began.elapsed()
        });
        assert!(took >= SPAN, "{what} took {took:?}");
        took < SPAN + SPAN / 10
    });
    assert!(in_time, "{what} takes longer than it may");
}

/// Repeats a call whose time is its own, until enough signals have come.
pub fn again_and_again(what: &str, flags: i32, mut call: impl FnMut()) {
    let mut calls = 0;
    storm(what, flags, &Go::new(), || {
        while CAME.load(SeqCst) < LAST.load(SeqCst) {
            call();
            calls += 1;
        }
    });
    println!("    {calls} calls");
}
