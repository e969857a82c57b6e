//! 82093AA at 0xfec00000.
//!
//! Source: 82093AA data sheet, "Memory Mapped Registers for Accessing IOAPIC Registers" and "IOAPIC Registers".

use crate::machine::Stop;
use crate::probe::Probe;

/// Register select.
pub const IOREGSEL: u64 = 0xfec0_0000;
/// Window.
pub const IOWIN: u64 = 0xfec0_0010;
/// Index of the identification register.
pub const IOAPICID: u8 = 0x00;
/// Index of the version register.
pub const IOAPICVER: u8 = 0x01;
/// Index of the arbitration register.
pub const IOAPICARB: u8 = 0x02;
/// Index of the low half of redirection entry 0; the high half follows.
pub const IOREDTBL: u8 = 0x10;
/// Number of redirection entries.
pub const ENTRIES: u8 = 24;
/// Redirection entry: masked.
pub const MASKED: u32 = 1 << 16;

/// Redirection entry: level-triggered.
pub const LEVEL: u32 = 1 << 15;
/// Redirection entry: remote IRR.
pub const REMOTE_IRR: u32 = 1 << 14;
/// Redirection entry: delivery mode Lowest Priority. Fixed is 0.
pub const LOWEST_PRIORITY: u32 = 1 << 8;
/// Redirection entry: delivery mode SMI.
pub const SMI: u32 = 2 << 8;
/// Redirection entry: delivery mode NMI.
pub const NMI: u32 = 4 << 8;
/// Redirection entry: delivery mode INIT.
pub const INIT: u32 = 5 << 8;
/// Redirection entry: delivery mode ExtINT.
pub const EXTINT: u32 = 7 << 8;
/// Redirection entry: the destination is logical.
pub const LOGICAL: u32 = 1 << 11;
/// End of interrupt; only from version 0x20 on.
pub const EOI: u64 = 0xfec0_0040;
/// The first version with an EOI register.
pub const VERSION_WITH_EOI: u32 = 0x20;

/// Index of the low half of an entry.
pub fn low(entry: u8) -> u8 {
    IOREDTBL + 2 * entry
}

/// Reads a register through the window.
///
/// # Errors
/// As every access of the probe.
pub fn read(p: &mut Probe<'_>, index: u8) -> Result<u32, Stop> {
    p.writel(IOREGSEL, u32::from(index))?;
    p.readl(IOWIN)
}

/// Writes a register through the window.
///
/// # Errors
/// As every access of the probe.
pub fn write(p: &mut Probe<'_>, index: u8, value: u32) -> Result<(), Stop> {
    p.writel(IOREGSEL, u32::from(index))?;
    p.writel(IOWIN, value)
}
