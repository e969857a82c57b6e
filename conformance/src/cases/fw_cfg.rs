//! fw_cfg: ports, items and files.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::{devicetree, fw_cfg as clause, microvm};
use crate::driver::fw_cfg::{self, DATA, SELECTOR, key};
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;
use crate::subject::options::FW_CFG_FILE;

mod device_tree;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::DATA,
    level: Level::Must,
    features: &[Feature::FwCfg],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(signature),
};

const WITH_KERNEL: Setup = Setup {
    append: Some("console=ttyS0"),
    ..Setup::DEFAULT
};

const WITH_DEVICES: Setup = Setup {
    devices: &["virtio-rng"; 5],
    ..Setup::DEFAULT
};

const WITH_DEVICE: Setup = Setup {
    devices: &["virtio-rng"],
    ..Setup::DEFAULT
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "fw-cfg/cpus/five-of-eight",
        title: "Five CPUs of at most eight are offered as 5 and 8.",
        clause: &microvm::CPUS,
        setup: Setup {
            cpus: 5,
            cpus_max: 8,
            ..Setup::DEFAULT
        },
        body: Body::Bus(cpus),
        ..AREA
    },
    Case {
        id: "fw-cfg/cpus/most",
        title: "One CPU of at most 288, which is as many as there can be, is offered as 1 and 288.",
        clause: &microvm::CPUS,
        features: &[Feature::FwCfg, Feature::ManyCpus],
        setup: Setup {
            cpus_max: 288,
            ..Setup::DEFAULT
        },
        body: Body::Bus(cpus),
        ..AREA
    },
    Case {
        id: "fw-cfg/cpus/one",
        title: "One CPU is offered as 1 and 1.",
        clause: &microvm::CPUS,
        body: Body::Bus(cpus),
        ..AREA
    },
    Case {
        id: "fw-cfg/cpus/three",
        title: "Three CPUs are offered as 3 and 3.",
        clause: &microvm::CPUS,
        setup: Setup {
            cpus: 3,
            cpus_max: 3,
            ..Setup::DEFAULT
        },
        body: Body::Bus(cpus),
        ..AREA
    },
    Case {
        id: "fw-cfg/data/past-end",
        title: "Past the end of an item zeros are read, however often.",
        body: Body::Bus(data_past_end),
        ..AREA
    },
    Case {
        id: "fw-cfg/data/unknown-item",
        title: "Items that the machine does not have read as zeros.",
        clause: &clause::DATA_UNKNOWN,
        body: Body::Bus(data_unknown),
        ..AREA
    },
    Case {
        id: "fw-cfg/data/word-read-straddles",
        title: "A 16-bit read of the data port is one data byte and the empty port beside it.",
        clause: &microvm::PORT_STRADDLE,
        level: Level::Should,
        body: Body::Bus(data_word_read),
        ..AREA
    },
    Case {
        id: "fw-cfg/data/write-ignored",
        title: "Writing the data port changes neither the item nor the offset.",
        clause: &clause::DATA_WRITE,
        body: Body::Bus(data_write_ignored),
        ..AREA
    },
    Case {
        id: "fw-cfg/device-tree/addresses",
        title: "The device tree tells where serial port, clock, IOAPIC and transports are.",
        clause: &devicetree::REG,
        features: &[Feature::FwCfg, Feature::Fdt, Feature::VirtioMmio],
        setup: WITH_DEVICE,
        body: Body::Bus(device_tree::addresses),
        ..AREA
    },
    Case {
        id: "fw-cfg/device-tree/header",
        title: "The device tree is of version 17 and as long as its file.",
        clause: &devicetree::HEADER,
        features: &[Feature::FwCfg, Feature::Fdt],
        body: Body::Bus(device_tree::header),
        ..AREA
    },
    Case {
        id: "fw-cfg/device-tree/interrupts",
        title: "The device tree tells which input of the IOAPIC each device drives.",
        clause: &devicetree::INTERRUPTS,
        features: &[Feature::FwCfg, Feature::Fdt, Feature::VirtioMmio],
        setup: WITH_DEVICE,
        body: Body::Bus(device_tree::interrupts),
        ..AREA
    },
    Case {
        id: "fw-cfg/device-tree/no-transports",
        title: "Without a device the device tree lists no transport.",
        clause: &devicetree::REG,
        features: &[Feature::FwCfg, Feature::Fdt, Feature::VirtioMmio],
        body: Body::Bus(device_tree::transports),
        ..AREA
    },
    Case {
        id: "fw-cfg/device-tree/reservations",
        title: "The device tree's list of reserved memory has an end.",
        clause: &devicetree::RESERVATIONS,
        features: &[Feature::FwCfg, Feature::Fdt],
        body: Body::Bus(device_tree::reservations),
        ..AREA
    },
    Case {
        id: "fw-cfg/device-tree/structure",
        title: "The device tree can be walked from its root to its end.",
        clause: &devicetree::STRUCTURE,
        features: &[Feature::FwCfg, Feature::Fdt],
        body: Body::Bus(device_tree::structure),
        ..AREA
    },
    Case {
        id: "fw-cfg/device-tree/transports",
        title: "The device tree lists each transport that has a device, and no other.",
        clause: &devicetree::REG,
        features: &[Feature::FwCfg, Feature::Fdt, Feature::VirtioMmio],
        setup: WITH_DEVICES,
        body: Body::Bus(device_tree::transports),
        ..AREA
    },
    Case {
        id: "fw-cfg/directory/entries-well-formed",
        title: "Each directory entry has a zero reserved field and a name that ends within it.",
        clause: &clause::DIRECTORY,
        body: Body::Bus(directory_entries),
        ..AREA
    },
    Case {
        id: "fw-cfg/directory/keys",
        title: "Files have distinct selectors from 0x20 on.",
        clause: &clause::DIRECTORY_KEYS,
        body: Body::Bus(directory_keys),
        ..AREA
    },
    Case {
        id: "fw-cfg/directory/sorted",
        title: "The directory is sorted by name.",
        clause: &microvm::FW_CFG_FILES,
        level: Level::Should,
        body: Body::Bus(directory_sorted),
        ..AREA
    },
    Case {
        id: "fw-cfg/directory/unused-slots-zero",
        title: "The directory's unused slots are zero.",
        clause: &microvm::FW_CFG_FILES,
        level: Level::Should,
        body: Body::Bus(directory_tail),
        ..AREA
    },
    Case {
        id: "fw-cfg/e820-key/kvm-pages",
        title: "Under KVM the e820 table and its legacy item reserve the pages that KVM needs.",
        clause: &microvm::E820_KVM,
        features: &[Feature::FwCfg, Feature::E820Key],
        setup: Setup {
            options: &[("rtc", "on"), ("accel", "kvm")],
            ..Setup::DEFAULT
        },
        body: Body::Bus(e820_kvm_pages),
        ..AREA
    },
    Case {
        id: "fw-cfg/e820-key/no-reservation",
        title: "The legacy e820 item counts its reservations, and none of them is RAM.",
        clause: &microvm::FW_CFG_KEYS,
        features: &[Feature::FwCfg, Feature::E820Key],
        body: Body::Bus(e820_key),
        ..AREA
    },
    Case {
        id: "fw-cfg/file/boot-fail-wait",
        title: "etc/boot-fail-wait says that nobody reboots by itself.",
        clause: &microvm::FW_CFG_FILES,
        body: Body::Bus(file_boot_fail_wait),
        ..AREA
    },
    Case {
        id: "fw-cfg/file/device-tree",
        title: "etc/fdt begins with a flattened device tree.",
        clause: &microvm::FW_CFG_FILES,
        features: &[Feature::FwCfg, Feature::Fdt],
        body: Body::Bus(file_device_tree),
        ..AREA
    },
    Case {
        id: "fw-cfg/file/fixed-names",
        title: "The files that every machine has are listed.",
        clause: &microvm::FW_CFG_FILES,
        body: Body::Bus(file_fixed_names),
        ..AREA
    },
    Case {
        id: "fw-cfg/file/longest-name",
        title: "A file that the user gave is offered under a name of 55 characters, which is as long as one can be.",
        clause: &clause::DIRECTORY,
        setup: Setup {
            devices: &["fw-cfg-file"],
            ..Setup::DEFAULT
        },
        body: Body::Bus(file_longest_name),
        ..AREA
    },
    Case {
        id: "fw-cfg/id/features",
        title: "The ID item offers the traditional and the DMA interface.",
        clause: &clause::ID,
        body: Body::Bus(id_features),
        ..AREA
    },
    Case {
        id: "fw-cfg/irq0-override/set",
        title: "The timer interrupt's override is announced.",
        clause: &microvm::FW_CFG_KEYS,
        body: Body::Bus(irq0_override),
        ..AREA
    },
    Case {
        id: "fw-cfg/kernel/absent-without-kernel",
        title: "Without a kernel its items read as zeros.",
        clause: &microvm::FW_CFG_KERNEL,
        body: Body::Bus(kernel_absent),
        ..AREA
    },
    Case {
        id: "fw-cfg/kernel/entry",
        title: "The entry item is the address in the kernel's PVH note.",
        clause: &microvm::FW_CFG_KERNEL,
        setup: WITH_KERNEL,
        body: Body::Bus(kernel_entry),
        ..AREA
    },
    Case {
        id: "fw-cfg/kernel/load-range",
        title: "The kernel's load range holds its entry point.",
        clause: &microvm::FW_CFG_KERNEL,
        setup: WITH_KERNEL,
        body: Body::Bus(kernel_range),
        ..AREA
    },
    Case {
        id: "fw-cfg/kernel/no-initrd",
        title: "Without an initial RAM disk its size item reads as zero.",
        clause: &microvm::FW_CFG_KERNEL,
        setup: WITH_KERNEL,
        body: Body::Bus(kernel_no_initrd),
        ..AREA
    },
    Case {
        id: "fw-cfg/ram-size/is-total",
        title: "The RAM size item is the sum of low and high RAM.",
        clause: &microvm::FW_CFG_KEYS,
        setup: Setup {
            ram_bytes: 5 << 30,
            ..Setup::DEFAULT
        },
        body: Body::Bus(ram_size),
        ..AREA
    },
    Case {
        id: "fw-cfg/reset/selects-first-item",
        title: "A system reset selects item 0 again.",
        clause: &clause::SELECTOR,
        needs: Caps::RESET,
        body: Body::Bus(reset_selects_first),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/architecture-bit",
        title: "With bit 15 set the fixed items of the other table are not seen.",
        clause: &clause::SELECTOR_ARCHITECTURE,
        body: Body::Bus(selector_architecture),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/byte-read",
        title: "A byte read of the selector port is a read of the data port.",
        clause: &clause::SELECTOR_WIDTH,
        level: Level::May,
        body: Body::Bus(selector_byte_read),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/byte-write",
        title: "A byte write of the selector port selects nothing.",
        clause: &clause::SELECTOR_WIDTH,
        level: Level::Should,
        body: Body::Bus(selector_byte_write),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/long-write",
        title: "A 32-bit write of the selector port selects nothing.",
        clause: &clause::SELECTOR_WIDTH,
        level: Level::Should,
        body: Body::Bus(selector_long_write),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/out-of-range",
        title: "Selectors past the last file slot read as zeros and harm nothing.",
        clause: &clause::DATA_UNKNOWN,
        body: Body::Bus(selector_out_of_range),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/power-on",
        title: "At power-on item 0 is selected.",
        clause: &clause::SELECTOR,
        level: Level::Should,
        body: Body::Bus(selector_power_on),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/resets-offset",
        title: "Selecting an item, the same one too, starts it from its first byte.",
        clause: &clause::SELECTOR,
        body: Body::Bus(selector_resets_offset),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/word-read",
        title: "A 16-bit read of the selector port is harmless and does not move the offset.",
        clause: &clause::SELECTOR_WIDTH,
        level: Level::Should,
        body: Body::Bus(selector_word_read),
        ..AREA
    },
    Case {
        id: "fw-cfg/selector/write-bit",
        title: "Bit 14 of the selector makes no difference.",
        clause: &clause::SELECTOR_WRITE_BIT,
        body: Body::Bus(selector_write_bit),
        ..AREA
    },
    Case {
        id: "fw-cfg/signature/reads-qemu",
        title: "Item 0 reads as QEMU.",
        clause: &clause::SIGNATURE,
        body: Body::Bus(signature),
        ..AREA
    },
    Case {
        id: "fw-cfg/string-io/bytes",
        title: "A string instruction reads the bytes that single reads give.",
        clause: &clause::STRING_IO,
        needs: Caps::STRING_IO,
        body: Body::Bus(string_bytes),
        ..AREA
    },
    Case {
        id: "fw-cfg/string-io/keeps-width",
        title: "A string instruction of words or double words keeps width and count.",
        clause: &clause::STRING_IO,
        needs: Caps::STRING_IO,
        body: Body::Bus(string_widths),
        ..AREA
    },
    Case {
        id: "fw-cfg/uuid/zero-when-unset",
        title: "Without a UUID its item is 16 zero bytes.",
        clause: &microvm::FW_CFG_KEYS,
        body: Body::Bus(uuid_zero),
        ..AREA
    },
];

