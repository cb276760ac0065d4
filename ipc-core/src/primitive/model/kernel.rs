//! The model's kernel: futex queues, identities, batons and deaths.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::Ordering;

use loom::sync::atomic::AtomicBool;
use loom::sync::{Condvar, Mutex};
use rustix::process::Pid;

use super::word::{Entry, Word};
use crate::clock::Deadline;
use crate::futex::Wake;
use crate::identity::{Domain, Identity, Liveness, NoIdentity, ProcessId};
use crate::{Errno, Result};

/// loom's own limit, its main thread included.
pub(super) const MAX_THREADS: usize = 5;

/// A way in which the model breaks the algorithm on purpose, so that a check can be seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The kernel is never told of a gate.
    NoBaton,
    /// The baton is taken back as soon as the thread returns to the scenario.
    BatonDroppedAfterAcquire,
    /// A sleep compares and watches its first entry only.
    GateOnlySleep,
    /// A plain wake clears the "maybe sleepers" flag.
    FlagClearedOnWake,
    /// Fences do nothing.
    NoFence,
    /// The "none asleep" flag is set without waking everybody.
    ClearWithoutWakeAll,
    /// Whoever releases a word does not ask whether it is his: neither the guard nor the compare-exchange compares.
    ReleaseBySwap,
    /// A thread whose time is over keeps the wake-up that came at the same moment to itself.
    WakeNotPassedOn,
    /// A change of a word and the wake-up that belongs to it are two steps.
    WakeApartFromChange,
    /// A compare-exchange orders nothing.
    NoOrder,
    /// A sandbox refuses what changes a word and wakes in one step. An algorithm bears this, as long as nobody
    /// is killed.
    WakeOpRefused,
    /// A read-modify-write operation that is to clear a single bit does nothing.
    BitNotCleared,
    /// A store orders nothing: what comes before it in the program may come after it.
    StoresOrderNothing,
    /// The barrier that one side executes for both does nothing.
    NoHeavyBarrier,
    /// A sandbox refuses that barrier. An algorithm bears this.
    BarrierRefused,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::NoBaton,
        Self::BatonDroppedAfterAcquire,
        Self::GateOnlySleep,
        Self::FlagClearedOnWake,
        Self::NoFence,
        Self::ClearWithoutWakeAll,
        Self::ReleaseBySwap,
        Self::WakeNotPassedOn,
        Self::WakeApartFromChange,
        Self::NoOrder,
        Self::WakeOpRefused,
        Self::BitNotCleared,
        Self::StoresOrderNothing,
        Self::NoHeavyBarrier,
        Self::BarrierRefused,
    ];
}

/// What one model run does: who is killed, before which of its steps, and what is broken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) victim: Option<usize>,
    pub(super) kill_at: usize,
    pub(super) fault: Option<Fault>,
}

// loom runs all threads of a model on one thread of the operating system, so these are shared by
// them, and no model run sees another's.
std::thread_local! {
    static PLAN: Cell<Plan> = Cell::default();
    static WAS_KILLED: Cell<bool> = const { Cell::new(false) };
    static KERNEL: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) };
    static TRACE: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

loom::thread_local! {
    /// The process that the current loom thread runs, if any.
    static THREAD: RefCell<Option<Rc<Thread>>> = RefCell::new(None);
}

/// One thread of one process.
struct Thread {
    /// Which sleeper it is, and which victim.
    index: usize,
    me: Identity,
    steps: Cell<usize>,
    killed: Cell<bool>,
    /// Its time will be over at the moment at which it is woken, or is.
    time: Cell<Time>,
    /// After how many deaths a slice of its has ended: see [`end_slices_at_deaths`].
    deaths_noticed: Cell<usize>,
    armed: RefCell<Vec<Word<'static>>>,
}

/// How long a thread's deadline is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// As the real clock says; deadlines of a scenario are long past or for ever.
    Real,
    UntilWoken,
    Over,
}

/// What unwinds a killed process.
pub(super) struct Killed;

struct Kernel {
    queue: Mutex<Queue>,
    wake: Vec<Condvar>,
    /// By process. Others read it without a lock, as they would poll a pidfd.
    alive: Vec<AtomicBool>,
    /// By process: the pid namespace in which its pid means something.
    domains: RefCell<Vec<Option<Domain>>>,
    slices_end_at_deaths: Cell<bool>,
}

