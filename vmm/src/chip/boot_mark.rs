//! The boot-mark port: a guest notes how far it has come, and the VMM the time of it.
//!
//! Source: none beside custom; a port that takes one byte a mark, as firmwares and guests of other VMMs use for
//! boot-time measurements. It exists only when the user asks for it.
//! Deviations: none known.

use crate::device::{Access, Ctx, Device, Event, Region};
use crate::inspect::Inspector;

/// A boot-mark port. It has no state.
#[derive(Clone, Debug)]
pub struct BootMark {
    regions: [Region; 1],
}

impl BootMark {
    /// A device that decodes the one port `port`.
    pub fn new(port: u16) -> BootMark {
        BootMark {
            regions: [Region::byte_ports(port, 1)],
        }
    }
}

impl Device for BootMark {
    fn name(&self) -> &'static str {
        "boot_mark"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// All ones, as where nobody is: a guest cannot tell whether its marks are wanted.
    fn read(&mut self, _at: Access, _ctx: &mut Ctx<'_>) -> u64 {
        u64::MAX
    }

    fn write(&mut self, _at: Access, value: u64, ctx: &mut Ctx<'_>) {
        ctx.events.push(Event::BootMark { mark: value as u8 });
    }

    fn reset(&mut self, _ctx: &mut Ctx<'_>) {}

    fn inspect(&self, out: &mut Inspector) {
        out.hex("port", self.regions[0].base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::laws::check_laws;

    #[test]
    fn laws_hold() {
        check_laws(|| BootMark::new(0x3f0));
    }
}
