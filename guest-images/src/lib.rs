//! Bare-metal PVH images, their runtime, and what of them a host can test.
//!
//! `agent` performs the accesses that the suite sends, `delivery` judges interrupts and `smp` several CPUs, `halt` is
//! the smallest boot, `probe` reports what a guest finds, `reset` resets the machine, `toll` makes accesses for who
//! counts exits. `init` is Linux's first program.
//! README.md of this package says how they are built, told their ports, and what they print.
#![no_std]

#[cfg(any(test, feature = "check"))]
extern crate std;

pub mod command_line;
pub mod ktap;
pub mod serve;
pub mod start_info;

#[cfg(any(test, feature = "check"))]
pub mod check;

#[cfg(all(feature = "image", not(test)))]
pub mod boot;
#[cfg(all(feature = "image", not(test)))]
pub mod runtime;

/// Value that an image writes to the debug-exit port when all went well; `isa-debug-exit` makes it status 33.
pub const EXIT_OK: u8 = 0x10;

/// Value for a probe with at least one verdict `not ok`; status 35.
pub const EXIT_NOT_OK: u8 = 0x11;

/// Value for an image that itself went wrong: a panic, or an exception it did not ask for; status 37.
pub const EXIT_FATAL: u8 = 0x12;

/// Boot marks: bytes that an image writes to the port `marks=`.
pub mod mark {
    /// The image runs in long mode and has read its command line.
    pub const RUNNING: u8 = 0x01;
    /// The serial port is set up, and what the image says first was said.
    pub const CONSOLE: u8 = 0x02;
    /// The image is about to exit.
    pub const DONE: u8 = 0x03;
    /// Linux has started its first program.
    pub const INIT: u8 = 0x04;
}
