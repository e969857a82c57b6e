//! MC146818 real-time clock.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{mc146818 as clause, microvm};
use crate::driver::rtc::{
    self, AF, AIE, CENTURY, DATA, DAY_OF_MONTH, DAY_OF_WEEK, DM, HOURS, HOURS_24, HOURS_ALARM, INDEX, IRQF, MINUTES,
    MINUTES_ALARM, MONTH, PF, PIE, REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D, SECONDS, SECONDS_ALARM, SET, UF,
    UIE, UIP, YEAR,
};
use crate::machine::{Caps, LineEvent, Stop};
use crate::probe::Probe;

mod running;
mod sweep;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::TIME,
    level: Level::Must,
    features: &[Feature::Rtc],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(time_at_power_on),
};

const fn base(rtc_base: &'static str) -> Setup {
    Setup {
        rtc_base,
        ..Setup::DEFAULT
    }
}

const TIMED_LINES: Caps = TIMED.with(Caps::LINES);

/// Virtual time can be moved and stands still otherwise.
const TIMED: Caps = Caps::CLOCK.with(Caps::FROZEN);

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "rtc/alarm/any-time",
        title: "With all alarm bytes \"don't care\" the alarm comes every second.",
        clause: &clause::ALARM,
        needs: TIMED,
        body: Body::Bus(alarm_any_time),
        ..AREA
    },
    Case {
        id: "rtc/alarm/at-time",
        title: "The alarm comes in the second that its bytes name and not before.",
        clause: &clause::ALARM,
        needs: TIMED,
        body: Body::Bus(alarm_at_time),
        ..AREA
    },
    Case {
        id: "rtc/alarm/bytes-hold",
        title: "The alarm bytes hold what is written.",
        clause: &clause::ALARM,
        body: Body::Bus(alarm_bytes),
        ..AREA
    },
    sweep::ALARM_EACH_FIELD,
    Case {
        id: "rtc/alarm/exact-time",
        title: "An alarm of seconds, minutes and hours comes at that time of day only.",
        clause: &clause::ALARM,
        needs: TIMED,
        body: Body::Bus(alarm_exact),
        ..AREA
    },
    sweep::ALARM_NO_TIME,
    Case {
        id: "rtc/alarm/twelve-hours",
        title: "An alarm after noon has bit 7 of its hours set in 12-hour mode.",
        clause: &clause::ALARM,
        needs: TIMED,
        setup: base("2020-02-28T12:59:58"),
        body: Body::Bus(alarm_twelve_hours),
        ..AREA
    },
    Case {
        id: "rtc/century/alias",
        title: "Byte 0x37 is another name for the century.",
        clause: &clause::CENTURY,
        level: Level::Should,
        body: Body::Bus(century_alias),
        ..AREA
    },
    Case {
        id: "rtc/century/bcd",
        title: "The century reads 20 in BCD.",
        clause: &clause::CENTURY,
        level: Level::Should,
        body: Body::Bus(century),
        ..AREA
    },
    running::RATE_KEEPS_UPDATE,
    Case {
        id: "rtc/divider/reset-holds",
        title: "While the divider is held in reset the time stands still, and half a second after it moves on.",
        clause: &clause::REGISTER_A_DIVIDER,
        needs: TIMED,
        body: Body::Bus(divider_reset),
        ..AREA
    },
    sweep::DIVIDER_RESTARTS_RATES,
    Case {
        id: "rtc/format/binary",
        title: "With DM set the time bytes are binary.",
        needs: Caps::FROZEN,
        body: Body::Bus(format_binary),
        ..AREA
    },
    Case {
        id: "rtc/format/midnight",
        title: "Midnight is 12 in 12-hour mode.",
        clause: &clause::TIME,
        needs: Caps::FROZEN,
        setup: base("2020-02-28T00:10:00"),
        body: Body::Bus(midnight),
        ..AREA
    },
    Case {
        id: "rtc/format/noon",
        title: "Noon is 12 with bit 7 set in 12-hour mode.",
        clause: &clause::TIME,
        needs: Caps::FROZEN,
        setup: base("2020-02-28T12:10:00"),
        body: Body::Bus(noon),
        ..AREA
    },
    Case {
        id: "rtc/format/twelve-hours",
        title: "In 12-hour mode an hour after noon has bit 7 set.",
        needs: Caps::FROZEN,
        body: Body::Bus(format_twelve_hours),
        ..AREA
    },
    Case {
        id: "rtc/index/keeps-value",
        title: "The index stays after an access to the data port.",
        clause: &clause::PC_PORTS,
        body: Body::Bus(index_stays),
        ..AREA
    },
    Case {
        id: "rtc/index/nmi-mask",
        title: "Bit 7 of the index makes no difference.",
        clause: &clause::PC_PORTS,
        body: Body::Bus(index_nmi_mask),
        ..AREA
    },
    Case {
        id: "rtc/index/not-readable",
        title: "The index port reads as all ones.",
        clause: &clause::PC_PORTS,
        level: Level::Should,
        body: Body::Bus(index_not_readable),
        ..AREA
    },
    Case {
        id: "rtc/interrupt/alarm",
        title: "With AIE set the line rises at the alarm and falls when register C is read.",
        clause: &clause::INTERRUPT,
        needs: TIMED_LINES,
        body: Body::Bus(interrupt_alarm),
        ..AREA
    },
    Case {
        id: "rtc/interrupt/disable-lowers",
        title: "Clearing the enable of a flag that is set takes the line down.",
        clause: &clause::INTERRUPT,
        needs: TIMED_LINES,
        body: Body::Bus(interrupt_disable),
        ..AREA
    },
    Case {
        id: "rtc/interrupt/none-enabled",
        title: "With no interrupt enabled the line stays low whatever flags are set.",
        clause: &clause::INTERRUPT,
        needs: TIMED_LINES,
        body: Body::Bus(interrupt_none),
        ..AREA
    },
    Case {
        id: "rtc/interrupt/periodic",
        title: "With PIE set the line rises once for each read of register C.",
        clause: &clause::INTERRUPT,
        needs: TIMED_LINES,
        body: Body::Bus(interrupt_periodic),
        ..AREA
    },
    running::PERIODIC_AFTER_DIVIDER,
    Case {
        id: "rtc/interrupt/update-ended",
        title: "With UIE set the line rises at the update and falls when register C is read.",
        clause: &clause::INTERRUPT,
        needs: TIMED.with(Caps::LINES),
        body: Body::Bus(interrupt_update),
        ..AREA
    },
    Case {
        id: "rtc/periodic/flag-follows-rate",
        title: "With PIE set PF comes at the rate chosen, for all rates.",
        clause: &clause::REGISTER_C_PERIODIC,
        needs: TIMED,
        body: Body::Bus(periodic_rates),
        ..AREA
    },
    Case {
        id: "rtc/periodic/flag-without-enable",
        title: "PF is set at the periodic rate with PIE clear too.",
        clause: &clause::REGISTER_C_PERIODIC,
        needs: TIMED,
        body: Body::Bus(periodic_without_enable),
        ..AREA
    },
    Case {
        id: "rtc/periodic/rate-zero",
        title: "With rate 0 there is no periodic flag.",
        clause: &clause::REGISTER_C_PERIODIC,
        needs: TIMED,
        body: Body::Bus(rate_zero),
        ..AREA
    },
    Case {
        id: "rtc/ram/holds-bytes",
        title: "RAM bytes of the chip itself hold what is written.",
        clause: &clause::ADDRESS_MAP,
        body: Body::Bus(ram_holds),
        ..AREA
    },
    Case {
        id: "rtc/register-a/power-on",
        title: "Register A selects the 32 kHz divider and 1024 Hz.",
        clause: &clause::REGISTER_A,
        level: Level::Should,
        body: Body::Bus(register_a_power_on),
        ..AREA
    },
    Case {
        id: "rtc/register-a/uip-read-only",
        title: "Writing UIP has no effect.",
        clause: &clause::REGISTER_A,
        body: Body::Bus(register_a_uip),
        ..AREA
    },
    Case {
        id: "rtc/register-b/holds-bits",
        title: "Register B holds the enables and the format bits.",
        clause: &clause::REGISTER_B,
        body: Body::Bus(register_b_holds),
        ..AREA
    },
    Case {
        id: "rtc/register-b/power-on",
        title: "Register B starts in 24-hour mode with BCD and no interrupts.",
        clause: &clause::REGISTER_B,
        level: Level::Should,
        body: Body::Bus(register_b_power_on),
        ..AREA
    },
    running::SET_ALONE,
    Case {
        id: "rtc/register-b/set-clears-uie",
        title: "Writing SET clears UIE.",
        clause: &clause::REGISTER_B_SET,
        body: Body::Bus(set_clears_uie),
        ..AREA
    },
    Case {
        id: "rtc/register-b/set-keeps-enables",
        title: "Writing SET leaves PIE and AIE.",
        clause: &clause::REGISTER_B_SET,
        body: Body::Bus(set_keeps_enables),
        ..AREA
    },
    sweep::SET_KEEPS_WRITTEN,
    Case {
        id: "rtc/register-b/set-stops-time",
        title: "While SET is 1 the time does not move.",
        clause: &clause::REGISTER_B_SET,
        needs: TIMED,
        body: Body::Bus(set_stops_time),
        ..AREA
    },
    Case {
        id: "rtc/register-c/read-clears",
        title: "Reading register C clears its flags.",
        clause: &clause::REGISTER_C,
        needs: TIMED,
        body: Body::Bus(register_c_read_clears),
        ..AREA
    },
    Case {
        id: "rtc/register-c/write-ignored",
        title: "Writing register C sets no flag.",
        clause: &clause::REGISTER_C,
        needs: Caps::FROZEN,
        body: Body::Bus(register_c_write),
        ..AREA
    },
    Case {
        id: "rtc/register-d/valid",
        title: "Register D says that RAM and time are valid, and nothing else.",
        clause: &clause::REGISTER_D,
        body: Body::Bus(register_d_valid),
        ..AREA
    },
    Case {
        id: "rtc/register-d/write-ignored",
        title: "Writing register D changes nothing.",
        clause: &clause::REGISTER_D,
        body: Body::Bus(register_d_write),
        ..AREA
    },
    Case {
        id: "rtc/reset/clears-enables",
        title: "A reset clears the interrupt enables.",
        clause: &clause::RESET,
        needs: Caps::RESET,
        body: Body::Bus(reset_enables),
        ..AREA
    },
    Case {
        id: "rtc/reset/keeps-format",
        title: "A reset leaves the format bits and SET.",
        clause: &clause::RESET,
        needs: Caps::RESET,
        body: Body::Bus(reset_format),
        ..AREA
    },
    Case {
        id: "rtc/reset/keeps-ram",
        title: "A reset leaves RAM and the alarm bytes.",
        clause: &clause::RESET,
        needs: Caps::RESET,
        body: Body::Bus(reset_ram),
        ..AREA
    },
    Case {
        id: "rtc/reset/keeps-time",
        title: "A reset leaves time and calendar.",
        clause: &clause::RESET,
        needs: Caps::RESET.with(Caps::FROZEN),
        body: Body::Bus(reset_time),
        ..AREA
    },
    running::SHUTDOWN_STATUS,
    Case {
        id: "rtc/time/after-leap-day",
        title: "March follows the leap day.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        setup: base("2020-02-29T23:59:58"),
        body: Body::Bus(time_after_leap_day),
        ..AREA
    },
    Case {
        id: "rtc/time/at-power-on",
        title: "The clock starts at the time given.",
        needs: Caps::FROZEN,
        ..AREA
    },
    Case {
        id: "rtc/time/century-end",
        title: "The century ends after year 99.",
        clause: &clause::CENTURY,
        needs: TIMED,
        level: Level::Should,
        setup: base("2099-12-31T23:59:59"),
        body: Body::Bus(century_end),
        ..AREA
    },
    Case {
        id: "rtc/time/invalid-survives",
        title: "A guest that writes bytes out of range gets a clock that still answers.",
        clause: &clause::ADDRESS_MAP,
        needs: TIMED,
        body: Body::Bus(invalid_survives),
        ..AREA
    },
    Case {
        id: "rtc/time/leap-2000",
        title: "2000 is a leap year.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        setup: base("2000-02-28T23:59:59"),
        body: Body::Bus(leap_2000),
        ..AREA
    },
    Case {
        id: "rtc/time/leap-day",
        title: "February 28 of a leap year is followed by a 29th.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        body: Body::Bus(time_leap_day),
        ..AREA
    },
    sweep::MONTH_ENDS,
    Case {
        id: "rtc/time/moves",
        title: "Seconds, minutes and hours move on.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        setup: base("2021-06-15T10:58:57"),
        body: Body::Bus(time_moves),
        ..AREA
    },
    Case {
        id: "rtc/time/no-leap-day",
        title: "February of another year has 28 days.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        setup: base("2021-02-28T23:59:58"),
        body: Body::Bus(time_no_leap_day),
        ..AREA
    },
    Case {
        id: "rtc/time/set-by-guest",
        title: "A time written by the guest is read back and goes on from there.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        body: Body::Bus(time_set_by_guest),
        ..AREA
    },
    Case {
        id: "rtc/time/set-in-twelve-hours",
        title: "A time that is set in 12-hour mode goes on over noon and midnight.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        body: Body::Bus(time_set_in_twelve_hours),
        ..AREA
    },
    Case {
        id: "rtc/time/short-month",
        title: "April has 30 days.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        setup: base("2021-04-30T23:59:59"),
        body: Body::Bus(short_month),
        ..AREA
    },
    Case {
        id: "rtc/time/start-date",
        title: "The start date of another century is shown whole.",
        clause: &microvm::RTC_BASE,
        needs: Caps::FROZEN,
        setup: base("1999-11-30T04:05:06"),
        body: Body::Bus(start_date),
        ..AREA
    },
    Case {
        id: "rtc/time/start-day",
        title: "The start date's day is shown where time passes, too.",
        clause: &microvm::RTC_BASE,
        setup: base("1997-11-13T04:05:06"),
        body: Body::Bus(start_day),
        ..AREA
    },
    running::WRITTEN,
    Case {
        id: "rtc/time/year-9999",
        title: "The last year of four digits is shown.",
        clause: &clause::CENTURY,
        needs: Caps::FROZEN,
        level: Level::Should,
        setup: base("9999-12-30T23:59:50"),
        body: Body::Bus(year_9999),
        ..AREA
    },
    Case {
        id: "rtc/time/year-end",
        title: "The year ends after December 31.",
        clause: &clause::TIME_UPDATE,
        needs: TIMED,
        setup: base("2019-12-31T23:59:59"),
        body: Body::Bus(time_year_end),
        ..AREA
    },
    Case {
        id: "rtc/update/flag",
        title: "UF is set after an update with UIE clear too.",
        clause: &clause::REGISTER_C_UPDATE,
        needs: TIMED,
        body: Body::Bus(update_flag),
        ..AREA
    },
    Case {
        id: "rtc/update/in-progress-window",
        title: "UIP rises at least 244 us before the second changes, and is low in its middle.",
        clause: &clause::UPDATE_IN_PROGRESS,
        needs: TIMED,
        body: Body::Bus(update_window),
        ..AREA
    },
    Case {
        id: "rtc/update/none-while-set",
        title: "While SET is 1 there is neither an update in progress nor its flag.",
        clause: &clause::REGISTER_B_SET,
        needs: TIMED,
        body: Body::Bus(none_while_set),
        ..AREA
    },
];

