//! The little of the operating system that a measurement needs: shared memory, fork, pinning, time.
//!
//! # Safety
//! Three operations need `unsafe`: mapping memory, `fork`, and ending a forked child without
//! running the parent's exit handlers. Each is wrapped here so that everything else in this
//! package, except the peers that are C interfaces, is safe code.
#![expect(unsafe_code, reason = "mmap, fork and _exit have no safe form")]

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;

use core::ffi::c_void;
use core::ptr;
use core::slice;
use core::sync::atomic::AtomicU32;
use core::time::Duration;

use bytemuck::Zeroable;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{self, Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::{CpuSet, futex, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Moves `value` into memory that children forked later share with this process.
///
/// The memory is never given back: subjects live as long as the run.
///
/// # Panics
/// Panics when the kernel has no memory left.
pub fn place<T: Sync>(value: T) -> &'static T {
    let address = mapped(size_of::<T>(), align_of::<T>()).cast::<T>();
    // SAFETY: the mapping is page aligned, large enough, writable, and nobody else knows it yet.
    unsafe { address.write(value) };
    // SAFETY: the value was just written and the mapping is never removed.
    unsafe { &*address }
}

/// As many zeroed elements as `count` says, in memory like that of [`place`].
///
/// # Panics
/// Panics when the kernel has no memory left.
pub fn place_zeroed<T: Zeroable + Sync>(count: usize) -> &'static [T] {
    let address = mapped(count * size_of::<T>(), align_of::<T>()).cast::<T>();
    // SAFETY: the mapping has room for `count` elements, is aligned and never removed, and zeros,
    // of which the kernel makes new memory, are values of the type.
    unsafe { slice::from_raw_parts(address, count) }
}

/// Memory that children forked later share with this process, as long as the run.
fn mapped(bytes: usize, align: usize) -> *mut c_void {
    assert!(align <= 4096, "a mapping is aligned to a page");
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
    unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            bytes.max(1),
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
        )
    }
    .expect("memory for a subject")
}

/// Monotonic nanoseconds: the same clock in every process.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Sleeps until `word` no longer holds `seen`, or until a wake, whichever the kernel reports first.
pub fn futex_wait(word: &AtomicU32, seen: u32) {
    // Every error that can occur here (AGAIN, INTR) means that the caller should look again.
    let _look_again = futex::wait(word, futex::Flags::empty(), seen, None);
}

/// Wakes everyone who sleeps on `word`.
pub fn futex_wake(word: &AtomicU32) {
    futex::wake(word, futex::Flags::empty(), i32::MAX as u32).expect("a futex word is mapped");
}

/// The first two processors that this process may use.
///
/// # Errors
/// Says so when there is only one.
pub fn two_cpus() -> io::Result<[usize; 2]> {
    let allowed = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    match (cpus.next(), cpus.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(io::Error::other("two processors are needed, one is allowed")),
    }
}

/// Pins the calling thread.
///
/// # Errors
/// Passes on the kernel's answer.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Asks for as large a share of the processor as we may have, for this process and its children.
///
/// Other work on the machine then disturbs fewer slices. It is a courtesy of the kernel, not a
/// condition: what was granted stands in the report, and disturbed slices are recognised and
/// dropped either way.
pub fn raise_priority() {
    let granted = process::setpriority_process(None, -20);
    if granted.is_ok() {
        // With automatic grouping, niceness counts only inside the session; this counts outside.
        // Absent or refused, it changes nothing that we rely on.
        let _unchanged = fs::write("/proc/self/autogroup", "-20");
    }
}

/// The niceness of this process.
#[must_use]
pub fn niceness() -> i32 {
    process::getpriority_process(None).unwrap_or(0)
}

/// How long the calling thread has been ready to run while something else had its processor.
#[derive(Debug)]
pub(crate) struct RunDelay(Option<fs::File>);

impl RunDelay {
    /// Opens the kernel's account of the calling thread; where there is none, delays read as zero.
    pub(crate) fn of_this_thread() -> Self {
        Self(fs::File::open("/proc/thread-self/schedstat").ok())
    }

    /// Nanoseconds of waiting, and how often the thread was put on a processor, so far.
    pub(crate) fn total(&self) -> [u64; 2] {
        let mut text = [0; 96];
        let Some(read) = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()) else {
            return [0; 2];
        };
        let line = core::str::from_utf8(&text[..read]).unwrap_or_default();
        let mut fields = line.split_ascii_whitespace().skip(1);
        core::array::from_fn(|_| fields.next().and_then(|field| field.parse().ok()).unwrap_or(0))
    }
}

/// A forked child that dies with its parent and is killed and reaped on drop.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Child {
    /// Runs `body` in a forked child.
    ///
    /// The caller has one thread only, so the child may allocate and lock. A panic in the child
    /// prints itself and ends the child with status 101.
    pub(crate) fn fork(body: impl FnOnce()) -> io::Result<Self> {
        let parent = process::getpid();
        // SAFETY: this process has a single thread (stated above), so no lock is held by another.
        let forked = unsafe { libc::fork() };
        if forked == 0 {
            let ran = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
                process::set_parent_process_death_signal(Some(Signal::KILL))
                    .expect("a signal for the parent's death");
                // A parent that died before the line above will never send it.
                if process::getppid() == Some(parent) {
                    body();
                }
            }));
            exit_now(if ran.is_ok() { 0 } else { 101 });
        }
        let pid = match Pid::from_raw(forked) {
            Some(pid) if forked > 0 => pid,
            _ => return Err(io::Error::last_os_error()),
        };
        let pidfd = process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, pidfd, reaped: false })
    }

    /// The exit status, or `None` when a signal ended it. Waits for the end.
    pub(crate) fn wait(mut self) -> io::Result<Option<i32>> {
        let status = process::waitpid(Some(self.pid), WaitOptions::empty())?;
        self.reaped = true;
        Ok(status.and_then(|(_, status)| status.exit_status()))
    }

    /// Waits until one of `children` has ended, and says which; `None` after `limit`.
    pub(crate) fn wait_any(children: &[&Self], limit: Duration) -> io::Result<Option<usize>> {
        let mut polled: Vec<_> =
            children.iter().map(|child| PollFd::new(&child.pidfd, PollFlags::IN)).collect();
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut polled, Some(&limit)) {
            Ok(_) => Ok(polled.iter().position(|fd| !fd.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // An unreaped child keeps its pid, so neither call can meet a stranger; both can only
            // fail when it has already ended, which is what is wanted.
            let _ended = process::kill_process(self.pid, Signal::KILL);
            let _reaped = process::waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}

/// Ends the calling process at once: no exit handlers, no flushing of the parent's buffers.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes any status and does not return.
    unsafe { libc::_exit(status) }
}
