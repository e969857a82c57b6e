//! What every image does first: read what the loader says, and remember its ports.

use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicU16, AtomicU32, Ordering::Relaxed},
};

use crate::{
    EXIT_FATAL,
    command_line::{Exit, Options},
    mark,
    runtime::{self, memory, port, serial::Serial},
    start_info::{MAGIC, START_INFO_LENGTH, StartInfo},
};

/// What the loader said.
pub struct Boot {
    /// Address of the start info.
    pub start_info_address: u64,
    /// The start info, whatever its magic; `None` when it cannot be read.
    pub start_info: Option<StartInfo>,
    /// Bytes of the command line in `text`, and whether it is longer than that.
    pub length: usize,
    /// Whether the command line did not fit.
    pub is_cut: bool,
    text: [u8; COMMAND_LINE_LENGTH_MAX],
}

impl Boot {
    /// Reads the start info at `address` and the command line it names, remembers the ports, and writes the first mark.
    pub fn read(address: u64) -> Self {
        let mut boot = Self {
            start_info_address: address,
            start_info: None,
            length: 0,
            is_cut: false,
            text: [0; COMMAND_LINE_LENGTH_MAX],
        };
        let mut bytes = [0; START_INFO_LENGTH];
        if memory::read(address, &mut bytes).is_ok() {
            let start_info = StartInfo::from_bytes(&bytes);
            boot.start_info = Some(start_info);
            if start_info.magic == MAGIC && start_info.command_line != 0 {
                (boot.length, boot.is_cut) = read_text(start_info.command_line, &mut boot.text);
            }
        }
        let options = boot.options();
        CHANNEL.store(options.channel, Relaxed);
        EXIT.store(options.exit.map_or(0, to_word), Relaxed);
        MARKS.store(options.marks.unwrap_or(0), Relaxed);
        set_mark(mark::RUNNING);
        boot
    }

    /// The command line's bytes.
    pub fn command_line(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// The command line as text, up to the first byte that is none.
    pub fn command_line_text(&self) -> &str {
        let bytes = self.command_line();
        match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|bytes| str::from_utf8(bytes).ok())
                .unwrap_or_default(),
        }
    }

    /// What the command line tells the image.
    pub fn options(&self) -> Options<'_> {
        Options::parse(self.command_line_text())
    }
}

/// Writes a boot mark when the command line named a port for them.
pub fn set_mark(value: u8) {
    let marks = MARKS.load(Relaxed);
    if marks != 0 {
        port::write_byte(marks, value);
    }
}

/// Ends the image: the last mark, then what the command line asked for, with `value` where it named a port alone.
pub fn exit(value: u8) -> ! {
    set_mark(mark::DONE);
    match from_word(EXIT.load(Relaxed)) {
        Some(Exit::Port { port, byte }) => port::write_byte(port, byte.unwrap_or(value)),
        Some(Exit::TripleFault) => runtime::cpu::triple_fault(),
        None => {}
    }
    runtime::halt()
}

/// The port that the command line named to end the machine by.
pub fn exit_port() -> Option<u16> {
    match from_word(EXIT.load(Relaxed)) {
        Some(Exit::Port { port, .. }) => Some(port),
        Some(Exit::TripleFault) | None => None,
    }
}

/// An exit as a word that is not 0: the port, and above it the byte, if any, with [`HAS_BYTE`].
fn to_word(exit: Exit) -> u32 {
    match exit {
        Exit::Port { port, byte: None } => u32::from(port),
        Exit::Port { port, byte: Some(byte) } => HAS_BYTE | u32::from(byte) << 16 | u32::from(port),
        Exit::TripleFault => TRIPLE_FAULT,
    }
}

fn from_word(word: u32) -> Option<Exit> {
    match word {
        0 => None,
        TRIPLE_FAULT => Some(Exit::TripleFault),
        word => Some(Exit::Port {
            port: word as u16,
            byte: (word & HAS_BYTE != 0).then_some((word >> 16) as u8),
        }),
    }
}

/// Base of the serial port.
pub fn channel_port() -> u16 {
    CHANNEL.load(Relaxed)
}

/// Ends an image that went wrong: `# fatal: reason` on the serial port, then the exit.
pub fn fatal(reason: fmt::Arguments<'_>) -> ! {
    let mut console = runtime::serial::Console::new(Serial::new(channel_port()));
    let _ = writeln!(console, "\n# fatal: {reason}");
    exit(EXIT_FATAL)
}

/// Reads text up to a NUL into `text`; its length, and whether there is more of it.
///
/// It is read in pieces that stay inside of 64 aligned bytes, so that nothing behind the text's own line is touched.
fn read_text(address: u64, text: &mut [u8]) -> (usize, bool) {
    let mut length = 0;
    while length < text.len() {
        let position = address.wrapping_add(length as u64);
        let piece_length = ((PIECE - position % PIECE) as usize).min(text.len() - length);
        let Some(piece) = text.get_mut(length..length + piece_length) else {
            break;
        };
        if memory::read(position, piece).is_err() {
            return (length, true);
        }
        if let Some(end) = piece.iter().position(|&byte| byte == 0) {
            return (length + end, false);
        }
        length += piece_length;
    }
    (length, true)
}

/// Longest command line that an image reads; Linux takes 2048 bytes on this architecture.
const COMMAND_LINE_LENGTH_MAX: usize = 4096;

const PIECE: u64 = 64;

const HAS_BYTE: u32 = 1 << 31;
const TRIPLE_FAULT: u32 = 1 << 30;

// Ports of the command line, 0 for none; until it is read, the usual serial port.
static CHANNEL: AtomicU16 = AtomicU16::new(0x3f8);
static EXIT: AtomicU32 = AtomicU32::new(0);
static MARKS: AtomicU16 = AtomicU16::new(0);
