//! loom's atomics, each operation a step before which the process may be killed.

use alloc::format;
use core::sync::atomic::Ordering;

use super::kernel::{Fault, has_fault, step, trace};

macro_rules! atomic {
    ($name:ident, $loom:ty, $int:ty) => {
        #[derive(Debug)]
        pub struct $name($loom);

        impl $name {
            #[must_use]
            pub fn new(value: $int) -> Self {
                Self(<$loom>::new(value))
            }

            pub fn load(&self, order: Ordering) -> $int {
                step();
                let value = self.0.load(order);
                trace(|| format!("load {:p} -> {value:#x}", self));
                value
            }

            pub fn store(&self, value: $int, order: Ordering) {
                step();
                trace(|| format!("store {:p} {value:#x}", self));
                let no_order = has_fault(Fault::StoresOrderNothing);
                self.0.store(value, if no_order { Ordering::Relaxed } else { order });
            }

            pub fn swap(&self, value: $int, order: Ordering) -> $int {
                step();
                let old = self.0.swap(value, order);
                trace(|| format!("swap {:p} {old:#x} -> {value:#x}", self));
                old
            }

            pub fn compare_exchange(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                step();
                // No more than the upper half is left of a word that is free.
                let frees = new.trailing_zeros() >= <$int>::BITS - 1 || new as u32 == 0;
                if has_fault(Fault::ReleaseBySwap) && frees {
                    return Ok(self.0.swap(new, success));
                }
                let no_order = has_fault(Fault::NoOrder);
                let order = |order| if no_order { Ordering::Relaxed } else { order };
                let (success, failure) = (order(success), order(failure));
                let result = self.0.compare_exchange(current, new, success, failure);
                trace(|| format!("cas {:p} {current:#x} -> {new:#x}: {result:x?}", self));
                result
            }

            pub fn compare_exchange_weak(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                self.compare_exchange(current, new, success, failure)
            }

            pub fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_add(value, order)
            }

            pub fn fetch_sub(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_sub(value, order)
            }

            pub fn fetch_or(&self, value: $int, order: Ordering) -> $int {
                step();
                self.0.fetch_or(value, order)
            }

            pub fn fetch_and(&self, value: $int, order: Ordering) -> $int {
                step();
                let keeps = has_fault(Fault::BitNotCleared) && value.count_zeros() == 1;
                self.0.fetch_and(if keeps { <$int>::MAX } else { value }, order)
            }

            /// The kernel's own access: not a step of any process.
            pub(super) fn kernel(&self) -> &$loom {
                &self.0
            }
        }
    };
}

atomic!(AtomicU32, loom::sync::atomic::AtomicU32, u32);
atomic!(AtomicU64, loom::sync::atomic::AtomicU64, u64);

pub fn fence(order: Ordering) {
    if !has_fault(Fault::NoFence) {
        loom::sync::atomic::fence(order);
    }
}

/// The model knows no processor on which this is free.
pub fn fence_after_rmw() {
    fence(Ordering::SeqCst);
}

/// As [`crate::os::asymmetric::register`].
pub fn register() -> bool {
    step();
    !has_fault(Fault::BarrierRefused)
}

/// As [`crate::os::asymmetric::light`]: in the model both sides of the pair are what they amount to.
pub fn light() {
    fence(Ordering::SeqCst);
}

/// As [`crate::os::asymmetric::heavy`].
pub fn heavy() -> bool {
    step();
    let refused = has_fault(Fault::BarrierRefused);
    if !refused && !has_fault(Fault::NoHeavyBarrier) {
        fence(Ordering::SeqCst);
    }
    !refused
}