struct Queue {
    sleepers: VecDeque<Sleeper>,
    woken: [bool; MAX_THREADS],
    dead: Vec<ProcessId>,
}

struct Sleeper {
    thread: usize,
    words: Vec<usize>,
    watched: Vec<ProcessId>,
}

fn kernel() -> Rc<Kernel> {
    KERNEL.with_borrow(|kernel| kernel.clone()).expect("inside a model run")
}

fn thread() -> Option<Rc<Thread>> {
    THREAD.with(|thread| thread.borrow().clone())
}

fn this_thread() -> Rc<Thread> {
    thread().expect("inside `sim::process`")
}

/// Starts one execution of the model.
pub(super) fn boot(plan: Plan, tracing: bool) {
    PLAN.set(plan);
    TRACE.set(tracing.then(Vec::new));
    let kernel = Kernel {
        queue: Mutex::new(Queue {
            sleepers: VecDeque::new(),
            woken: [false; MAX_THREADS],
            dead: Vec::new(),
        }),
        wake: (0..MAX_THREADS).map(|_| Condvar::new()).collect(),
        alive: (0..MAX_THREADS).map(|_| AtomicBool::new(true)).collect(),
        domains: RefCell::new(alloc::vec![None; MAX_THREADS]),
        slices_end_at_deaths: Cell::new(false),
    };
    KERNEL.set(Some(Rc::new(kernel)));
}

/// Ends it: loom's objects must not outlive their execution.
pub(super) fn shut_down() {
    KERNEL.set(None);
}

pub(super) fn take_was_killed() -> bool {
    WAS_KILLED.replace(false)
}

pub(super) fn has_fault(fault: Fault) -> bool {
    PLAN.get().fault == Some(fault)
}

pub(super) fn trace(line: impl FnOnce() -> String) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(lines) = trace {
            let who = thread().map_or(9, |thread| thread.index);
            lines.push(format!("{who}: {}", line()));
        }
    });
}

pub(super) fn take_trace() -> Vec<String> {
    TRACE.take().unwrap_or_default()
}

/// A step of the running process: it is killed here if the plan says so.
pub fn step() {
    let Some(thread) = thread() else { return };
    assert!(!thread.killed.get(), "a killed process touched shared memory");
    let plan = PLAN.get();
    let step = thread.steps.replace(thread.steps.get() + 1);
    if plan.victim == Some(thread.index) && plan.kill_at == step {
        WAS_KILLED.set(true);
        die();
    }
}

/// Kills the running process.
pub(super) fn die() -> ! {
    let thread = this_thread();
    trace(|| format!("KILLED before step {}", thread.steps.get()));
    thread.killed.set(true);
    std::panic::resume_unwind(Box::new(Killed));
}

/// Whether the running process has been killed: destructors do nothing then.
pub fn killed() -> bool {
    thread().is_some_and(|thread| thread.killed.get())
}

/// Makes the current loom thread run as thread `index` of process `process`.
/// Returns what it ran as before.
pub(super) fn enter(index: usize, process: usize, domain: u32) -> Running {
    let pid = Pid::from_raw(1 + process as i32).expect("positive");
    let me = Identity { id: ProcessId::model(pid), domain: Domain::from_bits(domain) };
    kernel().domains.borrow_mut()[process] = Some(me.domain);
    let thread = Thread {
        index,
        me,
        steps: Cell::new(0),
        killed: Cell::new(false),
        time: Cell::new(Time::Real),
        deaths_noticed: Cell::new(0),
        armed: RefCell::default(),
    };
    Running(THREAD.with(|slot| slot.replace(Some(Rc::new(thread)))))
}

/// Goes back to what the thread ran as before.
pub(super) fn leave(outer: Running) {
    THREAD.with(|slot| slot.replace(outer.0));
}

/// What a loom thread runs as.
pub(super) struct Running(Option<Rc<Thread>>);

/// What the kernel does when a process is killed, after its last step.
pub(super) fn exit() {
    let thread = this_thread();
    let kernel = kernel();
    // exit_mm comes first: the robust list, and in it the baton.
    let newest = thread.armed.borrow().last().copied();
    if let Some(gate) = newest {
        let owner = gate.load() & 0x3fff_ffff;
        trace(|| format!("exit: pending {:#x}, owner {owner}", gate.address()));
        if owner == 0 {
            kernel.wake(gate.address(), 1);
        }
    }
    // Then the death becomes visible.
    let process = thread.me.id;
    kernel.alive[model_index(process)].store(false, Ordering::Release);
    let mut queue = kernel.queue.lock().unwrap();
    queue.dead.push(process);
    trace(|| format!("exit: {process} is dead"));
    let slices_end = kernel.slices_end_at_deaths.get();
    queue.wake(&kernel, usize::MAX, |sleeper| {
        sleeper.watched.contains(&process) || slices_end && sleeper.watched.is_empty()
    });
}

