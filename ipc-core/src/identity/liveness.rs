//! Asking the kernel whether a process lives.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, openat, readlinkat_raw};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, test_kill_process};

use super::{Incarnation, ProcessId};
use crate::Errno;

/// What the kernel says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It runs, sleeps or is stopped; at least one of its threads exists.
    Alive,
    /// All its threads have ended, be it a zombie or long gone. This is final.
    Dead,
    /// The kernel did not say: out of descriptors, refused by a sandbox, or `/proc` is hidden.
    Unknown,
}

static_assertions::assert_impl_all!(Liveness: Send, Sync);

impl ProcessId {
    /// Whether this incarnation of the process lives, as the kernel sees it from the calling
    /// process's pid namespace.
    ///
    /// A few system calls, about 5 µs. The caller must know that the id comes from its own
    /// [`Domain`](super::Domain). A zombie is dead, a recycled pid is somebody else, and a
    /// process whose first thread has ended is alive while another runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::{Liveness, ProcessId};
    ///
    /// assert_eq!(ProcessId::current()?.liveness(), Liveness::Alive);
    /// # Ok::<(), ipc_core::identity::NoIdentity>(())
    /// ```
    #[must_use]
    pub fn liveness(self) -> Liveness {
        match pidfd_open(self.pid(), PidfdFlags::empty()) {
            Ok(pidfd) => self.liveness_by(&pidfd),
            Err(errno) if is_gone(errno) => Liveness::Dead,
            Err(_) => self.liveness_without_pidfd(),
        }
    }

    /// A descriptor of this incarnation of the process, that becomes readable when it dies: for an event loop.
    ///
    /// As for [`liveness`](Self::liveness), the id must come from the caller's own [`Domain`](super::Domain).
    ///
    /// # Errors
    ///
    /// [`Liveness::Dead`], and else [`Liveness::Unknown`]: there is no descriptor by which its death could be told, because
    /// the kernel or a sandbox refuses, or because it does not say whose it would be.
    ///
    /// # Examples
    ///
    /// ```
    /// use ipc_core::identity::{Liveness, ProcessId};
    /// use ipc_core::process::fork_fn;
    ///
    /// let (mut asks, tells) = std::io::pipe()?;
    /// let mut child = fork_fn(|| {
    ///     let me = ProcessId::current().expect("a Linux with /proc").to_bits().to_ne_bytes();
    ///     std::io::Write::write_all(&mut &tells, &me).map_or(1, |()| 0)
    /// })?;
    /// let mut id = [0; 8];
    /// std::io::Read::read_exact(&mut asks, &mut id)?;
    /// let id = ProcessId::from_bits(u64::from_ne_bytes(id)).expect("an id");
    /// child.wait()?;
    /// assert_eq!(id.pidfd().unwrap_err(), Liveness::Dead);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn pidfd(self) -> Result<OwnedFd, Liveness> {
        match pidfd_open(self.pid(), PidfdFlags::empty()) {
            Ok(pidfd) => match self.liveness_by(&pidfd) {
                Liveness::Alive => Ok(pidfd),
                other => Err(other),
            },
            Err(errno) if is_gone(errno) => Err(Liveness::Dead),
            Err(_) => match self.liveness_without_pidfd() {
                Liveness::Dead => Err(Liveness::Dead),
                Liveness::Alive | Liveness::Unknown => Err(Liveness::Unknown),
            },
        }
    }

    fn liveness_by(self, pidfd: &OwnedFd) -> Liveness {
        let found = if self.has_ticks() { start_time(self.pid()) } else { inode(pidfd) };
        match found {
            Some(found) if Self::new(self.pid(), found) != self => Liveness::Dead,
            Some(_) => has_exited(pidfd),
            // The pidfd holds the pid: if that process has ended, then so has this incarnation
            // of it, whichever it was.
            None if has_exited(pidfd) == Liveness::Dead => Liveness::Dead,
            None => Liveness::Unknown,
        }
    }

    #[cold]
    fn liveness_without_pidfd(self) -> Liveness {
        match test_kill_process(self.pid()) {
            Err(Errno::SRCH) => return Liveness::Dead,
            Ok(()) | Err(Errno::PERM) => {}
            Err(_) => return Liveness::Unknown,
        }
        match stat(self.pid()) {
            Some(stat) if !self.has_ticks() => {
                // Only a zombie can be told without comparing incarnations, for nobody can take the pid
                // of a zombie: it is either ours and dead, or ours died before it.
                if stat.is_dead() { Liveness::Dead } else { Liveness::Unknown }
            }
            Some(stat) => {
                let same = Self::new(self.pid(), Incarnation::Ticks(stat.start)) == self;
                if same && !stat.is_dead() { Liveness::Alive } else { Liveness::Dead }
            }
            None => Liveness::Unknown,
        }
    }
}

