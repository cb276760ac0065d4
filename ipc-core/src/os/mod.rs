//! What this crate and those above it need of the operating system, in one place for all of them.
//!
//! Not a public interface.

pub mod asymmetric;
mod file_size;
mod sleep;
mod until;
mod yield_now;

pub use file_size::check_file_size;
pub use sleep::sleep_until;
pub use until::Until;
pub use yield_now::yield_now;
