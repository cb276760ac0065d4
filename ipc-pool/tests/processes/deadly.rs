//! A task that ends its own worker, how and when it is told to.

use core::time::Duration;

use ipc_core::process::ExitStatus;
use ipc_pool::current_worker;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Kill,
    Segv,
    Abort,
    Exit0,
    Exit3,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum When {
    /// While the worker reads the argument.
    Decoding,
    Running,
    /// While it writes the result.
    Encoding,
    /// A moment after the task: the worker is idle, or at another task.
    After,
    Never,
}

pub(crate) const HOWS: [How; 6] =
    [How::Kill, How::Segv, How::Abort, How::Exit0, How::Exit3, How::Panic];

impl How {
    pub(crate) fn end(self) {
        match self {
            Self::Kill => kill_process(getpid(), Signal::KILL).expect("kill"),
            // Rust's handler takes the first for a mistake of somebody else, and puts the default back.
            Self::Segv => {
                for _ in 0..1000 {
                    kill_process(getpid(), Signal::SEGV).expect("kill");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Self::Abort => std::process::abort(),
            Self::Exit0 => std::process::exit(0),
            Self::Exit3 => std::process::exit(3),
            Self::Panic => panic!("as told"),
        }
        // A signal to a process with several threads may go to another one.
        std::thread::sleep(Duration::from_secs(10));
    }

    /// What the supervisor sees of it; `None` if the worker lives.
    pub(crate) fn seen(self, cause: ExitStatus) -> bool {
        let signal =
            |wanted| matches!(cause, ExitStatus::Signaled { signal, .. } if signal == wanted);
        match self {
            Self::Kill => signal(9),
            Self::Segv => signal(11),
            Self::Abort => signal(6),
            Self::Exit0 => cause == ExitStatus::Exited(0),
            Self::Exit3 => cause == ExitStatus::Exited(3),
            Self::Panic => false,
        }
    }
}

/// The argument, and the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadly {
    pub(crate) how: How,
    pub(crate) when: When,
    pub(crate) value: u64,
}

impl Serialize for Deadly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if current_worker().is_some() && self.when == When::Encoding {
            self.how.end();
        }
        (self.how, self.when, self.value).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (how, when, value): (How, When, u64) = Deserialize::deserialize(deserializer)?;
        if current_worker().is_some() && when == When::Decoding {
            how.end();
        }
        Ok(Self { how, when, value })
    }
}

/// The task: gives its argument back with the value squared, if it lives that long.
pub(crate) fn run(mut task: Deadly) -> Deadly {
    match task.when {
        When::Running => task.how.end(),
        When::After => {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(2));
                task.how.end();
            });
        }
        _ => {}
    }
    task.value *= task.value;
    task
}
