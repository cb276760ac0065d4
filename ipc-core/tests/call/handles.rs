//! What travels inside an argument.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use ipc_core::clock::Deadline;
use ipc_core::connection::{Connection, Receiver, RecvError, Sender, pair, simplex, wait_any};
use ipc_core::parcel::Handle;
use ipc_core::process::{Context, ExitStatus, Process, StartError, StartMethod, fork_fn};
use ipc_testkit::cases::doing;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::{METHODS, end, expect};

#[derive(Serialize, Deserialize)]
struct Everything {
    both: Connection,
    input: Receiver,
    output: Sender,
    file: Handle,
    /// The pidfd of another child.
    sibling: Handle,
    more: Vec<(String, Option<Sender>)>,
}

fn use_all(all: Everything) {
    let Everything { mut both, mut input, mut output, file, sibling, more } = all;
    let question = both.recv().expect("recv");
    both.send(&[&question[..], b"!"].concat()).expect("send");
    let line = input.recv().expect("recv");
    output.send(&line).expect("send");
    let mut file = std::fs::File::from(OwnedFd::from(file));
    file.write_all(b"written by the child").expect("write");
    assert_eq!(wait_any(&[sibling], Deadline::FAR), Ok(vec![0]), "it ends");
    for (name, sender) in more {
        if let Some(mut sender) = sender {
            sender.send(name.as_bytes()).expect("send");
        }
    }
}

pub(crate) fn every_handle() {
    for method in METHODS {
        doing("passing every handle");
        let context = Context::new(method);
        let sibling = fork_fn(|| {
            loop {
                std::thread::park()
            }
        })
        .expect("fork");
        let (mut both, theirs) = pair().expect("pair");
        let (input, mut feed) = simplex().expect("simplex");
        let (mut result, output) = simplex().expect("simplex");
        let (mut third, more) = simplex().expect("simplex");
        let file = memfd_create(c"shared", MemfdFlags::CLOEXEC).expect("memfd");
        let copy = |fd: &dyn AsFd| Handle::from(fd.as_fd().try_clone_to_owned().expect("dup"));
        let all = Everything {
            both: theirs,
            input,
            output,
            file: copy(&file),
            sibling: copy(&sibling),
            more: vec![("a".into(), None), ("b".into(), Some(more)), ("c".into(), None)],
        };
        let child = Process::new(use_all, all).start_in(&context).expect("start");
        both.send(b"hello").expect("send");
        assert_eq!(both.recv().as_deref(), Ok(&b"hello!"[..]));
        feed.send(b"line").expect("send");
        assert_eq!(result.recv().as_deref(), Ok(&b"line"[..]));
        sibling.kill().expect("kill");
        end(sibling);
        assert_eq!(third.recv().as_deref(), Ok(&b"b"[..]));
        expect(child, ExitStatus::Exited(0));
        let mut text = String::new();
        let mut file = std::fs::File::from(file);
        std::io::Seek::rewind(&mut file).expect("seek");
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "written by the child");
    }
}

pub(crate) fn at_the_limit() {
    fn count((senders, _): (Vec<Sender>, Vec<u8>)) -> i32 {
        for (number, mut sender) in senders.into_iter().enumerate() {
            sender.send(&[number as u8]).expect("send");
        }
        0
    }
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let context = Context::new(method);
        // A long argument has a descriptor of its own.
        for (len, most) in [(0, 16), (100_000, 15)] {
            for number in [most, most + 1] {
                let (mut receivers, senders): (Vec<_>, Vec<_>) =
                    (0..number).map(|_| simplex().expect("simplex")).unzip();
                let started = Process::new(count, (senders, vec![1; len])).start_in(&context);
                if number > most {
                    let refused = started.map(drop);
                    assert_eq!(refused, Err(StartError::TooManyHandles { count: number, most }));
                    continue;
                }
                expect(started.expect("start"), ExitStatus::Exited(0));
                for (number, receiver) in receivers.iter_mut().enumerate() {
                    assert_eq!(receiver.recv(), Ok(vec![number as u8]));
                }
            }
        }
    }
}

/// The parent keeps nothing of what it gave away, whether the child was started or not.
pub(crate) fn they_move() {
    for method in METHODS {
        let context = Context::new(method);
        let (mut receiver, sender) = simplex().expect("simplex");
        let child = Process::new(|_: Sender| (), sender).start_in(&context).expect("start");
        expect(child, ExitStatus::Exited(0));
        assert_eq!(receiver.recv(), Err(RecvError::Closed));
    }
    let (mut receiver, sender) = simplex().expect("simplex");
    let refused = std::thread::scope(|scope| {
        let context = Context::new(StartMethod::Fork);
        scope
            .spawn(move || Process::new(|_: Sender| (), sender).start_in(&context).map(drop))
            .join()
    });
    assert!(matches!(refused.expect("join"), Err(StartError::Fork(_))));
    assert_eq!(receiver.recv(), Err(RecvError::Closed));
}
