//! The watchdog over the harness itself: a round that hangs ends the test and says what it was doing.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use super::control::SharedText;
use crate::sys;

/// What the harness is doing, for the message.
static DOING: SharedText = SharedText::new();

/// When the whole suite must be over, in nanoseconds of CLOCK_MONOTONIC.
static END: AtomicU64 = AtomicU64::new(u64::MAX);

/// No round takes this long: everything in it that waits has its own, shorter limit.
const ROUND: u32 = 60;

/// Begins to watch; everything must be over after `limit`.
pub(crate) fn start(limit: Duration) {
    END.store(sys::now() + limit.as_nanos() as u64, Ordering::Relaxed);
    sys::on_alarm(bark);
    doing("starting");
}

/// Notes what is done now, and gives it time.
pub(crate) fn doing(what: &str) {
    DOING.write(what);
    if sys::now() > END.load(Ordering::Relaxed) {
        bark(0);
    }
    sys::alarm(ROUND);
}

/// Ends the watch.
pub(crate) fn stop() {
    sys::alarm(0);
}

/// Ends the test. All its processes die with it.
extern "C" fn bark(_: i32) {
    sys::write_stderr(b"\nstepkill: the watchdog ends the suite; it was busy with: ");
    DOING.read(|what| sys::write_stderr(what.as_bytes()));
    sys::write_stderr(b"\n");
    sys::exit(101);
}
