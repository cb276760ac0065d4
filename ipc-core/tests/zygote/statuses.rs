//! Exit statuses on a kernel that keeps none of a reaped process (before 6.15): the zygote tells them.
//!
//! A filter refuses the question for a status in the case and all its descendants.

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use ipc_core::Errno;
use ipc_core::process::{Child, ExitStatus, Pid, Signal, Start, Zygote};
use ipc_testkit::cases::seccomp::{When, answer};
use ipc_testkit::cases::signals::{interrupt_every, on_signal};
use ipc_testkit::cases::{doing, open_fds, shared};
use rustix::process::{
    PidfdFlags, Resource, Rlimit, getrlimit, kill_process, pidfd_open, prlimit, setrlimit,
};

use crate::roles::first_byte;
use crate::seeing::{count_descriptors, kernel_keeps_status};
use crate::starting::wait_for_byte;
use crate::tools::{
    LONG, all_gone_within, code_of, has_stopped, pause_for_ever, raw_fork, raw_wait, readable,
    status, zygote_pid,
};

const STARTS: [fn() -> Result<Zygote, ipc_core::process::ZygoteError>; 2] =
    [Zygote::start_by_fork, Zygote::start_by_exec];

const KILLED: ExitStatus = ExitStatus::Signaled { signal: 9, core_dumped: false };

/// How long a handle waits for a word that does not come.
const BOUND: Duration = Duration::from_secs(1);

/// `ioctl(pidfd, PIDFD_GET_INFO)` says `errno` from now on.
fn refuse_question(errno: i32) {
    const PIDFD_GET_INFO: u32 = 0xc040_ff0b;
    answer(
        libc::SYS_ioctl,
        &When::Equal(1, PIDFD_GET_INFO),
        libc::SECCOMP_RET_ERRNO | errno as u32,
    );
}

/// The case on such a kernel.
pub(crate) fn before_6_15(case: impl FnOnce()) {
    refuse_question(libc::ENOTTY);
    case();
}

/// Codes, panics, signals and core images, whichever way the kernel says that it does not know.
pub(crate) fn exact() {
    for errno in [libc::ENOTTY, libc::EINVAL, libc::ESRCH, libc::ENOSYS] {
        let inner = raw_fork(|| {
            refuse_question(errno);
            for start in STARTS {
                every_end(&start().expect("start"));
            }
            0
        });
        doing("waiting for exact statuses");
        assert_eq!(raw_wait(inner), 0, "with errno {errno}");
    }
}

fn every_end(zygote: &Zygote) {
    for code in [0, 1, 77, 101, 255] {
        assert_eq!(code_of(zygote, first_byte, &[code]), code.into());
    }
    assert_eq!(code_of(zygote, |_| panic!("on purpose"), &[]), 101);
    for signal in [Signal::KILL, Signal::TERM, Signal::USR1] {
        let child = zygote.spawn(|_| pause_for_ever(), &[], &[]).expect("spawn");
        child.signal(signal).expect("signal");
        let expected = ExitStatus::Signaled { signal: signal.as_raw(), core_dumped: false };
        assert_eq!(status(child), expected);
    }
}

/// The flag is the kernel's, as a direct child's has it that dies in the same way.
pub(crate) fn core_flag() {
    let place = std::env::temp_dir().join(format!("ipc-core-zygote-cores-{}", std::process::id()));
    std::fs::create_dir(&place).expect("a place for core files");
    std::env::set_current_dir(&place).expect("chdir");
    fn abort(_: Start) -> i32 {
        std::process::abort()
    }
    let maximum = getrlimit(Resource::Core).maximum;
    for current in [Some(0), maximum] {
        setrlimit(Resource::Core, Rlimit { current, maximum }).expect("setrlimit");
        let truth = raw_wait(raw_fork(|| std::process::abort()));
        let expected = ExitStatus::Signaled { signal: 6, core_dumped: truth & 0x80 != 0 };
        println!("a core image: {}", truth & 0x80 != 0);
        let zygote = Zygote::start_by_fork().expect("start");
        assert_eq!(status(zygote.spawn(abort, &[], &[]).expect("spawn")), expected);
    }
    std::env::set_current_dir("/").expect("chdir");
    std::fs::remove_dir_all(place).expect("remove core files");
}

