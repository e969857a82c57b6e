//! Target `ioapic`: the register window, and the timer and the serial port that drive its pins.

use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::{Config, OnOffAuto};
use vmm::machine::Machine;

use crate::canary::{Canary, Look};
use crate::execution::{Answer, Fields};
use crate::target::{Record, Setup, Target, Window, no_guard, registers};

/// The target.
pub static IOAPIC: Target = Target {
    name: "ioapic",
    title: "IOAPIC: registers, with timer and serial port as sources",
    setups: &[Setup {
        name: "plain",
        options: "--machine microvm,pic=off,rtc=off",
        config: || Config {
            pit: OnOffAuto::On,
            isa_serial: true,
            ..registers()
        },
    }],
    setups_rare: 0,
    // The sources.
    ports: &[
        Window {
            base: 0x3f8,
            unit_bytes: 1,
            count: 8,
        },
        Window {
            base: 0x40,
            unit_bytes: 1,
            count: 4,
        },
    ],
    memory: &[
        // IOREGSEL, IOWIN, and the EOI register that later chips have.
        Window {
            base: BASE,
            unit_bytes: 16,
            count: 5,
        },
        Window {
            base: BASE,
            unit_bytes: 1,
            count: 0x100,
        },
    ],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary::new("destination", "An entry has a destination."),
        Canary::new("edge-unmasked", "An edge-triggered entry is unmasked."),
        Canary::new("id-changed", "The guest gave the IOAPIC an ID."),
        Canary::new("level-unmasked", "A level-triggered entry is unmasked."),
        Canary::new("logical", "An entry has a logical destination."),
        Canary::new("redelivered", "An EOI delivered an asserted pin again."),
        Canary::new("remote-irr", "A level-triggered interrupt is in service."),
    ],
    watch: || Box::new(Look(look)),
    guard: no_guard,
    areas: &["ioapic"],
    setup_of: |_| Some("plain"),
};

fn look(machine: &Machine, _action: &Action, _answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
    let fields = Fields::of(machine, Slot::Ioapic);
    if fields.number("id") != 0 {
        reached("id-changed");
    }
    for pin in 0..24 {
        let entry = fields.number(&format!("redirection_{pin:02}"));
        if entry >> 56 != 0 {
            reached("destination");
        }
        if entry & entry::DESTMOD != 0 {
            reached("logical");
        }
        if entry & entry::REMOTE_IRR != 0 {
            reached("remote-irr");
        }
        if entry & entry::INTERRUPT_MASK == 0 {
            let level = entry & entry::TRIGGER_MODE != 0;
            reached(if level { "level-unmasked" } else { "edge-unmasked" });
        }
        if fields.number(&format!("redeliveries_{pin:02}")) != 0 {
            reached("redelivered");
        }
    }
}

const BASE: u64 = 0xfec0_0000;

/// Bits of a redirection entry. 82093AA, 3.2.4.
mod entry {
    pub(super) const DESTMOD: u64 = 1 << 11;
    pub(super) const REMOTE_IRR: u64 = 1 << 14;
    pub(super) const TRIGGER_MODE: u64 = 1 << 15;
    pub(super) const INTERRUPT_MASK: u64 = 1 << 16;
}