const SECOND_NS: u64 = 1_000_000_000;
/// A little past an instant that rounding may shift.
const SLACK_NS: u64 = 1_000_000;

/// (year, month, day of month, hours, minutes, seconds) as the bytes stand.
fn time(p: &mut Probe<'_>) -> Result<[u8; 6], Stop> {
    let mut bytes = [0; 6];
    for (byte, index) in bytes
        .iter_mut()
        .zip([YEAR, MONTH, DAY_OF_MONTH, HOURS, MINUTES, SECONDS])
    {
        *byte = rtc::read(p, index)?;
    }
    Ok(bytes)
}

fn time_at_power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = time(p)?;
    p.check_bytes(
        "year, month, day, hours, minutes, seconds",
        &got,
        &[0x20, 0x02, 0x28, 0x23, 0x59, 0x50],
    );
    let weekday = rtc::read(p, DAY_OF_WEEK)?;
    p.check_eq("day of week, a Friday", weekday, 6u8);
    Ok(())
}

/// From 2020-02-28T23:59:50.
fn time_leap_day(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(10 * SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes("ten seconds later", &got, &[0x20, 0x02, 0x29, 0x00, 0x00, 0x00]);
    let weekday = rtc::read(p, DAY_OF_WEEK)?;
    p.check_eq("day of week, a Saturday", weekday, 7u8);
    Ok(())
}

fn time_after_leap_day(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(2 * SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes("two seconds later", &got, &[0x20, 0x03, 0x01, 0x00, 0x00, 0x00]);
    Ok(())
}

fn time_no_leap_day(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(2 * SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes("two seconds later", &got, &[0x21, 0x03, 0x01, 0x00, 0x00, 0x00]);
    Ok(())
}

fn time_year_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes("a second later", &got, &[0x20, 0x01, 0x01, 0x00, 0x00, 0x00]);
    Ok(())
}

fn time_moves(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (seconds, want) in [
        (1, [0x10, 0x58, 0x58]),
        (1, [0x10, 0x58, 0x59]),
        (1, [0x10, 0x59, 0x00]),
        (60, [0x11, 0x00, 0x00]),
        (3600, [0x12, 0x00, 0x00]),
    ] {
        // The slack of the first step carries over to the ones after it.
        p.advance(seconds * SECOND_NS + if want == [0x10, 0x58, 0x58] { SLACK_NS } else { 0 })?;
        let got = time(p)?;
        p.check_bytes("hours, minutes, seconds", &got[3..], &want);
    }
    Ok(())
}

/// Stops the clock, writes 2034-12-31 23:59:58 in BCD, starts it and lets three seconds pass.
/// Bit 7 of the hours is PM; midnight and noon are 12.
fn time_set_in_twelve_hours(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (hours, next) in [(0x11u8, 0x92u8), (0x91, 0x12), (0x12, 0x01), (0x92, 0x81), (0x85, 0x86)] {
        p.point(format!("hours {hours:#x}"));
        rtc::write(p, REGISTER_B, SET)?;
        for (index, byte) in [(HOURS, hours), (MINUTES, 0x59), (SECONDS, 0x59)] {
            rtc::write(p, index, byte)?;
        }
        rtc::write(p, REGISTER_B, 0)?;
        p.advance(2 * SECOND_NS + SLACK_NS)?;
        let got = rtc::read(p, HOURS)?;
        p.check_eq("hours after the hour's last second", got, next);
        let minutes = rtc::read(p, MINUTES)?;
        p.check_eq("minutes", minutes, 0u8);
    }
    Ok(())
}

fn time_set_by_guest(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, SET | HOURS_24)?;
    let written = [0x34, 0x12, 0x31, 0x23, 0x59, 0x58];
    for (index, byte) in [YEAR, MONTH, DAY_OF_MONTH, HOURS, MINUTES, SECONDS]
        .into_iter()
        .zip(written)
    {
        rtc::write(p, index, byte)?;
    }
    let got = time(p)?;
    p.check_bytes("time while SET", &got, &written);
    rtc::write(p, REGISTER_B, HOURS_24)?;
    p.advance(3 * SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes(
        "three seconds later, give or take the divider's half",
        &got[..5],
        &[0x35, 0x01, 0x01, 0x00, 0x00],
    );
    Ok(())
}

fn format_binary(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, HOURS_24 | DM)?;
    let got = time(p)?;
    p.check_bytes(
        "year, month, day, hours, minutes, seconds",
        &got,
        &[20, 2, 28, 23, 59, 50],
    );
    Ok(())
}

fn format_twelve_hours(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, 0)?;
    let bcd = rtc::read(p, HOURS)?;
    p.check_eq("11 PM in BCD", bcd, 0x91u8);
    rtc::write(p, REGISTER_B, DM)?;
    let binary = rtc::read(p, HOURS)?;
    p.check_eq("11 PM in binary", binary, 0x8bu8);
    Ok(())
}

