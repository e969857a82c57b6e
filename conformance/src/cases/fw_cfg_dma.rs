//! fw_cfg DMA: the address protocol, the operations and their faults.

use crate::case::{Body, Case, Feature, Level, Setup};
use crate::clause::fw_cfg as clause;
use crate::driver::fw_cfg::{self, DMA_HIGH, DMA_LOW, control, key};
use crate::machine::{Caps, Stop, Width};
use crate::probe::Probe;

const AREA: Case = Case {
    id: "",
    title: "",
    clause: &clause::DMA_READ,
    level: Level::Must,
    features: &[Feature::FwCfg],
    needs: Caps::NONE,
    setup: Setup::DEFAULT,
    body: Body::Bus(read_whole_item),
};

pub(crate) const CASES: &[Case] = &[
    Case {
        id: "fw-cfg-dma/address/byte-write",
        title: "Byte writes of the address register start nothing.",
        clause: &clause::DMA_ADDRESS,
        level: Level::Should,
        body: Body::Bus(address_byte_write),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/address/high-half-alone",
        title: "Writing the high half alone starts nothing.",
        clause: &clause::DMA_ADDRESS,
        body: Body::Bus(address_high_alone),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/address/low-half-alone",
        title: "Writing the low half alone is enough for a descriptor below 4 GiB.",
        clause: &clause::DMA_ADDRESS_ONCE,
        body: Body::Bus(address_low_alone),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/address/used-once",
        title: "A high half is used by one transfer only.",
        clause: &clause::DMA_ADDRESS_ONCE,
        body: Body::Bus(address_used_once),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/control/error-bit-given",
        title: "An error bit in the request is gone after a success.",
        clause: &clause::DMA_CONTROL,
        body: Body::Bus(control_error_given),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/control/no-operation",
        title: "A request without an operation succeeds and moves nothing.",
        clause: &clause::DMA_CONTROL,
        body: Body::Bus(control_no_operation),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/control/rest-unchanged",
        title: "Length and address of a descriptor stay as they were.",
        clause: &clause::DMA_CONTROL,
        body: Body::Bus(control_rest_unchanged),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/descriptor/at-odd-address",
        title: "A descriptor may lie at any address.",
        clause: &clause::DMA_ADDRESS,
        body: Body::Bus(descriptor_odd),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/descriptor/not-in-memory",
        title: "A descriptor where no memory is does no harm.",
        clause: &clause::DMA_FAULT,
        body: Body::Bus(descriptor_not_in_memory),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/descriptor/straddles-end-of-ram",
        title: "A descriptor that is only partly in RAM fails.",
        clause: &clause::DMA_FAULT,
        level: Level::Should,
        body: Body::Bus(descriptor_straddles),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/fault/end-of-memory",
        title: "A buffer that ends at or behind the last address there can be is a fault.",
        clause: &clause::DMA_FAULT,
        body: Body::Bus(fault_end_of_memory),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/fault/into-device",
        title: "A buffer on a device's registers does not operate the device.",
        clause: &clause::DMA_REENTRY,
        level: Level::Should,
        features: &[Feature::FwCfg, Feature::VirtioMmio],
        setup: Setup {
            devices: &["virtio-rng"],
            modern: true,
            ..Setup::DEFAULT
        },
        body: Body::Bus(fault_into_device),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/fault/past-end-of-ram",
        title: "A buffer that leaves RAM is filled up to its end, then the transfer fails.",
        clause: &clause::DMA_FAULT,
        body: Body::Bus(fault_past_end_of_ram),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/fault/unmapped-buffer",
        title: "A buffer where no memory is fails the transfer, and the next one works.",
        clause: &clause::DMA_FAULT,
        body: Body::Bus(fault_unmapped_buffer),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/fault/wrapping-buffer",
        title: "A buffer that wraps around the address space fails the transfer.",
        clause: &clause::DMA_FAULT,
        body: Body::Bus(fault_wrapping_buffer),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/priority/read-before-write",
        title: "READ and WRITE together read.",
        clause: &clause::DMA_PRIORITY,
        level: Level::Should,
        body: Body::Bus(priority_read_before_write),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/priority/write-before-skip",
        title: "WRITE and SKIP together write, and so fail.",
        clause: &clause::DMA_PRIORITY,
        level: Level::Should,
        body: Body::Bus(priority_write_before_skip),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/read/continues",
        title: "The next READ goes on where the last one ended, and so does the data port.",
        body: Body::Bus(read_continues),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/read/length-zero",
        title: "A READ of no bytes succeeds and writes none.",
        body: Body::Bus(read_length_zero),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/read/long-past-end",
        title: "Past the end of an item zeros come, however many are asked for.",
        clause: &clause::DMA_READ,
        body: Body::Bus(read_long_past_end),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/read/past-end",
        title: "A READ past the item's end fills up with zeros and succeeds.",
        body: Body::Bus(read_past_end),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/read/unknown-item",
        title: "A READ of an item that does not exist gives zeros and succeeds.",
        body: Body::Bus(read_unknown_item),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/read/whole-item",
        title: "A READ gives what the data port gives, and touches nothing beside the buffer.",
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/select/alone",
        title: "SELECT without an operation selects.",
        clause: &clause::DMA_SELECT,
        body: Body::Bus(select_alone),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/select/without-bit",
        title: "Without SELECT the upper half of the control word is ignored.",
        clause: &clause::DMA_SELECT,
        body: Body::Bus(select_without_bit),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/signature/all-widths",
        title: "The address register reads as QEMU CFG at every width and offset.",
        clause: &clause::DMA_SIGNATURE,
        body: Body::Bus(signature_all_widths),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/skip/moves-offset",
        title: "SKIP moves the offset and leaves the buffer alone.",
        clause: &clause::DMA_SKIP,
        body: Body::Bus(skip_moves_offset),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/skip/past-end",
        title: "SKIP past the item's end succeeds, and zeros are read from there on.",
        clause: &clause::DMA_SKIP,
        body: Body::Bus(skip_past_end),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/write/length-zero",
        title: "A WRITE of no bytes succeeds.",
        clause: &clause::DMA_WRITE,
        level: Level::Should,
        body: Body::Bus(write_length_zero),
        ..AREA
    },
    Case {
        id: "fw-cfg-dma/write/read-only-item",
        title: "A WRITE to a read-only item fails and changes nothing.",
        clause: &clause::DMA_WRITE,
        body: Body::Bus(write_read_only),
        ..AREA
    },
];

