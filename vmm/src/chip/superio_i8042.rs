//! The keyboard controller of profile `rust-vmm`: crate vm-superio's `I8042Device`, which knows one command, the reset.
//!
//! Source: vm-superio 0.8.2, `i8042.rs`; at the ports that Firecracker gives its own (`device_manager/legacy.rs`: five
//! from 0x60 on).
//!
//! Deviations: all of them the crate's, from the controller of the IBM PC AT: only 0xfe of the commands that pulse the
//! reset line resets; every other command is ignored, so that there is no self-test, no command byte, no output port;
//! all five ports read 0, those between data and status too.
//!
//! Laws: nothing of it has state or depends on time.

use std::cell::Cell;
use std::convert::Infallible;

use vm_superio::{I8042Device, Trigger};

use crate::device::{Access, Ctx, Device, Event, Region};
use crate::inspect::Inspector;

/// First port: data. The status and command port lies four further.
pub const PORT: u16 = 0x60;

/// Number of ports from data to status.
pub const LENGTH: u64 = 5;

/// vm-superio's keyboard controller. A reset that the guest asks for comes as [`Event::Reset`].
#[derive(Debug)]
pub struct SuperioI8042 {
    regions: [Region; 1],
    controller: I8042Device<ResetLine>,
}

/// Notes that the controller pulsed the reset line.
#[derive(Debug, Default)]
struct ResetLine(Cell<bool>);

impl SuperioI8042 {
    /// A controller at power-on.
    pub fn new() -> SuperioI8042 {
        SuperioI8042 {
            regions: [Region::byte_ports(PORT, LENGTH)],
            controller: I8042Device::new(ResetLine::default()),
        }
    }
}

impl Device for SuperioI8042 {
    fn name(&self) -> &'static str {
        "i8042"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, _ctx: &mut Ctx<'_>) -> u64 {
        u64::from(self.controller.read(at.offset as u8))
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        // The trigger is memory of ours and never fails.
        let _never_fails = self.controller.write(at.offset as u8, value as u8);
        if self.controller.reset_evt().0.take() {
            ctx.events.push(Event::Reset);
        }
    }

    fn reset(&mut self, _ctx: &mut Ctx<'_>) {}

    fn inspect(&self, out: &mut Inspector) {
        out.hex("port", self.regions[0].base);
    }
}

impl Trigger for ResetLine {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.set(true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::laws::{Bench, check_laws};

    #[test]
    fn laws_hold() {
        check_laws(SuperioI8042::new);
    }

    #[test]
    fn reset_command_is_an_event_and_nothing_else_is() {
        let mut bench = Bench::new(SuperioI8042::new());
        for port in 0x60..=0x64 {
            for value in 0..=0xff {
                bench.outb(port, value);
                let want: &[Event] = if (port, value) == (0x64, 0xfe) {
                    &[Event::Reset]
                } else {
                    &[]
                };
                assert_eq!(bench.take_events(), want, "{value:#x} to port {port:#x}");
            }
        }
    }
}
