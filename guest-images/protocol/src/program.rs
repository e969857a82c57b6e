//! Programs: several accesses for one round trip.
//!
//! A step is one byte `operation << 4 | width` (operations 1..=4: port read, port write, load, store), then the port
//! (2 bytes) or the address (8 bytes), then for writes the value in `width` bytes.

use core::fmt;

use crate::{
    EncodeError, Failure, PAYLOAD_LENGTH_MAX, Width,
    request::Hex,
    wire::{Malformed, Reader, Writer},
};

/// Most steps of one program.
pub const PROGRAM_STEPS_MAX: usize = 512;

/// One access of a program, performed by one instruction of that width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `in`.
    PortRead {
        /// Port number.
        port: u16,
        /// Width, not [`Width::Quad`].
        width: Width,
    },
    /// `out`.
    PortWrite {
        /// Port number.
        port: u16,
        /// Width, not [`Width::Quad`].
        width: Width,
        /// Value; bits beyond the width are not sent.
        value: u32,
    },
    /// Load from guest-physical memory.
    Load {
        /// Guest-physical address.
        gpa: u64,
        /// Width.
        width: Width,
    },
    /// Store to guest-physical memory.
    Store {
        /// Guest-physical address.
        gpa: u64,
        /// Width.
        width: Width,
        /// Value; bits beyond the width are not sent.
        value: u64,
    },
}

impl Step {
    /// Width of the value that this step reads, `None` for a write.
    pub const fn answer_width(&self) -> Option<Width> {
        match *self {
            Self::PortRead { width, .. } | Self::Load { width, .. } => Some(width),
            Self::PortWrite { .. } | Self::Store { .. } => None,
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match *self {
            Self::PortRead { port, width } => {
                writer.u8(operation::PORT_READ << 4 | width.port().ok_or(EncodeError)?.bytes() as u8);
                writer.u16(port);
            }
            Self::PortWrite { port, width, value } => {
                writer.u8(operation::PORT_WRITE << 4 | width.port().ok_or(EncodeError)?.bytes() as u8);
                writer.u16(port);
                writer.number(u64::from(value), width.bytes());
            }
            Self::Load { gpa, width } => {
                writer.u8(operation::LOAD << 4 | width.bytes() as u8);
                writer.u64(gpa);
            }
            Self::Store { gpa, width, value } => {
                writer.u8(operation::STORE << 4 | width.bytes() as u8);
                writer.u64(gpa);
                writer.number(value, width.bytes());
            }
        }
        Ok(())
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let head = reader.u8()?;
        let width = Width::from_bytes(usize::from(head & 0xf)).ok_or(Malformed)?;
        match head >> 4 {
            operation::PORT_READ => Ok(Self::PortRead {
                port: reader.u16()?,
                width: width.port().ok_or(Malformed)?,
            }),
            operation::PORT_WRITE => Ok(Self::PortWrite {
                port: reader.u16()?,
                width: width.port().ok_or(Malformed)?,
                value: reader.number(width.bytes())? as u32,
            }),
            operation::LOAD => Ok(Self::Load {
                gpa: reader.u64()?,
                width,
            }),
            operation::STORE => Ok(Self::Store {
                gpa: reader.u64()?,
                width,
                value: reader.number(width.bytes())?,
            }),
            _ => Err(Malformed),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PortRead { port, width } => write!(f, "port_read {port:#x}/{width}"),
            Self::PortWrite { port, width, value } => write!(f, "port_write {port:#x}/{width} {value:#x}"),
            Self::Load { gpa, width } => write!(f, "load {gpa:#x}/{width}"),
            Self::Store { gpa, width, value } => write!(f, "store {gpa:#x}/{width} {value:#x}"),
        }
    }
}

/// Encoded steps that are known to be well formed and to have an answer that fits one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    bytes: &'a [u8],
}