fn cpus(p: &mut Probe<'_>) -> Result<(), Stop> {
    let setup = p.setup();
    let (present, most) = (
        fw_cfg::number(p, key::NB_CPUS, 2)?,
        fw_cfg::number(p, key::MAX_CPUS, 2)?,
    );
    p.check_eq("CPUs present", present, setup.cpus);
    p.check_eq("CPUs at most", most, setup.cpus_max);
    Ok(())
}

fn data_past_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::item(p, key::SIGNATURE, 12)?;
    p.check_bytes("signature and what follows", &got, b"QEMU\0\0\0\0\0\0\0\0");
    let again = fw_cfg::item(p, key::SIGNATURE, 4)?;
    p.check_bytes("signature after that", &again, b"QEMU");
    Ok(())
}

/// Items of other machines: machine id, kernel command line of old, boot device, NUMA, ACPI and SMBIOS tables, HPET.
fn data_unknown(p: &mut Probe<'_>) -> Result<(), Stop> {
    for key in [0x06, 0x09, 0x0c, 0x0d, 0x1a, 0x1f, 0x8000, 0x8001, 0x8004] {
        p.point(format!("item {key:#x}"));
        let got = fw_cfg::item(p, key, 8)?;
        p.check_bytes("bytes", &got, &[0; 8]);
    }
    Ok(())
}

