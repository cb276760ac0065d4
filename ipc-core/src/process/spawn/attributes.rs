//! What the kernel keeps for each process and the builder sets: signals, groups, limits, priority.

use alloc::vec;
use alloc::vec::Vec;

use super::Spawn;
use crate::Errno;
use crate::process::{Pid, Resource, Rlimit, Signal, SignalSet};

/// Beyond this number there is no processor, and a mask for it would be absurdly long.
const MAX_PROCESSOR: usize = 1 << 16;

/// All of them, with their defaults.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub(super) parent_death: Option<ParentDeath>,
    pub(super) session: bool,
    /// The process group: zero for a new one.
    pub(super) group: Option<i32>,
    /// The kernel's bit mask of processors.
    pub(super) affinity: Option<Vec<usize>>,
    pub(super) nice: Option<i32>,
    /// Resources by their numbers.
    pub(super) limits: Vec<(u32, libc::rlimit64)>,
    pub(super) umask: Option<u32>,
    /// Signals that are set to their default.
    pub(super) default: SignalSet,
    /// Signals that are ignored.
    pub(super) ignored: SignalSet,
    /// `None`: the mask of the thread that spawns.
    pub(super) mask: Option<SignalSet>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            parent_death: None,
            session: false,
            group: None,
            affinity: None,
            nice: None,
            limits: Vec::new(),
            umask: None,
            default: SignalSet::EMPTY.with(Signal::PIPE),
            ignored: SignalSet::EMPTY,
            mask: Some(SignalSet::EMPTY),
        }
    }
}

/// The signal that the child gets when its parent ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParentDeath {
    pub(super) signal: i32,
    /// Whether the end of the spawning thread may count as the parent's.
    pub(super) any_thread: bool,
}

