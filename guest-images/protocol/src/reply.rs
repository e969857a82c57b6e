//! What the agent answers.

use core::fmt;

use crate::{
    Answers, Frame, Kind,
    request::Hex,
    wire::{Malformed, Reader, Writer},
};

/// Who the agent is and which memory it lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`crate::PROTOCOL_VERSION`] of the agent.
    pub version: u16,
    /// First guest-physical address of the image, with its data, tables and stack.
    pub image_start: u64,
    /// First address behind it; the agent refuses to write to `image_start..image_end`.
    pub image_end: u64,
    /// Base of the 16550 whose bytes these are; a case that drives this serial port breaks the channel.
    pub channel_port: u16,
    /// Debug-exit port that the command line named.
    pub exit_port: Option<u16>,
    /// Width of guest-physical addresses in bits, from CPUID (36 where it does not say).
    pub physical_bits: u8,
}

/// Why a request failed. Unknown codes are carried, not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u8);

impl ErrorCode {
    /// The kind of the frame is no request of the agent's version.
    pub const KIND: Self = Self(1);
    /// The payload does not fit the kind, or exceeds a limit.
    pub const MALFORMED: Self = Self(2);
    /// The access raised an exception; [`Failure::vector`] says which.
    pub const FAULT: Self = Self(3);
    /// The address is beyond what the CPU can address.
    pub const ADDRESS: Self = Self(4);
    /// The write would hit the agent itself.
    pub const OWN_MEMORY: Self = Self(5);
    /// The agent itself is wrong; it serves no more after this.
    pub const PANIC: Self = Self(6);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::KIND => f.write_str("unknown-kind"),
            Self::MALFORMED => f.write_str("malformed"),
            Self::FAULT => f.write_str("fault"),
            Self::ADDRESS => f.write_str("address"),
            Self::OWN_MEMORY => f.write_str("own-memory"),
            Self::PANIC => f.write_str("panic"),
            Self(code) => write!(f, "code-{code}"),
        }
    }
}

/// A request that was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub code: ErrorCode,
    /// With [`ErrorCode::FAULT`]: the vector of the exception.
    pub vector: u8,
    /// With [`ErrorCode::FAULT`]: the error code that the CPU pushed, 0 for exceptions without one.
    pub error_code: u32,
    /// With [`ErrorCode::FAULT`]: the guest-physical address of a page fault, else the instruction pointer. With the
    /// others: the address asked for, where there is one.
    pub address: u64,
}

impl Failure {
    /// A failure without an exception.
    pub const fn new(code: ErrorCode, address: u64) -> Self {
        Self {
            code,
            vector: 0,
            error_code: 0,
            address,
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer<'_>) {
        writer.u8(self.code.0);
        writer.u8(self.vector);
        writer.u32(self.error_code);
        writer.u64(self.address);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            code: ErrorCode(reader.u8()?),
            vector: reader.u8()?,
            error_code: reader.u32()?,
            address: reader.u64()?,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            vector,
            error_code,
            address,
        } = *self;
        if code == ErrorCode::FAULT {
            write!(
                f,
                "{code} vector={vector} error_code={error_code:#x} address={address:#x}"
            )
        } else {
            write!(f, "{code} address={address:#x}")
        }
    }
}

impl core::error::Error for Failure {}

/// One reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Answers [`crate::Request::Hello`], and opens the conversation unasked with sequence number 0.
    Hello(Hello),
    /// What an `in` or a load gave, zero-extended.
    Value(u64),
    /// What a string of `in` or a memory read gave.
    Bytes(&'a [u8]),
    /// The write was done.
    Done,
    /// What the steps of a program gave.
    Answers(Answers<'a>),
    /// The request was not carried out.
    Error(Failure),
}

impl<'a> Reply<'a> {
    /// Kind of the frame that carries this reply.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::HELLO_REPLY,
            Self::Value(_) => Kind::VALUE,
            Self::Bytes(_) => Kind::BYTES,
            Self::Done => Kind::DONE,
            Self::Answers(_) => Kind::ANSWERS,
            Self::Error(_) => Kind::ERROR,
        }
    }

    /// Reads the reply out of a frame; `Ok(None)` when its kind is no reply of this version.
    ///
    /// # Errors
    /// [`Malformed`] when the payload does not fit the kind.
    pub fn decode(frame: &Frame<'a>) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(frame.payload);
        let reply = match frame.kind {
            Kind::HELLO_REPLY => Self::Hello(Hello {
                version: reader.u16()?,
                image_start: reader.u64()?,
                image_end: reader.u64()?,
                channel_port: reader.u16()?,
                exit_port: Some(reader.u16()?).filter(|&port| port != 0),
                physical_bits: reader.u8()?,
            }),
            Kind::VALUE => Self::Value(reader.u64()?),
            Kind::BYTES => Self::Bytes(reader.remainder()),
            Kind::DONE => Self::Done,
            Kind::ANSWERS => Self::Answers(Answers::decode(&mut reader)?),
            Kind::ERROR => Self::Error(Failure::decode(&mut reader)?),
            _ => return Ok(None),
        };
        reader.end()?;
        Ok(Some(reply))
    }

    pub(crate) fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Hello(hello) => {
                writer.u16(hello.version);
                writer.u64(hello.image_start);
                writer.u64(hello.image_end);
                writer.u16(hello.channel_port);
                writer.u16(hello.exit_port.unwrap_or(0));
                writer.u8(hello.physical_bits);
            }
            Self::Value(value) => writer.u64(*value),
            Self::Bytes(bytes) => writer.bytes(bytes),
            Self::Done => {}
            Self::Answers(answers) => answers.encode(writer),
            Self::Error(failure) => failure.encode(writer),
        }
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello(hello) => write!(
                f,
                "hello version={} image={:#x}..{:#x} channel={:#x}",
                hello.version, hello.image_start, hello.image_end, hello.channel_port
            ),
            Self::Value(value) => write!(f, "value {value:#x}"),
            Self::Bytes(bytes) => write!(f, "bytes {}", Hex(bytes)),
            Self::Done => f.write_str("done"),
            Self::Answers(answers) => write!(f, "answers {answers}"),
            Self::Error(failure) => write!(f, "error {failure}"),
        }
    }
}
