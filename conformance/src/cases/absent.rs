//! What this machine does not have, and how an empty bus answers.

use std::ops::Range;

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::microvm;
use crate::driver::ram;
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::ABSENT_PORTS,
    level: Level::Must,
    features: &[],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(keyboard_controller),
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "absent/memory/drops-writes",
        title: "Writes to empty guest-physical memory change nothing.",
        clause: &microvm::ABSENT_MEMORY,
        body: Body::Bus(memory_drops_writes),
        ..AREA
    },
    Case {
        id: "absent/memory/past-transports",
        title: "Past the last transport there is nothing.",
        clause: &microvm::TRANSPORTS,
        features: &[Feature::VirtioMmio, Feature::AllTransports],
        body: Body::Bus(memory_past_transports),
        ..AREA
    },
    Case {
        id: "absent/memory/reads-zero",
        title: "Empty guest-physical memory reads as zero at every width.",
        clause: &microvm::ABSENT_MEMORY,
        body: Body::Bus(memory_reads_zero),
        ..AREA
    },
    Case {
        id: "absent/ports/acpi",
        title: "There is no ACPI power management block.",
        body: Body::Bus(acpi),
        ..AREA
    },
    Case {
        id: "absent/ports/debug-console",
        title: "There is no debug console unless asked for.",
        body: Body::Bus(debug_console),
        ..AREA
    },
    Case {
        id: "absent/ports/dma-controllers",
        title: "There are no 8237 DMA controllers.",
        body: Body::Bus(dma_controllers),
        ..AREA
    },
    Case {
        id: "absent/ports/drives",
        title: "There are no IDE or floppy controllers.",
        body: Body::Bus(drives),
        ..AREA
    },
    Case {
        id: "absent/ports/ignore-writes",
        title: "Writes to empty ports change nothing.",
        body: Body::Bus(ports_ignore_writes),
        ..AREA
    },
    Case {
        id: "absent/ports/keyboard-controller",
        title: "There is no 8042 keyboard controller.",
        ..AREA
    },
    Case {
        id: "absent/ports/low-space",
        title: "Below 0x400 no port answers but those of the machine's devices.",
        body: Body::Bus(low_space),
        ..AREA
    },
    Case {
        id: "absent/ports/pci",
        title: "There is no PCI configuration mechanism.",
        body: Body::Bus(pci),
        ..AREA
    },
    Case {
        id: "absent/ports/second-serial",
        title: "There is one serial port only.",
        body: Body::Bus(second_serial),
        ..AREA
    },
    Case {
        id: "absent/ports/straddle-upward",
        title: "A word that begins one port below a device gives ones and the device's first byte.",
        clause: &microvm::PORT_STRADDLE,
        level: Level::Should,
        features: &[Feature::FwCfg],
        body: Body::Bus(straddle_upward),
        ..AREA
    },
    Case {
        id: "absent/ports/system-control",
        title: "There are no system control ports 0x61 and 0x92.",
        body: Body::Bus(system_control),
        ..AREA
    },
];

/// Guest-physical addresses with nothing there in any profile, for up to 3 GiB of RAM.
const NOWHERE: [u64; 4] = [0xd800_0000, 0xe000_0000, 0xf000_0000, 0xfeb1_0000];

/// All of these ports float, but for those of a keyboard controller, which some profiles have.
fn check_float(p: &mut Probe<'_>, ports: impl IntoIterator<Item = u16>) -> Result<(), Stop> {
    ram::answers(p)?;
    let claimed = p.layout().keyboard_ports();
    for port in ports.into_iter().filter(|port| !claimed.contains(port)) {
        p.point(format!("port {port:#x}"));
        let got = p.inb(port)?;
        p.check_eq("byte", got, 0xffu8);
    }
    Ok(())
}

/// What a profile has is not absent.
fn is_without(p: &Probe<'_>, part: Feature, words: &str) -> Result<(), Stop> {
    if p.layout().has(part) {
        let text = format!("profile {} has {words}", p.layout().profile);
        return Err(Stop::NotApplicable(text));
    }
    Ok(())
}

fn keyboard_controller(p: &mut Probe<'_>) -> Result<(), Stop> {
    is_without(p, Feature::I8042, "a keyboard controller")?;
    check_float(p, [0x60, 0x64])
}

fn system_control(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, [0x61, 0x92])
}

fn acpi(p: &mut Probe<'_>) -> Result<(), Stop> {
    is_without(p, Feature::Acpi, "ACPI")?;
    check_float(p, (0x600..0x608).chain([0xb2, 0xb3, 0xcd8, 0xcd9, 0xb000, 0xb004]))
}

