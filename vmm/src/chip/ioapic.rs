//! The IOAPIC: 24 interrupt inputs turned into messages to the local APICs.
//!
//! Source: Intel 82093AA I/O Advanced Programmable Interrupt Controller, "Register Description"; the version register
//! and the EOI register are those of its successors (Intel 82801 ICH, "I/O APIC"), as the machine model has them:
//! version 0x20, 24 pins, decoded on the low 8 address bits throughout 4 KiB, GSI 0 wired to pin 2.
//!
//! Deviations:
//! - Every message is accepted at once, so Delivery Status (bit 12) always reads idle and Arbitration ID equals the ID.
//! - Input pin polarity (bit 13) is kept and read back, but a line is asserted or not: no active-low wire is modelled.
//! - Reserved bits 17..=55 of a redirection entry are kept and read back, as the machine model has it.
//! - ExtINT sends a message with delivery mode 7; who routes messages turns it into an INTA cycle of the 8259 and
//!   delivers the vector that comes back (see [`is_extint`]). The local APIC does this on a board.
//! - SMI, NMI, INIT and ExtINT are edge-triggered whatever bit 15 says: the data sheet requires edge for them and
//!   treats NMI and INIT as edge "even if programmed as level". QEMU honours bit 15.
//! - A pin that is high when its entry turns level-triggered and unmasked interrupts at once, as level means. QEMU
//!   forgets the level of a pin that rose while its entry was edge-triggered.
//! - After [`REDELIVERIES_MAX`] deliveries in a row at EOI the next waits [`STORM_PAUSE`], so that a guest whose
//!   handler never quiets the device still gets some work done. No data sheet has it; the machine model does.

use crate::device::{Access, Ctx, Device, Event, Region, Space};
use crate::inspect::Inspector;
use crate::irq::GSI_COUNT;
use crate::units::{Nanos, Width};

/// Where the registers are on this machine.
pub const BASE: u64 = 0xfec0_0000;

/// Number of addresses decoded; the registers repeat every 256 bytes.
pub const LENGTH: u64 = 0x1000;

/// Number of input pins, each with its redirection entry.
pub const PIN_COUNT: usize = 24;

/// Deliveries of a level-triggered pin, each directly at the EOI of the one before, until the pin is made to pause.
pub const REDELIVERIES_MAX: u32 = 10_000;

/// How long a pin that reached [`REDELIVERIES_MAX`] pauses.
pub const STORM_PAUSE: Nanos = Nanos(10_000_000);

/// The IOAPIC.
#[derive(Clone, Debug)]
pub struct Ioapic {
    // Configuration, fixed at construction.
    regions: [Region; 1],
    // State, all of it.
    state: State,
}

/// The whole device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    register_select: u8,
    id: u8,
    redirection: [u64; PIN_COUNT],
    /// Levels of the GSIs, one bit each.
    inputs: u32,
    /// Deliveries in a row at EOI, for each pin.
    redeliveries: [u32; PIN_COUNT],
    /// When the pause of a pin that reached the limit ends.
    resume: Option<Nanos>,
}

/// Where one pin's message goes: what a PCI device would write, and what `KVM_SET_GSI_ROUTING` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// 0xfee00000 plus destination (bits 12..=19) and logical destination mode (bit 2).
    pub address: u64,
    /// Vector (bits 0..=7), delivery mode (bits 8..=10), and for level-triggered pins assert and level (bits 14, 15).
    pub data: u32,
    /// Whether the pin is masked. A kernel that watches for EOIs must know of masked entries too: the EOI of an
    /// interrupt that was delivered before its pin was masked still has to come back.
    pub masked: bool,
}

impl Ioapic {
    /// An IOAPIC after power-on: every pin masked.
    pub fn new() -> Ioapic {
        Ioapic {
            regions: [Region::dword(Space::Mmio, BASE, LENGTH)],
            state: State::POWER_ON,
        }
    }

    /// The state, for comparison.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The routes of the 24 pins, pin 0 first. Pin 2 is the one that GSI 0 reaches; nothing reaches pin 0.
    pub fn routes(&self) -> [Route; PIN_COUNT] {
        self.state.redirection.map(Route::of)
    }

    /// An EOI for `vector` arrived, broadcast by a local APIC or written to the EOI register: every level-triggered
    /// entry with this vector may interrupt again, and does so at once where its pin is still asserted.
    pub fn eoi(&mut self, vector: u8, ctx: &mut Ctx<'_>) {
        for pin in 0..PIN_COUNT {
            let entry = self.state.redirection[pin];
            if entry & reg::REMOTE_IRR == 0 || (entry & reg::INTVEC) as u8 != vector {
                continue;
            }
            self.state.redirection[pin] &= !reg::REMOTE_IRR;
            if entry & reg::INTERRUPT_MASK != 0 || !self.state.pin(pin) {
                self.state.redeliveries[pin] = 0;
                continue;
            }
            self.state.redeliveries[pin] += 1;
            if self.state.redeliveries[pin] < REDELIVERIES_MAX {
                self.service(ctx);
            } else {
                self.state.redeliveries[pin] = 0;
                let resume = ctx.now.saturating_add(STORM_PAUSE);
                self.state.resume = Some(self.state.resume.map_or(resume, |due| due.min(resume)));
            }
        }
    }

