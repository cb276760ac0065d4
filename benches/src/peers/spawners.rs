//! Ways to start a process and to speak with it: ours, the C library's, and std's.
//!
//! # Safety
//! `posix_spawn` gets strings and lists that outlive the call, and the lists end with null pointers.
#![expect(unsafe_code, reason = "a C interface")]

use core::ffi::{CStr, c_char};
use core::ptr;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use ipc_core::clock::Deadline;
use ipc_core::connection::{self, Message};
use ipc_core::process::{Child, Context, ExitStatus, Process, Spawn, StartMethod};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::streams;
use crate::subject::{Done, Ends, Subject, Wrong};
use crate::sys::now;
use crate::targets;
use crate::turns::Handover;

/// The program that all of them execute.
pub(super) const PROGRAM: &CStr = c"/bin/true";

/// What is measured of a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The call that starts it.
    Return,
    /// All of it.
    End,
}

/// A subject that starts processes one after the other.
pub fn one_by_one<C: 'static>(
    name: &'static str,
    until: Until,
    make: impl Fn() -> Box<dyn FnMut() -> C + Send> + 'static,
    wait: impl Fn(C) -> bool + Clone + Send + 'static,
) -> Subject {
    Subject::processes(name, move || {
        let (mut start, wait) = (make(), wait.clone());
        Ends::alone(
            move |slice| {
                let (mut operations, mut nanoseconds) = (0, 0);
                // Some are a hundred times slower than others.
                while operations < slice.count && (operations == 0 || now() < slice.deadline) {
                    let began = now();
                    let child = start();
                    let returned = now();
                    if !wait(child) {
                        return Err(Wrong("a process did not end well".to_owned()));
                    }
                    nanoseconds += match until {
                        Until::Return => returned - began,
                        Until::End => now() - began,
                    };
                    operations += 1;
                }
                Ok(Done { operations, nanoseconds: Some(nanoseconds), ..Done::default() })
            },
            |_, _| Ok(()),
        )
    })
}

pub(super) fn ended_well(mut child: Child) -> bool {
    matches!(child.wait(), Ok(ExitStatus::Exited(0)))
}

/// A new `Spawn` for each process.
#[must_use]
pub fn spawn(name: &'static str, until: Until) -> Subject {
    let path = PROGRAM.to_str().expect("a plain name");
    let start = move || Spawn::new(path).spawn().expect("a process");
    one_by_one(name, until, move || Box::new(start), ended_well)
}

/// The same in a process with a second thread, where the environment must be copied.
#[must_use]
pub fn spawn_beside_a_thread(until: Until) -> Subject {
    let path = PROGRAM.to_str().expect("a plain name");
    let make = move || -> Box<dyn FnMut() -> Child + Send> {
        let mut thread = None;
        Box::new(move || {
            thread.get_or_insert_with(|| {
                thread::spawn(|| {
                    loop {
                        thread::park()
                    }
                })
            });
            Spawn::new(path).spawn().expect("a process")
        })
    };
    one_by_one("ipc-core Spawn, beside a thread", until, make, ended_well)
}

/// A new `Spawn` for each process, and one that was prepared once.
#[must_use]
pub fn ours(until: Until) -> Vec<Subject> {
    let path = PROGRAM.to_str().expect("a plain name");
    vec![
        spawn(targets::SPAWN, until),
        one_by_one(
            targets::PREPARED,
            until,
            move || {
                let prepared = Spawn::new(path).prepare().expect("a program");
                Box::new(move || prepared.spawn().expect("a process"))
            },
            ended_well,
        ),
    ]
}

/// `posix_spawn` of the C library.
#[must_use]
pub fn posix_spawn(until: Until) -> Subject {
    one_by_one(
        "posix_spawn",
        until,
        || {
            Box::new(|| {
                let arguments = [PROGRAM.as_ptr().cast_mut(), ptr::null_mut()];
                let mut pid = 0;
                // SAFETY: see the head of this file.
                let failed = unsafe {
                    libc::posix_spawn(
                        &mut pid,
                        PROGRAM.as_ptr(),
                        ptr::null(),
                        ptr::null(),
                        arguments.as_ptr(),
                        environment(),
                    )
                };
                assert_eq!(failed, 0);
                Pid::from_raw(pid).expect("a process")
            })
        },
        |pid| {
            let ended = waitpid(Some(pid), WaitOptions::empty()).expect("waitpid");
            ended.is_some_and(|(_, status)| status.exit_status() == Some(0))
        },
    )
}

fn environment() -> *const *mut c_char {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: nobody changes the environment of this program.
    unsafe { environ }
}

/// `Command` of std.
#[must_use]
pub fn command(until: Until) -> Subject {
    one_by_one(
        "std Command",
        until,
        || {
            Box::new(|| {
                let mut command = Command::new(PROGRAM.to_str().expect("a plain name"));
                command.stdin(Stdio::inherit()).spawn().expect("a process")
            })
        },
        |mut child| child.wait().is_ok_and(|status| status.success()),
    )
}

/// A function in a process of its own, by each start method.
#[must_use]
pub fn functions() -> Vec<Subject> {
    let by = |name, method| {
        one_by_one(
            name,
            Until::End,
            move || {
                let context = Context::new(method);
                Box::new(move || Process::new(|()| (), ()).start_in(&context).expect("a process"))
            },
            ended_well,
        )
    };
    vec![
        by(targets::FORKSERVER, StartMethod::ForkServer),
        by("ipc-core Process, fork", StartMethod::Fork),
        by("ipc-core Process, spawn", StartMethod::Spawn),
    ]
}

/// There and back over one of our connections.
#[must_use]
pub fn connection_round_trip() -> Subject {
    Subject::processes(targets::CONNECTION, || {
        let (near, far) = connection::pair().expect("a connection");
        let ((mut answers, mut asks), (mut requests, mut replies)) = (near.split(), far.split());
        let (mut one, mut other) = (Message::default(), Message::default());
        streams::round_trip::<8>(
            Handover::AtOnce,
            move |message| asks.send(bytemuck::bytes_of(&message)).expect("a message sent"),
            move || {
                answers.recv_into(&mut one, Deadline::FAR).expect("a message");
                bytemuck::pod_read_unaligned(&one.bytes)
            },
            move || {
                requests.recv_into(&mut other, Deadline::FAR).expect("a message");
                bytemuck::pod_read_unaligned(&other.bytes)
            },
            move |message| replies.send(bytemuck::bytes_of(&message)).expect("a message sent"),
        )
    })
}

/// There and back by `write` and `read` on a socket of the same kind.
#[must_use]
pub fn socket_round_trip() -> Subject {
    Subject::processes("bare socket (floor)", || {
        let kind = SocketType::SEQPACKET;
        let (near, far) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("sockets");
        let both = |fd: OwnedFd| {
            let file = std::fs::File::from(fd);
            (file.try_clone().expect("dup"), file)
        };
        let ((mut answers, mut asks), (mut requests, mut replies)) = (both(near), both(far));
        let read = |from: &mut std::fs::File| {
            let mut message = [0_u64; 8];
            from.read_exact(bytemuck::bytes_of_mut(&mut message)).expect("a message");
            message
        };
        streams::round_trip::<8>(
            Handover::AtOnce,
            move |message| asks.write_all(bytemuck::bytes_of(&message)).expect("a message sent"),
            move || read(&mut answers),
            move || read(&mut requests),
            move |message| replies.write_all(bytemuck::bytes_of(&message)).expect("a message sent"),
        )
    })
}