fn century(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = rtc::read(p, CENTURY)?;
    p.check_eq("century", got, 0x20u8);
    Ok(())
}

fn century_alias(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (century, alias) = (rtc::read(p, CENTURY)?, rtc::read(p, 0x37)?);
    p.check_eq("byte 0x37", alias, century);
    p.check(
        "century",
        century != 0xff && century != 0,
        format!("{century:#x}"),
        "a century",
    );
    Ok(())
}

fn index_stays(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(INDEX, REGISTER_D)?;
    for read in 1..=3 {
        p.point(format!("read {read}"));
        let got = p.inb(DATA)?;
        p.check_eq("register D", got, 0x80u8);
    }
    Ok(())
}

fn index_nmi_mask(p: &mut Probe<'_>) -> Result<(), Stop> {
    for index in [REGISTER_B, REGISTER_D, 0x40, 0x7f] {
        p.point(format!("index {index:#x}"));
        rtc::write(p, 0x40, 0x40)?;
        rtc::write(p, 0x7f, 0x7f)?;
        let (plain, masked) = (rtc::read(p, index)?, rtc::read(p, index | 0x80)?);
        p.check_eq("with bit 7", masked, plain);
    }
    rtc::write(p, 0x40 | 0x80, 0x5a)?;
    let got = rtc::read(p, 0x40)?;
    p.check_eq("byte written with bit 7", got, 0x5au8);
    Ok(())
}

