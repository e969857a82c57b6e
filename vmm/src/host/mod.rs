//! The outside world: what only a running VMM needs and no device may know.

pub mod options;
