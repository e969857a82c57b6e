//! Resets the machine by the way that it is told, `reset=PORT:BYTE` or `reset=triple-fault`, and tells if it goes on.
#![no_std]
#![no_main]

use guest_images::{
    EXIT_NOT_OK, EXIT_OK,
    boot::{self, Boot},
    command_line::{Exit, exit_way},
    ktap::{Quoted, Report},
    mark,
    runtime::{
        self, cpu, port,
        serial::{Console, Serial},
    },
};

guest_images::image!(main: main, fatal: boot::fatal);

fn main(start_info: u64) -> ! {
    runtime::install();
    let boot = Boot::read(start_info);
    let mut report = Report::begin(Console::new(Serial::new(boot::channel_port())), 1);
    boot::set_mark(mark::CONSOLE);
    report.fact("reset", format_args!("version=1"));
    let words = boot.command_line_text().split_ascii_whitespace();
    let told = words.filter_map(|word| word.strip_prefix("reset=")).next_back();
    let way = told.and_then(exit_way);
    report.fact(
        "way",
        format_args!("text={}", Quoted(told.unwrap_or_default().as_bytes())),
    );
    report.expect(way.is_some(), format_args!("reset= is missing, or names no way"));
    report.verdict("told");
    report.end();
    match way {
        Some(Exit::Port { port, byte: Some(byte) }) => port::write_byte(port, byte),
        Some(Exit::TripleFault) => cpu::triple_fault(),
        Some(Exit::Port { byte: None, .. }) | None => boot::exit(EXIT_NOT_OK),
    }
    // A VMM may let the CPU run on for a while.
    let start = cpu::tsc();
    for _ in 0..LOOKS_MAX {
        if GRACE_CYCLES <= cpu::tsc().wrapping_sub(start) {
            break;
        }
        core::hint::spin_loop();
    }
    report.fact("still-running", format_args!("1"));
    boot::exit(EXIT_OK)
}

/// Some 0.1 s.
const GRACE_CYCLES: u64 = 1 << 28;

/// Should the time stamp counter stand still, or each look at it cost an emulated instruction.
const LOOKS_MAX: u32 = 300_000;