fn index_not_readable(p: &mut Probe<'_>) -> Result<(), Stop> {
    let valid = rtc::read(p, REGISTER_D)?;
    p.check_eq("register D", valid, 0x80u8);
    let got = p.inb(INDEX)?;
    p.check_eq("index port", got, 0xffu8);
    Ok(())
}

fn register_a_power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = rtc::read(p, REGISTER_A)?;
    p.check_eq("register A without UIP", got & !UIP, 0x26u8);
    Ok(())
}

/// Time stands still half a second before an update, or close enough that UIP cannot show twice in a row.
fn register_a_uip(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x80, 0xa6, 0xff] {
        p.point(format!("{value:#x}"));
        rtc::write(p, REGISTER_A, value)?;
        let got = rtc::read(p, REGISTER_A)?;
        p.check_eq("divider and rate", got & !UIP, value & !UIP);
        if p.caps().missing(Caps::FROZEN).is_empty() {
            p.check_eq("UIP", got & UIP, 0u8);
        }
    }
    Ok(())
}

fn register_b_power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = rtc::read(p, REGISTER_B)?;
    p.check_eq("register B", got, HOURS_24);
    Ok(())
}

fn register_b_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    // UIE is left out where SET is in: writing SET clears it, which is another case.
    for value in (0..=0xffu8).filter(|value| value & SET == 0 || value & UIE == 0) {
        p.point(format!("{value:#x}"));
        rtc::write(p, REGISTER_B, value)?;
        let got = rtc::read(p, REGISTER_B)?;
        p.check_eq("register B", got, value);
    }
    Ok(())
}

