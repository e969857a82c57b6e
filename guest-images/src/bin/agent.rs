//! Performs the accesses that the suite sends over the serial port. Frames: crate `guest-protocol`.
#![no_std]
#![no_main]

use core::fmt;

use guest_images::{
    EXIT_FATAL, boot,
    boot::Boot,
    mark, runtime,
    runtime::{cpu, memory, port, serial::Serial},
    serve::{Hardware, Server},
};
use guest_protocol::{Decoder, Encoder, ErrorCode, Event, Failure, Hello, PROTOCOL_VERSION, Reply, Width};

guest_images::image!(main: main, fatal: fatal);

fn main(start_info: u64) -> ! {
    runtime::install();
    Boot::read(start_info);
    let mut serial = Serial::new(boot::channel_port());
    let mut machine = Machine;
    let mut server = Server::new();
    let mut decoder = Decoder::new();
    serial.send(server.greet(&machine));
    boot::set_mark(mark::CONSOLE);
    loop {
        // What can complete a frame, and not a byte more: the host sends nothing behind it before the reply.
        let needed = decoder.needed();
        if let Some(space) = decoder.space().get_mut(..needed) {
            serial.receive(space);
            decoder.filled(needed);
        }
        while let Some(event) = decoder.poll() {
            if let Event::Frame(frame) = event {
                serial.send(server.serve(&frame, &mut machine));
            }
        }
    }
}

/// The machine that this image runs on.
struct Machine;

impl Hardware for Machine {
    fn hello(&self) -> Hello {
        let (image_start, image_end) = runtime::image_range();
        Hello {
            version: PROTOCOL_VERSION,
            image_start,
            image_end,
            channel_port: boot::channel_port(),
            exit_port: boot::exit_port(),
            physical_bits: cpu::physical_bits(),
        }
    }

    fn port_read(&mut self, port: u16, width: Width) -> u32 {
        port::read(port, width)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) {
        port::write(port, width, value);
    }

    fn port_read_string(&mut self, port: u16, width: Width, bytes: &mut [u8]) {
        port::read_string(port, width, bytes);
    }

    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) {
        port::write_string(port, width, bytes);
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Failure> {
        memory::load(gpa, width)
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Failure> {
        memory::store(gpa, width, value)
    }

    fn read_memory(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), Failure> {
        memory::read(gpa, bytes)
    }

    fn write_memory(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Failure> {
        memory::write(gpa, bytes)
    }

    fn fill_memory(&mut self, gpa: u64, length: u64, byte: u8) -> Result<(), Failure> {
        memory::fill(gpa, length, byte)
    }

    fn triple_fault(&mut self) {
        cpu::triple_fault()
    }

    fn halt(&mut self) {
        runtime::halt()
    }
}

/// Tells the host in its own language, and then in words.
fn fatal(reason: fmt::Arguments<'_>) -> ! {
    let mut encoder = Encoder::new();
    let failure = Failure::new(ErrorCode::PANIC, u64::from(EXIT_FATAL));
    if let Ok(frame) = encoder.reply(0, &Reply::Error(failure)) {
        Serial::new(boot::channel_port()).send(frame);
    }
    boot::fatal(reason)
}
