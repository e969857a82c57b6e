//! 16550A serial port.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::ns16550 as clause;
use crate::driver::serial::*;
use crate::machine::{Caps, HostAction, LineEvent, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::RESET,
    level: Level::Must,
    features: &[Feature::Serial],
    needs: Caps::SERIAL,
    setup: Setup::DEFAULT,
    body: Body::Bus(power_on),
};

const INPUT: Caps = Caps::SERIAL.with(Caps::SERIAL_INPUT);
const LINE: Caps = Caps::SERIAL.with(Caps::LINES);

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "serial/divisor/holds",
        title: "The divisor latches hold what is written while DLAB is 1.",
        clause: &clause::DIVISOR,
        body: Body::Bus(divisor_holds),
        ..AREA
    },
    Case {
        id: "serial/divisor/keeps-ier",
        title: "DLAB swaps registers: writing the latches leaves IER alone.",
        clause: &clause::DIVISOR,
        body: Body::Bus(divisor_keeps_ier),
        ..AREA
    },
    Case {
        id: "serial/dlab/hides-receiver",
        title: "While DLAB is 1 reading the first register takes no byte from the receiver.",
        clause: &clause::DIVISOR,
        body: Body::Bus(dlab_hides),
        ..AREA
    },
    Case {
        id: "serial/fcr/trigger-keeps-data",
        title: "Choosing another trigger level loses no byte.",
        clause: &clause::FIFO,
        body: Body::Bus(fcr_trigger),
        ..AREA
    },
    Case {
        id: "serial/fcr/without-enable",
        title: "Resetting a FIFO without enabling it does nothing.",
        clause: &clause::FIFO_PROGRAMMING,
        body: Body::Bus(fcr_without_enable),
        ..AREA
    },
    Case {
        id: "serial/fifo/clear-keeps-transmitter",
        title: "Clearing the receiver FIFO leaves the transmitter empty and FIFOs on.",
        clause: &clause::FIFO,
        body: Body::Bus(fifo_clear_keeps),
        ..AREA
    },
    Case {
        id: "serial/fifo/clear-receiver",
        title: "Clearing the receiver FIFO drops what waits in it.",
        clause: &clause::FIFO,
        body: Body::Bus(fifo_clear),
        ..AREA
    },
    Case {
        id: "serial/fifo/disable-empties",
        title: "Turning the FIFOs off or on empties them.",
        clause: &clause::FIFO,
        body: Body::Bus(fifo_disable),
        ..AREA
    },
    Case {
        id: "serial/fifo/enabled-bits",
        title: "IIR shows with bits 6 and 7 whether the FIFOs are on.",
        clause: &clause::FIFO,
        body: Body::Bus(fifo_bits),
        ..AREA
    },
    Case {
        id: "serial/fifo/order",
        title: "Sixteen bytes come out in the order they came in.",
        clause: &clause::RECEIVE,
        body: Body::Bus(fifo_order),
        ..AREA
    },
    Case {
        id: "serial/fifo/overrun",
        title: "The seventeenth byte sets OE and the first sixteen stay.",
        clause: &clause::OVERRUN,
        body: Body::Bus(fifo_overrun),
        ..AREA
    },
    Case {
        id: "serial/fifo/timeout",
        title: "Bytes below the trigger level raise the time-out interrupt after four character times.",
        clause: &clause::FIFO_TIMEOUT,
        needs: Caps::SERIAL.with(Caps::CLOCK).with(Caps::FROZEN),
        body: Body::Bus(fifo_timeout),
        ..AREA
    },
    Case {
        id: "serial/fifo/timeout-by-frame",
        title: "The time-out goes by the programmed rate and the bits of a character.",
        clause: &clause::FIFO_TIMEOUT,
        needs: Caps::SERIAL.with(Caps::CLOCK).with(Caps::FROZEN),
        body: Body::Bus(fifo_timeout_by_frame),
        ..AREA
    },
    Case {
        id: "serial/fifo/timeout-not-empty",
        title: "An empty FIFO raises no time-out interrupt.",
        clause: &clause::FIFO_TIMEOUT,
        needs: Caps::SERIAL.with(Caps::CLOCK).with(Caps::FROZEN),
        body: Body::Bus(fifo_timeout_empty),
        ..AREA
    },
    Case {
        id: "serial/fifo/trigger-levels",
        title: "The received-data interrupt comes at 1, 4, 8 or 14 bytes.",
        clause: &clause::FIFO_TRIGGER,
        needs: Caps::SERIAL.with(Caps::FROZEN),
        body: Body::Bus(fifo_trigger),
        ..AREA
    },
    Case {
        id: "serial/ier/mask",
        title: "The high half of IER is always 0.",
        clause: &clause::INTERRUPT_ENABLE,
        body: Body::Bus(ier_mask),
        ..AREA
    },
    Case {
        id: "serial/iir/data-before-transmitter",
        title: "With a byte received and the transmitter empty, IIR names the byte.",
        clause: &clause::INTERRUPT_IDENT,
        body: Body::Bus(iir_data_first),
        ..AREA
    },
    Case {
        id: "serial/iir/data-keeps-thre",
        title: "Reading IIR as received data leaves the THRE interrupt pending.",
        clause: &clause::INTERRUPT_IDENT,
        body: Body::Bus(iir_data_keeps_thre),
        ..AREA
    },
    Case {
        id: "serial/iir/data-until-read",
        title: "Received data stays named until the last byte is read, however often IIR is.",
        clause: &clause::DATA_INTERRUPT,
        body: Body::Bus(iir_data_stays),
        ..AREA
    },
    Case {
        id: "serial/iir/disabled-none",
        title: "An interrupt that is not enabled is not named.",
        clause: &clause::INTERRUPT_ENABLE,
        body: Body::Bus(iir_disabled),
        ..AREA
    },
    Case {
        id: "serial/iir/none-pending",
        title: "With all interrupts enabled and none pending but THRE, reading IIR leaves none.",
        clause: &clause::INTERRUPT_IDENT,
        body: Body::Bus(iir_none),
        ..AREA
    },
    Case {
        id: "serial/iir/overrun",
        title: "With only line status enabled an overrun is named, and reading LSR takes it back.",
        clause: &clause::LINE_STATUS,
        body: Body::Bus(iir_overrun),
        ..AREA
    },
    Case {
        id: "serial/iir/priorities",
        title: "Line status comes before received data, that before THRE, and that before modem status.",
        clause: &clause::INTERRUPT_IDENT,
        body: Body::Bus(iir_priorities),
        ..AREA
    },
    Case {
        id: "serial/iir/write-is-fcr",
        title: "Writing IIR's port with other bits leaves the identification.",
        clause: &clause::INTERRUPT_IDENT,
        body: Body::Bus(iir_write),
        ..AREA
    },
    Case {
        id: "serial/interrupt/disable-lowers",
        title: "Clearing IER takes the line down.",
        clause: &clause::INTERRUPT_ENABLE,
        needs: LINE,
        body: Body::Bus(disable_lowers),
        ..AREA
    },
    Case {
        id: "serial/interrupt/edge",
        title: "Each interrupt that is enabled comes with a rise of the line.",
        clause: &clause::INTERRUPT_ENABLE,
        needs: LINE,
        body: Body::Bus(interrupt_edge),
        ..AREA
    },
    Case {
        id: "serial/interrupt/line",
        title: "The interrupt line follows the pending interrupt.",
        clause: &clause::THRE_INTERRUPT,
        needs: LINE,
        body: Body::Bus(interrupt_line),
        ..AREA
    },
    Case {
        id: "serial/interrupt/loopback-data",
        title: "A byte received in loopback raises the line, and reading it lowers it.",
        clause: &clause::LOOPBACK,
        needs: LINE,
        body: Body::Bus(loopback_interrupt),
        ..AREA
    },
    Case {
        id: "serial/lcr/holds",
        title: "The line control register holds all 256 values.",
        clause: &clause::LINE_CONTROL,
        body: Body::Bus(lcr_holds),
        ..AREA
    },
    Case {
        id: "serial/loopback/data",
        title: "In loopback a byte sent is received.",
        clause: &clause::LOOPBACK,
        body: Body::Bus(loopback_data),
        ..AREA
    },
    Case {
        id: "serial/loopback/host-input",
        title: "In loopback nothing is received from the line.",
        clause: &clause::LOOPBACK,
        needs: INPUT,
        body: Body::Bus(loopback_input),
        ..AREA
    },
    Case {
        id: "serial/loopback/leaves",
        title: "Leaving loopback gives the modem inputs back.",
        clause: &clause::LOOPBACK,
        body: Body::Bus(loopback_leaves),
        ..AREA
    },
    Case {
        id: "serial/loopback/modem-lines",
        title: "In loopback the four outputs are the four inputs, in all 16 settings.",
        clause: &clause::LOOPBACK,
        body: Body::Bus(loopback_modem),
        ..AREA
    },
    Case {
        id: "serial/loopback/not-sent",
        title: "In loopback nothing reaches the line.",
        clause: &clause::LOOPBACK,
        needs: Caps::SERIAL.with(Caps::SERIAL_OUTPUT),
        body: Body::Bus(loopback_not_sent),
        ..AREA
    },
    Case {
        id: "serial/lsr/overrun-read-clears",
        title: "Reading LSR clears OE.",
        clause: &clause::LINE_STATUS,
        body: Body::Bus(lsr_read_clears),
        ..AREA
    },
    Case {
        id: "serial/lsr/write-ignored",
        title: "Writing LSR leaves the transmitter empty and the receiver without data.",
        clause: &clause::LINE_STATUS,
        level: Level::Should,
        body: Body::Bus(lsr_write),
        ..AREA
    },
    Case {
        id: "serial/mcr/mask",
        title: "The high three bits of MCR are always 0.",
        clause: &clause::MODEM_CONTROL,
        body: Body::Bus(mcr_mask),
        ..AREA
    },
    Case {
        id: "serial/msr/delta-read-clears",
        title: "Delta bits are set by a change and cleared by reading MSR.",
        clause: &clause::MODEM_STATUS,
        body: Body::Bus(msr_delta),
        ..AREA
    },
    Case {
        id: "serial/msr/each-delta",
        title: "Each modem line has its own delta bit, and RI one for its trailing edge only.",
        clause: &clause::MODEM_STATUS,
        body: Body::Bus(msr_each_delta),
        ..AREA
    },
    Case {
        id: "serial/msr/no-change",
        title: "Writing MCR sets no delta bit of a line that it leaves as it was.",
        clause: &clause::MODEM_STATUS,
        body: Body::Bus(msr_no_change),
        ..AREA
    },
    Case {
        id: "serial/msr/write-ignored",
        title: "Writing MSR changes none of its lines.",
        clause: &clause::MODEM_STATUS,
        level: Level::Should,
        body: Body::Bus(msr_write),
        ..AREA
    },
    Case {
        id: "serial/overrun/without-fifo",
        title: "Without FIFOs a second byte sets OE.",
        clause: &clause::OVERRUN,
        body: Body::Bus(overrun_without_fifo),
        ..AREA
    },
    Case {
        id: "serial/power-on/registers",
        title: "After reset nothing is enabled, pending or waiting.",
        ..AREA
    },
    Case {
        id: "serial/receive/bytes",
        title: "Bytes typed on the line are received in order.",
        clause: &clause::RECEIVE,
        needs: INPUT,
        body: Body::Bus(receive_bytes),
        ..AREA
    },
    Case {
        id: "serial/receive/interrupt",
        title: "A received byte raises the interrupt, and reading it lowers it.",
        clause: &clause::RECEIVE,
        needs: INPUT.with(Caps::LINES),
        body: Body::Bus(receive_interrupt),
        ..AREA
    },
    Case {
        id: "serial/receive/more-than-fifo",
        title: "Of more bytes than the FIFO holds none is lost while the guest reads.",
        clause: &clause::RECEIVE,
        needs: INPUT,
        body: Body::Bus(receive_many),
        ..AREA
    },
    Case {
        id: "serial/receive/trigger-level",
        title: "So many bytes from the line as the trigger level names raise the interrupt.",
        clause: &clause::FIFO_TRIGGER,
        needs: INPUT.with(Caps::LINES),
        body: Body::Bus(receive_trigger),
        ..AREA
    },
    Case {
        id: "serial/reset/enables",
        title: "A system reset disables the interrupts, closes the divisor latch and ends loopback.",
        clause: &clause::RESET,
        needs: Caps::SERIAL.with(Caps::RESET),
        body: Body::Bus(reset_enables),
        ..AREA
    },
    Case {
        id: "serial/reset/fifo",
        title: "A system reset turns the FIFOs off and empties the receiver.",
        clause: &clause::RESET,
        needs: Caps::SERIAL.with(Caps::RESET),
        body: Body::Bus(reset_fifo),
        ..AREA
    },
    Case {
        id: "serial/reset/registers",
        title: "A system reset clears IER, LCR and what is pending.",
        clause: &clause::RESET,
        needs: Caps::SERIAL.with(Caps::RESET),
        body: Body::Bus(reset_registers),
        ..AREA
    },
    Case {
        id: "serial/scratch/holds",
        title: "The scratch register holds all 256 values.",
        clause: &clause::SCRATCH,
        body: Body::Bus(scratch_holds),
        ..AREA
    },
    Case {
        id: "serial/scratch/other-registers",
        title: "Writes to the other registers leave the scratch register.",
        clause: &clause::SCRATCH,
        body: Body::Bus(scratch_others),
        ..AREA
    },
    Case {
        id: "serial/thre/clear-by-iir",
        title: "Reading IIR as THRE clears that interrupt.",
        clause: &clause::THRE_INTERRUPT,
        body: Body::Bus(thre_clear),
        ..AREA
    },
    Case {
        id: "serial/thre/enable-while-empty",
        title: "Enabling the THRE interrupt while the transmitter is empty raises it, each time.",
        clause: &clause::THRE_INTERRUPT,
        body: Body::Bus(thre_enable),
        ..AREA
    },
    Case {
        id: "serial/thre/fifo-control",
        title: "Writing FCR without a reset of the transmitter raises no interrupt of it.",
        clause: &clause::THRE_INTERRUPT,
        body: Body::Bus(thre_fifo_control),
        ..AREA
    },
    Case {
        id: "serial/thre/kept-enabled",
        title: "Writing IER with the THRE interrupt enabled already raises none.",
        clause: &clause::THRE_INTERRUPT,
        level: Level::Should,
        body: Body::Bus(thre_kept),
        ..AREA
    },
    Case {
        id: "serial/thre/other-enables",
        title: "Enabling other interrupts leaves a pending one of the transmitter.",
        clause: &clause::THRE_INTERRUPT,
        body: Body::Bus(thre_other_enables),
        ..AREA
    },
    Case {
        id: "serial/transmit/bytes",
        title: "Bytes written are sent, all 256 of them.",
        clause: &clause::TRANSMIT,
        needs: Caps::SERIAL.with(Caps::SERIAL_OUTPUT),
        body: Body::Bus(transmit_bytes),
        ..AREA
    },
    Case {
        id: "serial/wide/registers-side-by-side",
        title: "A 32-bit read gives four registers side by side.",
        clause: &crate::clause::microvm::PORT_STRADDLE,
        level: Level::Should,
        body: Body::Bus(wide_read),
        ..AREA
    },
];

