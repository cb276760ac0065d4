//! What must hold, whoever was killed where. All of it lives in shared memory and needs no allocation.

mod canary;
mod ledger;

pub use canary::Canary;
pub use ledger::{Ledger, Message};
