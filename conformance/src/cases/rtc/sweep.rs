//! The calendar, the alarm and the divider, swept.

use super::{SECOND_NS, TIMED, time};
use crate::case::{Body, Case};
use crate::clause::mc146818 as clause;
use crate::driver::pic;
use crate::driver::rtc::{
    self, AF, AIE, CENTURY, DAY_OF_MONTH, DAY_OF_WEEK, DM, HOURS, HOURS_24, HOURS_ALARM, MINUTES, MINUTES_ALARM, MONTH,
    PF, REGISTER_A, REGISTER_B, REGISTER_C, SECONDS, SECONDS_ALARM, SET, UF, YEAR,
};
use crate::machine::Stop;
use crate::probe::Probe;

pub(super) const ALARM_EACH_FIELD: Case = Case {
    id: "rtc/alarm/each-field",
    title: "The alarm comes at the first second that equals all its bytes, in each format and with each don't care.",
    clause: &clause::ALARM,
    needs: TIMED,
    body: Body::Bus(alarm_each_field),
    ..super::AREA
};

pub(super) const ALARM_NO_TIME: Case = Case {
    id: "rtc/alarm/no-time",
    title: "An alarm byte that no time equals never matches.",
    clause: &clause::ALARM,
    needs: TIMED,
    body: Body::Bus(alarm_no_time),
    ..super::AREA
};

pub(super) const DIVIDER_RESTARTS_RATES: Case = Case {
    id: "rtc/divider/restarts-rates",
    title: "Each periodic rate stands still while the divider is held in reset, and starts anew after it.",
    clause: &clause::REGISTER_A_DIVIDER,
    needs: TIMED,
    body: Body::Bus(divider_restarts_rates),
    ..super::AREA
};

pub(super) const SET_KEEPS_WRITTEN: Case = Case {
    id: "rtc/register-b/set-keeps-written",
    title: "SET holds the time that it finds, and what is written then stays if SET is written again.",
    clause: &clause::REGISTER_B_SET,
    needs: TIMED,
    body: Body::Bus(set_keeps_written),
    ..super::AREA
};

pub(super) const MONTH_ENDS: Case = Case {
    id: "rtc/time/month-ends",
    title: "Every month ends after its last day, in leap years and others and in each format.",
    clause: &clause::TIME_UPDATE,
    needs: TIMED,
    body: Body::Bus(month_ends),
    ..super::AREA
};

/// Register B in each format of time bytes.
const FORMATS: [u8; 4] = [HOURS_24, HOURS_24 | DM, 0, DM];

/// A number as a time byte.
fn number(format: u8, number: u8) -> u8 {
    if format & DM == 0 {
        number / 10 * 16 + number % 10
    } else {
        number
    }
}

/// An hour of 0..=23 as a time byte: midnight and noon are 12 in 12-hour mode, and bit 7 is PM.
fn hour(format: u8, of_day: u8) -> u8 {
    if format & HOURS_24 != 0 {
        return number(format, of_day);
    }
    let of_half = if of_day.is_multiple_of(12) { 12 } else { of_day % 12 };
    number(format, of_half) | if of_day < 12 { 0 } else { 0x80 }
}

/// Writes these bytes under SET and lets the clock go.
fn start_at(p: &mut Probe<'_>, format: u8, bytes: &[(u8, u8)]) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, SET | format)?;
    for (index, byte) in bytes {
        rtc::write(p, *index, *byte)?;
    }
    rtc::write(p, REGISTER_B, format)
}

/// A year, the day of the week of its January 1 (Sunday is 1), and whether it is a leap year. 1900 and 2100 are left
/// out: whether the clock knows that they are none is open.
const YEARS: [(u8, u8, u8, bool); 6] = [
    (19, 99, 6, false),
    (20, 0, 7, true),
    (20, 4, 5, true),
    (20, 23, 1, false),
    (20, 38, 6, false),
    (20, 99, 5, false),
];

