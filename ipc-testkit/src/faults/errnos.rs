//! Which errors a system call may give, on a machine where nothing is broken: it is out of something, somebody
//! interrupts, or a sandbox refuses what is newer than itself.

use core::fmt;

/// The errors that are tried, by the names that the manual gives them.
macro_rules! errnos {
    ($($name:ident)+) => {
        use libc::{$($name),+};

        /// What the manual calls an error.
        pub(crate) fn name(errno: i32) -> &'static str {
            match errno {
                $($name => stringify!($name),)+
                _ => "an unknown error",
            }
        }
    };
}

errnos! {
    E2BIG EACCES EAGAIN ECONNRESET EINTR EINVAL EIO EMFILE ENFILE ENOBUFS ENOENT ENOLCK ENOMEM ENOSPC
    ENOSYS ENOTTY EPERM ETOOMANYREFS ETXTBSY
}

/// A system call as it is made, of which the arguments say what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: i64,
    /// What the arguments say, where several calls share a number; else 0.
    pub(crate) kind: u64,
}

impl Call {
    pub(crate) fn new(number: i64, arguments: [u64; 4]) -> Self {
        let kind = match number {
            libc::SYS_fcntl | libc::SYS_ioctl | libc::SYS_flock => arguments[1] & 0xffff_ffff,
            // Without the flags.
            libc::SYS_futex => arguments[1] & 0x7f,
            // Whether it sets a limit.
            libc::SYS_prlimit64 => u64::from(arguments[2] != 0),
            libc::SYS_sendmsg | libc::SYS_recvmsg => arguments[2] & DONTWAIT,
            libc::SYS_sendto | libc::SYS_recvfrom => arguments[3] & DONTWAIT,
            _ => 0,
        };
        Self { number, kind }
    }

    /// The errors to try; `None` if nobody has thought about this call yet.
    pub(crate) fn errnos(self) -> Option<impl Iterator<Item = i32>> {
        let kind = i32::try_from(self.kind).unwrap_or(-1);
        let errnos: &'static [i32] = match self.number {
            libc::SYS_fcntl => match kind {
                libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => &[EMFILE],
                // Reading and setting a flag of an open file does not fail.
                libc::F_GETFD | libc::F_SETFD | libc::F_GETFL | libc::F_SETFL => &[],
                F_ADD_SEALS => &[EPERM],
                F_GET_SEALS => &[EINVAL],
                _ => return None,
            },
            libc::SYS_futex => match kind {
                libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => &[EINTR, EAGAIN],
                // Waking does not fail.
                _ => &[],
            },
            // Unlocking what is locked does not fail.
            libc::SYS_flock if kind == libc::LOCK_UN => &[],
            // Reading a limit of one's own does not fail.
            libc::SYS_prlimit64 if kind == 0 => &[],
            number => TABLE.iter().chain(OLD).find(|(numbers, _)| numbers.contains(&number))?.1,
        };
        // Only who does not want to wait is told to try again.
        let again = (self.kind == DONTWAIT && self.is_on_socket()).then_some(EAGAIN);
        Some(errnos.iter().copied().chain(again))
    }

    fn is_on_socket(self) -> bool {
        let calls = [libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendto, libc::SYS_recvfrom];
        calls.contains(&self.number)
    }

    /// Whether a machine may give this answer again and again, for as long as an operation takes.
    ///
    /// An interruption does not come each time, nobody is told to try again for ever, and a socket tells of a reset
    /// once: who waits for the end of such a series is right to.
    pub(crate) fn may_persist(self, errno: i32) -> bool {
        match errno {
            EINTR | ECONNRESET => false,
            EAGAIN => !self.is_on_socket() && self.number != libc::SYS_futex,
            _ => true,
        }
    }

    /// Whether the call takes effect even when it reports an error.
    pub(crate) fn is_done_anyway(self) -> bool {
        self.number == libc::SYS_close
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind } = self;
        write!(f, "number {number}")?;
        if *kind != 0 { write!(f, " of kind {kind:#x}") } else { Ok(()) }
    }
}

/// The flag of calls on sockets.
const DONTWAIT: u64 = libc::MSG_DONTWAIT as u64;

const F_ADD_SEALS: i32 = 1033;
const F_GET_SEALS: i32 = 1034;

