//! The real-time clock and its CMOS memory: an MC146818 with 128 bytes behind an index port (0x70) and a data port
//! (0x71).
//!
//! Source: Motorola MC146818A data sheet (1984), "Registers" and "Update cycle"; for the ports, the bytes past 0x3f and
//! wherever the data sheet is silent, the machine as measured on QEMU 4.2, 7.2 and 10.2.
//!
//! Deviations:
//! - An update takes no time: UIP is set for the 244 us before it and falls with it.
//! - Every time base of register A (DV 000, 001, 010) counts at the right rate, and the periodic rates are those of a
//!   32.768 kHz crystal.
//! - The day of the week follows from the date; what a guest writes there lasts until the clock next runs. Leap years
//!   are Gregorian, with the century of byte 0x32.
//! - A time byte written while the clock runs restarts the second; on a chip only the divider reset does.
//! - A value out of range (second 61, month 13) carries into the next unit when the clock next runs.
//! - Daylight saving (DSE) is stored and does nothing. There is no SQW pin, and VRT is always set.
//!
//! QEMU differs from the data sheet, and from this model, in these places: it sets PF only while PIE is set and
//! counts the first period from the write that sets PIE, where the chip takes the edges of its divider chain whatever
//! PIE says; it sets UF while SET inhibits updates; a reset leaves UIE set; bit 7 of the seconds can be written. Its
//! time also goes wrong for dates before 1970 or past 2262.

use crate::device::{Access, Ctx, Device, Region};
use crate::inspect::Inspector;
use crate::irq::Line;
use crate::units::Nanos;

/// What an RTC is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcConfig {
    /// Driven by the IRQ pin.
    pub line: Line,
    /// What the clock shows at virtual time 0, in seconds since 1970-01-01T00:00:00 of the calendar the guest reads.
    pub start_seconds: i64,
    /// `(index, byte)` of CMOS memory at power-on, such as the memory sizes. Indices are plain bytes: 0x0e..=0x7f
    /// except the century (0x32) and its alias (0x37).
    pub presets: Vec<(u8, u8)>,
}

/// An MC146818 at ports 0x70 and 0x71.
///
/// The flags of register C are a matter of time alone: they are worked out when somebody looks, and the device asks
/// for a tick only when an enabled one is due. A clock left alone for a century costs nothing.
#[derive(Clone, Debug)]
pub struct Rtc {
    // Configuration, fixed at construction.
    regions: [Region; 1],
    // Connections.
    line: Line,
    // State, all of it.
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    index: u8,
    /// All bytes as last stored. The time bytes count only while the clock is held; while it runs they follow `clock`.
    /// Register A is without UIP, register C without IRQF.
    cmos: [u8; 128],
    clock: Clock,
    /// The divider chain's position within its second, at virtual time 0.
    divider_phase_ns: u64,
    /// The time up to which register C's flags are worked out.
    flags_at: Nanos,
}

/// A count of seconds that has a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock {
    /// When it was last set,
    since: Nanos,
    /// to this many seconds since 1970
    seconds: i64,
    /// and this fraction.
    phase_ns: u64,
}

/// A calendar date and time of day.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Rtc {
    /// An RTC at power-on: 24-hour BCD mode, running, no interrupt enabled.
    ///
    /// # Panics
    /// When a preset is not a plain byte: the board's table is wrong.
    pub fn new(config: RtcConfig) -> Rtc {
        let mut cmos = [0; 128];
        cmos[usize::from(reg::REGISTER_A)] = reg::DV_32768_HZ | 6;
        cmos[usize::from(reg::REGISTER_B)] = reg::HOURS_24;
        for (index, byte) in config.presets {
            let plain =
                (reg::REGISTER_D + 1..128).contains(&index) && ![reg::CENTURY, reg::CENTURY_PS2].contains(&index);
            assert!(plain, "CMOS preset at {index:#x} is not a plain byte");
            cmos[usize::from(index)] = byte;
        }
        Rtc {
            regions: [Region::byte_ports(reg::INDEX_PORT, 2)],
            line: config.line,
            state: State {
                index: 0,
                cmos,
                clock: Clock {
                    since: Nanos(0),
                    seconds: config.start_seconds,
                    phase_ns: 0,
                },
                divider_phase_ns: 0,
                flags_at: Nanos(0),
            },
        }
    }

    fn update_line(&self, ctx: &mut Ctx<'_>) {
        ctx.lines.set(self.line, self.state.irqf());
    }
}

