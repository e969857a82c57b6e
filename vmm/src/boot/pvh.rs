//! Direct PVH boot: kernel, start info, memory map, command line and initial RAM disk in guest memory.
//!
//! Source: Xen "x86/HVM direct boot ABI" and its public header `start_info.h`, version 1.
//!
//! Where things go, and why there:
//!
//! | address | what | as in |
//! |---|---|---|
//! | 0x6000 | start info, 56 bytes | Firecracker, Cloud Hypervisor |
//! | 0x6040 | module list, one entry | the same |
//! | 0x7000 | memory map, at most [`MEMORY_MAP_ENTRIES_MAX`] entries | the same |
//! | 0x20000 | command line: up to [`COMMAND_LINE_BYTES_MAX`] bytes, NUL included | the machine, `CMDLINE_ADDR` |
//! | 0x9fc00, 0xf0000 | MP table | the machine's firmware, see [`super::mp_table`] |
//! | below the end of low RAM | initial RAM disk | the machine model: `(below_4g - 1 - size) & !0xfff` |
//!
//! The memory map is not the raw table of fw_cfg (`etc/e820`) but what firmware makes of it, since a kernel started
//! here gets no firmware: RAM from 0 to 0x9fc00, reserved from there to 1 MiB (the MP table lies there and nothing of
//! a PC's adapter hole is RAM to a kernel), RAM from 1 MiB on, and KVM's own pages reserved. Entries are ascending.

use std::io::Cursor;
use std::ops::Range;

use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::elf::Elf;
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::GuestAddress;

use super::elf::{ElfError, Image};
use super::mp_table;
use crate::board::e820;
use crate::memory::Memory;

/// What is to be booted.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The kernel file.
    pub kernel: &'a [u8],
    /// The initial RAM disk; becomes module 0.
    pub initrd: Option<&'a [u8]>,
    /// The command line without its NUL.
    pub command_line: &'a [u8],
    /// Number of CPUs, for the MP table.
    pub cpus: u16,
    /// RAM and reservations as the machine has them, without what firmware carves out.
    pub e820: &'a [e820::Entry],
}

/// Where the boot CPU starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// EIP: the 32-bit PVH entry point.
    pub eip: u32,
    /// EBX: physical address of the start info.
    pub start_info: u32,
}

/// Why a payload cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The kernel file is not fit.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A segment has no RAM under it.
    #[error("segment {start:#x}..{end:#x} does not lie in RAM; give the machine more memory")]
    OutsideRam {
        /// First address of the segment.
        start: u64,
        /// Address past it.
        end: u64,
    },
    /// Two things want the same memory.
    #[error("{first} and {second} both need memory at {address:#x}")]
    Collision {
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Where they meet.
        address: u64,
    },
    /// Direct boot needs base memory.
    #[error("direct boot needs at least 1 MiB of RAM")]
    TooLittleRam,
    /// The command line does not fit.
    #[error("command line of {0} bytes, at most {limit} fit", limit = COMMAND_LINE_BYTES_MAX - 1)]
    CommandLine(usize),
    /// The initial RAM disk does not fit below the end of low RAM.
    #[error("initrd of {bytes} bytes does not fit into {low_bytes} bytes of RAM below 4 GiB")]
    Initrd {
        /// Its length.
        bytes: usize,
        /// RAM there is.
        low_bytes: u64,
    },
    /// The loader refused what the checks had passed.
    #[error("load the kernel: {0}")]
    Loader(String),
}

/// Puts a payload into memory, again and again if need be: what the guest did to these ranges before is overwritten,
/// `.bss` is zeroed.
///
/// # Errors
/// [`BootError`]; memory may then hold part of the payload.
pub fn load(memory: &Memory, payload: &Payload<'_>) -> Result<Entry, BootError> {
    let ranges = memory.ranges();
    let low_bytes = ranges.first().filter(|range| range.0 == 0).map_or(0, |range| range.1);
    if low_bytes < MIB {
        return Err(BootError::TooLittleRam);
    }
    if COMMAND_LINE_BYTES_MAX <= payload.command_line.len() {
        return Err(BootError::CommandLine(payload.command_line.len()));
    }
    let image = Image::parse(payload.kernel)?;
    let initrd = payload.initrd.map(|bytes| place_initrd(bytes, low_bytes)).transpose()?;
    check_places(memory, &image, initrd.clone())?;

    load_kernel(memory, payload.kernel, &image)?;
    if let (Some(bytes), Some(place)) = (payload.initrd, &initrd) {
        memory.write(place.start, bytes).map_err(|_| BootError::TooLittleRam)?;
    }
    write_command_line(memory, payload.command_line)?;
    if !mp_table::write(memory, payload.cpus) {
        return Err(BootError::TooLittleRam);
    }
    write_start_info(memory, &memory_map(payload.e820), initrd)?;
    Ok(Entry {
        eip: image.entry,
        start_info: START_INFO as u32,
    })
}

/// The memory map of a machine without firmware: `e820` less base memory's reserved end, ascending.
pub fn memory_map(e820: &[e820::Entry]) -> Vec<e820::Entry> {
    let mut map = Vec::new();
    let mut add = |start: u64, end: u64, kind| {
        if start < end {
            map.push(e820::Entry {
                address: start,
                length_bytes: end - start,
                kind,
            });
        }
    };
    for entry in e820 {
        let (start, end) = (entry.address, entry.address + entry.length_bytes);
        if entry.kind == e820::RAM && start < MIB {
            add(start, end.min(BASE_MEMORY_END), e820::RAM);
            add(BASE_MEMORY_END, end.min(MIB), e820::RESERVED);
            add(MIB, end, e820::RAM);
        } else {
            add(start, end, entry.kind);
        }
    }
    map.sort_by_key(|entry| entry.address);
    map
}

