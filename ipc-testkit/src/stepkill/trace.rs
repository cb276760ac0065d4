//! A process under PTRACE_SINGLESTEP.

use core::time::Duration;
use std::io;
use std::time::Instant;

use super::arch::{self, Instruction};
use super::control::Role;
use super::procfs;
use crate::sys::{self, Change, Pid};

pub(crate) use super::arch::marker;

/// A forked process that is stopped at the start of its operation, or on its way through it.
///
/// It is killed and reaped when this is dropped, and by the kernel when the harness dies (PTRACE_O_EXITKILL).
#[derive(Debug)]
pub(crate) struct Tracee {
    role: Role,
    pid: Pid,
    /// A step was begun and its end not yet seen.
    in_flight: bool,
    /// Stopped where a system call begins or ends.
    at_call: bool,
    /// When the present sequence of single steps began.
    stepping_since: Option<Instant>,
    /// By how much the deadline of the present system call was moved: see [`give_back`](Self::give_back).
    given_back: Duration,
    /// A breakpoint that is in place: its address and the text that it covers.
    breakpoint: Option<(u64, u64)>,
    reaped: bool,
}

/// What came of a step, or of a run to a breakpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Stopped again, where it was to stop.
    Done,
    /// The next instruction is a marker: the operation is over. The marker was not executed.
    AtMarker,
    /// Sleeps in a system call. [`Tracee::finish_step`] waits for its return.
    Asleep,
    /// A signal or an exit that the operation must not have.
    Lost(Change),
}

/// Exit code of a child that may not be traced.
const NOT_TRACEABLE: i32 = 97;

/// Dies with the harness; stops at system calls can be told from others.
const OPTIONS: i32 = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;

/// The signal of a stop at a system call.
const AT_CALL: i32 = libc::SIGTRAP | 0x80;

/// How long a system call may take before we look whether it sleeps.
const GLANCE: Duration = Duration::from_micros(50);

