//! What the locks are made of: words without data, handles or lifetimes.

pub(crate) mod announced;
pub(crate) mod armed;
pub(crate) mod barrier;
pub(crate) mod gate;
pub(crate) mod gated;
pub(crate) mod holder;
pub(crate) mod mutex;
pub(crate) mod owner;
pub(crate) mod patience;
pub(crate) mod permits;
pub(crate) mod reentrant;
pub(crate) mod residence;
pub(crate) mod rwlock;
pub(crate) mod tagged;
pub(crate) mod until;
pub(crate) mod wait;
