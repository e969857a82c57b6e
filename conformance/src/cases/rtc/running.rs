//! A clock that runs while its registers are written.

use super::{SECOND_NS, SLACK_NS, TIMED, TIMED_LINES};
use crate::case::{Body, Case};
use crate::clause::{mc146818 as clause, microvm};
use crate::driver::rtc::{
    self, CENTURY, DAY_OF_MONTH, HOURS, HOURS_24, MINUTES, MONTH, PIE, REGISTER_A, REGISTER_B, REGISTER_C, SECONDS,
    SET, YEAR,
};
use crate::machine::{Caps, LineEvent, Stop};
use crate::probe::Probe;

pub(super) const RATE_KEEPS_UPDATE: Case = Case {
    id: "rtc/divider/rate-keeps-update",
    title: "Writing another rate to register A leaves the next update where it is.",
    clause: &clause::TIME_UPDATE,
    needs: TIMED,
    body: Body::Bus(rate_keeps_update),
    ..super::AREA
};

pub(super) const PERIODIC_AFTER_DIVIDER: Case = Case {
    id: "rtc/interrupt/periodic-after-divider",
    title: "The periodic interrupt drives the line in time after the divider was held in reset.",
    clause: &clause::INTERRUPT,
    needs: TIMED_LINES,
    body: Body::Bus(periodic_after_divider),
    ..super::AREA
};

pub(super) const SET_ALONE: Case = Case {
    id: "rtc/register-b/set-alone",
    title: "SET written with no other bit holds the time that it finds.",
    clause: &clause::REGISTER_B_SET,
    needs: TIMED,
    body: Body::Bus(set_alone),
    ..super::AREA
};

pub(super) const SHUTDOWN_STATUS: Case = Case {
    id: "rtc/reset/shutdown-status",
    title: "A reset clears the shutdown status, but not that of a suspended guest.",
    clause: &microvm::SHUTDOWN_STATUS,
    needs: Caps::RESET,
    body: Body::Bus(shutdown_status),
    ..super::AREA
};

pub(super) const WRITTEN: Case = Case {
    id: "rtc/time/written-while-running",
    title: "A time byte that is written while the clock runs is the time from then on.",
    clause: &clause::ADDRESS_MAP,
    needs: Caps::FROZEN,
    body: Body::Bus(written),
    ..super::AREA
};

/// Register A with the same divider, at 1024, 64 and 2 Hz.
const OTHER_RATES: [u8; 3] = [0x26, 0x2a, 0x2f];

fn rate_keeps_update(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut last = rtc::read(p, SECONDS)?;
    for rate in OTHER_RATES {
        p.point(format!("register A {rate:#x}"));
        p.advance(SECOND_NS * 3 / 10)?;
        rtc::write(p, REGISTER_A, rate)?;
        p.advance(SECOND_NS * 7 / 10 - SLACK_NS)?;
        let early = rtc::read(p, SECONDS)?;
        p.check_eq("seconds before a second is over", early, last);
        p.advance(2 * SLACK_NS)?;
        let late = rtc::read(p, SECONDS)?;
        p.check("seconds after it", late != last, format!("{late:#x}"), "the next");
        p.advance(SECOND_NS - SLACK_NS)?;
        last = rtc::read(p, SECONDS)?;
    }
    Ok(())
}

fn periodic_after_divider(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.advance(SECOND_NS / 5)?;
    rtc::write(p, REGISTER_A, 0x66)?;
    p.advance(SECOND_NS / 10)?;
    rtc::write(p, REGISTER_A, 0x26)?;
    rtc::write(p, REGISTER_B, PIE | HOURS_24)?;
    rtc::read(p, REGISTER_C)?;
    p.line_events()?;
    for period in 1..=3 {
        p.point(format!("period {period}"));
        // 1024 Hz.
        p.advance(SECOND_NS.div_ceil(1024))?;
        let rises: Vec<LineEvent> = p.line_events()?;
        let rose = rises.iter().any(|event| (event.gsi, event.level) == (8, true));
        p.check("line 8 after a period", rose, format!("{rises:?}"), "a rise");
        rtc::read(p, REGISTER_C)?;
    }
    Ok(())
}

fn set_alone(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0, HOURS_24] {
        p.point(format!("register B {value:#x}, then SET"));
        rtc::write(p, REGISTER_B, value)?;
        p.advance(3 * SECOND_NS + SECOND_NS / 2)?;
        let indices = [SECONDS, MINUTES, DAY_OF_MONTH, MONTH, YEAR, CENTURY];
        let before: Result<Vec<u8>, Stop> = indices.iter().map(|&index| rtc::read(p, index)).collect();
        rtc::write(p, REGISTER_B, SET)?;
        let set = rtc::read(p, REGISTER_B)?;
        p.require_eq("register B", set, SET)?;
        let after: Result<Vec<u8>, Stop> = indices.iter().map(|&index| rtc::read(p, index)).collect();
        p.check_bytes("seconds, minutes, day, month, year, century", &after?, &before?);
    }
    Ok(())
}

fn shutdown_status(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (status, want) in [(0x5a, 0), (0xfe, 0xfe), (0xff, 0), (0x01, 0)] {
        p.point(format!("{status:#x}"));
        rtc::write(p, SHUTDOWN, status)?;
        let before = rtc::read(p, SHUTDOWN)?;
        p.require_eq("byte 0x0f before the reset", before, status)?;
        p.reset()?;
        let after = rtc::read(p, SHUTDOWN)?;
        p.check_eq("byte 0x0f after it", after, want as u8);
    }
    Ok(())
}

const SHUTDOWN: u8 = 0x0f;

fn written(p: &mut Probe<'_>) -> Result<(), Stop> {
    rtc::write(p, REGISTER_B, HOURS_24)?;
    for (index, value) in [
        (SECONDS, 0x17u8),
        (MINUTES, 0x34),
        (HOURS, 0x05),
        (DAY_OF_MONTH, 0x11),
        (MONTH, 0x06),
        (YEAR, 0x31),
    ] {
        p.point(format!("index {index:#x}"));
        rtc::write(p, index, value)?;
        let got = rtc::read(p, index)?;
        p.check_eq("byte", got, value);
    }
    Ok(())
}