    fn read_window(&self) -> u32 {
        let state = &self.state;
        match state.register_select {
            reg::IOAPICID | reg::IOAPICARB => u32::from(state.id) << reg::ID_SHIFT,
            reg::IOAPICVER => reg::VERSION | (PIN_COUNT as u32 - 1) << reg::MAXIMUM_REDIRECTION_ENTRY_SHIFT,
            select => match entry_at(select) {
                Some((pin, false)) => state.redirection[pin] as u32,
                Some((pin, true)) => (state.redirection[pin] >> 32) as u32,
                // Registers between and after the documented ones.
                None => 0,
            },
        }
    }

    fn write_window(&mut self, value: u32, ctx: &mut Ctx<'_>) {
        let state = &mut self.state;
        if state.register_select == reg::IOAPICID {
            state.id = (value >> reg::ID_SHIFT) as u8 & reg::ID_MASK;
            return;
        }
        // The version and arbitration registers are read-only, and so is what is no register.
        let Some((pin, high)) = entry_at(state.register_select) else {
            return;
        };
        let before = state.redirection[pin];
        let written = if high {
            before & 0xffff_ffff | u64::from(value) << 32
        } else {
            before & !0xffff_ffff | u64::from(value)
        };
        let mut entry = written & !reg::READ_ONLY | before & reg::READ_ONLY;
        if !is_level(entry) {
            // Software that lost track of an EOI gets the entry going again by a detour through edge mode.
            entry &= !reg::REMOTE_IRR;
        }
        state.redirection[pin] = entry;
        state.redeliveries[pin] = 0;
        self.service(ctx);
    }

    /// Delivers every level-triggered pin that is asserted, unmasked and not in service. Edges are delivered as they
    /// happen and never wait.
    fn service(&mut self, ctx: &mut Ctx<'_>) {
        for pin in 0..PIN_COUNT {
            let entry = self.state.redirection[pin];
            if is_level(entry) && entry & (reg::INTERRUPT_MASK | reg::REMOTE_IRR) == 0 && self.state.pin(pin) {
                self.state.redirection[pin] |= reg::REMOTE_IRR;
                ctx.events.push(message(entry));
            }
        }
    }
}

impl Device for Ioapic {
    fn name(&self) -> &'static str {
        "ioapic"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, _ctx: &mut Ctx<'_>) -> u64 {
        match (at.offset & reg::OFFSET_MASK, at.width) {
            (reg::IOREGSEL, _) => u64::from(self.state.register_select),
            // The window answers double words only.
            (reg::IOWIN, Width::Dword) => u64::from(self.read_window()),
            _ => 0,
        }
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        match (at.offset & reg::OFFSET_MASK, at.width) {
            (reg::IOREGSEL, _) => self.state.register_select = value as u8,
            (reg::IOWIN, Width::Dword) => self.write_window(value as u32, ctx),
            // Bits 8..=31 are reserved; only the vector counts.
            (reg::EOI, Width::Dword) => self.eoi(value as u8, ctx),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Nanos> {
        self.state.resume
    }

    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        if self.state.resume.is_some_and(|resume| resume <= ctx.now) {
            self.state.resume = None;
            self.service(ctx);
        }
    }

    fn inputs(&self) -> &[u8] {
        &INPUTS
    }

    fn line(&mut self, gsi: u8, level: bool, ctx: &mut Ctx<'_>) {
        if GSI_COUNT <= gsi {
            return;
        }
        let pin = if gsi == 0 { GSI_0_PIN } else { usize::from(gsi) };
        let before = self.state.pin(pin);
        self.state.inputs = self.state.inputs & !(1 << gsi) | u32::from(level) << gsi;
        if before || !self.state.pin(pin) {
            return;
        }
        let entry = self.state.redirection[pin];
        if is_level(entry) {
            self.service(ctx);
        } else if entry & reg::INTERRUPT_MASK == 0 {
            ctx.events.push(message(entry));
        }
    }

    fn reset(&mut self, ctx: &mut Ctx<'_>) {
        // A line that some device still drives stays an asserted pin.
        let asserted = INPUTS.iter().filter(|&&gsi| ctx.lines.level(gsi));
        self.state = State {
            inputs: asserted.fold(0, |inputs, &gsi| inputs | 1 << gsi),
            ..State::POWER_ON
        };
    }

    fn inspect(&self, out: &mut Inspector) {
        let state = &self.state;
        out.hex("ioregsel", state.register_select);
        out.hex("id", state.id);
        out.hex("inputs", state.inputs);
        for (pin, &entry) in state.redirection.iter().enumerate() {
            out.text(&format!("redirection_{pin:02}"), format_args!("{entry:#018x}"));
        }
        for (pin, &count) in state.redeliveries.iter().enumerate().filter(|(_, count)| **count != 0) {
            out.text(&format!("redeliveries_{pin:02}"), count);
        }
        if let Some(resume) = state.resume {
            out.text("resume", resume);
        }
    }
}

