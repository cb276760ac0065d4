//! Functions of shared libraries, and of a program that is loaded somewhere else each time.
//!
//! # Safety
//!
//! The library is built from a source that `ipc_testkit` has, by the compiler of this program: its
//! function is of the type that is said here.
#![expect(unsafe_code, reason = "a function of a library is found by its name")]

use core::ffi::CStr;
use core::time::Duration;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, ExitCode};
use std::time::Instant;

use ipc_core::connection::{RecvError, Sender, simplex};
use ipc_core::function::FunctionError;
use ipc_core::process::{Context, ExitStatus, Process, StartError, StartMethod};
use ipc_testkit::cases::library::{BuildId, Library};
use ipc_testkit::cases::{doing, no_children, skip};

use crate::{METHODS, expect};

/// What the library has.
type Add = fn((i32, i32)) -> i32;

const NAME: &CStr = c"plug_add";

/// How soon a refusal must come. A hang of the handshake takes 5 s at least.
const SOON: Duration = Duration::from_secs(3);

fn build(build_id: BuildId) -> Library {
    Library::build(build_id).unwrap_or_else(|| skip("no compiler that fits the built crate"))
}

/// Opens the library in this process only.
fn open(library: &Library) -> Add {
    let path = CString::new(library.path().as_os_str().as_bytes()).expect("a path");
    // SAFETY: its constructor does nothing outside of a program that is meant to be a zygote.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null(), "dlopen");
    find(handle)
}

fn find(handle: *mut core::ffi::c_void) -> Add {
    // SAFETY: the handle is an open library, or stands for all of them.
    let address = unsafe { libc::dlsym(handle, NAME.as_ptr()) };
    assert!(!address.is_null(), "dlsym");
    // SAFETY: see the head of this file.
    unsafe { core::mem::transmute::<*mut core::ffi::c_void, Add>(address) }
}

/// Another thread, so that nothing may be forked any more.
fn sleeping_thread() {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
}

fn adds(context: &Context, add: Add) {
    doing(&format!("calling a library's function by {}", context.method()));
    let child = Process::new(add, (40, 2)).start_in(context).expect("start");
    expect(child, ExitStatus::Exited(42));
}

pub(crate) fn on_both_sides() {
    let library = build(BuildId::Some);
    let mut command = Command::new("/proc/self/exe");
    command.args(["--as", "preloaded"]).env("LD_PRELOAD", library.path());
    let output = command.output().expect("run");
    assert!(output.status.success(), "{output:?}");
}

/// This program, with the library preloaded.
pub(crate) fn preloaded() -> ExitCode {
    let add = find(libc::RTLD_DEFAULT);
    for method in METHODS {
        let context = Context::new(method);
        adds(&context, add);
        adds(&context, add);
    }
    sleeping_thread();
    for method in [StartMethod::Auto, StartMethod::Spawn, StartMethod::ForkServer] {
        adds(&Context::new(method), add);
    }
    ExitCode::SUCCESS
}

pub(crate) fn on_one_side() {
    let library = build(BuildId::Some);
    let before = Context::new(StartMethod::Auto);
    let start_one = |context: &Context| {
        let started = Process::new(|n: i32| n, 3).start_in(context);
        expect(started.expect("start"), ExitStatus::Exited(3));
    };
    // Its helper is a fork of this moment.
    start_one(&before);
    let add = open(&library);
    // What is forked now has it.
    adds(&Context::new(StartMethod::Fork), add);
    adds(&Context::new(StartMethod::Auto), add);

    let refuses = |context: &Context| {
        doing(&format!("a function that is not there, by {}", context.method()));
        let began = Instant::now();
        let refused = Process::new(add, (1, 2)).name("nobody").start_in(context).map(drop);
        assert_eq!(refused, Err(StartError::Function(FunctionError::UnknownModule)));
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        // It is no reason to do without the helper.
        start_one(context);
    };
    refuses(&before);
    refuses(&before);
    drop(before);
    assert!(no_children());
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let context = Context::new(method);
        refuses(&context);
        refuses(&context);
        assert!(method == StartMethod::ForkServer || no_children(), "a child is left");
        drop(context);
        assert!(no_children(), "a child is left");
    }
    the_argument_is_dropped(add);
    sleeping_thread();
    refuses(&Context::new(StartMethod::Auto));
}

/// A refused process has let go of its handles, also where it was refused by the other side.
fn the_argument_is_dropped(add: Add) {
    // SAFETY: not of this type, and never called: nobody finds it.
    let takes_sender = unsafe { core::mem::transmute::<Add, fn(Sender) -> i32>(add) };
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let (mut receiver, sender) = simplex().expect("simplex");
        let context = Context::new(method);
        let refused = Process::new(takes_sender, sender).start_in(&context).map(drop);
        assert_eq!(refused, Err(StartError::Function(FunctionError::UnknownModule)));
        assert_eq!(receiver.recv_timeout(SOON), Err(RecvError::Closed));
    }
}

/// Without a build id a library has no name, and that is found on this side.
pub(crate) fn without_a_build_id() {
    let library = build(BuildId::None);
    let add = open(&library);
    for method in [StartMethod::Auto, StartMethod::Spawn, StartMethod::ForkServer] {
        let refused = Process::new(add, (1, 2)).start_in(&Context::new(method)).map(drop);
        assert_eq!(refused, Err(StartError::Function(FunctionError::Unnamed)));
        assert!(no_children(), "nothing is started for it");
    }
    adds(&Context::new(StartMethod::Fork), add);
}

/// Each executed child is loaded elsewhere, and each is called where it is.
pub(crate) fn of_a_program_that_moves() {
    fn tell(mut sender: Sender) {
        sender.send_value(&((tell as fn(Sender) as *const ()).addr() as u64)).expect("send");
    }
    let setting = std::fs::read_to_string("/proc/sys/kernel/randomize_va_space");
    // SAFETY: the call only reads.
    let personality = unsafe { libc::personality(0xffff_ffff) };
    if !setting.is_ok_and(|setting| setting.trim() == "2")
        || personality & libc::ADDR_NO_RANDOMIZE != 0
    {
        skip("addresses are not random here");
    }
    for (method, moves) in [
        (StartMethod::Fork, false),
        (StartMethod::Auto, false),
        (StartMethod::Spawn, true),
        (StartMethod::ForkServer, true),
    ] {
        let own = (tell as fn(Sender) as *const ()).addr() as u64;
        let mut addresses = vec![own];
        for _ in 0..8 {
            let (mut receiver, sender) = simplex().expect("simplex");
            // A helper of its own for each.
            let context = Context::new(method);
            let child = Process::new(tell, sender).start_in(&context).expect("start");
            addresses.push(receiver.recv_value().expect("recv"));
            expect(child, ExitStatus::Exited(0));
        }
        addresses.sort_unstable();
        addresses.dedup();
        // Of 2^28 places two may be the same now and then.
        let right = if moves { addresses.len() > 7 } else { addresses == [own] };
        assert!(right, "{method}: {addresses:x?}");
    }
}