fn data_word_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    let word = p.inw(DATA)?;
    p.check_eq("word", word, 0xff51u16);
    let next = p.inb(DATA)?;
    p.check_eq("next byte", next, b'E');
    Ok(())
}

fn data_write_ignored(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    p.outb(DATA, b'X')?;
    let got = fw_cfg::bytes(p, 4)?;
    p.check_bytes("signature after the write", &got, b"QEMU");
    let again = fw_cfg::item(p, key::SIGNATURE, 4)?;
    p.check_bytes("signature selected again", &again, b"QEMU");
    Ok(())
}

fn directory_entries(p: &mut Probe<'_>) -> Result<(), Stop> {
    let files = fw_cfg::directory(p)?;
    p.check("files", !files.is_empty(), "none", "at least one");
    for file in files {
        p.point(file.name.clone());
        p.check_eq("reserved", file.reserved, 0u16);
        p.check("name", !file.name.is_empty(), "empty", "not empty");
        let rest = file.field.iter().skip(file.name.len());
        p.check(
            "NUL behind the name",
            rest.clone().next() == Some(&0),
            "none",
            "within the 56 bytes",
        );
    }
    Ok(())
}

fn directory_keys(p: &mut Probe<'_>) -> Result<(), Stop> {
    let files = fw_cfg::directory(p)?;
    let mut keys: Vec<u16> = files.iter().map(|file| file.select).collect();
    keys.sort_unstable();
    let want: Vec<u16> = (0..keys.len()).map(|index| key::FILE_FIRST + index as u16).collect();
    p.check(
        "selectors",
        !keys.is_empty() && keys == want,
        format!("{keys:x?}"),
        format!("{want:x?}, at least one"),
    );
    Ok(())
}

