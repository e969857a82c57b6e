//! What accesses cost: a known number of them between boot marks, so that whoever counts exits can tell which are the
//! VMM's own doing.
#![no_std]
#![no_main]

use core::fmt;

use guest_images::{
    EXIT_OK, boot,
    boot::Boot,
    mark,
    runtime::{port, serial::reg},
};

guest_images::image!(main: main, fatal: fatal);

fn main(start_info: u64) -> ! {
    Boot::read(start_info);
    let channel = boot::channel_port();
    for _ in 0..BYTES {
        port::write_byte(channel + reg::THR, b'.');
    }
    boot::set_mark(mark::CONSOLE);
    for _ in 0..READS {
        port::read_byte(channel + reg::LSR);
    }
    boot::exit(EXIT_OK)
}

fn fatal(reason: fmt::Arguments<'_>) -> ! {
    boot::fatal(reason)
}

/// Bytes to the transmitter, each with one access, and reads of the line status register.
const BYTES: u32 = 64;
const READS: u32 = 32;