impl Device for Rtc {
    fn name(&self) -> &'static str {
        "rtc"
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: Access, ctx: &mut Ctx<'_>) -> u64 {
        if at.offset == 0 {
            // The index port is write-only.
            return 0xff;
        }
        self.state.update_flags(ctx.now);
        let value = self.state.read_data(ctx.now);
        self.update_line(ctx);
        u64::from(value)
    }

    fn write(&mut self, at: Access, value: u64, ctx: &mut Ctx<'_>) {
        if at.offset == 0 {
            // Bit 7 masks NMI on a PC and is not part of the index.
            self.state.index = value as u8 & 0x7f;
            return;
        }
        self.state.update_flags(ctx.now);
        self.state.write_data(value as u8, ctx.now);
        self.update_line(ctx);
    }

    fn deadline(&self) -> Option<Nanos> {
        let state = &self.state;
        let wanted = state.byte(reg::REGISTER_B) & !state.byte(reg::REGISTER_C);
        let periodic = (wanted & reg::PERIODIC != 0).then(|| state.next_tap()).flatten();
        let update = (wanted & reg::UPDATE != 0).then(|| state.next_update()).flatten();
        let alarm = (wanted & reg::ALARM != 0).then(|| state.next_alarm()).flatten();
        [periodic, update, alarm].into_iter().flatten().min()
    }

    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        self.state.update_flags(ctx.now);
        self.update_line(ctx);
    }

    /// The RESET pin: flags and enables go, time and memory stay. The index survives too, and so does shutdown status
    /// 0xfe (resume from suspend); any other becomes 0.
    fn reset(&mut self, ctx: &mut Ctx<'_>) {
        self.state.update_flags(ctx.now);
        *self.state.byte_mut(reg::REGISTER_B) &= !(reg::PERIODIC | reg::ALARM | reg::UPDATE | reg::SQWE);
        *self.state.byte_mut(reg::REGISTER_C) = 0;
        let shutdown = self.state.byte_mut(reg::SHUTDOWN_STATUS);
        if *shutdown != reg::SHUTDOWN_RESUME {
            *shutdown = 0;
        }
        self.update_line(ctx);
    }

    fn inspect(&self, out: &mut Inspector) {
        let state = &self.state;
        out.hex("index", state.index);
        out.hex("register_a", state.byte(reg::REGISTER_A));
        out.hex("register_b", state.byte(reg::REGISTER_B));
        out.hex("register_c", state.byte(reg::REGISTER_C));
        out.text("flags_at", state.flags_at);
        out.text("divider.phase", Nanos(state.divider_phase_ns));
        out.within("clock", |out| {
            out.text("since", state.clock.since);
            out.text("seconds", state.clock.seconds);
            out.text("phase", Nanos(state.clock.phase_ns));
        });
        out.within("cmos", |out| {
            for (index, &byte) in state.cmos.iter().enumerate() {
                if !(usize::from(reg::REGISTER_A)..=usize::from(reg::REGISTER_D)).contains(&index) {
                    out.hex(&format!("{index:02x}"), byte);
                }
            }
        });
    }
}

impl State {
    fn byte(&self, index: u8) -> u8 {
        self.cmos[usize::from(index)]
    }

    fn byte_mut(&mut self, index: u8) -> &mut u8 {
        &mut self.cmos[usize::from(index)]
    }

    /// Whether updates take place: SET is clear, a time base is selected and the divider is not held.
    fn running(&self) -> bool {
        self.byte(reg::REGISTER_B) & reg::SET == 0 && self.byte(reg::REGISTER_A) & reg::DV <= reg::DV_32768_HZ
    }