fn set_clears_uie(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, UIE | HOURS_24)?;
    let before = rtc::read(p, REGISTER_B)?;
    p.check_eq("register B with UIE", before, UIE | HOURS_24);
    rtc::write(p, REGISTER_B, SET | UIE | HOURS_24)?;
    let after = rtc::read(p, REGISTER_B)?;
    p.check_eq("register B after SET", after, SET | HOURS_24);
    Ok(())
}

fn set_stops_time(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, SET | HOURS_24)?;
    let before = time(p)?;
    p.advance(5 * SECOND_NS)?;
    let after = time(p)?;
    p.check_bytes("time five seconds later", &after, &before);
    let valid = rtc::read(p, REGISTER_D)?;
    p.check_eq("register D", valid, 0x80u8);
    Ok(())
}

fn register_c_read_clears(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::read(p, REGISTER_C)?;
    p.advance(SECOND_NS + SLACK_NS)?;
    let first = rtc::read(p, REGISTER_C)?;
    p.check_eq("UF on the first read", first & UF, UF);
    let second = rtc::read(p, REGISTER_C)?;
    p.check_eq("register C on the second read", second, 0u8);
    Ok(())
}

fn register_c_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::read(p, REGISTER_C)?;
    rtc::write(p, REGISTER_C, 0xff)?;
    let got = rtc::read(p, REGISTER_C)?;
    p.check_eq("register C", got, 0u8);
    Ok(())
}

fn register_d_valid(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = rtc::read(p, REGISTER_D)?;
    p.check_eq("register D", got, 0x80u8);
    Ok(())
}

fn register_d_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0, 0x7f, 0xff] {
        p.point(format!("{value:#x}"));
        rtc::write(p, REGISTER_D, value)?;
        let got = rtc::read(p, REGISTER_D)?;
        p.check_eq("register D", got, 0x80u8);
    }
    Ok(())
}

fn update_flag(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::read(p, REGISTER_C)?;
    p.advance(SECOND_NS / 2)?;
    let middle = rtc::read(p, REGISTER_C)?;
    p.check_eq("UF in the middle of the second", middle & UF, 0u8);
    p.advance(SECOND_NS / 2 + SLACK_NS)?;
    let after = rtc::read(p, REGISTER_C)?;
    p.check_eq("UF after the second", after & UF, UF);
    p.check_eq("IRQF, nothing being enabled", after & IRQF, 0u8);
    Ok(())
}

/// The chip warns 244 us ahead: low at half a second, high 200 us before the second, low after it.
fn update_window(p: &mut Probe<'_>) -> Result<(), Stop> {
    for second in 1..=3 {
        p.point(format!("second {second}"));
        p.advance(SECOND_NS / 2)?;
        let middle = rtc::read(p, REGISTER_A)?;
        p.check_eq("UIP in the middle", middle & UIP, 0u8);
        p.advance(SECOND_NS / 2 - 200_000)?;
        let before = rtc::read(p, REGISTER_A)?;
        p.check_eq("UIP 200 us before the update", before & UIP, UIP);
        p.advance(200_000)?;
        let seconds = rtc::read(p, SECONDS)?;
        p.check_eq("seconds after the update", seconds, 0x50u8 + second);
    }
    Ok(())
}

fn alarm_bytes(p: &mut Probe<'_>) -> Result<(), Stop> {
    for index in [SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM] {
        for value in [0x00, 0x07, 0x12, 0xc0, 0xff] {
            p.point(format!("index {index} value {value:#x}"));
            rtc::write(p, index, value)?;
            let got = rtc::read(p, index)?;
            p.check_eq("alarm byte", got, value);
        }
    }
    Ok(())
}