/// Where descriptors and buffers lie: RAM that no image of ours uses, in two pages of their own.
const DESCRIPTOR: u64 = 0x40_0000;
const BUFFER: u64 = 0x40_2000;
/// What the buffer holds before a transfer.
const FILL: u8 = 0xaa;
/// Guest-physical address with nothing there in any profile.
const NOWHERE: u64 = 0xd000_0000;

const OK: u32 = 0;

const fn select(key: u16) -> u32 {
    (key as u32) << 16 | control::SELECT
}

fn fill(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.write_memory(BUFFER, &[FILL; 32])
}

/// One transfer between the item and [`BUFFER`]; returns the control word and the first 32 bytes of the buffer.
fn transfer(p: &mut Probe<'_>, control: u32, length: u32) -> Result<(u32, Vec<u8>), Stop> {
    fill(p)?;
    let control = fw_cfg::dma(p, DESCRIPTOR, control, length, BUFFER)?;
    Ok((control, p.read_memory(BUFFER, 32)?))
}

/// The start of the buffer, followed by what it held before.
fn then_fill(start: &[u8]) -> Vec<u8> {
    let mut bytes = start.to_vec();
    bytes.resize(32, FILL);
    bytes
}

fn still_works(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::READ, 4)?;
    p.check_eq("control word of the next transfer", word, OK);
    p.check_bytes("buffer of the next transfer", &bytes, &then_fill(b"QEMU"));
    Ok(())
}

fn address_byte_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    let request = select(key::SIGNATURE) | control::READ;
    p.write_memory(DESCRIPTOR, &fw_cfg::descriptor(request, 4, BUFFER))?;
    for (index, byte) in (DESCRIPTOR as u32).to_be_bytes().into_iter().enumerate() {
        p.outb(DMA_LOW + index as u16, byte)?;
    }
    let word = fw_cfg::control_word(p, DESCRIPTOR)?;
    p.check_eq("control word", word, request);
    still_works(p)
}

