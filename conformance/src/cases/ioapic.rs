//! 82093AA IOAPIC.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::i82093aa as clause;
use crate::driver::ioapic::{self, ENTRIES, IOAPICARB, IOAPICID, IOAPICVER, IOREDTBL, IOREGSEL, MASKED};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::VERSION,
    level: Level::Must,
    features: &[Feature::Ioapic],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(version),
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "ioapic/arbitration/read-only",
        title: "The arbitration register cannot be written.",
        clause: &clause::ARBITRATION,
        body: Body::Bus(arbitration_read_only),
        ..AREA
    },
    Case {
        id: "ioapic/id/bits",
        title: "Only bits 27:24 of the identification register can be written.",
        clause: &clause::ID,
        body: Body::Bus(id_bits),
        ..AREA
    },
    Case {
        id: "ioapic/index/holds",
        title: "The select register holds all 256 indices.",
        clause: &clause::INDEX,
        body: Body::Bus(index_holds),
        ..AREA
    },
    Case {
        id: "ioapic/redirection/bits",
        title: "A redirection entry holds its defined bits.",
        clause: &clause::REDIRECTION_BITS,
        body: Body::Bus(redirection_bits),
        ..AREA
    },
    Case {
        id: "ioapic/redirection/independent",
        title: "Each of the 24 entries has bits of its own.",
        clause: &clause::REDIRECTION_BITS,
        body: Body::Bus(redirection_independent),
        ..AREA
    },
    Case {
        id: "ioapic/redirection/masked-at-reset",
        title: "At power-on every entry is masked.",
        clause: &clause::REDIRECTION_RESET,
        body: Body::Bus(redirection_masked),
        ..AREA
    },
    Case {
        id: "ioapic/redirection/status-read-only",
        title: "Delivery status and remote IRR of an entry cannot be written.",
        clause: &clause::REDIRECTION_BITS,
        body: Body::Bus(redirection_status),
        ..AREA
    },
    Case {
        id: "ioapic/reserved/reads-zero",
        title: "Indices without a register read 0 and take writes without effect.",
        clause: &clause::RESERVED,
        level: Level::Should,
        body: Body::Bus(reserved),
        ..AREA
    },
    Case {
        id: "ioapic/version/entries",
        title: "The version register gives 24 entries.",
        ..AREA
    },
    Case {
        id: "ioapic/version/read-only",
        title: "Writing the version register changes nothing.",
        body: Body::Bus(version_read_only),
        ..AREA
    },
];

/// The version number itself is left to the chip: 0x11 in the data sheet, 0x20 with an EOI register.
fn version(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = ioapic::read(p, IOAPICVER)?;
    p.check_eq("highest entry, bits 23:16", got >> 16 & 0xff, ENTRIES - 1);
    p.check_eq("bits 31:24 and 15:8", got & 0xff00_ff00, 0u32);
    let known = [0x11, 0x20].contains(&(got & 0xff));
    p.check("version, bits 7:0", known, format!("{:#x}", got & 0xff), "0x11 or 0x20");
    Ok(())
}

fn version_read_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    let before = ioapic::read(p, IOAPICVER)?;
    for value in [0, 0xffff_ffff] {
        ioapic::write(p, IOAPICVER, value)?;
        let after = ioapic::read(p, IOAPICVER)?;
        p.check_eq("version", after, before);
    }
    p.check_eq("highest entry", before >> 16 & 0xff, ENTRIES - 1);
    Ok(())
}

fn id_bits(p: &mut Probe<'_>) -> Result<(), Stop> {
    for id in 0..16u32 {
        p.point(format!("ID {id}"));
        ioapic::write(p, IOAPICID, 0xf0ff_ffff | id << 24)?;
        let got = ioapic::read(p, IOAPICID)?;
        p.check_eq("identification register", got, id << 24);
    }
    Ok(())
}

fn arbitration_read_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    let version = ioapic::read(p, IOAPICVER)?;
    p.check_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1);
    let before = ioapic::read(p, IOAPICARB)?;
    ioapic::write(p, IOAPICARB, !before)?;
    let after = ioapic::read(p, IOAPICARB)?;
    p.check_eq("arbitration register", after, before);
    p.check_eq("reserved bits", after & 0xf0ff_ffff, 0u32);
    Ok(())
}

fn index_holds(p: &mut Probe<'_>) -> Result<(), Stop> {
    for index in 0..=0xffu32 {
        p.point(format!("{index:#x}"));
        p.writel(IOREGSEL, index)?;
        let got = p.readl(IOREGSEL)?;
        p.check_eq("select register", got, index);
    }
    Ok(())
}

fn redirection_masked(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.facts().reserved.is_empty() {
        return Err(Stop::Unavailable("a guest has run before the first access".to_owned()));
    }
    for entry in 0..ENTRIES {
        p.point(format!("entry {entry}"));
        let low = ioapic::read(p, IOREDTBL + 2 * entry)?;
        p.check_eq("mask bit", low & MASKED, MASKED);
        p.check_eq("delivery status and remote IRR", low & 0x5000, 0u32);
    }
    Ok(())
}

/// Keeps the entry masked so that nothing is delivered.
fn redirection_bits(p: &mut Probe<'_>) -> Result<(), Stop> {
    for value in [0x0001_0000, 0x0001_08ff, 0x0001_a0fe, 0x0001_2731, 0x0001_8001] {
        p.point(format!("{value:#x}"));
        ioapic::write(p, IOREDTBL + 2 * 23, value)?;
        ioapic::write(p, IOREDTBL + 2 * 23 + 1, 0xa500_0000)?;
        let low = ioapic::read(p, IOREDTBL + 2 * 23)?;
        let high = ioapic::read(p, IOREDTBL + 2 * 23 + 1)?;
        p.check_eq("low half", low, value);
        p.check_eq("destination", high & 0xff00_0000, 0xa500_0000u32);
    }
    Ok(())
}

fn redirection_independent(p: &mut Probe<'_>) -> Result<(), Stop> {
    for entry in 0..ENTRIES {
        ioapic::write(p, IOREDTBL + 2 * entry, MASKED | u32::from(0x40 + entry))?;
        ioapic::write(p, IOREDTBL + 2 * entry + 1, u32::from(entry) << 24)?;
    }
    for entry in 0..ENTRIES {
        p.point(format!("entry {entry}"));
        let low = ioapic::read(p, IOREDTBL + 2 * entry)?;
        let high = ioapic::read(p, IOREDTBL + 2 * entry + 1)?;
        p.check_eq("low half", low, MASKED | u32::from(0x40 + entry));
        p.check_eq("high half", high, u32::from(entry) << 24);
    }
    Ok(())
}

fn redirection_status(p: &mut Probe<'_>) -> Result<(), Stop> {
    for entry in [0, 5, 23] {
        p.point(format!("entry {entry}"));
        ioapic::write(p, IOREDTBL + 2 * entry, MASKED | 0x5000 | 0x31)?;
        let low = ioapic::read(p, IOREDTBL + 2 * entry)?;
        p.check_eq("delivery status and remote IRR", low & 0x5000, 0u32);
        p.check_eq("vector", low & 0xff, 0x31u32);
    }
    Ok(())
}

fn reserved(p: &mut Probe<'_>) -> Result<(), Stop> {
    let version = ioapic::read(p, IOAPICVER)?;
    p.check_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1);
    for index in (0x03..0x10).chain(0x40..=0xff) {
        p.point(format!("index {index:#x}"));
        ioapic::write(p, index, 0xffff_ffff)?;
        let got = ioapic::read(p, index)?;
        p.check_eq("register", got, 0u32);
    }
    Ok(())
}
