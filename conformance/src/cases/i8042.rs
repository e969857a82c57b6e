//! Keyboard controller.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::i8042 as clause;
use crate::driver::i8042::*;
use crate::driver::ioapic::{self, IOREDTBL, MASKED};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::STATUS,
    level: Level::Must,
    features: &[Feature::I8042],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(status_empty),
};

/// A reset is seen by what it does to the IOAPIC. Where it ends the subject, no case can look at it.
const WITH_RESET: Case = Case {
    clause: &clause::PULSE,
    features: &[Feature::I8042, Feature::Ioapic],
    needs: Caps::RESET,
    ..AREA
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "i8042/command-byte/holds",
        title: "The command byte reads back as written.",
        clause: &clause::COMMAND_BYTE,
        body: Body::Bus(command_byte),
        ..AREA
    },
    Case {
        id: "i8042/data/is-no-command",
        title: "The reset command's byte, written to the data port, resets nothing.",
        clause: &clause::DATA,
        body: Body::Bus(data_is_no_command),
        ..WITH_RESET
    },
    Case {
        id: "i8042/pulse/every-reset",
        title: "Each command that pulses bit 0 resets the machine, whatever other bits it pulses.",
        body: Body::Bus(pulse_every),
        ..WITH_RESET
    },
    Case {
        id: "i8042/pulse/no-reset",
        title: "A command that leaves bit 0 alone does not reset the machine.",
        body: Body::Bus(pulse_nothing),
        ..WITH_RESET
    },
    Case {
        id: "i8042/pulse/reset",
        title: "Command 0xfe resets the machine, the controller included, as often as it is given.",
        body: Body::Bus(pulse_reset),
        ..WITH_RESET
    },
    Case {
        id: "i8042/self-test/passes",
        title: "The self-test answers 0x55.",
        clause: &clause::SELF_TEST,
        body: Body::Bus(self_test),
        ..AREA
    },
    Case {
        id: "i8042/status/empty-buffers",
        title: "Neither buffer holds anything before the first command.",
        ..AREA
    },
    Case {
        id: "i8042/status/takes-commands",
        title: "After each command the input buffer is empty, so that a driver can go on.",
        body: Body::Bus(status_takes_commands),
        ..AREA
    },
];

fn status_empty(p: &mut Probe<'_>) -> Result<(), Stop> {
    let status = p.inb(STATUS)?;
    p.check_eq("both buffers' bits", status & (OUTPUT_FULL | INPUT_FULL), 0u8);
    Ok(())
}

fn status_takes_commands(p: &mut Probe<'_>) -> Result<(), Stop> {
    for command in [DISABLE_KEYBOARD, ENABLE_KEYBOARD, PULSE_NOTHING] {
        p.point(format!("command {command:#x}"));
        p.outb(COMMAND, command)?;
        let status = p.inb(STATUS)?;
        p.check_eq("input buffer's bit", status & INPUT_FULL, 0u8);
    }
    Ok(())
}

fn self_test(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(COMMAND, SELF_TEST)?;
    let (status, answer) = (p.inb(STATUS)?, p.inb(DATA)?);
    p.check_eq("output buffer's bit", status & (OUTPUT_FULL | INPUT_FULL), OUTPUT_FULL);
    p.check_eq("answer", answer, SELF_TEST_PASSED);
    Ok(())
}

/// Bits 0, 4 and 5 (interrupt, keyboard off, PC mode) are those that any controller keeps; no keyboard is needed.
fn command_byte(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x30, 0x10, 0x31] {
        p.point(format!("{value:#x}"));
        p.outb(COMMAND, WRITE_COMMAND_BYTE)?;
        p.outb(DATA, value)?;
        p.outb(COMMAND, READ_COMMAND_BYTE)?;
        let got = p.inb(DATA)?;
        p.check_eq("command byte", got & 0x31, value);
    }
    Ok(())
}

fn pulse_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    for round in 1..=3 {
        p.point(format!("round {round}"));
        check_resets(p, PULSE_RESET)?;
        let status = p.inb(STATUS)?;
        p.check_eq("both buffers' bits", status & (OUTPUT_FULL | INPUT_FULL), 0u8);
    }
    Ok(())
}

fn pulse_every(p: &mut Probe<'_>) -> Result<(), Stop> {
    for command in (0xf0..=0xfe).step_by(2) {
        p.point(format!("command {command:#x}"));
        check_resets(p, command)?;
    }
    Ok(())
}

fn pulse_nothing(p: &mut Probe<'_>) -> Result<(), Stop> {
    for command in [0xf1, 0xf7, 0xfb, PULSE_NOTHING] {
        p.point(format!("command {command:#x}"));
        leave_mark(p)?;
        p.outb(COMMAND, command)?;
        let low = looks(p)?;
        p.check_eq("entry of the IOAPIC", low, MARK);
    }
    Ok(())
}

fn data_is_no_command(p: &mut Probe<'_>) -> Result<(), Stop> {
    leave_mark(p)?;
    p.outb(DATA, PULSE_RESET)?;
    let low = looks(p)?;
    p.check_eq("entry of the IOAPIC", low, MARK);
    Ok(())
}

fn check_resets(p: &mut Probe<'_>, command: u8) -> Result<(), Stop> {
    leave_mark(p)?;
    p.outb(COMMAND, command)?;
    let low = looks(p)?;
    p.check_eq("entry of the IOAPIC, masked by a reset", low & MASKED, MASKED);
    Ok(())
}

/// Unmasks an interrupt that nobody raises.
fn leave_mark(p: &mut Probe<'_>) -> Result<(), Stop> {
    ioapic::write(p, IOREDTBL + 2 * ENTRY, MARK)?;
    let low = ioapic::read(p, IOREDTBL + 2 * ENTRY)?;
    p.require_eq("entry of the IOAPIC, unmasked", low, MARK)
}

/// Looks at the entry until it is masked: a reset may come a moment after its command.
fn looks(p: &mut Probe<'_>) -> Result<u32, Stop> {
    let mut low = ioapic::read(p, IOREDTBL + 2 * ENTRY)?;
    for _ in 0..LOOKS_MAX {
        if low & MASKED != 0 {
            break;
        }
        low = ioapic::read(p, IOREDTBL + 2 * ENTRY)?;
    }
    Ok(low)
}

const ENTRY: u8 = 22;
const MARK: u32 = 0x44;
const LOOKS_MAX: usize = 100;