/// Puts bytes into the receiver by loopback, which needs no host; 16 bytes at most fit with the FIFO on.
fn loop_in(p: &mut Probe<'_>, bytes: &[u8]) -> Result<(), Stop> {
    p.outb(MCR, LOOP)?;
    bytes.iter().try_for_each(|byte| p.outb(DATA, *byte))
}

fn power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, port, want) in [("IER", IER, 0), ("IIR", IIR, NONE), ("LSR", LSR, THRE | TEMT)] {
        let got = p.inb(port)?;
        p.check_eq(name, got, want);
    }
    let lcr = p.inb(LCR)?;
    p.check_eq("DLAB", lcr & DLAB, 0u8);
    Ok(())
}

fn divisor_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(LCR, DLAB)?;
    for value in [0x01u8, 0x0c, 0x55, 0xaa, 0xff] {
        p.point(format!("{value:#x}"));
        p.outb(DATA, value)?;
        p.outb(IER, !value)?;
        let (low, high) = (p.inb(DATA)?, p.inb(IER)?);
        p.check_eq("low latch", low, value);
        p.check_eq("high latch", high, !value);
    }
    Ok(())
}

fn divisor_keeps_ier(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, ERBFI | ELSI)?;
    p.outb(LCR, DLAB | 3)?;
    p.outb(DATA, 0x0c)?;
    p.outb(IER, 0x00)?;
    p.outb(LCR, 3)?;
    let ier = p.inb(IER)?;
    p.check_eq("IER", ier, ERBFI | ELSI);
    let lsr = p.inb(LSR)?;
    p.check_eq("LSR: nothing was sent or received", lsr, THRE | TEMT);
    Ok(())
}

