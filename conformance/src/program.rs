//! Programs: accesses, clock steps and host bytes as readable text.
//!
//! Conformance transcripts, recordings, fuzz inputs and minimised crashes are all programs. The text is qtest's own
//! lines (`outb 0x70 0xb`, `readl 0xc0000000`, `clock_step 1000`), so that one artefact can be read, sent and replayed.

use std::fmt;

use crate::machine::Width;

/// One step of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `inb|inw|inl PORT`.
    PortRead {
        /// The port.
        port: u16,
        /// 1, 2 or 4 bytes.
        width: Width,
    },
    /// `outb|outw|outl PORT VALUE`.
    PortWrite {
        /// The port.
        port: u16,
        /// 1, 2 or 4 bytes.
        width: Width,
        /// The value, within the width.
        value: u32,
    },
    /// `readb|readw|readl|readq GPA`.
    Load {
        /// Guest-physical address.
        gpa: u64,
        /// Width.
        width: Width,
    },
    /// `writeb|writew|writel|writeq GPA VALUE`.
    Store {
        /// Guest-physical address.
        gpa: u64,
        /// Width.
        width: Width,
        /// The value, within the width.
        value: u64,
    },
    /// `read GPA LENGTH`.
    ReadMemory {
        /// Guest-physical address.
        gpa: u64,
        /// Bytes, 1..=[`MEMORY_LENGTH_MAX`].
        length_bytes: u32,
    },
    /// `write GPA LENGTH 0xHEX`.
    WriteMemory {
        /// Guest-physical address.
        gpa: u64,
        /// 1..=[`MEMORY_LENGTH_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// `memset GPA LENGTH BYTE`.
    FillMemory {
        /// Guest-physical address.
        gpa: u64,
        /// Bytes, at most [`MEMORY_LENGTH_MAX`].
        length_bytes: u32,
        /// The byte.
        byte: u8,
    },
    /// `clock_step NS`.
    Advance {
        /// Nanoseconds, at least 1.
        by_ns: u64,
    },
    /// `serial_in 0xHEX`: type bytes on the serial line (an extension of ours).
    SerialInput {
        /// At most [`MEMORY_LENGTH_MAX`] bytes.
        bytes: Vec<u8>,
    },
    /// `system_reset` (an extension of ours).
    Reset,
}

