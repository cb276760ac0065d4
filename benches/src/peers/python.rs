//! Python's `multiprocessing`, where there is a `python3`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::subject::{Done, Ends, Subject, Wrong};

/// Starts and joins as many processes as each line of its input says, and answers with the
/// nanoseconds that it took.
const PROCESSES: &str = "
import multiprocessing, os, sys, time
context = multiprocessing.get_context(sys.argv[1])
for line in sys.stdin:
    began = time.monotonic_ns()
    for _ in range(int(line)):
        process = context.Process(target=os.getpid)
        process.start()
        process.join()
        assert process.exitcode == 0
    print(time.monotonic_ns() - began, flush=True)
";

/// Takes and releases `multiprocessing`'s lock as often as each line says, and answers with the nanoseconds.
const LOCK: &str = "
import multiprocessing, sys, time
lock = multiprocessing.Lock()
for line in sys.stdin:
    began = time.monotonic_ns()
    for _ in range(int(line)):
        lock.acquire()
        lock.release()
    print(time.monotonic_ns() - began, flush=True)
";

/// A Python that does what it is told, line by line.
struct Interpreter {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Interpreter {
    fn start(program: &str, argument: &str) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", program, argument]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 was there before");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, orders, answers }
    }

    fn run(&mut self, count: u64) -> Result<u64, Wrong> {
        let wrong = |why: &dyn core::fmt::Display| Wrong(format!("python3: {why}"));
        let orders = self.orders.as_mut().ok_or_else(|| wrong(&"its input is closed"))?;
        writeln!(orders, "{count}").map_err(|error| wrong(&error))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| wrong(&error))?;
        answer.trim().parse().map_err(|_| wrong(&"it gave up"))
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // It ends with its input, and its helper with it.
        self.orders = None;
        let _ = self.process.wait();
    }
}

/// A function in a process of its own, by two start methods; nothing without a `python3`.
#[must_use]
pub fn processes() -> Vec<Subject> {
    let by = |name, method| told(name, PROCESSES, method);
    [by("Python forkserver", "forkserver"), by("Python fork", "fork")]
        .into_iter()
        .flatten()
        .collect()
}

/// A pair on `multiprocessing.Lock`, which is a named semaphore of POSIX; nothing without a `python3`.
#[must_use]
pub fn lock() -> Option<Subject> {
    told("Python Lock", LOCK, "")
}

/// A program that says itself how long it took for what it was told to do.
fn told(name: &'static str, program: &'static str, argument: &'static str) -> Option<Subject> {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success()).then(|| {
        Subject::processes(name, move || {
            let mut python = None;
            Ends::alone(
                move |slice| {
                    let python =
                        python.get_or_insert_with(|| Interpreter::start(program, argument));
                    let nanoseconds = python.run(slice.count)?;
                    let operations = slice.count;
                    Ok(Done { operations, checksum: 0, nanoseconds: Some(nanoseconds) })
                },
                |_, _| Ok(()),
            )
        })
    })
}
