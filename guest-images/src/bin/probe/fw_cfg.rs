//! The firmware configuration device.
//!
//! Source: QEMU, docs/specs/fw_cfg.rst.

use guest_images::{
    ktap::{Bit, Quoted},
    runtime::port,
};
use guest_protocol::Width;

use crate::{Machine, Outcome, Report};

pub(crate) fn fw_cfg(report: &mut Report, _: &Machine<'_>) -> Outcome {
    let signature: [u8; 4] = item(key::SIGNATURE);
    let present = signature == *b"QEMU";
    report.fact(
        "fw-cfg",
        format_args!("present={} signature={}", Bit(present), Quoted(&signature)),
    );
    if !present {
        return Outcome::Absent("no signature at key 0");
    }
    let id = u32::from_le_bytes(item(key::ID));
    let dma = [DMA_PORT, DMA_PORT + 4].map(|port| port::read(port, Width::Long));
    report.fact(
        "fw-cfg-items",
        format_args!(
            "id={id:#x} ram-size={:#x} cpus={} cpus-max={} dma={:#x},{:#x}",
            u64::from_le_bytes(item(key::RAM_SIZE)),
            u16::from_le_bytes(item(key::NB_CPUS)),
            u16::from_le_bytes(item(key::MAX_CPUS)),
            dma[0],
            dma[1]
        ),
    );
    report.expect(id & ID_TRADITIONAL != 0, format_args!("id={id:#x}"));
    // "QEMU CFG" in the order of its bytes, exactly where the id says that there is DMA.
    let is_dma = dma == [0x554d_4551, 0x4746_4320];
    report.expect(
        is_dma == (id & ID_DMA != 0),
        format_args!("id={id:#x} dma={:#x},{:#x}", dma[0], dma[1]),
    );

    let count = u32::from_be_bytes(item(key::FILE_DIR));
    report.fact("fw-cfg-files", format_args!("count={count}"));
    report.expect(count <= FILES_MAX, format_args!("count={count}"));
    // The directory goes on where reading its count ended.
    let mut previous = [0; 56];
    for index in 0..count.min(FILES_MAX) {
        let mut entry = [0; 64];
        port::read_string(DATA_PORT, Width::Byte, &mut entry);
        let [s0, s1, s2, s3, k0, k1, _, _, name @ ..] = entry;
        let text = name.split(|&byte| byte == 0).next().unwrap_or_default();
        report.fact(
            "fw-cfg-file",
            format_args!(
                "key={:#x} size={} name={}",
                u16::from_be_bytes([k0, k1]),
                u32::from_be_bytes([s0, s1, s2, s3]),
                Quoted(text)
            ),
        );
        report.expect(index == 0 || previous < name, format_args!("file={index} unsorted"));
        report.expect(name[55] == 0, format_args!("file={index} name without an end"));
        previous = name;
    }
    Outcome::Judged
}

/// The first bytes of an item.
fn item<const N: usize>(key: u16) -> [u8; N] {
    let mut bytes = [0; N];
    port::write(SELECTOR_PORT, Width::Word, u32::from(key));
    port::read_string(DATA_PORT, Width::Byte, &mut bytes);
    bytes
}

const SELECTOR_PORT: u16 = 0x510;
const DATA_PORT: u16 = 0x511;
const DMA_PORT: u16 = 0x514;

const ID_TRADITIONAL: u32 = 1 << 0;
const ID_DMA: u32 = 1 << 1;

/// Twice as many as QEMU has slots for by default, and then some.
const FILES_MAX: u32 = 128;

mod key {
    pub(super) const SIGNATURE: u16 = 0x00;
    pub(super) const ID: u16 = 0x01;
    pub(super) const RAM_SIZE: u16 = 0x03;
    pub(super) const NB_CPUS: u16 = 0x05;
    pub(super) const MAX_CPUS: u16 = 0x0f;
    pub(super) const FILE_DIR: u16 = 0x19;
}
