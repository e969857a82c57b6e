//! Target `pit`: the three counters and the control word, under virtual time.

use conformance::program::Action;
use vmm::board::Slot;
use vmm::board::config::{Config, OnOffAuto};
use vmm::machine::Machine;

use crate::canary::{Canary, Look};
use crate::execution::{Answer, Fields};
use crate::target::{Record, Setup, Target, Window, no_guard, registers};

/// The target.
pub static PIT: Target = Target {
    name: "pit",
    title: "PIT: three counters under virtual time",
    setups: &[Setup {
        name: "plain",
        options: "--machine microvm,pit=on,pic=off,rtc=off,isa-serial=off",
        config: || Config {
            pit: OnOffAuto::On,
            ..registers()
        },
    }],
    setups_rare: 0,
    ports: &[Window {
        base: 0x40,
        unit_bytes: 1,
        count: 4,
    }],
    memory: &[],
    record: Record::SplitDescriptor,
    canaries: &[
        Canary::new("bcd", "A counter counts in BCD."),
        Canary::new("count-half-written", "One byte of a 16-bit count was written."),
        Canary::new("count-latched", "A count is latched."),
        Canary::new("count-loaded", "Counter 0 has a count of the guest's."),
        Canary::new("line-high", "Counter 0's OUT is high."),
        Canary::new("line-low", "Counter 0's OUT is low."),
        Canary::new("one-shot", "Counter 0 is in mode 0."),
        Canary::new("rate-generator", "Counter 0 is in mode 2."),
        Canary::new("status-latched", "A status is latched."),
    ],
    watch: || Box::new(Look(look)),
    guard: no_guard,
    areas: &["pit"],
    setup_of: |_| Some("plain"),
};

fn look(machine: &Machine, _action: &Action, _answer: &Answer, reached: &mut dyn FnMut(&'static str)) {
    reached(if machine.line_level(GSI) {
        "line-high"
    } else {
        "line-low"
    });
    let fields = Fields::of(machine, Slot::Pit);
    for counter in ["counter_0", "counter_1", "counter_2"] {
        if fields.is(&format!("{counter}.bcd")) {
            reached("bcd");
        }
        for (field, name) in [
            ("written_low", "count-half-written"),
            ("latched_count", "count-latched"),
            ("latched_status", "status-latched"),
        ] {
            if !fields.text(&format!("{counter}.{field}")).is_empty() {
                reached(name);
            }
        }
    }
    match fields.text("counter_0.mode") {
        "0" => reached("one-shot"),
        "2" => reached("rate-generator"),
        _ => {}
    }
    if fields.number("counter_0.count") != 0x1_0000 {
        reached("count-loaded");
    }
}

const GSI: u8 = 0;