    fn divider_held(&self) -> bool {
        self.byte(reg::REGISTER_A) & reg::DV_RESET == reg::DV_RESET
    }

    fn irqf(&self) -> bool {
        self.byte(reg::REGISTER_B) & self.byte(reg::REGISTER_C) & (reg::PERIODIC | reg::ALARM | reg::UPDATE) != 0
    }

    fn read_data(&mut self, now: Nanos) -> u8 {
        if self.index == reg::CENTURY_PS2 {
            self.index = reg::CENTURY;
        }
        match self.index {
            index if is_time(index) && self.running() => {
                let bytes = self.encode(&Civil::from_seconds(self.clock.at(now).0));
                let found = bytes.into_iter().find(|&(of, _)| of == index);
                found.map_or(0, |(_, byte)| byte)
            }
            reg::REGISTER_A => {
                let updating = self.running() && UPDATE_FROM_NS <= self.clock.at(now).1;
                self.byte(reg::REGISTER_A) | if updating { reg::UIP } else { 0 }
            }
            reg::REGISTER_C => {
                let irqf = if self.irqf() { reg::IRQF } else { 0 };
                std::mem::take(self.byte_mut(reg::REGISTER_C)) | irqf
            }
            reg::REGISTER_D => reg::VRT,
            index => self.byte(index),
        }
    }

    fn write_data(&mut self, value: u8, now: Nanos) {
        if self.index == reg::CENTURY_PS2 {
            self.index = reg::CENTURY;
        }
        match self.index {
            index if is_time(index) => {
                let running = self.running();
                if running {
                    self.hold(now);
                }
                // The high bit of the seconds is read-only.
                *self.byte_mut(index) = if index == reg::SECONDS { value & 0x7f } else { value };
                if running {
                    self.release(now, self.clock.phase_ns);
                }
            }
            reg::REGISTER_A => self.write_a(value, now),
            reg::REGISTER_B => self.write_b(value, now),
            reg::REGISTER_C | reg::REGISTER_D => {}
            index => *self.byte_mut(index) = value,
        }
    }

    fn write_a(&mut self, value: u8, now: Nanos) {
        let (was_running, was_held) = (self.running(), self.divider_held());
        if was_running {
            self.hold(now);
        }
        *self.byte_mut(reg::REGISTER_A) = value & !reg::UIP;
        if was_held && !self.divider_held() {
            // The first update comes half a second after the divider chain starts again.
            self.clock.since = now;
            self.clock.phase_ns = HALF_SECOND_NS;
            self.divider_phase_ns = (HALF_SECOND_NS + SECOND_NS - now.0 % SECOND_NS) % SECOND_NS;
        }
        if self.running() {
            self.resume(was_running, now);
        }
    }

    fn write_b(&mut self, value: u8, now: Nanos) {
        let value = if value & reg::SET == 0 {
            value
        } else {
            value & !reg::UPDATE
        };
        let was_running = self.running();
        let before = self.byte(reg::REGISTER_B);
        if was_running && value & reg::SET != 0 {
            self.hold(now);
        }
        // The bytes are taken in the format they were written in, so before DM and 24/12 change.
        *self.byte_mut(reg::REGISTER_B) = before & !reg::SET | value & reg::SET;
        if self.running() {
            self.resume(was_running, now);
        }
        *self.byte_mut(reg::REGISTER_B) = value;
    }

    /// Starts a held clock from the time bytes; the fraction of the second has gone on meanwhile.
    fn resume(&mut self, was_running: bool, now: Nanos) {
        if !was_running {
            self.release(now, self.clock.at(now).1);
        }
    }

    /// Fills the time bytes from the clock.
    fn hold(&mut self, now: Nanos) {
        for (index, byte) in self.encode(&Civil::from_seconds(self.clock.at(now).0)) {
            *self.byte_mut(index) = byte;
        }
    }

