//! What is called, with what, and how it comes out.

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::io::{Read, Write};

use ipc_core::connection::{Sender, simplex};
use ipc_core::parcel::ParcelError;
use ipc_core::process::{Context, ExitStatus, ForkFnError, Process, StartError, StartMethod};
use ipc_testkit::cases::doing;
use rustix::process::{getpid, getppid};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{METHODS, end, expect, rounds};

pub(crate) fn results_are_exit_codes() {
    fn panics(_: ()) {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("as it must");
    }
    fn abort(_: ()) {
        std::process::abort();
    }
    for method in METHODS {
        let context = Context::new(method);
        for code in [0, 1, 42, 255] {
            doing("calling a function for its result");
            expect(start(&context, |code: i32| code, code), ExitStatus::Exited(code));
        }
        expect(start(&context, |()| {}, ()), ExitStatus::Exited(0));
        expect(start(&context, |n: i64| u8::try_from(n).map(drop), 7), ExitStatus::Exited(0));
        expect(start(&context, panics, ()), ExitStatus::Exited(101));
        let aborted = end(start(&context, abort, ()));
        assert!(matches!(aborted, ExitStatus::Signaled { signal: 6, .. }));
    }
}

fn start<A, R>(context: &Context, f: fn(A) -> R, argument: A) -> ipc_core::process::Child
where
    A: Serialize + DeserializeOwned,
    R: ipc_core::process::Report,
{
    Process::new(f, argument).start_in(context).expect("start")
}

/// What is written on standard error until `f` and all that it started have ended.
fn said_on_stderr(f: impl FnOnce() -> ipc_core::process::Child, status: ExitStatus) -> String {
    let (said, saying) = rustix::pipe::pipe().expect("pipe");
    let usual = rustix::io::dup(rustix::stdio::stderr()).expect("dup");
    rustix::stdio::dup2_stderr(&saying).expect("dup2");
    let child = f();
    rustix::stdio::dup2_stderr(&usual).expect("dup2");
    drop(saying);
    expect(child, status);
    let mut text = String::new();
    std::fs::File::from(said).read_to_string(&mut text).expect("read");
    text
}

pub(crate) fn errors_are_said() {
    fn fails(_: ()) -> Result<(), String> {
        Err("as \"it\" must".into())
    }
    for method in METHODS {
        let text =
            said_on_stderr(|| start(&Context::new(method), fails, ()), ExitStatus::Exited(1));
        assert_eq!(text, "Error: \"as \\\"it\\\" must\"\n");
    }
}

pub(crate) fn arguments_of_every_size() {
    fn check((sum, bytes): (u64, Vec<u8>)) -> i32 {
        i32::from(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() != sum)
    }
    for method in METHODS {
        let context = Context::new(method);
        // Where an argument no longer fits beside its function.
        let edge = ipc_core::process::zygote::MAX_BYTES - 512;
        for len in
            [0, 1, 1000, edge - 20, edge - 10, edge - 5, edge, edge + 500, edge + 600, 10 << 20]
        {
            doing("calling a function with a long argument");
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let sum = bytes.iter().map(|byte| u64::from(*byte)).sum();
            expect(start(&context, check, (sum, bytes)), ExitStatus::Exited(0));
        }
    }
}

/// Whether a child has the statics as they are here, or as a program that has just begun.
pub(crate) fn copies() {
    static STATE: AtomicI32 = AtomicI32::new(0);
    STATE.store(5, Ordering::SeqCst);
    let sees = |method, state| {
        let process = Process::new(|()| STATE.load(Ordering::SeqCst), ());
        expect(process.start_in(&Context::new(method)).expect("start"), ExitStatus::Exited(state));
    };
    sees(StartMethod::Auto, 5);
    sees(StartMethod::Fork, 5);
    sees(StartMethod::Spawn, 0);
    sees(StartMethod::ForkServer, 0);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || ended.recv().is_err());
    // What other threads are in the middle of is not copied.
    sees(StartMethod::Auto, 0);
    drop(end);
    assert!(thread.join().expect("it ends"));
}

