//! A process of a given size that does a subject's work: what a call costs may depend on how much
//! memory its caller has.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use rustix::thread::disable_transparent_huge_pages;

use crate::subject::{Done, Ends, Role, Slice, Subject, Wrong};
use crate::sys::{self, Child};

/// Every page is touched once; on processors with larger ones, more often.
const PAGE: usize = 4096;

/// What the subject does, done by a process that has touched so many bytes, in small pages.
///
/// For subjects without a right side. The process is made in the first slice, and its memory goes
/// with the row.
#[must_use]
pub fn in_parent(bytes: usize, subject: Subject) -> Subject {
    Subject::processes(subject.name, move || {
        let Ends { mut left, audit, .. } = (subject.make)();
        let mut parent = None;
        Ends::alone(
            move |slice| {
                let parent = match &mut parent {
                    Some(parent) => parent,
                    None => parent.insert(Parent::start(bytes, &mut left).map_err(wrong)?),
                };
                parent.run(slice)
            },
            audit,
        )
    })
}

/// The process. It is told each slice in a line, and answers with what it did in another.
struct Parent {
    /// Ends with this value, and with this process.
    _process: Child,
    orders: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Parent {
    fn start(bytes: usize, role: &mut Role) -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        let process = Child::fork(|| {
            disable_transparent_huge_pages(true).expect("small pages");
            let mut memory = vec![0_u8; bytes];
            memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
            serve(&far, role);
            // It was there until now.
            assert!(memory.iter().step_by(PAGE).all(|&byte| byte == 1));
        })?;
        Ok(Self { _process: process, answers: BufReader::new(near.try_clone()?), orders: near })
    }

    fn run(&mut self, Slice { count, deadline }: Slice) -> Result<Done, Wrong> {
        writeln!(self.orders, "{count} {deadline}").map_err(wrong)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(wrong)?;
        match numbers(&line) {
            Some([operations, nanoseconds]) => {
                Ok(Done { operations, nanoseconds: Some(nanoseconds), ..Done::default() })
            }
            None => Err(Wrong(format!("the parent said `{}`", line.trim_end()))),
        }
    }
}

/// Does what the lines say until there are no more.
fn serve(mut orders: &UnixStream, role: &mut Role) {
    for line in BufReader::new(orders).lines() {
        let [count, deadline] = numbers(&line.expect("a line")).expect("two numbers");
        let began = sys::now();
        let answer = match role(Slice { count, deadline }) {
            Ok(Done { operations, nanoseconds, .. }) => {
                let nanoseconds = nanoseconds.unwrap_or_else(|| sys::now() - began);
                writeln!(orders, "{operations} {nanoseconds}")
            }
            Err(Wrong(reason)) => writeln!(orders, "{reason}"),
        };
        answer.expect("somebody who listens");
    }
}

fn numbers(line: &str) -> Option<[u64; 2]> {
    let (first, second) = line.trim_end().split_once(' ')?;
    Some([first.parse().ok()?, second.parse().ok()?])
}

fn wrong(error: io::Error) -> Wrong {
    Wrong(error.to_string())
}
