//! Operations with the faults that the harness is there to find.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::os::fd::OwnedFd;

use ipc_core::Errno;
use ipc_testkit::faults::{Case, Kind, Suite, check};
use ipc_testkit::shared::Shared;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::Timespec;

pub(crate) fn all(suite: &mut Suite) {
    let leak = Case::new("control: forgets the first descriptor", |me| {
        me.operation(forgets_the_first).map(drop)
    });
    suite.must_find(&leak, Kind::Leak);

    let swallowed = Case::new("control: swallows an error", |me| {
        let fd = me.operation(swallows_an_error)?;
        check(fstat(&fd)?.st_size == 4096, "the file is empty")
    });
    suite.must_find(&swallowed, Kind::Swallowed);

    let hang = Case::new("control: hangs when it is interrupted", |me| {
        me.operation(hangs_when_interrupted)?;
        Ok(())
    })
    .limit(Duration::from_secs(5));
    suite.must_find(&hang, Kind::Hang);

    let gives_up = Case::new("control: gives up when it is interrupted", |me| {
        me.operation(|| sleep_until_now().map(drop)).map(drop)
    });
    suite.must_find(&gives_up, Kind::Interrupted);

    let zombie = Case::new("control: leaves a zombie", |me| me.operation(leaves_a_zombie));
    suite.must_find(&zombie, Kind::Leak);

    let mapping = Case::new("control: forgets a mapping", |me| me.operation(forgets_a_mapping));
    suite.must_find(&mapping, Kind::Leak);

    let once = Case::new("control: never works again", |me| me.operation(never_works_again));
    suite.must_find(&once, Kind::Broken);

    let panics = Case::new("control: panics", |me| {
        me.infallible(|| memfd_create("file", MemfdFlags::CLOEXEC).expect("a file"));
        Ok(())
    });
    suite.must_find(&panics, Kind::Crash);
}

fn forgets_the_first() -> Result<(OwnedFd, OwnedFd), Errno> {
    let first = memfd_create("first", MemfdFlags::CLOEXEC)?;
    match memfd_create("second", MemfdFlags::CLOEXEC) {
        Ok(second) => Ok((first, second)),
        Err(errno) => {
            core::mem::forget(first);
            Err(errno)
        }
    }
}

fn swallows_an_error() -> Result<OwnedFd, Errno> {
    let fd = memfd_create("file", MemfdFlags::CLOEXEC)?;
    let _ = ftruncate(&fd, 4096);
    Ok(fd)
}

fn sleep_until_now() -> Result<usize, Errno> {
    poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
}

fn hangs_when_interrupted() -> Result<(), Errno> {
    let (reader, _writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if sleep_until_now() == Err(Errno::INTR) {
        // Nobody ever writes.
        poll(&mut [PollFd::new(&reader, PollFlags::IN)], None)?;
    }
    Ok(())
}

fn leaves_a_zombie() -> Result<(), Errno> {
    let mut child = ipc_core::process::fork_fn(|| 0).map_err(|_| Errno::AGAIN)?;
    match memfd_create("beside it", MemfdFlags::CLOEXEC) {
        Ok(_) => child.wait().map(drop),
        Err(errno) => {
            core::mem::forget(child);
            Err(errno)
        }
    }
}

fn forgets_a_mapping() -> Result<(), std::io::Error> {
    let mapping = Shared::new(0_u8)?;
    memfd_create("beside it", MemfdFlags::CLOEXEC).inspect_err(|_| core::mem::forget(mapping))?;
    Ok(())
}

fn never_works_again() -> Result<(), Errno> {
    static HAS_FAILED: AtomicBool = AtomicBool::new(false);
    if HAS_FAILED.load(Relaxed) {
        return Err(Errno::IO);
    }
    let file = memfd_create("file", MemfdFlags::CLOEXEC);
    file.inspect_err(|_| HAS_FAILED.store(true, Relaxed)).map(drop)
}
