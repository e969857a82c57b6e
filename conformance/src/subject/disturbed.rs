//! A machine that answers one question wrongly: the smallest bug there is.
//!
//! A case that passes although every single answer it got was falsified in turn has looked at nothing. The suite's own
//! test holds each case against this machine, so that no case is believed before it was seen to fail.

use crate::case::Setup;
use crate::machine::{Caps, Facts, HostAction, LineEvent, Machine, Output, Stop, Width, Wire};

/// Wraps a machine and falsifies its answer number `at`, counted from 0.
pub struct Disturbed {
    machine: Box<dyn Machine>,
    at: u64,
    mask: u64,
    answers: u64,
}

impl Disturbed {
    /// Answers as `machine` does, but for one answer, whose bits in `mask` are inverted; bytes of a bulk answer are
    /// inverted by the mask's low byte.
    pub fn new(machine: Box<dyn Machine>, at: u64, mask: u64) -> Disturbed {
        Disturbed {
            machine,
            at,
            mask,
            answers: 0,
        }
    }

    /// Answers given so far.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    fn mask_now(&mut self) -> u64 {
        self.answers += 1;
        if self.answers - 1 == self.at { self.mask } else { 0 }
    }

    fn disturb(&mut self, bytes: &mut [u8]) {
        let mask = self.mask_now() as u8;
        bytes.iter_mut().for_each(|byte| *byte ^= mask);
    }
}

impl Machine for Disturbed {
    fn caps(&self) -> Caps {
        self.machine.caps()
    }

    fn facts(&self) -> &Facts {
        self.machine.facts()
    }

    fn port_read(&mut self, port: u16, width: Width) -> Result<u32, Stop> {
        let value = self.machine.port_read(port, width)?;
        Ok(value ^ (self.mask_now() & width.mask()) as u32)
    }

    fn port_write(&mut self, port: u16, width: Width, value: u32) -> Result<(), Stop> {
        self.machine.port_write(port, width, value)
    }

    fn load(&mut self, gpa: u64, width: Width) -> Result<u64, Stop> {
        let value = self.machine.load(gpa, width)?;
        Ok(value ^ (self.mask_now() & width.mask()))
    }

    fn store(&mut self, gpa: u64, width: Width, value: u64) -> Result<(), Stop> {
        self.machine.store(gpa, width, value)
    }

    fn read_memory(&mut self, gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        self.machine.read_memory(gpa, into)?;
        self.disturb(into);
        Ok(())
    }

    fn write_memory(&mut self, gpa: u64, from: &[u8]) -> Result<(), Stop> {
        self.machine.write_memory(gpa, from)
    }

    fn port_read_string(&mut self, port: u16, width: Width, count: u16) -> Result<Vec<u8>, Stop> {
        let mut bytes = self.machine.port_read_string(port, width, count)?;
        self.disturb(&mut bytes);
        Ok(bytes)
    }

    fn port_write_string(&mut self, port: u16, width: Width, bytes: &[u8]) -> Result<(), Stop> {
        self.machine.port_write_string(port, width, bytes)
    }

    fn advance(&mut self, by_ns: u64) -> Result<(), Stop> {
        self.machine.advance(by_ns)
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        let mut events = self.machine.line_events()?;
        if self.mask_now() != 0 {
            events.pop();
        }
        Ok(events)
    }

    fn host(&mut self, action: &HostAction) -> Result<(), Stop> {
        self.machine.host(action)
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        let mut bytes = self.machine.serial_output()?;
        self.disturb(&mut bytes);
        Ok(bytes)
    }

    fn outputs(&mut self) -> Result<Vec<Output>, Stop> {
        let mut outputs = self.machine.outputs()?;
        if self.mask_now() != 0 {
            outputs.pop();
        }
        Ok(outputs)
    }

    fn acknowledge(&mut self, wire: Wire) -> Result<Option<u8>, Stop> {
        let vector = self.machine.acknowledge(wire)?;
        let mask = self.mask_now() as u8;
        Ok(vector.map(|vector| vector ^ mask))
    }

    fn refusal(&mut self, setup: &Setup) -> Result<Option<String>, Stop> {
        let refusal = self.machine.refusal(setup)?;
        let is_disturbed = self.mask_now() != 0;
        Ok(refusal.filter(|_| !is_disturbed))
    }

    fn reset(&mut self) -> Result<(), Stop> {
        self.machine.reset()
    }
}
