//! What is refused, and by which words; all else works.

use crate::capabilities::Capability;
use crate::missing::Missing;

struct Line {
    missing: &'static [&'static str],
    capabilities: &'static [&'static str],
    /// With `{errno}` for what the kernel answers, and `{none}` for what it says of a missing file.
    words: &'static str,
}

/// The zygote, and all that has one.
const ZYGOTES: &[&str] = &[
    "Zygote by fork",
    "Zygote by exec",
    "Zygote by whatever goes",
    "Zygote, become_child",
    "Process, spawn",
    "Process, forkserver",
    "Process, auto",
    "Process, auto beside threads",
    "daemon, spawn",
    "daemon, forkserver",
    "daemon, auto",
    "ParentWatch",
];

/// Those that execute one.
const EXECUTED: &[&str] = &[
    "Zygote by exec",
    "Zygote by whatever goes",
    "Zygote, become_child",
    "Process, spawn",
    "Process, forkserver",
    "Process, auto",
    "Process, auto beside threads",
    "daemon, spawn",
    "daemon, forkserver",
    "daemon, auto",
    "ParentWatch",
];

const LINES: &[Line] = &[
    Line {
        missing: &["without_pidfd_open", "forbidden_pidfd_open"],
        capabilities: &["fork_fn", "Process, fork"],
        words: "cannot fork: {errno}",
    },
    Line {
        missing: &[
            "without_pidfd_open",
            "forbidden_pidfd_open",
            "forbidden_pidfd_open_without_proc",
        ],
        capabilities: ZYGOTES,
        words: "cannot start or reach a zygote: {errno}",
    },
    Line {
        missing: &[
            "without_pidfd_open",
            "forbidden_pidfd_open",
            "forbidden_pidfd_open_without_proc",
        ],
        capabilities: &["daemon, fork"],
        words: "cannot start a process: {errno}",
    },
    // By number it might be a stranger.
    Line {
        missing: &["without_pidfd_send_signal", "forbidden_pidfd_send_signal"],
        capabilities: &[
            "Child, its signals",
            "Child, terminate_graceful",
            "Child, terminate_group_graceful",
        ],
        words: "{errno}",
    },
    // Started they are, all of them; it is the wait that says this.
    Line {
        missing: &["without_waitid_by_pidfd", "forbidden_waitid_by_pidfd"],
        capabilities: &[
            "fork_fn",
            "Spawn",
            "Child, its waits",
            "Child, its signals",
            "Child, terminate_graceful",
            "Child, terminate_group_graceful",
            "Child, status beside SIGCHLD ignored",
            "Zygote by fork",
            "Zygote by exec",
            "Zygote by whatever goes",
            "Zygote, become_child",
            "Process, fork",
            "Process, spawn",
            "Process, forkserver",
            "Process, auto",
            "Process, auto beside threads",
        ],
        words: "{errno}",
    },
    Line {
        missing: &[
            "without_pidfd_get_info",
            "unknown_pidfd_get_info",
            "forbidden_pidfd_get_info",
            "as_linux_5_5",
        ],
        capabilities: &["Child, status beside SIGCHLD ignored"],
        words: "status unknown",
    },
    // The C library makes no thread then, and a daemon has one.
    Line {
        missing: &["forbidden_clone3"],
        capabilities: &["Process, auto beside threads"],
        words: "{errno}",
    },
    Line {
        missing: &["forbidden_clone3"],
        capabilities: &["daemon, fork"],
        words: "a daemon cannot watch its parent: {errno}",
    },
    Line {
        missing: &["forbidden_clone3"],
        capabilities: &["daemon, spawn", "daemon, forkserver", "daemon, auto"],
        words: "a process cannot begin: {errno}",
    },
    Line {
        missing: &["without_proc", "as_linux_5_5_without_proc"],
        capabilities: &["fork_fn", "Process, fork", "daemon, fork"],
        words: "cannot fork safely: number of threads unknown: {none}",
    },
    Line {
        missing: &["forbidden_pidfd_open_without_proc"],
        capabilities: &["fork_fn", "Process, fork"],
        words: "cannot fork safely: number of threads unknown: {none}",
    },
    Line {
        missing: &["without_proc"],
        capabilities: EXECUTED,
        words: "cannot execute a zygote: {none}",
    },
    Line {
        missing: &["without_proc", "as_linux_5_5_without_proc"],
        capabilities: &["Zygote by fork"],
        words: "cannot fork a zygote: number of threads unknown: {none}",
    },
    // Without `close_range` the list of descriptors is in `/proc`.
    Line {
        missing: &["as_linux_5_5_without_proc"],
        capabilities: EXECUTED,
        words: "cannot start or reach a zygote: {none}",
    },
    Line {
        missing: &["as_linux_5_5_without_proc"],
        capabilities: &[
            "Spawn",
            "Child, its waits",
            "Child, its signals",
            "Child, terminate_graceful",
            "Child, terminate_group_graceful",
            "Child, status beside SIGCHLD ignored",
        ],
        words: "cannot spawn: cannot keep other descriptors from it: {none}",
    },
    // Neither source of an incarnation is there.
    Line {
        missing: &["as_linux_5_5_without_proc", "forbidden_pidfd_open_without_proc"],
        capabilities: &["ProcessId, current", "ProcessId, liveness"],
        words: "the kernel gives this process no identity (neither pidfs nor /proc)",
    },
];

/// What must come of it.
pub(crate) fn of(missing: &Missing, capability: &Capability) -> String {
    let is_meant = |line: &&Line| {
        line.missing.contains(&missing.name) && line.capabilities.contains(&capability.name)
    };
    let mut lines = LINES.iter().filter(is_meant);
    let line = lines.next();
    assert!(lines.next().is_none(), "two lines for {} {}", capability.name, missing.name);
    let said_of = |errno| std::io::Error::from_raw_os_error(errno).to_string();
    line.map_or("works".into(), |line| {
        let words = line.words.replace("{errno}", &said_of(missing.errno));
        words.replace("{none}", &said_of(libc::ENOENT))
    })
}

/// Every name in the table is one that there is; then no line is left over, since each cell is
/// compared with its line.
pub(crate) fn names_are_known() {
    let missing = crate::missing::ALL.map(|missing| missing.name);
    let capabilities = crate::capabilities::ALL.map(|capability| capability.name);
    for line in LINES {
        assert!(line.missing.iter().all(|name| missing.contains(name)), "{:?}", line.missing);
        let known = |name: &&str| capabilities.contains(name);
        assert!(line.capabilities.iter().all(known), "{:?}", line.capabilities);
    }
}
