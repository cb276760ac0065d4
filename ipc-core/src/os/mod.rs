//! What this crate and those above it need of the operating system, in one place for all of them.
//!
//! Not a public interface.

mod file_size;
mod sleep;
mod until;

pub use file_size::check_file_size;
pub use sleep::sleep_until;
pub use until::Until;