/// The clock starts at :50; the alarm is set for :55 of any minute and hour.
fn alarm_at_time(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, SECONDS_ALARM, 0x55)?;
    rtc::write(p, MINUTES_ALARM, 0xff)?;
    rtc::write(p, HOURS_ALARM, 0xc0)?;
    rtc::read(p, REGISTER_C)?;
    p.advance(4 * SECOND_NS + SLACK_NS)?;
    let before = rtc::read(p, REGISTER_C)?;
    p.check_eq("AF at :54", before & AF, 0u8);
    p.advance(SECOND_NS)?;
    let after = rtc::read(p, REGISTER_C)?;
    p.check_eq("AF at :55", after & AF, AF);
    p.advance(SECOND_NS)?;
    let later = rtc::read(p, REGISTER_C)?;
    p.check_eq("AF at :56", later & AF, 0u8);
    Ok(())
}

fn alarm_any_time(p: &mut Probe<'_>) -> Result<(), Stop> {
    for index in [SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM] {
        rtc::write(p, index, 0xff)?;
    }
    rtc::read(p, REGISTER_C)?;
    p.advance(SLACK_NS)?;
    for second in 1..=3 {
        p.point(format!("second {second}"));
        p.advance(SECOND_NS)?;
        let got = rtc::read(p, REGISTER_C)?;
        p.check_eq("AF", got & AF, AF);
        let again = rtc::read(p, REGISTER_C)?;
        p.check_eq("AF read again", again & AF, 0u8);
    }
    Ok(())
}

/// Rate r from 3 on is 2^(r-1) cycles of 32768 Hz; rates 1 and 2 are those of 8 and 9. Looks four times a period for
/// eight periods: the divider runs free, so the count may be off by one at either end.
fn periodic_rates(p: &mut Probe<'_>) -> Result<(), Stop> {
    for rate in 1..=15u8 {
        p.point(format!("rate {rate}"));
        let shift = if rate < 3 { rate + 6 } else { rate - 1 };
        let period_ns = (SECOND_NS << shift) / 32768;
        rtc::write(p, REGISTER_B, HOURS_24)?;
        rtc::write(p, REGISTER_A, 0x20 | rate)?;
        rtc::write(p, REGISTER_B, HOURS_24 | PIE)?;
        rtc::read(p, REGISTER_C)?;
        let mut count = 0;
        for _ in 0..4 * 8 {
            p.advance(period_ns / 4)?;
            let flags = rtc::read(p, REGISTER_C)?;
            if flags & PF != 0 {
                count += 1;
                p.check_eq("IRQF with PF", flags & IRQF, IRQF);
            }
        }
        p.check(
            "periods with PF of eight",
            (7..=9).contains(&count),
            count.to_string(),
            "7..=9",
        );
    }
    Ok(())
}

fn periodic_without_enable(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_A, 0x26)?;
    rtc::read(p, REGISTER_C)?;
    p.advance(2_000_000)?;
    let got = rtc::read(p, REGISTER_C)?;
    p.check_eq("PF after two periods of 1024 Hz", got & PF, PF);
    p.check_eq("IRQF", got & IRQF, 0u8);
    Ok(())
}

fn interrupt_update(p: &mut Probe<'_>) -> Result<(), Stop> {
    let of_clock = |events: Vec<LineEvent>| -> Vec<bool> {
        events
            .into_iter()
            .filter(|event| event.gsi == 8)
            .map(|event| event.level)
            .collect()
    };
    rtc::read(p, REGISTER_C)?;
    rtc::write(p, REGISTER_B, UIE | HOURS_24)?;
    p.line_events()?;
    p.advance(SECOND_NS + SLACK_NS)?;
    let raised = of_clock(p.line_events()?);
    p.check(
        "changes of line 8 at the update",
        raised == [true],
        format!("{raised:?}"),
        "[true]",
    );
    let flags = rtc::read(p, REGISTER_C)?;
    p.check_eq("IRQF and UF", flags & (IRQF | UF), IRQF | UF);
    let lowered = of_clock(p.line_events()?);
    p.check(
        "changes of line 8 at the read of C",
        lowered == [false],
        format!("{lowered:?}"),
        "[false]",
    );
    Ok(())
}

fn alarm_exact(p: &mut Probe<'_>) -> Result<(), Stop> {
    // From 23:59:50: midnight and three seconds.
    for (index, value) in [(SECONDS_ALARM, 0x03), (MINUTES_ALARM, 0x00), (HOURS_ALARM, 0x00)] {
        rtc::write(p, index, value)?;
    }
    rtc::read(p, REGISTER_C)?;
    p.advance(SLACK_NS)?;
    for second in 1..=20u64 {
        p.point(format!("second {second}"));
        p.advance(SECOND_NS)?;
        let got = rtc::read(p, REGISTER_C)?;
        p.check_eq("AF", got & AF != 0, second == 13);
    }
    Ok(())
}

/// From 12:59:58 PM to 1:00:00 PM, 0x81 in BCD.
fn alarm_twelve_hours(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, 0)?;
    for (index, value) in [(SECONDS_ALARM, 0x00), (MINUTES_ALARM, 0x00), (HOURS_ALARM, 0x81)] {
        rtc::write(p, index, value)?;
    }
    rtc::read(p, REGISTER_C)?;
    p.advance(SECOND_NS + SLACK_NS)?;
    let before = rtc::read(p, REGISTER_C)?;
    p.check_eq("AF at 12:59:59 PM", before & AF, 0u8);
    p.advance(SECOND_NS)?;
    let at = rtc::read(p, REGISTER_C)?;
    p.check_eq("AF at 1:00:00 PM", at & AF, AF);
    let hours = rtc::read(p, HOURS)?;
    p.check_eq("hours", hours, 0x81u8);
    Ok(())
}