fn place_initrd(bytes: &[u8], low_bytes: u64) -> Result<Range<u64>, BootError> {
    let size = bytes.len() as u64;
    let start = (low_bytes - 1).checked_sub(size).map(|start| start & !0xfff);
    match start {
        Some(start) if MIB <= start => Ok(start..start + size),
        _ => Err(BootError::Initrd {
            bytes: bytes.len(),
            low_bytes,
        }),
    }
}

/// Checks that every segment has RAM and a place of its own.
fn check_places(memory: &Memory, image: &Image, initrd: Option<Range<u64>>) -> Result<(), BootError> {
    let mut taken = vec![
        (
            "the start info",
            START_INFO..MEMORY_MAP + MEMORY_MAP_ENTRIES_MAX as u64 * 24,
        ),
        (
            "the command line",
            COMMAND_LINE..COMMAND_LINE + COMMAND_LINE_BYTES_MAX as u64,
        ),
        ("the MP table", BASE_MEMORY_END..MIB),
    ];
    taken.extend(initrd.map(|place| ("the initrd", place)));
    for segment in &image.segments {
        let range = segment.range();
        let length = usize::try_from(segment.memory_bytes).unwrap_or(usize::MAX);
        if memory.available(range.start, length) != length {
            return Err(BootError::OutsideRam {
                start: range.start,
                end: range.end,
            });
        }
        for (name, other) in &taken {
            if range.start < other.end && other.start < range.end {
                return Err(BootError::Collision {
                    first: "the kernel",
                    second: name,
                    address: range.start.max(other.start),
                });
            }
        }
    }
    Ok(())
}

fn load_kernel(memory: &Memory, kernel: &[u8], image: &Image) -> Result<(), BootError> {
    Elf::load(memory.map(), None, &mut Cursor::new(kernel), None)
        .map_err(|error| BootError::Loader(error.to_string()))?;
    for segment in &image.segments {
        // The loader takes memory for fresh; after a reset it is not.
        let mut at = segment.address + segment.file_bytes;
        let end = segment.range().end;
        while at < end {
            let length = ZEROS.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            memory
                .write(at, &ZEROS[..length])
                .map_err(|_| BootError::TooLittleRam)?;
            at += length as u64;
        }
    }
    Ok(())
}

fn write_command_line(memory: &Memory, text: &[u8]) -> Result<(), BootError> {
    let with_nul = [text, b"\0"].concat();
    memory
        .write(COMMAND_LINE, &with_nul)
        .map_err(|_| BootError::TooLittleRam)
}

fn write_start_info(memory: &Memory, map: &[e820::Entry], initrd: Option<Range<u64>>) -> Result<(), BootError> {
    assert!(
        map.len() <= MEMORY_MAP_ENTRIES_MAX,
        "RAM has two ranges and KVM reserves one"
    );
    let info = hvm_start_info {
        magic: START_INFO_MAGIC,
        version: 1,
        nr_modules: u32::from(initrd.is_some()),
        modlist_paddr: if initrd.is_some() { MODULE_LIST } else { 0 },
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    let entries: Vec<_> = map
        .iter()
        .map(|entry| hvm_memmap_table_entry {
            addr: entry.address,
            size: entry.length_bytes,
            type_: entry.kind,
            reserved: 0,
        })
        .collect();
    let mut params = BootParams::new(&info, GuestAddress(START_INFO));
    params.set_sections(&entries, GuestAddress(MEMORY_MAP));
    if let Some(place) = initrd {
        let module = hvm_modlist_entry {
            paddr: place.start,
            size: place.end - place.start,
            ..Default::default()
        };
        params.set_modules(&[module], GuestAddress(MODULE_LIST));
    }
    PvhBootConfigurator::write_bootparams(&params, memory.map()).map_err(|error| BootError::Loader(error.to_string()))
}

/// Most entries of the memory map.
pub const MEMORY_MAP_ENTRIES_MAX: usize = 64;

/// Room for the command line and its NUL.
pub const COMMAND_LINE_BYTES_MAX: usize = 0x1_0000;

const MIB: u64 = 1 << 20;
const BASE_MEMORY_END: u64 = mp_table::POINTER_ADDRESS;
const START_INFO: u64 = 0x6000;
const MODULE_LIST: u64 = 0x6040;
const MEMORY_MAP: u64 = 0x7000;
const COMMAND_LINE: u64 = 0x2_0000;
const START_INFO_MAGIC: u32 = 0x336e_c578;
static ZEROS: [u8; 0x1_0000] = [0; 0x1_0000];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::ram::RamLayout;

    #[test]
    fn memory_map_has_firmwares_holes_and_is_ascending() {
        let ram = RamLayout {
            below_4g_bytes: 0xc000_0000,
            above_4g_bytes: 0x4000_0000,
            warnings: Vec::new(),
        };
        let map = memory_map(&e820::entries(&ram, true));
        let entries: Vec<_> = map
            .iter()
            .map(|entry| (entry.address, entry.length_bytes, entry.kind))
            .collect();
        assert_eq!(
            entries,
            [
                (0, 0x9_fc00, e820::RAM),
                (0x9_fc00, 0x6_0400, e820::RESERVED),
                (0x10_0000, 0xbff0_0000, e820::RAM),
                (0xfeff_c000, 0x4000, e820::RESERVED),
                (0x1_0000_0000, 0x4000_0000, e820::RAM),
            ]
        );
    }

    #[test]
    fn initrd_lies_where_the_machine_model_puts_it() {
        let bytes = vec![0; 10_000];
        assert_eq!(place_initrd(&bytes, 128 << 20).expect("fits").start, 0x7ff_d000);
        assert!(place_initrd(&bytes, 0x10_2000).is_err(), "would start below 1 MiB");
    }
}
