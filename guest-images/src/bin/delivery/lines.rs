//! Devices that raise interrupt lines when told to: the serial port's transmitter, the PIT, the RTC.
//!
//! Source: National Semiconductor PC16550D, 8.4 "Interrupts"; Intel 8254, "Mode Definitions"; Motorola MC146818,
//! "Interrupts".

use guest_images::runtime::{port, serial::reg};

use crate::bench;

/// Interrupt of the serial port at 0x3f8.
pub(crate) const SERIAL_IRQ: u8 = 4;

/// Interrupt of the PIT at the PIC.
pub(crate) const PIT_IRQ: u8 = 0;

/// Pin of the PIT at the IOAPIC: the machine wires interrupt 0 there.
pub(crate) const PIT_PIN: u8 = 2;

/// Interrupt of the RTC.
pub(crate) const RTC_IRQ: u8 = 8;

/// Raises the serial line: the transmitter is empty, and its interrupt gets enabled. OUT2 is a PC's gate for it.
pub(crate) fn serial_up(base: u16) {
    // The last character may still be on its way.
    bench::until(|| port::read_byte(base + reg::LSR) & LSR_TEMT != 0);
    port::write_byte(base + reg::MCR, MCR_READY_OUT2);
    port::write_byte(base + reg::IER, 0);
    port::write_byte(base + reg::IER, IER_THRI);
}

/// Lowers the serial line.
pub(crate) fn serial_down(base: u16) {
    port::write_byte(base + reg::IER, 0);
    let _identified = port::read_byte(base + reg::IIR);
}

/// A PIT is where the read-back status is not all ones.
pub(crate) fn pit_is_there() -> bool {
    port::write_byte(PIT_CONTROL, 0xe2);
    port::read_byte(PIT_CHANNEL_0) != 0xff
}

/// Channel 0 ticks every `count` periods of 1.193182 MHz.
pub(crate) fn pit_periodic(count: u16) {
    port::write_byte(PIT_CONTROL, 0x34);
    pit_count(count);
}

/// Channel 0 raises its line once, `count` periods from now, 0 meaning 65536.
pub(crate) fn pit_one_shot(count: u16) {
    port::write_byte(PIT_CONTROL, 0x30);
    pit_count(count);
}

fn pit_count(count: u16) {
    let [low, high] = count.to_le_bytes();
    port::write_byte(PIT_CHANNEL_0, low);
    port::write_byte(PIT_CHANNEL_0, high);
}

/// Register D has no bits that read as 1 below VRT.
pub(crate) fn rtc_is_there() -> bool {
    rtc_read(REGISTER_D) != 0xff
}

/// Periodic interrupts at one of the rates of register A.
pub(crate) fn rtc_periodic(rate: u8) {
    rtc_write(REGISTER_A, REGISTER_A_32768_HZ | rate);
    rtc_lower();
    rtc_write(REGISTER_B, REGISTER_B_24H | REGISTER_B_PIE);
}

/// No interrupts.
pub(crate) fn rtc_off() {
    rtc_write(REGISTER_B, REGISTER_B_24H);
    rtc_lower();
}

/// Lowers the RTC's line by reading why it is up; register C.
pub(crate) fn rtc_lower() -> u8 {
    rtc_read(REGISTER_C)
}

fn rtc_read(index: u8) -> u8 {
    port::write_byte(RTC_INDEX, index);
    port::read_byte(RTC_DATA)
}

fn rtc_write(index: u8, value: u8) {
    port::write_byte(RTC_INDEX, index);
    port::write_byte(RTC_DATA, value);
}

/// Ticks a millisecond apart.
pub(crate) const PIT_MILLISECOND: u16 = 1193;

/// Rates of periodic interrupts.
pub(crate) const RTC_1024_HZ: u8 = 6;
pub(crate) const RTC_64_HZ: u8 = 10;

/// IRQF and PF of register C.
pub(crate) const REGISTER_C_PERIODIC: u8 = 0xc0;

const PIT_CHANNEL_0: u16 = 0x40;
const PIT_CONTROL: u16 = 0x43;

const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
const REGISTER_A: u8 = 0x0a;
const REGISTER_A_32768_HZ: u8 = 0x20;
const REGISTER_B: u8 = 0x0b;
const REGISTER_B_24H: u8 = 0x02;
const REGISTER_B_PIE: u8 = 0x40;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;

const IER_THRI: u8 = 0x02;
const LSR_TEMT: u8 = 0x40;
const MCR_READY_OUT2: u8 = 0x0b;
