//! A process and all its descendants under ptrace, from system call to system call.

use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Instant;

use super::errnos::Call;
use crate::stepkill::{arch, procfs};
use crate::sys::{self, CallStop, Change, Pid};

/// A system call of the operation: the `at`-th one that the caller makes in it, or another process in its life.
///
/// Processes are named by their descent, so that a point is the same in each round, whatever runs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) process: String,
    pub(crate) at: u64,
    pub(crate) call: Call,
    /// The process has executed another program.
    pub(crate) in_program: bool,
}

/// A fault to inject.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) point: Point,
    pub(crate) errno: i32,
    /// Whether every later call of the kind fails as well, in all processes, until the operation ends.
    pub(crate) persists: bool,
}

/// In which processes beside the caller calls are faulted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    pub(crate) helpers: bool,
    pub(crate) programs: bool,
}

/// What came of a round.
#[derive(Debug)]
pub(crate) struct Round {
    /// The system calls of the operation, in the order in which they were made.
    pub(crate) points: Vec<Point>,
    /// How many calls were made to fail.
    pub(crate) injected: usize,
    /// How the first process ended; `None` if it did not within the limit.
    pub(crate) end: Option<Change>,
    /// Where everybody was then.
    pub(crate) places: String,
    /// The children that the first process itself made.
    pub(crate) own_children: HashSet<Pid>,
    /// A process that ended as none should that runs this program: its name and signal.
    pub(crate) crash: Option<(String, i32)>,
}

/// What the first process is called.
const CALLER: &str = "caller";

const OPTIONS: i32 = libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC;

/// How often newborns are looked at of whom no parent has told.
const SLICE: Duration = Duration::from_millis(10);

/// The signal of a stop at a system call.
const AT_CALL: i32 = libc::SIGTRAP | 0x80;

#[derive(Debug, Default)]
struct Process {
    name: String,
    children: u32,
    /// System calls in its life, or, for the caller, in the operation.
    calls: u64,
    /// Was there before the operation, or descends from one that was.
    is_helper: bool,
    /// Has executed another program, or descends from one that has.
    is_program: bool,
    /// Has said that it does other work now.
    is_unharmed: bool,
    /// The call that it is in will report this.
    answer: Option<i32>,
    /// The call that it is in.
    inside: Option<Call>,
}

#[derive(Debug)]
struct Tree<'a> {
    caller: Pid,
    fault: Option<&'a Fault>,
    reach: Reach,
    processes: HashMap<Pid, Process>,
    /// Stopped at their beginning, before their parents said that they made them.
    early: HashSet<Pid>,
    /// Announced by their parents, and not yet seen.
    expected: HashSet<Pid>,
    /// Ended before their parents said that they made them.
    stillborn: HashSet<Pid>,
    /// Markers of the caller so far: its options, the beginning of the operation, its end.
    markers: u32,
    round: Round,
}

/// Forks a process that runs `child`, whose first marker is for us and whose second and third enclose the operation.
pub(crate) fn play(
    child: impl FnOnce() -> i32,
    fault: Option<&Fault>,
    reach: Reach,
    limit: Duration,
) -> io::Result<Round> {
    let caller = sys::fork(|| match sys::ptrace(libc::PTRACE_TRACEME as _, 0, 0, 0) {
        Ok(()) => child(),
        Err(_) => 97,
    })?;
    let mut tree = Tree {
        caller,
        fault,
        reach,
        processes: HashMap::new(),
        early: HashSet::new(),
        expected: HashSet::new(),
        stillborn: HashSet::new(),
        markers: 0,
        round: Round {
            points: Vec::new(),
            injected: 0,
            end: None,
            places: String::new(),
            own_children: HashSet::new(),
            crash: None,
        },
    };
    tree.processes.insert(caller, Process { name: CALLER.into(), ..Process::default() });
    let result = tree.run(limit);
    tree.end();
    result.map(|()| tree.round)
}

