//! The qtest line protocol: a machine served to a test, with virtual time and without a CPU.
//!
//! Source: QEMU's documentation of the qtest protocol; replies as those of QEMU 10.2, the newest looked at.
//! Deviations: a line that QEMU aborts on (a missing or malformed number, a port above 0xffff) is answered with `FAIL`
//! and a reason. `set_irq_in` drives the whole GSI, not the IOAPIC's pin alone. Commands of our own are listed by
//! `extensions`.
//!
//! One request is a line of words separated by single spaces; one reply is a line that starts with `OK`, `FAIL` or
//! `ERR`. Lines `IRQ raise N` and `IRQ lower N` stand before the reply of the command that caused them.

use std::io::{self, BufRead, Write};

use crate::device::Event;
use crate::irq::{GSI_COUNT, Line};
use crate::machine::Machine;
use crate::units::{Nanos, Width};

mod base64;

/// A machine that answers qtest lines.
pub struct Server {
    machine: Machine,
    intercepting: bool,
    /// Levels as the test knows them; interception starts from all low.
    shown: [bool; GSI_COUNT as usize],
    sent: Vec<u8>,
}

/// Why a line was not carried out; becomes the reply.
type Refusal = String;

impl Server {
    /// Serves `machine`.
    pub fn new(mut machine: Machine) -> Server {
        machine.watch_lines();
        Server {
            machine,
            intercepting: false,
            shown: [false; GSI_COUNT as usize],
            sent: Vec::new(),
        }
    }

    /// The machine served.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Carries out one line, given without its line end, and returns what to send: lines with their line ends, empty
    /// for an empty line. Never panics and never takes long, whatever the line is: each command is bounded by
    /// [`TRANSFER_BYTES_MAX`], [`TICKS_MAX`] or the size of RAM.
    pub fn handle(&mut self, line: &[u8]) -> String {
        if line.is_empty() {
            return String::new();
        }
        let mut interrupts = String::new();
        let answer = match std::str::from_utf8(line) {
            _ if LINE_BYTES_MAX < line.len() => Err(format!("FAIL line longer than {LINE_BYTES_MAX} bytes")),
            Ok(text) if !text.contains('\0') => {
                let words: Vec<&str> = text.split(' ').take(WORDS_MAX).collect();
                self.command(&words, &mut interrupts)
            }
            _ => Err("FAIL line is not text".to_owned()),
        };
        self.collect(&mut interrupts);
        let answer = answer.unwrap_or_else(|refusal| refusal);
        format!("{interrupts}{answer}\n")
    }

    /// Answers lines until the input ends.
    ///
    /// # Errors
    /// What reading or writing failed with.
    pub fn serve(&mut self, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
        loop {
            // One byte over the limit is kept, by which `handle` knows.
            let mut line = Vec::new();
            let limit = (LINE_BYTES_MAX + 1) as u64;
            io::Read::take(&mut input, limit).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            let ended = line.pop_if(|last| *last == b'\n').is_some();
            if !ended && LINE_BYTES_MAX < line.len() {
                input.skip_until(b'\n')?;
            }
            output.write_all(self.handle(&line).as_bytes())?;
            output.flush()?;
        }
    }

    fn command(&mut self, words: &[&str], interrupts: &mut String) -> Result<String, Refusal> {
        let arguments = Arguments(words);
        match words[0] {
            "endianness" => Ok("OK little".to_owned()),
            "outb" => self.port_write(arguments, Width::Byte),
            "outw" => self.port_write(arguments, Width::Word),
            "outl" => self.port_write(arguments, Width::Dword),
            "inb" => self.port_read(arguments, Width::Byte),
            "inw" => self.port_read(arguments, Width::Word),
            "inl" => self.port_read(arguments, Width::Dword),
            "writeb" => self.store(arguments, Width::Byte),
            "writew" => self.store(arguments, Width::Word),
            "writel" => self.store(arguments, Width::Dword),
            "writeq" => self.store(arguments, Width::Qword),
            "readb" => self.load(arguments, Width::Byte),
            "readw" => self.load(arguments, Width::Word),
            "readl" => self.load(arguments, Width::Dword),
            "readq" => self.load(arguments, Width::Qword),
            "read" => {
                let bytes = self.read_block(arguments)?;
                Ok(format!("OK {}", hex(&bytes)))
            }
            "b64read" => {
                let bytes = self.read_block(arguments)?;
                Ok(format!("OK {}", base64::encode(&bytes)))
            }
            "write" => self.write_hex(arguments),
            "b64write" => self.write_base64(arguments),
            "memset" => self.memset(arguments),
            "clock_step" => self.clock_step(arguments, interrupts),
            "clock_set" => self.clock_set(arguments, interrupts),
            "irq_intercept_in" => self.intercept(arguments),
            "irq_intercept_out" => {
                device(arguments)?;
                Err("FAIL No intercepts installed".to_owned())
            }
            "set_irq_in" => self.set_irq_in(arguments),
            "module_load" => Err("FAIL".to_owned()),
            "extensions" => Ok(format!("OK {EXTENSIONS}")),
            "system_reset" => {
                self.machine.reset();
                Ok("OK".to_owned())
            }
            "serial_in" => self.serial_in(arguments),
            "serial_out" => {
                self.collect(interrupts);
                let sent = std::mem::take(&mut self.sent);
                Ok(format!("OK {}", hex(&sent)))
            }
            other => Err(format!("FAIL Unknown command '{}'", cut(other))),
        }
    }