fn directory_sorted(p: &mut Probe<'_>) -> Result<(), Stop> {
    let names: Vec<String> = fw_cfg::directory(p)?.into_iter().map(|file| file.name).collect();
    p.check(
        "names",
        !names.is_empty() && names.is_sorted(),
        names.join(" "),
        "sorted by byte value",
    );
    Ok(())
}

fn directory_tail(p: &mut Probe<'_>) -> Result<(), Stop> {
    let whole = fw_cfg::item(p, key::FILE_DIR, fw_cfg::DIRECTORY_LENGTH_BYTES)?;
    let count = u32::from_be_bytes([whole[0], whole[1], whole[2], whole[3]]) as usize;
    let used = 4 + count.min(32) * fw_cfg::ENTRY_LENGTH_BYTES;
    let tail_is_zero = whole[used..].iter().all(|byte| *byte == 0);
    p.check("bytes behind the last entry", tail_is_zero, "not all zero", "zero");
    p.check("files", (1..=32).contains(&count), count.to_string(), "1 to 32");
    Ok(())
}

/// 324 bytes: a count, then 16 slots of 20 bytes. A hypervisor may reserve; RAM is never listed here.
fn e820_key(p: &mut Probe<'_>) -> Result<(), Stop> {
    let bytes = fw_cfg::item(p, key::E820_TABLE, 4 + 16 * 20)?;
    let count = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    p.check("count", count <= 16, count.to_string(), "at most 16");
    for (index, slot) in bytes[4..].chunks_exact(20).enumerate() {
        p.point(format!("slot {index}"));
        let kind = u32::from_le_bytes([slot[16], slot[17], slot[18], slot[19]]);
        let want: u32 = if index < count { 2 } else { 0 };
        p.check_eq("type", kind, want);
    }
    Ok(())
}

