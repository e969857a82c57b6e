//! A subject without a machine: all reads give all ones and nothing ever happens. It tests the suite: no Must may pass.

use crate::case::Setup;
use crate::layout::Layout;
use crate::machine::{
    Adapter, BootFailure, Caps, Depth, Facts, HostAction, LineEvent, Machine, Output, Stop, Width, Wire,
};

/// Starts nothing.
pub struct NullAdapter;

impl Adapter for NullAdapter {
    fn depth(&self) -> Depth {
        Depth::Bus
    }

    fn caps(&self) -> Caps {
        ALL_CAPS
    }

    fn boot(&self, setup: &Setup, _layout: &Layout) -> Result<Box<dyn Machine>, BootFailure> {
        let facts = Facts {
            append: setup.append.map(str::to_owned),
            kernel_entry: super::kernel::entry_of_setup(setup),
            ..Facts::default()
        };
        Ok(Box::new(NullMachine { facts }))
    }
}

struct NullMachine {
    facts: Facts,
}

impl Machine for NullMachine {
    fn caps(&self) -> Caps {
        ALL_CAPS
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn port_read(&mut self, _port: u16, width: Width) -> Result<u32, Stop> {
        Ok(width.mask() as u32)
    }

    fn port_write(&mut self, _port: u16, _width: Width, _value: u32) -> Result<(), Stop> {
        Ok(())
    }

    fn load(&mut self, _gpa: u64, width: Width) -> Result<u64, Stop> {
        Ok(width.mask())
    }

    fn store(&mut self, _gpa: u64, _width: Width, _value: u64) -> Result<(), Stop> {
        Ok(())
    }

    fn read_memory(&mut self, _gpa: u64, into: &mut [u8]) -> Result<(), Stop> {
        into.fill(0xff);
        Ok(())
    }

    fn write_memory(&mut self, _gpa: u64, _from: &[u8]) -> Result<(), Stop> {
        Ok(())
    }

    fn port_read_string(&mut self, _port: u16, width: Width, count: u16) -> Result<Vec<u8>, Stop> {
        Ok(vec![0xff; width.bytes() * usize::from(count)])
    }

    fn port_write_string(&mut self, _port: u16, _width: Width, _bytes: &[u8]) -> Result<(), Stop> {
        Ok(())
    }

    fn advance(&mut self, _by_ns: u64) -> Result<(), Stop> {
        Ok(())
    }

    fn line_events(&mut self) -> Result<Vec<LineEvent>, Stop> {
        Ok(Vec::new())
    }

    fn host(&mut self, _action: &HostAction) -> Result<(), Stop> {
        Ok(())
    }

    fn serial_output(&mut self) -> Result<Vec<u8>, Stop> {
        Ok(Vec::new())
    }

    fn outputs(&mut self) -> Result<Vec<Output>, Stop> {
        Ok(Vec::new())
    }

    fn acknowledge(&mut self, _wire: Wire) -> Result<Option<u8>, Stop> {
        Ok(None)
    }

    fn refusal(&mut self, _setup: &Setup) -> Result<Option<String>, Stop> {
        Ok(None)
    }

    fn reset(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

/// It claims everything, so that no case escapes as unsupported.
const ALL_CAPS: Caps = Caps((1 << Caps::NAMED.len()) - 1);
