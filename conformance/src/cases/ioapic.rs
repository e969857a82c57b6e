//! 82093AA IOAPIC.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{i82093aa as clause, microvm};
use crate::driver::ioapic::{
    self, ENTRIES, EOI, IOAPICARB, IOAPICID, IOAPICVER, IOREDTBL, IOREGSEL, IOWIN, LEVEL, MASKED, NMI, REMOTE_IRR,
    VERSION_WITH_EOI,
};
use crate::driver::{pic, pit, serial};
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;

mod message;

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

/// The serial port's line can be driven, which is GSI 4.
const LINE: Caps = Caps::SERIAL;
const LINE_FEATURES: &[Feature] = &[Feature::Ioapic, Feature::SerialLine];
const TIMER_FEATURES: &[Feature] = &[Feature::Ioapic, Feature::Pit];

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "ioapic/arbitration/follows-id",
        title: "The arbitration register takes what is written to the identification register.",
        clause: &clause::ARBITRATION,
        body: Body::Bus(arbitration_follows),
        ..AREA
    },
    Case {
        id: "ioapic/arbitration/read-only",
        title: "The arbitration register cannot be written.",
        clause: &clause::ARBITRATION,
        body: Body::Bus(arbitration_read_only),
        ..AREA
    },
    Case {
        id: "ioapic/decoding/byte-select",
        title: "A byte written to the select register selects.",
        clause: &microvm::IOAPIC_DECODING,
        level: Level::Should,
        body: Body::Bus(byte_select),
        ..AREA
    },
    Case {
        id: "ioapic/decoding/repeats",
        title: "The registers repeat every 256 bytes.",
        clause: &microvm::IOAPIC_DECODING,
        level: Level::Should,
        body: Body::Bus(repeats),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/edge-clears-remote-irr",
        title: "An entry made edge-triggered and level-triggered again may interrupt again.",
        clause: &clause::EDGE_CLEARS,
        level: Level::Should,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(edge_clears),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/edge-no-remote-irr",
        title: "An edge-triggered interrupt leaves remote IRR clear.",
        clause: &clause::REMOTE_IRR,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(edge_delivery),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/high-before-level",
        title: "A pin that is high already interrupts once its entry is made level-triggered and unmasked.",
        clause: &clause::INTERRUPT_MASK,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(high_before_level),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/level-remote-irr",
        title: "A level-triggered interrupt sets remote IRR of its entry alone.",
        clause: &clause::REMOTE_IRR,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(level_delivery),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/low-pin",
        title: "A level-triggered entry whose pin is low sends nothing.",
        clause: &clause::REMOTE_IRR,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(low_pin),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/masked-waits",
        title: "A masked level-triggered interrupt waits until it is unmasked.",
        clause: &clause::INTERRUPT_MASK,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(masked_waits),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/nmi-is-edge",
        title: "An NMI programmed as level-triggered is an edge all the same.",
        clause: &clause::DELIVERY_MODE,
        features: LINE_FEATURES,
        needs: LINE.with(Caps::FROZEN),
        body: Body::Bus(nmi_edge),
        ..AREA
    },
    Case {
        id: "ioapic/delivery/remote-irr-kept",
        title: "Rewriting a level-triggered entry leaves remote IRR set.",
        clause: &clause::REDIRECTION_BITS,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(remote_irr_kept),
        ..AREA
    },
    Case {
        id: "ioapic/eoi/clears-remote-irr",
        title: "The EOI register clears remote IRR once the pin is low.",
        clause: &clause::EOI_REGISTER,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(eoi_clears),
        ..AREA
    },
    Case {
        id: "ioapic/eoi/other-vector",
        title: "An EOI for another vector clears nothing.",
        clause: &clause::EOI_REGISTER,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(eoi_other),
        ..AREA
    },
    Case {
        id: "ioapic/eoi/still-asserted",
        title: "A pin still asserted at its EOI interrupts again.",
        clause: &clause::EOI_REGISTER,
        features: LINE_FEATURES,
        needs: LINE,
        body: Body::Bus(eoi_asserted),
        ..AREA
    },
    message::STORM_PAUSES,
    Case {
        id: "ioapic/id/bits",
        title: "Only bits 27:24 of the identification register can be written.",
        clause: &clause::ID,
        body: Body::Bus(id_bits),
        ..AREA
    },
    Case {
        id: "ioapic/id/power-on",
        title: "At power-on the identification is 0.",
        clause: &clause::ID,
        body: Body::Bus(id_power_on),
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
        id: "ioapic/index/reserved-bits",
        title: "Bits 31:8 of the select register are no part of the index.",
        clause: &clause::ACCESS,
        level: Level::Should,
        body: Body::Bus(index_reserved),
        ..AREA
    },
    Case {
        id: "ioapic/index/window-keeps",
        title: "Accesses to the window leave the select register.",
        clause: &clause::INDEX,
        body: Body::Bus(window_keeps),
        ..AREA
    },
    message::EDGE_ONCE,
    message::EXTINT_VECTOR,
    message::FIELDS,
    message::LEVEL_AGAIN,
    Case {
        id: "ioapic/redirection/bits",
        title: "A redirection entry holds its defined bits.",
        clause: &clause::REDIRECTION_BITS,
        body: Body::Bus(redirection_bits),
        ..AREA
    },
    Case {
        id: "ioapic/redirection/each-bit",
        title: "Each defined bit of an entry holds on its own, in every entry.",
        clause: &clause::REDIRECTION_BITS,
        body: Body::Bus(each_bit),
        ..AREA
    },
    Case {
        id: "ioapic/redirection/halves",
        title: "Writing one half of an entry leaves the other.",
        clause: &clause::REDIRECTION_BITS,
        body: Body::Bus(halves),
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
        id: "ioapic/redirection/reserved-bits",
        title: "Whether the reserved bits of an entry hold what is written.",
        clause: &clause::RESERVED,
        level: Level::May,
        body: Body::Bus(redirection_reserved),
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
        id: "ioapic/reset/masks",
        title: "A system reset masks every entry and clears the identification.",
        clause: &clause::REDIRECTION_RESET,
        needs: Caps::RESET,
        body: Body::Bus(reset),
        ..AREA
    },
    Case {
        id: "ioapic/timer/pin-2",
        title: "The timer interrupts through the entry that it is wired to, of 0 and 2, and not the other.",
        clause: &microvm::GSI_WIRING,
        features: TIMER_FEATURES,
        body: Body::Bus(timer_pin),
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
    Case {
        id: "ioapic/window/narrow",
        title: "Byte and word accesses of the window are harmless: the entry stays.",
        clause: &clause::ACCESS,
        level: Level::Should,
        body: Body::Bus(window_narrow),
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

fn arbitration_follows(p: &mut Probe<'_>) -> Result<(), Stop> {
    for id in [5u32, 10, 15, 0] {
        p.point(format!("ID {id}"));
        ioapic::write(p, IOAPICID, id << 24)?;
        let version = ioapic::read(p, IOAPICVER)?;
        p.check_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1);
        let got = ioapic::read(p, IOAPICARB)?;
        p.check_eq("arbitration register", got, id << 24);
    }
    Ok(())
}

fn id_power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    let version = ioapic::read(p, IOAPICVER)?;
    p.check_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1);
    let got = ioapic::read(p, IOAPICID)?;
    p.check_eq("identification register", got, 0u32);
    Ok(())
}

