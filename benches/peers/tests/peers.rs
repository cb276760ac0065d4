//! Every peer gives right results, beside itself and between two processes: the runner checks each message, and
//! ends what hangs. Forks, so it has no test harness.

use std::time::{Duration, Instant};

use ipc_benches::runner::{self, Plan};

fn main() {
    let plan = Plan { watchdog: Duration::from_secs(30), ..Plan::QUICK };
    let began = Instant::now();
    let ours = ipc_benches::families::all();
    let mut passed = 0;
    for family in ipc_benches_peers::families() {
        let known = ours.iter().find(|known| known.name == family.name).expect("the same families");
        for (workload, known) in family.workloads.iter().zip(&known.workloads) {
            for peer in &workload.peers[known.peers.len()..] {
                print!("test {}, {}: {} ... ", family.name, workload.name, peer.name);
                let samples = runner::run(workload, peer, peer, plan);
                let samples = samples.unwrap_or_else(|error| panic!("{error}"));
                assert!(!samples.is_empty(), "nothing was measured");
                println!("ok");
                passed += 1;
            }
        }
    }
    // Python's two may be missing.
    assert!(passed >= 30, "only {passed} rows");
    println!(
        "\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        began.elapsed().as_secs_f64()
    );
}
