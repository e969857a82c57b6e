//! The host's end: one request, one reply, over any byte channel.

use core::fmt;

use crate::{Decoder, EncodeError, Encoder, Event, Frame, FrameError, Hello, Kind, Malformed, Reply, Request};

/// The bytes to and from an agent.
pub trait Channel {
    /// What can go wrong with it.
    type Error;

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// When the other side is gone.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Waits for bytes and puts them into `buffer`, at least one; 0 when none came within the time that this channel
    /// grants one reply.
    ///
    /// # Errors
    /// When the other side is gone.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error>;

    /// Takes bytes that are no frame: what a firmware or a VMM printed.
    fn noise(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
}

/// Why a call has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The request exceeds a limit of the protocol.
    Encode(EncodeError),
    /// The channel broke.
    Channel(E),
    /// No reply came, also not to a repeated request.
    Silent,
    /// The reply could not be read.
    Malformed(Malformed),
    /// The reply's kind is none of this version.
    UnknownKind(Kind),
    /// No frame with the right check came; the last damage seen.
    Damaged(FrameError),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "encode request: {error}"),
            Self::Channel(error) => write!(f, "exchange bytes with the agent: {error}"),
            Self::Silent => f.write_str("the agent does not answer"),
            Self::Malformed(error) => write!(f, "read reply: {error}"),
            Self::UnknownKind(kind) => write!(f, "reply of unknown kind {:#04x}", kind.0),
            Self::Damaged(error) => write!(f, "the agent's answer arrives damaged: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for CallError<E> {}

/// The host's end of the conversation with one agent.
pub struct Client<C> {
    channel: C,
    encoder: Encoder,
    decoder: Decoder,
    // The reply handed out last; a copy, so that the decoder can go on.
    payload: [u8; crate::PAYLOAD_LENGTH_MAX],
    sequence: u8,
    attempts_max: u8,
}

impl<C: Channel> Client<C> {
    /// A client on `channel` that sends a request up to `attempts_max` times (at least once) before it gives up.
    ///
    /// Repeating is safe: the agent answers a repeated request again without a second access.
    pub fn new(channel: C, attempts_max: u8) -> Self {
        Self {
            channel,
            encoder: Encoder::new(),
            decoder: Decoder::new(),
            payload: [0; crate::PAYLOAD_LENGTH_MAX],
            sequence: 0,
            attempts_max: attempts_max.max(1),
        }
    }

    /// The channel, to look at.
    pub fn channel(&self) -> &C {
        &self.channel
    }

    /// The channel, to change its time limit or to read its log.
    pub fn channel_mut(&mut self) -> &mut C {
        &mut self.channel
    }

    /// Gives the channel back.
    pub fn into_channel(self) -> C {
        self.channel
    }

    /// Waits for the agent's unasked hello, within one time limit of the channel for each silence.
    ///
    /// # Errors
    /// [`CallError::Silent`] when the channel's time passes without one.
    pub fn wait_hello(&mut self) -> Result<Hello, CallError<C::Error>> {
        let (kind, length) = self.wait(|frame| frame.kind == Kind::HELLO_REPLY)?;
        match decode(kind, &self.payload[..length])? {
            Reply::Hello(hello) => Ok(hello),
            _ => Err(CallError::Malformed(Malformed)),
        }
    }

    /// Sends `request` and returns its reply. A request without an answer returns [`Reply::Done`] when it was sent.
    ///
    /// # Errors
    /// See [`CallError`]. [`Reply::Error`] is a reply and comes as `Ok`.
    pub fn call(&mut self, request: &Request<'_>) -> Result<Reply<'_>, CallError<C::Error>> {
        self.sequence = match self.sequence {
            u8::MAX => 1,
            sequence => sequence + 1,
        };
        let sequence = self.sequence;
        let mut last = CallError::Silent;
        for _ in 0..self.attempts_max {
            let bytes = self.encoder.request(sequence, request).map_err(CallError::Encode)?;
            self.channel.send(bytes).map_err(CallError::Channel)?;
            if !request.is_answered() {
                return Ok(Reply::Done);
            }
            match self.wait(|frame| frame.sequence == sequence) {
                Ok((kind, length)) => return decode(kind, &self.payload[..length]),
                Err(error @ (CallError::Silent | CallError::Damaged(_))) => last = error,
                Err(error) => return Err(error),
            }
            self.decoder.clear();
        }
        Err(last)
    }

    /// Receives until a frame is `wanted`, keeps its payload, and returns its kind and length.
    fn wait(&mut self, wanted: impl Fn(&Frame<'_>) -> bool) -> Result<(Kind, usize), CallError<C::Error>> {
        let mut last = CallError::Silent;
        let mut received = 0;
        while received < WAIT_BYTES_MAX {
            while let Some(event) = self.decoder.poll() {
                match event {
                    Event::Frame(frame) if wanted(&frame) => {
                        self.payload[..frame.payload.len()].copy_from_slice(frame.payload);
                        return Ok((frame.kind, frame.payload.len()));
                    }
                    // A late answer to a request that was given up or repeated.
                    Event::Frame(_) => {}
                    Event::Noise(bytes) => self.channel.noise(bytes),
                    Event::Damaged(error) => last = CallError::Damaged(error),
                }
            }
            let count = self.channel.receive(self.decoder.space()).map_err(CallError::Channel)?;
            if count == 0 {
                return Err(last);
            }
            self.decoder.filled(count);
            received += count;
        }
        Err(last)
    }
}

fn decode<E>(kind: Kind, payload: &[u8]) -> Result<Reply<'_>, CallError<E>> {
    let frame = Frame {
        sequence: 0,
        kind,
        payload,
    };
    match Reply::decode(&frame) {
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => Err(CallError::UnknownKind(kind)),
        Err(error) => Err(CallError::Malformed(error)),
    }
}

/// Most bytes received for one reply: a machine that prints for ever is given up like one that is silent.
const WAIT_BYTES_MAX: usize = 1 << 20;