impl State {
    const POWER_ON: State = State {
        register_select: 0,
        id: 0,
        redirection: [reg::INTERRUPT_MASK; PIN_COUNT],
        inputs: 0,
        redeliveries: [0; PIN_COUNT],
        resume: None,
    };

    /// Whether a pin is asserted. GSI 0 and GSI 2 share pin 2, and pin 0 is not connected.
    fn pin(&self, pin: usize) -> bool {
        match pin {
            0 => false,
            GSI_0_PIN => self.inputs & (1 | 1 << GSI_0_PIN) != 0,
            _ => self.inputs & 1 << pin != 0,
        }
    }
}

impl Route {
    fn of(entry: u64) -> Route {
        let destination = entry >> reg::DESTINATION_SHIFT;
        let logical = u64::from(entry & reg::DESTMOD != 0);
        let trigger = if is_level(entry) { MSI_ASSERT | MSI_LEVEL } else { 0 };
        Route {
            address: MSI_ADDRESS | destination << MSI_DESTINATION_SHIFT | logical << MSI_LOGICAL_SHIFT,
            data: (entry & (reg::INTVEC | reg::DELMOD)) as u32 | trigger,
            masked: entry & reg::INTERRUPT_MASK != 0,
        }
    }
}

/// Whether a message's `data` asks for an INTA cycle of the 8259, whose vector then counts instead of `data`'s.
pub fn is_extint(data: u32) -> bool {
    u64::from(data) & reg::DELMOD == reg::DELMOD_EXTINT
}

fn message(entry: u64) -> Event {
    let Route { address, data, .. } = Route::of(entry);
    Event::Msi { address, data }
}

/// Whether an entry is level-triggered: only Fixed and Lowest Priority can be.
fn is_level(entry: u64) -> bool {
    let may_be_level = matches!(entry & reg::DELMOD, reg::DELMOD_FIXED | reg::DELMOD_LOWEST_PRIORITY);
    may_be_level && entry & reg::TRIGGER_MODE != 0
}

/// The pin of a redirection register and whether it is the register's high half.
fn entry_at(select: u8) -> Option<(usize, bool)> {
    let index = usize::from(select.checked_sub(reg::IOREDTBL)?);
    (index / 2 < PIN_COUNT).then_some((index / 2, index % 2 == 1))
}

const INPUTS: [u8; PIN_COUNT] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
];

/// The pin that GSI 0, the timer, is wired to.
const GSI_0_PIN: usize = 2;

// Message format: Intel SDM volume 3, "Message Signalled Interrupts".
const MSI_ADDRESS: u64 = 0xfee0_0000;
const MSI_LOGICAL_SHIFT: u32 = 2;
const MSI_DESTINATION_SHIFT: u32 = 12;
const MSI_ASSERT: u32 = 1 << 14;
const MSI_LEVEL: u32 = 1 << 15;

/// Registers and bits, named as in the 82093AA data sheet.
mod reg {
    /// The address bits that are decoded.
    pub(super) const OFFSET_MASK: u64 = 0xff;

    // Memory-mapped registers.
    pub(super) const IOREGSEL: u64 = 0x00;
    pub(super) const IOWIN: u64 = 0x10;
    /// 82801: End Of Interrupt.
    pub(super) const EOI: u64 = 0x40;

    // Registers behind the window.
    pub(super) const IOAPICID: u8 = 0x00;
    pub(super) const IOAPICVER: u8 = 0x01;
    pub(super) const IOAPICARB: u8 = 0x02;
    pub(super) const IOREDTBL: u8 = 0x10;

    pub(super) const ID_SHIFT: u32 = 24;
    pub(super) const ID_MASK: u8 = 0x0f;
    pub(super) const VERSION: u32 = 0x20;
    pub(super) const MAXIMUM_REDIRECTION_ENTRY_SHIFT: u32 = 16;

    // A redirection entry.
    pub(super) const INTVEC: u64 = 0xff;
    pub(super) const DELMOD: u64 = 7 << 8;
    pub(super) const DELMOD_FIXED: u64 = 0 << 8;
    pub(super) const DELMOD_LOWEST_PRIORITY: u64 = 1 << 8;
    pub(super) const DELMOD_EXTINT: u64 = 7 << 8;
    pub(super) const DESTMOD: u64 = 1 << 11;
    pub(super) const DELIVS: u64 = 1 << 12;
    pub(super) const REMOTE_IRR: u64 = 1 << 14;
    pub(super) const TRIGGER_MODE: u64 = 1 << 15;
    pub(super) const INTERRUPT_MASK: u64 = 1 << 16;
    pub(super) const DESTINATION_SHIFT: u32 = 56;
    pub(super) const READ_ONLY: u64 = DELIVS | REMOTE_IRR;
}

#[cfg(test)]
mod tests;