/// Whatever is asked and however often, the answer stays, and costs no descriptor any more.
pub(crate) fn every_way_to_wait() {
    let zygote = Zygote::start_by_exec().expect("start");
    let before = open_fds();
    let mut child = zygote.spawn(|_| pause_for_ever(), &[], &[]).expect("spawn");
    let per_child = if kernel_keeps_status() && !is_refused() { 1 } else { 2 };
    assert_eq!(open_fds() - before, per_child);
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_timeout(Duration::from_millis(5)), Ok(None));
    child.kill().expect("kill");
    assert_eq!(child.wait(), Ok(KILLED));
    assert_eq!(open_fds() - before, 1);
    assert_eq!(child.wait_timeout(Duration::ZERO), Ok(Some(KILLED)));
    assert_eq!(child.signal(Signal::KILL), Err(Errno::SRCH), "who knows the status knows the reap");

    let mut child = zygote.spawn(first_byte, &[8], &[]).expect("spawn");
    doing("asking without waiting");
    let found = loop {
        if let Some(found) = child.try_wait().expect("wait") {
            break found;
        }
    };
    assert_eq!(found, ExitStatus::Exited(8));
    let mut child = zygote.spawn(|_| pause_for_ever(), &[], &[]).expect("spawn");
    let terminated = ExitStatus::Signaled { signal: 15, core_dumped: false };
    assert_eq!(child.terminate_graceful(LONG), Ok(terminated));
}

/// Whether this case refuses the question.
fn is_refused() -> bool {
    let filters = std::fs::read_to_string("/proc/self/status").expect("/proc");
    filters.lines().any(|line| line.starts_with("Seccomp:") && !line.ends_with('0'))
}

/// Signals all the time, into every system call of the application.
pub(crate) fn interrupted() {
    extern "C" fn handler(_: i32) {}
    on_signal(libc::SIGALRM, handler as extern "C" fn(i32) as libc::sighandler_t, 0);
    let zygote = Zygote::start_by_exec().expect("start");
    interrupt_every(100);
    for round in 0..200 {
        assert_eq!(code_of(&zygote, first_byte, &[round]), round.into());
    }
    interrupt_every(0);
}

/// A handle that a fork copied reads the same word, and takes it from nobody.
pub(crate) fn copied_handle() {
    let zygote = Zygote::start_by_fork().expect("start");
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let mut child = zygote.spawn(wait_for_byte, &[], &[reader.as_fd()]).expect("spawn");
    let copies = [(); 3].map(|()| {
        raw_fork(|| i32::from(child.wait_timeout(LONG) != Ok(Some(ExitStatus::Exited(9)))))
    });
    rustix::io::write(&writer, &[9]).expect("write");
    for copy in copies {
        assert_eq!(raw_wait(copy), 0, "a copy");
    }
    assert_eq!(child.wait(), Ok(ExitStatus::Exited(9)));
}

/// The word was said before the zygote is killed.
pub(crate) fn zygote_killed_after() {
    for start in STARTS {
        let zygote = start().expect("start");
        let mut child = zygote.spawn(first_byte, &[6], &[]).expect("spawn");
        await_end(&child);
        // It has reaped the first when it has begun another after that has ended.
        assert_eq!(code_of(&zygote, first_byte, &[1]), 1);
        kill_and_await(zygote.id().expect("it runs"));
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(6)));
    }
}

/// The zygote is killed while its children run: an application that does not adopt them never learns
/// their status, and does not guess; one that does reaps them.
pub(crate) fn zygote_killed_before() {
    for start in STARTS {
        let stranger = raw_fork(|| {
            let (zygote, mut child, writer) = zygote_with_child(start);
            // It was forked beside the child's link, and would keep that from ending.
            let _sibling = child_of(&zygote);
            kill_and_await(zygote.id().expect("it runs"));
            assert_eq!(child.try_wait(), Ok(None), "it runs");
            shared().words[0].store(child.id().as_raw_nonzero().get(), SeqCst);
            rustix::io::write(&writer, &[0]).expect("write");
            // The process above adopts and reaps it, which is all there is to wait for.
            let began = Instant::now();
            assert_eq!(child.wait(), Ok(ExitStatus::Unknown));
            assert!(began.elapsed() < BOUND / 2, "the end of the link was not seen");
            assert!(!child.wait().expect("kept").success());
            0
        });
        while shared().words[0].load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        let orphan = Pid::from_raw(shared().words[0].swap(0, SeqCst)).expect("a pid");
        assert_eq!(raw_wait(orphan), 0);
        assert_eq!(raw_wait(stranger), 0);

        let (zygote, mut child, writer) = zygote_with_child(start);
        kill_and_await(zygote.id().expect("it runs"));
        rustix::io::write(&writer, &[7]).expect("write");
        assert_eq!(child.wait(), Ok(ExitStatus::Exited(7)), "adopted by this process");
        drop(zygote);
        assert!(all_gone_within(LONG), "the sibling of before");
    }
}