fn file_boot_fail_wait(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::contents(p, "etc/boot-fail-wait", 64)?;
    p.check_bytes("contents", &got, &[0xff; 4]);
    Ok(())
}

/// Source of the magic: Devicetree Specification, "Header".
fn file_device_tree(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::contents(p, "etc/fdt", 4)?;
    p.check_bytes("magic", &got, &[0xd0, 0x0d, 0xfe, 0xed]);
    Ok(())
}

fn file_fixed_names(p: &mut Probe<'_>) -> Result<(), Stop> {
    let names: Vec<String> = fw_cfg::directory(p)?.into_iter().map(|file| file.name).collect();
    for want in ["bios-geometry", "bootorder", "etc/boot-fail-wait", "etc/e820"] {
        p.point(want);
        p.check("file", names.iter().any(|name| name == want), names.join(" "), want);
    }
    Ok(())
}

fn id_features(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::number(p, key::ID, 4)?;
    p.check_eq("feature bits", got, 3u32);
    Ok(())
}

fn irq0_override(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::number(p, key::IRQ0_OVERRIDE, 4)?;
    p.check_eq("override", got, 1u32);
    Ok(())
}

fn kernel_absent(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.facts().append.is_some() {
        return Err(Stop::Unavailable(
            "this subject cannot start without a kernel".to_owned(),
        ));
    }
    // Without this a subject without fw_cfg would pass: nothing there reads as ones, but who knows.
    let signature = fw_cfg::item(p, key::SIGNATURE, 4)?;
    p.check_bytes("signature", &signature, b"QEMU");
    for key in [
        key::KERNEL_ENTRY,
        key::KERNEL_SIZE,
        key::CMDLINE_SIZE,
        key::CMDLINE_DATA,
        key::INITRD_SIZE,
        0x11,
        0x18,
    ] {
        p.point(format!("item {key:#x}"));
        let got = fw_cfg::item(p, key, 4)?;
        p.check_bytes("bytes", &got, &[0; 4]);
    }
    Ok(())
}