fn divider_reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let before = time(p)?;
    rtc::write(p, REGISTER_A, 0x66)?;
    p.advance(5 * SECOND_NS)?;
    let held = time(p)?;
    p.check_bytes("time while held", &held, &before);
    rtc::write(p, REGISTER_A, 0x26)?;
    p.advance(SECOND_NS / 2 - 20 * SLACK_NS)?;
    let early = rtc::read(p, SECONDS)?;
    p.check_eq("seconds less than half a second later", early, before[5]);
    p.advance(40 * SLACK_NS)?;
    let late = rtc::read(p, SECONDS)?;
    p.check_eq("seconds more than half a second later", late, before[5].wrapping_add(1));
    Ok(())
}

fn midnight(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_twelve(p, 0x12, 0x0c)
}

fn noon(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_twelve(p, 0x92, 0x8c)
}

fn check_twelve(p: &mut Probe<'_>, bcd: u8, binary: u8) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, 0)?;
    let got = rtc::read(p, HOURS)?;
    p.check_eq("hours in BCD", got, bcd);
    rtc::write(p, REGISTER_B, DM)?;
    let got = rtc::read(p, HOURS)?;
    p.check_eq("hours in binary", got, binary);
    Ok(())
}

/// Levels that the clock's line took since the last call.
fn clock_line(p: &mut Probe<'_>) -> Result<Vec<bool>, Stop> {
    let events = p.line_events()?;
    Ok(events
        .into_iter()
        .filter(|event| event.gsi == 8)
        .map(|event| event.level)
        .collect())
}

fn check_line(p: &mut Probe<'_>, what: &str, want: &[bool]) -> Result<(), Stop> {
    let got = clock_line(p)?;
    p.check(what, got == want, format!("{got:?}"), format!("{want:?}"));
    Ok(())
}

fn interrupt_alarm(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, SECONDS_ALARM, 0x52)?;
    rtc::write(p, MINUTES_ALARM, 0xff)?;
    rtc::write(p, HOURS_ALARM, 0xff)?;
    rtc::read(p, REGISTER_C)?;
    rtc::write(p, REGISTER_B, AIE | HOURS_24)?;
    p.line_events()?;
    p.advance(SECOND_NS + SLACK_NS)?;
    check_line(p, "changes of line 8 a second before", &[])?;
    p.advance(SECOND_NS)?;
    check_line(p, "changes of line 8 at the alarm", &[true])?;
    let flags = rtc::read(p, REGISTER_C)?;
    p.check_eq("IRQF and AF", flags & (IRQF | AF), IRQF | AF);
    check_line(p, "changes of line 8 at the read of C", &[false])
}

fn interrupt_disable(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::read(p, REGISTER_C)?;
    rtc::write(p, REGISTER_B, UIE | HOURS_24)?;
    p.line_events()?;
    p.advance(SECOND_NS + SLACK_NS)?;
    check_line(p, "changes of line 8 at the update", &[true])?;
    rtc::write(p, REGISTER_B, HOURS_24)?;
    check_line(p, "changes of line 8 as UIE is cleared", &[false])?;
    let flags = rtc::read(p, REGISTER_C)?;
    p.check_eq("UF, still set", flags & UF, UF);
    p.check_eq("IRQF", flags & IRQF, 0u8);
    Ok(())
}

fn interrupt_none(p: &mut Probe<'_>) -> Result<(), Stop> {
    for index in [SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM] {
        rtc::write(p, index, 0xff)?;
    }
    rtc::read(p, REGISTER_C)?;
    p.line_events()?;
    p.advance(3 * SECOND_NS + SLACK_NS)?;
    check_line(p, "changes of line 8", &[])?;
    let flags = rtc::read(p, REGISTER_C)?;
    p.check_eq("UF and AF", flags & (UF | AF), UF | AF);
    p.check_eq("IRQF", flags & IRQF, 0u8);
    Ok(())
}

fn interrupt_periodic(p: &mut Probe<'_>) -> Result<(), Stop> {
    // 64 Hz.
    rtc::write(p, REGISTER_A, 0x2a)?;
    rtc::write(p, REGISTER_B, PIE | HOURS_24)?;
    rtc::read(p, REGISTER_C)?;
    p.line_events()?;
    for period in 1..=8 {
        p.point(format!("period {period}"));
        p.advance(SECOND_NS / 64 + 1000)?;
        check_line(p, "changes of line 8", &[true])?;
        let flags = rtc::read(p, REGISTER_C)?;
        p.check_eq("IRQF and PF", flags & (IRQF | PF), IRQF | PF);
        check_line(p, "changes of line 8 at the read of C", &[false])?;
    }
    Ok(())
}

fn rate_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_A, 0x20)?;
    rtc::write(p, REGISTER_B, PIE | HOURS_24)?;
    rtc::read(p, REGISTER_C)?;
    p.advance(2 * SECOND_NS)?;
    let flags = rtc::read(p, REGISTER_C)?;
    p.check_eq("PF and IRQF", flags & (PF | IRQF), 0u8);
    p.check_eq("UF, so time has passed", flags & UF, UF);
    Ok(())
}

fn ram_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    for pattern in [0x00u8, 0x55, 0xaa, 0xff] {
        for index in RAM {
            rtc::write(p, index, pattern ^ index)?;
        }
        for index in RAM {
            p.point(format!("index {index:#x}"));
            let got = rtc::read(p, index)?;
            p.check_eq("byte", got, pattern ^ index);
        }
    }
    Ok(())
}

