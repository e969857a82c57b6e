//! Frames that the agent image and the suite exchange over one byte channel.
//!
//! The channel is a 16550 serial port: bytes in order, no packet limits, and whatever a firmware or a VMM prints before
//! the agent speaks. So a frame carries its own limits:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | [`SYNC`], 0xa5 0x5a: begins no character of ASCII or UTF-8 |
//! | 2 | 2 | payload length in bytes, little endian, 0..=[`PAYLOAD_LENGTH_MAX`] |
//! | 4 | 1 | sequence number |
//! | 5 | 1 | [`Kind`] |
//! | 6 | n | payload, all numbers little endian |
//! | 6 + n | 2 | CRC-16/IBM-SDLC over offsets 2..6 + n, little endian |
//!
//! The host numbers its requests 1..=255 and after that 1 again; a reply carries the number of its request. The agent
//! sends one [`Reply::Hello`] numbered 0 when it starts. A request that carries the number of the request before it is
//! answered again and *not executed again*, so that a host may repeat a request whose reply was lost: an access with
//! side effects happens once. [`Request::Hello`] is always executed and makes the agent forget the number, so a host
//! that comes to a running agent begins with it.
//!
//! A damaged frame gets no answer; the receiver looks for the next [`SYNC`] behind the one that misled it. The host
//! repeats after a time of its choice.
//!
//! Nothing here allocates, blocks or panics on foreign bytes, and both ends use the same code.
#![no_std]

#[cfg(test)]
extern crate std;

mod client;
mod frame;
mod program;
mod reply;
mod request;
mod wire;

pub use client::{CallError, Channel, Client};
pub use frame::{
    Decoder, EncodeError, Encoder, Event, FRAME_LENGTH_MAX, FRAME_OVERHEAD, Frame, FrameError, Kind,
    PAYLOAD_LENGTH_MAX, SYNC,
};
pub use program::{Answers, PROGRAM_STEPS_MAX, Program, Step, Steps};
pub use reply::{ErrorCode, Failure, Hello, Reply};
pub use request::{BYTES_MAX, FILL_LENGTH_MAX, Request, Width};
pub use wire::Malformed;

/// Version of the frames and of the meaning of requests; the agent tells its own in [`Hello`].
pub const PROTOCOL_VERSION: u16 = 1;

#[cfg(test)]
mod tests;
