//! A program with a directory, limits, a session, descriptors, a processor and a bond to its parent.
//! Our `Spawn` has a call for each; std's `Command` has one for the directory, and `pre_exec`.
//!
//! # Safety
//! What `pre_exec` gets runs in a forked child of a process with one thread, and makes system calls
//! only. The descriptors that it copies are open for ever.
#![expect(unsafe_code, reason = "pre_exec, and two system calls by number")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::LazyLock;

use ipc_core::process::{Resource, Rlimit, Signal, Spawn};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{getpid, getppid, set_parent_process_death_signal, setrlimit, setsid};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::spawners::{PROGRAM, Until, ended_well, one_by_one};
use crate::subject::Subject;
use crate::{sys, targets};

const DIRECTORY: &str = "/";
const LIMITS: [(Resource, u64); 2] = [(Resource::Nofile, 64), (Resource::Core, 0)];
const DEATH: Signal = Signal::KILL;
const NUMBERS: [i32; 2] = [8, 9];

/// What a shell sees of all this.
const CHECK: &str = "
[ \"$(pwd)\" = / ] && [ $(ulimit -n) = 64 ] && [ $(ulimit -c) = 0 ] && : <&8 && : <&9 &&
grep -qx \"Cpus_allowed_list:.$0\" /proc/$$/status && set -- $(cat /proc/$$/stat) && [ $6 = $$ ]";

/// Our `Spawn`, made anew for each process.
#[must_use]
pub fn ours() -> Subject {
    let start = |program: &str, arguments: &[&str], processor| {
        let mut spawn = Spawn::new(program);
        spawn.args(arguments).current_dir(DIRECTORY).new_session().parent_death(DEATH);
        spawn.cpu_affinity([processor]);
        for number in NUMBERS {
            spawn.fd(number, descriptor());
        }
        for (resource, limit) in LIMITS {
            spawn.rlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
        }
        spawn.spawn().expect("a process")
    };
    checked(targets::SPAWN, start, ended_well)
}

/// `Command` of std, made anew for each process.
#[must_use]
pub fn command() -> Subject {
    let start = |program: &str, arguments: &[&str], processor| {
        let (parent, fd) = (getpid(), descriptor().as_raw_fd());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(DIRECTORY);
        let set = move || {
            set_parent_process_death_signal(Some(DEATH))?;
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::NotFound.into());
            }
            setsid()?;
            let mut processors = CpuSet::new();
            processors.set(processor);
            sched_setaffinity(None, &processors)?;
            close_on_exec()?;
            NUMBERS.into_iter().try_for_each(|number| copy(fd, number))?;
            for (resource, limit) in LIMITS {
                setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
            }
            Ok(())
        };
        // SAFETY: see the head of this file.
        unsafe { command.pre_exec(set) };
        command.spawn().expect("a process")
    };
    checked("std Command, pre_exec", start, |mut child| {
        child.wait().is_ok_and(|status| status.success())
    })
}

/// The call that starts a program with arguments, on a processor; a shell first looks whether it
/// does what it should.
fn checked<C: 'static>(
    name: &'static str,
    start: impl Fn(&str, &[&str], usize) -> C + Copy + Send + 'static,
    wait: impl Fn(C) -> bool + Clone + Send + 'static,
) -> Subject {
    let look = wait.clone();
    let make = move || -> Box<dyn FnMut() -> C + Send> {
        let processor = sys::two_cpus().expect("processors")[0];
        let (look, mut is_right) = (look.clone(), false);
        Box::new(move || {
            if !is_right {
                let check = ["-c", CHECK, &processor.to_string()];
                assert!(look(start("/bin/sh", &check, processor)), "{name}: something is not set");
                is_right = true;
            }
            start(PROGRAM.to_str().expect("a plain name"), &[], processor)
        })
    };
    one_by_one(name, Until::Return, make, wait)
}

/// What the program gets at [`NUMBERS`]; at none of them here, where a copy would be no change.
fn descriptor() -> BorrowedFd<'static> {
    static NOTHING: LazyLock<OwnedFd> = LazyLock::new(|| {
        let nothing = File::open("/dev/null").expect("/dev/null");
        fcntl_dupfd_cloexec(nothing, NUMBERS[1] + 1).expect("a number")
    });
    NOTHING.as_fd()
}

/// Marks every descriptor behind the standard streams.
fn close_on_exec() -> io::Result<()> {
    let (call, flag) = (libc::SYS_close_range, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: the call changes the table of descriptors of this process, which will execute or end.
    done(unsafe { libc::syscall(call, 3, u32::MAX, flag) })
}

fn copy(from: i32, to: i32) -> io::Result<()> {
    // SAFETY: as above.
    done(unsafe { libc::syscall(libc::SYS_dup3, from, to, 0) })
}

fn done(answer: i64) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