fn byte_select(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.writel(IOREGSEL, 0)?;
    p.store(IOREGSEL, Width::Byte, u64::from(IOAPICVER))?;
    let index = p.readl(IOREGSEL)?;
    p.check_eq("select register", index, IOAPICVER);
    let version = p.readl(IOWIN)?;
    p.check_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1);
    Ok(())
}

fn repeats(p: &mut Probe<'_>) -> Result<(), Stop> {
    for offset in [0x100, 0x700, 0xf00] {
        p.point(format!("offset {offset:#x}"));
        p.writel(IOREGSEL, u32::from(IOAPICID))?;
        p.writel(IOREGSEL + offset, u32::from(IOAPICVER))?;
        let index = p.readl(IOREGSEL)?;
        p.check_eq("select register", index, IOAPICVER);
        let version = p.readl(IOWIN + offset)?;
        p.check_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1);
    }
    Ok(())
}

fn index_reserved(p: &mut Probe<'_>) -> Result<(), Stop> {
    for high in [0x100u32, 0x8000_0000, 0xffff_ff00] {
        p.point(format!("{high:#x}"));
        p.writel(IOREGSEL, high | u32::from(IOAPICVER))?;
        let index = p.readl(IOREGSEL)?;
        p.check_eq("select register", index, IOAPICVER);
        let version = p.readl(IOWIN)?;
        p.check_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1);
    }
    Ok(())
}

