//! Boot probe without an operating system: looks at all that a microvm shows its guest, and reports it as KTAP.
//!
//! What is right on every machine gets a verdict here; what depends on the profile is printed as facts, and whoever
//! reads the report judges them. README.md of the package has the grammar of both.
#![no_std]
#![no_main]

mod cpu;
mod fw_cfg;
mod interrupts;
mod loader;
mod ports;
mod rtc;
mod serial;
mod virtio;

use guest_images::{
    EXIT_NOT_OK, EXIT_OK, boot,
    boot::Boot,
    ktap, mark, runtime,
    runtime::{
        cpu::tsc,
        entry_state,
        serial::{Console, Serial},
    },
};

guest_images::image!(main: main, fatal: boot::fatal);

type Report = ktap::Report<Console>;

fn main(start_info: u64) -> ! {
    runtime::install();
    let boot = Boot::read(start_info);
    let channel = boot::channel_port();
    let untouched = serial::Registers::read(channel);
    let mut report = Report::begin(Console::new(Serial::new(channel)), VERDICTS.len() as u32);
    let entry = entry_state();
    report.fact("probe", format_args!("version={FACTS_VERSION}"));
    report.fact("mark", format_args!("entry tsc={:#x}", entry.entry_tsc));
    report.fact("mark", format_args!("long-mode tsc={:#x}", entry.long_mode_tsc));
    report.fact("mark", format_args!("console tsc={:#x}", tsc()));
    boot::set_mark(mark::CONSOLE);

    for (name, judge) in VERDICTS {
        match judge(
            &mut report,
            &Machine {
                boot: &boot,
                serial: &untouched,
            },
        ) {
            Outcome::Judged => report.verdict(name),
            Outcome::Absent(reason) => report.skip(name, reason),
        }
    }

    report.fact("mark", format_args!("done tsc={:#x}", tsc()));
    report.end();
    boot::exit(if report.any_wrong() { EXIT_NOT_OK } else { EXIT_OK })
}

/// What was seen before the probe touched anything.
struct Machine<'a> {
    boot: &'a Boot,
    serial: &'a serial::Registers,
}

/// How looking at one area ended.
enum Outcome {
    /// Facts are printed, and what is wrong with them.
    Judged,
    /// The machine has no such thing; says what did not answer.
    Absent(&'static str),
}

/// Looks at one area: prints its facts, and what is wrong with them.
type Judge = fn(&mut Report, &Machine<'_>) -> Outcome;

/// The verdicts in order; names are permanent.
const VERDICTS: &[(&str, Judge)] = &[
    ("entry-state", loader::entry),
    ("start-info", loader::start_info),
    ("command-line", loader::command_line),
    ("memory-map", loader::memory_map),
    ("virtio-slots", virtio::slots),
    ("serial", serial::serial),
    ("rtc", rtc::rtc),
    ("fw-cfg", fw_cfg::fw_cfg),
    ("pic", interrupts::pic),
    ("pit", interrupts::pit),
    ("ioapic", interrupts::ioapic),
    ("local-apic", interrupts::local_apic),
    ("cpu", cpu::cpu),
    ("ports", ports::ports),
];

/// Version of the facts: their keys and fields, and the names of the verdicts.
const FACTS_VERSION: u32 = 1;
