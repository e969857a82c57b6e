//! A machine that stops answering when a case has had its time or its accesses.

use std::time::{Duration, Instant};

use crate::case::Setup;
use crate::machine::{Broken, Caps, Facts, HostAction, LineEvent, Machine, Output, Stop, Width, Wire};

/// A machine with limits.
pub(super) struct Limited {
    inner: Box<dyn Machine>,
    limit: Duration,
    deadline: Instant,
    accesses_max: u64,
    accesses_left: u64,
}

impl Limited {
    pub(super) fn new(inner: Box<dyn Machine>, limit: Duration, accesses_max: u64) -> Limited {
        Limited {
            inner,
            limit,
            deadline: Instant::now() + limit,
            accesses_max,
            accesses_left: accesses_max,
        }
    }

    fn count(&mut self) -> Result<(), Stop> {
        let Some(left) = self.accesses_left.checked_sub(1) else {
            let text = format!("the case made {} accesses and was stopped", self.accesses_max);
            return Err(Broken::Timeout(text).into());
        };
        self.accesses_left = left;
        // The clock is looked at now and then only: in process it would cost as much as an access.
        if left.is_multiple_of(CLOCK_EVERY) && self.deadline <= Instant::now() {
            let text = format!("the case ran for {} ms and was stopped", self.limit.as_millis());
            return Err(Broken::Timeout(text).into());
        }
        Ok(())
    }
}

impl Machine for Limited {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn facts(&self) -> &Facts {
        self.inner.facts()
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        self.count()?;
        self.inner.port_read(port, width)
    }

    fn port_read_many(&mut self, port: u16, width: Width, count: usize) -> Result<Vec<u32>, Stop> {
        let mut values = Vec::new();
        while values.len() < count {
            // One count for each access; the clock is looked at between the parts.
            let part = (count - values.len()).min(CLOCK_EVERY as usize * 8);
            (0..part).try_for_each(|_| self.count())?;
            values.extend(self.inner.port_read_many(port, width, part)?);
        }
        Ok(values)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        self.count()?;
        self.inner.port_write(port, width, value)
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        self.count()?;
        self.inner.load(gpa, width)
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        self.count()?;
        self.inner.store(gpa, width, value)
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        self.count()?;
        self.inner.read_memory(gpa, into)
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        self.count()?;
        self.inner.write_memory(gpa, from)
    }

    fn port_read_string(&mut self, port: u16, width: Width, count: u16) -> Result<Vec<u8>, Stop> {
        self.count()?;
        self.inner.port_read_string(port, width, count)
    }

    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) -> Result<(), Stop> {
        self.count()?;
        self.inner.port_write_string(port, width, bytes)
    }

    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        self.count()?;
        self.inner.advance(by_ns)
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        self.count()?;
        self.inner.line_events()
    }

    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        self.count()?;
        self.inner.host(action)
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        self.count()?;
        self.inner.serial_output()
    }

    fn outputs(&mut self) -> Result<Vec<Output>, Stop> {
        self.count()?;
        self.inner.outputs()
    }

    fn acknowledge(&mut self, wire: Wire) -> Result<Option<u8>, Stop> {
        self.count()?;
        self.inner.acknowledge(wire)
    }

    fn refusal(&mut self, setup: &Setup) -> Result<Option<String>, Stop> {
        self.count()?;
        self.inner.refusal(setup)
    }

    fn reset(&mut self) -> Result<(), Stop> {
        self.count()?;
        self.inner.reset()
    }

    fn post_mortem(&mut self) -> String {
        self.inner.post_mortem()
    }
}

/// Accesses between two looks at the clock.
const CLOCK_EVERY: u64 = 16;
