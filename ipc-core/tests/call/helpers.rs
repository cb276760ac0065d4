//! Helpers that are killed or stopped while children begin, run and end; and what a program had
//! arranged for itself.
//!
//! # Safety
//!
//! Dispositions are read, and one is set to a function that does nothing.
#![expect(unsafe_code, reason = "dispositions have no safe wrapper")]

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::SeqCst};
use core::time::Duration;

use ipc_core::connection::{Receiver, RecvError, Sender, simplex};
use ipc_core::process::{
    Child, Context, ExitStatus, Process, StartError, StartMethod, ZygoteError, fork_fn,
};
use ipc_testkit::cases::signals::on_signal;
use ipc_testkit::cases::{doing, no_children, shared};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use crate::lives::reap_orphans;
use crate::{METHODS, end, expect};

/// Those whose children have a helper for their parent.
const WITH_HELPER: [StartMethod; 2] = [StartMethod::Auto, StartMethod::ForkServer];

/// How soon whoever watches a dead process must be gone.
const SOON: Duration = Duration::from_secs(1);

/// Says who its parent is, and does what it is told then.
fn obey((mut sender, mut orders): (Sender, Receiver)) -> i32 {
    sender.send_value(&std::os::unix::process::parent_id()).expect("send");
    match orders.recv() {
        Ok(code) => code[0].into(),
        Err(_) => pause_for_ever(),
    }
}

/// The helper of a child that is told to say so.
fn helper_of(receiver: &mut Receiver) -> Pid {
    let id: u32 = receiver.recv_value().expect("recv");
    Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id")
}

/// Who only lost the helper goes on; a daemon goes with its parent, whether the helper is there or not.
pub(crate) fn who_goes_with_whom() {
    for method in WITH_HELPER {
        for (helper_dies, parent_dies) in [(true, false), (false, true), (true, true)] {
            doing(&format!("{method}: helper killed {helper_dies}, parent killed {parent_dies}"));
            let (mut receiver, sender) = simplex().expect("simplex");
            let (orders, mut ordering) = simplex().expect("simplex");
            let mut ends = Some((sender, orders));
            let parent = fork_fn(|| {
                let context = Context::new(method);
                let process = Process::new(obey, ends.take().expect("once")).daemon(true);
                let _child = process.start_in(&context).expect("start");
                pause_for_ever()
            });
            drop(ends);
            let mut parent = parent.expect("fork");
            let helper = helper_of(&mut receiver);
            if helper_dies {
                kill_process(helper, Signal::KILL).expect("kill");
            }
            if parent_dies {
                parent.kill().expect("kill");
                parent.wait().expect("wait");
                assert_eq!(receiver.recv_timeout(SOON), Err(RecvError::Closed), "it stays");
            } else {
                // Nothing happens, which takes time to see.
                let still = receiver.recv_timeout(Duration::from_millis(200));
                assert_eq!(still, Err(RecvError::TimedOut), "it went with the helper");
                ordering.send(&[0]).expect("it takes orders");
                assert_eq!(receiver.recv_timeout(SOON), Err(RecvError::Closed));
                parent.kill().expect("kill");
                parent.wait().expect("wait");
            }
            reap_orphans();
        }
    }
}

fn pause_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Its helper stands still: the status of a child is exact or unknown, and comes all the same.
pub(crate) fn status_beside_a_stopped_helper() {
    for method in WITH_HELPER {
        for code in [0, 7] {
            doing("waiting beside a stopped helper");
            let context = Context::new(method);
            let (mut receiver, sender) = simplex().expect("simplex");
            let (orders, mut ordering) = simplex().expect("simplex");
            let child = Process::new(obey, (sender, orders)).start_in(&context).expect("start");
            let helper = helper_of(&mut receiver);
            kill_process(helper, Signal::STOP).expect("stop");
            ordering.send(&[code]).expect("send");
            expect(child, ExitStatus::Exited(code.into()));
            kill_process(helper, Signal::CONT).expect("continue");
            // It serves on.
            expect(start(&context, |()| 3, ()), ExitStatus::Exited(3));
        }
    }
}

fn start<A, R>(context: &Context, f: fn(A) -> R, argument: A) -> Child
where
    A: serde::Serialize + serde::de::DeserializeOwned,
    R: ipc_core::process::Report,
{
    Process::new(f, argument).start_in(context).expect("start")
}

/// K18, with several callers: each gets a child, or is told that there is none. A single death is
/// hidden from all of them.
pub(crate) fn k18_killed_while_several_start() {
    for method in WITH_HELPER {
        for patient in [true, false] {
            doing("killing a helper that has requests");
            let callers = Callers::default();
            let context = Context::new(method);
            let (ran, died) = std::thread::scope(|scope| {
                let each = |at| {
                    scope.spawn({
                        let (callers, context) = (&callers, &context);
                        move || callers.call(at, context)
                    })
                };
                let threads: Vec<_> = (0..CALLERS).map(each).collect();
                callers.kill_helpers(if patient { 25 } else { 200 }, patient);
                let counts = threads.into_iter().map(|thread| thread.join().expect("no panic"));
                counts.fold((0, 0), |(ran, died), more| (ran + more.0, died + more.1))
            });
            println!("{method}: {ran} children, {died} callers were told that there is none");
            assert!(ran > 0);
            assert!(!patient || died == 0, "the helper was to be replaced");
            drop(context);
            while !no_children() {
                wait(WaitOptions::empty()).expect("an orphan ends");
            }
        }
    }
}

const CALLERS: usize = 4;

