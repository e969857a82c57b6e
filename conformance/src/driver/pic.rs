//! The 8259A pair with its edge/level control registers, and two inputs that a case can drive without a device's help.
//!
//! Source: 8259A data sheet, "Programming the 8259A"; ports and wiring of the machine model.

use super::{pit, serial};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

/// Master, A0 = 0: ICW1, OCW2, OCW3; IRR, ISR.
pub const MASTER: u16 = 0x20;
/// Slave, A0 = 0. A0 = 1 is the next port of each.
pub const SLAVE: u16 = 0xa0;
/// Edge/level register of the master.
pub const ELCR_1: u16 = 0x4d0;
/// Edge/level register of the slave.
pub const ELCR_2: u16 = 0x4d1;

/// ICW1: edge-triggered, cascaded, ICW4 follows.
pub const ICW1: u8 = 0x11;
/// ICW1 with LTIM.
pub const ICW1_LTIM: u8 = 0x19;
/// ICW1 without IC4.
pub const ICW1_NO_ICW4: u8 = 0x10;
/// ICW1 with SNGL.
pub const ICW1_SINGLE: u8 = 0x13;
/// ICW4: 8086 mode.
pub const ICW4: u8 = 0x01;
/// ICW4: automatic EOI.
pub const ICW4_AEOI: u8 = 0x03;
/// ICW4: special fully nested mode.
pub const ICW4_SFNM: u8 = 0x11;

/// OCW2: non-specific EOI.
pub const EOI: u8 = 0x20;
/// OCW2: no operation.
pub const NO_OPERATION: u8 = 0x40;
/// OCW2: specific EOI, with the input in bits 2:0.
pub const EOI_SPECIFIC: u8 = 0x60;
/// OCW2: rotate in automatic EOI mode, set.
pub const ROTATE_AEOI: u8 = 0x80;
/// OCW2: rotate on non-specific EOI.
pub const ROTATE_EOI: u8 = 0xa0;
/// OCW2: set priority, with the lowest input in bits 2:0.
pub const SET_PRIORITY: u8 = 0xc0;
/// OCW2: rotate on specific EOI.
pub const ROTATE_SPECIFIC: u8 = 0xe0;

/// OCW3 with neither command.
pub const OCW3: u8 = 0x08;
/// OCW3: reads give IRR.
pub const READ_IRR: u8 = 0x0a;
/// OCW3: reads give ISR.
pub const READ_ISR: u8 = 0x0b;
/// OCW3: poll.
pub const POLL: u8 = 0x0c;
/// OCW3: leave special mask mode.
pub const SPECIAL_MASK_OFF: u8 = 0x48;
/// OCW3: enter special mask mode.
pub const SPECIAL_MASK_ON: u8 = 0x68;

/// The timer's input of the master.
pub const IR_TIMER: u8 = 0;
/// The slave's input of the master.
pub const IR_CASCADE: u8 = 2;
/// The serial port's input of the master.
pub const IR_SERIAL: u8 = 4;

/// Runs both initialisations with these words; the master's vectors begin at 0x20, the slave's at 0x28.
///
/// # Errors
/// As every access of the probe; the same for all functions here.
pub fn initialize(p: &mut Probe<'_>, icw1: u8, icw4: u8) -> Result<(), Stop> {
    for (port, icw2, icw3) in [(MASTER, 0x20, 0x04), (SLAVE, 0x28, 0x02)] {
        p.outb(port, icw1)?;
        p.outb(port + 1, icw2)?;
        p.outb(port + 1, icw3)?;
        p.outb(port + 1, icw4)?;
    }
    Ok(())
}

/// Takes the timer's line down and initialises the pair with 8086 mode and nothing else; then nothing is requested.
/// What follows stands on masks that hold.
pub fn start(p: &mut Probe<'_>) -> Result<(), Stop> {
    lower_timer(p)?;
    initialize(p, ICW1, ICW4)?;
    for port in [MASTER, SLAVE] {
        p.outb(port + 1, 0x5a)?;
        let mask = p.inb(port + 1)?;
        p.require_eq("IMR", mask, 0x5au8)?;
        p.outb(port + 1, 0)?;
    }
    Ok(())
}

/// The interrupt request register.
pub fn irr(p: &mut Probe<'_>, port: u16) -> Result<u8, Stop> {
    p.outb(port, READ_IRR)?;
    p.inb(port)
}

/// The in-service register.
pub fn isr(p: &mut Probe<'_>, port: u16) -> Result<u8, Stop> {
    p.outb(port, READ_ISR)?;
    p.inb(port)
}

/// Polls once: bit 7 and the input, as the chip gives it.
pub fn poll(p: &mut Probe<'_>, port: u16) -> Result<u8, Stop> {
    p.outb(port, POLL)?;
    p.inb(port)
}

/// What a poll says: the input acknowledged, if any. The other bits of an idle answer are open.
pub fn acknowledge(p: &mut Probe<'_>, port: u16) -> Result<Option<u8>, Stop> {
    let got = poll(p, port)?;
    Ok((got & 0x80 != 0).then_some(got & 0x07))
}

/// Checks what a poll acknowledges.
pub fn check_acknowledged(p: &mut Probe<'_>, what: &str, port: u16, want: Option<u8>) -> Result<(), Stop> {
    let got = acknowledge(p, port)?;
    let text = |input: Option<u8>| input.map_or_else(|| "nothing".to_owned(), |input| format!("IR{input}"));
    p.check(what, got == want, text(got), text(want));
    Ok(())
}

/// Makes the timer's line rise: down first, then up for good.
pub fn raise_timer(p: &mut Probe<'_>) -> Result<(), Stop> {
    lower_timer(p)?;
    if p.caps().missing(Caps::FROZEN).is_empty() {
        // OUT of mode 3 is high from the start, and time stands still.
        return pit::program(p, 0, pit::BOTH, 3, 0);
    }
    // OUT of mode 0 rises after a clock and stays; these looks let it happen, and the subject notice.
    pit::program(p, 0, pit::BOTH, 0, 1)?;
    for _ in 0..LOOKS {
        pit::status(p, 0)?;
    }
    Ok(())
}

/// Takes the timer's line down: OUT of mode 0 stays low for 65536 clocks, 55 ms.
pub fn lower_timer(p: &mut Probe<'_>) -> Result<(), Stop> {
    pit::program(p, 0, pit::BOTH, 0, 0)
}

/// Makes the serial port's line rise by its transmitter, which is always empty.
pub fn raise_serial(p: &mut Probe<'_>) -> Result<(), Stop> {
    lower_serial(p)?;
    p.outb(serial::IER, serial::ETBEI)
}

/// Takes the serial port's line down.
pub fn lower_serial(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(serial::IER, 0)
}

/// Looks at the timer while its line rises.
const LOOKS: usize = 16;
