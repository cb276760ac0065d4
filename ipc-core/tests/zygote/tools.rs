//! What several files of these cases need.
//!
//! # Safety
//!
//! Thin calls of libc with arguments that live as long as the call.
#![expect(unsafe_code, reason = "descriptors by number, and fork")]

use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use ipc_core::clock::Deadline;
use ipc_core::process::{Child, ExitStatus, Pid, Start, Zygote};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, wait};

/// More than any step takes; the runner's own limit is a minute.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// How soon orphans must be gone.
pub(crate) const SOON: Duration = Duration::from_secs(1);

pub(crate) fn status(mut child: Child) -> ExitStatus {
    child.wait_timeout(LONG).expect("wait").expect("it ends")
}

/// Spawns and returns the exit code.
pub(crate) fn code_of(zygote: &Zygote, entry: fn(Start) -> i32, bytes: &[u8]) -> i32 {
    match status(zygote.spawn(entry, bytes, &[]).expect("spawn")) {
        ExitStatus::Exited(code) => code,
        other => panic!("{other}"),
    }
}

pub(crate) fn zygote_pid(zygote: &Zygote) -> i32 {
    zygote.id().expect("it was started").as_raw_nonzero().get()
}

/// A thread that sleeps until the process ends.
pub(crate) fn sleeping_thread() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
}

/// Waits until something can be read.
pub(crate) fn readable(fd: &impl AsFd) -> bool {
    readable_within(fd, LONG)
}

pub(crate) fn readable_within(fd: &impl AsFd, limit: Duration) -> bool {
    let limit = limit.try_into().expect("a small span");
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)).expect("poll") > 0
}

/// Reaps every child and adopted orphan; `false` if some still live when the time is up.
pub(crate) fn all_gone_within(limit: Duration) -> bool {
    let end = Deadline::after(limit);
    loop {
        match wait(WaitOptions::NOHANG) {
            Err(rustix::io::Errno::CHILD) => return true,
            Ok(Some(_)) => {}
            Ok(None) if end.has_passed() => return false,
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(errno) => panic!("wait: {errno}"),
        }
    }
}

/// A forked process that runs `f`; the caller has one thread.
pub(crate) fn raw_fork(f: impl FnOnce() -> i32) -> Pid {
    // SAFETY: as above.
    match Pid::from_raw(unsafe { libc::fork() }) {
        Some(pid) => pid,
        None => {
            // A panic must not run on in the frames of the case.
            let code = std::panic::catch_unwind(core::panic::AssertUnwindSafe(f)).unwrap_or(101);
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits for the end of a child of this process: its wait status.
pub(crate) fn raw_wait(pid: Pid) -> i32 {
    let (_, status) = rustix::process::waitpid(Some(pid), WaitOptions::empty())
        .expect("waitpid")
        .expect("it has ended");
    status.as_raw()
}

/// Whether every thread of the process has stopped.
pub(crate) fn has_stopped(pid: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    threads.expect("it lives").all(|thread| {
        let stat = std::fs::read_to_string(thread.expect("/proc").path().join("stat"));
        stat.expect("it lives").contains(") T ")
    })
}

/// A descriptor known by its number, which must be open.
pub(crate) fn by_number(number: i32) -> BorrowedFd<'static> {
    assert!(is_open(number));
    // SAFETY: it is open, and no caller closes it.
    unsafe { BorrowedFd::borrow_raw(number) }
}

pub(crate) fn is_open(number: i32) -> bool {
    // SAFETY: reads a flag.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

pub(crate) fn close_number(number: i32) {
    // SAFETY: used on the standard streams.
    unsafe { libc::close(number) };
}

/// Puts a copy of `fd` in place of standard output.
pub(crate) fn onto_stdout(fd: &OwnedFd) {
    onto(fd, 1);
}

/// Puts a copy of `fd` in place of another open descriptor, whose owner then owns the copy.
pub(crate) fn onto(fd: &OwnedFd, number: i32) {
    assert!(is_open(number));
    // SAFETY: the number stays open.
    assert_eq!(unsafe { libc::dup2(fd.as_raw_fd(), number) }, number);
}

/// How many bytes of a socket its peer has not read.
pub(crate) fn unread(number: i32) -> i32 {
    let mut bytes = 0;
    // SAFETY: writes an `int`.
    assert_eq!(unsafe { libc::ioctl(number, libc::TIOCOUTQ, &raw mut bytes) }, 0);
    bytes
}

/// The file that each frame of the caller's stack has its code from.
pub(crate) fn files_of_frames() -> Vec<String> {
    let mut frames = [core::ptr::null_mut(); 64];
    // SAFETY: writes at most so many addresses.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), 64) };
    let file_of = |frame: &*mut core::ffi::c_void| {
        let mut info = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: looks an address up, and writes the structure.
        if unsafe { libc::dladdr(*frame, info.as_mut_ptr()) } == 0 {
            return String::new();
        }
        // SAFETY: it was written.
        let name = unsafe { info.assume_init() }.dli_fname;
        // SAFETY: the loader keeps the name of a loaded file.
        unsafe { core::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned()
    };
    frames[..count as usize].iter().map(file_of).collect()
}

/// The file of the loader that the kernel loaded for this program.
pub(crate) fn loader() -> Option<PathBuf> {
    // SAFETY: reads a number.
    let base = unsafe { libc::getauxval(libc::AT_BASE) };
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let line = maps.lines().find(|line| line.starts_with(&format!("{base:x}-")))?;
    Some(line[line.find('/')?..].into())
}

pub(crate) fn ignore(signal: i32) {
    // SAFETY: no code runs for an ignored signal.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

pub(crate) fn pause_for_ever() -> ! {
    loop {
        // SAFETY: sleeps until a signal.
        unsafe { libc::pause() };
    }
}

/// Whether a library could be opened for [`foreign_function`].
pub(crate) fn open_foreign_library() -> bool {
    foreign_function().is_some()
}

/// The address of a function in a library that is opened for it.
pub(crate) fn foreign_function() -> Option<*const ()> {
    for (library, symbol) in [(c"libresolv.so.2", c"ns_datetosecs"), (c"libz.so.1", c"zlibVersion")]
    {
        // SAFETY: both libraries of the system run no harmful code when they are opened.
        let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
        if !handle.is_null() {
            // SAFETY: the handle is valid.
            let address = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
            if !address.is_null() {
                return Some(address.cast());
            }
        }
    }
    None
}

/// Takes the address for an entry. It is only ever named, never called.
pub(crate) fn as_entry(address: *const ()) -> fn(Start) -> i32 {
    // SAFETY: a function pointer that is not null; nobody calls it.
    unsafe { core::mem::transmute::<*const (), fn(Start) -> i32>(address) }
}

/// As [`as_entry`], for a function that is to be called first.
pub(crate) fn as_function(address: *const ()) -> fn() {
    // SAFETY: as above.
    unsafe { core::mem::transmute::<*const (), fn()>(address) }
}