/// A line that is not an action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{line}' is not an action: {reason}")]
pub struct ParseError {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Action {
    /// Reads one line of text.
    ///
    /// # Errors
    /// [`ParseError`] names the word that is wrong.
    pub fn parse(line: &str) -> Result<Action, ParseError> {
        let fail = |reason: String| ParseError {
            line: line.to_owned(),
            reason,
        };
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some((&verb, arguments)) = words.split_first() else {
            return Err(fail("it is empty".to_owned()));
        };
        let number = |index: usize| -> Result<u64, ParseError> {
            let word = arguments
                .get(index)
                .ok_or_else(|| fail(format!("argument {} is missing", index + 1)))?;
            parse_number(word).ok_or_else(|| fail(format!("'{word}' is not a number")))
        };
        let port = || u16::try_from(number(0)?).map_err(|_| fail("a port is at most 0xffff".to_owned()));
        let length = |least: u64| match number(1)? {
            length if (least..=MEMORY_LENGTH_MAX).contains(&length) => Ok(length as u32),
            length => Err(fail(format!(
                "length {length:#x} is not within {least}..={MEMORY_LENGTH_MAX:#x}"
            ))),
        };
        let width = || verb.chars().last().and_then(width_of_letter).unwrap_or(Width::Byte);
        match verb {
            "inb" | "inw" | "inl" => Ok(Action::PortRead {
                port: port()?,
                width: width(),
            }),
            "outb" | "outw" | "outl" => {
                let value = (number(1)? & width().mask()) as u32;
                Ok(Action::PortWrite {
                    port: port()?,
                    width: width(),
                    value,
                })
            }
            "readb" | "readw" | "readl" | "readq" => Ok(Action::Load {
                gpa: number(0)?,
                width: width(),
            }),
            "writeb" | "writew" | "writel" | "writeq" => Ok(Action::Store {
                gpa: number(0)?,
                width: width(),
                value: number(1)? & width().mask(),
            }),
            "read" => Ok(Action::ReadMemory {
                gpa: number(0)?,
                length_bytes: length(1)?,
            }),
            "write" => {
                let length = length(1)? as usize;
                let word = arguments.get(2).ok_or_else(|| fail("the data is missing".to_owned()))?;
                let mut bytes = parse_hex(word).ok_or_else(|| fail(format!("'{word}' is not 0x and hex bytes")))?;
                bytes.resize(length, 0);
                Ok(Action::WriteMemory { gpa: number(0)?, bytes })
            }
            "memset" => Ok(Action::FillMemory {
                gpa: number(0)?,
                length_bytes: length(0)?,
                byte: number(2)? as u8,
            }),
            "clock_step" => match number(0)? {
                0 => Err(fail("a step is at least 1 ns".to_owned())),
                by_ns => Ok(Action::Advance { by_ns }),
            },
            "serial_in" => {
                let word = arguments
                    .first()
                    .ok_or_else(|| fail("the data is missing".to_owned()))?;
                let bytes = parse_hex(word).filter(|bytes| bytes.len() as u64 <= MEMORY_LENGTH_MAX);
                Ok(Action::SerialInput {
                    bytes: bytes.ok_or_else(|| fail(format!("'{word}' is not 0x and hex bytes")))?,
                })
            }
            "system_reset" => Ok(Action::Reset),
            _ => Err(fail(format!("'{verb}' is no known verb"))),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::PortRead { port, width } => write!(f, "in{} {port:#x}", width.letter()),
            Action::PortWrite { port, width, value } => write!(f, "out{} {port:#x} {value:#x}", width.letter()),
            Action::Load { gpa, width } => write!(f, "read{} {gpa:#x}", width.letter()),
            Action::Store { gpa, width, value } => write!(f, "write{} {gpa:#x} {value:#x}", width.letter()),
            Action::ReadMemory { gpa, length_bytes } => write!(f, "read {gpa:#x} {length_bytes:#x}"),
            Action::WriteMemory { gpa, bytes } => write!(f, "write {gpa:#x} {:#x} {}", bytes.len(), Hex(bytes)),
            Action::FillMemory {
                gpa,
                length_bytes,
                byte,
            } => {
                write!(f, "memset {gpa:#x} {length_bytes:#x} {byte:#x}")
            }
            Action::Advance { by_ns } => write!(f, "clock_step {by_ns}"),
            Action::SerialInput { bytes } => write!(f, "serial_in {}", Hex(bytes)),
            Action::Reset => f.write_str("system_reset"),
        }
    }
}

/// Bytes as `0x` and two hex digits each, as qtest writes them.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads a number as C's `strtoull` with base 0 does: `0x` hexadecimal, leading `0` octal, else decimal.
pub fn parse_number(word: &str) -> Option<u64> {
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        u64::from_str_radix(digits, 16).ok()
    } else if let Some(digits) = word.strip_prefix('0').filter(|digits| !digits.is_empty()) {
        u64::from_str_radix(digits, 8).ok()
    } else {
        word.parse().ok()
    }
}

/// Reads `0x` and hex digit pairs.
pub fn parse_hex(word: &str) -> Option<Vec<u8>> {
    let digits = word.strip_prefix("0x")?;
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

fn width_of_letter(letter: char) -> Option<Width> {
    Width::ALL.into_iter().find(|width| width.letter() == letter)
}

/// Longest bulk access of a program, in bytes.
pub const MEMORY_LENGTH_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_prints_as_a_line_that_parses_to_itself() {
        for line in [
            "inb 0x71",
            "outw 0x510 0x19",
            "readq 0xc0000e00",
            "writel 0xc0000e70 0x1",
            "read 0x1000 0x10",
            "write 0x1000 0x3 0x0a0b0c",
            "memset 0x10000 0x1000 0xaa",
            "clock_step 244140",
            "serial_in 0x4142",
            "system_reset",
        ] {
            let action = Action::parse(line).expect(line);
            assert_eq!(action.to_string(), line);
        }
    }

    #[test]
    fn wrong_line_names_what_is_wrong() {
        for (line, reason) in [
            ("", "it is empty"),
            ("outb 0x70", "argument 2 is missing"),
            ("inb 0x10000", "a port is at most 0xffff"),
            ("inb zz", "'zz' is not a number"),
            ("read 0 0", "length 0x0 is not within 1..=0x100000"),
            ("fly 1", "'fly' is no known verb"),
        ] {
            assert_eq!(Action::parse(line).expect_err(line).reason, reason);
        }
    }
}