fn address_high_alone(p: &mut Probe<'_>) -> Result<(), Stop> {
    let request = select(key::SIGNATURE) | control::READ;
    fill(p)?;
    p.write_memory(DESCRIPTOR, &fw_cfg::descriptor(request, 4, BUFFER))?;
    p.outl(DMA_HIGH, 0)?;
    let word = fw_cfg::control_word(p, DESCRIPTOR)?;
    p.check_eq("control word before the low half", word, request);
    p.outl(DMA_LOW, (DESCRIPTOR as u32).swap_bytes())?;
    let word = fw_cfg::control_word(p, DESCRIPTOR)?;
    p.check_eq("control word after the low half", word, OK);
    Ok(())
}

fn address_low_alone(p: &mut Probe<'_>) -> Result<(), Stop> {
    fill(p)?;
    p.write_memory(
        DESCRIPTOR,
        &fw_cfg::descriptor(select(key::SIGNATURE) | control::READ, 4, BUFFER),
    )?;
    p.outl(DMA_LOW, (DESCRIPTOR as u32).swap_bytes())?;
    let word = fw_cfg::control_word(p, DESCRIPTOR)?;
    p.check_eq("control word", word, OK);
    let bytes = p.read_memory(BUFFER, 32)?;
    p.check_bytes("buffer", &bytes, &then_fill(b"QEMU"));
    Ok(())
}

/// Sends one transfer to 4 GiB and up, where this machine has no RAM, then one by the low half alone.
fn address_used_once(p: &mut Probe<'_>) -> Result<(), Stop> {
    let request = select(key::SIGNATURE) | control::READ;
    p.write_memory(DESCRIPTOR, &fw_cfg::descriptor(request, 4, BUFFER))?;
    p.outl(DMA_HIGH, 1u32.swap_bytes())?;
    p.outl(DMA_LOW, (DESCRIPTOR as u32).swap_bytes())?;
    let word = fw_cfg::control_word(p, DESCRIPTOR)?;
    p.check_eq("control word after the transfer above 4 GiB", word, request);
    p.outl(DMA_LOW, (DESCRIPTOR as u32).swap_bytes())?;
    let word = fw_cfg::control_word(p, DESCRIPTOR)?;
    p.check_eq("control word after the low half alone", word, OK);
    Ok(())
}

fn control_error_given(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::READ | control::ERROR, 4)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b"QEMU"));
    Ok(())
}

fn control_no_operation(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    let (word, bytes) = transfer(p, 0, 2)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b""));
    let next = fw_cfg::bytes(p, 2)?;
    p.check_bytes("item from the offset on", &next, b"QE");
    Ok(())
}

fn control_rest_unchanged(p: &mut Probe<'_>) -> Result<(), Stop> {
    transfer(p, select(key::SIGNATURE) | control::READ, 4)?;
    let after = p.read_memory(DESCRIPTOR, 16)?;
    p.check_bytes("descriptor afterwards", &after, &fw_cfg::descriptor(OK, 4, BUFFER));
    Ok(())
}

fn descriptor_odd(p: &mut Probe<'_>) -> Result<(), Stop> {
    for offset in 1..8 {
        p.point(format!("+{offset}"));
        fill(p)?;
        let word = fw_cfg::dma(
            p,
            DESCRIPTOR + offset,
            select(key::SIGNATURE) | control::READ,
            4,
            BUFFER,
        )?;
        p.check_eq("control word", word, OK);
        let bytes = p.read_memory(BUFFER, 32)?;
        p.check_bytes("buffer", &bytes, &then_fill(b"QEMU"));
    }
    Ok(())
}

fn descriptor_not_in_memory(p: &mut Probe<'_>) -> Result<(), Stop> {
    for gpa in [NOWHERE, 0xffff_ffff_ffff_fff0, 0xffff_ffff_ffff_ffff, 1 << 52] {
        p.point(format!("{gpa:#x}"));
        fw_cfg::start(p, gpa)?;
        still_works(p)?;
    }
    Ok(())
}

fn descriptor_straddles(p: &mut Probe<'_>) -> Result<(), Stop> {
    let end = p.layout().ram_split(p.setup().ram_bytes, None).0;
    let gpa = end - 8;
    p.write_memory(
        gpa,
        &fw_cfg::descriptor(select(key::SIGNATURE) | control::READ, 4, BUFFER)[..8],
    )?;
    fw_cfg::start(p, gpa)?;
    let word = fw_cfg::control_word(p, gpa)?;
    p.check_eq("control word", word, control::ERROR);
    still_works(p)
}

