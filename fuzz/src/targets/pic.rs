//! Target `pic`: both 8259A, and the timer, the clock and the serial port that drive their inputs.

use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::{Config, OnOffAuto};
use vmm::machine::Machine;

use crate::canary::{Canary, Look};
use crate::execution::{Answer, Fields};
use crate::target::{Record, Setup, Target, Window, no_guard, registers};

/// The target.
pub static PIC: Target = Target {
    name: "pic",
    title: "PIC: both 8259A, with timer, clock and serial port as sources",
    setups: &[Setup {
        name: "plain",
        options: "--machine microvm,rtc=on --rtc base=2020-02-28T23:59:50",
        config: || Config {
            pic: OnOffAuto::On,
            pit: OnOffAuto::On,
            rtc: OnOffAuto::On,
            isa_serial: true,
            ..registers()
        },
    }],
    setups_rare: 0,
    ports: &[
        ports(0x20, 2),
        ports(0xa0, 2),
        ports(0x4d0, 2),
        // The sources.
        ports(0x40, 4),
        ports(0x70, 2),
        ports(0x3f8, 8),
    ],
    memory: &[],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary::new("auto-eoi", "A controller ends interrupts by itself."),
        Canary::new("in-service", "The master has an interrupt in service."),
        Canary::new("intr", "INT is high."),
        Canary::new("level-triggered", "An input is level-triggered."),
        Canary::new("masked", "The master has a mask that is neither empty nor full."),
        Canary::new("polled", "A poll is pending."),
        Canary::new("rotated", "The master's lowest priority is not IR7."),
        Canary::new("slave-in-service", "The slave has an interrupt in service."),
        Canary::new("special-mask", "A controller is in special mask mode."),
    ],
    watch: || Box::new(Look(look)),
    guard: no_guard,
    areas: &["pic"],
    setup_of: |_| Some("plain"),
};

const fn ports(base: u64, count: u32) -> Window {
    Window {
        base,
        unit_bytes: 1,
        count,
    }
}

fn look(machine: &Machine, _action: &Action, _answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
    let fields = Fields::of(machine, Slot::Pic);
    let either = |name: &str| fields.is(&format!("master.{name}")) || fields.is(&format!("slave.{name}"));
    if either("auto_eoi") {
        reached("auto-eoi");
    }
    if either("poll") {
        reached("polled");
    }
    if either("special_mask") {
        reached("special-mask");
    }
    if fields.is("intr") {
        reached("intr");
    }
    if fields.number("master.isr") != 0 {
        reached("in-service");
    }
    if fields.number("slave.isr") != 0 {
        reached("slave-in-service");
    }
    if fields.number("master.elcr") | fields.number("slave.elcr") != 0 {
        reached("level-triggered");
    }
    if !matches!(fields.number("master.imr"), 0 | 0xff) {
        reached("masked");
    }
    if fields.number("master.lowest") != 7 {
        reached("rotated");
    }
}
