//! A time limit for the tests of a libtest program, which has none of its own.

use core::time::Duration;
use std::sync::Once;
use std::thread;

/// Longer than all tests of a program take together.
const LIMIT: Duration = Duration::from_secs(120);

/// Ends the program if it is still there after two minutes. libtest itself says which of its tests had begun.
///
/// Every test that might hang calls this first; the first call counts.
pub fn watch() {
    static WATCHDOG: Once = Once::new();
    WATCHDOG.call_once(|| {
        thread::spawn(|| {
            thread::sleep(LIMIT);
            eprintln!("the watchdog ends the tests: one of those that have not reported hangs");
            std::process::abort();
        });
    });
}