fn fifo_bits(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (fcr, want) in [(0x01, 0xc0), (0x00, 0x00), (0xc1, 0xc0), (0xc0, 0x00)] {
        p.point(format!("FCR {fcr:#x}"));
        p.outb(FCR, fcr)?;
        let iir = p.inb(IIR)?;
        p.check_eq("IIR bits 6 and 7", iir & 0xc0, want as u8);
        p.check_eq("IIR: none pending", iir & ID_MASK, NONE);
    }
    Ok(())
}

fn fifo_order(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 1)?;
    let bytes: Vec<u8> = (0x30..0x40).collect();
    loop_in(p, &bytes)?;
    for want in bytes {
        let (lsr, got) = (p.inb(LSR)?, p.inb(DATA)?);
        p.check_eq("DR before the read", lsr & DR, DR);
        p.check_eq("byte", got, want);
    }
    let lsr = p.inb(LSR)?;
    p.check_eq("DR after the last", lsr & (DR | OE), 0u8);
    Ok(())
}

fn fifo_overrun(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 1)?;
    let bytes: Vec<u8> = (0..FIFO_LENGTH as u8).collect();
    loop_in(p, &bytes)?;
    let full = p.inb(LSR)?;
    p.check_eq("OE with sixteen bytes", full & OE, 0u8);
    p.outb(DATA, 0xee)?;
    let over = p.inb(LSR)?;
    p.check_eq("OE with seventeen", over & OE, OE);
    for want in bytes {
        let got = p.inb(DATA)?;
        p.check_eq("byte", got, want);
    }
    Ok(())
}

