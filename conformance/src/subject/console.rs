//! The guest's serial port as bytes over the standard input and output of a VMM, with deadlines.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use guest_protocol::Channel;

use super::process::Process;
use crate::machine::Broken;

/// Our end of a VMM's standard input and output.
pub(crate) struct Console {
    stream: UnixStream,
    limit: Duration,
    /// When what was sent last, or the start, is answered at the latest.
    deadline: Instant,
    noise: Vec<u8>,
}

/// The other side is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the console was closed")
    }
}

impl Console {
    /// Starts a command with its standard input and output as a console. All receives together wait at most `limit`
    /// from the start, and from each send: a guest that prints for ever, however slowly, has no more time than one
    /// that is silent.
    pub(crate) fn spawn(words: &[String], limit: Duration) -> Result<(Process, Console), Broken> {
        let start = |error: std::io::Error| Broken::Start(format!("make a console: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(start)?;
        ours.set_write_timeout(Some(limit)).map_err(start)?;
        let process = Process::spawn(words, Some(theirs))?;
        let console = Console {
            stream: ours,
            limit,
            deadline: Instant::now() + limit,
            noise: Vec::new(),
        };
        Ok((process, console))
    }

    /// Another limit from the next send on.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// What came that was no frame, its end.
    pub(crate) fn noise_text(&self) -> String {
        String::from_utf8_lossy(&self.noise).trim().to_owned()
    }

    /// Receives what there is until `deadline`; 0 when nothing came.
    pub(crate) fn receive_until(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Closed> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(0);
            }
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(buffer));
            match read {
                Ok(0) => return Err(Closed),
                Ok(count) => return Ok(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(0),
                    ErrorKind::Interrupted => {}
                    _ => return Err(Closed),
                },
            }
        }
    }
}

impl Channel for Console {
    type Error = Closed;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.deadline = Instant::now() + self.limit;
        self.stream.write_all(bytes).map_err(|_| Closed)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Closed> {
        self.receive_until(buffer, self.deadline)
    }

    fn noise(&mut self, bytes: &[u8]) {
        self.noise.extend(bytes);
        let excess = self.noise.len().saturating_sub(NOISE_BYTES_MAX);
        self.noise.drain(..excess);
    }
}

/// Bytes kept of what was no frame.
const NOISE_BYTES_MAX: usize = 4096;
