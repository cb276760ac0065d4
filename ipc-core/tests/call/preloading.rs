//! What the helper of a context prepares for the children.

use core::sync::atomic::{AtomicI32, Ordering::SeqCst};

use ipc_core::process::{
    Context, ExitStatus, PreloadError, Process, Signal, StartError, StartMethod, ZygoteError,
};
use ipc_testkit::cases::{doing, no_children};
use rustix::process::kill_process;

use crate::starting::parent_of_child;
use crate::{METHODS, expect};

static PREPARED: AtomicI32 = AtomicI32::new(0);

fn prepare() {
    PREPARED.fetch_add(1, SeqCst);
}

fn prepared(_: ()) -> i32 {
    PREPARED.load(SeqCst)
}

/// Children of a helper find what it prepared, once, also after it was replaced; others have no helper.
pub(crate) fn helpers_prepare() {
    for method in METHODS {
        let context = Context::new(method).preload(prepare);
        let has_helper = matches!(method, StartMethod::Auto | StartMethod::ForkServer);
        for round in 0..4 {
            let child = Process::new(prepared, ()).start_in(&context).expect("start");
            expect(child, ExitStatus::Exited(i32::from(has_helper)));
            if has_helper && round == 1 {
                doing("killing a helper");
                kill_process(parent_of_child(&context), Signal::KILL).expect("kill");
            }
        }
        assert_eq!(PREPARED.load(SeqCst), 0, "{method}: nothing happens here");
    }
}

/// Each start says so, and none hangs or leaves a helper behind.
pub(crate) fn failing_preload() {
    for method in [StartMethod::Auto, StartMethod::ForkServer] {
        let context = Context::new(method).preload(prepare).preload(|| panic!("on purpose"));
        for _ in 0..3 {
            let failed = Process::new(prepared, ()).start_in(&context).map(drop);
            let error = ZygoteError::Preload { which: 1, error: PreloadError::Panicked };
            assert_eq!(failed, Err(StartError::Zygote(error)));
            assert!(no_children());
        }
    }
}