fn month_ends(p: &mut Probe<'_>) -> Result<(), Stop> {
    // Half a second away from all updates.
    p.advance(SECOND_NS / 2)?;
    for format in FORMATS {
        for (century, year, first_weekday, is_leap) in YEARS {
            let february = if is_leap { 29 } else { 28 };
            let mut days_before = 0u32;
            for (month, days) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                p.point(format!("register B {format:#x}, {century}{year:02}-{month:02}-{days}"));
                days_before += u32::from(days);
                let weekday = |days: u32| ((u32::from(first_weekday) - 1 + days) % 7 + 1) as u8;
                let last = [
                    (CENTURY, number(format, century)),
                    (YEAR, number(format, year)),
                    (MONTH, number(format, month)),
                    (DAY_OF_MONTH, number(format, days)),
                    (DAY_OF_WEEK, number(format, weekday(days_before - 1))),
                    (HOURS, hour(format, 23)),
                    (MINUTES, number(format, 59)),
                    (SECONDS, number(format, 59)),
                ];
                start_at(p, format, &last)?;
                p.advance(SECOND_NS)?;
                let got = time(p)?;
                let (next_year, next_month) = if month == 12 {
                    ((year + 1) % 100, 1)
                } else {
                    (year, month + 1)
                };
                let want = [
                    number(format, next_year),
                    number(format, next_month),
                    number(format, 1),
                    hour(format, 0),
                    0,
                    0,
                ];
                p.check_bytes("year, month, day, hours, minutes, seconds", &got, &want);
                let got = rtc::read(p, DAY_OF_WEEK)?;
                p.check_eq("day of week", got, number(format, weekday(days_before)));
            }
        }
    }
    Ok(())
}

/// Hours, minutes and seconds.
const STARTS: [[u8; 3]; 4] = [[0, 0, 0], [10, 58, 57], [11, 59, 59], [23, 30, 30]];

/// Hours, minutes and seconds; `None` is "don't care".
const ALARMS: [[Option<u8>; 3]; 12] = [
    [None, None, None],
    [None, None, Some(57)],
    [None, Some(59), Some(30)],
    [None, Some(0), None],
    [Some(0), None, None],
    [Some(0), Some(0), Some(0)],
    [Some(10), Some(58), Some(57)],
    [Some(10), Some(59), None],
    [Some(11), Some(0), Some(0)],
    [Some(12), None, Some(5)],
    [Some(13), Some(0), Some(0)],
    [Some(23), Some(59), Some(59)],
];

const DONT_CARES: [u8; 4] = [0xff, 0xc0, 0xd5, 0xea];

fn write_alarm(p: &mut Probe<'_>, bytes: [u8; 3]) -> Result<(), Stop> {
    for (index, byte) in [HOURS_ALARM, MINUTES_ALARM, SECONDS_ALARM].into_iter().zip(bytes) {
        rtc::write(p, index, byte)?;
    }
    Ok(())
}

/// The seconds from `start` to the first later time of day that `alarm` matches.
fn seconds_until(start: [u8; 3], alarm: [Option<u8>; 3]) -> u64 {
    let [hours, minutes, seconds] = start.map(u64::from);
    let from = (hours * 60 + minutes) * 60 + seconds;
    let matches = |time: u64| {
        let fields = [time / 3600 % 24, time / 60 % 60, time % 60];
        let mut pairs = fields.into_iter().zip(alarm);
        pairs.all(|(field, alarm)| alarm.is_none_or(|alarm| u64::from(alarm) == field))
    };
    (1..86_400).find(|ahead| matches(from + ahead)).unwrap_or(86_400)
}

/// Half a second away from all updates, and with a timer that ticks no more: days of ticks take long.
fn quiet(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::lower_timer(p)?;
    p.advance(SECOND_NS / 2)
}

fn alarm_each_field(p: &mut Probe<'_>) -> Result<(), Stop> {
    quiet(p)?;
    for (format, dont_care) in FORMATS.into_iter().zip(DONT_CARES) {
        for start in STARTS {
            // A clock that finds the alarm from close by need not find it from afar, so each is waited for twice.
            for (alarm, looks_before) in ALARMS.into_iter().flat_map(|alarm| [(alarm, true), (alarm, false)]) {
                p.point(format!("register B {format:#x}, from {start:?} to {alarm:?}"));
                let [hours, minutes, seconds] = start;
                let bytes = [
                    (HOURS, hour(format, hours)),
                    (MINUTES, number(format, minutes)),
                    (SECONDS, number(format, seconds)),
                ];
                start_at(p, format, &bytes)?;
                write_alarm(
                    p,
                    [
                        alarm[0].map_or(dont_care, |hours| hour(format, hours)),
                        alarm[1].map_or(dont_care, |minutes| number(format, minutes)),
                        alarm[2].map_or(dont_care, |seconds| number(format, seconds)),
                    ],
                )?;
                let set = rtc::read(p, HOURS)?;
                p.check_eq("hours, as set", set, hour(format, hours));
                rtc::read(p, REGISTER_C)?;
                let seconds = seconds_until(start, alarm);
                if looks_before {
                    p.advance((seconds - 1) * SECOND_NS)?;
                    let before = rtc::read(p, REGISTER_C)?;
                    p.check_eq("AF a second before", before & AF, 0u8);
                    p.advance(SECOND_NS)?;
                } else {
                    p.advance(seconds * SECOND_NS)?;
                }
                let at = rtc::read(p, REGISTER_C)?;
                p.check_eq("AF at the alarm", at & AF, AF);
            }
        }
    }
    Ok(())
}