impl Tracee {
    /// Forks a process that runs `child` until its first [`marker`], for at most `limit`.
    ///
    /// `Err` with the change if it ended instead, or `TimedOut`.
    pub(crate) fn spawn(
        role: Role,
        limit: Duration,
        child: impl FnOnce() -> i32,
    ) -> io::Result<Self> {
        let pid = sys::fork(|| match sys::ptrace(libc::PTRACE_TRACEME as _, 0, 0, 0) {
            Ok(()) => child(),
            Err(_) => NOT_TRACEABLE,
        })?;
        let mut tracee = Self {
            role,
            pid,
            in_flight: true,
            at_call: false,
            stepping_since: None,
            given_back: Duration::ZERO,
            breakpoint: None,
            reaped: false,
        };
        match tracee.wait(limit, false)? {
            Some(Change::Stopped(libc::SIGTRAP)) => {
                sys::ptrace(libc::PTRACE_SETOPTIONS as _, pid, 0, OPTIONS as usize)?;
                Ok(tracee)
            }
            Some(Change::Exited(NOT_TRACEABLE)) => Err(io::ErrorKind::PermissionDenied.into()),
            Some(change) => {
                Err(io::Error::other(format!("ended before its operation: {change:?}")))
            }
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Who this is in its scenario.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// The address of the next instruction.
    pub(crate) fn pc(&self) -> io::Result<u64> {
        sys::ptrace_peek(libc::PTRACE_PEEKUSER as _, self.pid, arch::PC)
    }

    fn set_pc(&self, pc: u64) -> io::Result<()> {
        sys::ptrace(libc::PTRACE_POKEUSER as _, self.pid, arch::PC, pc as usize)
    }

    /// The result register, behind a system call.
    pub(crate) fn result(&self) -> io::Result<i64> {
        Ok(sys::ptrace_peek(libc::PTRACE_PEEKUSER as _, self.pid, arch::RESULT)? as i64)
    }

    /// The instruction that the next step executes.
    pub(crate) fn next(&self) -> io::Result<Instruction> {
        Ok(arch::decode(self.text(self.pc()?)?))
    }

    fn text(&self, at: u64) -> io::Result<u64> {
        sys::ptrace_peek(libc::PTRACE_PEEKTEXT as _, self.pid, at as usize)
    }

    /// Executes one instruction.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        debug_assert!(!self.in_flight, "the last step is over");
        let next = self.next()?;
        if next == Instruction::Marker {
            return Ok(Step::AtMarker);
        }
        let since = *self.stepping_since.get_or_insert_with(Instant::now);
        self.given_back = match next {
            Instruction::SystemCall => self.give_back(since.elapsed())?,
            _ => Duration::ZERO,
        };
        sys::ptrace(libc::PTRACE_SINGLESTEP as _, self.pid, 0, 0)?;
        self.in_flight = true;
        if next == Instruction::SystemCall {
            self.settle(Duration::MAX, true)
        } else {
            let change = sys::wait(self.pid)?;
            self.classify(change)
        }
    }

    /// Adds the time that stepping took to the deadline of a futex wait that is the next instruction; how much that was.
    ///
    /// Stepping is ten thousand times slower than running: a deadline would be over before the wait begins, the victim
    /// would never sleep, and what it does instead is not what it does in life.
    fn give_back(&self, lost: Duration) -> io::Result<Duration> {
        let register = |offset| sys::ptrace_peek(libc::PTRACE_PEEKUSER as _, self.pid, offset);
        let call = register(arch::CALL)? as i64;
        let operation = register(arch::SECOND)? as i32
            & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
        let has_deadline = call == libc::SYS_futex_waitv
            || call == libc::SYS_futex && operation == libc::FUTEX_WAIT_BITSET;
        let deadline = register(arch::FOURTH)?;
        if !has_deadline || deadline == 0 {
            return Ok(Duration::ZERO);
        }
        let at = |word: u64| (deadline + 8 * word) as usize;
        let peek = |word| sys::ptrace_peek(libc::PTRACE_PEEKDATA as _, self.pid, at(word));
        let (Ok(seconds), Ok(nanoseconds)) = (peek(0), peek(1)) else {
            // A pointer to nothing, which the call itself will refuse.
            return Ok(Duration::ZERO);
        };
        let later = Duration::new(seconds, nanoseconds as u32) + lost;
        sys::ptrace(libc::PTRACE_POKEDATA as _, self.pid, at(0), later.as_secs() as usize)?;
        sys::ptrace(libc::PTRACE_POKEDATA as _, self.pid, at(1), later.subsec_nanos() as usize)?;
        Ok(lost)
    }

    /// Watches accesses to aligned places of `len` (4 or 8) bytes.
    pub(crate) fn watch(&self, places: &[u64], len: u64) -> io::Result<()> {
        for (register, value) in arch::watch(places, len) {
            sys::ptrace(libc::PTRACE_POKEUSER as _, self.pid, register, value as usize)?;
        }
        Ok(())
    }

    /// Which of the watched places were accessed since the last call.
    pub(crate) fn accessed(&self) -> io::Result<impl Iterator<Item = usize> + use<>> {
        let status = sys::ptrace_peek(libc::PTRACE_PEEKUSER as _, self.pid, arch::WATCH_STATUS)?;
        sys::ptrace(libc::PTRACE_POKEUSER as _, self.pid, arch::WATCH_STATUS, 0)?;
        Ok((0..arch::WATCHPOINTS).filter(move |i| status >> i & 1 == 1))
    }

    /// Waits for the end of a step that was found asleep; `Asleep` again if that takes longer than `limit`, and than the
    /// time by which the sleep was made longer.
    pub(crate) fn finish_step(&mut self, limit: Duration) -> io::Result<Step> {
        self.settle(limit + self.given_back, false)
    }

    /// Lets the process run until it is about to execute the instruction at `pc`, or a marker, or sleeps; after
    /// `Asleep`, [`finish_step`](Self::finish_step) goes on waiting for the same.
    pub(crate) fn run_to(&mut self, pc: u64) -> io::Result<Step> {
        let text = self.text(pc)?;
        sys::ptrace(
            libc::PTRACE_POKETEXT as _,
            self.pid,
            pc as usize,
            arch::with_marker(text) as usize,
        )?;
        self.breakpoint = Some((pc, text));
        (self.stepping_since, self.given_back) = (None, Duration::ZERO);
        sys::ptrace(libc::PTRACE_CONT as _, self.pid, 0, 0)?;
        self.in_flight = true;
        self.settle(Duration::MAX, true)
    }

    /// Lets the process run until it enters or leaves a system call, or is about to execute a marker, or sleeps; after
    /// `Asleep`, [`finish_step`](Self::finish_step) waits until it has left the call, before any further instruction.
    pub(crate) fn run_to_call(&mut self) -> io::Result<Step> {
        (self.stepping_since, self.given_back) = (None, Duration::ZERO);
        sys::ptrace(libc::PTRACE_SYSCALL as _, self.pid, 0, 0)?;
        self.in_flight = true;
        match self.settle(Duration::MAX, true)? {
            Step::Done if !self.at_call => {
                // Behind the end marker: back to it, as if it had not been executed.
                self.set_pc(self.pc()? - arch::MARKER_LEN)?;
                Ok(Step::AtMarker)
            }
            step => Ok(step),
        }
    }

    fn settle(&mut self, limit: Duration, tell_sleep: bool) -> io::Result<Step> {
        match self.wait(limit, tell_sleep)? {
            Some(change) => self.classify(change),
            None => {
                // A sleep is no lost time, and the time before it has been given back.
                self.stepping_since = None;
                Ok(Step::Asleep)
            }
        }
    }

    /// The next change within `limit`; `None` after that, or (`tell_sleep`) as soon as the process sleeps.
    fn wait(&mut self, limit: Duration, tell_sleep: bool) -> io::Result<Option<Change>> {
        let start = Instant::now();
        loop {
            if let Some(change) = sys::poll_child(self.pid)? {
                self.note(change);
                return Ok(Some(change));
            }
            let waited = start.elapsed();
            if waited >= limit || (tell_sleep && waited >= GLANCE && procfs::is_asleep(self.pid)?) {
                return Ok(None);
            }
            sys::wait_any_child(GLANCE);
        }
    }

    fn note(&mut self, change: Change) {
        self.in_flight = false;
        self.at_call = change == Change::Stopped(AT_CALL);
        self.reaped = !matches!(change, Change::Stopped(_));
    }

    fn classify(&mut self, change: Change) -> io::Result<Step> {
        self.note(change);
        match change {
            Change::Stopped(AT_CALL) => return Ok(Step::Done),
            Change::Stopped(libc::SIGTRAP) => {}
            _ => return Ok(Step::Lost(change)),
        }
        let Some((at, text)) = self.breakpoint.take() else { return Ok(Step::Done) };
        // Behind the breakpoint or behind the end marker: back to it, as if it had not been executed.
        let here = self.pc()? - arch::MARKER_LEN;
        self.set_pc(here)?;
        sys::ptrace(libc::PTRACE_POKETEXT as _, self.pid, at as usize, text as usize)?;
        Ok(if here == at { Step::Done } else { Step::AtMarker })
    }

    /// Lets the process run out unharmed and waits for its end: its change, or `None` after `limit`.
    pub(crate) fn run_out(&mut self, limit: Duration) -> io::Result<Option<Change>> {
        let start = Instant::now();
        // A sleep that was made longer has its time, too.
        let limit = limit + self.given_back;
        loop {
            if !self.in_flight {
                if self.next()? == Instruction::Marker {
                    self.set_pc(self.pc()? + arch::MARKER_LEN)?;
                }
                sys::ptrace(libc::PTRACE_CONT as _, self.pid, 0, 0)?;
                self.in_flight = true;
            }
            match self.wait(limit.saturating_sub(start.elapsed()), false)? {
                // The end marker, or the end of a step that was in flight.
                Some(Change::Stopped(libc::SIGTRAP)) => {}
                end => return Ok(end),
            }
        }
    }

    /// SIGKILL; returns when the kernel reports the death. The zombie stays until this is dropped.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        sys::kill(self.pid, libc::SIGKILL);
        sys::wait_dead(self.pid)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.reaped {
            sys::kill(self.pid, libc::SIGKILL);
            // A stop may be reported before the death.
            while let Ok(Change::Stopped(_)) = sys::wait(self.pid) {}
        }
    }
}
