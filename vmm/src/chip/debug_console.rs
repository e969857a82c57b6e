//! The debug console: a port whose written bytes a developer of firmware reads on the host.
//!
//! Source: QEMU's `isa-debugcon` device, as its documentation describes it, at the port where SeaBIOS looks for it; a
//! read answers 0xe9, by which a firmware finds it. It exists only when the user asks for it.
//! Deviations: none known.

use crate::device::{Access, Ctx, Device, Event, Region, Space};
use crate::inspect::Inspector;
use crate::units::Width;

/// The port that firmwares print to.
pub const PORT: u16 = 0x402;

/// A debug console. It has no state.
#[derive(Clone, Debug)]
pub struct DebugConsole {
    regions: [Region; 1],
}

impl DebugConsole {
    /// A device that decodes the one port `port`.
    pub fn new(port: u16) -> DebugConsole {
        DebugConsole {
            regions: [Region {
                space: Space::Port,
                base: u64::from(port),
                length: 1,
                accepts: Width::Byte,
                piece: Width::Byte,
            }],
        }
    }
}

impl Device for DebugConsole {
    fn name(&self) -> &'static str {
        "debug_console"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, _at: Access, _ctx: &mut Ctx<'_>) -> u64 {
        PRESENT
    }

    fn write(&mut self, _at: Access, value: u64, ctx: &mut Ctx<'_>) {
        ctx.events.push(Event::DebugOut(value as u8));
    }

    fn reset(&mut self, _ctx: &mut Ctx<'_>) {}

    fn inspect(&self, out: &mut Inspector) {
        out.hex("port", self.regions[0].base);
    }
}

/// What a read answers.
const PRESENT: u64 = 0xe9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::laws::check_laws;

    #[test]
    fn laws_hold() {
        check_laws(|| DebugConsole::new(PORT));
    }
}
