//! CMOS memory: the size bytes, and what this machine leaves at zero.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::microvm;
use crate::driver::cmos;
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::CMOS_MEMORY,
    level: Level::Must,
    features: &[Feature::Rtc],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(memory_size),
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "cmos/memory-size/128m",
        title: "The size bytes of 128 MiB.",
        ..AREA
    },
    Case {
        id: "cmos/memory-size/16g",
        title: "The size bytes of 16 GiB.",
        setup: Setup::with_ram(16 * GIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/16m",
        title: "The size bytes of 16 MiB: nothing above 16 MiB.",
        setup: Setup::with_ram(16 * MIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/2g",
        title: "The size bytes of 2 GiB.",
        setup: Setup::with_ram(2 * GIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/3584m",
        title: "The size bytes of 3.5 GiB.",
        setup: Setup::with_ram(3584 * MIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/3g",
        title: "The size bytes of 3 GiB.",
        setup: Setup::with_ram(3 * GIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/4g-at-1537m",
        title: "The size bytes follow max-ram-below-4g.",
        features: &[Feature::Rtc, Feature::MaxRamBelow4g],
        setup: Setup::with_limit(4 * GIB, 1537 * MIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/64m",
        title: "The size bytes of 64 MiB: the 1 KiB count is not full.",
        setup: Setup::with_ram(64 * MIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/65m",
        title: "The size bytes of 65 MiB: the 1 KiB count is full.",
        setup: Setup::with_ram(65 * MIB),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/at-the-switch",
        title: "The size bytes of 0xb0000000 bytes.",
        setup: Setup::with_ram(0xb000_0000),
        ..AREA
    },
    Case {
        id: "cmos/memory-size/survives-write",
        title: "The size bytes are memory: a guest's own value stays, and its neighbours are not touched.",
        body: Body::Bus(memory_size_written),
        ..AREA
    },
    Case {
        id: "cmos/plain/holds-bytes",
        title: "Each plain byte holds what was written, all of them at once.",
        body: Body::Bus(plain_holds_bytes),
        ..AREA
    },
    Case {
        id: "cmos/unused/zero-at-power-on",
        title: "What a PC's firmware keeps in CMOS is zero.",
        clause: &microvm::CMOS_UNUSED,
        level: Level::Should,
        body: Body::Bus(unused_zero),
        ..AREA
    },
];

fn memory_size(p: &mut Probe<'_>) -> Result<(), Stop> {
    let setup = p.setup();
    let (below, above) = p.layout().ram_split(setup.ram_bytes, setup.max_ram_below_4g);
    for (index, want) in cmos::memory_size(below, above) {
        p.point(format!("index {index:#x}"));
        let got = cmos::read(p, index)?;
        p.check_eq("byte", got, want);
    }
    Ok(())
}

fn memory_size_written(p: &mut Probe<'_>) -> Result<(), Stop> {
    let neighbour = cmos::read(p, 0x16)?;
    let before = cmos::read(p, 0x15)?;
    cmos::write(p, 0x15, !before)?;
    let (after, beside) = (cmos::read(p, 0x15)?, cmos::read(p, 0x16)?);
    p.check_eq("byte written", after, !before);
    p.check_eq("byte beside it", beside, neighbour);
    Ok(())
}

/// Indices that are plain memory on this machine: not the clock, its registers, nor the century and its alias.
fn plain_indices() -> impl Iterator<Item = u8> {
    (0x0e..0x80).filter(|index| ![0x32, 0x37].contains(index))
}

fn plain_holds_bytes(p: &mut Probe<'_>) -> Result<(), Stop> {
    for pattern in [0x5a, 0xa5] {
        for index in plain_indices() {
            cmos::write(p, index, index ^ pattern)?;
        }
        for index in plain_indices() {
            p.point(format!("index {index:#x}"));
            let got = cmos::read(p, index)?;
            p.check_eq("byte", got, index ^ pattern);
        }
    }
    Ok(())
}

/// Drives, equipment, checksum, boot devices, CPU count. Firmware may have written some before a guest can look.
fn unused_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.facts().reserved.is_empty() {
        return Err(Stop::Unavailable("a guest has run before the first access".to_owned()));
    }
    for index in [0x10, 0x12, 0x14, 0x19, 0x1a, 0x2d, 0x2e, 0x2f, 0x38, 0x3d, 0x5f] {
        p.point(format!("index {index:#x}"));
        let got = cmos::read(p, index)?;
        p.check_eq("byte", got, 0u8);
    }
    Ok(())
}