fn window_keeps(p: &mut Probe<'_>) -> Result<(), Stop> {
    for index in (IOAPICVER..IOREDTBL + 2 * ENTRIES + 4).chain([0xff]) {
        p.point(format!("index {index:#x}"));
        p.writel(IOREGSEL, u32::from(index))?;
        let value = p.readl(IOWIN)?;
        p.writel(IOWIN, value)?;
        let got = p.readl(IOREGSEL)?;
        p.check_eq("select register", got, index);
    }
    Ok(())
}

/// The data sheet allows double words only; what a narrow read gives is open.
fn window_narrow(p: &mut Probe<'_>) -> Result<(), Stop> {
    let index = ioapic::low(23);
    ioapic::write(p, index, MASKED | 0x31)?;
    let before = ioapic::read(p, index)?;
    p.check_eq("entry before", before, MASKED | 0x31);
    for width in [Width::Byte, Width::Word] {
        for offset in 0..4 / width.bytes() as u64 {
            p.point(format!("{} bytes at offset {offset}", width.bytes()));
            p.load(IOWIN + offset * width.bytes() as u64, width)?;
            p.store(IOWIN + offset * width.bytes() as u64, width, width.mask())?;
            let got = ioapic::read(p, index)?;
            p.check_eq("entry", got, MASKED | 0x31);
        }
    }
    Ok(())
}

fn each_bit(p: &mut Probe<'_>) -> Result<(), Stop> {
    // Vector, delivery mode, destination mode, polarity, trigger mode; the mask stays set.
    let low_bits = (0..12).chain([13, 15]);
    let bits: Vec<(u32, u32)> = low_bits
        .map(|bit| (MASKED | 1 << bit, 0))
        .chain((24..32).map(|bit| (MASKED, 1 << bit)))
        .collect();
    for entry in [0, 1, 11, 23] {
        for &(low, high) in &bits {
            p.point(format!("entry {entry}: {low:#x} and {high:#x}"));
            ioapic::write(p, ioapic::low(entry), low)?;
            ioapic::write(p, ioapic::low(entry) + 1, high)?;
            let got = ioapic::read(p, ioapic::low(entry))?;
            p.check_eq("low half", got, low);
            let got = ioapic::read(p, ioapic::low(entry) + 1)?;
            p.check_eq("destination", got & 0xff00_0000, high);
        }
    }
    Ok(())
}

fn halves(p: &mut Probe<'_>) -> Result<(), Stop> {
    let index = ioapic::low(20);
    ioapic::write(p, index, MASKED | 0x45)?;
    ioapic::write(p, index + 1, 0xa500_0000)?;
    ioapic::write(p, index, MASKED | 0x8046)?;
    let high = ioapic::read(p, index + 1)?;
    p.check_eq("high half after the low one was written", high, 0xa500_0000u32);
    ioapic::write(p, index + 1, 0x5a00_0000)?;
    let low = ioapic::read(p, index)?;
    p.check_eq("low half after the high one was written", low, MASKED | 0x8046);
    Ok(())
}

