//! Frames: sync, length, sequence, kind, payload, check.

use core::fmt;

use crate::{Reply, Request, wire::Writer};

/// The two bytes that open a frame.
pub const SYNC: [u8; 2] = [0xa5, 0x5a];

/// Longest payload in bytes.
pub const PAYLOAD_LENGTH_MAX: usize = 2048;

/// Bytes of a frame beside its payload.
pub const FRAME_OVERHEAD: usize = HEADER_LENGTH + CHECK_LENGTH;

/// Longest frame in bytes.
pub const FRAME_LENGTH_MAX: usize = PAYLOAD_LENGTH_MAX + FRAME_OVERHEAD;

/// What a frame is: requests below 0x80, replies from there on. Unknown kinds are carried, not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// [`Request::Hello`].
    pub const HELLO: Self = Self(0x01);
    /// [`Request::PortRead`].
    pub const PORT_READ: Self = Self(0x02);
    /// [`Request::PortWrite`].
    pub const PORT_WRITE: Self = Self(0x03);
    /// [`Request::PortReadString`].
    pub const PORT_READ_STRING: Self = Self(0x04);
    /// [`Request::PortWriteString`].
    pub const PORT_WRITE_STRING: Self = Self(0x05);
    /// [`Request::Load`].
    pub const LOAD: Self = Self(0x06);
    /// [`Request::Store`].
    pub const STORE: Self = Self(0x07);
    /// [`Request::ReadMemory`].
    pub const READ_MEMORY: Self = Self(0x08);
    /// [`Request::WriteMemory`].
    pub const WRITE_MEMORY: Self = Self(0x09);
    /// [`Request::FillMemory`].
    pub const FILL_MEMORY: Self = Self(0x0a);
    /// [`Request::Program`].
    pub const PROGRAM: Self = Self(0x0b);
    /// [`Request::Exit`].
    pub const EXIT: Self = Self(0x0c);
    /// [`Request::TripleFault`].
    pub const TRIPLE_FAULT: Self = Self(0x0d);
    /// [`Request::Halt`].
    pub const HALT: Self = Self(0x0e);
    /// [`Reply::Hello`].
    pub const HELLO_REPLY: Self = Self(0x81);
    /// [`Reply::Value`].
    pub const VALUE: Self = Self(0x82);
    /// [`Reply::Bytes`].
    pub const BYTES: Self = Self(0x83);
    /// [`Reply::Done`].
    pub const DONE: Self = Self(0x84);
    /// [`Reply::Answers`].
    pub const ANSWERS: Self = Self(0x85);
    /// [`Reply::Error`].
    pub const ERROR: Self = Self(0xff);
}

/// One frame whose check was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Number of the request, or of the request that this replies to.
    pub sequence: u8,
    /// What the payload is.
    pub kind: Kind,
    /// At most [`PAYLOAD_LENGTH_MAX`] bytes.
    pub payload: &'a [u8],
}

/// Why bytes that began like a frame are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length field says more than [`PAYLOAD_LENGTH_MAX`].
    Length(u16),
    /// The check at the end is not that of the bytes.
    Check {
        /// Check that the frame carried.
        got: u16,
        /// Check of its bytes.
        want: u16,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(
                f,
                "frame of {length} payload bytes, at most {PAYLOAD_LENGTH_MAX} are allowed"
            ),
            Self::Check { got, want } => write!(f, "frame with check {got:#06x}, its bytes give {want:#06x}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// A message that fits no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError;

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "message exceeds a limit of the protocol ({PAYLOAD_LENGTH_MAX} payload bytes)"
        )
    }
}

impl core::error::Error for EncodeError {}

/// Builds one frame at a time in a buffer of its own.
pub struct Encoder {
    buffer: [u8; FRAME_LENGTH_MAX],
    length: usize,
}

impl Encoder {
    /// An encoder that holds no frame; usable in a `static`.
    pub const fn new() -> Self {
        Self {
            buffer: [0; FRAME_LENGTH_MAX],
            length: 0,
        }
    }

    /// Encodes a request and returns the bytes to send.
    ///
    /// # Errors
    /// When the request exceeds a limit: [`crate::BYTES_MAX`], [`crate::FILL_LENGTH_MAX`] or [`PAYLOAD_LENGTH_MAX`].
    pub fn request(&mut self, sequence: u8, request: &Request<'_>) -> Result<&[u8], EncodeError> {
        self.frame(sequence, request.kind(), |writer| request.encode(writer))
    }

    /// Encodes a reply and returns the bytes to send.
    ///
    /// # Errors
    /// When the reply's bytes exceed [`PAYLOAD_LENGTH_MAX`].
    pub fn reply(&mut self, sequence: u8, reply: &Reply<'_>) -> Result<&[u8], EncodeError> {
        self.frame(sequence, reply.kind(), |writer| {
            reply.encode(writer);
            Ok(())
        })
    }

    /// Encodes a frame of any kind, also one that no version of this protocol knows.
    ///
    /// # Errors
    /// When `payload` exceeds [`PAYLOAD_LENGTH_MAX`].
    pub fn raw(&mut self, sequence: u8, kind: Kind, payload: &[u8]) -> Result<&[u8], EncodeError> {
        self.frame(sequence, kind, |writer| {
            writer.bytes(payload);
            Ok(())
        })
    }