fn fifo_clear(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 1)?;
    loop_in(p, b"abc")?;
    let before = p.inb(LSR)?;
    p.check_eq("DR before", before & DR, DR);
    p.outb(FCR, 1 | 2)?;
    let after = p.inb(LSR)?;
    p.check_eq("DR after the receiver was cleared", after & DR, 0u8);
    loop_in(p, b"z")?;
    let next = p.inb(DATA)?;
    p.check_eq("next byte", next, b'z');
    Ok(())
}

fn fifo_disable(p: &mut Probe<'_>) -> Result<(), Stop> {
    for fcr in [0, 1] {
        p.point(format!("FCR to {fcr}"));
        p.outb(FCR, fcr ^ 1)?;
        loop_in(p, b"x")?;
        let before = p.inb(LSR)?;
        p.check_eq("DR before", before & DR, DR);
        p.outb(FCR, fcr)?;
        let after = p.inb(LSR)?;
        p.check_eq("DR after", after & DR, 0u8);
    }
    Ok(())
}

fn fifo_trigger(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (fcr, level) in [(0x01, 1), (0x41, 4), (0x81, 8), (0xc1, 14)] {
        p.point(format!("level {level}"));
        p.outb(FCR, fcr | 2)?;
        p.outb(IER, ERBFI)?;
        loop_in(p, &vec![0x55; level - 1])?;
        let below = p.inb(IIR)?;
        p.check_eq("IIR one byte below the level", below & ID_MASK, NONE);
        loop_in(p, &[0x55])?;
        let at = p.inb(IIR)?;
        p.check_eq("IIR at the level", at & ID_MASK, ID_DATA);
        p.inb(DATA)?;
        let after = p.inb(IIR)?;
        p.check_eq("IIR after one byte was read", after & ID_MASK, NONE);
    }
    Ok(())
}

/// 9600 baud, 8 bits: a character is 10 bits, four of them 4.17 ms.
fn fifo_timeout(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(LCR, DLAB)?;
    p.outb(DATA, 0x0c)?;
    p.outb(IER, 0x00)?;
    p.outb(LCR, 0x03)?;
    p.outb(FCR, 0xc1)?;
    p.outb(IER, ERBFI)?;
    loop_in(p, b"ab")?;
    let early = p.inb(IIR)?;
    p.check_eq("IIR at once", early & ID_MASK, NONE);
    p.advance(3_000_000)?;
    let still = p.inb(IIR)?;
    p.check_eq("IIR after less than three characters", still & ID_MASK, NONE);
    p.advance(2_000_000)?;
    let late = p.inb(IIR)?;
    p.check_eq("IIR after five milliseconds", late & ID_MASK, ID_TIMEOUT);
    p.inb(DATA)?;
    let after = p.inb(IIR)?;
    p.check_eq("IIR after a byte was read", after & ID_MASK, NONE);
    Ok(())
}

/// Data sheet 8.1 and 8.11: start bit, 5 to 8 data bits, parity, and 1, 1.5 or 2 stop bits make a character.
fn fifo_timeout_by_frame(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, lcr, half_bits) in [
        ("5 data bits", 0x00u8, 14u64),
        ("5 data bits, 1.5 stop bits", 0x04, 15),
        ("7 data bits, parity", 0x0a, 20),
        ("8 data bits", 0x03, 20),
        ("8 data bits, 2 stop bits", 0x07, 22),
        ("8 data bits, parity, 2 stop bits", 0x1f, 24),
    ] {
        for divisor in [0x0cu64, 0x60] {
            p.point(format!("{name}, divisor {divisor:#x}"));
            p.outb(LCR, DLAB)?;
            p.outb(DATA, divisor as u8)?;
            p.outb(IER, 0x00)?;
            p.outb(LCR, lcr)?;
            p.outb(FCR, 0xc3)?;
            p.outb(IER, ERBFI)?;
            loop_in(p, b"a")?;
            let four_characters_ns = 4 * half_bits * divisor * 1_000_000_000 / (2 * 115_200);
            p.advance(four_characters_ns * 97 / 100)?;
            let early = p.inb(IIR)?;
            p.check_eq("IIR before four characters", early & ID_MASK, NONE);
            p.advance(four_characters_ns * 6 / 100)?;
            let late = p.inb(IIR)?;
            p.check_eq("IIR after four characters", late & ID_MASK, ID_TIMEOUT);
            p.inb(DATA)?;
        }
    }
    Ok(())
}

fn fcr_trigger(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0x01)?;
    loop_in(p, b"kept")?;
    for fcr in [0x41, 0x81, 0xc1, 0x01] {
        p.point(format!("FCR {fcr:#x}"));
        p.outb(FCR, fcr)?;
        let lsr = p.inb(LSR)?;
        p.check_eq("DR", lsr & DR, DR);
    }
    for &want in b"kept" {
        let got = p.inb(DATA)?;
        p.check_eq("byte", got, want);
    }
    Ok(())
}