/// Dropped or restarted, a zygote leaves children that go on, and whose status nobody can tell.
pub(crate) fn zygote_replaced() {
    let stranger = raw_fork(|| {
        let (zygote, mut old, writer) = zygote_with_child(Zygote::start_by_fork);
        zygote.restart().expect("restart");
        let mut new = zygote.spawn(first_byte, &[3], &[]).expect("spawn");
        assert_eq!(new.wait(), Ok(ExitStatus::Exited(3)));
        assert_eq!(old.try_wait(), Ok(None), "it runs");
        rustix::io::write(&writer, &[0]).expect("write");
        assert_eq!(old.wait(), Ok(ExitStatus::Unknown));
        0
    });
    assert_eq!(raw_wait(stranger), 0);
    assert!(all_gone_within(LONG));
}

/// A stopped zygote says nothing: that is `Unknown` in the end, and exact if it goes on in time.
pub(crate) fn zygote_stopped() {
    let (zygote, mut child, writer) = zygote_with_child(Zygote::start_by_exec);
    let (mut another, another_writer) = child_of(&zygote);
    let pid = zygote.id().expect("it runs");
    kill_process(pid, Signal::STOP).expect("stop");
    while !has_stopped(pid) {
        std::thread::yield_now();
    }
    rustix::io::write(&writer, &[0]).expect("write");
    await_end(&child);
    let began = Instant::now();
    assert_eq!(child.try_wait(), Ok(None));
    assert_eq!(child.wait_timeout(BOUND / 20), Ok(None));
    assert_eq!(child.wait(), Ok(ExitStatus::Unknown));
    let took = began.elapsed();
    assert!(BOUND * 9 / 10 < took && took < BOUND * 4, "{took:?}");

    rustix::io::write(&another_writer, &[5]).expect("write");
    await_end(&another);
    assert_eq!(another.try_wait(), Ok(None));
    kill_process(pid, Signal::CONT).expect("continue");
    assert_eq!(another.wait(), Ok(ExitStatus::Exited(5)));
    assert_eq!(child.wait(), Ok(ExitStatus::Unknown), "the answer is kept");
}

/// A zygote that waits for somebody's word reaps all the same.
pub(crate) fn reaped_beside_a_slow_request() {
    let zygote = Zygote::start_by_exec().expect("start");
    let mut child = zygote.spawn(|_| pause_for_ever(), &[], &[]).expect("spawn");
    let mut spawning = zygote.begin_spawn(first_byte, &[2], &[]).expect("request");
    // The new child has said its first word and waits for ours, and the zygote for the new child.
    assert!(readable(&spawning));
    child.kill().expect("kill");
    assert_eq!(child.wait(), Ok(KILLED));
    let new = spawning.wait_until(ipc_core::clock::Deadline::FAR).expect("spawn").expect("a child");
    assert_eq!(status(new), ExitStatus::Exited(2));
}

/// Many that live at once and end in another order than they began.
pub(crate) fn many_at_once() {
    const MANY: usize = 200;
    let zygote = Zygote::start_by_exec().expect("start");
    let own = rustix::process::getpid();
    let before = [own.as_raw_nonzero().get(), zygote_pid(&zygote)].map(fds_of);
    let mut living: Vec<_> = (0..MANY).map(|_| child_of(&zygote)).collect();
    for round in 0..MANY {
        let (child, writer) = living.swap_remove((round * 97) % living.len());
        doing(&format!("child {round}"));
        rustix::io::write(&writer, &[round as u8]).expect("write");
        assert_eq!(status(child), ExitStatus::Exited(round as i32));
    }
    // Nobody has a copy of anybody's link, or of anything else.
    let (sibling, writer) = child_of(&zygote);
    assert_eq!(code_of(&zygote, count_descriptors, &[]), 4, "0, 1, 2, application");
    drop(writer);
    assert_eq!(status(sibling), ExitStatus::Exited(1));
    doing("waiting for the zygote to hang up on the last child");
    while [own.as_raw_nonzero().get(), zygote_pid(&zygote)].map(fds_of) != before {
        std::thread::yield_now();
    }
}

