//! Memory map and e820.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::microvm;
use crate::driver::fw_cfg;
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::E820,
    level: Level::Must,
    features: &[Feature::FwCfg],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(e820_lists_ram),
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// RAM size from which the first machine splits, and the machine's granule.
const SWITCH: u64 = 0xb000_0000;
const GRANULE: u64 = 8 << 10;

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "memory-map/e820/128m",
        title: "128 MiB of RAM are one e820 entry from 0.",
        ..AREA
    },
    Case {
        id: "memory-map/e820/16g",
        title: "16 GiB of RAM are split at the low limit.",
        setup: Setup::with_ram(16 * GIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/16m",
        title: "16 MiB of RAM are one e820 entry from 0.",
        setup: Setup::with_ram(16 * MIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/1g",
        title: "1 GiB of RAM is one e820 entry from 0.",
        setup: Setup::with_ram(GIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/2g",
        title: "2 GiB of RAM are one e820 entry from 0.",
        setup: Setup::with_ram(2 * GIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/3584m",
        title: "3.5 GiB of RAM are split.",
        setup: Setup::with_ram(3584 * MIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/3g",
        title: "3 GiB of RAM lie as the split rule says.",
        setup: Setup::with_ram(3 * GIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/3g-and-a-granule",
        title: "3 GiB and 8 KiB of RAM lie as the split rule says.",
        setup: Setup::with_ram(3 * GIB + GRANULE),
        ..AREA
    },
    Case {
        id: "memory-map/e820/4g",
        title: "4 GiB of RAM are split.",
        setup: Setup::with_ram(4 * GIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/6g",
        title: "6 GiB of RAM are split.",
        setup: Setup::with_ram(6 * GIB),
        ..AREA
    },
    Case {
        id: "memory-map/e820/at-the-switch",
        title: "0xb0000000 bytes of RAM are the first size that the first machine splits.",
        setup: Setup::with_ram(SWITCH),
        ..AREA
    },
    Case {
        id: "memory-map/e820/below-the-switch",
        title: "0xb0000000 bytes of RAM less 8 KiB stay whole.",
        setup: Setup::with_ram(SWITCH - GRANULE),
        ..AREA
    },
    Case {
        id: "memory-map/e820/entry-size",
        title: "etc/e820 is a row of 20-byte entries without count or terminator.",
        body: Body::Bus(e820_entry_size),
        ..AREA
    },
    Case {
        id: "memory-map/e820/no-overlap",
        title: "No two e820 entries overlap, and none covers a device.",
        setup: Setup::with_ram(4 * GIB),
        body: Body::Bus(e820_no_overlap),
        ..AREA
    },
    Case {
        id: "memory-map/limit/128m-at-1m",
        title: "max-ram-below-4g=1M leaves 1 MiB below and 127 MiB above.",
        clause: &microvm::RAM_LIMIT,
        features: &[Feature::FwCfg, Feature::MaxRamBelow4g],
        setup: Setup::with_limit(128 * MIB, MIB),
        ..AREA
    },
    Case {
        id: "memory-map/limit/2g-above-ram",
        title: "A limit larger than RAM changes nothing.",
        clause: &microvm::RAM_LIMIT,
        features: &[Feature::FwCfg, Feature::MaxRamBelow4g],
        setup: Setup::with_limit(2 * GIB, 2560 * MIB),
        ..AREA
    },
    Case {
        id: "memory-map/limit/4g-at-1537m",
        title: "max-ram-below-4g need not be a multiple of 1 GiB.",
        clause: &microvm::RAM_LIMIT,
        features: &[Feature::FwCfg, Feature::MaxRamBelow4g],
        setup: Setup::with_limit(4 * GIB, 1537 * MIB),
        ..AREA
    },
    Case {
        id: "memory-map/limit/4g-at-1g",
        title: "max-ram-below-4g=1G leaves 1 GiB below and 3 GiB above.",
        clause: &microvm::RAM_LIMIT,
        features: &[Feature::FwCfg, Feature::MaxRamBelow4g],
        setup: Setup::with_limit(4 * GIB, GIB),
        ..AREA
    },
    Case {
        id: "memory-map/limit/4g-at-3g",
        title: "max-ram-below-4g never raises the split.",
        clause: &microvm::RAM_LIMIT,
        features: &[Feature::FwCfg, Feature::MaxRamBelow4g],
        setup: Setup::with_limit(4 * GIB, 3 * GIB),
        ..AREA
    },
    Case {
        id: "memory-map/ram/above-4g-is-memory",
        title: "RAM above 4 GiB keeps what is written at both its ends, and is not an alias of low RAM.",
        clause: &microvm::RAM_SPLIT,
        features: &[],
        setup: Setup::with_ram(4 * GIB),
        body: Body::Bus(ram_above_is_memory),
        ..AREA
    },
    Case {
        id: "memory-map/ram/ends-at-the-split",
        title: "Of RAM that is split, the last byte below the split is memory, and what lies past it is not.",
        clause: &microvm::RAM_SPLIT,
        features: &[],
        setup: Setup::with_ram(4 * GIB),
        body: Body::Bus(ram_ends),
        ..AREA
    },
    Case {
        id: "memory-map/ram/ends-where-e820-says",
        title: "The byte below the end of low RAM is memory, and what lies past it is not.",
        clause: &microvm::RAM_SPLIT,
        features: &[],
        body: Body::Bus(ram_ends),
        ..AREA
    },
    Case {
        id: "memory-map/ram/vga-hole-is-memory",
        title: "There is no hole for a display at 0xa0000.",
        clause: &microvm::RAM_SPLIT,
        features: &[],
        body: Body::Bus(ram_has_no_vga_hole),
        ..AREA
    },
    Case {
        id: "memory-map/ram/widths",
        title: "RAM takes accesses of 1, 2, 4 and 8 bytes at any alignment, little endian.",
        clause: &microvm::RAM_SPLIT,
        features: &[],
        body: Body::Bus(ram_widths),
        ..AREA
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    base: u64,
    length: u64,
    kind: u32,
}

const ENTRY_LENGTH_BYTES: usize = 20;
const KIND_RAM: u32 = 1;
const KIND_RESERVED: u32 = 2;
/// More entries than any configuration of the machine has.
const ENTRIES_MAX: usize = 32;

fn entries(p: &mut Probe<'_>) -> Result<Vec<Entry>, Stop> {
    let bytes = fw_cfg::contents(p, "etc/e820", ENTRIES_MAX * ENTRY_LENGTH_BYTES)?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let entry = |bytes: &[u8]| Entry {
        base: number(&bytes[..8]),
        length: number(&bytes[8..16]),
        kind: number(&bytes[16..]) as u32,
    };
    Ok(bytes.chunks_exact(ENTRY_LENGTH_BYTES).map(entry).collect())
}

/// Reads the table and compares its RAM entries with the split rule; reservations of a hypervisor may stand beside.
fn e820_lists_ram(p: &mut Probe<'_>) -> Result<(), Stop> {
    let setup = p.setup();
    let (below, above) = p.layout().ram_split(setup.ram_bytes, setup.max_ram_below_4g);
    let ram: Vec<Entry> = entries(p)?.into_iter().filter(|entry| entry.kind == KIND_RAM).collect();
    let mut want = vec![(0u64, below)];
    want.extend((above != 0).then_some((1 << 32, above)));
    p.require_eq("number of RAM entries", ram.len() as u64, want.len() as u64)?;
    for (entry, (base, length)) in ram.into_iter().zip(want) {
        p.check_eq("base of the RAM entry", entry.base, base);
        p.check_eq("length of the RAM entry", entry.length, length);
    }
    let total = fw_cfg::number(p, fw_cfg::key::RAM_SIZE, 8)?;
    p.check_eq("RAM size item", total, setup.ram_bytes);
    Ok(())
}

fn e820_entry_size(p: &mut Probe<'_>) -> Result<(), Stop> {
    let file = fw_cfg::file(p, "etc/e820")?;
    p.check_eq("size modulo 20", u64::from(file.size) % ENTRY_LENGTH_BYTES as u64, 0u64);
    p.check("entries", 0 < file.size, "none", "at least one");
    for entry in entries(p)? {
        p.check(
            "length of an entry",
            entry.length != 0,
            "0",
            "not 0: the table has no terminator",
        );
        let known = [KIND_RAM, KIND_RESERVED].contains(&entry.kind);
        p.check(
            "type of an entry",
            known,
            entry.kind.to_string(),
            "1 (RAM) or 2 (reserved)",
        );
    }
    Ok(())
}

/// Holds every entry against every other, and against the windows of the devices.
fn e820_no_overlap(p: &mut Probe<'_>) -> Result<(), Stop> {
    let layout = p.layout();
    let transports = layout.virtio_stride_bytes * u64::from(layout.virtio_count);
    let windows = [
        (layout.virtio_base, transports),
        (0xfec0_0000, 0x1000),
        (0xfee0_0000, 0x10_0000),
    ];
    let mut ranges: Vec<(u64, u64)> = entries(p)?
        .into_iter()
        .map(|entry| (entry.base, entry.length))
        .collect();
    p.check("entries", !ranges.is_empty(), "none", "at least one");
    ranges.extend(windows);
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let ((first, length), (second, _)) = (pair[0], pair[1]);
        let got = format!("{first:#x}+{length:#x} reaches into {second:#x}");
        p.check(
            "ranges side by side",
            first.saturating_add(length) <= second,
            got,
            "no overlap",
        );
    }
    Ok(())
}

fn ram_above_is_memory(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (_, above) = p.layout().ram_split(p.setup().ram_bytes, None);
    let (first, last) = (1 << 32, (1 << 32) + above - 8);
    p.store(SCRATCH, Width::Qword, 0)?;
    p.store(first, Width::Qword, 0x0123_4567_89ab_cdef)?;
    p.store(last, Width::Qword, 0xfedc_ba98_7654_3210)?;
    let got = p.load(first, Width::Qword)?;
    p.check_eq("first quad word above 4 GiB", got, 0x0123_4567_89ab_cdefu64);
    let got = p.load(last, Width::Qword)?;
    p.check_eq("last quad word of RAM", got, 0xfedc_ba98_7654_3210u64);
    let got = p.load(SCRATCH, Width::Qword)?;
    p.check_eq("low RAM", got, 0u64);
    p.store(first + SCRATCH, Width::Qword, u64::MAX)?;
    let got = p.load(SCRATCH, Width::Qword)?;
    p.check_eq("low RAM at the same offset", got, 0u64);
    Ok(())
}

fn ram_ends(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (below, _) = p.layout().ram_split(p.setup().ram_bytes, None);
    p.store(below - 4, Width::Dword, 0xa5a5_5a5a)?;
    p.store(below, Width::Dword, 0x1234_5678)?;
    let got = p.readl(below - 4)?;
    p.check_eq("last double word of RAM", got, 0xa5a5_5a5au32);
    let got = p.readl(below)?;
    // What an empty place reads as is another case's matter.
    p.check(
        "double word past RAM",
        got != 0x1234_5678,
        format!("{got:#x}, as written"),
        "no memory",
    );
    Ok(())
}

fn ram_has_no_vga_hole(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (index, gpa) in (0xa_0000..0xc_0000).step_by(0x1000).enumerate() {
        p.store(gpa, Width::Dword, 0x5a00_0000 | index as u64)?;
    }
    for (index, gpa) in (0xa_0000..0xc_0000).step_by(0x1000).enumerate() {
        p.point(format!("{gpa:#x}"));
        let got = p.readl(gpa)?;
        p.check_eq("double word", got, 0x5a00_0000 | index as u32);
    }
    Ok(())
}

fn ram_widths(p: &mut Probe<'_>) -> Result<(), Stop> {
    let pattern: Vec<u8> = (0..32).map(|index| 0x80 | index).collect();
    for width in Width::ALL {
        for offset in 0..8u64 {
            p.point(format!("{} bytes at +{offset}", width.bytes()));
            p.write_memory(SCRATCH, &pattern)?;
            let at = offset as usize;
            let want = pattern[at..at + width.bytes()]
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte));
            let got = p.load(SCRATCH + offset, width)?;
            p.check_eq("value loaded", got, want);
            p.store(SCRATCH + offset, width, !want & width.mask())?;
            let mut changed = pattern.clone();
            changed[at..at + width.bytes()]
                .iter_mut()
                .for_each(|byte| *byte = !*byte);
            let got = p.read_memory(SCRATCH, pattern.len())?;
            p.check_bytes("memory after the store", &got, &changed);
        }
    }
    Ok(())
}

/// RAM that no image of ours lies in.
const SCRATCH: u64 = 0x40_0000;
