//! Making the kernel answer a system call as the case wants it.
//!
//! # Safety
//!
//! A filter only takes rights away, and the kernel copies the program during the call.
#![expect(unsafe_code, reason = "prctl takes a pointer to the program")]

use std::io;

/// Which calls are meant: all, or those where one argument, counted from zero, is or is not a number.
#[derive(Debug)]
pub enum When {
    /// All.
    Always,
    /// The argument is the number.
    Equal(u32, u32),
    /// It is not.
    NotEqual(u32, u32),
}

/// Answers `call` with `action` (`SECCOMP_RET_*`), from now on, in this process and all children.
pub fn answer(call: i64, when: &When, action: u32) {
    let statement = |code, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let ret = |action| statement(libc::BPF_RET | libc::BPF_K, action);
    // Leaves out the next statement if equal.
    let skip_if = |k| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 1,
        jf: 0,
        k,
    };
    let allow = libc::SECCOMP_RET_ALLOW;
    let (index, value, equal, other) = match *when {
        When::Equal(index, value) => (index, value, action, allow),
        When::NotEqual(index, value) => (index, value, allow, action),
        When::Always => (0, 0, action, action),
    };
    // `struct seccomp_data`: the number of the call at 0, the arguments, eight bytes each, from 16.
    let low_half = 16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 };
    let filter = [
        load(0),
        skip_if(u32::try_from(call).expect("a number")),
        ret(allow),
        load(low_half),
        skip_if(value),
        ret(other),
        ret(equal),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: gives up privileges only.
    let locked = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(locked, 0);
    // SAFETY: the program lives until the call returns.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(set, 0, "seccomp: {}", io::Error::last_os_error());
}

/// Answers `FUTEX_WAKE_OP` with `EPERM`, as a sandbox might that knows the common operations only.
pub fn refuse_wake_op() {
    let denied = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    answer(libc::SYS_futex, &When::Equal(1, libc::FUTEX_WAKE_OP as u32), denied);
}

/// Answers `futex_waitv` with `EPERM`, as a sandbox might that is older than the call.
pub fn refuse_waitv() {
    let denied = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    answer(libc::SYS_futex_waitv, &When::Always, denied);
}

/// Answers `membarrier` with `EPERM`, as a sandbox might.
pub fn refuse_membarrier() {
    let denied = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    answer(libc::SYS_membarrier, &When::Always, denied);
}

/// Kills the process at its next `FUTEX_WAKE`.
pub fn die_of_wake() {
    answer(
        libc::SYS_futex,
        &When::Equal(1, libc::FUTEX_WAKE as u32),
        libc::SECCOMP_RET_KILL_PROCESS,
    );
}

/// Kills the process when it is about to wait for a futex by the clock that can be set.
pub fn die_of_real_time() {
    let kill = libc::SECCOMP_RET_KILL_PROCESS;
    for operation in [libc::FUTEX_WAIT_BITSET, libc::FUTEX_WAIT_REQUEUE_PI, libc::FUTEX_WAIT] {
        for private in [0, libc::FUTEX_PRIVATE_FLAG] {
            let operation = (operation | libc::FUTEX_CLOCK_REALTIME | private) as u32;
            answer(libc::SYS_futex, &When::Equal(1, operation), kill);
        }
    }
    answer(libc::SYS_futex_waitv, &When::Equal(4, libc::CLOCK_REALTIME as u32), kill);
}

/// Answers `futex_waitv` with `ENOSYS`, as a kernel before Linux 5.16 does.
pub fn without_waitv() {
    answer(libc::SYS_futex_waitv, &When::Always, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
}