/// Handles that were dropped: the zygote reaps, and keeps nothing.
pub(crate) fn dropped_handles() {
    let zygote = Zygote::start_by_exec().expect("start");
    let before = fds_of(zygote_pid(&zygote));
    for round in 0..100 {
        zygote.spawn(first_byte, &[round], &[]).expect("spawn").detach();
    }
    doing("waiting for the zygote to reap what was detached");
    while fds_of(zygote_pid(&zygote)) != before || has_children(&zygote) {
        std::thread::yield_now();
    }
}

/// A zygote short of descriptors still forks, and says which statuses it can.
pub(crate) fn zygote_short_of_descriptors() {
    const LIMIT: u64 = 60;
    let zygote = Zygote::start_by_exec().expect("start");
    let limit = Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) };
    prlimit(zygote.id(), Resource::Nofile, limit).expect("prlimit");
    let children: Vec<_> = (0..LIMIT).map(|_| child_of(&zygote)).collect();
    let (mut exact, mut unknown) = (0, 0);
    for (child, writer) in children {
        rustix::io::write(&writer, &[0]).expect("write");
        match status(child) {
            ExitStatus::Exited(0) => exact += 1,
            ExitStatus::Unknown => unknown += 1,
            other => panic!("{other}"),
        }
    }
    println!("{exact} exact, {unknown} unknown");
    assert!(exact >= 20 && unknown >= 20);
    // With the full number of descriptors, too, and the links are free again.
    let file = std::fs::File::open("/dev/null").expect("open");
    let fds = [file.as_fd(); ipc_core::fdpass::MAX_FDS];
    assert_eq!(status(zygote.spawn(first_byte, &[4], &fds).expect("spawn")), ExitStatus::Exited(4));
}

/// A zygote that becomes a child takes nothing of its office along.
pub(crate) fn becoming_a_child() {
    let (zygote, sibling, writer) = zygote_with_child(Zygote::start_by_exec);
    let child = zygote.become_child(count_descriptors, &[], &[]).expect("become");
    assert_eq!(status(child), ExitStatus::Exited(4), "0, 1, 2, application");
    // This process has adopted it.
    rustix::io::write(&writer, &[6]).expect("write");
    assert_eq!(status(sibling), ExitStatus::Exited(6));
}

/// Ten thousand children leave nothing, here or in the zygote.
pub(crate) fn cycles() {
    let zygote = Zygote::start_by_exec().expect("start");
    let fds = || (open_fds(), fds_of(zygote_pid(&zygote)));
    let before = fds();
    for _ in 0..100 {
        let spawn = |code| zygote.spawn(first_byte, &[code], &[]).expect("spawn");
        let children: Vec<_> = (0..100).map(spawn).collect();
        for (child, code) in children.into_iter().zip(0..) {
            assert_eq!(status(child), ExitStatus::Exited(code));
        }
    }
    doing("waiting for the zygote to hang up on the last child");
    while fds() != before || has_children(&zygote) {
        std::thread::yield_now();
    }
}

fn zygote_with_child(
    start: fn() -> Result<Zygote, ipc_core::process::ZygoteError>,
) -> (Zygote, Child, OwnedFd) {
    let zygote = start().expect("start");
    let (child, writer) = child_of(&zygote);
    (zygote, child, writer)
}

/// A child that ends with the byte that is written for it, and 1 without one.
fn child_of(zygote: &Zygote) -> (Child, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
    (zygote.spawn(wait_for_byte, &[], &[reader.as_fd()]).expect("spawn"), writer)
}

/// Waits until the child has ended, and asks for nothing.
fn await_end(child: &Child) {
    ipc_testkit::cases::events::await_exit(child);
}

/// Kills a child of this process and waits for its end, without reaping it.
fn kill_and_await(pid: Pid) {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
    kill_process(pid, Signal::KILL).expect("kill");
    ipc_testkit::cases::events::await_exit(&pidfd);
}

fn fds_of(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc").count()
}

fn has_children(zygote: &Zygote) -> bool {
    let path = format!("/proc/{0}/task/{0}/children", zygote_pid(zygote));
    !std::fs::read_to_string(path).expect("/proc").is_empty()
}
