//! What qtest cannot do to QEMU, over QMP: a system reset, and a look at KVM's statistics.
//!
//! Source: QEMU Machine Protocol, "capabilities negotiation", commands `system_reset` and `query-stats`, event `RESET`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// A QMP conversation that begins with the first command.
pub(crate) struct Qmp {
    listener: UnixListener,
    limit: Duration,
    stream: Option<BufReader<UnixStream>>,
}

impl Qmp {
    /// Listens at `path`; the subject connects at its start and waits.
    pub(crate) fn listen(path: &Path, limit: Duration) -> Result<Qmp> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Qmp {
            listener,
            limit,
            stream: None,
        })
    }

    /// Resets the system and returns when it is done.
    pub(crate) fn system_reset(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        self.greet(deadline)?;
        self.execute("\"system_reset\"")?;
        self.wait_for("\"RESET\"", deadline).map(drop)
    }

    /// How often all CPUs together have left the guest, by KVM's own statistics: its counters whose names end in
    /// `exits`, of which the one called that is all of them.
    pub(crate) fn vcpu_exits(&mut self) -> Result<BTreeMap<String, u64>> {
        let deadline = Instant::now() + self.limit;
        self.greet(deadline)?;
        self.execute("\"query-stats\", \"arguments\": {\"target\": \"vcpu\"}")?;
        let answer: serde_json::Value = serde_json::from_str(&self.wait_for("\"return\"", deadline)?)?;
        let cpus = answer["return"].as_array().into_iter().flatten();
        let stats = cpus.flat_map(|cpu| cpu["stats"].as_array().into_iter().flatten());
        let mut exits = BTreeMap::new();
        for stat in stats {
            if let (Some(name), Some(count @ 1..)) = (stat["name"].as_str(), stat["value"].as_u64())
                && name.ends_with("exits")
            {
                *exits.entry(name.to_owned()).or_default() += count;
            }
        }
        if exits.is_empty() {
            return Err(Error::other("KVM has no statistics here"));
        }
        Ok(exits)
    }

    /// Takes the subject's connection and leaves its greeting behind, once.
    fn greet(&mut self, deadline: Instant) -> Result<()> {
        if self.stream.is_some() {
            return Ok(());
        }
        let (stream, _) = self.listener.accept()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(self.limit))?;
        self.stream = Some(BufReader::new(stream));
        self.wait_for("\"QMP\"", deadline)?;
        self.execute("\"qmp_capabilities\"")?;
        self.wait_for("\"return\"", deadline).map(drop)
    }

    fn execute(&mut self, command: &str) -> Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        writeln!(stream.get_mut(), "{{\"execute\": {command}}}")
    }

    /// The first line with that word.
    fn wait_for(&mut self, word: &str, deadline: Instant) -> Result<String> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while Instant::now() < deadline {
            let mut line = String::new();
            if stream.take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line.contains(word) {
                return Ok(line);
            }
            if line.contains("\"error\"") {
                return Err(Error::other(line.trim().to_owned()));
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}

/// Longest line that is read at once.
const LINE_BYTES_MAX: u64 = 1 << 20;