/// DTR is DSR, RTS is CTS, OUT1 is RI, OUT2 is DCD.
fn msr_each_delta(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, output, delta, both_ways) in [
        ("DTR", 0x01u8, 0x02u8, true),
        ("RTS", 0x02, 0x01, true),
        ("OUT1", 0x04, 0x04, false),
        ("OUT2", 0x08, 0x08, true),
    ] {
        p.point(name);
        p.outb(MCR, LOOP)?;
        p.inb(MSR)?;
        p.outb(MCR, LOOP | output)?;
        let on = p.inb(MSR)?;
        p.check_eq("deltas as it goes on", on & 0x0f, if both_ways { delta } else { 0 });
        p.outb(MCR, LOOP)?;
        let off = p.inb(MSR)?;
        p.check_eq("deltas as it goes off", off & 0x0f, delta);
    }
    Ok(())
}

/// All 16 combinations of the four outputs, each written after each.
fn msr_no_change(p: &mut Probe<'_>) -> Result<(), Stop> {
    for before in 0..16u8 {
        for after in 0..16u8 {
            p.point(format!("MCR {before:#x} to {after:#x}"));
            p.outb(MCR, LOOP | before)?;
            let stored = p.inb(MCR)?;
            p.check_eq("MCR", stored, LOOP | before);
            p.inb(MSR)?;
            p.outb(MCR, LOOP | after)?;
            let msr = p.inb(MSR)?;
            let changed = before ^ after;
            let delta = |output: u8, delta: u8| if changed & output == 0 { 0 } else { delta };
            // RI has a bit for its trailing edge only.
            let trailing = if before & 0x04 == 0 { 0 } else { delta(0x04, 0x04) };
            let due = delta(0x01, 0x02) | delta(0x02, 0x01) | trailing | delta(0x08, 0x08);
            p.check_eq("deltas of lines that stay", msr & 0x0f & !due, 0u8);
        }
    }
    Ok(())
}

fn thre_fifo_control(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0x01)?;
    p.outb(IER, ETBEI)?;
    let first = p.inb(IIR)?;
    p.check_eq("IIR once enabled", first & ID_MASK, ID_THRE);
    for value in [0x41u8, 0x81, 0xc1, 0x01, 0x03] {
        p.point(format!("FCR {value:#x}"));
        p.outb(FCR, value)?;
        let iir = p.inb(IIR)?;
        p.check_eq("IIR", iir & ID_MASK, NONE);
    }
    p.outb(DATA, b'.')?;
    let sent = p.inb(IIR)?;
    p.check_eq("IIR after a byte was sent", sent & ID_MASK, ID_THRE);
    Ok(())
}

fn thre_other_enables(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.inb(MSR)?;
    for enables in [ETBEI | ERBFI, ETBEI | EDSSI, ETBEI, ETBEI | ELSI] {
        p.point(format!("IER {enables:#x}"));
        p.outb(IER, 0)?;
        p.outb(IER, ETBEI)?;
        p.outb(IER, enables)?;
        let iir = p.inb(IIR)?;
        p.check_eq("IIR", iir & ID_MASK, ID_THRE);
    }
    Ok(())
}

fn ier_mask(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in 0..=0xffu8 {
        p.point(format!("{value:#x}"));
        p.outb(IER, value)?;
        let got = p.inb(IER)?;
        p.check_eq("IER", got, value & 0x0f);
    }
    Ok(())
}

fn iir_none(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.inb(MSR)?;
    p.outb(IER, 0x0f)?;
    let first = p.inb(IIR)?;
    p.check_eq("IIR after enabling all", first & ID_MASK, ID_THRE);
    let second = p.inb(IIR)?;
    p.check_eq("IIR after that", second & ID_MASK, NONE);
    Ok(())
}

fn iir_data_first(p: &mut Probe<'_>) -> Result<(), Stop> {
    loop_in(p, b"x")?;
    p.outb(IER, ERBFI | ETBEI)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR", id & ID_MASK, ID_DATA);
    let byte = p.inb(DATA)?;
    p.check_eq("byte", byte, b'x');
    Ok(())
}

/// The trigger level of the FIFO is one byte, so that each byte that waits is reason enough.
fn iir_data_stays(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 1)?;
    p.outb(IER, ERBFI)?;
    loop_in(p, b"ab")?;
    for left in [2, 1] {
        p.point(format!("{left} left"));
        let (lsr, first, second) = (p.inb(LSR)?, p.inb(IIR)?, p.inb(IIR)?);
        p.check_eq("DR", lsr & DR, DR);
        p.check_eq("IIR", first & ID_MASK, ID_DATA);
        p.check_eq("IIR, read again", second & ID_MASK, ID_DATA);
        p.inb(DATA)?;
    }
    p.point("none left");
    let after = p.inb(IIR)?;
    p.check_eq("IIR", after & ID_MASK, NONE);
    Ok(())
}

/// Makes all four pending, then takes them away one by one, the highest first.
fn iir_priorities(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(MCR, LOOP)?;
    p.inb(MSR)?;
    p.outb(DATA, 1)?;
    p.outb(DATA, 2)?;
    p.outb(MCR, LOOP | 0x02)?;
    p.outb(IER, 0x0f)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with an overrun", id & ID_MASK, ID_LINE);
    p.inb(LSR)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with data", id & ID_MASK, ID_DATA);
    p.inb(DATA)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with an empty transmitter", id & ID_MASK, ID_THRE);
    let id = p.inb(IIR)?;
    p.check_eq("IIR with a modem change", id & ID_MASK, ID_MODEM);
    p.inb(MSR)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR at the end", id & ID_MASK, NONE);
    Ok(())
}

fn of_serial(events: Vec<LineEvent>) -> Vec<bool> {
    events
        .into_iter()
        .filter(|event| event.gsi == GSI)
        .map(|event| event.level)
        .collect()
}

fn interrupt_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.line_events()?;
    p.outb(IER, ETBEI)?;
    let raised = of_serial(p.line_events()?);
    p.check(
        "changes of line 4 on enabling",
        raised == [true],
        format!("{raised:?}"),
        "[true]",
    );
    p.inb(IIR)?;
    let lowered = of_serial(p.line_events()?);
    p.check(
        "changes of line 4 on reading IIR",
        lowered == [false],
        format!("{lowered:?}"),
        "[false]",
    );
    Ok(())
}