/// RAM that no PC's firmware or machine gives a meaning.
const RAM: std::ops::Range<u8> = 0x38..0x40;

fn set_keeps_enables(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, PIE | AIE | HOURS_24)?;
    rtc::write(p, REGISTER_B, SET | PIE | AIE | UIE | HOURS_24)?;
    let got = rtc::read(p, REGISTER_B)?;
    p.check_eq("register B", got, SET | PIE | AIE | HOURS_24);
    Ok(())
}

fn reset_enables(p: &mut Probe<'_>) -> Result<(), Stop> {
    let enables = PIE | AIE | UIE;
    rtc::write(p, REGISTER_B, enables | HOURS_24)?;
    let before = rtc::read(p, REGISTER_B)?;
    p.require_eq("register B before the reset", before, enables | HOURS_24)?;
    p.reset()?;
    let after = rtc::read(p, REGISTER_B)?;
    p.check_eq("PIE, AIE and UIE", after & enables, 0u8);
    Ok(())
}

fn reset_format(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [SET | DM, HOURS_24, SET | DM | HOURS_24] {
        p.point(format!("register B {value:#x}"));
        rtc::write(p, REGISTER_B, value)?;
        p.reset()?;
        let after = rtc::read(p, REGISTER_B)?;
        p.check_eq("SET, DM and 24/12", after & (SET | DM | HOURS_24), value);
    }
    Ok(())
}

fn reset_ram(p: &mut Probe<'_>) -> Result<(), Stop> {
    let bytes = RAM.chain([SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM]);
    for index in bytes.clone() {
        rtc::write(p, index, 0x10 | index)?;
    }
    p.reset()?;
    for index in bytes {
        p.point(format!("index {index:#x}"));
        let got = rtc::read(p, index)?;
        p.check_eq("byte", got, 0x10 | index);
    }
    Ok(())
}

fn reset_time(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.reset()?;
    let got = time(p)?;
    p.check_bytes(
        "year, month, day, hours, minutes, seconds",
        &got,
        &[0x20, 0x02, 0x28, 0x23, 0x59, 0x50],
    );
    Ok(())
}

fn century_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes("a second later", &got, &[0x00, 0x01, 0x01, 0x00, 0x00, 0x00]);
    let century = rtc::read(p, CENTURY)?;
    p.check_eq("century", century, 0x21u8);
    Ok(())
}

fn leap_2000(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes("a second later", &got, &[0x00, 0x02, 0x29, 0x00, 0x00, 0x00]);
    Ok(())
}

fn short_month(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(SECOND_NS + SLACK_NS)?;
    let got = time(p)?;
    p.check_bytes("a second later", &got, &[0x21, 0x05, 0x01, 0x00, 0x00, 0x00]);
    Ok(())
}

fn start_date(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = time(p)?;
    p.check_bytes(
        "year, month, day, hours, minutes, seconds",
        &got,
        &[0x99, 0x11, 0x30, 0x04, 0x05, 0x06],
    );
    let century = rtc::read(p, CENTURY)?;
    p.check_eq("century", century, 0x19u8);
    Ok(())
}

fn year_9999(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = time(p)?;
    p.check_bytes("year, month, day", &got[..3], &[0x99, 0x12, 0x30]);
    let century = rtc::read(p, CENTURY)?;
    p.check_eq("century", century, 0x99u8);
    Ok(())
}

/// What the clock makes of such bytes is its own affair; it stays a clock.
fn invalid_survives(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x00, 0x7f, 0x99, 0xff] {
        p.point(format!("all time bytes {value:#x}"));
        rtc::write(p, REGISTER_B, SET | HOURS_24)?;
        for index in [SECONDS, MINUTES, HOURS, DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR, CENTURY] {
            rtc::write(p, index, value)?;
        }
        rtc::write(p, REGISTER_B, HOURS_24)?;
        p.advance(3 * SECOND_NS)?;
        time(p)?;
        let valid = rtc::read(p, REGISTER_D)?;
        p.check_eq("register D", valid, 0x80u8);
    }
    rtc::write(p, REGISTER_B, SET | HOURS_24)?;
    let good = [0x21, 0x06, 0x15, 0x10, 0x20, 0x30];
    for (index, byte) in [YEAR, MONTH, DAY_OF_MONTH, HOURS, MINUTES, SECONDS]
        .into_iter()
        .zip(good)
    {
        rtc::write(p, index, byte)?;
    }
    rtc::write(p, REGISTER_B, HOURS_24)?;
    p.advance(2 * SECOND_NS)?;
    let got = time(p)?;
    p.check_bytes("year to minutes, set anew", &got[..5], &good[..5]);
    Ok(())
}

fn none_while_set(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, SET | HOURS_24)?;
    rtc::read(p, REGISTER_C)?;
    for _ in 0..8 {
        p.advance(SECOND_NS - 200_000)?;
        let a = rtc::read(p, REGISTER_A)?;
        p.check_eq("UIP", a & UIP, 0u8);
        p.advance(200_000)?;
    }
    let flags = rtc::read(p, REGISTER_C)?;
    p.check_eq("UF", flags & UF, 0u8);
    let valid = rtc::read(p, REGISTER_D)?;
    p.check_eq("register D", valid, 0x80u8);
    Ok(())
}

fn start_day(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = time(p)?;
    p.check_bytes("year, month, day, hours", &got[..4], &[0x97, 0x11, 0x13, 0x04]);
    let century = rtc::read(p, CENTURY)?;
    p.check_eq("century", century, 0x19u8);
    Ok(())
}
