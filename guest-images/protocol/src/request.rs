//! What the suite asks of the agent.

use core::fmt;

use crate::{
    EncodeError, Frame, Kind, Program,
    wire::{Malformed, Reader, Writer},
};

/// Most data bytes of one string or memory request.
pub const BYTES_MAX: usize = 1024;

/// Most bytes of one [`Request::FillMemory`]: a guest that an interpreter runs needs most of a second for it.
pub const FILL_LENGTH_MAX: u32 = 1 << 20;

/// Width of one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Long,
    /// Eight bytes; memory only.
    Quad,
}

impl Width {
    /// All widths, narrow first.
    pub const ALL: [Self; 4] = [Self::Byte, Self::Word, Self::Long, Self::Quad];

    /// The width of `bytes` (1, 2, 4 or 8) bytes.
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Word),
            4 => Some(Self::Long),
            8 => Some(Self::Quad),
            _ => None,
        }
    }

    /// Number of bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Long => 4,
            Self::Quad => 8,
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_bytes(usize::from(reader.u8()?)).ok_or(Malformed)
    }

    pub(crate) fn read_port(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::read(reader)?.port().ok_or(Malformed)
    }

    /// This width when a port access can have it.
    pub(crate) const fn port(self) -> Option<Self> {
        match self {
            Self::Quad => None,
            width => Some(width),
        }
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.u8(self.bytes() as u8);
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes())
    }
}

/// One request. Each access is one instruction of the width asked, aligned or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Who is there? Answered by [`crate::Reply::Hello`].
    Hello,
    /// `in` of 1, 2 or 4 bytes. Answered by [`crate::Reply::Value`].
    PortRead {
        /// Port number.
        port: u16,
        /// Width, not [`Width::Quad`].
        width: Width,
    },
    /// `out` of 1, 2 or 4 bytes. Answered by [`crate::Reply::Done`].
    PortWrite {
        /// Port number.
        port: u16,
        /// Width, not [`Width::Quad`].
        width: Width,
        /// Value; bits beyond the width are not sent.
        value: u32,
    },
    /// `rep ins` of `count` elements. Answered by [`crate::Reply::Bytes`] of `count * width` bytes.
    PortReadString {
        /// Port number.
        port: u16,
        /// Width of one element, not [`Width::Quad`].
        width: Width,
        /// Number of elements; `count * width` is at most [`BYTES_MAX`].
        count: u16,
    },
    /// `rep outs` of all elements. Answered by [`crate::Reply::Done`].
    PortWriteString {
        /// Port number.
        port: u16,
        /// Width of one element, not [`Width::Quad`].
        width: Width,
        /// The elements, little endian; a multiple of `width`, at most [`BYTES_MAX`].
        bytes: &'a [u8],
    },
    /// One load from guest-physical memory. Answered by [`crate::Reply::Value`].
    Load {
        /// Guest-physical address.
        gpa: u64,
        /// Width.
        width: Width,
    },
    /// One store to guest-physical memory. Answered by [`crate::Reply::Done`].
    Store {
        /// Guest-physical address.
        gpa: u64,
        /// Width.
        width: Width,
        /// Value; bits beyond the width are not sent.
        value: u64,
    },
    /// Reads RAM, in accesses of the agent's choice: for memory, not for registers. Answered by
    /// [`crate::Reply::Bytes`].
    ReadMemory {
        /// Guest-physical address of the first byte.
        gpa: u64,
        /// Number of bytes, at most [`BYTES_MAX`].
        length: u16,
    },
    /// Writes RAM, in accesses of the agent's choice. Answered by [`crate::Reply::Done`].
    WriteMemory {
        /// Guest-physical address of the first byte.
        gpa: u64,
        /// The bytes, at most [`BYTES_MAX`].
        bytes: &'a [u8],
    },
    /// Fills RAM with one byte. Answered by [`crate::Reply::Done`].
    FillMemory {
        /// Guest-physical address of the first byte.
        gpa: u64,
        /// Number of bytes, at most [`FILL_LENGTH_MAX`].
        length: u32,
        /// The byte.
        byte: u8,
    },
    /// Several accesses in order for one round trip. Answered by [`crate::Reply::Answers`].
    Program(Program<'a>),
    /// Writes a debug-exit port. No answer: when the machine survives it, the agent serves on.
    Exit {
        /// Port number.
        port: u16,
        /// Width, not [`Width::Quad`].
        width: Width,
        /// Value.
        value: u32,
    },
    /// Faults with an empty interrupt table. No answer.
    TripleFault,
    /// `cli` and `hlt` for ever. No answer.
    Halt,
}

