//! A polled 16550 serial port.
//!
//! Source: National Semiconductor, "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs", section 8.

use core::fmt;

use guest_protocol::Width;

use super::{cpu, port};

/// A serial port at 8 data bits, no parity, 115200 baud, FIFOs on, interrupts off.
pub struct Serial {
    base: u16,
    takes_strings: bool,
}

impl Serial {
    /// Sets the port up, whoever set it up before; what its receiver holds is lost.
    pub fn new(base: u16) -> Self {
        port::write_byte(base + reg::IER, 0);
        port::write_byte(base + reg::LCR, reg::LCR_DLAB | reg::LCR_8N1);
        port::write_byte(base + reg::DLL, 1);
        port::write_byte(base + reg::DLM, 0);
        port::write_byte(base + reg::LCR, reg::LCR_8N1);
        // Nothing here waits for the trigger level, but a VMM may hand bytes over in portions of it: at level 1 QEMU
        // takes a turn of its main loop for each byte.
        port::write_byte(
            base + reg::FCR,
            reg::FCR_ENABLE | reg::FCR_CLEAR_RECEIVER | reg::FCR_CLEAR_TRANSMITTER | reg::FCR_TRIGGER_14,
        );
        let takes_strings = loops_string(base);
        port::write_byte(base + reg::MCR, reg::MCR_DTR | reg::MCR_RTS);
        Self { base, takes_strings }
    }

    /// First port.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// Sends all bytes, as many at a time as the transmitter's FIFO holds; a transmitter that never empties gets them
    /// nevertheless.
    pub fn send(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(FIFO_LENGTH) {
            for _ in 0..POLLS_MAX {
                if port::read_byte(self.base + reg::LSR) & reg::LSR_THRE != 0 {
                    break;
                }
                cpu::relax();
            }
            if self.takes_strings {
                port::write_string(self.base + reg::THR, Width::Byte, chunk);
            } else {
                for &byte in chunk {
                    port::write_byte(self.base + reg::THR, byte);
                }
            }
        }
    }

    /// Waits for as many bytes as `bytes` holds.
    pub fn receive(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            while port::read_byte(self.base + reg::LSR) & reg::LSR_DR == 0 {
                cpu::relax();
            }
            *byte = port::read_byte(self.base + reg::RBR);
        }
    }
}

/// Text, collected into lines so that a string instruction sends many characters at a time.
pub struct Console {
    serial: Serial,
    line: [u8; 128],
    length: usize,
}

impl Console {
    /// A console on `serial`.
    pub const fn new(serial: Serial) -> Self {
        Self {
            serial,
            line: [0; 128],
            length: 0,
        }
    }

    /// Sends what is collected.
    pub fn flush(&mut self) {
        let length = core::mem::take(&mut self.length);
        self.serial.send(&self.line[..length]);
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == self.line.len() {
                self.flush();
            }
            self.line[self.length] = byte;
            self.length += 1;
            if byte == b'\n' {
                self.flush();
            }
        }
        Ok(())
    }
}

/// Whether a string instruction reaches the transmitter whole, tried in loop mode.
///
/// KVM hands the bytes of one string instruction over in one piece, and there are VMMs that take such a piece for one
/// wide access and drop it. A port without loop mode prints an empty line and gets its bytes one by one.
fn loops_string(base: u16) -> bool {
    port::write_byte(base + reg::MCR, reg::MCR_LOOP);
    port::write_string(base + reg::THR, Width::Byte, LOOPED);
    LOOPED.iter().all(|&byte| {
        let came = (0..LOOP_POLLS_MAX).any(|_| port::read_byte(base + reg::LSR) & reg::LSR_DR != 0);
        came && port::read_byte(base + reg::RBR) == byte
    })
}

const LOOPED: &[u8] = b"\r\n";

/// More polls than two characters at 115200 baud take, and few enough for a port without loop mode.
const LOOP_POLLS_MAX: u32 = 1000;

const FIFO_LENGTH: usize = 16;

/// Far more polls than 16 characters at 115200 baud take.
const POLLS_MAX: u32 = 100_000;

/// Registers and bits, offsets from the base port.
pub mod reg {
    /// Receiver buffer (read, DLAB 0).
    pub const RBR: u16 = 0;
    /// Transmitter holding (write, DLAB 0).
    pub const THR: u16 = 0;
    /// Divisor latch, low byte (DLAB 1).
    pub const DLL: u16 = 0;
    /// Interrupt enable (DLAB 0).
    pub const IER: u16 = 1;
    /// Divisor latch, high byte (DLAB 1).
    pub const DLM: u16 = 1;
    /// Interrupt identification (read).
    pub const IIR: u16 = 2;
    /// FIFO control (write).
    pub const FCR: u16 = 2;
    /// Line control.
    pub const LCR: u16 = 3;
    /// Modem control.
    pub const MCR: u16 = 4;
    /// Line status.
    pub const LSR: u16 = 5;
    /// Modem status.
    pub const MSR: u16 = 6;
    /// Scratch.
    pub const SCR: u16 = 7;

    pub(super) const FCR_ENABLE: u8 = 0x01;
    pub(super) const FCR_CLEAR_RECEIVER: u8 = 0x02;
    pub(super) const FCR_CLEAR_TRANSMITTER: u8 = 0x04;
    pub(super) const FCR_TRIGGER_14: u8 = 0xc0;
    pub(super) const LCR_8N1: u8 = 0x03;
    pub(super) const LCR_DLAB: u8 = 0x80;
    pub(super) const MCR_DTR: u8 = 0x01;
    pub(super) const MCR_RTS: u8 = 0x02;
    /// Loop mode: what is sent is received.
    pub const MCR_LOOP: u8 = 0x10;
    pub(super) const LSR_DR: u8 = 0x01;
    pub(super) const LSR_THRE: u8 = 0x20;
}
