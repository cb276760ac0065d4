//! Functions in processes of their own, started from ordinary tests and from tokio: both have threads,
//! libtest has its own `main`, and nothing is prepared. Every wait has a limit, so each test ends.
#![cfg(not(loom))]

use core::time::Duration;

use ipc_core::connection::{Sender, simplex};
use ipc_core::process::{
    Child, Context, ExitStatus, ForkFnError, Process, StartError, StartMethod,
};

/// More than any step takes.
const LONG: Duration = Duration::from_secs(20);

/// All but `Fork`, which is refused beside threads.
const METHODS: [StartMethod; 3] = [StartMethod::Auto, StartMethod::Spawn, StartMethod::ForkServer];

fn expect(mut child: Child, status: ExitStatus) {
    let ended = child.wait_timeout(LONG).expect("wait").expect("in time");
    assert!(ended == status || ended == ExitStatus::Unknown, "{ended}");
}

fn add((mut sender, a, b): (Sender, i32, i32)) -> i32 {
    sender.send_value(&(a + b)).expect("send");
    a - b
}

/// Starts some children, and hears each of them.
fn call(context: &Context) {
    for number in 0..5 {
        let (mut receiver, sender) = simplex().expect("simplex");
        let child = Process::new(add, (sender, 100, number)).start_in(context).expect("start");
        let said = receiver.recv_timeout(LONG).expect("recv");
        assert_eq!(postcard::from_bytes(&said), Ok(100 + number));
        expect(child, ExitStatus::Exited(100 - number));
    }
}

#[test]
fn in_an_ordinary_test() {
    METHODS.iter().for_each(|method| call(&Context::new(*method)));
}

#[test]
fn in_another_at_the_same_time() {
    METHODS.iter().for_each(|method| call(&Context::new(*method)));
}

#[test]
fn in_the_programs_own_context() {
    call(Context::global());
}

#[test]
fn from_several_threads_of_one_test() {
    for method in METHODS {
        let context = Context::new(method);
        std::thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| call(&context))));
        });
    }
}

#[test]
fn fork_beside_threads_is_refused() {
    let refused = Process::new(|()| 0, ()).start_in(&Context::new(StartMethod::Fork)).map(drop);
    assert_eq!(refused, Err(StartError::Fork(ForkFnError::ManyThreads)));
}

/// Started by a task, and waited for where blocking is allowed.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn under_tokio(method: StartMethod) {
    let tasks: Vec<_> = (0..3)
        .map(|number: i32| {
            tokio::spawn(async move {
                let context = Context::new(method);
                let (mut receiver, sender) = simplex().expect("simplex");
                let child = Process::new(add, (sender, number, 1)).start_in(&context);
                let child = child.expect("start");
                let hear = move || receiver.recv_timeout(LONG).expect("recv");
                let said = tokio::task::spawn_blocking(hear).await.expect("no panic");
                assert_eq!(postcard::from_bytes(&said), Ok(number + 1));
                let expected = ExitStatus::Exited((number - 1) & 0xff);
                tokio::task::spawn_blocking(move || expect(child, expected)).await
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("no panic");
    }
}

#[test]
fn under_tokio_main() {
    METHODS.into_iter().for_each(under_tokio);
}

/// A runtime of one thread, which is the test's: libtest's own is beside it.
#[tokio::main(flavor = "current_thread")]
async fn under_tokio_of_one_thread(method: StartMethod) {
    call(&Context::new(method));
}

#[test]
fn under_tokio_main_of_one_thread() {
    METHODS.into_iter().for_each(under_tokio_of_one_thread);
}
