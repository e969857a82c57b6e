//! Machine options that take a device away.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::microvm;
use crate::driver::ram;
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::OPTIONS,
    level: Level::Must,
    features: &[Feature::Rtc],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(rtc_off),
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "options/isa-serial/off",
        title: "With isa-serial=off the serial port is absent.",
        features: &[Feature::Serial],
        needs: Caps::SERIAL,
        setup: Setup {
            options: &[("rtc", "on"), ("isa-serial", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(serial_off),
        ..AREA
    },
    Case {
        id: "options/isa-serial/on",
        title: "By default the serial port is there.",
        features: &[Feature::Serial],
        body: Body::Bus(serial_on),
        ..AREA
    },
    Case {
        id: "options/pic/off",
        title: "With pic=off both 8259s are absent.",
        features: &[Feature::Pic],
        setup: Setup {
            options: &[("rtc", "on"), ("pic", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(pic_off),
        ..AREA
    },
    Case {
        id: "options/pic/on",
        title: "By default both 8259s are there.",
        features: &[Feature::Pic],
        body: Body::Bus(pic_on),
        ..AREA
    },
    Case {
        id: "options/pit/off",
        title: "With pit=off the 8254 is absent.",
        features: &[Feature::Pit],
        setup: Setup {
            options: &[("rtc", "on"), ("pit", "off")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(pit_off),
        ..AREA
    },
    Case {
        id: "options/pit/on",
        title: "By default the 8254 is there.",
        features: &[Feature::Pit],
        body: Body::Bus(pit_on),
        ..AREA
    },
    Case {
        id: "options/rtc/off",
        title: "With rtc=off the clock is absent.",
        setup: Setup {
            options: &[("rtc", "off")],
            ..Setup::DEFAULT
        },
        ..AREA
    },
    Case {
        id: "options/rtc/on",
        title: "With rtc=on the clock is there and its data are valid.",
        body: Body::Bus(rtc_on),
        ..AREA
    },
];

fn check_float(p: &mut Probe<'_>, ports: impl IntoIterator<Item = u16>) -> Result<(), Stop> {
    ram::answers(p)?;
    for port in ports {
        p.point(format!("port {port:#x}"));
        p.outb(port, 0x11)?;
        let got = p.inb(port)?;
        p.check_eq("byte", got, 0xffu8);
    }
    Ok(())
}

/// Register D (index 0x0d) says in bit 7 that RAM and time are valid.
fn rtc_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(0x70, 0x0d)?;
    let got = p.inb(0x71)?;
    p.check_eq("register D", got, 0x80u8);
    Ok(())
}

fn rtc_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, 0x70..0x72)
}

/// The interrupt mask register (OCW1) holds what was written.
fn pic_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    for port in [0x21, 0xa1] {
        p.point(format!("port {port:#x}"));
        for mask in [0xfb, 0x5a, 0xff] {
            p.outb(port, mask)?;
            let got = p.inb(port)?;
            p.check_eq("mask", got, mask);
        }
    }
    Ok(())
}

fn pic_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, [0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1])
}

/// Mode 3, both bytes, count 0x1234 on channel 2, then the read-back command's status without OUT and null count.
fn pit_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.outb(0x43, 0xb6)?;
    p.outb(0x42, 0x34)?;
    p.outb(0x42, 0x12)?;
    p.outb(0x43, 0xe8)?;
    let status = p.inb(0x42)?;
    p.check_eq("status: both bytes, mode 3, binary", status & 0x3f, 0x36u8);
    Ok(())
}

fn pit_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, 0x40..0x44)
}

/// The scratch register holds any byte.
fn serial_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x5a, 0xa5] {
        p.outb(0x3ff, value)?;
        let got = p.inb(0x3ff)?;
        p.check_eq("scratch register", got, value);
    }
    Ok(())
}

fn serial_off(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, 0x3f8..0x400)
}
