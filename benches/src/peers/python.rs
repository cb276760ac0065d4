//! Python's `multiprocessing`, where there is a `python3`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::subject::{Done, Ends, Slice, Subject, Wrong};
use crate::sys;

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

/// Passes as many messages as each line says from one process to another, through a queue or a pipe, and
/// answers with the nanoseconds from the first one's way in to the last one's way out. The other process
/// compares each message with what was sent.
const STREAM: &str = "
import multiprocessing, os, sys, time
kind, size, cpus = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
context = multiprocessing.get_context('fork')
orders, told = context.Pipe(False)
said, answers = context.Pipe(False)
if kind == 'queue':
    queue = context.Queue()
    send, receive = queue.put, queue.get
else:
    reader, writer = context.Pipe(False)
    send, receive = writer.send_bytes, reader.recv_bytes
tail = (bytes(range(256)) * (size // 256 + 1))[:size - 8]

def consume():
    os.sched_setaffinity(0, {int(cpus[1])})
    last, right = 0, True
    while True:
        count = orders.recv()
        for number in range(last + 1, last + 1 + count):
            right &= receive() == number.to_bytes(8, 'little') + tail
        answers.send((time.monotonic_ns(), right))
        last += count

other = context.Process(target=consume, daemon=True)
other.start()
os.sched_setaffinity(0, {int(cpus[0])})
last = 0
for line in sys.stdin:
    count = int(line)
    told.send(count)
    began = time.monotonic_ns()
    for number in range(last + 1, last + 1 + count):
        send(number.to_bytes(8, 'little') + tail)
    last += count
    ended, right = said.recv()
    print(ended - began if right else 'a message was changed', flush=True)
";

/// A Python that does what it is told, line by line.
struct Interpreter {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Interpreter {
    fn start(program: &str, arguments: &[String]) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", program]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
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
        let answer = answer.trim();
        answer.parse().map_err(|_| wrong(if answer.is_empty() { &"it gave up" } else { &answer }))
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

/// Messages of `bytes` bytes through `multiprocessing`'s `Queue`, and as bytes through its `Pipe`; nothing
/// without a `python3`.
///
/// # Panics
/// Panics when there is only one processor.
#[must_use]
pub fn streams(bytes: usize) -> Vec<Subject> {
    if !is_here() {
        return Vec::new();
    }
    let by = |name, kind: &'static str| {
        Subject::processes(name, move || {
            let [left, right] = sys::two_cpus().expect("two processors");
            let arguments =
                [kind.to_owned(), bytes.to_string(), left.to_string(), right.to_string()];
            // Both ends are Python's; our right side has nothing to do.
            let idle = |slice: Slice| Ok(Done { operations: slice.count, ..Done::default() });
            Ends::agreeing(interpreted(STREAM, arguments.into()), idle)
        })
    };
    vec![by("Python Queue", "queue"), by("Python Pipe", "pipe")]
}

/// A program that says itself how long it took for what it was told to do.
fn told(name: &'static str, program: &'static str, argument: &'static str) -> Option<Subject> {
    is_here().then(|| {
        Subject::processes(name, move || {
            Ends::alone(interpreted(program, vec![argument.to_owned()]), |_, _| Ok(()))
        })
    })
}

/// The side that tells the program; it is started in the first slice.
fn interpreted(
    program: &'static str,
    arguments: Vec<String>,
) -> impl FnMut(Slice) -> Result<Done, Wrong> + Send + 'static {
    let mut python = None;
    move |slice| {
        let python = python.get_or_insert_with(|| Interpreter::start(program, &arguments));
        let nanoseconds = python.run(slice.count)?;
        Ok(Done { operations: slice.count, nanoseconds: Some(nanoseconds), ..Done::default() })
    }
}

fn is_here() -> bool {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}
