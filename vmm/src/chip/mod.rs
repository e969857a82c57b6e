//! The chips of the board, in reading order: the simplest first.

pub mod boot_mark;
pub mod debug_console;
pub mod debug_exit;
pub mod fw_cfg;
pub mod ioapic;
pub mod pic;
pub mod pit;
pub mod rtc;
pub mod serial;
pub mod superio_i8042;
pub mod superio_serial;
