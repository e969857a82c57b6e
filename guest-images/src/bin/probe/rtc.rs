//! The real-time clock and its CMOS memory.
//!
//! Source: Motorola, MC146818 data sheet, "Address Map" and "Register A" to "Register D"; memory-size bytes as in the
//! microvm machine description.

use guest_images::{
    ktap::Bit,
    runtime::{cpu, port},
};

use crate::{Machine, Outcome, Report};

pub(crate) fn rtc(report: &mut Report, _: &Machine<'_>) -> Outcome {
    let register_d = read(REGISTER_D);
    // Register D has no bits below VRT that read as 1, so no clock answers all ones.
    let present = register_d != 0xff;
    report.fact("rtc", format_args!("present={} d={register_d:#x}", Bit(present)));
    if !present {
        return Outcome::Absent("nothing answers at port 0x71");
    }
    wait_update();
    let (a, b) = (read(REGISTER_A), read(REGISTER_B));
    report.fact(
        "rtc-registers",
        format_args!("a={a:#x} b={b:#x} c={:#x} d={register_d:#x}", read(REGISTER_C)),
    );

    let [second, minute, hour, weekday, day, month, year, century] = read_time();
    report.fact(
        "rtc-time",
        format_args!(
            "second={second:#x} minute={minute:#x} hour={hour:#x} weekday={weekday:#x} day={day:#x} month={month:#x} \
             year={year:#x} century={century:#x}"
        ),
    );
    for (name, byte, first, last) in [
        ("second", second, 0, 59),
        ("minute", minute, 0, 59),
        ("day", day, 1, 31),
        ("month", month, 1, 12),
    ] {
        let value = if b & REGISTER_B_DM != 0 {
            Some(byte)
        } else {
            from_bcd(byte)
        };
        report.expect(
            value.is_some_and(|value| (first..=last).contains(&value)),
            format_args!("{name}={byte:#x}"),
        );
    }

    let bytes = MEMORY_SIZE_BYTES.map(|index| (index, read(index)));
    for (index, value) in bytes {
        report.fact("cmos", format_args!("index={index:#x} value={value:#x}"));
    }
    Outcome::Judged
}

/// The time registers, read until two readings agree.
fn read_time() -> [u8; 8] {
    let mut time = TIME_REGISTERS.map(read);
    for _ in 0..READINGS_MAX {
        wait_update();
        let again = TIME_REGISTERS.map(read);
        if again == time {
            break;
        }
        time = again;
    }
    time
}

/// Waits while an update is in progress, but not for ever.
fn wait_update() {
    for _ in 0..POLLS_MAX {
        if read(REGISTER_A) & REGISTER_A_UIP == 0 {
            break;
        }
        cpu::relax();
    }
}

fn read(index: u8) -> u8 {
    port::write_byte(INDEX_PORT, index);
    port::read_byte(DATA_PORT)
}

fn from_bcd(byte: u8) -> Option<u8> {
    let (tens, ones) = (byte >> 4, byte & 0xf);
    (tens < 10 && ones < 10).then_some(tens * 10 + ones)
}

const INDEX_PORT: u16 = 0x70;
const DATA_PORT: u16 = 0x71;

const REGISTER_A: u8 = 0x0a;
const REGISTER_A_UIP: u8 = 0x80;
const REGISTER_B: u8 = 0x0b;
const REGISTER_B_DM: u8 = 0x04;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;

/// Seconds, minutes, hours, day of week, day of month, month, year, and the century byte of a PC.
const TIME_REGISTERS: [u8; 8] = [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32];

/// Where the machine tells its memory: base, extended twice, above 16 MiB, above 4 GiB.
const MEMORY_SIZE_BYTES: [u8; 11] = [0x15, 0x16, 0x17, 0x18, 0x30, 0x31, 0x34, 0x35, 0x5b, 0x5c, 0x5d];

/// An update takes at most 2 ms, a poll at least a port access.
const POLLS_MAX: u32 = 100_000;

const READINGS_MAX: u32 = 4;
