//! The chips of the board, in reading order: the simplest first.

pub mod debug_exit;
pub mod ioapic;
pub mod pic;
pub mod pit;
pub mod rtc;
pub mod serial;
