//! A pool in a plain `main`: no test harness, one thread, nothing added.

use core::time::Duration;
use std::process::ExitCode;
use std::time::Instant;

use ipc_pool::Pool;

fn main() -> ExitCode {
    let began = Instant::now();
    let (done, over) = std::sync::mpsc::channel::<()>();
    let pool = Pool::new(2).expect("a pool");
    // Only now: the zygote was forked from a process with one thread.
    std::thread::spawn(move || {
        if over.recv_timeout(Duration::from_secs(60)).is_err() {
            eprintln!("hung in plain_main");
            std::process::exit(99);
        }
    });
    let squares = pool.map(|x: u64| x * x, 0..10).expect("results");
    assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
    let one = pool.submit(|x: u64| x * x, 20).expect("a ticket");
    assert_eq!(one.wait().expect("a result"), 400);

    let (tasks, began_tasks) = (2_000_u64, Instant::now());
    for i in 0..tasks {
        assert_eq!(pool.call(|x: u64| x * x, i).expect("a result"), i * i);
    }
    println!("submit round trip: {:.1?}", began_tasks.elapsed() / tasks as u32);
    let began_map = Instant::now();
    let all = pool.map(|x: u64| x * x, 0..100_000).expect("results");
    println!("map of 1e5 x*x: {:.1?}", began_map.elapsed());
    assert!(all.iter().enumerate().all(|(i, &square)| square == (i * i) as u64));
    pool.join();
    done.send(()).expect("the watchdog");
    println!(
        "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2} s",
        began.elapsed().as_secs_f32()
    );
    ExitCode::SUCCESS
}
