//! CMOS memory behind the RTC's index and data ports.
//!
//! Source: MC146818A data sheet, "Address Map"; port pair 0x70/0x71 of the machine model.

use crate::machine::Stop;
use crate::probe::Probe;

/// Index port; bit 7 is the NMI mask on a PC.
pub const INDEX: u16 = 0x70;
/// Data port.
pub const DATA: u16 = 0x71;

/// Reads one CMOS byte; `index` is 0..=0x7f.
///
/// # Errors
/// As every access of the probe.
pub fn read(p: &mut Probe<'_>, index: u8) -> Result<u8, Stop> {
    p.outb(INDEX, index)?;
    p.inb(DATA)
}

/// Writes one CMOS byte; `index` is 0..=0x7f.
///
/// # Errors
/// As every access of the probe.
pub fn write(p: &mut Probe<'_>, index: u8, value: u8) -> Result<(), Stop> {
    p.outb(INDEX, index)?;
    p.outb(DATA, value)
}
