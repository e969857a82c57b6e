//! Target `rtc`: index and data port of the clock, under virtual time.

use conformance::machine::Width;
use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::{Config, OnOffAuto};

use crate::canary::{Canary, Look};
use crate::execution::{Answer, Fields};
use crate::target::{Record, Setup, Target, Window, no_guard, registers};

/// The target.
pub static RTC: Target = Target {
    name: "rtc",
    title: "RTC: index and data port under virtual time",
    setups: &[Setup {
        name: "plain",
        options: "--machine microvm,pit=off,pic=off,rtc=on,isa-serial=off --rtc base=2020-02-28T23:59:50",
        config: || Config {
            rtc: OnOffAuto::On,
            ..registers()
        },
    }],
    setups_rare: 0,
    ports: &[Window {
        base: 0x70,
        unit_bytes: 1,
        count: 2,
    }],
    memory: &[],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary::new("alarm", "Register C was read with AF set."),
        Canary::new("binary", "The time is in binary."),
        Canary::new("cmos-written", "A byte of the memory behind the registers was written."),
        Canary::new("line-high", "The interrupt line went high."),
        Canary::new("periodic", "Register C was read with PF set."),
        Canary::new("set-held", "SET stops the updates."),
        Canary::new("twelve-hours", "The hours count to 12."),
        Canary::new("update-ended", "Register C was read with UF set."),
        Canary::new("update-in-progress", "Register A was read with UIP set."),
    ],
    watch: || Box::new(Look(look)),
    guard: no_guard,
    areas: &["rtc", "cmos"],
    setup_of: |_| Some("plain"),
};

fn look(machine: &vmm::machine::Machine, action: &Action, answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
    let fields = Fields::of(machine, Slot::Rtc);
    let (index, register_b) = (fields.number("index"), fields.number("register_b"));
    if machine.line_level(GSI) {
        reached("line-high");
    }
    if register_b & 0x80 != 0 {
        reached("set-held");
    }
    if register_b & 0x04 != 0 {
        reached("binary");
    }
    if register_b & 0x02 == 0 {
        reached("twelve-hours");
    }
    match (action, answer) {
        (Action::PortWrite { port: DATA, .. }, _) if 0x0e <= index => reached("cmos-written"),
        (
            Action::PortRead {
                port: DATA,
                width: Width::Byte,
            },
            Answer::Value(value),
        ) => {
            if index == 0x0a && value & 0x80 != 0 {
                reached("update-in-progress");
            }
            let flags = [(0x10, "update-ended"), (0x20, "alarm"), (0x40, "periodic")];
            for (flag, name) in flags {
                if index == 0x0c && value & flag != 0 {
                    reached(name);
                }
            }
        }
        _ => {}
    }
}

const DATA: u16 = 0x71;
const GSI: u8 = 8;