pub(crate) fn context_keeps_its_helper() {
    fn parent(mut sender: Sender) {
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        sender.send_value(&parent).expect("send");
    }
    for method in [StartMethod::Auto, StartMethod::ForkServer] {
        let context = Context::new(method);
        let parents = [(); 3].map(|()| {
            let (mut receiver, sender) = simplex().expect("simplex");
            let child = Process::new(parent, sender).start_in(&context).expect("start");
            let parent: i32 = receiver.recv_value().expect("recv");
            expect(child, ExitStatus::Exited(0));
            parent
        });
        assert_eq!(parents, [parents[0]; 3]);
        assert_ne!(parents[0], getpid().as_raw_nonzero().get(), "a helper has it");
    }
}

/// The kernel would end this process by SIGXFSZ.
pub(crate) fn beyond_the_size_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let old = getrlimit(Resource::Fsize);
    let length = |bytes: Vec<u8>| (bytes.len() / 1000) as i32;
    for method in [StartMethod::Auto, StartMethod::Spawn, StartMethod::ForkServer] {
        let context = Context::new(method);
        let start = |len| Process::new(length, vec![1; len]).start_in(&context);
        setrlimit(Resource::Fsize, Rlimit { current: Some(50_000), ..old }).expect("setrlimit");
        assert_eq!(start(60_000).map(drop), Err(StartError::Os(ipc_core::Errno::FBIG)));
        expect(start(40_000).expect("start"), ExitStatus::Exited(40));
        setrlimit(Resource::Fsize, old).expect("setrlimit");
        expect(start(60_000).expect("start"), ExitStatus::Exited(60));
    }
}

/// A value that can be packed, and never unpacked.
#[derive(Serialize)]
struct OneWay(u8);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("one way"))
    }
}

pub(crate) fn argument_that_cannot_be_read() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let text = said_on_stderr(
            || start(&Context::new(method), |one: OneWay| i32::from(one.0), OneWay(0)),
            ExitStatus::Exited(124),
        );
        assert!(text.starts_with("a process cannot begin: the value cannot be unpacked"), "{text}");
    }
    // A fork takes it as it is.
    let context = Context::new(StartMethod::Fork);
    expect(start(&context, |one: OneWay| i32::from(one.0), OneWay(9)), ExitStatus::Exited(9));
}

pub(crate) fn argument_that_cannot_be_written() {
    #[derive(Deserialize)]
    struct Never;
    impl Serialize for Never {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let context = Context::new(StartMethod::ForkServer);
    let refused = Process::new(|_: Never| (), Never).start_in(&context).map(drop);
    assert!(matches!(refused, Err(StartError::Parcel(ParcelError::Pack(_)))), "{refused:?}");
    // Nothing was started for it.
    assert!(ipc_testkit::cases::no_children());
}

pub(crate) fn closures_and_generic_functions() {
    fn sum<T: Copy + Into<i32>>(all: Vec<T>) -> i32 {
        all.into_iter().map(Into::into).sum()
    }
    for method in METHODS {
        let context = Context::new(method);
        expect(start(&context, sum::<u8>, vec![1, 2]), ExitStatus::Exited(3));
        expect(start(&context, sum::<i16>, vec![-1, 5]), ExitStatus::Exited(4));
        expect(start(&context, |(a, b): (i32, i32)| a - b, (7, 2)), ExitStatus::Exited(5));
    }
}

pub(crate) fn names_are_seen() {
    fn name(_: ()) -> Result<i32, std::io::Error> {
        let name = std::fs::read_to_string("/proc/self/comm")?;
        Ok(i32::from(name.trim_end() != "a name of fifte"))
    }
    fn unnamed(_: ()) -> Result<i32, std::io::Error> {
        Ok(i32::from(std::fs::read_to_string("/proc/self/comm")?.contains("zygote")))
    }
    for method in METHODS {
        let context = Context::new(method);
        let process = Process::new(name, ()).name("a name of fifteen bytes and more");
        expect(process.start_in(&context).expect("start"), ExitStatus::Exited(0));
        expect(start(&context, unnamed, ()), ExitStatus::Exited(0));
        // A name of any length leaves room for the argument.
        let length = |bytes: Vec<u8>| (bytes.len() / 100) as i32;
        for len in [16_000, 20_000] {
            let process = Process::new(length, vec![1; 15_000]).name("n".repeat(len));
            expect(process.start_in(&context).expect("start"), ExitStatus::Exited(150));
        }
        let process = Process::new(|()| {}, ()).name("\u{1f980}".repeat(5));
        expect(process.start_in(&context).expect("start"), ExitStatus::Exited(0));
        // What cannot be a name is none.
        let process = Process::new(unnamed, ()).name("zygote\0");
        expect(process.start_in(&context).expect("start"), ExitStatus::Exited(0));
    }
}

/// The classic way to a deadlock: a fork while another thread holds the lock of malloc or of
/// standard output.
pub(crate) fn f05_children_beside_busy_threads() {
    static STOP: AtomicBool = AtomicBool::new(false);
    fn busy(number: i32) -> i32 {
        // Whoever was forked beside threads would hang in one of these.
        let text: Vec<_> = (0..20).map(|at| format!("{number}{at}")).collect();
        print!("{}", &text[0][..0]);
        black_box(&text);
        number % 250
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !STOP.load(Ordering::Relaxed) {
                    black_box(vec![0_u8; 1000].into_iter().map(u64::from).collect::<Vec<_>>());
                    print!("");
                    std::io::stdout().flush().expect("flush");
                    // So that the children have a chance on a small machine.
                    std::thread::yield_now();
                }
            });
        }
        let forked = Process::new(busy, 1).start_in(&Context::new(StartMethod::Fork)).map(drop);
        assert_eq!(forked, Err(StartError::Fork(ForkFnError::ManyThreads)));
        for (method, count) in [
            (StartMethod::Auto, 5_000),
            (StartMethod::ForkServer, 5_000),
            (StartMethod::Spawn, 100),
        ] {
            let context = Context::new(method);
            let count = rounds(count);
            for number in 0..count {
                doing("starting children beside busy threads");
                expect(start(&context, busy, number), ExitStatus::Exited(number % 250));
            }
            println!("{count} children by {method}");
        }
        STOP.store(true, Ordering::Relaxed);
    });
}