    fn port_read(&mut self, arguments: Arguments<'_>, width: Width) -> Result<String, Refusal> {
        let port = arguments.port()?;
        Ok(format!("OK {:#06x}", self.machine.port_read(port, width)))
    }

    fn port_write(&mut self, arguments: Arguments<'_>, width: Width) -> Result<String, Refusal> {
        let (port, value) = (arguments.port()?, arguments.number(2)?);
        self.machine.port_write(port, width, (value & width.mask()) as u32);
        Ok("OK".to_owned())
    }

    fn load(&mut self, arguments: Arguments<'_>, width: Width) -> Result<String, Refusal> {
        let gpa = arguments.number(1)?;
        Ok(format!("OK {:#018x}", self.machine.load(gpa, width)))
    }

    fn store(&mut self, arguments: Arguments<'_>, width: Width) -> Result<String, Refusal> {
        let (gpa, value) = (arguments.number(1)?, arguments.number(2)?);
        self.machine.store(gpa, width, value & width.mask());
        Ok("OK".to_owned())
    }

    fn read_block(&mut self, arguments: Arguments<'_>) -> Result<Vec<u8>, Refusal> {
        let (gpa, length) = (arguments.number(1)?, arguments.number(2)?);
        if length == 0 || TRANSFER_BYTES_MAX < length {
            return Err(format!(
                "FAIL size {length:#x} is not from 1 to {TRANSFER_BYTES_MAX:#x}"
            ));
        }
        let mut bytes = vec![0; length as usize];
        let mut done = 0;
        while done < bytes.len() {
            let at = gpa.wrapping_add(done as u64);
            let left = bytes.len() - done;
            let in_ram = self.machine.memory().available(at, left);
            if in_ram != 0 {
                // `available` said that all of it is RAM.
                let _all_ram = self.machine.memory().read(at, &mut bytes[done..done + in_ram]);
                done += in_ram;
                continue;
            }
            let width = piece(at, left);
            let value = self.machine.load(at, width).to_le_bytes();
            bytes[done..done + width.bytes()].copy_from_slice(&value[..width.bytes()]);
            done += width.bytes();
        }
        Ok(bytes)
    }

