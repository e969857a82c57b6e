//! The one thing that qtest cannot do to QEMU: a system reset, over QMP.
//!
//! Source: QEMU Machine Protocol, "capabilities negotiation", command `system_reset`, event `RESET`.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// A QMP conversation that begins with the first command.
pub(super) struct Qmp {
    listener: UnixListener,
    limit: Duration,
    stream: Option<BufReader<UnixStream>>,
}

impl Qmp {
    /// Listens at `path`; the subject connects at its start and waits.
    pub(super) fn listen(path: &Path, limit: Duration) -> Result<Qmp> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Qmp {
            listener,
            limit,
            stream: None,
        })
    }

    /// Resets the system and returns when it is done.
    pub(super) fn system_reset(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        if self.stream.is_none() {
            let (stream, _) = self.listener.accept()?;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(self.limit))?;
            self.stream = Some(BufReader::new(stream));
            self.wait_for("\"QMP\"", deadline)?;
            self.execute("qmp_capabilities")?;
            self.wait_for("\"return\"", deadline)?;
        }
        self.execute("system_reset")?;
        self.wait_for("\"RESET\"", deadline)
    }

    fn execute(&mut self, command: &str) -> Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        writeln!(stream.get_mut(), "{{\"execute\": \"{command}\"}}")
    }

    fn wait_for(&mut self, word: &str, deadline: Instant) -> Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while Instant::now() < deadline {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line.contains(word) {
                return Ok(());
            }
            if line.contains("\"error\"") {
                return Err(Error::other(line.trim().to_owned()));
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}