fn kernel_entry(p: &mut Probe<'_>) -> Result<(), Stop> {
    let Some(want) = p.facts().kernel_entry else {
        return Err(Stop::Unavailable(
            "this subject does not say which kernel it started".to_owned(),
        ));
    };
    let got = fw_cfg::number(p, key::KERNEL_ENTRY, 4)?;
    p.check_eq("entry", got, want);
    Ok(())
}

fn kernel_range(p: &mut Probe<'_>) -> Result<(), Stop> {
    let entry = fw_cfg::number(p, key::KERNEL_ENTRY, 4)?;
    let base = fw_cfg::number(p, key::KERNEL_ADDR, 4)?;
    let size = fw_cfg::number(p, key::KERNEL_SIZE, 4)?;
    let inside = base <= entry && entry < base + size;
    p.check(
        "entry",
        inside && base != 0,
        format!("{entry:#x}"),
        format!("within {base:#x}+{size:#x}, which is not at 0"),
    );
    let ram_bytes = p.setup().ram_bytes;
    p.check(
        "end",
        base + size <= ram_bytes,
        format!("{:#x}", base + size),
        format!("within RAM, {ram_bytes:#x} bytes"),
    );
    Ok(())
}

fn kernel_no_initrd(p: &mut Probe<'_>) -> Result<(), Stop> {
    let signature = fw_cfg::item(p, key::SIGNATURE, 4)?;
    p.check_bytes("signature", &signature, b"QEMU");
    let got = fw_cfg::number(p, key::INITRD_SIZE, 4)?;
    p.check_eq("size of the initial RAM disk", got, 0u32);
    Ok(())
}

fn ram_size(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::number(p, key::RAM_SIZE, 8)?;
    p.check_eq("RAM size", got, p.setup().ram_bytes);
    Ok(())
}

fn reset_selects_first(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::item(p, key::ID, 2)?;
    p.reset()?;
    let got = fw_cfg::bytes(p, 4)?;
    p.check_bytes("bytes after the reset", &got, b"QEMU");
    Ok(())
}

fn selector_architecture(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::item(p, 0x8000 | key::ID, 4)?;
    p.check_bytes("architecture item 1", &got, &[0; 4]);
    let got = fw_cfg::item(p, key::IRQ0_OVERRIDE & 0x7fff, 4)?;
    p.check_bytes("common item 2, the UUID", &got, &[0; 4]);
    let got = fw_cfg::item(p, key::IRQ0_OVERRIDE, 4)?;
    p.check_bytes("architecture item 2", &got, &[1, 0, 0, 0]);
    Ok(())
}

fn selector_byte_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    let (first, second) = (p.inb(SELECTOR)?, p.inb(DATA)?);
    p.note(format!(
        "selector port read {first:#04x}, then the data port read {second:#04x}"
    ));
    Ok(())
}

fn selector_byte_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    p.outb(SELECTOR, key::ID as u8)?;
    let got = fw_cfg::bytes(p, 4)?;
    p.check_bytes("item still selected", &got, b"QEMU");
    Ok(())
}

fn selector_long_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    p.outl(SELECTOR, u32::from(key::ID))?;
    let got = fw_cfg::bytes(p, 4)?;
    p.check_bytes("item still selected", &got, b"QEMU");
    Ok(())
}

fn selector_out_of_range(p: &mut Probe<'_>) -> Result<(), Stop> {
    for key in [0x40, 0x41, 0xff, 0x1000, 0x3fff, 0x8040, 0xbfff, 0xffff] {
        p.point(format!("item {key:#x}"));
        let got = fw_cfg::item(p, key, 4)?;
        p.check_bytes("bytes", &got, &[0; 4]);
        let got = fw_cfg::item(p, key::SIGNATURE, 4)?;
        p.check_bytes("signature after that", &got, b"QEMU");
    }
    Ok(())
}