fn redirection_reserved(p: &mut Probe<'_>) -> Result<(), Stop> {
    let index = ioapic::low(23);
    ioapic::write(p, index, 0xfffe_0000 | MASKED | 0x31)?;
    ioapic::write(p, index + 1, 0x00ff_ffff)?;
    let (low, high) = (ioapic::read(p, index)?, ioapic::read(p, index + 1)?);
    p.require_eq("defined bits", low & 0x1_ffff, MASKED | 0x31)?;
    p.note(match (low >> 17, high & 0x00ff_ffff) {
        (0, 0) => "reserved bits read 0",
        (0x7fff, 0x00ff_ffff) => "reserved bits hold what is written",
        _ => "some reserved bits hold what is written",
    });
    Ok(())
}

fn reset(p: &mut Probe<'_>) -> Result<(), Stop> {
    for entry in 0..ENTRIES {
        ioapic::write(p, ioapic::low(entry), MASKED | 0xa055)?;
        ioapic::write(p, ioapic::low(entry) + 1, 0xff00_0000)?;
    }
    ioapic::write(p, ioapic::low(7), 0x55)?;
    ioapic::write(p, IOAPICID, 0x0f00_0000)?;
    let before = ioapic::read(p, ioapic::low(7))?;
    p.require_eq("entry 7 before the reset", before, 0x55u32)?;
    p.reset()?;
    for entry in 0..ENTRIES {
        p.point(format!("entry {entry}"));
        let low = ioapic::read(p, ioapic::low(entry))?;
        p.check_eq("mask bit", low & MASKED, MASKED);
    }
    let id = ioapic::read(p, IOAPICID)?;
    p.check_eq("identification register", id, 0u32);
    Ok(())
}

/// Vector that nothing else here uses.
const VECTOR: u32 = 0x51;

/// The pin of the serial port.
const PIN: u8 = serial::GSI;

/// The low half of the serial port's entry.
fn entry(p: &mut Probe<'_>) -> Result<u32, Stop> {
    ioapic::read(p, ioapic::low(PIN))
}

/// Checks remote IRR of the serial port's entry.
fn check_remote_irr(p: &mut Probe<'_>, when: &str, want: bool) -> Result<(), Stop> {
    let got = entry(p)?;
    p.check_eq("vector", got & 0xff, VECTOR);
    p.check_eq(&format!("remote IRR {when}"), got & REMOTE_IRR != 0, want);
    Ok(())
}

/// Makes the serial port's entry level-triggered, its pin being low, and raises the pin: an interrupt is sent to a
/// local APIC that is not enabled.
fn deliver_level(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), MASKED | LEVEL | VECTOR)?;
    ioapic::write(p, ioapic::low(PIN), LEVEL | VECTOR)?;
    pic::raise_serial(p)
}

fn level_delivery(p: &mut Probe<'_>) -> Result<(), Stop> {
    deliver_level(p)?;
    check_remote_irr(p, "after the rise", true)?;
    for entry in (0..ENTRIES).filter(|entry| *entry != PIN) {
        p.point(format!("entry {entry}"));
        let got = ioapic::read(p, ioapic::low(entry))?;
        p.check_eq("remote IRR", got & REMOTE_IRR, 0u32);
    }
    Ok(())
}

fn edge_delivery(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), VECTOR)?;
    pic::raise_serial(p)?;
    check_remote_irr(p, "after an edge", false)
}

fn low_pin(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), MASKED | LEVEL | VECTOR)?;
    ioapic::write(p, ioapic::low(PIN), LEVEL | VECTOR)?;
    check_remote_irr(p, "while the pin is low", false)
}

fn masked_waits(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), MASKED | LEVEL | VECTOR)?;
    pic::raise_serial(p)?;
    check_remote_irr(p, "while masked", false)?;
    ioapic::write(p, ioapic::low(PIN), LEVEL | VECTOR)?;
    check_remote_irr(p, "once unmasked", true)
}

/// The entry is edge-triggered and masked, as at power-on, while the pin rises.
fn high_before_level(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::raise_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), LEVEL | VECTOR)?;
    check_remote_irr(p, "once level-triggered", true)
}