    /// Sets the clock from the time bytes.
    fn release(&mut self, now: Nanos, phase_ns: u64) {
        self.clock = Clock {
            since: now,
            seconds: self.decode(),
            phase_ns,
        };
    }

    /// Works out register C's flags for the time from `flags_at` to `now`.
    fn update_flags(&mut self, now: Nanos) {
        let mut flags = 0;
        if let Some(period) = self.period()
            && self.taps(self.flags_at) / period != self.taps(now) / period
        {
            flags |= reg::PERIODIC;
        }
        if self.running() {
            let (before, after) = (self.clock.at(self.flags_at).0, self.clock.at(now).0);
            if before < after {
                flags |= reg::UPDATE;
            }
            let due = before < after && self.byte(reg::REGISTER_C) & reg::ALARM == 0;
            if due && self.alarm_after(before).is_some_and(|alarm| alarm <= after) {
                flags |= reg::ALARM;
            }
        }
        *self.byte_mut(reg::REGISTER_C) |= flags;
        self.flags_at = now;
    }

    /// The period of PF in cycles of 32768 Hz; `None` while no tap is selected or the divider is held.
    fn period(&self) -> Option<u64> {
        if self.divider_held() {
            return None;
        }
        match self.byte(reg::REGISTER_A) & reg::RS {
            0 => None,
            // The two fastest taps of the longer chains do not exist at 32768 Hz; their codes select slower ones.
            rate @ 1..3 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Cycles of 32768 Hz that the divider chain has seen.
    fn taps(&self, now: Nanos) -> u64 {
        let divided_ns = u128::from(now.0) + u128::from(self.divider_phase_ns);
        (divided_ns * CRYSTAL_HZ / u128::from(SECOND_NS)) as u64
    }

    /// When the selected tap has its next edge after `flags_at`.
    fn next_tap(&self) -> Option<Nanos> {
        let period = self.period()?;
        let edge = u128::from((self.taps(self.flags_at) / period + 1) * period);
        let divided_ns = (edge * u128::from(SECOND_NS)).div_ceil(CRYSTAL_HZ);
        u64::try_from(divided_ns - u128::from(self.divider_phase_ns))
            .ok()
            .map(Nanos)
    }

    /// When the first update after `flags_at` is.
    fn next_update(&self) -> Option<Nanos> {
        let (seconds, _) = self.clock.at(self.flags_at);
        self.running()
            .then(|| self.clock.when(seconds.checked_add(1)?))
            .flatten()
    }

    /// When the first update after `flags_at` is that matches the alarm.
    fn next_alarm(&self) -> Option<Nanos> {
        let (seconds, _) = self.clock.at(self.flags_at);
        self.running()
            .then(|| self.clock.when(self.alarm_after(seconds)?))
            .flatten()
    }

    /// The first second after `seconds` at which the alarm bytes match; `None` when no time of day matches them.
    fn alarm_after(&self, seconds: i64) -> Option<i64> {
        let matches = |alarm: u8, byte: u8| reg::DONT_CARE <= alarm || alarm == byte;
        let hour = |hour| matches(self.byte(reg::HOURS_ALARM), self.encode_hour(hour));
        let minute = |minute| matches(self.byte(reg::MINUTES_ALARM), self.encode_number(minute));
        let second = |second| matches(self.byte(reg::SECONDS_ALARM), self.encode_number(second));
        if !((0..24).any(hour) && (0..60).any(minute) && (0..60).any(second)) {
            return None;
        }
        // Whole hours and minutes that do not match are skipped, so this takes at most 24 + 60 + 60 rounds.
        let today = seconds.rem_euclid(DAY);
        let mut ahead = 1;
        loop {
            let time = (today + ahead) % DAY;
            if !hour(time / 3600) {
                ahead += 3600 - time % 3600;
            } else if !minute(time / 60 % 60) {
                ahead += 60 - time % 60;
            } else if !second(time % 60) {
                ahead += 1;
            } else {
                return seconds.checked_add(ahead);
            }
        }
    }

    /// The time bytes in the format that register B selects.
    fn encode(&self, civil: &Civil) -> [(u8, u8); 8] {
        [
            (reg::SECONDS, self.encode_number(civil.second)),
            (reg::MINUTES, self.encode_number(civil.minute)),
            (reg::HOURS, self.encode_hour(civil.hour)),
            (reg::DAY_OF_WEEK, self.encode_number(civil.weekday)),
            (reg::DATE_OF_MONTH, self.encode_number(civil.day)),
            (reg::MONTH, self.encode_number(civil.month)),
            (reg::YEAR, self.encode_number(civil.year.rem_euclid(100))),
            (reg::CENTURY, self.encode_number(civil.year.div_euclid(100))),
        ]
    }

    fn encode_number(&self, number: i64) -> u8 {
        if self.byte(reg::REGISTER_B) & reg::DM == 0 {
            // A century past 99 does not fit; its high digit is cut as a byte cuts it.
            (number / 10 * 16 + number % 10) as u8
        } else {
            number as u8
        }
    }

    fn encode_hour(&self, hour: i64) -> u8 {
        if self.byte(reg::REGISTER_B) & reg::HOURS_24 != 0 {
            return self.encode_number(hour);
        }
        let afternoon = if hour < 12 { 0 } else { reg::PM };
        self.encode_number((hour + 11) % 12 + 1) | afternoon
    }

    /// The time bytes as seconds since 1970; the weekday does not count.
    fn decode(&self) -> i64 {
        let number = |index| self.decode_number(self.byte(index));
        let hours = self.byte(reg::HOURS);
        let mut hour = self.decode_number(hours & !reg::PM);
        if self.byte(reg::REGISTER_B) & reg::HOURS_24 == 0 {
            hour = hour % 12 + if hours & reg::PM == 0 { 0 } else { 12 };
        }
        let year = 100 * number(reg::CENTURY) + number(reg::YEAR);
        let days = days_from_civil(year, number(reg::MONTH), number(reg::DATE_OF_MONTH));
        DAY * days + 3600 * hour + 60 * number(reg::MINUTES) + number(reg::SECONDS)
    }

    /// A time byte's number. One that would mean "don't care" in an alarm counts as -1, as on the machine measured.
    fn decode_number(&self, byte: u8) -> i64 {
        if reg::DONT_CARE <= byte {
            -1
        } else if self.byte(reg::REGISTER_B) & reg::DM == 0 {
            i64::from(byte >> 4) * 10 + i64::from(byte & 0x0f)
        } else {
            i64::from(byte)
        }
    }
}

impl Clock {
    /// Seconds and nanoseconds within the second at `now`, which is not before `since`.
    fn at(&self, now: Nanos) -> (i64, u64) {
        let elapsed = now.0.saturating_sub(self.since.0);
        let fraction = elapsed % SECOND_NS + self.phase_ns;
        let seconds = elapsed / SECOND_NS + fraction / SECOND_NS;
        (self.seconds.saturating_add_unsigned(seconds), fraction % SECOND_NS)
    }

    /// When the clock turns to `seconds`, which is later than the time it was set to; `None` beyond the end of time.
    fn when(&self, seconds: i64) -> Option<Nanos> {
        let ahead = u64::try_from(seconds.checked_sub(self.seconds)?).ok()?;
        let ahead_ns = ahead.checked_mul(SECOND_NS)?.checked_sub(self.phase_ns)?;
        self.since.0.checked_add(ahead_ns).map(Nanos)
    }
}

impl Civil {
    /// The Gregorian date and time of a second counted from 1970-01-01T00:00:00, by Howard Hinnant's algorithm: years
    /// start in March, so that the leap day comes last.
    fn from_seconds(seconds: i64) -> Civil {
        let time = seconds.rem_euclid(DAY);
        let days = seconds.div_euclid(DAY);
        let since_march_0 = days + DAYS_TO_1970;
        let era = since_march_0.div_euclid(DAYS_PER_ERA);
        let day_of_era = since_march_0.rem_euclid(DAYS_PER_ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Civil {
            year: 400 * era + year_of_era + i64::from(month < 3),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            // 1970-01-01 was a Thursday, and Sunday is 1.
            weekday: (days + 4).rem_euclid(7) + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }
}

/// Days from 1970-01-01 to a date. Months and days out of range carry: month 13 is January of the next year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 {
        (year - 1, month + 12)
    } else {
        (year, month)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // Counted from March, 153 days are five months; day 0 of March 0000 is the day before the era starts.
    365 * year + leap_days + (153 * month - 457).div_euclid(5) + day - 1 - DAYS_TO_1970
}

fn is_time(index: u8) -> bool {
    matches!(
        index,
        reg::SECONDS
            | reg::MINUTES
            | reg::HOURS
            | reg::DAY_OF_WEEK
            | reg::DATE_OF_MONTH
            | reg::MONTH
            | reg::YEAR
            | reg::CENTURY
    )
}

const SECOND_NS: u64 = Nanos::SECOND.0;
const HALF_SECOND_NS: u64 = SECOND_NS / 2;
const CRYSTAL_HZ: u128 = 32_768;
/// UIP is set from here to the end of the second: the last 8 cycles of the crystal, 244140 ns.
const UPDATE_FROM_NS: u64 = SECOND_NS - 8 * SECOND_NS / 32_768;
/// Seconds in a day.
const DAY: i64 = 86_400;
/// Days in 400 years.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// Indices and bits.
mod reg {
    pub(super) const INDEX_PORT: u16 = 0x70;

    pub(super) const SECONDS: u8 = 0x00;
    pub(super) const SECONDS_ALARM: u8 = 0x01;
    pub(super) const MINUTES: u8 = 0x02;
    pub(super) const MINUTES_ALARM: u8 = 0x03;
    pub(super) const HOURS: u8 = 0x04;
    pub(super) const HOURS_ALARM: u8 = 0x05;
    pub(super) const DAY_OF_WEEK: u8 = 0x06;
    pub(super) const DATE_OF_MONTH: u8 = 0x07;
    pub(super) const MONTH: u8 = 0x08;
    pub(super) const YEAR: u8 = 0x09;
    pub(super) const REGISTER_A: u8 = 0x0a;
    pub(super) const REGISTER_B: u8 = 0x0b;
    pub(super) const REGISTER_C: u8 = 0x0c;
    pub(super) const REGISTER_D: u8 = 0x0d;
    pub(super) const SHUTDOWN_STATUS: u8 = 0x0f;
    pub(super) const CENTURY: u8 = 0x32;
    /// Where the PS/2 keeps the century; it selects [`CENTURY`].
    pub(super) const CENTURY_PS2: u8 = 0x37;

    /// Hours bytes in 12-hour mode: afternoon.
    pub(super) const PM: u8 = 0x80;
    /// Alarm bytes from here on match any time.
    pub(super) const DONT_CARE: u8 = 0xc0;

    pub(super) const UIP: u8 = 0x80;
    pub(super) const DV: u8 = 0x70;
    pub(super) const DV_32768_HZ: u8 = 0x20;
    /// Both bits set hold the divider chain in reset, whatever the third says.
    pub(super) const DV_RESET: u8 = 0x60;
    pub(super) const RS: u8 = 0x0f;

    pub(super) const SET: u8 = 0x80;
    pub(super) const SQWE: u8 = 0x08;
    pub(super) const DM: u8 = 0x04;
    pub(super) const HOURS_24: u8 = 0x02;

    pub(super) const IRQF: u8 = 0x80;
    /// PIE in register B, PF in register C.
    pub(super) const PERIODIC: u8 = 0x40;
    /// AIE and AF.
    pub(super) const ALARM: u8 = 0x20;
    /// UIE and UF.
    pub(super) const UPDATE: u8 = 0x10;

    pub(super) const VRT: u8 = 0x80;

    /// Shutdown status that means resume from suspend.
    pub(super) const SHUTDOWN_RESUME: u8 = 0xfe;
}

#[cfg(test)]
mod tests;