/// The id of the calling process, from the best source there is.
pub(super) fn identify_self(pid: Pid) -> Option<ProcessId> {
    let by_inode = pidfd_open(pid, PidfdFlags::empty()).ok().and_then(|pidfd| inode(&pidfd));
    by_inode.or_else(|| start_time(pid)).map(|found| ProcessId::new(pid, found))
}

/// Whether `pidfd_open` said that there is no such process. A pid that now belongs to a mere thread
/// of another process gives `EINVAL`, since Linux 6.16 `ENOENT`.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::SRCH | Errno::INVAL | Errno::NOENT)
}

/// The process's inode in pidfs, if this kernel has pidfs. Before that, all pidfds had one inode.
fn inode(pidfd: &OwnedFd) -> Option<Incarnation> {
    /// `PID_FS_MAGIC` of `linux/magic.h`.
    const PIDFS: u64 = 0x5049_4446;

    let is_pidfs = fstatfs(pidfd).ok()?.f_type as u64 == PIDFS;
    if is_pidfs { Some(Incarnation::Inode(fstat(pidfd).ok()?.st_ino)) } else { None }
}

/// Whether all threads of the process have ended: then, and only then, its pidfd is readable.
fn has_exited(pidfd: &OwnedFd) -> Liveness {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&now)) {
        Ok(0) => Liveness::Alive,
        Ok(_) => Liveness::Dead,
        Err(_) => Liveness::Unknown,
    }
}

fn start_time(pid: Pid) -> Option<Incarnation> {
    stat(pid).map(|stat| Incarnation::Ticks(stat.start))
}

/// Whether `/proc` shows this process's own pid namespace, and times that every process sees alike.
///
/// It may be mounted for an outer pid namespace, in which our numbers are strangers', and a time
/// namespace moves the start times that its members read. In either case nothing can be concluded.
fn proc_is_ours() -> bool {
    let mut buffer = [0; 16];
    let length = readlinkat_raw(CWD, c"/proc/self", &mut buffer);
    let itself = length.ok().and_then(|length| number(&buffer[..length]));
    if itself != u64::try_from(getpid().as_raw_nonzero().get()).ok() {
        return false;
    }
    let mut text = [0; 256];
    match read_file(c"/proc/self/timens_offsets", &mut text) {
        // Lines of a clock's name, seconds and nanoseconds.
        Ok(text) => {
            let mut fields =
                text.split(|byte| byte.is_ascii_whitespace()).filter(|f| !f.is_empty());
            fields.all(|field| !field[0].is_ascii_digit() && field[0] != b'-' || field == b"0")
        }
        // A kernel without time namespaces.
        Err(Errno::NOENT) => true,
        Err(_) => false,
    }
}

fn read_file<'a>(path: &core::ffi::CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = rustix::io::read(&file, &mut *buffer)?;
    Ok(&buffer[..length])
}

/// The three fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    threads: u64,
    start: u64,
}

