//! The serial port that the report itself goes through.
//!
//! Source: National Semiconductor, "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs", section 8.

use guest_images::{
    boot,
    runtime::{cpu, port, serial::reg},
};

use crate::{Machine, Outcome, Report};

/// Registers that reading with DLAB clear shows. Reading IIR, LSR and MSR clears what it tells.
pub(crate) struct Registers {
    ier: u8,
    iir: u8,
    lcr: u8,
    mcr: u8,
    lsr: u8,
    msr: u8,
    scr: u8,
}

impl Registers {
    pub(crate) fn read(base: u16) -> Self {
        Self {
            ier: port::read_byte(base + reg::IER),
            iir: port::read_byte(base + reg::IIR),
            lcr: port::read_byte(base + reg::LCR),
            mcr: port::read_byte(base + reg::MCR),
            lsr: port::read_byte(base + reg::LSR),
            msr: port::read_byte(base + reg::MSR),
            scr: port::read_byte(base + reg::SCR),
        }
    }

    fn report(&self, report: &mut Report, base: u16, when: &str) {
        let Self {
            ier,
            iir,
            lcr,
            mcr,
            lsr,
            msr,
            scr,
        } = self;
        report.fact(
            "serial",
            format_args!(
                "base={base:#x} when={when} ier={ier:#x} iir={iir:#x} lcr={lcr:#x} mcr={mcr:#x} lsr={lsr:#x} \
                 msr={msr:#x} scr={scr:#x}"
            ),
        );
    }
}

pub(crate) fn serial(report: &mut Report, machine: &Machine<'_>) -> Outcome {
    let base = boot::channel_port();
    machine.serial.report(report, base, "start");
    Registers::read(base).report(report, base, "ready");

    let kept = port::read_byte(base + reg::SCR);
    let mut holds = true;
    for value in [0x55, 0xaa, 0x00, 0xff] {
        port::write_byte(base + reg::SCR, value);
        holds &= port::read_byte(base + reg::SCR) == value;
    }
    port::write_byte(base + reg::SCR, kept);

    let looped = loop_back(base);
    report.fact(
        "serial-test",
        format_args!("scratch={} loopback={looped:#x}", if holds { "holds" } else { "loses" }),
    );
    report.expect(holds, format_args!("scratch loses"));
    report.expect(looped == LOOPED, format_args!("loopback={looped:#x}"));
    Outcome::Judged
}

/// Sends one byte in loop mode and returns what came back; all ones when nothing did.
fn loop_back(base: u16) -> u8 {
    let mode = port::read_byte(base + reg::MCR);
    wait_status(base, LSR_TEMT);
    port::write_byte(base + reg::MCR, mode | reg::MCR_LOOP);
    port::write_byte(base + reg::THR, LOOPED);
    let came = wait_status(base, LSR_DR);
    let value = if came { port::read_byte(base + reg::RBR) } else { 0xff };
    port::write_byte(base + reg::MCR, mode);
    value
}

/// Waits for a bit of the line status, but not for ever.
fn wait_status(base: u16, bit: u8) -> bool {
    for _ in 0..POLLS_MAX {
        if port::read_byte(base + reg::LSR) & bit != 0 {
            return true;
        }
        cpu::relax();
    }
    false
}

/// Far more polls than a character at 115200 baud takes.
const POLLS_MAX: u32 = 10_000;

const LOOPED: u8 = 0x5a;

const LSR_DR: u8 = 0x01;
const LSR_TEMT: u8 = 0x40;
