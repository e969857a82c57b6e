//! Target `serial`: the 16550A's registers, and what the host types.

use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::Config;
use vmm::machine::Machine;

use crate::canary::{Canary, Look};
use crate::execution::{Answer, Fields};
use crate::target::{Record, Setup, Target, Window, no_guard, registers};

/// The target.
pub static SERIAL: Target = Target {
    name: "serial",
    title: "Serial port: registers under virtual time, typed bytes",
    setups: &[Setup {
        name: "plain",
        options: "--machine microvm,pit=off,pic=off,rtc=off",
        config: || Config {
            isa_serial: true,
            ..registers()
        },
    }],
    setups_rare: 0,
    ports: &[Window {
        base: 0x3f8,
        unit_bytes: 1,
        count: 8,
    }],
    memory: &[],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary::new("divisor-written", "The divisor is not the one of power-on."),
        Canary::new("fifo-enabled", "The FIFOs are on."),
        Canary::new("interrupt-received", "Received data is what interrupts."),
        Canary::new("line-high", "The interrupt line is high."),
        Canary::new("loopback", "The port is in loopback."),
        Canary::new("modem-changed", "A modem input has changed and MSR says so."),
        Canary::new("overrun", "A byte was lost for want of room."),
        Canary::new("received", "A byte waits to be read."),
        Canary::new("timeout", "The character timeout is pending."),
    ],
    watch: || Box::new(Look(look)),
    guard: no_guard,
    areas: &["serial"],
    setup_of: |_| Some("plain"),
};

fn look(machine: &Machine, _action: &Action, _answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
    let fields = Fields::of(machine, Slot::Serial);
    let states = [
        ("line-high", machine.line_level(GSI)),
        ("divisor-written", fields.number("divisor") != 12),
        ("fifo-enabled", fields.number("fcr") & 1 != 0),
        ("interrupt-received", fields.number("interrupt") & 0xf == 4),
        ("loopback", fields.number("mcr") & 0x10 != 0),
        ("modem-changed", fields.number("msr") & 0xf != 0),
        ("overrun", fields.number("lsr") & 2 != 0),
        ("received", fields.number("lsr") & 1 != 0),
        ("timeout", fields.is("timeout_pending")),
    ];
    for (name, _) in states.into_iter().filter(|(_, holds)| *holds) {
        reached(name);
    }
}

const GSI: u8 = 4;
