//! The examples of a package, as programs that a test runs.

use core::time::Duration;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

/// How long a run may take; a second is usual, the rest is for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// An example, as a program.
#[derive(Debug)]
pub struct Example {
    /// Where it is.
    pub path: PathBuf,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ended {
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// All that it and its children wrote.
    pub stdout: String,
    /// The same, of errors.
    pub stderr: String,
}

impl Example {
    /// Builds the example `name` of the package in the folder `manifest`, from the present source and
    /// in the present profile: a test that is asked for by its name alone finds it as well.
    ///
    /// Tests pass `env!("CARGO_MANIFEST_DIR")`.
    ///
    /// # Panics
    ///
    /// If it does not build.
    #[must_use]
    pub fn build(manifest: &str, name: &str) -> Self {
        // The test is `TARGET/PROFILE/deps/NAME`.
        let test = std::env::current_exe().expect("the path of this program");
        let [profile, target] = [2, 3].map(|up| test.ancestors().nth(up).expect("cargo's folders"));
        let of = profile.file_name().and_then(|name| name.to_str()).expect("a profile");
        // The whole workspace decides on features: without it cargo would build everything anew.
        let status = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
            .args(["build", "--quiet", "--workspace", "--example", name])
            .args(["--profile", if of == "debug" { "dev" } else { of }, "--target-dir"])
            .arg(target)
            .current_dir(manifest)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "the example {name} does not build");
        Self { path: profile.join("examples").join(name) }
    }

    /// Runs it to its end, and to that of every process that has its standard output.
    ///
    /// # Panics
    ///
    /// If that takes longer than a minute; it is killed then.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("an example that was built can be started");
        let (sender, receiver) = mpsc::channel();
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        thread::spawn(move || {
            let mut text = [String::new(), String::new()];
            let [stdout, stderr] = &mut text;
            // Little is written to the second: it waits in the pipe.
            let read = out.as_mut().map(|out| out.read_to_string(stdout));
            let also = err.as_mut().map(|err| err.read_to_string(stderr));
            // The test may have given up.
            let _ = sender.send((text, matches!((read, also), (Some(Ok(_)), Some(Ok(_))))));
        });
        let Ok(([stdout, stderr], true)) = receiver.recv_timeout(LIMIT) else {
            // It may have ended by itself.
            let _ = child.kill();
            panic!("{} {arguments:?} hung for {LIMIT:?}", self.path.display());
        };
        let pid = child.id();
        Ended { pid, status: child.wait().expect("a child"), stdout, stderr }
    }
}
