//! The functions that a zygote calls before it serves.
//!
//! # Safety
//!
//! The functions' type is vouched for by the only writer of the socket, which encodes those of
//! [`ZygoteBuilder::preload`](super::ZygoteBuilder::preload) and nothing else.
#![expect(unsafe_code, reason = "a function by name")]

use core::mem;
use std::os::fd::OwnedFd;
use std::panic::catch_unwind;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::set_parent_process_death_signal;
use rustix::time::Timespec;

use super::message::Reply;
use super::signals;
use crate::Result;
use crate::fdpass::send_with_fds;
use crate::function::{Function, FunctionRef};
use crate::process::fork_fn::flush_stdout;
use crate::process::signal_set::set_mask;
use crate::process::threads::is_single_threaded;
use crate::process::{Signal, SignalSet};

/// Calls them all, and says before each one that it begins. The error is the reply.
pub(super) fn run(names: &[u8], link: &OwnedFd, application: &OwnedFd) -> Result<(), Reply> {
    // A function that never returns must not outlive the application. The thread that made this process
    // waits for it, and does not end before.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(Reply::Setup)?;
    if has_ended(application)? {
        return Err(Reply::Malformed);
    }
    for (index, name) in names.chunks_exact(FunctionRef::LEN).enumerate() {
        let name = name.try_into().map_err(|_| Reply::Malformed)?;
        // SAFETY: the application encoded a function of this type.
        let function = unsafe { Function::<fn()>::from_bytes(name) };
        let function = function.and_then(|name| name.resolve()).map_err(Reply::Function)?;
        // There are some hundreds at most. Who does not hear it has ended.
        let _ = send_with_fds(link, &Reply::Preloading(index as i32).encode(0), &[]);
        call(function)?;
        match is_single_threaded() {
            Ok(true) => {}
            Ok(false) => return Err(Reply::HasThreads),
            Err(errno) => return Err(Reply::ThreadsUnknown(errno)),
        }
    }
    set_mask(SignalSet::ALL_BUT_LIBCS);
    signals::drop_handlers();
    set_parent_process_death_signal(None).map_err(Reply::Setup)
}

fn call(function: fn()) -> Result<(), Reply> {
    let result = catch_unwind(function);
    // What it printed must not be printed again by each child.
    flush_stdout();
    result.map_err(|payload| {
        // Dropping it runs code that may panic again.
        mem::forget(payload);
        Reply::Panicked
    })
}

fn has_ended(application: &OwnedFd) -> Result<bool, Reply> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(application, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, Some(&at_once))).map(|ready| ready > 0).map_err(Reply::Setup)
}
