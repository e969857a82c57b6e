//! MC146818A behind the ports 0x70 and 0x71.
//!
//! Source: MC146818A data sheet, "Address Map" and "Registers".

pub use super::cmos::{DATA, INDEX, read, write};

/// Seconds, 0..=59.
pub const SECONDS: u8 = 0x00;
/// Seconds alarm.
pub const SECONDS_ALARM: u8 = 0x01;
/// Minutes, 0..=59.
pub const MINUTES: u8 = 0x02;
/// Minutes alarm.
pub const MINUTES_ALARM: u8 = 0x03;
/// Hours; bit 7 is PM in 12-hour mode.
pub const HOURS: u8 = 0x04;
/// Hours alarm.
pub const HOURS_ALARM: u8 = 0x05;
/// Day of the week, Sunday is 1.
pub const DAY_OF_WEEK: u8 = 0x06;
/// Day of the month, from 1.
pub const DAY_OF_MONTH: u8 = 0x07;
/// Month, from 1.
pub const MONTH: u8 = 0x08;
/// Year, 0..=99.
pub const YEAR: u8 = 0x09;
/// Divider, rate, update in progress.
pub const REGISTER_A: u8 = 0x0a;
/// SET, enables, format.
pub const REGISTER_B: u8 = 0x0b;
/// Interrupt flags.
pub const REGISTER_C: u8 = 0x0c;
/// Valid RAM and time.
pub const REGISTER_D: u8 = 0x0d;
/// Century.
pub const CENTURY: u8 = 0x32;

/// Register A: update in progress.
pub const UIP: u8 = 0x80;
/// Register B: time stands still.
pub const SET: u8 = 0x80;
/// Register B: periodic interrupt enable.
pub const PIE: u8 = 0x40;
/// Register B: alarm interrupt enable.
pub const AIE: u8 = 0x20;
/// Register B: update-ended interrupt enable.
pub const UIE: u8 = 0x10;
/// Register B: data mode, 1 is binary.
pub const DM: u8 = 0x04;
/// Register B: 24-hour mode.
pub const HOURS_24: u8 = 0x02;
/// Register C: an enabled flag is set.
pub const IRQF: u8 = 0x80;
/// Register C: periodic.
pub const PF: u8 = 0x40;
/// Register C: alarm.
pub const AF: u8 = 0x20;
/// Register C: update ended.
pub const UF: u8 = 0x10;