    /// The bytes of the frame encoded last, empty before the first.
    pub fn last(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    fn frame(
        &mut self,
        sequence: u8,
        kind: Kind,
        payload: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<&[u8], EncodeError> {
        self.length = 0;
        let mut writer = Writer::new(&mut self.buffer[HEADER_LENGTH..HEADER_LENGTH + PAYLOAD_LENGTH_MAX]);
        payload(&mut writer)?;
        let payload_length = writer.finish().ok_or(EncodeError)?;
        let [low, high] = (payload_length as u16).to_le_bytes();
        self.buffer[..HEADER_LENGTH].copy_from_slice(&[SYNC[0], SYNC[1], low, high, sequence, kind.0]);
        let end = HEADER_LENGTH + payload_length;
        let check = CHECK.checksum(&self.buffer[SYNC.len()..end]).to_le_bytes();
        self.buffer[end..end + CHECK_LENGTH].copy_from_slice(&check);
        self.length = end + CHECK_LENGTH;
        Ok(&self.buffer[..self.length])
    }
}

/// What a [`Decoder`] found next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole frame with the right check.
    Frame(Frame<'a>),
    /// Bytes in front of a frame that belong to none: a console text, or the remains of a damaged frame.
    Noise(&'a [u8]),
    /// A frame that is none; its first byte will be reported as noise, the rest is searched again.
    Damaged(FrameError),
}

/// Finds frames in a stream of bytes, and its way back to them after anything else.
///
/// Put bytes in with [`Decoder::push`], then call [`Decoder::poll`] until it returns `None`.
pub struct Decoder {
    buffer: [u8; FRAME_LENGTH_MAX],
    length: usize,
    // Bytes at the front that the last event showed and the next poll drops.
    shown: usize,
}

impl Decoder {
    /// A decoder that has seen nothing; usable in a `static`.
    pub const fn new() -> Self {
        Self {
            buffer: [0; FRAME_LENGTH_MAX],
            length: 0,
            shown: 0,
        }
    }

    /// Takes bytes from the front of `bytes` and returns how many; less than all only when frames wait for a poll.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        self.filled(count);
        count
    }

    /// The free part of the buffer, for a receiver that fills it in place and then calls [`Decoder::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        self.drop_shown();
        &mut self.buffer[self.length..]
    }

    /// Says that the first `count` bytes of [`Decoder::space`] hold received bytes now.
    pub fn filled(&mut self, count: usize) {
        self.length = (self.length + count).min(FRAME_LENGTH_MAX);
    }

    /// The least number of further bytes that can complete a frame, so that a slow receiver polls once and not for each
    /// byte. At least 1.
    pub fn needed(&self) -> usize {
        let pending = &self.buffer[self.shown.min(self.length)..self.length];
        let want = match payload_length(pending) {
            Some(length) => FRAME_OVERHEAD + usize::from(length).min(PAYLOAD_LENGTH_MAX),
            None => FRAME_OVERHEAD,
        };
        want.saturating_sub(pending.len()).max(1)
    }

    /// Forgets what was received and not yet reported, as a host does before it repeats a request.
    pub fn clear(&mut self) {
        self.length = 0;
        self.shown = 0;
    }

    /// The next frame, or what stands in its way; `None` when more bytes are needed.
    pub fn poll(&mut self) -> Option<Event<'_>> {
        self.drop_shown();
        let start = sync_position(&self.buffer[..self.length]);
        if start != 0 {
            self.shown = start;
            return Some(Event::Noise(&self.buffer[..start]));
        }
        let payload_length = payload_length(&self.buffer[..self.length])?;
        if usize::from(payload_length) > PAYLOAD_LENGTH_MAX {
            return Some(self.damaged(FrameError::Length(payload_length)));
        }
        let end = HEADER_LENGTH + usize::from(payload_length);
        if self.length < end + CHECK_LENGTH {
            return None;
        }
        let got = u16::from_le_bytes([self.buffer[end], self.buffer[end + 1]]);
        let want = CHECK.checksum(&self.buffer[SYNC.len()..end]);
        if got != want {
            return Some(self.damaged(FrameError::Check { got, want }));
        }
        self.shown = end + CHECK_LENGTH;
        Some(Event::Frame(Frame {
            sequence: self.buffer[4],
            kind: Kind(self.buffer[5]),
            payload: &self.buffer[HEADER_LENGTH..end],
        }))
    }

    /// Spoils the sync byte, so that the next poll skips it and searches behind it.
    fn damaged(&mut self, error: FrameError) -> Event<'static> {
        self.buffer[0] = !SYNC[0];
        Event::Damaged(error)
    }

    fn drop_shown(&mut self) {
        if self.shown == 0 {
            return;
        }
        self.buffer.copy_within(self.shown..self.length, 0);
        self.length -= self.shown;
        self.shown = 0;
    }
}

/// Position of the first possible frame; a lone first sync byte at the very end may become one.
fn sync_position(bytes: &[u8]) -> usize {
    let mut position = 0;
    while position < bytes.len() {
        let is_sync = bytes[position] == SYNC[0] && bytes.get(position + 1).is_none_or(|&second| second == SYNC[1]);
        if is_sync {
            return position;
        }
        position += 1;
    }
    position
}

fn payload_length(frame: &[u8]) -> Option<u16> {
    let field = frame.get(SYNC.len()..SYNC.len() + 2)?;
    Some(u16::from_le_bytes([field[0], field[1]]))
}

/// Sync, length, sequence, kind.
const HEADER_LENGTH: usize = 6;

const CHECK_LENGTH: usize = 2;

/// All errors of up to three bits in a frame of any length here, all bursts of up to 16 bits.
const CHECK: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_IBM_SDLC);
