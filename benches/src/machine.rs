//! Where a figure comes from: without this it cannot be compared with another.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::sys;

/// The machine, the kernel, the compiler and the source of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub processor: String,
    /// How many processors this process may use.
    pub processors: usize,
    /// Whether the processor says that a hypervisor is below.
    pub virtual_machine: bool,
    /// Name and release of the kernel.
    pub kernel: String,
    /// The compiler that built this binary.
    pub compiler: String,
    /// Whether debug assertions were on: such figures mean nothing.
    pub debug: bool,
    /// The commit of the source, with `+changes` when files differ from it.
    pub commit: String,
    /// The day and minute, universal time.
    pub date: String,
    /// The niceness of the measuring processes.
    pub niceness: i32,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let model = field("model name").unwrap_or_else(|| "unknown".to_owned());
        let exact = [("family", "cpu family"), ("model", "model\t"), ("stepping", "stepping")]
            .into_iter()
            .filter_map(|(word, name)| Some(format!("{word} {}", field(name)?)))
            .collect::<Vec<_>>()
            .join(" ");
        let uname = rustix::system::uname();
        let lossy = |text: &core::ffi::CStr| text.to_string_lossy().into_owned();
        Self {
            processor: if exact.is_empty() { model } else { format!("{model} ({exact})") },
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_machine: field("flags").is_some_and(|flags| flags.contains("hypervisor")),
            kernel: format!("{} {}", lossy(uname.sysname()), lossy(uname.release())),
            compiler: env!("IPC_BENCHES_COMPILER").to_owned(),
            debug: cfg!(debug_assertions),
            commit: commit(),
            date: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or_else(|_| "unknown".to_owned(), |since| date(since.as_secs())),
            niceness: sys::niceness(),
        }
    }

    #[cfg(test)]
    pub(crate) fn unknown() -> Self {
        Self {
            processor: "p".to_owned(),
            processors: 2,
            virtual_machine: true,
            kernel: "k".to_owned(),
            compiler: "c".to_owned(),
            debug: false,
            commit: "0".to_owned(),
            date: "d".to_owned(),
            niceness: 0,
        }
    }

    /// The machine and the program, a sentence each, for below a table.
    #[must_use]
    pub fn sentences(&self) -> [String; 2] {
        let machine = format!(
            "{}, {} processors{}, {}, niceness {}.",
            self.processor,
            self.processors,
            if self.virtual_machine { " of a virtual machine" } else { "" },
            self.kernel,
            self.niceness,
        );
        let program = format!(
            "{}{}, commit {}, {}.",
            self.compiler,
            if self.debug { " WITH DEBUG ASSERTIONS" } else { "" },
            self.commit,
            self.date,
        );
        [machine, program]
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}+changes"),
    }
}

/// Seconds since 1970 as `2026-01-31 23:59 UTC`.
///
/// The calendar is Howard Hinnant's `civil_from_days`, for days after 1970 only.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the day that comes and goes is the last one.
    let day_of_era = (days + 719_468) % 146_097;
    let era = (days + 719_468) / 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(951_868_799), "2000-02-29 23:59 UTC");
        assert_eq!(date(1_767_225_600), "2026-01-01 00:00 UTC");
        assert_eq!(date(4_107_542_399), "2100-02-28 23:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00 UTC");
    }

    #[test]
    fn machine_is_known_and_holds_no_path() {
        let machine = Machine::here();
        assert!(machine.kernel.starts_with("Linux "), "{machine:?}");
        assert!(machine.compiler.starts_with("rustc "), "{machine:?}");
        assert!(!serde_json::to_string(&machine).unwrap().contains(env!("CARGO_MANIFEST_DIR")));
    }
}
