//! The outside world: what only a running VMM needs and no device may know.

pub mod disk;
pub mod entropy;
pub mod marks;
pub mod options;
pub mod privileges;
pub mod sandbox;
pub mod serial;
pub mod signals;
pub mod tap;
pub mod terminal;
pub mod wake;