/// Reads the four bytes QEMU into Status of a transport. A machine that lets DMA through sets Status to 0x51.
fn fault_into_device(p: &mut Probe<'_>) -> Result<(), Stop> {
    let status = p.layout().transport(p.layout().virtio_count - 1) + 0x70;
    let before = p.readl(status)?;
    let word = fw_cfg::dma(p, DESCRIPTOR, select(key::SIGNATURE) | control::READ, 4, status)?;
    p.check_eq("control word", word, control::ERROR);
    let after = p.readl(status)?;
    p.check_eq("Status of the transport", after, before);
    still_works(p)
}

fn fault_past_end_of_ram(p: &mut Probe<'_>) -> Result<(), Stop> {
    let end = p.layout().ram_split(p.setup().ram_bytes, None).0;
    p.write_memory(end - 4, &[FILL; 4])?;
    let word = fw_cfg::dma(p, DESCRIPTOR, select(key::SIGNATURE) | control::READ, 8, end - 4)?;
    p.check_eq("control word", word, control::ERROR);
    still_works(p)
}

fn fault_unmapped_buffer(p: &mut Probe<'_>) -> Result<(), Stop> {
    let word = fw_cfg::dma(p, DESCRIPTOR, select(key::SIGNATURE) | control::READ, 4, NOWHERE)?;
    p.check_eq("control word", word, control::ERROR);
    still_works(p)
}

fn fault_wrapping_buffer(p: &mut Probe<'_>) -> Result<(), Stop> {
    for address in [u64::MAX, u64::MAX - 3, 0xffff_ffff_ffff_f000] {
        p.point(format!("{address:#x}"));
        let word = fw_cfg::dma(p, DESCRIPTOR, select(key::SIGNATURE) | control::READ, 0x2000, address)?;
        p.check_eq("control word", word & control::ERROR, control::ERROR);
        still_works(p)?;
    }
    Ok(())
}

fn priority_read_before_write(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::READ | control::WRITE, 4)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b"QEMU"));
    Ok(())
}

fn priority_write_before_skip(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::WRITE | control::SKIP, 4)?;
    p.check_eq("control word", word, control::ERROR);
    p.check_bytes("buffer", &bytes, &then_fill(b""));
    Ok(())
}

fn read_continues(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::READ, 1)?;
    p.check_eq("control word of the first", word, OK);
    p.check_bytes("buffer of the first", &bytes, &then_fill(b"Q"));
    let (_, bytes) = transfer(p, control::READ, 2)?;
    p.check_bytes("buffer of the second", &bytes, &then_fill(b"EM"));
    let rest = fw_cfg::bytes(p, 2)?;
    p.check_bytes("data port after that", &rest, b"U\0");
    Ok(())
}

fn read_length_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::READ, 0)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b""));
    Ok(())
}

fn read_past_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::READ, 12)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b"QEMU\0\0\0\0\0\0\0\0"));
    Ok(())
}

fn read_unknown_item(p: &mut Probe<'_>) -> Result<(), Stop> {
    for key in [0x1f, 0x40, 0x3fff, 0xffff] {
        p.point(format!("item {key:#x}"));
        let (word, bytes) = transfer(p, select(key) | control::READ, 8)?;
        p.check_eq("control word", word, OK);
        p.check_bytes("buffer", &bytes, &then_fill(&[0; 8]));
    }
    Ok(())
}

fn read_whole_item(p: &mut Probe<'_>) -> Result<(), Stop> {
    let want = fw_cfg::item(p, key::FILE_DIR, 24)?;
    let (word, bytes) = transfer(p, select(key::FILE_DIR) | control::READ, 24)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(&want));
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::READ, 4)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b"QEMU"));
    Ok(())
}

fn select_alone(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::item(p, key::ID, 2)?;
    let (word, bytes) = transfer(p, select(key::SIGNATURE), 4)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b""));
    let got = fw_cfg::bytes(p, 4)?;
    p.check_bytes("item then selected", &got, b"QEMU");
    Ok(())
}

