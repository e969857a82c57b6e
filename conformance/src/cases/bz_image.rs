//! A bzImage as the machine hands it to a firmware.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::microvm;
use crate::driver::fw_cfg::{self, key};
use crate::machine::{Caps, Stop};
use crate::probe::Probe;
use crate::subject::kernel::{BZ_IMAGE_SETUP_LENGTH, bz_image};

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &microvm::FW_CFG_BZ_IMAGE,
    level: Level::Must,
    features: &[Feature::FwCfg],
    needs: Caps::NONE,
    setup: Setup {
        append: Some("console=ttyS0"),
        bz_image: true,
        ..Setup::DEFAULT
    },
    body: Body::Bus(kernel),
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "bz-image/command-line/text",
        title: "The command line is for 0x20000, and is the user's with its NUL.",
        body: Body::Bus(command_line),
        ..AREA
    },
    Case {
        id: "bz-image/kernel/whole",
        title: "What lies behind the setup part is for 0x100000, all of it as it is in the file.",
        ..AREA
    },
    Case {
        id: "bz-image/setup/header",
        title: "The setup part is for 0x10000, and only the fields of its header that a boot loader fills in differ.",
        body: Body::Bus(setup),
        ..AREA
    },
];

fn command_line(p: &mut Probe<'_>) -> Result<(), Stop> {
    let address = fw_cfg::number(p, key::CMDLINE_ADDR, 4)?;
    p.check_eq("address", address, COMMAND_LINE_ADDRESS);
    let want = p.setup().append.map(|text| format!("{text}\0")).unwrap_or_default();
    let size = fw_cfg::number(p, key::CMDLINE_SIZE, 4)?;
    p.check_eq("size", size, want.len() as u64);
    let got = fw_cfg::item(p, key::CMDLINE_DATA, want.len())?;
    p.check_bytes("text", &got, want.as_bytes());
    Ok(())
}

fn kernel(p: &mut Probe<'_>) -> Result<(), Stop> {
    let address = fw_cfg::number(p, key::KERNEL_ADDR, 4)?;
    p.check_eq("address", address, 0x10_0000_u64);
    let file = bz_image();
    let want = &file[BZ_IMAGE_SETUP_LENGTH..];
    let size = fw_cfg::number(p, key::KERNEL_SIZE, 4)?;
    p.check_eq("size", size, want.len() as u64);
    let got = fw_cfg::item(p, key::KERNEL_DATA, want.len())?;
    p.check_bytes("contents", &got, want);
    Ok(())
}

fn setup(p: &mut Probe<'_>) -> Result<(), Stop> {
    let address = fw_cfg::number(p, key::SETUP_ADDR, 4)?;
    p.check_eq("address", address, SETUP_ADDRESS);
    let mut want = bz_image();
    want.truncate(BZ_IMAGE_SETUP_LENGTH);
    for (at, field) in [
        (TYPE_OF_LOADER, &[LOADER_QEMU][..]),
        (LOADFLAGS, &[LOADED_HIGH | CAN_USE_HEAP]),
        // The heap ends where the command line begins, less the 512 bytes that the field does not count.
        (
            HEAP_END_PTR,
            &((COMMAND_LINE_ADDRESS - SETUP_ADDRESS - 512) as u16).to_le_bytes(),
        ),
        (CMD_LINE_PTR, &(COMMAND_LINE_ADDRESS as u32).to_le_bytes()),
    ] {
        want[at..at + field.len()].copy_from_slice(field);
    }
    let size = fw_cfg::number(p, key::SETUP_SIZE, 4)?;
    p.check_eq("size", size, want.len() as u64);
    let got = fw_cfg::item(p, key::SETUP_DATA, want.len())?;
    let fields = [
        ("type_of_loader", TYPE_OF_LOADER..TYPE_OF_LOADER + 1),
        ("loadflags", LOADFLAGS..LOADFLAGS + 1),
        ("ramdisk_image and ramdisk_size", RAMDISK_IMAGE..RAMDISK_IMAGE + 8),
        ("heap_end_ptr", HEAP_END_PTR..HEAP_END_PTR + 2),
        ("cmd_line_ptr", CMD_LINE_PTR..CMD_LINE_PTR + 4),
    ];
    for (name, field) in fields {
        p.check_bytes(name, &got[field.clone()], &want[field]);
    }
    let first = got.iter().zip(&want).position(|(got, want)| got != want);
    p.check(
        "the rest",
        first.is_none(),
        first.map(|at| format!("another byte at {at:#x}")).unwrap_or_default(),
        "the file's bytes",
    );
    Ok(())
}

const SETUP_ADDRESS: u64 = 0x1_0000;
const COMMAND_LINE_ADDRESS: u64 = 0x2_0000;

// Offsets and bits of the setup header, "The Linux/x86 Boot Protocol".
const TYPE_OF_LOADER: usize = 0x210;
const LOADFLAGS: usize = 0x211;
const RAMDISK_IMAGE: usize = 0x218;
const HEAP_END_PTR: usize = 0x224;
const CMD_LINE_PTR: usize = 0x228;
const LOADED_HIGH: u8 = 1 << 0;
const CAN_USE_HEAP: u8 = 1 << 7;

/// The number that loaders of this machine's kind have, version 0.
const LOADER_QEMU: u8 = 0xb0;