impl<'a> Program<'a> {
    /// Encodes as many of `steps` from the front as one frame and its answer can carry, and returns the program and the
    /// number of steps in it. `buffer` of [`PAYLOAD_LENGTH_MAX`] bytes never limits it further.
    ///
    /// # Errors
    /// When a port access asks for [`Width::Quad`].
    pub fn encode(steps: &[Step], buffer: &'a mut [u8]) -> Result<(Self, usize), EncodeError> {
        let buffer = match buffer.len() {
            0..=PAYLOAD_LENGTH_MAX => buffer,
            _ => &mut buffer[..PAYLOAD_LENGTH_MAX],
        };
        let mut length = 0;
        let mut answer_length = 0;
        let mut count = 0;
        for step in steps.iter().take(PROGRAM_STEPS_MAX) {
            answer_length += step.answer_width().map_or(0, Width::bytes);
            let mut writer = Writer::new(&mut buffer[length..]);
            step.encode(&mut writer)?;
            let Some(step_length) = writer.finish() else { break };
            if answer_length > ANSWER_BYTES_MAX {
                break;
            }
            length += step_length;
            count += 1;
        }
        Ok((
            Self {
                bytes: &buffer[..length],
            },
            count,
        ))
    }

    /// Takes bytes as a program.
    ///
    /// # Errors
    /// [`Malformed`] when they are not whole steps, too many, or have more to answer than a frame holds.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut count = 0;
        let mut answer_length = 0;
        while !reader.is_empty() {
            answer_length += Step::decode(&mut reader)?.answer_width().map_or(0, Width::bytes);
            count += 1;
        }
        if count > PROGRAM_STEPS_MAX || answer_length > ANSWER_BYTES_MAX || bytes.len() > PAYLOAD_LENGTH_MAX {
            return Err(Malformed);
        }
        Ok(Self { bytes })
    }

    /// The encoded steps.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The steps in order.
    pub fn steps(&self) -> Steps<'a> {
        Steps {
            reader: Reader::new(self.bytes),
        }
    }
}

impl fmt::Display for Program<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, step) in self.steps().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "; " })?;
        }
        f.write_str("]")
    }
}

/// Iterator over the steps of a [`Program`].
pub struct Steps<'a> {
    reader: Reader<'a>,
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        Step::decode(&mut self.reader).ok()
    }
}

/// What a program gave: the values of its reads one after the other, each in the width of its step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers<'a> {
    /// Number of steps carried out; all of them unless there is a `failure`.
    pub steps_done: u16,
    /// Why the step behind those was not carried out, nor any after it.
    pub failure: Option<Failure>,
    /// Little-endian values of the reads among the steps carried out.
    pub bytes: &'a [u8],
}

impl<'a> Answers<'a> {
    /// Hands out `(step, value)` for each step of `program` that was carried out; the value is `None` for writes.
    ///
    /// Ends early when `program` is not the one that these answers are for.
    pub fn of(&self, program: &Program<'a>) -> impl Iterator<Item = (Step, Option<u64>)> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        program
            .steps()
            .take(usize::from(self.steps_done))
            .map_while(move |step| match step.answer_width() {
                Some(width) => Some((step, Some(reader.number(width.bytes()).ok()?))),
                None => Some((step, None)),
            })
    }

    pub(crate) fn encode(&self, writer: &mut Writer<'_>) {
        writer.u16(self.steps_done);
        writer.u8(u8::from(self.failure.is_some()));
        if let Some(failure) = &self.failure {
            failure.encode(writer);
        }
        writer.bytes(self.bytes);
    }

    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let steps_done = reader.u16()?;
        let failure = match reader.u8()? {
            0 => None,
            1 => Some(Failure::decode(reader)?),
            _ => return Err(Malformed),
        };
        Ok(Self {
            steps_done,
            failure,
            bytes: reader.remainder(),
        })
    }
}

impl fmt::Display for Answers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps {}", self.steps_done, Hex(self.bytes))?;
        match &self.failure {
            Some(failure) => write!(f, " then {failure}"),
            None => Ok(()),
        }
    }
}

/// Most answer bytes of one program: a payload less the fields in front, a failure among them.
const ANSWER_BYTES_MAX: usize = PAYLOAD_LENGTH_MAX - 17;

mod operation {
    pub(super) const PORT_READ: u8 = 1;
    pub(super) const PORT_WRITE: u8 = 2;
    pub(super) const LOAD: u8 = 3;
    pub(super) const STORE: u8 = 4;
}