impl<'a> Request<'a> {
    /// Kind of the frame that carries this request.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello => Kind::HELLO,
            Self::PortRead { .. } => Kind::PORT_READ,
            Self::PortWrite { .. } => Kind::PORT_WRITE,
            Self::PortReadString { .. } => Kind::PORT_READ_STRING,
            Self::PortWriteString { .. } => Kind::PORT_WRITE_STRING,
            Self::Load { .. } => Kind::LOAD,
            Self::Store { .. } => Kind::STORE,
            Self::ReadMemory { .. } => Kind::READ_MEMORY,
            Self::WriteMemory { .. } => Kind::WRITE_MEMORY,
            Self::FillMemory { .. } => Kind::FILL_MEMORY,
            Self::Program(_) => Kind::PROGRAM,
            Self::Exit { .. } => Kind::EXIT,
            Self::TripleFault => Kind::TRIPLE_FAULT,
            Self::Halt => Kind::HALT,
        }
    }

    /// Whether the agent answers this request at all.
    pub const fn is_answered(&self) -> bool {
        !matches!(self, Self::Exit { .. } | Self::TripleFault | Self::Halt)
    }

    /// Reads the request out of a frame; `Ok(None)` when its kind is no request of this version.
    ///
    /// # Errors
    /// [`Malformed`] when the payload does not fit the kind or exceeds a limit.
    pub fn decode(frame: &Frame<'a>) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(frame.payload);
        let request = match frame.kind {
            Kind::HELLO => Self::Hello,
            Kind::PORT_READ => Self::PortRead {
                port: reader.u16()?,
                width: Width::read_port(&mut reader)?,
            },
            Kind::PORT_WRITE => Self::PortWrite {
                port: reader.u16()?,
                width: Width::read_port(&mut reader)?,
                value: reader.u32()?,
            },
            Kind::PORT_READ_STRING => Self::PortReadString {
                port: reader.u16()?,
                width: Width::read_port(&mut reader)?,
                count: reader.u16()?,
            },
            Kind::PORT_WRITE_STRING => Self::PortWriteString {
                port: reader.u16()?,
                width: Width::read_port(&mut reader)?,
                bytes: reader.remainder(),
            },
            Kind::LOAD => Self::Load {
                gpa: reader.u64()?,
                width: Width::read(&mut reader)?,
            },
            Kind::STORE => Self::Store {
                gpa: reader.u64()?,
                width: Width::read(&mut reader)?,
                value: reader.u64()?,
            },
            Kind::READ_MEMORY => Self::ReadMemory {
                gpa: reader.u64()?,
                length: reader.u16()?,
            },
            Kind::WRITE_MEMORY => Self::WriteMemory {
                gpa: reader.u64()?,
                bytes: reader.remainder(),
            },
            Kind::FILL_MEMORY => Self::FillMemory {
                gpa: reader.u64()?,
                length: reader.u32()?,
                byte: reader.u8()?,
            },
            Kind::PROGRAM => Self::Program(Program::from_bytes(reader.remainder())?),
            Kind::EXIT => Self::Exit {
                port: reader.u16()?,
                width: Width::read_port(&mut reader)?,
                value: reader.u32()?,
            },
            Kind::TRIPLE_FAULT => Self::TripleFault,
            Kind::HALT => Self::Halt,
            _ => return Ok(None),
        };
        reader.end()?;
        if request.is_within_limits() {
            Ok(Some(request))
        } else {
            Err(Malformed)
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        if !self.is_within_limits() {
            return Err(EncodeError);
        }
        match *self {
            Self::Hello | Self::TripleFault | Self::Halt => {}
            Self::PortRead { port, width } => {
                writer.u16(port);
                width.write(writer);
            }
            Self::PortWrite { port, width, value } | Self::Exit { port, width, value } => {
                writer.u16(port);
                width.write(writer);
                writer.u32(value);
            }
            Self::PortReadString { port, width, count } => {
                writer.u16(port);
                width.write(writer);
                writer.u16(count);
            }
            Self::PortWriteString { port, width, bytes } => {
                writer.u16(port);
                width.write(writer);
                writer.bytes(bytes);
            }
            Self::Load { gpa, width } => {
                writer.u64(gpa);
                width.write(writer);
            }
            Self::Store { gpa, width, value } => {
                writer.u64(gpa);
                width.write(writer);
                writer.u64(value);
            }
            Self::ReadMemory { gpa, length } => {
                writer.u64(gpa);
                writer.u16(length);
            }
            Self::WriteMemory { gpa, bytes } => {
                writer.u64(gpa);
                writer.bytes(bytes);
            }
            Self::FillMemory { gpa, length, byte } => {
                writer.u64(gpa);
                writer.u32(length);
                writer.u8(byte);
            }
            Self::Program(program) => writer.bytes(program.as_bytes()),
        }
        Ok(())
    }

    fn is_within_limits(&self) -> bool {
        match *self {
            Self::PortRead { width, .. } | Self::PortWrite { width, .. } | Self::Exit { width, .. } => {
                width.port().is_some()
            }
            Self::PortReadString { width, count, .. } => {
                width.port().is_some() && usize::from(count) * width.bytes() <= BYTES_MAX
            }
            Self::PortWriteString { width, bytes, .. } => {
                width.port().is_some() && bytes.len() <= BYTES_MAX && bytes.len().is_multiple_of(width.bytes())
            }
            Self::ReadMemory { length, .. } => usize::from(length) <= BYTES_MAX,
            Self::WriteMemory { bytes, .. } => bytes.len() <= BYTES_MAX,
            Self::FillMemory { length, .. } => length <= FILL_LENGTH_MAX,
            Self::Hello
            | Self::Load { .. }
            | Self::Store { .. }
            | Self::Program(_)
            | Self::TripleFault
            | Self::Halt => true,
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Hello => f.write_str("hello"),
            Self::PortRead { port, width } => write!(f, "port_read {port:#x}/{width}"),
            Self::PortWrite { port, width, value } => write!(f, "port_write {port:#x}/{width} {value:#x}"),
            Self::PortReadString { port, width, count } => write!(f, "port_read_string {port:#x}/{width} x{count}"),
            Self::PortWriteString { port, width, bytes } => {
                write!(f, "port_write_string {port:#x}/{width} {}", Hex(bytes))
            }
            Self::Load { gpa, width } => write!(f, "load {gpa:#x}/{width}"),
            Self::Store { gpa, width, value } => write!(f, "store {gpa:#x}/{width} {value:#x}"),
            Self::ReadMemory { gpa, length } => write!(f, "read_memory {gpa:#x} {length}"),
            Self::WriteMemory { gpa, bytes } => write!(f, "write_memory {gpa:#x} {}", Hex(bytes)),
            Self::FillMemory { gpa, length, byte } => write!(f, "fill_memory {gpa:#x} {length} {byte:#04x}"),
            Self::Program(program) => write!(f, "program {program}"),
            Self::Exit { port, width, value } => write!(f, "exit {port:#x}/{width} {value:#x}"),
            Self::TripleFault => f.write_str("triple_fault"),
            Self::Halt => f.write_str("halt"),
        }
    }
}

/// Bytes for a transcript line: hexadecimal pairs, a long tail counted.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(HEX_SHOWN_MAX) {
            write!(f, "{byte:02x}")?;
        }
        match self.0.len().checked_sub(HEX_SHOWN_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "+{more}"),
        }
    }
}

const HEX_SHOWN_MAX: usize = 32;