impl Spawn<'_> {
    /// The signals that are blocked when the program starts, in place of none.
    ///
    /// Those that libc uses between threads are left out, as libc itself does.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use ipc_core::process::{Signal, SignalSet};
    ///
    /// // For a program that reads its signals from a `signalfd`.
    /// let blocked = SignalSet::from(Signal::TERM);
    /// assert!(Spawn::new("true").signal_mask(blocked).spawn()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn signal_mask(&mut self, blocked: SignalSet) -> &mut Self {
        self.attributes.mask = Some(blocked.and(SignalSet::ALL_BUT_LIBCS));
        self
    }

    /// The program starts with the mask of the thread that calls [`spawn`](Self::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// assert!(Spawn::new("true").inherit_signal_mask().spawn()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn inherit_signal_mask(&mut self) -> &mut Self {
        self.attributes.mask = None;
        self
    }

    /// The signals that are set to their default even if this process ignores them, in place of
    /// SIGPIPE.
    ///
    /// Each signal is a system call of the child; [`SignalSet::ALL`] costs some ten microseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use ipc_core::process::SignalSet;
    ///
    /// // Whatever was ignored here, the program begins afresh.
    /// let mut child = Spawn::new("true").default_signals(SignalSet::ALL).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn default_signals(&mut self, signals: SignalSet) -> &mut Self {
        // These are at their default always, and the kernel does not like to be told.
        self.attributes.default = signals.without(Signal::KILL).without(Signal::STOP);
        self
    }

    /// The signals that the program starts with ignored, beside those that this process ignores.
    /// This goes before [`default_signals`](Self::default_signals).
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use ipc_core::process::{Signal, SignalSet};
    ///
    /// // It goes on when the terminal is closed.
    /// let mut child = Spawn::new("true").ignore_signals(SignalSet::from(Signal::HUP)).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn ignore_signals(&mut self, signals: SignalSet) -> &mut Self {
        self.attributes.ignored = signals;
        self
    }

    /// Makes the child the leader of a process group of its own, to which a terminal's Ctrl-C does
    /// not go.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// assert!(Spawn::new("true").new_process_group().spawn()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn new_process_group(&mut self) -> &mut Self {
        self.attributes.group = Some(0);
        self
    }

    /// Puts the child into the process group of this number.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut leader = Spawn::new("sleep").arg("60").new_process_group().spawn()?;
    /// let mut other = Spawn::new("true").process_group(leader.id()).spawn()?;
    /// assert!(other.wait()?.success());
    /// leader.kill()?;
    /// # leader.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn process_group(&mut self, group: Pid) -> &mut Self {
        self.attributes.group = Some(group.as_raw_nonzero().get());
        self
    }

    /// Makes the child the leader of a new session, which has no terminal, and of its first process
    /// group.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// assert!(Spawn::new("true").new_session().spawn()?.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn new_session(&mut self) -> &mut Self {
        self.attributes.session = true;
        self
    }

    /// The program gets `signal` when this process ends, however it ends.
    ///
    /// If it ends before the child has asked the kernel for that, the child ends without executing
    /// anything.
    ///
    /// The kernel sends the signal when the *thread* ends that spawned, even though its process
    /// goes on. [`spawn`](Self::spawn) therefore refuses to be called in another thread than the
    /// main one: `EPERM` at [`Stage::ParentDeath`](super::Stage::ParentDeath). The end of the main
    /// thread is that of the process, unless it leaves by `pthread_exit`. For other threads there
    /// is [`parent_thread_death`](Self::parent_thread_death).
    ///
    /// The program may change the wish, and loses it by executing a file that gives privileges.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use ipc_core::process::Signal;
    ///
    /// # if rustix::thread::gettid() != rustix::process::getpid() { return Ok(()) }
    /// let mut child = Spawn::new("sleep").arg("60").parent_death(Signal::KILL).spawn()?;
    /// # child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn parent_death(&mut self, signal: Signal) -> &mut Self {
        self.attributes.parent_death =
            Some(ParentDeath { signal: signal.as_raw(), any_thread: false });
        self
    }

    /// The program gets `signal` when the thread ends that calls [`spawn`](Self::spawn), and at the
    /// latest when its process does.
    ///
    /// This is [`parent_death`](Self::parent_death) for a thread that lives as long as it has
    /// children, such as their supervisor.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::{ExitStatus, Spawn};
    /// use ipc_core::process::Signal;
    ///
    /// let child = std::thread::spawn(|| {
    ///     Spawn::new("sleep").arg("60").parent_thread_death(Signal::TERM).spawn()
    /// });
    /// let status = child.join().unwrap()?.wait()?;
    /// assert_eq!(status, ExitStatus::Signaled { signal: 15, core_dumped: false });
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn parent_thread_death(&mut self, signal: Signal) -> &mut Self {
        self.attributes.parent_death =
            Some(ParentDeath { signal: signal.as_raw(), any_thread: true });
        self
    }

    /// Sets a limit of the program.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// use ipc_core::process::{Resource, Rlimit};
    ///
    /// let few = Rlimit { current: Some(16), maximum: Some(16) };
    /// let mut child = Spawn::new("sh")
    ///     .args(["-c", "test $(ulimit -n) = 16"])
    ///     .rlimit(Resource::Nofile, few)
    ///     .spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn rlimit(&mut self, resource: Resource, limit: Rlimit) -> &mut Self {
        let [current, maximum] =
            [limit.current, limit.maximum].map(|limit| limit.unwrap_or(libc::RLIM64_INFINITY));
        let (resource, limit) =
            (resource as u32, libc::rlimit64 { rlim_cur: current, rlim_max: maximum });
        self.attributes.limits.retain(|&(earlier, _)| earlier != resource);
        self.attributes.limits.push((resource, limit));
        self
    }

    /// The processors on which the program may run, counted from zero. Those that do not exist are
    /// left aside, as long as one does.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// # let mine = rustix::thread::sched_getaffinity(None)?;
    /// # let first = (0..).find(|&cpu| mine.is_set(cpu)).unwrap();
    /// let mut child = Spawn::new("sh")
    ///     .args(["-c", "test $(nproc) = 1"])
    ///     .cpu_affinity([first])
    ///     .spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn cpu_affinity(&mut self, processors: impl IntoIterator<Item = usize>) -> &mut Self {
        let mut mask = vec![0; 1];
        for processor in processors {
            if processor >= MAX_PROCESSOR {
                return self.refuse(Errno::INVAL);
            }
            let (word, bit) = (processor / usize::BITS as usize, processor % usize::BITS as usize);
            mask.resize(mask.len().max(word + 1), 0);
            mask[word] |= 1_usize << bit;
        }
        self.attributes.affinity = Some(mask);
        self
    }

    /// The program's priority: -20 runs first, 19 last. Less than this process has needs a
    /// privilege.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child = Spawn::new("sh").args(["-c", "test $(nice) = 19"]).nice(19).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn nice(&mut self, nice: i32) -> &mut Self {
        self.attributes.nice = Some(nice);
        self
    }

    /// The permissions that files of the program do not get; the low nine bits count.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ipc_core::process::Spawn;
    /// let mut child =
    ///     Spawn::new("sh").args(["-c", "test $(umask) = 0077"]).umask(0o077).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn umask(&mut self, mask: u32) -> &mut Self {
        self.attributes.umask = Some(mask);
        self
    }
}