fn lcr_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in 0..=0xffu8 {
        p.point(format!("{value:#x}"));
        p.outb(LCR, value)?;
        let got = p.inb(LCR)?;
        p.check_eq("LCR", got, value);
    }
    Ok(())
}

fn loopback_data(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x00, 0x5a, 0xa5, 0xff] {
        p.point(format!("{value:#x}"));
        loop_in(p, &[value])?;
        let (lsr, got) = (p.inb(LSR)?, p.inb(DATA)?);
        p.check_eq("DR", lsr & DR, DR);
        p.check_eq("byte", got, value);
    }
    Ok(())
}

/// DTR (bit 0) is DSR (5), RTS (1) is CTS (4), OUT1 (2) is RI (6), OUT2 (3) is DCD (7).
fn loopback_modem(p: &mut Probe<'_>) -> Result<(), Stop> {
    for outputs in 0..16u8 {
        p.point(format!("MCR {:#x}", LOOP | outputs));
        p.outb(MCR, LOOP | outputs)?;
        let wires = [(0, 5), (1, 4), (2, 6), (3, 7)];
        let want = wires
            .iter()
            .fold(0u8, |msr, (from, to)| msr | (outputs >> from & 1) << to);
        let msr = p.inb(MSR)?;
        p.check_eq("MSR lines", msr & 0xf0, want);
    }
    Ok(())
}

fn loopback_not_sent(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.serial_output()?;
    loop_in(p, b"silent")?;
    let sent = p.serial_output()?;
    p.check_bytes("sent in loopback", &sent, b"");
    p.outb(MCR, 0)?;
    p.outb(DATA, b'!')?;
    let sent = p.serial_output()?;
    p.check_bytes("sent afterwards", &sent, b"!");
    Ok(())
}

fn lsr_read_clears(p: &mut Probe<'_>) -> Result<(), Stop> {
    loop_in(p, &[1, 2])?;
    let first = p.inb(LSR)?;
    p.check_eq("OE on the first read", first & OE, OE);
    let second = p.inb(LSR)?;
    p.check_eq("OE on the second read", second & OE, 0u8);
    Ok(())
}

fn lsr_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x00, 0xff] {
        p.point(format!("{value:#x}"));
        p.outb(LSR, value)?;
        let got = p.inb(LSR)?;
        p.check_eq("LSR", got, THRE | TEMT);
    }
    Ok(())
}

fn mcr_mask(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in 0..=0xffu8 {
        p.point(format!("{value:#x}"));
        p.outb(MCR, value)?;
        let got = p.inb(MCR)?;
        p.check_eq("MCR", got, value & 0x1f);
    }
    Ok(())
}

/// CTS changes in loopback by way of RTS; DCTS is bit 0.
fn msr_delta(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(MCR, LOOP)?;
    p.inb(MSR)?;
    let quiet = p.inb(MSR)?;
    p.check_eq("MSR without a change", quiet, 0u8);
    p.outb(MCR, LOOP | 0x02)?;
    let changed = p.inb(MSR)?;
    p.check_eq("CTS and DCTS after the change", changed, 0x11u8);
    let again = p.inb(MSR)?;
    p.check_eq("MSR read again", again, 0x10u8);
    Ok(())
}

fn overrun_without_fifo(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0)?;
    loop_in(p, &[1])?;
    let one = p.inb(LSR)?;
    p.check_eq("OE with one byte", one & (OE | DR), DR);
    p.outb(DATA, 2)?;
    let two = p.inb(LSR)?;
    p.check_eq("OE with two", two & (OE | DR), OE | DR);
    Ok(())
}

fn receive_bytes(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 1)?;
    p.host(&HostAction::SerialInput(b"hello".to_vec()))?;
    for want in *b"hello" {
        let lsr = wait_for_data(p)?;
        p.check_eq("DR", lsr & DR, DR);
        let got = p.inb(DATA)?;
        p.check_eq("byte", got, want);
    }
    let lsr = p.inb(LSR)?;
    p.check_eq("DR after the last", lsr & DR, 0u8);
    Ok(())
}

/// Looks at LSR until DR is set: bytes typed by a host may come one at a time. Gives the last LSR.
fn wait_for_data(p: &mut Probe<'_>) -> Result<u8, Stop> {
    let mut lsr = p.inb(LSR)?;
    for _ in 0..LOOKS_MAX {
        if lsr & DR != 0 {
            break;
        }
        lsr = p.inb(LSR)?;
    }
    Ok(lsr)
}

const LOOKS_MAX: usize = 200;

fn receive_interrupt(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, ERBFI)?;
    p.line_events()?;
    p.host(&HostAction::SerialInput(b"x".to_vec()))?;
    let raised = of_serial(p.line_events()?);
    p.check(
        "changes of line 4 on receiving",
        raised == [true],
        format!("{raised:?}"),
        "[true]",
    );
    let id = p.inb(IIR)?;
    p.check_eq("IIR", id & ID_MASK, ID_DATA);
    p.inb(DATA)?;
    let lowered = of_serial(p.line_events()?);
    p.check(
        "changes of line 4 on reading",
        lowered == [false],
        format!("{lowered:?}"),
        "[false]",
    );
    Ok(())
}

fn scratch_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in 0..=0xffu8 {
        p.point(format!("{value:#x}"));
        p.outb(SCR, value)?;
        let got = p.inb(SCR)?;
        p.check_eq("scratch", got, value);
    }
    Ok(())
}

fn thre_clear(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, ETBEI)?;
    let first = p.inb(IIR)?;
    p.check_eq("IIR on the first read", first & ID_MASK, ID_THRE);
    let second = p.inb(IIR)?;
    p.check_eq("IIR on the second read", second & ID_MASK, NONE);
    p.outb(DATA, b'.')?;
    let third = p.inb(IIR)?;
    p.check_eq("IIR after a byte was sent", third & ID_MASK, ID_THRE);
    Ok(())
}