#[derive(Default)]
struct Callers {
    over: AtomicBool,
    /// The helper that the latest child has seen; zero if it was killed.
    helper: AtomicI32,
    /// How many calls each has made.
    calls: [AtomicU32; CALLERS],
}

impl Callers {
    fn kill_helpers(&self, times: u32, patient: bool) {
        for _ in 0..times {
            let id = loop {
                match Pid::from_raw(self.helper.swap(0, SeqCst)) {
                    None => std::thread::sleep(Duration::from_millis(1)),
                    Some(id) => break id,
                }
            };
            // It may have been killed by then.
            let _ = kill_process(id, Signal::KILL);
            let before = self.calls.each_ref().map(|calls| calls.load(SeqCst));
            let has_called = |(calls, before): (&AtomicU32, u32)| calls.load(SeqCst) > before + 1;
            // Whoever was in a call at that moment is in another one then.
            while patient && !self.calls.iter().zip(before).all(has_called) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if patient {
                // What has been seen by then may be the one that was killed.
                self.helper.store(0, SeqCst);
            }
        }
        self.over.store(true, SeqCst);
    }

    /// Starts children, and counts those that ran and the refusals.
    fn call(&self, at: usize, context: &Context) -> (u32, u32) {
        fn tell((mut sender, number): (Sender, u32)) -> i32 {
            let parent = std::os::unix::process::parent_id() as i32;
            let said = sender.send_value(&(number, parent));
            said.map_or(9, |()| 7)
        }
        let (mut ran, mut died) = (0, 0);
        while !self.over.load(SeqCst) {
            let (mut receiver, sender) = simplex().expect("simplex");
            match Process::new(tell, (sender, ran)).start_in(context) {
                Ok(child) => {
                    let said: (u32, i32) = receiver.recv_value().expect("it runs");
                    assert_eq!(said.0, ran, "another child's");
                    let status = end(child);
                    let right = matches!(status, ExitStatus::Exited(7) | ExitStatus::Unknown);
                    assert!(right, "{status}");
                    // An orphan has this process for its parent.
                    let is_orphan = said.1 == std::process::id() as i32;
                    self.helper.store(if is_orphan { 0 } else { said.1 }, SeqCst);
                    ran += 1;
                }
                Err(StartError::Zygote(ZygoteError::Died)) => {
                    assert_eq!(receiver.recv(), Err(RecvError::Closed), "the function has run");
                    died += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
            self.calls[at].fetch_add(1, SeqCst);
        }
        (ran, died)
    }
}

/// Also of a child whose parent is a helper.
pub(crate) fn terminate_graceful() {
    fn deaf(mut sender: Sender) {
        on_signal(libc::SIGTERM, libc::SIG_IGN, 0);
        sender.send(b"deaf").expect("send");
        pause_for_ever()
    }
    fn obedient(mut sender: Sender) {
        sender.send(b"here").expect("send");
        pause_for_ever()
    }
    let by = |signal| ExitStatus::Signaled { signal, core_dumped: false };
    for method in METHODS {
        doing("terminating children");
        let context = Context::new(method);
        let begin = |f: fn(Sender)| {
            let (mut receiver, sender) = simplex().expect("simplex");
            let child = start(&context, f, sender);
            receiver.recv().expect("it runs");
            (child, receiver)
        };
        let (mut child, _receiver) = begin(obedient);
        let ended = child.terminate_graceful(Duration::from_secs(20)).expect("terminate");
        assert_eq!(ended, by(15));
        let (mut child, _receiver) = begin(deaf);
        let ended = child.terminate_graceful(Duration::from_millis(20)).expect("terminate");
        assert_eq!(ended, by(9));
        let (mut child, _receiver) = begin(obedient);
        child.signal(Signal::STOP).expect("stop");
        let ended = child.terminate_graceful(Duration::from_millis(20)).expect("terminate");
        // Stopped or about to, it may still take the first one.
        assert!([by(9), by(15)].contains(&ended), "{ended}");
    }
}

/// S08: the application has a handler for SIGCHLD, and keeps it, as it keeps all of them.
pub(crate) fn s08_handlers_are_left_alone() {
    extern "C" fn count(_: i32) {
        shared().words[0].fetch_add(1, SeqCst);
    }
    let handler = count as extern "C" fn(i32) as libc::sighandler_t;
    on_signal(libc::SIGCHLD, handler, libc::SA_RESTART);
    let before: Vec<_> = (1..=64).map(disposition).collect();
    assert_eq!(before[libc::SIGCHLD as usize - 1].map(|(handler, _)| handler), Some(handler));
    for method in METHODS {
        let context = Context::new(method);
        let seen = shared().words[0].load(SeqCst);
        for code in [0, 7] {
            expect(start(&context, |code: i32| code, code), ExitStatus::Exited(code));
        }
        drop(context);
        assert!(shared().words[0].load(SeqCst) > seen, "it is called, for children or the helper");
        let after: Vec<_> = (1..=64).map(disposition).collect();
        assert_eq!(after, before, "{method}");
    }
}

/// What a signal does, and with which flags.
fn disposition(signal: i32) -> Option<(libc::sighandler_t, i32)> {
    let mut action = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: writes the action only.
    let known = unsafe { libc::sigaction(signal, core::ptr::null(), action.as_mut_ptr()) } == 0;
    // SAFETY: zeroes are an action, and so is what the kernel wrote.
    let action = unsafe { action.assume_init() };
    known.then_some((action.sa_sigaction, action.sa_flags))
}
