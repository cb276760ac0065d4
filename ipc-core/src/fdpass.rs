//! Passing file descriptors.