/// In this execution a death ends the slices of those who watch nobody, once.
pub(super) fn end_slices_at_deaths() {
    kernel().slices_end_at_deaths.set(true);
}

fn model_index(process: ProcessId) -> usize {
    process.pid().as_raw_nonzero().get() as usize - 1
}

pub fn current() -> Result<Identity, NoIdentity> {
    known().ok_or(NoIdentity)
}

pub fn known() -> Option<Identity> {
    thread().map(|thread| thread.me)
}

/// The calling process, if it is `id`.
pub fn known_as(id: ProcessId) -> Option<Identity> {
    known().filter(|me| me.id == id || has_fault(Fault::ReleaseBySwap))
}

/// The first threads of all processes have the same number, as they have in the real world.
pub fn thread_number() -> u64 {
    let thread = this_thread();
    if thread.index == model_index(thread.me.id) { 1 } else { 2 + thread.index as u64 }
}

pub fn liveness(process: ProcessId) -> Liveness {
    step();
    let kernel = kernel();
    // In another pid namespace the number is free, or that of a stranger.
    let domain = kernel.domains.borrow()[model_index(process)];
    if domain.is_some_and(|domain| domain != this_thread().me.domain) {
        return Liveness::Dead;
    }
    let alive = kernel.alive[model_index(process)].load(Ordering::Acquire);
    if alive { Liveness::Alive } else { Liveness::Dead }
}

pub fn sleep(
    entries: &[Entry<'_>],
    watched: impl IntoIterator<Item = ProcessId>,
    _slice: Deadline,
    _interruptible: bool,
) -> Result<Wake> {
    step();
    let gate_only = has_fault(Fault::GateOnlySleep);
    let (thread, kernel) = (this_thread(), kernel());
    let watched: Vec<_> = watched.into_iter().collect();
    let slices_end = watched.is_empty() && kernel.slices_end_at_deaths.get();
    let watched = if gate_only { Vec::new() } else { watched };
    let entries = if gate_only { &entries[..1] } else { entries };
    let mut queue = kernel.queue.lock().unwrap();
    let deaths = queue.dead.len();
    if slices_end && thread.deaths_noticed.replace(deaths) < deaths {
        trace(|| "not asleep: a slice has ended".into());
        return Ok(Wake::TimedOut);
    }
    if watched.iter().any(|watched| queue.dead.contains(watched)) {
        return Ok(Wake::TimedOut);
    }
    if !entries.iter().all(Entry::matches) {
        trace(|| "not asleep: a word has changed".into());
        return Ok(Wake::Changed);
    }
    trace(|| "asleep".into());
    queue.woken[thread.index] = false;
    let words = entries.iter().map(Entry::address).collect();
    queue.sleepers.push_back(Sleeper { thread: thread.index, words, watched });
    while !queue.woken[thread.index] {
        queue = kernel.wake[thread.index].wait(queue).unwrap();
    }
    drop(queue);
    trace(|| "awake".into());
    if thread.time.get() == Time::UntilWoken {
        thread.time.set(Time::Over);
    }
    // A woken thread can be killed before it runs.
    step();
    Ok(Wake::Woken)
}

impl Queue {
    fn wake(&mut self, kernel: &Kernel, count: usize, which: impl Fn(&Sleeper) -> bool) -> usize {
        let mut woken = 0;
        while woken < count {
            let Some(at) = self.sleepers.iter().position(&which) else { break };
            let sleeper = self.sleepers.remove(at).expect("a position in the queue");
            self.woken[sleeper.thread] = true;
            kernel.wake[sleeper.thread].notify_one();
            woken += 1;
        }
        woken
    }
}

impl Kernel {
    fn wake(&self, address: usize, count: usize) -> usize {
        let mut queue = self.queue.lock().unwrap();
        let woken = queue.wake(self, count, |sleeper| sleeper.words.contains(&address));
        trace(|| format!("wakes {woken} of {address:#x}"));
        woken
    }
}

pub fn has_passed(deadline: Deadline) -> bool {
    thread().is_some_and(|thread| thread.time.get() == Time::Over) || deadline.has_passed()
}

/// From now on the running thread's time is over as soon as it is woken from a sleep.
pub(super) fn expire_when_woken() {
    this_thread().time.set(Time::UntilWoken);
}

pub fn wake<'a>(word: impl Into<Word<'a>>, count: u32) -> usize {
    step();
    if has_fault(Fault::WakeNotPassedOn) && this_thread().time.get() == Time::Over {
        return 1;
    }
    let word = word.into();
    if has_fault(Fault::FlagClearedOnWake) {
        word.fetch_or(1 << 31);
    }
    kernel().wake(word.address(), count as usize)
}

