//! Kernels and sandboxes that lack a call.

use ipc_core::Errno;
use ipc_core::process::{Spawn, Stage};
use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::{no_children, open_fds};

use crate::tools::{error_of, refusal, refuse_clone3, refuse_close_range, succeeds};

/// Runs the case in a child for each of these answers, since a filter is for ever.
fn with_each(errnos: &[i32], case: impl Fn(i32)) {
    for &errno in errnos {
        let code = || {
            case(errno);
            0
        };
        let status = crate::tools::raw_wait(crate::tools::raw_fork(code));
        assert_eq!(status, 0, "with errno {errno}");
    }
}

fn works() {
    let mut program = Spawn::new("/bin/sh");
    program.args(["-c", "test $A = b"]).env("A", "b").current_dir("/").new_session();
    for _ in 0..20 {
        assert!(succeeds(&program));
        let error = error_of(&Spawn::new("/no/such/program"));
        assert_eq!((error.stage, error.errno), (Stage::Exec, Errno::NOENT));
        assert!(no_children());
    }
}

/// As before Linux 5.3, as in old sandboxes, and as in Linux 5.3, which lacks a flag.
pub(crate) fn clone3_missing() {
    with_each(&[libc::ENOSYS, libc::EPERM, libc::EINVAL], |errno| {
        refuse_clone3(errno);
        let maps = || std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count();
        works();
        let before = (open_fds(), maps());
        works();
        assert_eq!((open_fds(), maps()), before, "the stack of the child is left");
    });
}

/// A filter that forbids new processes.
pub(crate) fn clone_refused() {
    // The program's start is not touched, since it makes none.
    with_each(&[libc::EPERM, libc::ENOSYS, libc::EACCES], |errno| {
        refuse_clone3(errno);
        let vm = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        answer(libc::SYS_clone, &When::Equal(0, vm as u32), refusal(errno));
        let error = error_of(&Spawn::new("/bin/true"));
        assert_eq!((error.stage, error.errno), (Stage::Clone, Errno::from_raw_os_error(errno)));
        assert!(no_children());
    });
}

/// As before Linux 5.9, as in old sandboxes, and as in Linux 5.9 and 5.10, which lack a flag.
pub(crate) fn f03_close_range_missing() {
    with_each(&[libc::ENOSYS, libc::EPERM, libc::EINVAL], |errno| {
        refuse_close_range(errno);
        works();
        // Many, so that they come in several pieces.
        let left: Vec<_> =
            (0..300).map(|_| std::fs::File::open("/dev/null").expect("open")).collect();
        left.iter().for_each(|file| {
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).expect("fcntl");
        });
        let held = crate::tools::Held::start(crate::tools::cat());
        assert_eq!(held.fds().into_keys().collect::<Vec<_>>(), [0, 1, 2]);
        held.end();
    });
}

/// F03, and `/proc` cannot be read either.
pub(crate) fn f03_no_way() {
    refuse_close_range(libc::ENOSYS);
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let fds = open_fds();
    answer(libc::SYS_openat, &When::Equal(2, flags as u32), refusal(libc::ENOENT));
    for _ in 0..20 {
        let error = error_of(&Spawn::new("/bin/true"));
        assert_eq!((error.stage, error.errno), (Stage::Descriptors, Errno::NOENT));
        assert!(no_children());
    }
    // Nor can the runner count the descriptors any more.
    println!("{fds} descriptors before");
    std::process::exit(0)
}

/// A kernel before 5.2 does not know `CLONE_PIDFD` and ignores it; here a tracer takes it away.
#[cfg(target_arch = "x86_64")]
pub(crate) fn pidfd_unknown() {
    use crate::tools::{ptrace, raw_fork, raw_wait, take_flag_if_clone};
    use core::sync::atomic::Ordering::SeqCst;
    use ipc_testkit::cases::shared;
    use rustix::process::{Signal, getpid, kill_process};

    let place = crate::tools::Place::new();
    let mark = place.path().join("ran");
    let victim = raw_fork(|| {
        refuse_clone3(libc::ENOSYS);
        kill_process(getpid(), Signal::STOP).expect("stop");
        let error = error_of(Spawn::new("/bin/touch").arg(&mark));
        let named = error.stage == Stage::Clone && error.errno == Errno::NOSYS;
        shared().words[0].store(if named && no_children() { 1 } else { 2 }, SeqCst);
        0
    });
    ptrace(libc::PTRACE_SEIZE, victim, libc::PTRACE_O_TRACESYSGOOD as usize);
    // The stop that it makes itself, and the trap of the call in which it does.
    let mut taken = false;
    loop {
        let status = raw_wait(victim);
        if libc::WIFEXITED(status) {
            assert_eq!(libc::WEXITSTATUS(status), 0);
            break;
        }
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        taken = taken || take_flag_if_clone(victim, libc::CLONE_PIDFD as u64);
        let signal = libc::WSTOPSIG(status);
        // Of a signal that is delivered, and neither the stop itself nor one of the tracer's.
        let event = status >> 16 != 0 || signal & 0x7f == libc::SIGTRAP || signal == libc::SIGSTOP;
        ptrace(libc::PTRACE_SYSCALL, victim, if event { 0 } else { signal as usize });
    }
    assert!(taken, "the tracer saw the clone");
    assert!(!mark.exists(), "nothing is executed that cannot be held");
    assert_eq!(shared().words[0].load(SeqCst), 1, "no named error, or a child is left");
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn pidfd_unknown() {
    ipc_testkit::cases::skip("the tracer knows the registers of x86_64 alone")
}