    fn write_block(&mut self, gpa: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = gpa.wrapping_add(done as u64);
            let left = bytes.len() - done;
            let in_ram = self.machine.memory().available(at, left);
            if in_ram != 0 {
                let _all_ram = self.machine.memory().write(at, &bytes[done..done + in_ram]);
                done += in_ram;
                continue;
            }
            let width = piece(at, left);
            let mut value = [0; 8];
            value[..width.bytes()].copy_from_slice(&bytes[done..done + width.bytes()]);
            self.machine.store(at, width, u64::from_le_bytes(value));
            done += width.bytes();
        }
    }

    fn write_hex(&mut self, arguments: Arguments<'_>) -> Result<String, Refusal> {
        let (gpa, length) = (arguments.number(1)?, arguments.transfer_length(2)?);
        let data = arguments.word(3)?;
        if data.len() < 3 {
            return Err("ERR invalid argument size".to_owned());
        }
        // The first two characters are taken for 0x without a look.
        let digits = data.as_bytes().get(2..).unwrap_or_default();
        let mut bytes = decode_hex(&digits[..digits.len() & !1])?;
        bytes.resize(length, 0);
        self.write_block(gpa, &bytes);
        Ok("OK".to_owned())
    }

    fn write_base64(&mut self, arguments: Arguments<'_>) -> Result<String, Refusal> {
        let (gpa, length) = (arguments.number(1)?, arguments.transfer_length(2)?);
        let mut bytes = base64::decode(arguments.word(3)?).ok_or("FAIL data is not base64")?;
        bytes.truncate(length);
        self.write_block(gpa, &bytes);
        Ok("OK".to_owned())
    }

    fn memset(&mut self, arguments: Arguments<'_>) -> Result<String, Refusal> {
        let (mut gpa, mut left) = (arguments.number(1)?, arguments.number(2)?);
        let pattern = vec![arguments.number(3)? as u8; MEMSET_CHUNK_BYTES];
        // RAM may be filled as a whole; outside it every few bytes are an access of their own.
        let length = usize::try_from(left).unwrap_or(usize::MAX);
        if TRANSFER_BYTES_MAX < left && self.machine.memory().available(gpa, length) < length {
            return Err(format!(
                "FAIL size {left:#x} outside RAM is more than {TRANSFER_BYTES_MAX:#x}"
            ));
        }
        while left != 0 {
            let chunk = left.min(MEMSET_CHUNK_BYTES as u64);
            self.write_block(gpa, &pattern[..chunk as usize]);
            gpa = gpa.wrapping_add(chunk);
            left -= chunk;
        }
        Ok("OK".to_owned())
    }

    fn clock_step(&mut self, arguments: Arguments<'_>, interrupts: &mut String) -> Result<String, Refusal> {
        let now = self.machine.now();
        let then = match arguments.0.get(1) {
            None => self.machine.deadline().ok_or(NO_DEADLINE)?,
            Some(_) => {
                let step = arguments.number(1)?;
                if step == 0 || i64::MAX as u64 - now.0 < step {
                    return Err("FAIL could not advance time".to_owned());
                }
                now + Nanos(step)
            }
        };
        self.advance(then, interrupts)?;
        Ok(format!("OK {}", self.machine.now().0))
    }

    fn clock_set(&mut self, arguments: Arguments<'_>, interrupts: &mut String) -> Result<String, Refusal> {
        let then = Nanos(arguments.number(1)?);
        if (i64::MAX as u64) < then.0 || then < self.machine.now() {
            return Err(format!("FAIL {}", self.machine.now().0));
        }
        self.advance(then, interrupts)?;
        Ok(format!("OK {}", self.machine.now().0))
    }

    fn advance(&mut self, then: Nanos, interrupts: &mut String) -> Result<(), Refusal> {
        let mut ticks_left = TICKS_MAX;
        while !self.machine.advance_at_most(then, TICKS_ROUND) {
            self.collect(interrupts);
            ticks_left = ticks_left.saturating_sub(TICKS_ROUND);
            if ticks_left == 0 {
                return Err(format!(
                    "FAIL clock stopped at {}: more than {TICKS_MAX} timer events in one step, make it shorter",
                    self.machine.now().0
                ));
            }
        }
        Ok(())
    }

    fn intercept(&mut self, arguments: Arguments<'_>) -> Result<String, Refusal> {
        device(arguments)?;
        if !self.intercepting {
            // What happened before is nobody's business.
            let _earlier = self.machine.take_line_changes();
            self.intercepting = true;
        }
        Ok("OK".to_owned())
    }

    fn set_irq_in(&mut self, arguments: Arguments<'_>) -> Result<String, Refusal> {
        device(arguments)?;
        if arguments.word(2)? != "unnamed-gpio-in" {
            return Err("FAIL the IOAPIC has inputs 'unnamed-gpio-in' only".to_owned());
        }
        let number = arguments.number(3)?;
        let gsi = u8::try_from(number).ok().filter(|&gsi| gsi < GSI_COUNT);
        let gsi = gsi.ok_or_else(|| format!("FAIL input {number} is not below {GSI_COUNT}"))?;
        let level = arguments.number(4)? != 0;
        let line = Line {
            gsi,
            source: LINE_SOURCE,
        };
        self.machine.with_board(|_, ctx| ctx.lines.set(line, level));
        Ok("OK".to_owned())
    }

    fn serial_in(&mut self, arguments: Arguments<'_>) -> Result<String, Refusal> {
        let word = arguments.word(1)?;
        let digits = word.strip_prefix("0x").unwrap_or(word);
        if !digits.len().is_multiple_of(2) {
            return Err("FAIL data has half a byte".to_owned());
        }
        let bytes = decode_hex(digits.as_bytes())?;
        if self.machine.type_on_serial(&bytes) {
            Ok("OK".to_owned())
        } else {
            Err("FAIL there is no serial port, or too much waits to be read from it".to_owned())
        }
    }

    /// Takes what the machine has to tell since the last call.
    fn collect(&mut self, interrupts: &mut String) {
        for event in self.machine.take_events() {
            match event {
                Event::SerialOut(byte) if self.sent.len() < SENT_BYTES_MAX => self.sent.push(byte),
                Event::Reset => self.machine.reset(),
                _ => {}
            }
        }
        for change in self.machine.take_line_changes() {
            let shown = &mut self.shown[usize::from(change.gsi)];
            if self.intercepting && *shown != change.level {
                *shown = change.level;
                let verb = if change.level { "raise" } else { "lower" };
                interrupts.push_str(&format!("IRQ {verb} {}\n", change.gsi));
            }
        }
    }
}