fn thre_enable(p: &mut Probe<'_>) -> Result<(), Stop> {
    for round in 1..=3 {
        p.point(format!("round {round}"));
        p.outb(IER, 0)?;
        let off = p.inb(IIR)?;
        p.check_eq("IIR while disabled", off & ID_MASK, NONE);
        p.outb(IER, ETBEI)?;
        let on = p.inb(IIR)?;
        p.check_eq("IIR once enabled", on & ID_MASK, ID_THRE);
    }
    Ok(())
}

fn transmit_bytes(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.serial_output()?;
    for byte in 0..=0xff {
        p.outb(DATA, byte)?;
    }
    let sent = p.serial_output()?;
    let want: Vec<u8> = (0..=0xff).collect();
    p.check_bytes("sent", &sent, &want);
    Ok(())
}

fn wide_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(SCR, 0x3c)?;
    let wide = p.inl(MCR)?.to_le_bytes();
    let narrow = [p.inb(MCR)?, p.inb(LSR)?, p.inb(MSR)?, p.inb(SCR)?];
    p.check_bytes("MCR, LSR, MSR, SCR at once", &wide, &narrow);
    p.check_eq("scratch", narrow[3], 0x3cu8);
    Ok(())
}

fn dlab_hides(p: &mut Probe<'_>) -> Result<(), Stop> {
    loop_in(p, b"k")?;
    p.outb(LCR, DLAB | 3)?;
    p.outb(DATA, 0x0c)?;
    let latch = p.inb(DATA)?;
    p.check_eq("divisor latch", latch, 0x0cu8);
    p.outb(LCR, 3)?;
    let (lsr, got) = (p.inb(LSR)?, p.inb(DATA)?);
    p.check_eq("DR", lsr & DR, DR);
    p.check_eq("byte", got, b'k');
    Ok(())
}

fn fcr_without_enable(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0)?;
    loop_in(p, b"k")?;
    for value in [0x02, 0x06, 0xc2] {
        p.point(format!("FCR {value:#x}"));
        p.outb(FCR, value)?;
        let lsr = p.inb(LSR)?;
        p.check_eq("DR", lsr & DR, DR);
    }
    let got = p.inb(DATA)?;
    p.check_eq("byte", got, b'k');
    Ok(())
}

fn fifo_clear_keeps(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 1)?;
    loop_in(p, b"abc")?;
    p.outb(FCR, 1 | 2)?;
    let (lsr, iir) = (p.inb(LSR)?, p.inb(IIR)?);
    p.check_eq("LSR", lsr, THRE | TEMT);
    p.check_eq("IIR", iir, 0xc0 | NONE);
    Ok(())
}

fn iir_data_keeps_thre(p: &mut Probe<'_>) -> Result<(), Stop> {
    loop_in(p, b"x")?;
    p.outb(IER, ERBFI | ETBEI)?;
    for read in 1..=2 {
        p.point(format!("read {read}"));
        let id = p.inb(IIR)?;
        p.check_eq("IIR with data", id & ID_MASK, ID_DATA);
    }
    p.inb(DATA)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR once the data were read", id & ID_MASK, ID_THRE);
    Ok(())
}

fn iir_disabled(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, 0)?;
    loop_in(p, &[1, 2])?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with nothing enabled", id & ID_MASK, NONE);
    p.outb(IER, ERBFI)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with received data enabled", id & ID_MASK, ID_DATA);
    p.outb(IER, 0)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with nothing enabled again", id & ID_MASK, NONE);
    Ok(())
}

fn iir_overrun(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0)?;
    p.outb(IER, ELSI)?;
    loop_in(p, &[1])?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with one byte", id & ID_MASK, NONE);
    p.outb(DATA, 2)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR with two", id & ID_MASK, ID_LINE);
    p.inb(LSR)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR once LSR was read", id & ID_MASK, NONE);
    Ok(())
}

fn iir_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, ETBEI)?;
    p.outb(IIR, 0)?;
    let id = p.inb(IIR)?;
    p.check_eq("IIR", id, ID_THRE);
    Ok(())
}

fn disable_lowers(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, ETBEI)?;
    p.line_events()?;
    p.outb(IER, 0)?;
    let lowered = of_serial(p.line_events()?);
    p.check(
        "changes of line 4 on disabling",
        lowered == [false],
        format!("{lowered:?}"),
        "[false]",
    );
    Ok(())
}

fn loopback_interrupt(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, ERBFI)?;
    p.line_events()?;
    loop_in(p, b"x")?;
    let raised = of_serial(p.line_events()?);
    p.check(
        "changes of line 4 on receiving",
        raised == [true],
        format!("{raised:?}"),
        "[true]",
    );
    p.inb(DATA)?;
    let lowered = of_serial(p.line_events()?);
    p.check(
        "changes of line 4 on reading",
        lowered == [false],
        format!("{lowered:?}"),
        "[false]",
    );
    Ok(())
}

fn loopback_leaves(p: &mut Probe<'_>) -> Result<(), Stop> {
    let before = p.inb(MSR)? & 0xf0;
    p.outb(MCR, LOOP | 0x04)?;
    let looped = p.inb(MSR)?;
    p.check_eq("MSR lines in loopback: RI", looped & 0xf0, 0x40u8);
    p.outb(MCR, 0)?;
    let after = p.inb(MSR)?;
    p.check_eq("MSR lines afterwards", after & 0xf0, before);
    Ok(())
}

fn msr_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(MCR, LOOP | 0x03)?;
    p.inb(MSR)?;
    for value in [0x00, 0xff] {
        p.point(format!("{value:#x}"));
        p.outb(MSR, value)?;
        let got = p.inb(MSR)?;
        p.check_eq("MSR lines", got & 0xf0, 0x30u8);
    }
    Ok(())
}