fn remote_irr_kept(p: &mut Probe<'_>) -> Result<(), Stop> {
    deliver_level(p)?;
    ioapic::write(p, ioapic::low(PIN), MASKED | LEVEL | VECTOR)?;
    check_remote_irr(p, "after the entry was masked", true)?;
    pic::lower_serial(p)?;
    check_remote_irr(p, "after the pin fell", true)
}

fn edge_clears(p: &mut Probe<'_>) -> Result<(), Stop> {
    deliver_level(p)?;
    check_remote_irr(p, "after the rise", true)?;
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), MASKED | VECTOR)?;
    ioapic::write(p, ioapic::low(PIN), MASKED | LEVEL | VECTOR)?;
    check_remote_irr(p, "after the detour", false)
}

fn nmi_edge(p: &mut Probe<'_>) -> Result<(), Stop> {
    pic::lower_serial(p)?;
    ioapic::write(p, ioapic::low(PIN), LEVEL | NMI | VECTOR)?;
    pic::raise_serial(p)?;
    check_remote_irr(p, "after an NMI", false)
}

/// The version decides whether there is an EOI register.
fn require_eoi(p: &mut Probe<'_>) -> Result<(), Stop> {
    let version = ioapic::read(p, IOAPICVER)?;
    p.require_eq("highest entry", version >> 16 & 0xff, ENTRIES - 1)?;
    if version & 0xff < VERSION_WITH_EOI {
        let text = format!("version {:#x} has no EOI register", version & 0xff);
        return Err(Stop::NotApplicable(text));
    }
    Ok(())
}

fn eoi_clears(p: &mut Probe<'_>) -> Result<(), Stop> {
    require_eoi(p)?;
    for round in 1..=2 {
        p.point(format!("round {round}"));
        deliver_level(p)?;
        check_remote_irr(p, "after the rise", true)?;
        pic::lower_serial(p)?;
        p.writel(EOI, VECTOR)?;
        check_remote_irr(p, "after EOI", false)?;
    }
    Ok(())
}

fn eoi_other(p: &mut Probe<'_>) -> Result<(), Stop> {
    require_eoi(p)?;
    deliver_level(p)?;
    pic::lower_serial(p)?;
    for vector in [0, VECTOR - 1, VECTOR + 1, 0xff] {
        p.point(format!("vector {vector:#x}"));
        p.writel(EOI, vector)?;
        check_remote_irr(p, "after EOI", true)?;
    }
    Ok(())
}

fn eoi_asserted(p: &mut Probe<'_>) -> Result<(), Stop> {
    require_eoi(p)?;
    deliver_level(p)?;
    p.writel(EOI, VECTOR)?;
    check_remote_irr(p, "after EOI with the pin high", true)?;
    pic::lower_serial(p)?;
    p.writel(EOI, VECTOR)?;
    check_remote_irr(p, "after EOI with the pin low", false)
}

/// OUT of counter 0 is GSI 0.
fn timer_pin(p: &mut Probe<'_>) -> Result<(), Stop> {
    let input = p.layout().timer_input;
    let pending = |p: &mut Probe<'_>| -> Result<Vec<u8>, Stop> {
        let mut set = Vec::new();
        for entry in [0, 2] {
            if ioapic::read(p, ioapic::low(entry))? & REMOTE_IRR != 0 {
                set.push(entry);
            }
        }
        Ok(set)
    };
    pic::lower_timer(p)?;
    for entry in [0, 2] {
        ioapic::write(p, ioapic::low(entry), MASKED | LEVEL | VECTOR)?;
    }
    for entry in [0, 2] {
        ioapic::write(p, ioapic::low(entry), LEVEL | VECTOR)?;
    }
    let early = pending(p)?;
    // On a busy host the 55 ms of the low line may be over; then the reads tell nothing.
    if !pit::out(p, 0)? {
        let is_none = early.is_empty();
        p.check(
            "entries with remote IRR while OUT is low",
            is_none,
            format!("{early:?}"),
            "none",
        );
    }
    pic::raise_timer(p)?;
    let set = pending(p)?;
    let (got, want) = (format!("{set:?}"), format!("[{input}]"));
    p.check("entries with remote IRR", set == [input], got, want);
    Ok(())
}
