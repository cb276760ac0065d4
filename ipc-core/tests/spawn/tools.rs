//! A program that can be looked at, and what else the cases need.
//!
//! # Safety
//!
//! Thin calls of libc, each with arguments that live as long as the call.
#![expect(unsafe_code, reason = "ptrace, fork and dispositions have no safe wrapper")]

use alloc::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ipc_core::process::{Child, Signal, Spawn, SpawnError};
use ipc_testkit::cases::seccomp::{When, answer};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// A running `cat`, which has started and sleeps: nothing of it changes while it is looked at.
pub(crate) struct Held {
    child: Child,
    to: OwnedFd,
    from: OwnedFd,
}

impl Held {
    /// Starts `cat` as the builder says, with pipes at 0 and 1.
    pub(crate) fn start(cat: Spawn<'_>) -> Self {
        let ((stdin, to), (from, stdout)) = (pipe(), pipe());
        let child = {
            // It now lives no longer than the pipes.
            let mut cat = cat;
            cat.stdin(stdin.as_fd()).stdout(stdout.as_fd()).spawn().expect("spawn")
        };
        drop((stdin, stdout));
        // It has opened its libraries and closed them when it answers.
        rustix::io::write(&to, b"?").expect("write");
        let mut answer = [0];
        assert_eq!(rustix::io::read(&from, &mut answer), Ok(1));
        assert_eq!(answer, *b"?");
        Self { child, to, from }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().as_raw_nonzero().get()
    }

    /// A file of its directory in `/proc`.
    pub(crate) fn proc(&self, name: &str) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/{name}", self.pid())).expect("/proc")
    }

    /// A line of `/proc/PID/status`.
    pub(crate) fn status(&self, key: &str) -> String {
        field(&String::from_utf8(self.proc("status")).expect("text"), key)
    }

    /// A field of `/proc/PID/stat`, counted from one as in its manual; beyond the name.
    pub(crate) fn stat(&self, number: usize) -> i64 {
        let stat = String::from_utf8(self.proc("stat")).expect("text");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        fields.split(' ').nth(number - 3).expect("a field").parse().expect("a number")
    }

    /// Its descriptors: what each number stands for.
    pub(crate) fn fds(&self) -> BTreeMap<i32, String> {
        fds_of(self.pid())
    }

    /// Ends it.
    pub(crate) fn end(self) {
        let Self { mut child, to, from } = self;
        drop(to);
        assert!(child.wait().expect("wait").success());
        drop(from);
    }
}

/// A line of a `status` file.
pub(crate) fn field(status: &str, key: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.expect("a line of this name").trim().to_owned()
}

pub(crate) fn fds_of(pid: i32) -> BTreeMap<i32, String> {
    let directory = format!("/proc/{pid}/fd");
    let numbers = std::fs::read_dir(&directory).expect("/proc").map(|entry| {
        let entry = entry.expect("an entry");
        let number = entry.file_name().to_str().expect("a number").parse().expect("a number");
        let link = std::fs::read_link(entry.path()).expect("a link");
        (number, link.to_str().expect("text").to_owned())
    });
    numbers.collect()
}

/// Both ends close-on-exec: reading, writing.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe")
}

/// `cat` without arguments, whose stdin and stdout [`Held`] sets.
pub(crate) fn cat<'fd>() -> Spawn<'fd> {
    Spawn::new("/bin/cat")
}

/// Runs the program, which says `true` or `false`.
pub(crate) fn succeeds(program: &Spawn<'_>) -> bool {
    program.spawn().expect("spawn").wait().expect("wait").success()
}

pub(crate) fn error_of(program: &Spawn<'_>) -> SpawnError {
    program.spawn().expect_err("the child should not have started")
}

/// Waits until the child has stopped.
pub(crate) fn await_stop(child: &Child) {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    waitid(WaitId::PidFd(child.as_fd()), options).expect("waitid").expect("stopped");
}

/// A directory of this case, gone at the end of the scope.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ipc-core-spawn-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a place for files");
        Self(path)
    }

    /// Writes a file with these permissions.
    pub(crate) fn file(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a place")).expect("a directory");
        std::fs::write(&path, bytes).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        path
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("remove what the case wrote");
    }
}

/// Makes the kernel refuse `clone3`.
pub(crate) fn refuse_clone3(errno: i32) {
    // Its second argument is the size of the first.
    answer(libc::SYS_clone3, &When::NotEqual(1, 0), refusal(errno));
}

