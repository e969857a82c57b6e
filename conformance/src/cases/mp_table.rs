//! The MultiProcessor table: what a kernel without ACPI knows of CPUs, the IOAPIC and its wiring, read out of memory
//! where a kernel was started.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::mp;
use crate::driver::ioapic;
use crate::machine::{Caps, Stop};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &mp::POINTER,
    level: Level::Must,
    features: &[Feature::MpTable],
    needs: Caps::KERNEL,
    setup: Setup::DEFAULT,
    body: Body::Bus(pointer_well_formed),
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "mp-table/header/entry-count",
        title: "The header counts the entries that its length holds.",
        clause: &mp::ENTRY_COUNT,
        body: Body::Bus(header_entry_count),
        ..AREA
    },
    Case {
        id: "mp-table/header/local-apic",
        title: "Header and processor entries name the local APIC's address and version.",
        clause: &mp::LOCAL_APIC,
        body: Body::Bus(header_local_apic),
        ..AREA
    },
    Case {
        id: "mp-table/header/well-formed",
        title: "The table has its signature, the pointer's revision, and sums to zero.",
        clause: &mp::HEADER,
        body: Body::Bus(header_well_formed),
        ..AREA
    },
    Case {
        id: "mp-table/interrupts/isa",
        title: "Each ISA interrupt drives the IOAPIC's input of its number, the timer's the one wired to it.",
        clause: &mp::INTERRUPTS,
        body: Body::Bus(interrupts_isa),
        ..AREA
    },
    Case {
        id: "mp-table/interrupts/local",
        title: "The 8259's interrupt reaches LINTIN0, and NMI LINTIN1.",
        clause: &mp::LOCAL_INTERRUPTS,
        body: Body::Bus(interrupts_local),
        ..AREA
    },
    Case {
        id: "mp-table/ioapic/entry",
        title: "One IOAPIC is named, enabled, with its address and version.",
        clause: &mp::IOAPIC,
        body: Body::Bus(ioapic_entry),
        ..AREA
    },
    Case {
        id: "mp-table/pointer/well-formed",
        title: "The floating pointer lies where kernels look for it, and sums to zero.",
        ..AREA
    },
];

/// Pointer and table as they lie in memory, the table no shorter than its header.
struct Table {
    pointer: Vec<u8>,
    bytes: Vec<u8>,
}

impl Table {
    fn find(p: &mut Probe<'_>) -> Result<Table, Stop> {
        let mut found = None;
        for (start, length) in PLACES {
            let bytes = p.read_memory(start, length)?;
            let at = bytes.chunks(POINTER_BYTES).position(|chunk| chunk.starts_with(b"_MP_"));
            if let Some(at) = at {
                found = Some(bytes[at * POINTER_BYTES..][..POINTER_BYTES].to_vec());
                break;
            }
        }
        let where_to = "in the last KiB of base memory or from 0xf0000 to 0xfffff";
        p.check("floating pointer", found.is_some(), "none", where_to);
        let pointer = found.ok_or(Stop::NotMet)?;
        let address = u64::from(le32(&pointer, 4));
        let header = p.read_memory(address, HEADER_BYTES)?;
        let length = usize::from(le16(&header, 4));
        let is_one = header.starts_with(b"PCMP") && HEADER_BYTES <= length;
        let got = format!("{:02x?} of {length} bytes at {address:#x}", &header[..4]);
        p.check("table", is_one, got, "PCMP, and its header's 44 bytes at least");
        if !is_one {
            return Err(Stop::NotMet);
        }
        let bytes = p.read_memory(address, length)?;
        Ok(Table { pointer, bytes })
    }

    /// The entries of one type.
    fn entries(&self, kind: u8) -> Vec<&[u8]> {
        self.walk().into_iter().filter(|entry| entry[0] == kind).collect()
    }

    /// All entries; the last may be cut short, and is left out then.
    fn walk(&self) -> Vec<&[u8]> {
        let mut rest = &self.bytes[HEADER_BYTES..];
        let mut entries = Vec::new();
        while let Some(kind) = rest.first() {
            let length = if *kind == PROCESSOR { 20 } else { 8 };
            let Some((entry, behind)) = rest.split_at_checked(length) else {
                break;
            };
            entries.push(entry);
            rest = behind;
        }
        entries
    }
}

fn pointer_well_formed(p: &mut Probe<'_>) -> Result<(), Stop> {
    let Table { pointer, .. } = Table::find(p)?;
    p.check_eq("length, in 16 bytes", pointer[8], 1u8);
    check_revision(p, pointer[9]);
    p.check_eq("sum of its bytes", sum(&pointer), 0u8);
    Ok(())
}

fn header_well_formed(p: &mut Probe<'_>) -> Result<(), Stop> {
    let table = Table::find(p)?;
    check_revision(p, table.bytes[6]);
    p.check_eq("revision", table.bytes[6], table.pointer[9]);
    p.check_eq("sum of its bytes", sum(&table.bytes), 0u8);
    Ok(())
}