fn select_without_bit(p: &mut Probe<'_>) -> Result<(), Stop> {
    fw_cfg::select(p, key::SIGNATURE)?;
    let (word, bytes) = transfer(p, u32::from(key::ID) << 16 | control::READ, 4)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b"QEMU"));
    Ok(())
}

fn signature_all_widths(p: &mut Probe<'_>) -> Result<(), Stop> {
    let signature = b"QEMU CFG";
    for width in [Width::Byte, Width::Word, Width::Dword] {
        for offset in (0..8).step_by(width.bytes()) {
            p.point(format!("{} bytes at +{offset}", width.bytes()));
            let got = p.port_read(DMA_HIGH + offset as u16, width)?;
            p.check_bytes(
                "bytes",
                &got.to_le_bytes()[..width.bytes()],
                &signature[offset..offset + width.bytes()],
            );
        }
    }
    Ok(())
}

fn skip_moves_offset(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, bytes) = transfer(p, select(key::SIGNATURE) | control::SKIP, 2)?;
    p.check_eq("control word", word, OK);
    p.check_bytes("buffer", &bytes, &then_fill(b""));
    let rest = fw_cfg::bytes(p, 2)?;
    p.check_bytes("item from the offset on", &rest, b"MU");
    Ok(())
}

fn skip_past_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    for length in [5, 0x1000, u32::MAX] {
        p.point(format!("{length:#x} bytes"));
        let (word, _) = transfer(p, select(key::SIGNATURE) | control::SKIP, length)?;
        p.check_eq("control word", word, OK);
        let rest = fw_cfg::bytes(p, 4)?;
        p.check_bytes("bytes after that", &rest, &[0; 4]);
    }
    Ok(())
}

fn write_length_zero(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (word, _) = transfer(p, select(key::SIGNATURE) | control::WRITE, 0)?;
    p.check_eq("control word", word, OK);
    Ok(())
}

fn write_read_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    for (name, key) in [
        ("signature", key::SIGNATURE),
        ("RAM size", key::RAM_SIZE),
        ("directory", key::FILE_DIR),
    ] {
        p.point(name);
        let before = fw_cfg::item(p, key, 8)?;
        let (word, bytes) = transfer(p, select(key) | control::WRITE, 4)?;
        p.check_eq("control word", word, control::ERROR);
        p.check_bytes("buffer", &bytes, &then_fill(b""));
        let after = fw_cfg::item(p, key, 8)?;
        p.check_bytes("item afterwards", &after, &before);
    }
    Ok(())
}

fn fault_end_of_memory(p: &mut Probe<'_>) -> Result<(), Stop> {
    for below in 0..8 {
        let address = u64::MAX - below;
        for length in 1..=8 {
            p.point(format!("{length} bytes at {address:#x}"));
            let word = fw_cfg::dma(p, DESCRIPTOR, select(key::SIGNATURE) | control::READ, length, address)?;
            p.check_eq("control word", word & control::ERROR, control::ERROR);
        }
    }
    still_works(p)
}

/// A page of the buffer here and there is filled, the last one up to behind its end.
fn read_long_past_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    const LENGTH: u64 = 0x3_1000;
    let pages = [0, 0xf000, 0x1_0000, 0x2_0000, 0x3_0000];
    for offset in pages {
        p.write_memory(LONG_BUFFER + offset, &[FILL; 0x1000])?;
    }
    p.write_memory(LONG_BUFFER + LENGTH, &[FILL; 16])?;
    let request = select(key::SIGNATURE) | control::READ;
    let word = fw_cfg::dma(p, DESCRIPTOR, request, LENGTH as u32, LONG_BUFFER)?;
    p.check_eq("control word", word, OK);
    let mut want = b"QEMU".to_vec();
    for offset in pages {
        p.point(format!("offset {offset:#x}"));
        want.resize(0x1000, 0);
        let got = p.read_memory(LONG_BUFFER + offset, 0x1000)?;
        p.check_bytes("page of the buffer", &got, &want);
        want.clear();
    }
    let behind = p.read_memory(LONG_BUFFER + LENGTH, 16)?;
    p.check_bytes("memory behind the buffer", &behind, &[FILL; 16]);
    Ok(())
}

const LONG_BUFFER: u64 = 0x80_0000;