fn reset_registers(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0)?;
    loop_in(p, b"x")?;
    p.outb(IER, 0x0f)?;
    p.outb(LCR, 0x1b)?;
    let before = p.inb(LCR)?;
    p.require_eq("LCR before the reset", before, 0x1bu8)?;
    p.reset()?;
    for (name, port, want) in [
        ("LCR", LCR, 0),
        ("IER", IER, 0),
        ("IIR", IIR, NONE),
        ("LSR", LSR, THRE | TEMT),
    ] {
        let got = p.inb(port)?;
        p.check_eq(name, got, want);
    }
    let mcr = p.inb(MCR)?;
    p.check_eq("loopback", mcr & LOOP, 0u8);
    Ok(())
}

fn reset_fifo(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0xc1)?;
    loop_in(p, b"abc")?;
    let before = p.inb(IIR)?;
    p.require_eq("IIR bits 6 and 7 before the reset", before & 0xc0, 0xc0u8)?;
    p.reset()?;
    let (iir, lsr) = (p.inb(IIR)?, p.inb(LSR)?);
    p.check_eq("IIR", iir, NONE);
    p.check_eq("DR", lsr & DR, 0u8);
    Ok(())
}

/// Only 0 to 1 of the enable counts.
fn thre_kept(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, ETBEI)?;
    let first = p.inb(IIR)?;
    p.check_eq("IIR once enabled", first & ID_MASK, ID_THRE);
    p.outb(IER, ETBEI | ERBFI)?;
    let second = p.inb(IIR)?;
    p.check_eq("IIR after IER was written again", second & ID_MASK, NONE);
    Ok(())
}

fn fifo_timeout_empty(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0xc1)?;
    p.outb(IER, ERBFI)?;
    for round in 1..=2 {
        p.point(format!("round {round}"));
        loop_in(p, b"ab")?;
        for want in *b"ab" {
            let got = p.inb(DATA)?;
            p.check_eq("byte", got, want);
        }
        p.advance(1_000_000_000)?;
        let (id, lsr) = (p.inb(IIR)?, p.inb(LSR)?);
        p.check_eq("IIR a second after the last byte was read", id & ID_MASK, NONE);
        p.check_eq("DR", lsr & DR, 0u8);
    }
    Ok(())
}

/// A port that pulses its line is as good here as one that holds it.
fn interrupt_edge(p: &mut Probe<'_>) -> Result<(), Stop> {
    for round in 1..=3 {
        p.point(format!("round {round}"));
        p.outb(IER, 0)?;
        let id = p.inb(IIR)?;
        p.check_eq("IIR with nothing enabled", id & ID_MASK, NONE);
        p.line_events()?;
        p.outb(IER, ETBEI)?;
        let changes = of_serial(p.line_events()?);
        let rises = changes.iter().filter(|level| **level).count() as u64;
        p.check_eq("rises of line 4 on enabling", rises, 1u64);
        let id = p.inb(IIR)?;
        p.check_eq("IIR", id & ID_MASK, ID_THRE);
    }
    Ok(())
}

fn loopback_input(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 0)?;
    p.outb(MCR, LOOP)?;
    p.host(&HostAction::SerialInput(b"x".to_vec()))?;
    let lsr = wait_for_data(p)?;
    p.check_eq("DR in loopback", lsr & DR, 0u8);
    p.outb(DATA, b'k')?;
    let (lsr, got) = (p.inb(LSR)?, p.inb(DATA)?);
    p.check_eq("DR and OE with a byte looped back", lsr & (DR | OE), DR);
    p.check_eq("byte", got, b'k');
    Ok(())
}

fn receive_many(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(FCR, 1)?;
    let bytes: Vec<u8> = (0..5 * FIFO_LENGTH as u8).collect();
    p.host(&HostAction::SerialInput(bytes.clone()))?;
    for want in bytes {
        let lsr = wait_for_data(p)?;
        p.check_eq("DR and OE", lsr & (DR | OE), DR);
        let got = p.inb(DATA)?;
        p.check_eq("byte", got, want);
    }
    let lsr = p.inb(LSR)?;
    p.check_eq("DR after the last", lsr & DR, 0u8);
    Ok(())
}

fn receive_trigger(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (fcr, level) in [(0x01, 1), (0x41, 4), (0x81, 8), (0xc1, 14)] {
        p.point(format!("level {level}"));
        p.outb(FCR, fcr | 2)?;
        p.outb(IER, ERBFI)?;
        p.line_events()?;
        p.host(&HostAction::SerialInput(vec![0x55; level]))?;
        let changes = of_serial(p.line_events()?);
        p.check(
            "changes of line 4 on receiving",
            changes.contains(&true),
            format!("{changes:?}"),
            "a rise",
        );
        let id = p.inb(IIR)?;
        p.check_eq("IIR", id & ID_MASK, ID_DATA);
        for _ in 0..level {
            let got = p.inb(DATA)?;
            p.check_eq("byte", got, 0x55u8);
        }
    }
    Ok(())
}

fn reset_enables(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(IER, 0x05)?;
    p.outb(MCR, LOOP)?;
    p.outb(LCR, DLAB | 0x1b)?;
    let before = p.inb(LCR)?;
    p.require_eq("LCR before the reset", before, DLAB | 0x1b)?;
    p.reset()?;
    let (lcr, ier, mcr) = (p.inb(LCR)?, p.inb(IER)?, p.inb(MCR)?);
    p.check_eq("DLAB", lcr & DLAB, 0u8);
    p.check_eq("IER", ier, 0u8);
    p.check_eq("loopback", mcr & LOOP, 0u8);
    Ok(())
}

fn scratch_others(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, port, value) in [
        ("IER", IER, 0x0fu8),
        ("FCR", FCR, 0x07),
        ("LCR", LCR, 0x1b),
        ("MCR", MCR, 0x0b),
        ("LSR", LSR, 0x00),
        ("MSR", MSR, 0x00),
    ] {
        p.point(name);
        p.outb(SCR, 0x5a)?;
        p.outb(port, value)?;
        let got = p.inb(SCR)?;
        p.check_eq("scratch", got, 0x5au8);
    }
    Ok(())
}