impl Stat {
    /// A zombie leader with other threads is a live process.
    fn is_dead(&self) -> bool {
        matches!(self.state, b'X' | b'x') || (self.state == b'Z' && self.threads <= 1)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The second field is the program's name in parentheses, and may hold anything, even ')'.
        let name_ends = text.iter().rposition(|&byte| byte == b')')?;
        let mut fields =
            text[name_ends + 1..].split(|&byte| byte == b' ').filter(|f| !f.is_empty());
        // Fields count from 1 in proc(5); the state is number 3 and the first one here.
        let state = *fields.next()?.first()?;
        let threads = number(fields.nth(16)?)?;
        let start = number(fields.nth(1)?)?;
        Some(Self { state, threads, start })
    }
}

fn stat(pid: Pid) -> Option<Stat> {
    if !proc_is_ours() {
        return None;
    }
    let mut path = *b"/proc/\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let (mut at, mut digits) = (b"/proc/".len(), [0; 10]);
    let pid = pid.as_raw_nonzero().get().unsigned_abs();
    for part in [decimal(pid, &mut digits), b"/stat"] {
        path.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    let path = core::ffi::CStr::from_bytes_until_nul(&path).ok()?;
    // The line is below 400 bytes: 52 numbers and a name of at most 64 characters. /proc gives it
    // whole to a read that is large enough.
    let mut line = [0; 1024];
    Stat::parse(read_file(path, &mut line).ok()?)
}

fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_blanks() {
        let line = b"17 (a) Z 1 (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 4 18 777 20 21\n";
        assert_eq!(Stat::parse(line), Some(Stat { state: b'S', threads: 4, start: 777 }));
    }

    #[test]
    fn a_cut_line_is_no_answer() {
        assert_eq!(Stat::parse(b"17 (a) S 1 2 3"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn a_zombie_leader_with_threads_is_alive() {
        let stat = |state, threads| Stat { state, threads, start: 0 }.is_dead();
        assert!(stat(b'Z', 1) && stat(b'X', 1));
        assert!(!stat(b'Z', 2) && !stat(b'T', 1) && !stat(b'S', 1));
    }

    #[test]
    fn either_source_knows_that_we_live() {
        let pid = getpid();
        for source in [identify_self(pid), start_time(pid).map(|t| ProcessId::new(pid, t))] {
            let me = source.unwrap();
            assert_eq!(me.liveness(), Liveness::Alive, "{me:?}");
        }
        let ticks = ProcessId::new(pid, start_time(pid).unwrap());
        assert_eq!(ticks.liveness_without_pidfd(), Liveness::Alive);
        // Without a pidfd an inode cannot be compared.
        assert_eq!(identify_self(pid).unwrap().liveness_without_pidfd(), Liveness::Unknown);
    }

    #[test]
    fn another_incarnation_of_our_pid_is_dead() {
        let pid = getpid();
        for other in [Incarnation::Inode(1), Incarnation::Ticks(1)] {
            assert_eq!(ProcessId::new(pid, other).liveness(), Liveness::Dead);
        }
        let ticks = ProcessId::new(pid, Incarnation::Ticks(1));
        assert_eq!(ticks.liveness_without_pidfd(), Liveness::Dead);
    }

    #[test]
    fn a_descriptor_is_of_this_incarnation() {
        let me = identify_self(getpid()).unwrap();
        let pidfd = me.pidfd().unwrap();
        assert_eq!(has_exited(&pidfd), Liveness::Alive);
        for other in [Incarnation::Inode(1), Incarnation::Ticks(1)] {
            assert_eq!(ProcessId::new(getpid(), other).pidfd().unwrap_err(), Liveness::Dead);
        }
    }

    #[test]
    fn a_thread_is_not_a_process() {
        let id = std::thread::spawn(|| {
            let thread = rustix::thread::gettid();
            ProcessId::new(thread, Incarnation::Inode(1)).liveness()
        });
        assert_eq!(id.join().unwrap(), Liveness::Dead);
    }

    #[test]
    fn decimals() {
        let mut digits = [0; 10];
        assert_eq!(decimal(0, &mut digits), b"0");
        assert_eq!(decimal(u32::MAX, &mut digits), b"4294967295");
    }
}
