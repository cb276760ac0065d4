//! The harness on trial.

use core::sync::atomic::{AtomicU64, Ordering};
use ipc_testkit::ensure;
use ipc_testkit::stepkill::{self, Scenario};
use std::process::ExitCode;

fn main() -> ExitCode {
    stepkill::main(|suite| {
        let s = Scenario::new("one store", || [AtomicU64::new(0), AtomicU64::new(0)])
            .victim(|s, me| {
                me.operation(|| s[0].store(7, Ordering::Release));
                Ok(())
            })
            .survivors(2, |s, _| {
                let v = s[0].load(Ordering::Acquire);
                ensure!(v == 0 || v == 7, "torn {v}");
                Ok(())
            });
        suite.everywhere(&s);
    })
}