pub fn set_top_bit_and_wake_all<'a>(word: impl Into<Word<'a>>) -> Result<usize> {
    let count = if has_fault(Fault::ClearWithoutWakeAll) { 0 } else { u32::MAX };
    set_bit_and_wake(word, 31, count)
}

/// As [`crate::futex::set_bit_and_wake`].
pub fn set_bit_and_wake<'a>(word: impl Into<Word<'a>>, bit: u16, count: u32) -> Result<usize> {
    step();
    if has_fault(Fault::WakeOpRefused) {
        return Err(Errno::PERM);
    }
    let (kernel, word) = (kernel(), word.into());
    if has_fault(Fault::WakeApartFromChange) {
        word.fetch_or(1 << bit);
        step();
        return Ok(kernel.wake(word.address(), count as usize));
    }
    let mut queue = kernel.queue.lock().unwrap();
    word.fetch_or(1 << bit);
    let woken =
        queue.wake(&kernel, count as usize, |sleeper| sleeper.words.contains(&word.address()));
    trace(|| format!("sets bit {bit} and wakes {woken} of {:#x}", word.address()));
    Ok(woken)
}

/// As [`crate::futex::add_and_wake`].
pub fn add_and_wake<'a, 'b>(
    counter: impl Into<Word<'a>>,
    term: u16,
    gate: impl Into<Word<'b>>,
    count: u32,
) -> Result<usize> {
    step();
    if has_fault(Fault::WakeOpRefused) {
        return Err(Errno::PERM);
    }
    let (kernel, counter, gate) = (kernel(), counter.into(), gate.into());
    if has_fault(Fault::WakeApartFromChange) {
        counter.fetch_add(term.into());
        step();
        return Ok(kernel.wake(gate.address(), count as usize));
    }
    let mut queue = kernel.queue.lock().unwrap();
    if has_fault(Fault::FlagClearedOnWake) {
        gate.fetch_or(1 << 31);
    }
    counter.fetch_add(term.into());
    let address = gate.address();
    let woken = queue.wake(&kernel, count as usize, |sleeper| sleeper.words.contains(&address));
    trace(|| format!("adds {term} and wakes {woken} of {address:#x}"));
    Ok(woken)
}

/// As [`crate::baton::arm`].
///
/// # Safety
///
/// As there; the scenario owns the gate.
pub unsafe fn arm<'a>(gate: impl Into<Word<'a>>, _me: ProcessId) -> bool {
    step();
    if !has_fault(Fault::NoBaton) {
        // SAFETY: the scenario owns the gate until all its processes have ended.
        let gate = unsafe { core::mem::transmute::<Word<'a>, Word<'static>>(gate.into()) };
        this_thread().armed.borrow_mut().push(gate);
    }
    true
}

pub fn disarm<'a>(gate: impl Into<Word<'a>>, _me: ProcessId) {
    step();
    let (thread, gate) = (this_thread(), gate.into().address());
    let mut armed = thread.armed.borrow_mut();
    if let Some(at) = armed.iter().rposition(|armed| armed.address() == gate) {
        armed.remove(at);
    }
}

pub fn armed_times<'a>(gate: impl Into<Word<'a>>, _me: ProcessId) -> usize {
    let gate = gate.into().address();
    this_thread().armed.borrow().iter().filter(|armed| armed.address() == gate).count()
}

/// The scenario holds what it wanted: the point at which [`Fault::BatonDroppedAfterAcquire`] acts.
pub(super) fn acquired() {
    if has_fault(Fault::BatonDroppedAfterAcquire) {
        this_thread().armed.borrow_mut().clear();
    }
}
