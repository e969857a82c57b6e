//! Smallest image: one boot mark, then the debug exit, or a halt.
//!
//! It sets up no interrupt table: a fault shuts the machine down, which is as clear an end as any.
#![no_std]
#![no_main]

use core::fmt;

use guest_images::{EXIT_OK, boot, boot::Boot};

guest_images::image!(main: main, fatal: fatal);

fn main(start_info: u64) -> ! {
    Boot::read(start_info);
    boot::exit(EXIT_OK)
}

fn fatal(reason: fmt::Arguments<'_>) -> ! {
    boot::fatal(reason)
}