pub(crate) fn refuse_close_range(errno: i32) {
    // Of any range.
    answer(libc::SYS_close_range, &When::NotEqual(0, u32::MAX), refusal(errno));
}

pub(crate) const fn refusal(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// The descriptor of this number, which the case knows to be open.
pub(crate) fn borrow<'fd>(number: i32) -> BorrowedFd<'fd> {
    // SAFETY: it is open as long as the case runs.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Closes a number that nobody owns.
pub(crate) fn close_number(number: i32) {
    // SAFETY: used on standard streams only.
    assert_eq!(unsafe { libc::close(number) }, 0);
}

/// Ignores the signal.
pub(crate) fn ignore(signal: Signal) {
    ipc_testkit::cases::signals::on_signal(signal.as_raw(), libc::SIG_IGN, 0);
}

/// Blocks the signals in this thread.
pub(crate) fn block(signals: &[Signal]) {
    let mut set = core::mem::MaybeUninit::uninit();
    // SAFETY: writes the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set was written above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal.as_raw()) };
    }
    // SAFETY: reads the set.
    let done =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), core::ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// A plain fork whose child runs `f` and ends with its code.
pub(crate) fn raw_fork(f: impl FnOnce() -> i32) -> Pid {
    // SAFETY: the cases that call this have one thread.
    match Pid::from_raw(unsafe { libc::fork() }) {
        Some(pid) => pid,
        None => {
            let code = f();
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
    }
}

/// The libraries differ in its type.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// A request of `ptrace` that takes numbers.
pub(crate) fn ptrace(request: Request, pid: Pid, data: usize) {
    // SAFETY: none of the requests that the cases make writes to memory of this process.
    let done = unsafe { libc::ptrace(request, pid.as_raw_nonzero().get(), 0_usize, data) };
    assert!(done >= 0, "ptrace({request}): {}", io::Error::last_os_error());
}

/// Waits for a change of a traced or adopted process: its wait status.
pub(crate) fn raw_wait(pid: Pid) -> i32 {
    let mut status = 0;
    // SAFETY: the status is written during the call only.
    let waited = unsafe { libc::waitpid(pid.as_raw_nonzero().get(), &mut status, libc::__WALL) };
    assert_eq!(waited, pid.as_raw_nonzero().get(), "waitpid: {}", io::Error::last_os_error());
    status
}

/// What a traced process said with its event: the new process.
pub(crate) fn ptrace_new_process(pid: Pid) -> Pid {
    let mut message: libc::c_ulong = 0;
    let (request, number) = (libc::PTRACE_GETEVENTMSG, pid.as_raw_nonzero().get());
    // SAFETY: writes the message.
    let done = unsafe { libc::ptrace(request, number, 0_usize, &mut message) };
    assert_eq!(done, 0, "ptrace: {}", io::Error::last_os_error());
    Pid::from_raw(message as i32).expect("a process id")
}

/// Takes a flag from the next `clone` of a process that is stopped at the beginning of a call.
#[cfg(target_arch = "x86_64")]
pub(crate) fn take_flag_if_clone(pid: Pid, flag: u64) -> bool {
    let mut registers = core::mem::MaybeUninit::<libc::user_regs_struct>::uninit();
    let number = pid.as_raw_nonzero().get();
    // SAFETY: writes the registers.
    let got =
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, number, 0_usize, registers.as_mut_ptr()) };
    assert_eq!(got, 0, "ptrace: {}", io::Error::last_os_error());
    // SAFETY: written above.
    let mut registers = unsafe { registers.assume_init() };
    if registers.orig_rax != libc::SYS_clone as u64 || registers.rdi & flag == 0 {
        return false;
    }
    registers.rdi &= !flag;
    // SAFETY: reads the registers.
    let set = unsafe { libc::ptrace(libc::PTRACE_SETREGS, number, 0_usize, &registers) };
    assert_eq!(set, 0, "ptrace: {}", io::Error::last_os_error());
    true
}

/// Becomes the user `nobody`, for good.
pub(crate) fn become_nobody() {
    // SAFETY: changes the user of this process, which has one thread.
    let done = unsafe { libc::setresuid(65534, 65534, 65534) };
    if done != 0 {
        ipc_testkit::cases::skip("not root");
    }
}