/// The helper's process: the parent that a child has.
pub(crate) fn parent_of_child(context: &Context) -> rustix::process::Pid {
    fn tell(mut sender: Sender) {
        sender.send_value(&std::os::unix::process::parent_id()).expect("send");
    }
    let (mut receiver, sender) = simplex().expect("simplex");
    expect(start(context, tell, sender), ExitStatus::Exited(0));
    let id: u32 = receiver.recv_value().expect("recv");
    let id = i32::try_from(id).expect("a process id");
    rustix::process::Pid::from_raw(id).expect("a process id")
}

pub(crate) fn killed_helper_is_replaced() {
    for method in [StartMethod::Auto, StartMethod::ForkServer] {
        let context = Context::new(method);
        let mut before = None;
        for _ in 0..5 {
            doing("killing a helper");
            let helper = parent_of_child(&context);
            assert_ne!(helper, rustix::process::getpid());
            assert_ne!(Some(helper), before, "it is the one that was killed");
            rustix::process::kill_process(helper, rustix::process::Signal::KILL).expect("kill");
            before = Some(helper);
        }
        // Several threads that find it dead make one.
        let last = parent_of_child(&context);
        std::thread::scope(|scope| {
            rustix::process::kill_process(last, rustix::process::Signal::KILL).expect("kill");
            let start_one = || expect(start(&context, |()| 3, ()), ExitStatus::Exited(3));
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start_one)).collect();
            // A scope ends when its threads are done; only `join` waits until they are gone, and a
            // fork is refused before.
            threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
        });
    }
    // Under the others the parent is this process.
    for method in [StartMethod::Fork, StartMethod::Spawn] {
        assert_eq!(parent_of_child(&Context::new(method)), rustix::process::getpid());
    }
}

pub(crate) fn forked_context_has_its_own_helper() {
    let context = Context::new(StartMethod::Auto);
    let ours = parent_of_child(&context);
    let child = ipc_core::process::fork_fn(|| {
        let theirs = parent_of_child(&context);
        i32::from(theirs == ours || theirs == rustix::process::getpid())
    });
    assert_eq!(end(child.expect("fork")), ExitStatus::Exited(0));
    assert_eq!(parent_of_child(&context), ours, "the copy has disturbed it");
    // The helper of the fork ended after it, and this process adopted it.
    drop(context);
    while !ipc_testkit::cases::no_children() {
        rustix::process::wait(rustix::process::WaitOptions::empty()).expect("wait");
    }
}
