//! Ways to reset a machine that a guest may try: the image `reset` tries one, and what became of the machine is judged.
//!
//! A VMM is started so that a reset ends it. What a reset does to devices and memory is shown at depth bus, where the
//! machine can be looked at behind it.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{i8042, microvm, sdm};
use crate::driver::ktap;
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::ABSENT_PORTS,
    level: Level::Must,
    features: &[],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: reset(goes_on),
};

const fn reset(judge: fn(&mut Probe<'_>) -> Result<(), Stop>) -> Body {
    Body::Guest { image: "reset", judge }
}

const fn told(way: &'static str) -> Setup {
    Setup {
        append: Some(way),
        ..Setup::DEFAULT
    }
}

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "reset/keyboard-controller/pulse",
        title: "The keyboard controller's command 0xfe resets the machine.",
        clause: &i8042::PULSE,
        features: &[Feature::I8042],
        setup: told("reset=0x64:0xfe"),
        body: reset(ends),
        ..AREA
    },
    Case {
        id: "reset/port-0x92/nothing",
        title: "A byte for port 0x92, where a PC has a fast reset, does nothing.",
        setup: told("reset=0x92:0x01"),
        ..AREA
    },
    Case {
        id: "reset/port-0xcf9/nothing",
        title: "A byte for port 0xcf9, where a PC with PCI has its reset control, does nothing.",
        setup: told("reset=0xcf9:0x06"),
        ..AREA
    },
    Case {
        id: "reset/triple-fault/ends",
        title: "A fault that cannot be delivered shuts the CPU down, and that resets the machine.",
        clause: &sdm::SHUTDOWN,
        setup: told("reset=triple-fault"),
        body: reset(ends),
        ..AREA
    },
];

/// The machine ended by itself, and not because the image said so.
fn ends(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = ktap::judged(p, "told")?;
    p.check("report", report.ended, report.end(), "a report with its last line");
    let runs = report.facts("still-running").next().is_some();
    p.check("behind the reset", !runs, "the guest ran on", "nothing");
    // An exit by the debug device has a status that says so.
    let exit = report
        .facts("host")
        .find_map(|fact| fact.text("exit"))
        .unwrap_or("none")
        .to_owned();
    p.check("exit code of the VMM", exit == "0", exit, "0");
    p.check_eq("boots", report.starts, 1_u64);
    Ok(())
}

/// The machine went on until the image ended it.
fn goes_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    let report = ktap::judged(p, "told")?;
    let runs = report.facts("still-running").next().is_some();
    p.check("behind the write", runs, "the guest did not go on", "the guest goes on");
    p.check_eq("boots", report.starts, 1_u64);
    Ok(())
}