/// The words of a line, the command first.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [&'a str]);

impl<'a> Arguments<'a> {
    fn word(self, index: usize) -> Result<&'a str, Refusal> {
        let word = self.0.get(index).copied();
        word.ok_or_else(|| format!("FAIL {} needs {index} or more arguments", self.0[0]))
    }

    /// Reads a number as C's `strtoull` with base 0 does: decimal, 0x hexadecimal, 0 octal, perhaps with a sign.
    fn number(self, index: usize) -> Result<u64, Refusal> {
        let word = self.word(index)?;
        let (negative, digits) = match word.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, word.strip_prefix('+').unwrap_or(word)),
        };
        let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
            None => (digits, 10),
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let number = u64::from_str_radix(digits, radix).ok().filter(|_| plain);
        let number = number.ok_or_else(|| format!("FAIL '{}' is not a 64-bit number", cut(word)))?;
        Ok(if negative { number.wrapping_neg() } else { number })
    }

    fn port(self) -> Result<u16, Refusal> {
        let number = self.number(1)?;
        u16::try_from(number).map_err(|_| format!("FAIL port {number:#x} is above 0xffff"))
    }

    fn transfer_length(self, index: usize) -> Result<usize, Refusal> {
        let length = self.number(index)?;
        if TRANSFER_BYTES_MAX < length {
            return Err(format!("FAIL size {length:#x} is more than {TRANSFER_BYTES_MAX:#x}"));
        }
        Ok(length as usize)
    }
}

/// Checks that the device named is the one whose inputs can be watched.
fn device(arguments: Arguments<'_>) -> Result<(), Refusal> {
    match arguments.word(1)? {
        "/machine/ioapic" | "ioapic" => Ok(()),
        _ => Err("FAIL Unknown device".to_owned()),
    }
}

/// The widest access at `at` that the bus would not cut, of at most 4 bytes.
fn piece(at: u64, left: usize) -> Width {
    match (at % 4, left) {
        (0, 4..) => Width::Dword,
        (0 | 2, 2..) => Width::Word,
        _ => Width::Byte,
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("0x");
    for byte in bytes {
        text.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Decodes pairs of digits; `digits` has an even length.
fn decode_hex(digits: &[u8]) -> Result<Vec<u8>, Refusal> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let pairs = digits
        .chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?));
    pairs
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| "FAIL data is not hexadecimal".to_owned())
}

/// The start of a word, for messages.
fn cut(word: &str) -> &str {
    let end = word
        .char_indices()
        .nth(QUOTED_CHARS_MAX)
        .map_or(word.len(), |(at, _)| at);
    &word[..end]
}

/// Most bytes one command reads or writes, and most that it touches outside RAM.
pub const TRANSFER_BYTES_MAX: u64 = 16 << 20;

/// Longest line taken: a transfer in hexadecimal and some words.
pub const LINE_BYTES_MAX: usize = 2 * TRANSFER_BYTES_MAX as usize + 256;

/// Most timer events one command carries out.
pub const TICKS_MAX: u32 = 1 << 20;

/// Most bytes kept of what the serial port sent.
pub const SENT_BYTES_MAX: usize = 1 << 20;

/// Commands beyond QEMU's.
pub const EXTENSIONS: &str = "extensions system_reset serial_in serial_out";

/// Timer events carried out before line changes are taken, which the machine keeps a bounded number of.
const TICKS_ROUND: u32 = 1 << 16;

const NO_DEADLINE: &str = "FAIL cannot advance clock to the next deadline because there is no pending deadline";

const MEMSET_CHUNK_BYTES: usize = 1 << 20;

/// More words than any command has; what follows is ignored, as by QEMU.
const WORDS_MAX: usize = 8;

/// The driver of a line that stands for the test; devices have lower numbers.
const LINE_SOURCE: u8 = 31;

const QUOTED_CHARS_MAX: usize = 64;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests;