fn check_revision(p: &mut Probe<'_>, revision: u8) {
    let is_known = revision == 1 || revision == 4;
    p.check(
        "revision of the specification",
        is_known,
        revision.to_string(),
        "1 or 4",
    );
}

fn header_entry_count(p: &mut Probe<'_>) -> Result<(), Stop> {
    let table = Table::find(p)?;
    let entries = table.walk();
    p.check_eq("entries", le16(&table.bytes, 34), entries.len() as u64);
    let length: usize = entries.iter().map(|entry| entry.len()).sum();
    p.check_eq(
        "bytes of whole entries",
        length as u64,
        (table.bytes.len() - HEADER_BYTES) as u64,
    );
    Ok(())
}

fn header_local_apic(p: &mut Probe<'_>) -> Result<(), Stop> {
    let table = Table::find(p)?;
    p.check_eq("address", le32(&table.bytes, 36), LOCAL_APIC as u32);
    let version = p.readl(LOCAL_APIC + LOCAL_APIC_VERSION)? & 0xff;
    let processors = table.entries(PROCESSOR);
    p.check("processor entries", !processors.is_empty(), "none", "one at least");
    for entry in processors {
        p.point(format!("local APIC {}", entry[1]));
        p.check_eq("version", entry[2], version);
    }
    Ok(())
}

fn ioapic_entry(p: &mut Probe<'_>) -> Result<(), Stop> {
    let table = Table::find(p)?;
    let entries = table.entries(IOAPIC);
    p.check_eq("IOAPICs", entries.len() as u64, 1u64);
    let version = ioapic::read(p, ioapic::IOAPICVER)? & 0xff;
    for entry in entries {
        p.check_eq("enabled", entry[3] & 1, 1u8);
        p.check_eq("address", le32(entry, 4), ioapic::IOREGSEL as u32);
        p.check_eq("version", entry[2], version);
    }
    Ok(())
}

fn interrupts_isa(p: &mut Probe<'_>) -> Result<(), Stop> {
    let table = Table::find(p)?;
    let ioapics: Vec<u8> = table.entries(IOAPIC).iter().map(|entry| entry[1]).collect();
    let buses = table.entries(BUS);
    let isa: Vec<u8> = buses
        .iter()
        .filter(|entry| entry[2..].starts_with(b"ISA"))
        .map(|entry| entry[1])
        .collect();
    p.check_eq("ISA buses", isa.len() as u64, 1u64);
    for irq in (0..16).filter(|irq| *irq != 2) {
        p.point(format!("interrupt {irq}"));
        let entries = table.entries(IO_INTERRUPT);
        let of_irq = |entry: &&&[u8]| isa.contains(&entry[4]) && entry[5] == irq && entry[1] == INT;
        let Some(entry) = entries.iter().find(of_irq) else {
            p.check("entry", false, "none", "a vectored interrupt of the ISA bus");
            continue;
        };
        let to = (entry[6], entry[7]);
        let input = if irq == 0 { p.layout().timer_input } else { irq };
        // 0xff stands for all IOAPICs.
        let is_there = ioapics.contains(&to.0) || to.0 == 0xff;
        let (got, want) = (format!("{to:?}"), format!("input {input} of IOAPIC {ioapics:?}"));
        p.check("IOAPIC and input", is_there && to.1 == input, got, want);
    }
    Ok(())
}

fn interrupts_local(p: &mut Probe<'_>) -> Result<(), Stop> {
    let table = Table::find(p)?;
    let boot: Vec<u8> = table
        .entries(PROCESSOR)
        .iter()
        .filter(|entry| entry[3] & 2 != 0)
        .map(|entry| entry[1])
        .collect();
    for (name, kind, input) in [("ExtINT", EXT_INT, 0), ("NMI", NMI, 1)] {
        let entries = table.entries(LOCAL_INTERRUPT);
        let inputs: Vec<u8> = entries
            .iter()
            .filter(|entry| entry[1] == kind && (entry[6] == 0xff || boot.contains(&entry[6])))
            .map(|entry| entry[7])
            .collect();
        p.check(
            name,
            inputs == [input],
            format!("LINTIN {inputs:?}"),
            format!("LINTIN {input}"),
        );
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Where a kernel looks: the last KiB of 640 KiB, and the BIOS's ROM (section 4, with no EBDA).
const PLACES: [(u64, usize); 2] = [(0x9_fc00, 0x400), (0xf_0000, 0x1_0000)];
const POINTER_BYTES: usize = 16;
const HEADER_BYTES: usize = 44;

/// Types of entries (4.3).
const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IOAPIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;
/// Types of interrupts (4.3.4).
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;

/// The local APIC's registers, and its version among them.
const LOCAL_APIC: u64 = 0xfee0_0000;
const LOCAL_APIC_VERSION: u64 = 0x30;
