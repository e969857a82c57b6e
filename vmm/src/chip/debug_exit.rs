//! The debug-exit port: a guest's way to end the VMM with a status of its choice.
//!
//! Source: QEMU's `isa-debug-exit` device, as its documentation describes it: a write of `value` ends the process with
//! status `(value << 1) | 1`; reads answer all zeros.
//! Deviations: none known.

use crate::device::{Access, Ctx, Device, Event, Region};
use crate::inspect::Inspector;

/// Number of ports the device decodes, QEMU's default for `iosize`.
pub const LENGTH: u64 = 2;

/// A debug-exit port. It has no state.
#[derive(Clone, Debug)]
pub struct DebugExit {
    regions: [Region; 1],
}

impl DebugExit {
    /// A device at `port`, decoding `length` ports (1..=4).
    pub fn new(port: u16, length: u64) -> DebugExit {
        DebugExit {
            regions: [Region::dword(crate::device::Space::Port, u64::from(port), length)],
        }
    }
}

impl Device for DebugExit {
    fn name(&self) -> &'static str {
        "debug_exit"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, _at: Access, _ctx: &mut Ctx<'_>) -> u64 {
        0
    }

    fn write(&mut self, _at: Access, value: u64, ctx: &mut Ctx<'_>) {
        ctx.events.push(Event::DebugExit { value: value as u32 });
    }

    fn reset(&mut self, _ctx: &mut Ctx<'_>) {}

    fn inspect(&self, out: &mut Inspector) {
        out.hex("port", self.regions[0].base);
    }
}
