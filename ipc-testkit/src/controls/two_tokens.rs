//! Two tokens that nobody gets back from the dead.
//!
//! One death leaves one token, with which everybody can go on; two deaths leave none. A pass that kills one process at
//! a time cannot find that.

use core::hint;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use crate::stepkill::Scenario;

/// How many tokens there are.
#[derive(Debug)]
#[repr(transparent)]
pub struct TwoTokens(AtomicU32);

impl TwoTokens {
    /// Victims that take a token and give it back, and survivors that do the same.
    pub fn scenario(name: &str) -> Scenario<Self> {
        Scenario::new(name, || Self(AtomicU32::new(2)))
            .victim(|tokens, me| {
                me.operation(|| {
                    tokens.take();
                    tokens.give();
                });
                Ok(())
            })
            .survivors(2, |tokens, me| {
                for _ in 0..6 {
                    tokens.take();
                    tokens.give();
                    me.succeeded();
                }
                Ok(())
            })
            // The first one that wedges is enough.
            .patience(Duration::from_millis(50))
    }

    fn take(&self) {
        while self
            .0
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_err()
        {
            hint::spin_loop();
        }
    }

    fn give(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
