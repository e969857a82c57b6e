//! The firmware ROM: where it is seen, that it is memory, and what a reset does to it.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::microvm;
use crate::driver::fw_cfg::{self, control, key};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::FIRMWARE_ALIAS,
    level: Level::Must,
    features: &[Feature::Firmware],
    needs: Caps::FIRMWARE,
    setup: Setup::DEFAULT,
    body: Body::Bus(alias_last_64k),
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "firmware/alias/last-64k",
        title: "The last 64 KiB below 1 MiB are the last 64 KiB below 4 GiB.",
        ..AREA
    },
    Case {
        id: "firmware/alias/write-above",
        title: "A write below 4 GiB is seen below 1 MiB.",
        clause: &microvm::FIRMWARE_WRITABLE,
        body: Body::Bus(write_above),
        ..AREA
    },
    Case {
        id: "firmware/alias/write-below",
        title: "A write below 1 MiB is seen below 4 GiB.",
        clause: &microvm::FIRMWARE_WRITABLE,
        body: Body::Bus(write_below),
        ..AREA
    },
    Case {
        id: "firmware/dma/is-memory",
        title: "DMA reaches the firmware's memory at both places.",
        clause: &microvm::FIRMWARE_WRITABLE,
        features: &[Feature::Firmware, Feature::FwCfg],
        body: Body::Bus(dma_is_memory),
        ..AREA
    },
    Case {
        id: "firmware/reset/restores",
        title: "A reset brings the firmware's bytes back.",
        clause: &microvm::FIRMWARE_RESET,
        needs: Caps::FIRMWARE.with(Caps::RESET),
        body: Body::Bus(reset_restores),
        ..AREA
    },
];

/// The last 64 KiB below 1 MiB and below 4 GiB: every firmware has as much.
const LOW: u64 = 0xf_0000;
const HIGH: u64 = 0xffff_0000;
const SEEN_TWICE_BYTES: usize = 0x1_0000;

/// Where the bodies write, away from the reset vector.
const OFFSETS: [u64; 3] = [0x100, 0x7ffe, 0xfe00];

/// Where a descriptor lies, past the agent.
const DESCRIPTOR: u64 = 0x40_0000;

fn alias_last_64k(p: &mut Probe<'_>) -> Result<(), Stop> {
    let low = p.read_memory(LOW, SEEN_TWICE_BYTES)?;
    let high = p.read_memory(HIGH, SEEN_TWICE_BYTES)?;
    let differing = low.iter().zip(&high).filter(|(low, high)| low != high).count();
    p.check_eq("bytes that differ", differing as u64, 0u64);
    let alike = high.windows(2).all(|pair| pair[0] == pair[1]);
    p.check("a firmware", !alike, "bytes that are all alike", "bytes that differ");
    Ok(())
}

fn write_above(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_write(p, HIGH, LOW)
}

fn write_below(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_write(p, LOW, HIGH)
}

/// Changes every bit of some double words at one place and looks at both.
fn check_write(p: &mut Probe<'_>, here: u64, there: u64) -> Result<(), Stop> {
    for offset in OFFSETS {
        p.point(format!("offset {offset:#x}"));
        let changed = !p.readl(here + offset)?;
        p.writel(here + offset, changed)?;
        let (same, other) = (p.readl(here + offset)?, p.readl(there + offset)?);
        p.check_eq("where it was written", same, changed);
        p.check_eq("at the other place", other, changed);
    }
    Ok(())
}

fn dma_is_memory(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (here, there) in [(LOW, HIGH), (HIGH, LOW)] {
        p.point(format!("to {here:#x}"));
        let buffer = here + OFFSETS[0];
        p.writel(buffer, 0)?;
        let request = control::SELECT | control::READ | u32::from(key::SIGNATURE) << 16;
        let done = fw_cfg::dma(p, DESCRIPTOR, request, 4, buffer)?;
        p.check_eq("control word", done, 0u32);
        let (same, other) = (p.readl(buffer)?, p.readl(there + OFFSETS[0])?);
        p.check_eq("where it went", same, QEMU);
        p.check_eq("at the other place", other, QEMU);
    }
    Ok(())
}

fn reset_restores(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut originals = Vec::new();
    for offset in OFFSETS {
        let original = p.readl(HIGH + offset)?;
        p.writel(HIGH + offset, !original)?;
        let written = p.readl(HIGH + offset)?;
        p.check_eq("before the reset", written, !original);
        originals.push(original);
    }
    p.reset()?;
    for (offset, original) in OFFSETS.into_iter().zip(originals) {
        p.point(format!("offset {offset:#x}"));
        let (high, low) = (p.readl(HIGH + offset)?, p.readl(LOW + offset)?);
        p.check_eq("below 4 GiB", high, original);
        p.check_eq("below 1 MiB", low, original);
    }
    Ok(())
}

/// The signature's bytes as a number.
const QEMU: u32 = u32::from_le_bytes(*b"QEMU");