fn debug_console(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, [0x402, 0xe9])
}

fn dma_controllers(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, (0x00..0x10).chain(0x80..0x90).chain((0xc0..0xe0).step_by(2)))
}

fn drives(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, (0x1f0..0x1f8).chain(0x170..0x178).chain(0x3f2..0x3f8).chain([0x376]))
}

fn second_serial(p: &mut Probe<'_>) -> Result<(), Stop> {
    check_float(p, (0x2f8..0x300).chain(0x3e8..0x3f0).chain(0x2e8..0x2f0))
}

/// A machine with PCI gives the address back.
fn pci(p: &mut Probe<'_>) -> Result<(), Stop> {
    is_without(p, Feature::Pci, "PCI")?;
    ram::answers(p)?;
    p.outl(0xcf8, 0x8000_0000)?;
    let (address, data) = (p.inl(0xcf8)?, p.inl(0xcfc)?);
    p.check_eq("address register", address, 0xffff_ffffu32);
    p.check_eq("data register", data, 0xffff_ffffu32);
    Ok(())
}

/// Ports of the machine's devices below 0x400, whatever the options: PIC, PIT, RTC, ELCR lies above. The debug-exit
/// ports that the suite itself asks for lie at 0xf4.
const CLAIMED: [(u16, u16); 6] = [(0x20, 2), (0x40, 4), (0x70, 2), (0xa0, 2), (0xf4, 4), (0x3f8, 8)];

/// Configuration address and data of PCI.
const PCI_PORTS: Range<u16> = 0xcf8..0xd00;

fn low_space(p: &mut Probe<'_>) -> Result<(), Stop> {
    let claimed = |port: &u16| {
        CLAIMED
            .iter()
            .any(|(base, length)| (*base..base + length).contains(port))
    };
    check_float(p, (0..0x400).filter(|port| !claimed(port)))
}

fn ports_ignore_writes(p: &mut Probe<'_>) -> Result<(), Stop> {
    ram::answers(p)?;
    let claimed = p.layout().keyboard_ports();
    let has_pci = p.layout().has(Feature::Pci);
    let ports = [0x60, 0x61, 0x80, 0x2f8, 0xcfc].into_iter();
    for port in ports.filter(|port| !(claimed.contains(port) || has_pci && PCI_PORTS.contains(port))) {
        for value in [0, 0x5a] {
            p.point(format!("port {port:#x} written {value:#x}"));
            p.outb(port, value)?;
            let got = p.inb(port)?;
            p.check_eq("byte", got, 0xffu8);
        }
    }
    // Beside the port of the DMA pages, one of PCI where that is absent.
    let (word, long) = (p.inw(0x80)?, p.inl(if has_pci { 0xcd8 } else { 0xcf8 })?);
    p.check_eq("word", word, 0xffffu16);
    p.check_eq("double word", long, 0xffff_ffffu32);
    Ok(())
}

/// The DMA address register begins at 0x514 with a Q.
fn straddle_upward(p: &mut Probe<'_>) -> Result<(), Stop> {
    let word = p.inw(0x513)?;
    p.check_eq("word", word, u16::from(b'Q') << 8 | 0xff);
    Ok(())
}

fn memory_reads_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    is_without(p, Feature::Pci, "PCI, whose space lies there")?;
    for gpa in NOWHERE {
        for width in Width::ALL {
            p.point(format!("{} bytes at {gpa:#x}", width.bytes()));
            let got = p.load(gpa, width)?;
            p.check_eq("value", got, 0u64);
        }
    }
    Ok(())
}

fn memory_drops_writes(p: &mut Probe<'_>) -> Result<(), Stop> {
    is_without(p, Feature::Pci, "PCI, whose space lies there")?;
    for gpa in NOWHERE {
        for width in Width::ALL {
            p.point(format!("{} bytes at {gpa:#x}", width.bytes()));
            p.store(gpa, width, width.mask())?;
            let got = p.load(gpa, width)?;
            p.check_eq("value after the write", got, 0u64);
        }
    }
    Ok(())
}

fn memory_past_transports(p: &mut Probe<'_>) -> Result<(), Stop> {
    let layout = p.layout();
    let last = p.readl(layout.transport(layout.virtio_count - 1))?;
    p.check_eq("MagicValue of the last transport", last, 0x7472_6976u32);
    for index in layout.virtio_count..32 {
        p.point(format!("where transport {index} would be"));
        let got = p.readl(layout.transport(index))?;
        p.check_eq("MagicValue", got, 0u32);
    }
    Ok(())
}
