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

/// What the size bytes say of so much RAM below and from 4 GiB on, as `(index, byte)`.
///
/// Base memory in KiB up to 640 at 0x15; memory above 1 MiB in KiB up to 65535 at 0x17 and again at 0x30; memory above
/// 16 MiB in 64 KiB units up to 65535 at 0x34; memory from 4 GiB on in 64 KiB units, 24 bits, at 0x5b. All are little
/// endian.
///
/// Source: machine model, CMOS memory size bytes.
pub fn memory_size(below_bytes: u64, above_bytes: u64) -> [(u8, u8); 11] {
    let base_kib = (below_bytes >> 10).min(640);
    let extended_kib = (below_bytes.saturating_sub(1 << 20) >> 10).min(0xffff);
    let extended_64k = (below_bytes.saturating_sub(16 << 20) >> 16).min(0xffff);
    let high_64k = above_bytes >> 16;
    [
        (0x15, base_kib as u8),
        (0x16, (base_kib >> 8) as u8),
        (0x17, extended_kib as u8),
        (0x18, (extended_kib >> 8) as u8),
        (0x30, extended_kib as u8),
        (0x31, (extended_kib >> 8) as u8),
        (0x34, extended_64k as u8),
        (0x35, (extended_64k >> 8) as u8),
        (0x5b, high_64k as u8),
        (0x5c, (high_64k >> 8) as u8),
        (0x5d, (high_64k >> 16) as u8),
    ]
}