const TABLE: &[(&[i64], &[i32])] = &[
    // What cannot fail with these crates' arguments, or what nobody could act upon.
    (
        &[
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_getpid,
            libc::SYS_getppid,
            libc::SYS_gettid,
            libc::SYS_getuid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getegid,
            libc::SYS_brk,
            libc::SYS_munmap,
            libc::SYS_lseek,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_restart_syscall,
            libc::SYS_sigaltstack,
            libc::SYS_set_tid_address,
            libc::SYS_set_robust_list,
            libc::SYS_get_robust_list,
            libc::SYS_rseq,
            libc::SYS_sched_yield,
            libc::SYS_shutdown,
            libc::SYS_umask,
            libc::SYS_uname,
            libc::SYS_clock_gettime,
            libc::SYS_sched_getaffinity,
            libc::SYS_sysinfo,
        ],
        &[],
    ),
    (&[libc::SYS_close], &[EINTR]),
    (&[libc::SYS_openat], &[EMFILE, ENFILE, ENOMEM, ENOENT, EACCES]),
    (&[libc::SYS_faccessat], &[ENOENT, EACCES]),
    (&[libc::SYS_socketpair, libc::SYS_socket], &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EPERM]),
    (
        &[libc::SYS_pipe2, libc::SYS_eventfd2, libc::SYS_epoll_create1, libc::SYS_timerfd_create],
        &[EMFILE, ENFILE, ENOMEM],
    ),
    (&[libc::SYS_accept, libc::SYS_accept4], &[EINTR, EMFILE, ENFILE, ENOMEM]),
    (&[libc::SYS_memfd_create], &[EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM]),
    (&[libc::SYS_pidfd_open], &[EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM]),
    (&[libc::SYS_dup, libc::SYS_dup3], &[EMFILE]),
    (&[libc::SYS_clone3], &[EAGAIN, ENOMEM, EMFILE, ENOSYS, EPERM, EINVAL]),
    (&[libc::SYS_clone], &[EAGAIN, ENOMEM, EPERM]),
    (&[libc::SYS_execve], &[ENOMEM, EACCES, ENOENT, E2BIG, ETXTBSY, EIO]),
    (&[libc::SYS_close_range], &[ENOMEM, ENOSYS, EPERM, EINVAL]),
    (&[libc::SYS_sendto], &[EINTR, ENOBUFS, ENOMEM]),
    (&[libc::SYS_sendmsg], &[EINTR, ENOBUFS, ENOMEM, ETOOMANYREFS]),
    (&[libc::SYS_recvfrom], &[EINTR]),
    (&[libc::SYS_recvmsg], &[EINTR, ENOMEM, ECONNRESET]),
    (&[libc::SYS_ioctl], &[ENOTTY, EINVAL, ENOSYS, EPERM]),
    (&[libc::SYS_read, libc::SYS_pread64, libc::SYS_readv], &[EINTR, EIO, ENOMEM]),
    (&[libc::SYS_write, libc::SYS_pwrite64, libc::SYS_writev], &[EINTR, EIO, ENOSPC]),
    (&[libc::SYS_ppoll], &[EINTR, ENOMEM]),
    (&[libc::SYS_wait4, libc::SYS_waitid], &[EINTR]),
    (&[libc::SYS_pidfd_send_signal], &[EPERM, ENOSYS]),
    (&[libc::SYS_kill, libc::SYS_tgkill], &[EPERM]),
    (&[libc::SYS_futex_waitv], &[EINTR, ENOSYS, EPERM, ENOMEM]),
    (&[libc::SYS_mmap, libc::SYS_mremap], &[ENOMEM, EAGAIN, EPERM]),
    (&[libc::SYS_mprotect], &[ENOMEM, EACCES]),
    (&[libc::SYS_madvise], &[ENOMEM, EINVAL, EPERM]),
    (&[libc::SYS_ftruncate], &[EINTR, EIO, EPERM]),
    (&[libc::SYS_fallocate], &[EINTR, ENOSPC, ENOMEM, ENOSYS]),
    (&[libc::SYS_linkat], &[ENOENT, EPERM, ENOSPC, ENOMEM]),
    (&[libc::SYS_unlinkat], &[EACCES, EPERM, ENOMEM]),
    (&[libc::SYS_flock], &[EINTR, ENOLCK, EAGAIN]),
    (&[libc::SYS_inotify_init1], &[EMFILE, ENFILE, ENOMEM, ENOSYS]),
    (&[libc::SYS_inotify_add_watch], &[EACCES, ENOENT, ENOMEM, ENOSPC]),
    (&[libc::SYS_fchmod], &[EPERM, EIO]),
    (&[libc::SYS_prctl], &[EINVAL, EPERM]),
    (&[libc::SYS_getdents64], &[EIO, ENOMEM]),
    (&[libc::SYS_readlinkat], &[EACCES, ENOENT, ENOMEM]),
    (&[libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx], &[EACCES, ENOMEM, ENOSYS]),
    (&[libc::SYS_statfs, libc::SYS_fstatfs], &[EACCES, ENOMEM, ENOSYS]),
    (&[libc::SYS_setsid, libc::SYS_setpgid], &[EPERM]),
    (&[libc::SYS_sched_setaffinity], &[EINVAL, EPERM]),
    (&[libc::SYS_setpriority], &[EACCES, EPERM]),
    (&[libc::SYS_chdir], &[ENOENT, EACCES, ENOMEM]),
    (&[libc::SYS_prlimit64], &[EPERM]),
    (
        &[libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_getsockname, libc::SYS_getpeername],
        &[ENOBUFS, EPERM],
    ),
    (&[libc::SYS_getrandom], &[EINTR, ENOSYS]),
    (&[libc::SYS_membarrier], &[ENOSYS, EPERM]),
];

/// Calls that only old processors have.
#[cfg(target_arch = "x86_64")]
const OLD: &[(&[i64], &[i32])] = &[
    (&[libc::SYS_arch_prctl], &[]),
    (&[libc::SYS_open], &[EMFILE, ENFILE, ENOMEM, ENOENT, EACCES]),
    (&[libc::SYS_access], &[ENOENT, EACCES]),
    (&[libc::SYS_dup2], &[EMFILE]),
    (&[libc::SYS_fork, libc::SYS_vfork], &[EAGAIN, ENOMEM, EPERM]),
    (&[libc::SYS_poll], &[EINTR, ENOMEM]),
    (&[libc::SYS_readlink], &[EACCES, ENOENT, ENOMEM]),
    (&[libc::SYS_stat], &[EACCES, ENOMEM, ENOSYS]),
];

#[cfg(not(target_arch = "x86_64"))]
const OLD: &[(&[i64], &[i32])] = &[];