fn alarm_no_time(p: &mut Probe<'_>) -> Result<(), Stop> {
    quiet(p)?;
    for (format, alarm) in [
        (HOURS_24, [0x24, 0xff, 0xff]),
        (HOURS_24, [0xff, 0x60, 0xff]),
        (HOURS_24, [0xff, 0xff, 0x60]),
        (HOURS_24, [0x00, 0x00, 0x0a]),
        (HOURS_24 | DM, [24, 0xff, 0xff]),
        (HOURS_24 | DM, [0xff, 60, 0xff]),
        (HOURS_24 | DM, [0xff, 0xff, 60]),
        (0, [0x13, 0xff, 0xff]),
        (DM, [0x00, 0xff, 0xff]),
    ] {
        p.point(format!("register B {format:#x}, alarm {alarm:02x?}"));
        // In the format of the time bytes, which follow.
        rtc::write(p, REGISTER_B, format)?;
        write_alarm(p, alarm)?;
        rtc::read(p, REGISTER_C)?;
        p.advance(2 * 86_400 * SECOND_NS)?;
        let flags = rtc::read(p, REGISTER_C)?;
        p.check_eq("AF within two days", flags & AF, 0u8);
        p.check_eq("UF, so time has passed", flags & UF, UF);
        write_alarm(p, [0xff; 3])?;
        p.advance(SECOND_NS)?;
        let flags = rtc::read(p, REGISTER_C)?;
        p.check_eq("AF of any time", flags & AF, AF);
    }
    Ok(())
}

/// A tap of a chain of dividers that starts from nothing has its first edge after half a period or after a whole one.
fn divider_restarts_rates(p: &mut Probe<'_>) -> Result<(), Stop> {
    for rate in 1..=15u8 {
        p.point(format!("rate {rate}"));
        let shift = if rate < 3 { rate + 6 } else { rate - 1 };
        let period_ns = (SECOND_NS << shift) / 32_768;
        // Somewhere in the second, another place for each rate.
        p.advance(137_000_003 * u64::from(rate))?;
        rtc::write(p, REGISTER_A, 0x60 | rate)?;
        let stored = rtc::read(p, REGISTER_A)?;
        p.check_eq("register A", stored, 0x60 | rate);
        rtc::read(p, REGISTER_C)?;
        p.advance(3 * period_ns)?;
        let held = rtc::read(p, REGISTER_C)?;
        p.check_eq("PF while held", held & PF, 0u8);
        rtc::write(p, REGISTER_A, 0x20 | rate)?;
        p.advance(period_ns * 2 / 5)?;
        let early = rtc::read(p, REGISTER_C)?;
        p.check_eq("PF less than half a period later", early & PF, 0u8);
        p.advance(period_ns * 3 / 5 + 1000)?;
        let late = rtc::read(p, REGISTER_C)?;
        p.check_eq("PF a period later", late & PF, PF);
    }
    Ok(())
}

/// From 2020-02-28T23:59:50.
fn set_keeps_written(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(3 * SECOND_NS + SECOND_NS / 2)?;
    rtc::write(p, REGISTER_B, SET | HOURS_24)?;
    let found = time(p)?;
    p.check_bytes("time that SET found", &found, &[0x20, 0x02, 0x28, 0x23, 0x59, 0x53]);
    let mut written = [0x31, 0x07, 0x04, 0x12, 0x34, 0x56];
    for (index, byte) in [YEAR, MONTH, DAY_OF_MONTH, HOURS, MINUTES, SECONDS]
        .into_iter()
        .zip(written)
    {
        rtc::write(p, index, byte)?;
    }
    rtc::write(p, REGISTER_B, SET | AIE | HOURS_24)?;
    let kept = time(p)?;
    p.check_bytes("time written, after SET again", &kept, &written);
    rtc::write(p, REGISTER_B, HOURS_24)?;
    p.advance(SECOND_NS)?;
    written[5] += 1;
    let later = time(p)?;
    p.check_bytes("a second after SET", &later, &written);
    Ok(())
}
