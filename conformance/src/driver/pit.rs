//! 8254 at ports 0x40 to 0x43.
//!
//! Source: 8254 data sheet, "Programming the 8254"; ports and clock of the machine model.

use crate::machine::{Caps, Stop};
use crate::probe::Probe;

/// Counter 0; the others follow.
pub const COUNTER: u16 = 0x40;
/// Control word.
pub const CONTROL: u16 = 0x43;
/// The clock of all counters.
pub const FREQUENCY_HZ: u64 = 1_193_182;
/// The interrupt of counter 0.
pub const GSI: u8 = 0;

/// RW: counter latch command.
pub const LATCH: u8 = 0;
/// RW: low byte only.
pub const LOW: u8 = 1;
/// RW: high byte only.
pub const HIGH: u8 = 2;
/// RW: low byte, then high byte.
pub const BOTH: u8 = 3;
/// BCD of a control word.
pub const BCD: u8 = 1;

/// Read-back command: count and status; counters in bits 3:1.
pub const READ_BACK: u8 = 0xc0;
/// Read-back: do not latch counts.
pub const NO_COUNT: u8 = 0x20;
/// Read-back: do not latch status.
pub const NO_STATUS: u8 = 0x10;
/// Status: OUT.
pub const OUT: u8 = 0x80;
/// Status: NULL COUNT.
pub const NULL_COUNT: u8 = 0x40;

/// A control word for a counter, 0..=2.
pub fn control(counter: u8, access: u8, mode: u8, bcd: u8) -> u8 {
    counter << 6 | access << 4 | mode << 1 | bcd
}

/// Programs a counter, binary, and writes the count as its access wants it.
///
/// # Errors
/// As every access of the probe; the same for all functions here.
pub fn program(p: &mut Probe<'_>, counter: u8, access: u8, mode: u8, count: u16) -> Result<(), Stop> {
    p.outb(CONTROL, control(counter, access, mode, 0))?;
    write(p, counter, access, count)
}

/// Writes a count.
pub fn write(p: &mut Probe<'_>, counter: u8, access: u8, count: u16) -> Result<(), Stop> {
    let [low, high] = count.to_le_bytes();
    let port = COUNTER + u16::from(counter);
    if access != HIGH {
        p.outb(port, low)?;
    }
    if access != LOW {
        p.outb(port, high)?;
    }
    Ok(())
}

/// Reads two bytes of a counter, the low one first.
pub fn read_word(p: &mut Probe<'_>, counter: u8) -> Result<u16, Stop> {
    let port = COUNTER + u16::from(counter);
    Ok(u16::from_le_bytes([p.inb(port)?, p.inb(port)?]))
}

/// Latches and reads the count of a counter whose access is [`BOTH`].
pub fn count(p: &mut Probe<'_>, counter: u8) -> Result<u16, Stop> {
    p.outb(CONTROL, control(counter, LATCH, 0, 0))?;
    read_word(p, counter)
}

/// Latches and reads the status of a counter.
pub fn status(p: &mut Probe<'_>, counter: u8) -> Result<u8, Stop> {
    p.outb(CONTROL, READ_BACK | NO_COUNT | 2 << counter)?;
    p.inb(COUNTER + u16::from(counter))
}

/// OUT of a counter.
pub fn out(p: &mut Probe<'_>, counter: u8) -> Result<bool, Stop> {
    Ok(status(p, counter)? & OUT != 0)
}

/// Time of so many clocks, rounded up to whole nanoseconds.
pub fn clocks_ns(clocks: u64) -> u64 {
    (clocks * 1_000_000_000).div_ceil(FREQUENCY_HZ)
}

/// Looks until `holds` does, [`LOOKS_MAX`] times at most, with `step_ns` between looks where time has to be advanced.
/// Says whether it came to hold. Needs [`Caps::TIME`].
pub fn look_until(
    p: &mut Probe<'_>,
    step_ns: u64,
    mut holds: impl FnMut(&mut Probe<'_>) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    let by_hand = p.caps().missing(Caps::CLOCK).is_empty();
    for _ in 0..LOOKS_MAX {
        if holds(p)? {
            return Ok(true);
        }
        if by_hand {
            p.advance(step_ns)?;
        }
    }
    Ok(false)
}

/// Most looks of [`look_until`].
pub const LOOKS_MAX: usize = 2000;