/// Only a machine that ran nothing yet can tell: firmware has used fw_cfg before the agent speaks.
fn selector_power_on(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.facts().reserved.is_empty() {
        return Err(Stop::Unavailable("a guest has run before the first access".to_owned()));
    }
    let got = fw_cfg::bytes(p, 4)?;
    p.check_bytes("first bytes", &got, b"QEMU");
    Ok(())
}

fn selector_resets_offset(p: &mut Probe<'_>) -> Result<(), Stop> {
    for read_before in 1..=6 {
        p.point(format!("after {read_before} bytes"));
        fw_cfg::item(p, key::SIGNATURE, read_before)?;
        let got = fw_cfg::item(p, key::SIGNATURE, 2)?;
        p.check_bytes("first bytes", &got, b"QE");
    }
    Ok(())
}

fn selector_word_read(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    let word = p.inw(SELECTOR)?;
    p.check_eq("word", word, 0u16);
    let got = fw_cfg::bytes(p, 4)?;
    p.check_bytes("item after that", &got, b"QEMU");
    Ok(())
}

fn selector_write_bit(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (key, want) in [(0x4000, *b"QEMU"), (0x4001, [3, 0, 0, 0]), (0xc002, [1, 0, 0, 0])] {
        p.point(format!("selector {key:#x}"));
        let got = fw_cfg::item(p, key, 4)?;
        p.check_bytes("bytes", &got, &want);
    }
    Ok(())
}

fn signature(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::item(p, key::SIGNATURE, 4)?;
    p.check_bytes("item 0", &got, b"QEMU");
    Ok(())
}

fn string_bytes(p: &mut Probe<'_>) -> Result<(), Stop> {
    let signature = fw_cfg::item(p, key::SIGNATURE, 4)?;
    p.check_bytes("signature", &signature, b"QEMU");
    for count in [1, 2, 3, 4, 5, 64] {
        p.point(format!("{count} bytes"));
        let want = fw_cfg::item(p, key::FILE_DIR, usize::from(count))?;
        fw_cfg::select(p, key::FILE_DIR)?;
        let got = p.port_read_string(DATA, Width::Byte, count)?;
        p.check_bytes("bytes by string instruction", &got, &want);
    }
    let got = p.port_read_string(DATA, Width::Byte, 4)?;
    p.check_eq("bytes of a string of four", got.len() as u64, 4u64);
    Ok(())
}

/// The DMA signature register answers every width, and each element reads it from its first byte.
fn string_widths(p: &mut Probe<'_>) -> Result<(), Stop> {
    let words = p.port_read_string(fw_cfg::DMA_HIGH, Width::Word, 3)?;
    p.check_bytes("three words of 0x514", &words, b"QEQEQE");
    let longs = p.port_read_string(fw_cfg::DMA_HIGH, Width::Dword, 2)?;
    p.check_bytes("two double words of 0x514", &longs, b"QEMUQEMU");
    Ok(())
}

fn uuid_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    let got = fw_cfg::item(p, key::UUID, 16)?;
    p.check_bytes("UUID", &got, &[0; 16]);
    Ok(())
}

fn file_longest_name(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (name, text) = FW_CFG_FILE;
    let file = fw_cfg::file(p, name)?;
    p.check_eq("size", file.size, text.len() as u64);
    let got = fw_cfg::contents(p, name, text.len())?;
    p.check_bytes("contents", &got, text.as_bytes());
    Ok(())
}

/// Four pages below 0xff000000: KVM's identity map and the task state segment of real mode.
fn e820_kvm_pages(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut entry = 0xfeff_c000_u64.to_le_bytes().to_vec();
    entry.extend(0x4000_u64.to_le_bytes());
    entry.extend(2_u32.to_le_bytes());
    let table = fw_cfg::contents(p, "etc/e820", 20)?;
    p.check_bytes("first entry of etc/e820", &table, &entry);
    let mut want = 1_u32.to_le_bytes().to_vec();
    want.extend(&entry);
    want.resize(4 + 16 * 20, 0);
    let item = fw_cfg::item(p, key::E820_TABLE, want.len())?;
    p.check_bytes("legacy item: a count and sixteen slots", &item, &want);
    Ok(())
}