impl Tree<'_> {
    /// Whether the caller is between the marks of its operation.
    fn is_active(&self) -> bool {
        self.markers == 2
    }

    /// Whether calls of this process are looked at now.
    fn listens_to(&self, pid: Pid) -> bool {
        let Some(process) = self.processes.get(&pid) else { return false };
        let Reach { helpers, programs } = self.reach;
        // Of a helper all calls of its life are counted, so that its points are the same in each round.
        let is_time = self.is_active() || self.markers < 2 && helpers && pid != self.caller;
        let is_reached = (!process.is_helper || helpers) && (!process.is_program || programs);
        is_time && is_reached && !process.is_unharmed
    }

    /// Lets everybody run until the caller has ended, or the limit is over.
    fn run(&mut self, limit: Duration) -> io::Result<()> {
        let began = Instant::now();
        while self.round.end.is_none() {
            match sys::poll_children()? {
                Some((pid, change, event)) => self.handle(pid, change, event)?,
                None => {
                    let left = limit.saturating_sub(began.elapsed());
                    if left.is_zero() {
                        self.round.places = self.places();
                        return Ok(());
                    }
                    self.release_orphans();
                    // That somebody falls asleep is no event.
                    let slice = if self.early.is_empty() { left } else { left.min(SLICE) };
                    sys::wait_any_child(slice);
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, pid: Pid, change: Change, event: i32) -> io::Result<()> {
        let Change::Stopped(signal) = change else {
            self.ended(pid, change);
            return Ok(());
        };
        if !self.processes.contains_key(&pid) {
            // A newborn, before the news of its birth.
            self.early.insert(pid);
            return Ok(());
        }
        if self.expected.remove(&pid) {
            self.go_on(pid, 0);
            return Ok(());
        }
        let mut deliver = 0;
        match (signal, event) {
            (AT_CALL, _) => self.at_call(pid),
            (_, libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE) => {
                self.born(pid);
            }
            (_, libc::PTRACE_EVENT_EXEC) => self.process(pid).is_program = true,
            (libc::SIGTRAP, 0) if pid == self.caller => self.marker(pid)?,
            (libc::SIGTRAP, 0) => self.process(pid).is_unharmed = true,
            (libc::SIGTRAP, _) => {}
            (signal, _) => deliver = signal,
        }
        self.go_on(pid, deliver);
        Ok(())
    }

    /// Lets those begin whose parents were killed before they could say that they made them: whoever is their
    /// parent now is asleep, and says nothing of the kind.
    fn release_orphans(&mut self) {
        let is_orphan = |pid: &Pid| {
            let parent = procfs::parent(*pid).ok().flatten();
            parent.is_some_and(|parent| procfs::is_asleep(parent).unwrap_or(false))
        };
        let orphans: Vec<Pid> = self.early.iter().copied().filter(is_orphan).collect();
        for pid in orphans {
            self.early.remove(&pid);
            let name = "an orphan".into();
            let process = Process { name, is_unharmed: true, ..Process::default() };
            self.processes.insert(pid, process);
            self.go_on(pid, 0);
        }
    }

    fn process(&mut self, pid: Pid) -> &mut Process {
        self.processes.get_mut(&pid).expect("a process that was seen")
    }

    fn ended(&mut self, pid: Pid, change: Change) {
        let Some(process) = self.processes.remove(&pid) else {
            // Killed before the news of its birth.
            self.early.remove(&pid);
            self.stillborn.insert(pid);
            return;
        };
        self.expected.remove(&pid);
        if let Change::Killed(signal) = change {
            let is_crash = [
                libc::SIGSEGV,
                libc::SIGABRT,
                libc::SIGILL,
                libc::SIGBUS,
                libc::SIGTRAP,
                libc::SIGSYS,
            ]
            .contains(&signal);
            if is_crash && !process.is_program {
                self.round.crash = Some((process.name, signal));
            }
        }
        if pid == self.caller {
            self.round.end = Some(change);
        }
    }

    fn marker(&mut self, pid: Pid) -> io::Result<()> {
        if self.markers == 0 {
            sys::ptrace(libc::PTRACE_SETOPTIONS as _, pid, 0, OPTIONS as usize)?;
        }
        self.markers += 1;
        Ok(())
    }

    /// `pid` has made a process.
    fn born(&mut self, pid: Pid) {
        // Who was killed meanwhile has nothing to say any more.
        let Ok(child) = sys::ptrace_message(pid) else { return };
        let (is_active, is_gone) = (self.is_active(), self.stillborn.remove(&child));
        let parent = self.process(pid);
        parent.children += 1;
        let process = Process {
            name: format!("{}.{}", parent.name, parent.children),
            is_helper: parent.is_helper || !is_active,
            is_program: parent.is_program,
            is_unharmed: parent.is_unharmed,
            ..Process::default()
        };
        if pid == self.caller {
            self.round.own_children.insert(child);
        }
        if is_gone {
            return;
        }
        self.processes.insert(child, process);
        if self.early.remove(&child) {
            self.go_on(child, 0);
        } else {
            self.expected.insert(child);
        }
    }

    fn at_call(&mut self, pid: Pid) {
        // A process that was killed while it was stopped is nowhere, and its end will be reported.
        let Ok(Some(stop)) = sys::ptrace_call(pid) else { return };
        match stop {
            CallStop::Entry(number, arguments) if self.listens_to(pid) => {
                let call = Call::new(number, arguments);
                let answer = self.enters(pid, call);
                let process = self.process(pid);
                (process.inside, process.answer) = (Some(call), answer);
                if answer.is_some() && !call.is_done_anyway() {
                    // No call has this number, so nothing happens.
                    set(pid, arch::ENTERED, -1);
                }
            }
            CallStop::Entry(..) => {}
            CallStop::Exit => {
                let process = self.process(pid);
                process.inside = None;
                if let Some(errno) = process.answer.take() {
                    set(pid, arch::RESULT, -i64::from(errno));
                }
            }
        }
    }

    /// `pid` is about to make a call: the errno that it shall get instead, if any.
    fn enters(&mut self, pid: Pid, call: Call) -> Option<i32> {
        let process = self.process(pid);
        process.calls += 1;
        let (process, at, in_program) = (process.name.clone(), process.calls, process.is_program);
        let point = Point { process, at, call, in_program };
        if !self.is_active() {
            return None;
        }
        let errno = self.fault.and_then(|fault| {
            let goes_on = fault.persists && self.round.injected > 0 && fault.point.call == call;
            (fault.point == point || goes_on).then_some(fault.errno)
        });
        self.round.injected += usize::from(errno.is_some());
        self.round.points.push(point);
        errno
    }

    /// Resumes a process that is stopped, with a signal or without, until its next system call if that matters.
    fn go_on(&self, pid: Pid, signal: i32) {
        let request = if self.listens_to(pid) { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
        // As in `at_call`.
        let _ = sys::ptrace(request as _, pid, 0, signal as usize);
    }

    fn places(&self) -> String {
        let mut places: Vec<_> = self
            .processes
            .values()
            .map(|process| match process.inside {
                Some(call) => format!("{} in call {}", process.name, call.number),
                None => format!("{} between calls", process.name),
            })
            .collect();
        places.sort();
        places.join(", ")
    }

    /// Kills and reaps whoever is left.
    fn end(&mut self) {
        for pid in self.processes.keys().chain(&self.early) {
            sys::kill(*pid, libc::SIGKILL);
        }
        loop {
            match sys::poll_children() {
                Ok(Some((pid, Change::Stopped(_), _))) => sys::kill(pid, libc::SIGKILL),
                Ok(Some(_)) => {}
                Ok(None) => sys::wait_any_child(Duration::from_secs(1)),
                // Nobody is left.
                Err(_) => return,
            }
        }
    }
}

/// Sets a register of a process that is stopped at a system call.
fn set(pid: Pid, register: usize, value: i64) {
    // It may have been killed while it was stopped, and its end will be reported.
    let _ = sys::ptrace(libc::PTRACE_POKEUSER as _, pid, register, value as usize);
}
